use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use sqlx::{FromRow, PgConnection};

use crate::domain::{
    chain::Hash,
    checkpoint::{Checkpoint, Head},
};

/// A checkpoint with its proof.
#[derive(Clone, Debug, FromRow)]
pub struct Signed {
    /// Its number, from 1.
    pub number: i64,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// The digest of the one before.
    pub previous: Vec<u8>,
    /// Its own digest.
    pub digest: Vec<u8>,
    /// The key that signed it.
    pub key_id: String,
    /// The signature of the digest.
    pub signature: Vec<u8>,
}

/// A head as it was signed, and the entry that is at its place now.
#[derive(Clone, Debug, FromRow)]
pub struct StoredHead {
    /// The checkpoint.
    pub number: i64,
    /// The account's number in the ledger.
    pub ledger_account_id: i64,
    /// The place.
    pub chain_position: i64,
    /// The hash that was signed.
    pub chain_hash: Vec<u8>,
    /// The hash that is there; `None`: the entry is gone.
    pub entry_hash: Option<Vec<u8>>,
}

#[derive(FromRow)]
struct Moved {
    ledger_account_id: i64,
    chain_position: i64,
    chain_hash: Vec<u8>,
}

/// One maker at a time, until the transaction ends; `false`: another makes one.
pub async fn take_turn(tx: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select pg_try_advisory_xact_lock(hashtextextended('ledger_checkpoints', 0))",
    )
    .fetch_one(tx)
    .await
}

/// Number and digest of the last checkpoint; zeros before the first.
pub async fn last(tx: &mut PgConnection) -> sqlx::Result<(i64, Hash)> {
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "select number, digest from ledger_checkpoints order by number desc limit 1",
    )
    .fetch_optional(tx)
    .await?;
    last.map_or(Ok((0, [0; 32])), |(number, digest)| {
        Ok((number, hash(&digest)?))
    })
}

/// The heads of the accounts that went on since their last checkpoint.
pub async fn moved(tx: &mut PgConnection) -> sqlx::Result<Vec<Head>> {
    let rows: Vec<Moved> = sqlx::query_as(
        "select ledger_account_id, chain_position, chain_hash from ledger_accounts a
         where chain_position > coalesce((
             select h.chain_position from ledger_checkpoint_heads h
             where h.ledger_account_id = a.ledger_account_id
             order by h.chain_position desc limit 1), 0)
         order by ledger_account_id",
    )
    .fetch_all(tx)
    .await?;
    let head = |row: Moved| {
        Ok(Head {
            ledger_account_id: row.ledger_account_id,
            position: row.chain_position,
            hash: hash(&row.chain_hash)?,
        })
    };
    rows.into_iter().map(head).collect()
}

/// Writes a checkpoint; violates `ledger_checkpoints_pkey` when another made one of its number.
pub async fn insert(
    tx: &mut PgConnection,
    checkpoint: &Checkpoint,
    key_id: &str,
    signature: &[u8; 64],
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into ledger_checkpoints (number, made_at, previous, digest, key_id, signature)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(checkpoint.number)
    .bind(checkpoint.made_at)
    .bind(&checkpoint.previous[..])
    .bind(&checkpoint.digest()[..])
    .bind(key_id)
    .bind(&signature[..])
    .execute(&mut *tx)
    .await?;
    let (mut accounts, mut positions, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for head in &checkpoint.heads {
        accounts.push(head.ledger_account_id);
        positions.push(head.position);
        hashes.push(&head.hash[..]);
    }
    sqlx::query(
        "insert into ledger_checkpoint_heads (number, ledger_account_id, chain_position, chain_hash)
         select $1, account, place, hash
         from unnest($2::bigint[], $3::bigint[], $4::bytea[]) as head (account, place, hash)",
    )
    .bind(checkpoint.number)
    .bind(accounts)
    .bind(positions)
    .bind(hashes)
    .execute(tx)
    .await?;
    Ok(())
}

/// Every checkpoint, oldest first.
pub async fn list(tx: &mut PgConnection) -> sqlx::Result<Vec<Signed>> {
    sqlx::query_as("select * from ledger_checkpoints order by number")
        .fetch_all(tx)
        .await
}

/// Every head by checkpoint and account, with the entry that is at its place now.
pub fn heads(tx: &mut PgConnection) -> BoxStream<'_, sqlx::Result<StoredHead>> {
    sqlx::query_as(
        "select h.number, ledger_account_id, chain_position, h.chain_hash,
                e.chain_hash as entry_hash
         from ledger_checkpoint_heads h
         left join entries e using (ledger_account_id, chain_position)
         order by h.number, ledger_account_id",
    )
    .fetch(tx)
}

fn hash(bytes: &[u8]) -> sqlx::Result<Hash> {
    bytes
        .try_into()
        .map_err(|_| sqlx::Error::Decode("a hash has not 32 bytes".into()))
}
