use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::Instrument;
use uuid::Uuid;
use wanwu_clock::SharedClock;
use wanwu_postgres::page::{InvalidPage, PageRequest};
use wanwu_proto::operations::v1::{
    DeadLetter, ListDeadLettersRequest, ListDeadLettersResponse, ReplayDeadLetterRequest,
    ReplayDeadLetterResponse, dead_letter_service_server::DeadLetterService,
};

use crate::{
    apply::{Outcome, Route, consume_span, count, handle, reason},
    failure::chain,
    inbox,
};

/// The gRPC service that shows what could not be applied, and applies it again.
#[derive(Clone)]
pub struct DeadLetters {
    pool: PgPool,
    clock: SharedClock,
    routes: HashMap<String, Arc<Route>>,
}

type Key = (DateTime<Utc>, Uuid, String);

#[derive(sqlx::FromRow)]
struct Row {
    queue: String,
    event_id: Uuid,
    #[sqlx(rename = "type")]
    name: String,
    payload: Vec<u8>,
    attempts: i32,
    error: String,
    dead_at: DateTime<Utc>,
}

impl DeadLetters {
    pub(crate) const fn new(
        pool: PgPool,
        clock: SharedClock,
        routes: HashMap<String, Arc<Route>>,
    ) -> Self {
        Self {
            pool,
            clock,
            routes,
        }
    }

    async fn list(&self, request: &PageRequest<Key>) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as(
            "select queue, event_id, type, payload, attempts, error, dead_at from dead_letters
             where $1::timestamptz is null or (dead_at, event_id, queue) > ($1, $2, $3)
             order by dead_at, event_id, queue limit $4",
        )
        .bind(request.after.as_ref().map(|key| key.0))
        .bind(request.after.as_ref().map(|key| key.1))
        .bind(request.after.as_ref().map(|key| &key.2))
        .bind(request.limit())
        .fetch_all(&self.pool)
        .await
    }

    /// Applies a dead letter; true: now, false: it had been applied before.
    async fn replay(&self, queue: &str, event_id: Uuid) -> Result<bool, Status> {
        let mut tx = self.pool.begin().await.map_err(internal)?;
        let kept = lock(&mut tx, queue, event_id)
            .await
            .map_err(internal)?
            .ok_or_else(not_found)?;
        let route = self.routes.get(queue).ok_or_else(not_found)?;
        let event = kept.incoming();
        let new = inbox::claim(&mut tx, queue, event_id, self.clock.now()).await;
        let new = new.map_err(internal)?;
        if new {
            let span = consume_span(route, &event);
            if let Err(error) = handle(route, &mut tx, &event).instrument(span).await {
                return Err(not_applied(&reason(&error)));
            }
        }
        // Fails when the handler hid an error: a failed transaction runs nothing more.
        remove(&mut tx, queue, event_id).await.map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        count(
            route,
            if new {
                Outcome::Applied
            } else {
                Outcome::Duplicate
            },
        );
        tracing::info!(event.id = %event_id, queue, applied = new, "a dead letter was replayed");
        Ok(new)
    }
}

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let request = PageRequest::<Key>::parse(request.page_size, &request.page_token)
            .map_err(invalid_page)?;
        let rows = self.list(&request).await.map_err(internal)?;
        let page = request.page(rows, |row| (row.dead_at, row.event_id, row.queue.clone()));
        Ok(Response::new(ListDeadLettersResponse {
            dead_letters: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn replay_dead_letter(
        &self,
        request: Request<ReplayDeadLetterRequest>,
    ) -> Result<Response<ReplayDeadLetterResponse>, Status> {
        let request = request.into_inner();
        let event_id = Uuid::try_parse(&request.event_id).map_err(|_| not_found())?;
        let this = self.clone();
        // A task of its own: a client that goes away does not cut the transaction.
        let replay = async move { this.replay(&request.queue, event_id).await };
        let replay = tokio::task::JoinSet::from_iter([replay.in_current_span()]).join_all();
        let applied = replay.await.pop().unwrap_or_else(|| Err(not_found()))?;
        Ok(Response::new(ReplayDeadLetterResponse { applied }))
    }
}

impl From<Row> for DeadLetter {
    fn from(row: Row) -> Self {
        Self {
            event_id: row.event_id.to_string(),
            queue: row.queue,
            r#type: row.name,
            payload: row.payload,
            attempts: row.attempts,
            error: row.error,
            dead_time: Some(prost_types::Timestamp {
                seconds: row.dead_at.timestamp(),
                nanos: i32::try_from(row.dead_at.timestamp_subsec_nanos()).unwrap_or_default(),
            }),
        }
    }
}

async fn lock(
    tx: &mut PgConnection,
    queue: &str,
    event_id: Uuid,
) -> Result<Option<inbox::Kept>, sqlx::Error> {
    sqlx::query_as(
        "select queue, event_id, type, payload, traceparent, tracestate
         from dead_letters where queue = $1 and event_id = $2 for update",
    )
    .bind(queue)
    .bind(event_id)
    .fetch_optional(tx)
    .await
}

async fn remove(tx: &mut PgConnection, queue: &str, event_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from dead_letters where queue = $1 and event_id = $2")
        .bind(queue)
        .bind(event_id)
        .execute(tx)
        .await
        .map(drop)
}

fn status(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "wanwu", []);
    Status::with_error_details(code, message, details)
}

fn not_found() -> Status {
    status(Code::NotFound, "NOT_FOUND", "there is no such dead letter")
}

fn not_applied(error: &str) -> Status {
    let message = format!("the event still cannot be applied: {error}");
    status(Code::FailedPrecondition, "EVENT_NOT_APPLIED", &message)
}

fn invalid_page(error: InvalidPage) -> Status {
    let mut details = ErrorDetails::with_error_info("INVALID_ARGUMENT", "wanwu", []);
    details.add_bad_request_violation(error.field(), error.to_string());
    Status::with_error_details(Code::InvalidArgument, "the request is not valid", details)
}

fn internal(error: sqlx::Error) -> Status {
    tracing::error!(error = chain(&error), "the dead letters cannot be read");
    status(Code::Internal, "INTERNAL", "something failed on our side")
}
