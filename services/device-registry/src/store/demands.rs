use sqlx::PgConnection;
use wanwu_ids::AppId;

/// Says whether an app demands a licensed device for a capability.
pub async fn set(
    tx: &mut PgConnection,
    app_id: AppId,
    capability: &str,
    demanded: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into demands as d (app_id, capabilities, version, changed_at)
         values ($1, case when $3 then array[$2] else '{}'::text[] end, 1, clock_timestamp())
         on conflict (app_id) do update set
             capabilities = case when $3 then array_remove(d.capabilities, $2) || $2
                                 else array_remove(d.capabilities, $2) end,
             version = d.version + 1, changed_at = clock_timestamp()",
    )
    .bind(app_id)
    .bind(capability)
    .bind(demanded)
    .execute(tx)
    .await?;
    Ok(())
}
