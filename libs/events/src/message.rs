//! An event on the bus: AMQP properties are its envelope, the body is the protobuf message.

use aws_lc_rs::digest;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use uuid::Uuid;

use crate::trace::TraceContext;

/// RabbitMQ writes it to disk.
const PERSISTENT: u8 = 2;

/// An event as it arrived, or as it was kept.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) event_id: Uuid,
    /// Full protobuf name.
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) trace: TraceContext,
}

/// The envelope of an event that leaves.
pub(crate) fn properties(
    event_id: Uuid,
    name: &str,
    created: chrono::DateTime<chrono::Utc>,
    trace: &TraceContext,
) -> BasicProperties {
    let mut headers = FieldTable::default();
    let values = [
        ("traceparent", &trace.traceparent),
        ("tracestate", &trace.tracestate),
    ];
    for (key, value) in values {
        if let Some(value) = value {
            headers.insert(key.into(), AMQPValue::LongString(value.as_str().into()));
        }
    }
    BasicProperties::default()
        .with_message_id(event_id.to_string().into())
        .with_type(name.into())
        .with_timestamp(u64::try_from(created.timestamp()).unwrap_or_default())
        .with_content_type("application/protobuf".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
}

impl Incoming {
    /// Reads a delivery from a queue that holds events called `name`.
    ///
    /// What was not put there by a relay of ours still gets an id, from its content, so that it
    /// can be kept as a dead letter instead of being lost or going round for ever.
    pub(crate) fn read(delivery: &mut Delivery, name: &str) -> Self {
        let properties = &delivery.properties;
        let id = properties
            .message_id()
            .as_ref()
            .and_then(|id| Uuid::try_parse(id.as_str()).ok());
        let header = |key: &str| match properties.headers().as_ref()?.inner().get(key)? {
            AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
            _ => None,
        };
        let trace = TraceContext::new(header("traceparent"), header("tracestate"));
        let name = properties
            .kind()
            .as_ref()
            .map_or(name, |kind| kind.as_str())
            .to_owned();
        let payload = std::mem::take(&mut delivery.data);
        let event_id = id.unwrap_or_else(|| from_content(&payload));
        Self {
            event_id,
            name,
            payload,
            trace,
        }
    }
}

fn from_content(payload: &[u8]) -> Uuid {
    let hash = digest::digest(&digest::SHA256, payload);
    let bytes = hash.as_ref()[..16]
        .try_into()
        .expect("SHA-256 is longer than a UUID");
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
