use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use wanwu_ids::{AppId, DeviceId};
use wanwu_personal::{DeviceIdentifier, DeviceIdentifierKind};

use crate::{
    app::App,
    error::Error,
    store::devices::{self, Registration},
};

/// An app registers an end user's device.
pub struct RegisterDevice {
    /// The app.
    pub app_id: AppId,
    /// What kind of identifier it is.
    pub kind: DeviceIdentifierKind,
    /// The device's identifier.
    pub identifier: DeviceIdentifier,
}

/// A registered device.
pub struct Registered {
    /// The device.
    pub device_id: DeviceId,
    /// Its token, shown once.
    pub token: String,
}

impl App {
    /// Keeps a keyed pseudonym of the identifier and makes a new token; the one before ends.
    pub async fn register_device(&self, command: RegisterDevice) -> Result<Registered, Error> {
        let mut secret = [0; 32];
        self.entropy.fill(&mut secret);
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let hash = digest(&SHA256, secret.as_bytes());

        let kind = stored(command.kind);
        // The app is in what is hashed: two apps cannot compare their devices.
        let subject = format!("{}|{kind}|{}", command.app_id, command.identifier.expose());
        let newest = self.pseudonyms.entry(&subject);

        let mut tx = self.pool.begin().await?;
        for old in self.pseudonyms.entries(&subject) {
            if old != newest {
                devices::rekey(&mut tx, command.app_id, kind, &old, &newest).await?;
            }
        }
        let device = devices::register(
            &mut tx,
            &Registration {
                device_id: self.ids.id(),
                app_id: command.app_id,
                kind,
                pseudonym: &newest,
                secret_hash: hash.as_ref(),
                now: self.clock.now(),
            },
        )
        .await?;
        if device.version == 1 && devices::count(&mut tx, command.app_id).await? > self.max_devices
        {
            return Err(Error::TooManyDevices);
        }
        tx.commit().await?;
        let token = format!("wd-{}-{secret}", device.device_id.uuid().simple());
        Ok(Registered {
            device_id: device.device_id,
            token,
        })
    }
}

/// The kind as the table has it.
const fn stored(kind: DeviceIdentifierKind) -> &'static str {
    match kind {
        DeviceIdentifierKind::Oaid => "oaid",
        DeviceIdentifierKind::AndroidId => "android_id",
    }
}
