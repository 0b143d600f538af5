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

/// An event as the outbox keeps it, for a service that writes its own rows and those of its events with
/// one statement: into the columns of these names, and `published_at` null where `routed`, else `now()`.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its id.
    pub event_id: EventId,
    /// Its full name.
    pub r#type: String,
    /// The message.
    pub payload: Vec<u8>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// Somebody consumes it. What nobody consumes is published by being written.
    pub routed: bool,
}

/// Makes an event ready to be written.
///
/// # Errors
/// `sqlx::Error::Encode`: the message is not marked as an event in the contract or is larger than
/// [`MAX_PAYLOAD`].
pub fn prepare<E: Message + Name>(ids: &Ids, event: Traced<E>) -> Result<Prepared, sqlx::Error> {
    let name = E::full_name();
    let consumers = topology::consumers_of(&name)
        .ok_or_else(|| sqlx::Error::Encode(format!("{name} is not an event").into()))?;
    let payload = event.event.encode_to_vec();
    if payload.len() > MAX_PAYLOAD {
        return Err(sqlx::Error::Encode(
            format!("{name} is larger than an event may be").into(),
        ));
    }
    Ok(Prepared {
        event_id: ids.id(),
        r#type: name,
        payload,
        traceparent: event.traceparent,
        routed: !consumers.is_empty(),
    })
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
    events: Vec<Traced<E>>,
) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let prepared = events.into_iter().map(|event| prepare(ids, event));
    let rows: Vec<Prepared> = prepared.collect::<Result<_, _>>()?;
    sqlx::query(
        "insert into outbox (event_id, type, payload, traceparent, published_at)
         select event_id, type, payload, traceparent, case when routed then null else now() end
         from unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::bool[])
             as e (event_id, type, payload, traceparent, routed)",
    )
    .bind(rows.iter().map(|row| row.event_id).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| row.r#type.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|row| &row.payload[..]).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| row.traceparent.as_deref())
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|row| row.routed).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    wake();
    Ok(())
}
