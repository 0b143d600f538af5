use chrono::{DateTime, Utc};
use wanwu_ids::{AccountId, DeviceId};
use wanwu_proto::device::v1::LicenceChanged;

use crate::{
    app::App,
    domain::capability::Capability,
    error::Error,
    store::{devices, licences},
};

/// The owner of an app licenses one of its devices.
pub struct GrantLicence {
    /// The owner.
    pub account_id: AccountId,
    /// The device.
    pub device_id: DeviceId,
    /// What for.
    pub capability: Capability,
    /// When the licence ends; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

impl App {
    /// Grants the licence, or gives the one that is there a new end.
    pub async fn grant_licence(&self, command: GrantLicence) -> Result<(), Error> {
        let now = self.clock.now();
        if command.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::invalid("expire_time", "is in the past"));
        }
        let capability = command.capability.as_str();
        let mut tx = self.pool.begin().await?;
        let device = self
            .owned_device(&mut tx, command.account_id, command.device_id)
            .await?;
        licences::grant(
            &mut tx,
            device.device_id,
            capability,
            command.expires_at,
            now,
        )
        .await?;
        let version = devices::touch(&mut tx, device.device_id).await?;
        let event = LicenceChanged {
            device_id: device.device_id.to_string(),
            app_id: device.app_id.to_string(),
            capability: capability.to_owned(),
            granted: true,
            version: version.unsigned_abs(),
        };
        wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        tx.commit().await?;
        Ok(())
    }
}
