use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::AccountId;

/// The guardian whose consent for the ward stands.
pub async fn standing(
    tx: &mut PgConnection,
    ward_id: AccountId,
) -> sqlx::Result<Option<AccountId>> {
    let newest: Option<(AccountId, String)> = sqlx::query_as(
        "select guardian_account_id, action from guardian_entries
         where ward_account_id = $1 order by entry_id desc limit 1",
    )
    .bind(ward_id)
    .fetch_optional(tx)
    .await?;
    Ok(newest.and_then(|(guardian_id, action)| (action == "given").then_some(guardian_id)))
}

/// Writes an entry: the guardian's consent is given or withdrawn.
pub async fn record(
    tx: &mut PgConnection,
    entry_id: Uuid,
    ward_id: AccountId,
    guardian_id: AccountId,
    given: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into guardian_entries
             (entry_id, ward_account_id, guardian_account_id, action, recorded_at)
         values ($1, $2, $3, $4, $5)",
    )
    .bind(entry_id)
    .bind(ward_id)
    .bind(guardian_id)
    .bind(if given { "given" } else { "withdrawn" })
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
