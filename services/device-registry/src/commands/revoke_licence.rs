use wanwu_ids::{AccountId, DeviceId};
use wanwu_proto::device::v1::LicenceChanged;

use crate::{
    app::App,
    domain::capability::Capability,
    error::Error,
    store::{devices, licences},
};

/// The owner of an app takes a licence back.
pub struct RevokeLicence {
    /// The owner.
    pub account_id: AccountId,
    /// The device.
    pub device_id: DeviceId,
    /// What for.
    pub capability: Capability,
}

impl App {
    /// Ends the licence; calls with the device are refused within a second.
    pub async fn revoke_licence(&self, command: RevokeLicence) -> Result<(), Error> {
        let capability = command.capability.as_str();
        let mut tx = self.pool.begin().await?;
        let device = self
            .owned_device(&mut tx, command.account_id, command.device_id)
            .await?;
        if !licences::revoke(&mut tx, device.device_id, capability).await? {
            return Err(Error::NotFound);
        }
        let version = devices::touch(&mut tx, device.device_id).await?;
        let event = LicenceChanged {
            device_id: device.device_id.to_string(),
            app_id: device.app_id.to_string(),
            capability: capability.to_owned(),
            granted: false,
            version: version.unsigned_abs(),
        };
        wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        tx.commit().await?;
        Ok(())
    }
}
