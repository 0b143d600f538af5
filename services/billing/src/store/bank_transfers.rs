use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::AccountId;

/// A declaration, without what is sealed.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct BankTransfer {
    /// The declaration.
    pub bank_transfer_id: Uuid,
    /// Whose.
    pub account_id: AccountId,
    /// To be written into the remark.
    pub reference: String,
    /// The sending bank.
    pub bank_name: String,
    /// The end of the sending account's number.
    pub account_number_last4: String,
    /// In fen.
    pub amount_fen: i64,
    /// What came and is credited, in fen.
    pub credited_fen: i64,
    /// When it is sent.
    pub transfer_at: DateTime<Utc>,
    /// When it was declared.
    pub created_at: DateTime<Utc>,
    /// The guardian's word that covers it, if a minor declared it.
    pub allowance_version: Option<i64>,
}

/// What is sealed or hashed of a declaration.
pub struct Secrets {
    /// The account's number.
    pub number_sealed: Vec<u8>,
    /// Its keyed hash.
    pub number_mac: Vec<u8>,
    /// Whose account it is.
    pub name_sealed: Vec<u8>,
}

/// A declaration that waits for money, and whether it named this account.
#[derive(Clone, Debug, FromRow)]
pub struct Candidate {
    /// The declaration.
    #[sqlx(flatten)]
    pub transfer: BankTransfer,
    /// It named the account that was asked for.
    pub same_account: bool,
}

/// Writes a declaration.
pub async fn insert(
    tx: &mut PgConnection,
    transfer: &BankTransfer,
    secrets: &Secrets,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into bank_transfers (bank_transfer_id, account_id, reference, bank_name,
             account_number_sealed, account_number_last4, account_number_mac, account_name_sealed,
             amount_fen, transfer_at, created_at, allowance_version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(transfer.bank_transfer_id)
    .bind(transfer.account_id)
    .bind(&transfer.reference)
    .bind(&transfer.bank_name)
    .bind(&secrets.number_sealed)
    .bind(&transfer.account_number_last4)
    .bind(&secrets.number_mac)
    .bind(&secrets.name_sealed)
    .bind(transfer.amount_fen)
    .bind(transfer.transfer_at)
    .bind(transfer.created_at)
    .bind(transfer.allowance_version)
    .execute(tx)
    .await?;
    Ok(())
}

/// The declaration with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<BankTransfer>> {
    sqlx::query_as("select * from bank_transfers where bank_transfer_id = $1 for update")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// The account's declarations, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<BankTransfer>> {
    sqlx::query_as(
        "select * from bank_transfers
         where account_id = $1 and ($2::uuid is null or bank_transfer_id < $2)
         order by bank_transfer_id desc limit $3",
    )
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// The declaration with this reference, if it waits for money; locked until the transaction ends.
pub async fn waiting_by_reference(
    tx: &mut PgConnection,
    reference: &str,
) -> sqlx::Result<Vec<Candidate>> {
    sqlx::query_as(
        "select *, false as same_account from bank_transfers
         where credited_fen < amount_fen and reference = $1 for update",
    )
    .bind(reference)
    .fetch_all(tx)
    .await
}

/// Declarations that wait for money, name an account by one of these hashes and were made until then;
/// locked until the transaction ends. At most 100, oldest first.
pub async fn waiting_by_account(
    tx: &mut PgConnection,
    macs: &[Vec<u8>],
    made_until: DateTime<Utc>,
) -> sqlx::Result<Vec<Candidate>> {
    sqlx::query_as(
        "select *, true as same_account from bank_transfers
         where credited_fen < amount_fen and account_number_mac = any ($1) and created_at <= $2
         order by bank_transfer_id limit 100 for update",
    )
    .bind(macs)
    .bind(made_until)
    .fetch_all(tx)
    .await
}

/// Adds to what came of a declaration; below zero: it was taken back.
pub async fn add_credited(tx: &mut PgConnection, id: Uuid, fen: i64) -> sqlx::Result<()> {
    sqlx::query(
        "update bank_transfers set credited_fen = credited_fen + $2 where bank_transfer_id = $1",
    )
    .bind(id)
    .bind(fen)
    .execute(tx)
    .await?;
    Ok(())
}
