use prost::{Message, Name};
use sqlx::PgConnection;
use tokio::sync::Notify;
use tracing::{Instrument, info_span};
use wanwu_ids::{EventId, Ids};

use crate::{outbox, topology, trace::TraceContext};

/// Largest event, in bytes. Events carry facts and ids, not documents.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Tells the relays of this process that there may be something to send.
pub(crate) static WAKE: Notify = Notify::const_new();

/// Tells an event: writes it into the outbox, in the transaction of the change that it tells of.
/// It leaves when the transaction commits, and never when it does not. The event belongs to the
/// current span's trace.
///
/// # Errors
/// When the database fails, or (`sqlx::Error::Encode`) the message is not marked as an event in
/// the contract or is larger than [`MAX_PAYLOAD`].
pub async fn publish<E: Message + Name>(
    tx: &mut PgConnection,
    ids: &Ids,
    event: &E,
) -> Result<EventId, sqlx::Error> {
    let name = E::full_name();
    let consumers = topology::consumers_of(&name)
        .ok_or_else(|| sqlx::Error::Encode(format!("{name} is not an event").into()))?;
    let payload = event.encode_to_vec();
    if payload.len() > MAX_PAYLOAD {
        return Err(sqlx::Error::Encode(
            format!("{name} is larger than an event may be").into(),
        ));
    }
    let id: EventId = ids.id();
    let span = info_span!(
        "events.publish",
        otel.name = format!("events.publish {name}"),
        otel.kind = "producer",
        messaging.system = "rabbitmq",
        messaging.message.id = %id,
        messaging.destination.name = %name,
    );
    let row = outbox::New {
        id,
        name: &name,
        payload: &payload,
        trace: TraceContext::of(&span),
        routed: !consumers.is_empty(),
    };
    outbox::insert(tx, &row).instrument(span).await?;
    WAKE.notify_waiters();
    Ok(id)
}

/// Wakes the relay after a commit, where the 50 ms until it looks by itself are too long.
pub fn wake() {
    WAKE.notify_waiters();
}
