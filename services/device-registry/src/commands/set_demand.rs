use wanwu_ids::{AccountId, AppId};

use crate::{app::App, domain::capability::Capability, error::Error, store::demands};

/// The owner of an app says whether its calls need a licensed device.
pub struct SetDemand {
    /// The owner.
    pub account_id: AccountId,
    /// The app.
    pub app_id: AppId,
    /// For what.
    pub capability: Capability,
    /// Whether.
    pub demanded: bool,
}

impl App {
    /// Writes the demand; calls without a licensed device are refused within a second.
    pub async fn set_demand(&self, command: SetDemand) -> Result<(), Error> {
        self.check_owner(command.account_id, command.app_id).await?;
        let mut tx = self.pool.begin().await?;
        demands::set(
            &mut tx,
            command.app_id,
            command.capability.as_str(),
            command.demanded,
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
