use std::sync::Arc;

use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::identity::v1::NotificationRequested;

use crate::{app::App, error::Error};

/// Sends what services want people to be told.
pub struct SendRequestedNotification(pub Arc<App>);

impl Handler<NotificationRequested> for SendRequestedNotification {
    async fn handle(
        &self,
        _: &mut PgConnection,
        event: NotificationRequested,
    ) -> Result<(), HandlerError> {
        let account_id = event
            .account_id
            .parse()
            .map_err(|error: InvalidId| HandlerError::reject(error))?;
        let sent = self
            .0
            .send_notification(account_id, &event.template, &event.params)
            .await;
        sent.map_err(|error| match error {
            Error::NotFound | Error::Invalid { .. } => HandlerError::reject(error),
            error => HandlerError::retry(error),
        })
    }
}
