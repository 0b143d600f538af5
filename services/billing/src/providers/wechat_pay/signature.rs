use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};

use crate::{
    config::WechatPayConfig,
    providers::rsa::{InvalidKey, PublicKey},
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
    /// The serial names another certificate.
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

/// The platform's public keys by serial, which prove what we receive: of its certificate, of its
/// public-key mode (`PUB_KEY_ID_...`), or of both while a merchant moves from one to the other.
pub struct Platform(HashMap<String, PublicKey>);

impl Platform {
    /// Reads the configured keys.
    ///
    /// # Errors
    /// When there is none, or one cannot be used.
    pub fn from_config(config: &WechatPayConfig) -> Result<Self, SignatureError> {
        let mut keys = HashMap::new();
        if !config.platform_serial.is_empty() {
            let key = PublicKey::from_certificate_file(&config.platform_certificate_file)
                .map_err(|_| SignatureError::PlatformKey)?;
            keys.insert(config.platform_serial.clone(), key);
        }
        if !config.platform_public_key_id.is_empty() {
            let key = PublicKey::from_file(&config.platform_public_key_file)
                .map_err(|_| SignatureError::PlatformKey)?;
            keys.insert(config.platform_public_key_id.clone(), key);
        }
        if keys.is_empty() {
            return Err(SignatureError::PlatformKey);
        }
        Ok(Self(keys))
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
        let key = self.0.get(signed.serial).ok_or(SignatureError::Serial)?;
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
