use std::{collections::HashMap, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Duration, Utc};
use rustls_pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, x509::SubjectPublicKeyInfo};

use crate::config::WechatPayConfig;

/// How far the provider's time may be from ours.
const MAX_SKEW: Duration = Duration::seconds(300);

/// A signature cannot be made or is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The merchant's key cannot be used.
    #[error("the merchant's key cannot be used")]
    MerchantKey,
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

/// The merchant's key, which signs what we send.
pub struct MerchantKey(KeyPair);

impl MerchantKey {
    /// Reads a PKCS#8 key in PEM.
    pub fn from_file(path: &Path) -> Result<Self, SignatureError> {
        let key =
            PrivatePkcs8KeyDer::from_pem_file(path).map_err(|_| SignatureError::MerchantKey)?;
        KeyPair::from_pkcs8(key.secret_pkcs8_der())
            .map(Self)
            .map_err(|_| SignatureError::MerchantKey)
    }

    /// RSA-SHA256 in Base64.
    pub fn sign(&self, message: &str) -> Result<String, SignatureError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|_| SignatureError::MerchantKey)?;
        Ok(STANDARD.encode(signature))
    }
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
pub struct Platform(HashMap<String, Vec<u8>>);

impl Platform {
    /// Reads the configured keys.
    ///
    /// # Errors
    /// When there is none, or one cannot be used.
    pub fn from_config(config: &WechatPayConfig) -> Result<Self, SignatureError> {
        let mut keys = HashMap::new();
        if !config.platform_serial.is_empty() {
            let key = certified(&config.platform_certificate_file)?;
            keys.insert(config.platform_serial.clone(), key);
        }
        if !config.platform_public_key_id.is_empty() {
            let key = bare(&config.platform_public_key_file)?;
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
        let signature = STANDARD
            .decode(signed.signature)
            .map_err(|_| SignatureError::Wrong)?;
        let mut message = format!("{}\n{}\n", signed.timestamp, signed.nonce).into_bytes();
        message.extend_from_slice(signed.body);
        message.push(b'\n');
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(&message, &signature)
            .map_err(|_| SignatureError::Wrong)
    }
}

fn certified(path: &Path) -> Result<Vec<u8>, SignatureError> {
    let der = CertificateDer::from_pem_file(path).map_err(|_| SignatureError::PlatformKey)?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|_| SignatureError::PlatformKey)?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}

fn bare(path: &Path) -> Result<Vec<u8>, SignatureError> {
    let der =
        SubjectPublicKeyInfoDer::from_pem_file(path).map_err(|_| SignatureError::PlatformKey)?;
    let (_, key) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| SignatureError::PlatformKey)?;
    Ok(key.subject_public_key.data.to_vec())
}
