use std::{collections::HashMap, ops::RangeInclusive};

use chrono::{DateTime, Duration, Utc};
use parking_lot::RwLock;

use crate::{
    config::WechatPayConfig,
    providers::rsa::{Certificate, InvalidKey, PublicKey},
};

/// How far the provider's time may be from ours.
const MAX_SKEW: Duration = Duration::seconds(300);

/// A signature cannot be made or is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The merchant's key cannot be used.
    #[error("the merchant's key cannot be used")]
    MerchantKey(#[source] InvalidKey),
    /// The platform's certificate or public key cannot be used.
    #[error("the platform's certificate or public key cannot be used")]
    PlatformKey,
    /// A header of the signature is absent.
    #[error("a header of the signature is absent")]
    Absent,
    /// The serial names another certificate, or one that is over.
    #[error("the serial names no certificate of ours")]
    Serial,
    /// The time is not within five minutes of ours.
    #[error("the time is not within five minutes of ours")]
    Stale,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Wrong,
}

/// What the provider signs: the headers and the raw body.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `Wechatpay-Serial`.
    pub serial: &'a str,
    /// `Wechatpay-Timestamp`, Unix seconds.
    pub timestamp: &'a str,
    /// `Wechatpay-Nonce`.
    pub nonce: &'a str,
    /// `Wechatpay-Signature`, Base64.
    pub signature: &'a str,
    /// The body as it came.
    pub body: &'a [u8],
}

/// The platform's public keys by serial, which prove what we receive: of its certificates, of its
/// public-key mode (`PUB_KEY_ID_...`), or of both while a merchant moves from one to the other. What
/// is learnt while the process runs comes beside what is configured.
#[derive(Default)]
pub struct Platform(RwLock<HashMap<String, Known>>);

/// A key of the platform.
#[derive(Clone)]
struct Known {
    key: PublicKey,
    /// The seconds in which it proves anything; `None`: a bare key, at all times.
    valid: Option<RangeInclusive<i64>>,
}

impl Known {
    fn holds(&self, now: DateTime<Utc>) -> bool {
        let now = now.timestamp();
        self.valid.as_ref().is_none_or(|valid| valid.contains(&now))
    }
}

impl Platform {
    /// Reads the configured keys.
    ///
    /// # Errors
    /// When there is none and none is to be downloaded, or one cannot be used.
    pub fn from_config(config: &WechatPayConfig) -> Result<Self, SignatureError> {
        let platform = Self::default();
        platform.read(config)?;
        if platform.0.read().is_empty() && !config.downloads_certificates() {
            return Err(SignatureError::PlatformKey);
        }
        Ok(platform)
    }

    /// Reads the configured keys again: the files may have changed.
    ///
    /// # Errors
    /// When one cannot be used; those that were read before stay.
    pub fn read(&self, config: &WechatPayConfig) -> Result<(), SignatureError> {
        let invalid = |_| SignatureError::PlatformKey;
        let mut found = Vec::new();
        if !config.platform_serial.is_empty() {
            let pem = std::fs::read(&config.platform_certificate_file);
            let pem = pem.map_err(|_| SignatureError::PlatformKey)?;
            let certificate = Certificate::from_pem(&pem).map_err(invalid)?;
            let valid = Some(certificate.valid);
            let key = certificate.key;
            found.push((config.platform_serial.clone(), Known { key, valid }));
        }
        if !config.platform_public_key_id.is_empty() {
            let key = PublicKey::from_file(&config.platform_public_key_file).map_err(invalid)?;
            let id = config.platform_public_key_id.clone();
            found.push((id, Known { key, valid: None }));
        }
        self.0.write().extend(found);
        Ok(())
    }

    /// Takes certificates that the platform proved to be its own, and forgets those that are over.
    /// Old ones stay beside new ones until they end: signatures of both come for a while.
    pub fn learn(&self, certificates: Vec<Certificate>, now: DateTime<Utc>) {
        let mut keys = self.0.write();
        for certificate in certificates {
            let valid = Some(certificate.valid);
            let key = certificate.key;
            keys.insert(certificate.serial, Known { key, valid });
        }
        let at = now.timestamp();
        keys.retain(|_, known| known.valid.as_ref().is_none_or(|valid| *valid.end() >= at));
    }

    /// Some key proves something now.
    #[must_use]
    pub fn is_known(&self, now: DateTime<Utc>) -> bool {
        self.0.read().values().any(|known| known.holds(now))
    }

    /// Believes what is signed, or says why not. The time is checked too: an old notice that
    /// somebody kept proves nothing.
    pub fn verify(&self, signed: Signed<'_>, now: DateTime<Utc>) -> Result<(), SignatureError> {
        let parts = [
            signed.serial,
            signed.timestamp,
            signed.nonce,
            signed.signature,
        ];
        if parts.iter().any(|part| part.is_empty()) {
            return Err(SignatureError::Absent);
        }
        let known = self.0.read().get(signed.serial).cloned();
        let known = known.filter(|known| known.holds(now));
        let key = known.ok_or(SignatureError::Serial)?.key;
        let at = signed
            .timestamp
            .parse()
            .ok()
            .and_then(|at| DateTime::from_timestamp(at, 0));
        let at = at.ok_or(SignatureError::Stale)?;
        if (now - at).abs() >= MAX_SKEW {
            return Err(SignatureError::Stale);
        }
        let mut message = format!("{}\n{}\n", signed.timestamp, signed.nonce).into_bytes();
        message.extend_from_slice(signed.body);
        message.push(b'\n');
        if key.verifies(&message, signed.signature) {
            Ok(())
        } else {
            Err(SignatureError::Wrong)
        }
    }
}
