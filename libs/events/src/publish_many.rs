use prost::{Message, Name};
use sqlx::PgConnection;
use tracing::Span;
use wanwu_ids::{EventId, Ids};

use crate::{MAX_PAYLOAD, topology, trace::TraceContext, wake};

/// An event and the trace that it belongs to, where one transaction tells events of many traces.
#[derive(Clone, Debug)]
pub struct Traced<E> {
    /// The event.
    pub event: E,
    /// W3C `traceparent` of the span that caused it.
    pub traceparent: Option<String>,
}

/// The W3C `traceparent` of `span`, to be kept with what it caused; none when nobody records it.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    TraceContext::of(span).traceparent
}

/// Tells events of one kind with one statement, each in its own trace; else as
/// [`publish`](crate::publish).
///
/// # Errors
/// When the database fails, or (`sqlx::Error::Encode`) the message is not marked as an event in
/// the contract or one is larger than [`MAX_PAYLOAD`].
pub async fn publish_many<E: Message + Name>(
    tx: &mut PgConnection,
    ids: &Ids,
    events: &[Traced<E>],
) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let name = E::full_name();
    let consumers = topology::consumers_of(&name)
        .ok_or_else(|| sqlx::Error::Encode(format!("{name} is not an event").into()))?;
    let payloads: Vec<Vec<u8>> = events.iter().map(|e| e.event.encode_to_vec()).collect();
    if payloads.iter().any(|payload| payload.len() > MAX_PAYLOAD) {
        return Err(sqlx::Error::Encode(
            format!("{name} is larger than an event may be").into(),
        ));
    }
    let event_ids: Vec<EventId> = events.iter().map(|_| ids.id()).collect();
    let traces: Vec<Option<&str>> = events.iter().map(|e| e.traceparent.as_deref()).collect();
    sqlx::query(
        "insert into outbox (event_id, type, payload, traceparent, published_at)
         select event_id, $2, payload, traceparent, case when $5 then null else now() end
         from unnest($1::uuid[], $3::bytea[], $4::text[]) as e (event_id, payload, traceparent)",
    )
    .bind(event_ids)
    .bind(&name)
    .bind(payloads)
    .bind(traces)
    .bind(!consumers.is_empty())
    .execute(tx)
    .await?;
    wake();
    Ok(())
}
