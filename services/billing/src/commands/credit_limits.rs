use chrono::{DateTime, Utc};
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, RequestId};
use wanwu_personal::Uscc;
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
    violates,
};

use crate::{
    app::{App, Recall},
    domain::credit::{self as rules, Limit, State, is_enterprise, latest_end},
    error::Error,
    store::{
        credit,
        credit_limits::{self, CreditLimit, Request},
        ledger, recalls,
    },
};

/// Limits that are ended together.
const AT_ONCE: i64 = 100;

/// An operator proposes a limit.
pub struct RequestCreditLimit {
    /// Who.
    pub operator_id: OperatorId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// Whose limit.
    pub account_id: AccountId,
    /// How far below zero, in 10^-9 CNY.
    pub limit_nanos: i64,
    /// The number of the contract.
    pub contract: String,
    /// The enterprise's code.
    pub uscc: Uscc,
    /// When the limit ends.
    pub ends_at: DateTime<Utc>,
}

/// How far an account may go and what it owes, in 10^-9 CNY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// How far below zero; nothing is lent beyond zero while something is overdue.
    pub limit: i64,
    /// When the limit ends.
    pub ends_at: Option<DateTime<Utc>>,
    /// What was used beyond what was paid.
    pub owed: i64,
    /// When the oldest of it is due.
    pub due_at: Option<DateTime<Utc>>,
    /// What of it is overdue.
    pub overdue: i64,
}

impl App {
    /// Writes the request; a second operator decides.
    pub async fn request_credit_limit(
        &self,
        command: RequestCreditLimit,
    ) -> Result<Request, Error> {
        let now = self.now();
        let id: Uuid = self.ids.id::<()>().uuid();
        let mut tx = self.pool.begin().await?;
        let caller = format!("operator:{}", command.operator_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.CreditLimitService/RequestCreditLimit",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, id, now, None).await?
        {
            let made = credit_limits::find_request(&mut tx, made).await?;
            return made.ok_or(Error::NotFound);
        }
        if !is_enterprise(&command.uscc) {
            return Err(Error::invalid("uscc", "is of a person's business"));
        }
        if command.ends_at <= now || command.ends_at > latest_end(now) {
            let what = "must be after now and within three years";
            return Err(Error::invalid("end_time", what));
        }
        let request = Request {
            credit_limit_request_id: id,
            account_id: command.account_id,
            state: State::Requested,
            limit_nanos: command.limit_nanos,
            contract: command.contract,
            uscc: command.uscc.expose().to_owned(),
            ends_at: command.ends_at,
            requested_at: now,
            requested_by: command.operator_id,
            decided_at: None,
            decided_by: None,
        };
        let inserted = credit_limits::insert_request(&mut tx, &request).await;
        inserted.map_err(
            |error| match violates(&error, "credit_limit_requests_open_key") {
                true => Error::CreditLimitState,
                false => error.into(),
            },
        )?;
        tx.commit().await?;
        Ok(request)
    }

    /// A second operator approves: the limit is in force from now on, in place of the one before.
    pub async fn approve_credit_limit(
        &self,
        operator_id: OperatorId,
        id: Uuid,
    ) -> Result<Request, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let request = credit_limits::lock_request(&mut tx, id).await?;
        let mut request = request.ok_or(Error::NotFound)?;
        if request.requested_by == operator_id {
            return Err(Error::SameOperator);
        }
        if request.state != State::Requested || request.ends_at <= now {
            return Err(Error::CreditLimitState);
        }
        request.state = State::Approved;
        request.decided_at = Some(now);
        request.decided_by = Some(operator_id);
        credit_limits::decide_request(&mut tx, &request).await?;
        credit_limits::open_account(&mut tx, request.account_id).await?;
        ledger::lock_credit(&mut tx, request.account_id).await?;
        let limit = Limit {
            nanos: request.limit_nanos,
            ends_at: Some(request.ends_at),
        };
        let by = (Some(operator_id), Some(id));
        credit_limits::insert(&mut tx, request.account_id, limit, by, now).await?;
        tx.commit().await?;
        self.freed.notify_waiters();
        Ok(request)
    }

    /// An operator takes a request back that is not decided.
    pub async fn withdraw_credit_limit(
        &self,
        operator_id: OperatorId,
        id: Uuid,
    ) -> Result<Request, Error> {
        let mut tx = self.pool.begin().await?;
        let request = credit_limits::lock_request(&mut tx, id).await?;
        let mut request = request.ok_or(Error::NotFound)?;
        if request.state != State::Requested {
            return Err(Error::CreditLimitState);
        }
        request.state = State::Withdrawn;
        request.decided_at = Some(self.now());
        request.decided_by = Some(operator_id);
        credit_limits::decide_request(&mut tx, &request).await?;
        tx.commit().await?;
        Ok(request)
    }

    /// One operator lowers a limit, or ends it with 0, at once: nothing is lent below the new one, and
    /// idle credit comes back. What is owed already stays owed.
    pub async fn lower_credit_limit(
        &self,
        operator_id: OperatorId,
        account_id: AccountId,
        nanos: i64,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let (_, held) = ledger::lock_credit(&mut tx, account_id).await?;
        if nanos > held.at(now) {
            return Err(Error::CreditLimitNotLower);
        }
        if nanos == held.nanos {
            return Ok(());
        }
        let limit = Limit {
            nanos,
            ends_at: held.ends_at.filter(|_| nanos > 0),
        };
        let by = (Some(operator_id), None);
        credit_limits::insert(&mut tx, account_id, limit, by, now).await?;
        recalls::want(&mut tx, account_id).await?;
        tx.commit().await?;
        // Nobody watching here is fine: routers watch other replicas too.
        let _ = self.recalls.send(Recall {
            account_id,
            forget: false,
        });
        Ok(())
    }

    /// Ends the limits whose time is over, so that the database refuses what the service refuses from
    /// that time on; answers how many.
    pub async fn end_credit_limits(&self) -> Result<usize, Error> {
        let now = self.now();
        let mut connection = self.pool.acquire().await?;
        let over = credit_limits::over(&mut connection, now, AT_ONCE).await?;
        drop(connection);
        let mut ended = 0;
        for account_id in over {
            let mut tx = self.pool.begin().await?;
            let (_, held) = ledger::lock_credit(&mut tx, account_id).await?;
            if held.nanos > 0 && held.at(now) == 0 {
                let none = (None, None);
                credit_limits::insert(&mut tx, account_id, Limit::default(), none, now).await?;
                ended += 1;
            }
            tx.commit().await?;
        }
        Ok(ended)
    }

    /// An account's limit and what it owes; `None`: it never had a limit.
    pub async fn credit_of(&self, account_id: AccountId) -> Result<Option<Credit>, Error> {
        let now = self.now();
        let mut connection = self.pool.acquire().await?;
        if !credit_limits::any(&mut connection, account_id).await? {
            return Ok(None);
        }
        let (available, leased, limit) = credit::read(&mut connection, account_id).await?;
        let dues = credit::dues(&mut connection, account_id).await?;
        let owed = rules::owed(available, leased);
        Ok(Some(Credit {
            limit: limit.at(now),
            ends_at: limit.ends_at.filter(|ends_at| now < *ends_at),
            owed,
            due_at: rules::next_due(&dues, owed, now),
            overdue: rules::overdue(&dues, now),
        }))
    }

    /// Requests for limits, newest first.
    pub async fn credit_limit_requests(
        &self,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<Request>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = credit_limits::list_requests(&mut connection, page.after, page.limit()).await?;
        Ok(page.page(rows, |request| request.credit_limit_request_id))
    }

    /// Every limit of an account, newest first.
    pub async fn credit_limits(
        &self,
        account_id: AccountId,
        page: &PageRequest<i64>,
    ) -> Result<Page<CreditLimit>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows =
            credit_limits::list(&mut connection, account_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |limit| limit.credit_limit_id))
    }
}
