use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
    violates,
};

use crate::{
    app::App,
    domain::{
        calendar,
        termination::{Event, State, earliest_end, latest_end},
    },
    error::Error,
    store::terminations::{self, Compensation, Termination},
};

/// An operator says that a contract is to end.
pub struct RequestTermination {
    /// Who.
    pub operator_id: OperatorId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// Whose contract.
    pub account_id: AccountId,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// The number of the case that says why.
    pub case_id: String,
}

impl App {
    /// Writes the request; a second operator decides (obligation T10.3a).
    pub async fn request_termination(
        &self,
        command: RequestTermination,
    ) -> Result<Termination, Error> {
        let now = self.now();
        let id: Uuid = self.ids.id::<()>().uuid();
        let mut tx = self.pool.begin().await?;
        let caller = format!("operator:{}", command.operator_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.TerminationService/RequestTermination",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, id, now, None).await?
        {
            let made = terminations::find(&mut tx, made).await?;
            return made.ok_or(Error::NotFound);
        }
        if command.ends_at < earliest_end(now) {
            return Err(Error::NoticeTooShort);
        }
        if command.ends_at > latest_end(now) {
            return Err(Error::invalid("end_time", "is more than a year away"));
        }
        let termination = Termination {
            termination_id: id,
            account_id: command.account_id,
            state: State::Requested,
            case_id: command.case_id,
            ends_at: command.ends_at,
            requested_at: now,
            requested_by: command.operator_id,
            noticed_at: None,
            decided_by: None,
            ended_at: None,
            by_bank_nanos: 0,
        };
        let inserted = terminations::insert(&mut tx, &termination).await;
        inserted.map_err(|error| match violates(&error, "terminations_open_key") {
            true => Error::TerminationState,
            false => error.into(),
        })?;
        tx.commit().await?;
        Ok(termination)
    }

    /// A second operator approves: notice is given now, and thirty days follow. Who comes too late
    /// for the date is refused.
    pub async fn approve_termination(
        &self,
        operator_id: OperatorId,
        id: Uuid,
    ) -> Result<Termination, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let mut termination = lock(&mut tx, id).await?;
        if termination.requested_by == operator_id {
            return Err(Error::SameOperator);
        }
        termination.state = after(&termination, Event::Approve)?;
        if termination.ends_at < earliest_end(now) {
            return Err(Error::NoticeTooShort);
        }
        termination.noticed_at = Some(now);
        termination.decided_by = Some(operator_id);
        terminations::save(&mut tx, &termination).await?;
        self.tell_of_end(&mut tx, &termination, "termination_notice")
            .await?;
        tx.commit().await?;
        Ok(termination)
    }

    /// An operator takes it back, notice or not.
    pub async fn withdraw_termination(
        &self,
        operator_id: OperatorId,
        id: Uuid,
    ) -> Result<Termination, Error> {
        let mut tx = self.pool.begin().await?;
        let mut termination = lock(&mut tx, id).await?;
        let noticed = termination.state == State::Noticed;
        termination.state = after(&termination, Event::Withdraw)?;
        termination.decided_by = Some(operator_id);
        terminations::save(&mut tx, &termination).await?;
        if noticed {
            self.tell_of_end(&mut tx, &termination, "termination_withdrawn")
                .await?;
        }
        tx.commit().await?;
        Ok(termination)
    }

    /// One with what goes back.
    pub async fn termination(&self, id: Uuid) -> Result<(Termination, Vec<Compensation>), Error> {
        let mut connection = self.pool.acquire().await?;
        let termination = terminations::find(&mut connection, id).await?;
        let termination = termination.ok_or(Error::NotFound)?;
        let compensations = terminations::compensations(&mut connection, id).await?;
        Ok((termination, compensations))
    }

    /// Terminations, newest first.
    pub async fn terminations(&self, page: &PageRequest<Uuid>) -> Result<Page<Termination>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = terminations::list(&mut connection, page.after, page.limit()).await?;
        Ok(page.page(rows, |termination| termination.termination_id))
    }

    async fn tell_of_end(
        &self,
        tx: &mut PgConnection,
        termination: &Termination,
        template: &str,
    ) -> sqlx::Result<()> {
        let date = [("date", calendar::day(termination.ends_at).to_string())];
        self.notify(tx, termination.account_id, template, date)
            .await
    }
}

async fn lock(tx: &mut PgConnection, id: Uuid) -> Result<Termination, Error> {
    let termination = terminations::lock(tx, id).await?;
    termination.ok_or(Error::NotFound)
}

pub(super) fn after(termination: &Termination, event: Event) -> Result<State, Error> {
    termination
        .state
        .after(event)
        .ok_or(Error::TerminationState)
}
