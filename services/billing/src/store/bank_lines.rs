use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::AccountId;

/// A line of a statement as it is kept.
#[derive(Clone, Debug, FromRow)]
pub struct BankLine {
    /// The line.
    pub bank_line_id: Uuid,
    /// Its number at the bank.
    pub serial: String,
    /// In fen.
    pub amount_fen: i64,
    /// What of it belongs to a customer, in fen.
    pub matched_fen: i64,
    /// The end of the sending account's number.
    pub account_number_last4: String,
    /// The reference in its remark; empty: none.
    pub reference: String,
    /// The bank took it back.
    pub reversed_at: Option<DateTime<Utc>>,
    /// The line that it takes back.
    pub reverses: Option<Uuid>,
    /// When the bank booked it.
    pub booked_at: DateTime<Utc>,
    /// When it came here.
    pub imported_at: DateTime<Utc>,
}

/// What is hashed of a line.
pub struct Hashes {
    /// Of everything that the bank said.
    pub content: Vec<u8>,
    /// Of the sending account's number.
    pub number: Option<Vec<u8>>,
}

/// Money of a line that is a declaration's.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Match {
    /// The match.
    pub bank_match_id: Uuid,
    /// The line.
    pub bank_line_id: Uuid,
    /// The declaration.
    pub bank_transfer_id: Uuid,
    /// Whose.
    pub account_id: AccountId,
    /// In fen; below zero: taken back.
    pub amount_fen: i64,
}

/// One at a time books at the bank's accounts, until the transaction ends.
pub async fn take_turn(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('bank_lines', 0))")
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a new line; `false`: its serial number is there.
pub async fn insert(tx: &mut PgConnection, line: &BankLine, hashes: &Hashes) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "insert into bank_lines (bank_line_id, serial, content_mac, amount_fen, account_number_mac,
             account_number_last4, reference, reverses, booked_at, imported_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict on constraint bank_lines_serial_key do nothing",
    )
    .bind(line.bank_line_id)
    .bind(&line.serial)
    .bind(&hashes.content)
    .bind(line.amount_fen)
    .bind(&hashes.number)
    .bind(&line.account_number_last4)
    .bind(&line.reference)
    .bind(line.reverses)
    .bind(line.booked_at)
    .bind(line.imported_at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The hash of what the bank said under a serial number.
pub async fn content_of(tx: &mut PgConnection, serial: &str) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar("select content_mac from bank_lines where serial = $1")
        .bind(serial)
        .fetch_optional(tx)
        .await
}

/// The line with this serial number, locked until the transaction ends.
pub async fn lock_serial(tx: &mut PgConnection, serial: &str) -> sqlx::Result<Option<BankLine>> {
    sqlx::query_as("select * from bank_lines where serial = $1 for update")
        .bind(serial)
        .fetch_optional(tx)
        .await
}

/// Lines with these serial numbers that nothing is credited of yet, in their order.
pub async fn waiting_of(
    tx: &mut PgConnection,
    serials: &[String],
) -> sqlx::Result<Vec<(Uuid, String)>> {
    sqlx::query_as(
        "select bank_line_id, serial from bank_lines line
         where serial = any ($1) and reversed_at is null and reverses is null
           and not exists (select from bank_matches where bank_line_id = line.bank_line_id)
         order by bank_line_id",
    )
    .bind(serials)
    .fetch_all(tx)
    .await
}

/// Lines that came since then and that nothing is credited of yet, though somebody may wait for them;
/// each with the hash of the sending account's number.
pub async fn waiting(
    tx: &mut PgConnection,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<(Uuid, Option<Vec<u8>>)>> {
    sqlx::query_as(
        "select bank_line_id, account_number_mac from bank_lines line
         where matched_fen < amount_fen and reversed_at is null and reverses is null
           and imported_at >= $1
           and not exists (select from bank_matches where bank_line_id = line.bank_line_id)
           and exists (select from bank_transfers
                       where credited_fen < amount_fen
                         and (reference = line.reference
                              or account_number_mac = line.account_number_mac))
         order by bank_line_id",
    )
    .bind(since)
    .fetch_all(tx)
    .await
}

/// The line with this id, if nothing is credited of it yet, locked until the transaction ends.
pub async fn lock_waiting(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<BankLine>> {
    sqlx::query_as(
        "select * from bank_lines line
         where bank_line_id = $1 and reversed_at is null and reverses is null
           and not exists (select from bank_matches where bank_line_id = line.bank_line_id)
         for update",
    )
    .bind(id)
    .fetch_optional(tx)
    .await
}

/// The line with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<BankLine>> {
    sqlx::query_as("select * from bank_lines where bank_line_id = $1 for update")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// The bank took a line back: nothing of it is anybody's.
pub async fn reverse(tx: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update bank_lines set reversed_at = $2, matched_fen = 0 where bank_line_id = $1")
        .bind(id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a match and what it leaves of its line.
pub async fn insert_match(
    tx: &mut PgConnection,
    new: &Match,
    matched_by: Option<Uuid>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into bank_matches (bank_match_id, bank_line_id, bank_transfer_id, account_id,
             amount_fen, matched_by, matched_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.bank_match_id)
    .bind(new.bank_line_id)
    .bind(new.bank_transfer_id)
    .bind(new.account_id)
    .bind(new.amount_fen)
    .bind(matched_by)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if new.amount_fen > 0 {
        sqlx::query("update bank_lines set matched_fen = matched_fen + $2 where bank_line_id = $1")
            .bind(new.bank_line_id)
            .bind(new.amount_fen)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Whose money a line is.
pub async fn matches_of(tx: &mut PgConnection, line: Uuid) -> sqlx::Result<Vec<Match>> {
    sqlx::query_as("select * from bank_matches where bank_line_id = $1 order by bank_match_id")
        .bind(line)
        .fetch_all(tx)
        .await
}

/// Lines with money that is nobody's, oldest first, those after `after`.
pub async fn unmatched(
    tx: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<BankLine>> {
    sqlx::query_as(
        "select * from bank_lines
         where matched_fen < amount_fen and reversed_at is null and reverses is null
           and ($1::uuid is null or bank_line_id > $1)
         order by bank_line_id limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Seconds since the oldest money came that is nobody's; 0: there is none.
pub async fn oldest_unmatched(tx: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<f64> {
    sqlx::query_scalar(
        "select coalesce(extract(epoch from $1 - min(imported_at)), 0)::float8 from bank_lines
         where matched_fen < amount_fen and reversed_at is null and reverses is null",
    )
    .bind(now)
    .fetch_one(tx)
    .await
}
