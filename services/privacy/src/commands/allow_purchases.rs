use sqlx::PgConnection;
use wanwu_ids::AccountId;
use wanwu_proto::privacy::v1::PurchaseAllowanceChanged;

use super::StartGuardianConsent;
use crate::{
    app::App,
    convert::timestamp,
    domain::allowance::{InvalidLimit, Limits},
    error::Error,
    store::{
        allowances::{self, Allowance},
        consents, guardians,
    },
};

impl App {
    /// Says what a ward may buy, in the place of what was said before (obligation T3.3.1c). Only the
    /// guardian whose consent stands can; for everybody else it is not there. The same again is the
    /// same version.
    pub async fn allow_purchases(
        &self,
        pair: StartGuardianConsent,
        limits: Limits,
    ) -> Result<i64, Error> {
        let now = self.clock.now();
        limits
            .check(now)
            .map_err(|InvalidLimit(field, what)| Error::invalid(field, what))?;
        let mut tx = self.pool.begin().await?;
        consents::lock(&mut tx, pair.ward_id).await?;
        if guardians::standing(&mut tx, pair.ward_id).await? != Some(pair.guardian_id) {
            return Err(Error::NotFound);
        }
        let version = self.say(&mut tx, pair, limits).await?;
        tx.commit().await?;
        Ok(version)
    }

    /// Ends what somebody allowed: their consent does not stand any more. The ward's entries are
    /// held.
    pub(super) async fn end_allowance(
        &self,
        tx: &mut PgConnection,
        ward_id: AccountId,
    ) -> Result<(), Error> {
        let Some(last) = allowances::newest(tx, ward_id).await? else {
            return Ok(());
        };
        let pair = StartGuardianConsent {
            guardian_id: last.guardian_account_id,
            ward_id,
        };
        let nothing = Limits {
            order_fen: 0,
            month_fen: 0,
            until: last.until,
        };
        self.say(tx, pair, nothing).await?;
        Ok(())
    }

    async fn say(
        &self,
        tx: &mut PgConnection,
        pair: StartGuardianConsent,
        limits: Limits,
    ) -> Result<i64, Error> {
        let last = allowances::newest(tx, pair.ward_id).await?;
        let said = Allowance {
            ward_account_id: pair.ward_id,
            version: last.as_ref().map_or(0, |last| last.version),
            guardian_account_id: pair.guardian_id,
            order_limit_fen: limits.order_fen,
            month_limit_fen: limits.month_fen,
            until: limits.until,
        };
        if last.as_ref() == Some(&said) {
            return Ok(said.version);
        }
        let said = Allowance {
            version: said.version + 1,
            ..said
        };
        allowances::insert(tx, &said, self.clock.now()).await?;
        let event = PurchaseAllowanceChanged {
            account_id: said.ward_account_id.to_string(),
            version: said.version,
            order_limit_fen: said.order_limit_fen,
            month_limit_fen: said.month_limit_fen,
            until_time: Some(timestamp(said.until)),
        };
        wanwu_events::publish(tx, &self.ids, &event).await?;
        Ok(said.version)
    }
}
