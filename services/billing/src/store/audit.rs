use sqlx::{FromRow, PgConnection};

/// What the entries say about the ledger.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Audit {
    /// The sum of all entries, as decimal text.
    pub entries_sum: String,
    /// Transfers that have not two entries that sum to zero.
    pub unbalanced_transfers: i64,
    /// Accounts whose balance is not the sum of their entries.
    pub wrong_balances: i64,
    /// How many entries there are.
    pub entries: i64,
}

impl Audit {
    /// How much is wrong; 0: nothing.
    #[must_use]
    pub fn wrong(&self) -> i64 {
        let sum = i64::from(self.entries_sum != "0");
        self.unbalanced_transfers + self.wrong_balances + sum
    }
}

/// Recomputes the ledger from its entries, in one snapshot. It reads every entry: the transaction's
/// statements get the time for it.
pub async fn recompute(tx: &mut PgConnection) -> sqlx::Result<Audit> {
    sqlx::query("set local statement_timeout = '10min'")
        .execute(&mut *tx)
        .await?;
    sqlx::query_as(
        "select
             (select coalesce(sum(amount_nanos), 0)::text from entries) as entries_sum,
             (select count(*) from (
                 select from transfers t left join entries e using (transfer_id)
                 group by t.transfer_id
                 having count(e.amount_nanos) < 2 or sum(e.amount_nanos) <> 0
             ) as unbalanced) as unbalanced_transfers,
             (select count(*) from ledger_accounts a
              left join (
                  select ledger_account_id, sum(amount_nanos) as nanos
                  from entries group by ledger_account_id
              ) as e using (ledger_account_id)
              where a.balance_nanos <> coalesce(e.nanos, 0)) as wrong_balances,
             (select count(*) from entries) as entries",
    )
    .fetch_one(tx)
    .await
}

/// How much is wrong by the balances alone, which is quick to tell: their sum is not zero, or what
/// is lent of an account is not what its leases hold, or what it has in packages is not theirs.
pub async fn glance(tx: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select
             (select (coalesce(sum(balance_nanos), 0) <> 0)::int from ledger_accounts)
             + (select count(*) from (
                   select account_id, balance_nanos from ledger_accounts where kind = 'leased'
               ) as booked
               full join (
                   select account_id, sum(amount_nanos - settled_nanos) as nanos
                   from leases where state <> 'freed' group by account_id
               ) as lent using (account_id)
               where coalesce(booked.balance_nanos, 0) <> coalesce(lent.nanos, 0))
             + (select count(*) from (
                   select account_id, balance_nanos from ledger_accounts where kind = 'package'
               ) as booked
               full join (
                   select account_id, sum(left_nanos) as nanos from packages group by account_id
               ) as had using (account_id)
               where coalesce(booked.balance_nanos, 0) <> coalesce(had.nanos, 0))",
    )
    .fetch_one(tx)
    .await
}
