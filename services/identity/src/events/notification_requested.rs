use std::sync::Arc;

use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::identity::v1::NotificationRequested;

use crate::{app::App, error::Error};

/// Writes down what services want people to be told; it is sent when that is committed.
pub struct NoteRequestedNotification(pub Arc<App>);

impl Handler<NotificationRequested> for NoteRequestedNotification {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: NotificationRequested,
    ) -> Result<(), HandlerError> {
        let account_id = event
            .account_id
            .parse()
            .map_err(|error: InvalidId| HandlerError::reject(error))?;
        let noted = self
            .0
            .note_notification(tx, account_id, &event.template, &event.params)
            .await;
        noted.map_err(|error| match error {
            Error::NotFound | Error::Invalid { .. } => HandlerError::reject(error),
            error => HandlerError::retry(error),
        })
    }
}
