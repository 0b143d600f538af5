//! What apps demand of devices, and what devices hold: from device-registry, held in memory.

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::BoxStream};
use tonic::Status;
use uuid::Uuid;
use wanwu_clock::SharedClock;
use wanwu_ids::AppId;
use wanwu_proto::device::v1::{
    DeviceGate, GetDeviceGateRequest, WatchDeviceGatesRequest,
    device_gate_service_client::DeviceGateServiceClient,
};
use wanwu_watch::{Holder, Source};

use crate::{error::Error, peers::PeerChannel};

/// How many apps' and devices' gates are held.
const CAPACITY: usize = 200_000;

/// The gates of apps and devices.
#[derive(Clone)]
pub struct Devices {
    gates: Holder<Gates>,
    clock: SharedClock,
}

/// device-registry, as a source of gates.
pub struct Gates(DeviceGateServiceClient<PeerChannel>);

/// A device's token: `wd-<device, 32 hex>-<secret>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token<'t> {
    device: Uuid,
    secret: &'t str,
}

impl Devices {
    /// Asks device-registry through this channel.
    #[must_use]
    pub fn new(channel: PeerChannel, clock: SharedClock) -> Self {
        let source = Gates(DeviceGateServiceClient::new(channel));
        Self {
            gates: Holder::new(source, CAPACITY),
            clock,
        }
    }

    /// What keeps the gates fresh.
    #[must_use]
    pub fn holder(&self) -> Holder<Gates> {
        self.gates.clone()
    }

    /// Refuses a call whose app demands a licensed device for `capability` and that has none.
    pub async fn admit(&self, app: AppId, token: &str, capability: &str) -> Result<(), Error> {
        let demanded = self.gate(app.uuid()).await?;
        if !demanded
            .demanded_capabilities
            .iter()
            .any(|demanded| demanded == capability)
        {
            return Ok(());
        }
        let token = Token::parse(token).ok_or(Error::DeviceLicenceRequired)?;
        let device = self.gate(token.device).await?;
        if licensed(&device, app, token.secret, capability, self.clock.now()) {
            Ok(())
        } else {
            Err(Error::DeviceLicenceRequired)
        }
    }

    async fn gate(&self, id: Uuid) -> Result<Arc<DeviceGate>, Error> {
        let mut text = Uuid::encode_buffer();
        let id = id.hyphenated();
        let gate = self.gates.get(id.encode_lower(&mut text)).await;
        let gate = gate.map_err(|error| Error::Unavailable(Box::new(error)))?;
        Ok(gate.unwrap_or_default())
    }
}

impl<'t> Token<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let (device, secret) = text.strip_prefix("wd-")?.split_once('-')?;
        let device = Some(device).filter(|hex| hex.len() == 32)?;
        let secret = Some(secret).filter(|s| (16..=128).contains(&s.len()))?;
        Some(Self {
            device: Uuid::try_parse(device).ok()?,
            secret,
        })
    }
}

/// This device is of this app, has this secret, and holds a live licence.
fn licensed(
    device: &DeviceGate,
    app: AppId,
    secret: &str,
    capability: &str,
    now: DateTime<Utc>,
) -> bool {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    let right = constant_time::verify_slices_are_equal(hash.as_ref(), &device.secret_hash).is_ok();
    right
        && device.app_id.parse() == Ok(app)
        && device.licences.iter().any(|licence| {
            licence.capability == capability
                && licence.expire_time.is_none_or(|end| {
                    (end.seconds, end.nanos)
                        > (now.timestamp(), now.timestamp_subsec_nanos().cast_signed())
                })
        })
}

impl Source for Gates {
    type Item = DeviceGate;

    async fn ask(&self, id: &str) -> Result<DeviceGate, Status> {
        let request = GetDeviceGateRequest {
            gate_id: id.to_owned(),
        };
        let answer = self.0.clone().get_device_gate(request).await?.into_inner();
        // Without a gate nothing is demanded and held: that too is worth keeping.
        let nothing = || DeviceGate {
            gate_id: id.to_owned(),
            ..DeviceGate::default()
        };
        Ok(answer.gate.unwrap_or_else(nothing))
    }

    async fn watch(
        &self,
    ) -> Result<BoxStream<'static, Result<Option<DeviceGate>, Status>>, Status> {
        let mut client = self.0.clone();
        let items = client
            .watch_device_gates(WatchDeviceGatesRequest {})
            .await?
            .into_inner();
        Ok(items.map(|item| item.map(|change| change.gate)).boxed())
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use wanwu_proto::device::v1::DeviceLicence;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789a";

    #[test]
    fn a_token_is_a_device_and_a_secret() {
        let device = Uuid::from_u128(7);
        let token = format!("wd-{}-{SECRET}", device.simple());
        assert_eq!(
            Token::parse(&token),
            Some(Token {
                device,
                secret: SECRET
            })
        );
        let bad = [
            "",
            "wd-",
            "wk-00-x",
            "wd-7-secret",
            &token.replace("wd", "wk"),
            &token[..40],
        ];
        for text in bad {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_licence_must_be_this_devices_this_apps_and_live() {
        let app = AppId::from_uuid(Uuid::from_u128(1));
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        let hash = digest::digest(&digest::SHA256, SECRET.as_bytes());
        let gate = |app: &str, capability: &str, end: Option<i64>| DeviceGate {
            app_id: app.to_owned(),
            secret_hash: hash.as_ref().to_vec(),
            licences: vec![DeviceLicence {
                capability: capability.to_owned(),
                expire_time: end.map(|seconds| Timestamp { seconds, nanos: 0 }),
            }],
            ..DeviceGate::default()
        };
        let own = app.to_string();
        let other = Uuid::from_u128(2).to_string();
        let cases = [
            (gate(&own, "chat", None), SECRET, true),
            (gate(&own, "chat", Some(1_001)), SECRET, true),
            (gate(&own, "chat", Some(1_000)), SECRET, false),
            (gate(&own, "speech", None), SECRET, false),
            (gate(&other, "chat", None), SECRET, false),
            (gate(&own, "chat", None), "another", false),
            (DeviceGate::default(), SECRET, false),
        ];
        for (device, secret, expected) in cases {
            assert_eq!(
                licensed(&device, app, secret, "chat", now),
                expected,
                "{device:?}"
            );
        }
    }
}
