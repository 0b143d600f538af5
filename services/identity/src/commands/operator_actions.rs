use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};
use wanwu_proto::identity::v1::StandingChanged;

use crate::{
    app::App,
    error::Error,
    store::{
        audit::{self, Entry},
        standings,
    },
};

/// An operator suspends an account, or lifts that.
pub struct SetSuspension {
    /// Who decides.
    pub operator_id: OperatorId,
    /// Names the request.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// Whom it concerns.
    pub account_id: AccountId,
    /// Suspended from now on, or not any more.
    pub suspended: bool,
    /// Why.
    pub reason_code: String,
}

impl App {
    /// Changes the standing at once, with its reason in the audit log (obligation T2.2.1c).
    pub async fn set_suspension(&self, command: SetSuspension) -> Result<(), Error> {
        let now = self.clock.now();
        let action = if command.suspended {
            "suspend_account"
        } else {
            "lift_suspension"
        };
        let mut tx = self.pool.begin().await?;
        let caller = format!("operator:{}", command.operator_id);
        let key = RequestKey {
            method: action,
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let (object_id, kept) = (command.account_id.uuid(), Some(requests::KEPT));
        if let Claim::Repeated(_) =
            requests::claim(&mut tx, key, command.body, object_id, now, kept).await?
        {
            return Ok(());
        }
        let standing = standings::suspend(&mut tx, command.account_id, command.suspended)
            .await?
            .ok_or(Error::NotFound)?;
        let entry = Entry {
            entry_id: self.ids.id::<()>().uuid(),
            operator_id: command.operator_id,
            action: action.to_owned(),
            object_id,
            reason_code: command.reason_code,
            acted_at: now,
        };
        audit::insert(&mut tx, &entry).await?;
        let event = StandingChanged {
            account_id: command.account_id.to_string(),
            version: standing.version,
            suspended: standing.suspended,
        };
        wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        tx.commit().await?;
        self.tell(Some(standing));
        Ok(())
    }

    /// What operators did, newest first.
    pub async fn audit_entries(&self, page: &PageRequest<Uuid>) -> Result<Page<Entry>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = audit::list(&mut connection, page.after, page.limit()).await?;
        Ok(page.page(rows, |entry| entry.entry_id))
    }
}
