//! What device-registry does: one use case a file.

mod grant_licence;
mod register_device;
mod revoke_licence;
mod set_demand;

pub use grant_licence::GrantLicence;
pub use register_device::{RegisterDevice, Registered};
pub use revoke_licence::RevokeLicence;
pub use set_demand::SetDemand;

use sqlx::PgConnection;
use wanwu_ids::{AccountId, AppId, DeviceId};

use crate::{
    app::App,
    error::Error,
    store::devices::{self, Device},
};

impl App {
    /// The device, if it belongs to an app of the account; for everybody else it is not there.
    async fn owned_device(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        device_id: DeviceId,
    ) -> Result<Device, Error> {
        let device = devices::lock(tx, device_id).await?.ok_or(Error::NotFound)?;
        self.check_owner(account_id, device.app_id).await?;
        Ok(device)
    }

    /// The app is the account's.
    async fn check_owner(&self, account_id: AccountId, app_id: AppId) -> Result<(), Error> {
        let owner = self.identity.app_owner(app_id).await?;
        if owner == account_id {
            Ok(())
        } else {
            Err(Error::NotFound)
        }
    }
}
