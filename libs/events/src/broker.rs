//! What we ask of the broker, each with its own time limit: a connection without the client's own
//! recovery (the callers build everything anew), durable quorum queues, and a publish that
//! counts only when a queue has it.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    tcp::OwnedTLSConfig,
    types::{AMQPValue, FieldTable},
};
use tokio::time::{sleep, timeout};

use crate::{BrokerConfig, failure::BrokerError};

/// How long the broker may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How often a connection is asked whether it is one.
const WATCH: Duration = Duration::from_millis(250);
/// How long the broker may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(1);
/// Seconds between signs of life; a dead peer is noticed after two.
const HEARTBEAT: u16 = 10;
/// How often the broker may deliver a message before it throws it away. We count tries
/// ourselves and keep what fails, so the broker must never come to this: without the
/// argument RabbitMQ 4 would after 20.
const DELIVERY_LIMIT: i32 = 1_000_000;
/// Most messages in one queue; more are refused and stay in the outbox.
const MAX_LENGTH: i32 = 1_000_000;

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A quorum of the queue has it.
    Accepted,
    /// No queue has that name. The broker confirms such a message too, and gives it back.
    Unroutable,
    /// The queue refused it, because it is full.
    Refused,
}

pub(crate) async fn connect(config: &BrokerConfig, name: &str) -> Result<Connection, BrokerError> {
    let mut uri = config.uri()?;
    uri.query.heartbeat = Some(HEARTBEAT);
    let tls = OwnedTLSConfig {
        identity: None,
        cert_chain: config.authorities()?,
    };
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime()?;
    within(Connection::connect_uri_with_config(
        uri, properties, tls, runtime,
    ))
    .await
}

/// Ends some time after the channel, or its connection, is none any more.
pub(crate) async fn closed(channel: &Channel) {
    while channel.status().connected() {
        sleep(WATCH).await;
    }
    sleep(WATCH).await;
}

/// Closes politely, but not for long: without an answer the broker sees the socket close.
pub(crate) async fn close(connection: &Connection) {
    let _ = timeout(FAREWELL, connection.close(200, "done".into())).await;
}

pub(crate) async fn channel(connection: &Connection) -> Result<Channel, BrokerError> {
    within(connection.create_channel()).await
}

/// A channel whose publishes are confirmed.
pub(crate) async fn confirming(connection: &Connection) -> Result<Channel, BrokerError> {
    let channel = channel(connection).await?;
    within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// Makes the queue, or checks that it is as we make it.
pub(crate) async fn declare(
    channel: &Channel,
    config: &BrokerConfig,
    queue: &str,
) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let name = format!("{}{queue}", config.queue_prefix);
    within(channel.queue_declare(name.into(), options, arguments(config)))
        .await
        .map(drop)
}

fn arguments(config: &BrokerConfig) -> FieldTable {
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongInt(DELIVERY_LIMIT),
    );
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(MAX_LENGTH));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    if let Some(expires) = config.queue_expires {
        let millis = i32::try_from(expires.as_millis()).unwrap_or(i32::MAX);
        arguments.insert("x-expires".into(), AMQPValue::LongInt(millis));
    }
    arguments
}

/// Sends a message straight to a queue and waits until the broker says what became of it. The
/// channel must be [`confirming`].
pub(crate) async fn send(
    channel: &Channel,
    config: &BrokerConfig,
    queue: &str,
    properties: BasicProperties,
    payload: &[u8],
) -> Result<Sent, BrokerError> {
    let name = format!("{}{queue}", config.queue_prefix);
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let confirmation = within(async {
        let publishing =
            channel.basic_publish("".into(), name.into(), options, payload, properties);
        let confirmation = publishing.await?;
        wanwu_crash::point("relay.published");
        confirmation.await
    });
    Ok(match confirmation.await? {
        Confirmation::Ack(None) => Sent::Accepted,
        Confirmation::Ack(Some(_)) => Sent::Unroutable,
        // Without confirms nothing is known: as good as refused.
        Confirmation::Nack(_) | Confirmation::NotRequested => Sent::Refused,
    })
}

pub(crate) async fn within<T>(
    answer: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, BrokerError> {
    timeout(ANSWER, answer)
        .await
        .map_err(|_| BrokerError::Timeout)?
        .map_err(BrokerError::Amqp)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment"
)]
mod tests {
    use super::*;

    async fn broker() -> (BrokerConfig, Connection) {
        let url = std::env::var("WANWU_TEST_AMQP_URL").expect("WANWU_TEST_AMQP_URL names a broker");
        let config = BrokerConfig {
            queue_prefix: format!("test-{}.", uuid::Uuid::new_v4().simple()),
            queue_expires: Some(Duration::from_secs(60)),
            ..BrokerConfig::of(&url)
        };
        let connection = connect(&config, "test").await.unwrap();
        (config, connection)
    }

    #[tokio::test]
    async fn only_what_a_queue_has_is_accepted() {
        let (config, connection) = broker().await;
        let channel = confirming(&connection).await.unwrap();
        let send = || send(&channel, &config, "q", BasicProperties::default(), b"x");
        assert_eq!(send().await.unwrap(), Sent::Unroutable);
        declare(&channel, &config, "q").await.unwrap();
        assert_eq!(send().await.unwrap(), Sent::Accepted);
    }

    #[tokio::test]
    async fn nothing_is_accepted_without_confirms() {
        let (config, connection) = broker().await;
        let channel = channel(&connection).await.unwrap();
        declare(&channel, &config, "q").await.unwrap();
        let sent = send(&channel, &config, "q", BasicProperties::default(), b"x").await;
        assert_eq!(sent.unwrap(), Sent::Refused);
    }
}
