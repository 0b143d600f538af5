use chrono::DateTime;
use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::privacy::v1::PurchaseAllowanceChanged;

use crate::{domain::purchase::Allowance, store::purchase_allowances};

/// Keeps what guardians allow minors to buy.
pub struct KeepAllowance;

impl Handler<PurchaseAllowanceChanged> for KeepAllowance {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: PurchaseAllowanceChanged,
    ) -> Result<(), HandlerError> {
        let account_id = event.account_id.parse();
        let account_id = account_id.map_err(|error: InvalidId| HandlerError::reject(error))?;
        let at = event.until_time.unwrap_or_default();
        let until = DateTime::from_timestamp(at.seconds, at.nanos.unsigned_abs());
        let allowance = Allowance {
            version: event.version,
            order_limit_fen: event.order_limit_fen,
            month_limit_fen: event.month_limit_fen,
            until: until.ok_or_else(|| HandlerError::reject("until_time is no instant"))?,
        };
        purchase_allowances::save(tx, account_id, &allowance).await?;
        Ok(())
    }
}
