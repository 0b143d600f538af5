use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::RefundId;

use super::{request_termination::after, set_aside};
use crate::{
    app::{App, Recall},
    domain::{
        ledger::LedgerAccount,
        money::NANOS_PER_FEN,
        refund::{Reason, State as RefundState},
        termination::{Event, State, compensation},
    },
    error::Error,
    store::{
        ledger, money, packages,
        refunds::{self, Evidence, Refund},
        terminations::{self, Compensation, PaidOrder, Termination},
    },
};

impl App {
    /// Ends the contracts whose time is over; answers how many are over now. From the end on nothing
    /// is lent any more; when what is lent has come back, the compensations are computed and sent
    /// (obligation T10.3b).
    pub async fn end_contracts(&self) -> Result<usize, Error> {
        let mut connection = self.pool.acquire().await?;
        let due = terminations::due(&mut connection, self.now(), 100).await?;
        drop(connection);
        let mut ended = 0;
        for id in due {
            match self.end_contract(id).await {
                Ok(state) => ended += usize::from(state == State::Ended),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, termination.id = %id, "a contract could not be ended; it will be again");
                }
            }
        }
        Ok(ended)
    }

    async fn end_contract(&self, id: Uuid) -> Result<State, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let termination = terminations::lock(&mut tx, id).await?;
        let mut termination = termination.ok_or(Error::NotFound)?;
        if termination.ends_at > now {
            return Ok(termination.state);
        }
        if termination.state == State::Noticed {
            termination.state = after(&termination, Event::TimeOver)?;
            terminations::save(&mut tx, &termination).await?;
            tx.commit().await?;
            // Idle credit comes back from the routers; new credit is refused.
            let _ = self.recalls.send(Recall {
                account_id: termination.account_id,
                forget: false,
            });
            return Ok(State::Ending);
        }
        let account_id = termination.account_id;
        let orders = terminations::lock_paid_orders(&mut tx, account_id).await?;
        let mut unspent = HashMap::new();
        for package in packages::lock_bought(&mut tx, account_id).await? {
            if let Some(order_id) = package.order_id {
                let bought = set_aside::bought(&mut tx, &package).await?;
                unspent.insert(order_id.uuid(), bought.unspent());
            }
        }
        ledger::lock_balance(&mut tx, LedgerAccount::Available(account_id)).await?;
        // Who lends holds the account's lock too: nothing is lent behind our back.
        let lent = terminations::count_leases(&mut tx, account_id).await?;
        if lent > 0 || termination.state != State::Ending {
            return Ok(termination.state);
        }
        self.compensate(&mut tx, &mut termination, orders, unspent, now)
            .await?;
        termination.state = after(&termination, Event::Settled)?;
        termination.ended_at = Some(now);
        terminations::save(&mut tx, &termination).await?;
        tx.commit().await?;
        Ok(State::Ended)
    }

    /// Lists what was paid and not used up, and sets aside what goes back for each order.
    async fn compensate(
        &self,
        tx: &mut PgConnection,
        termination: &mut Termination,
        orders: Vec<PaidOrder>,
        packages: HashMap<Uuid, i64>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let account_id = termination.account_id;
        let money = money::attribute(tx, account_id, |_| {}).await?;
        let mut left: HashMap<Uuid, i64> = HashMap::new();
        for lot in money.lots() {
            *left.entry(lot.cause).or_default() += lot.left;
        }
        for order in orders {
            let id = order.order_id.uuid();
            let unspent = match (order.provided, packages.get(&id)) {
                (Some(true), _) => 0,
                (Some(false), _) => (order.paid_fen - order.refunded_fen) * NANOS_PER_FEN,
                (None, Some(unspent)) => *unspent,
                (None, None) => left.remove(&id).unwrap_or_default(),
            };
            if unspent == 0 {
                continue;
            }
            let amount_fen = compensation(order.paid_fen, order.refunded_fen, unspent);
            let refund_id = match amount_fen {
                0 => None,
                _ => {
                    let refund = self.refund(termination, &order, amount_fen, now)?;
                    refunds::insert(tx, &refund).await?;
                    self.set_aside(tx, &refund, account_id).await?;
                    self.reverse_invoices(tx, order.order_id).await?;
                    Some(refund.refund_id)
                }
            };
            let compensation = Compensation {
                order_id: order.order_id,
                paid_fen: order.paid_fen,
                refunded_fen: order.refunded_fen,
                unspent_nanos: unspent,
                amount_fen,
                refund_id,
            };
            terminations::compensate(tx, termination.termination_id, &compensation).await?;
        }
        termination.by_bank_nanos = left.into_values().sum();
        Ok(())
    }

    fn refund(
        &self,
        termination: &Termination,
        order: &PaidOrder,
        amount_fen: i64,
        now: DateTime<Utc>,
    ) -> Result<Refund, Error> {
        let refund_id: RefundId = self.ids.id();
        let evidence = format!("termination {}", termination.termination_id);
        Ok(Refund {
            refund_id,
            order_id: order.order_id,
            provider: order.provider,
            transaction_id: order.transaction_id.clone(),
            amount_fen,
            reason: Reason::Termination,
            state: RefundState::Approved,
            attempt: 1,
            provider_state: String::new(),
            request: Some(Evidence {
                case_id: termination.case_id.clone(),
                sha256: digest(&SHA256, evidence.as_bytes()).as_ref().to_vec(),
                requested_by: termination.requested_by,
            }),
            decided_by: Some(termination.decided_by.ok_or(Error::TerminationState)?),
            requested_at: now,
            decided_at: Some(now),
            ended_at: None,
            query_after: now,
            queries: 0,
        })
    }
}
