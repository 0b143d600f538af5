//! RSA with SHA-256, PKCS #1 v1.5, Base64: what both providers sign with.

use std::{ops::RangeInclusive, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, x509::SubjectPublicKeyInfo};

/// A key cannot be read or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot be used")]
pub struct InvalidKey;

/// The merchant's key, which signs what we send.
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// Reads a PKCS #8 key in PEM, at least 2048 bits.
    pub fn from_file(path: &Path) -> Result<Self, InvalidKey> {
        let key = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|_| InvalidKey)?;
        let key = KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|_| InvalidKey)?;
        Ok(Self(key))
    }

    /// Whether this is its public half.
    #[must_use]
    pub fn is_of(&self, key: &PublicKey) -> bool {
        self.0.public_key().as_ref() == key.bits()
    }

    /// The signature in Base64.
    pub fn sign(&self, message: &str) -> Result<String, InvalidKey> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|_| InvalidKey)?;
        Ok(STANDARD.encode(signature))
    }
}

/// A provider's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its key.
    pub key: PublicKey,
    /// Its serial number in capital hexadecimal digits.
    pub serial: String,
    /// From when on and until when it proves anything.
    pub valid: RangeInclusive<i64>,
}

impl Certificate {
    /// Reads a certificate in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| InvalidKey)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| InvalidKey)?;
        let validity = certificate.validity();
        Ok(Self {
            key: PublicKey(certificate.public_key().subject_public_key.data.to_vec()),
            serial: hex::encode_upper(certificate.raw_serial()),
            valid: validity.not_before.timestamp()..=validity.not_after.timestamp(),
        })
    }
}

/// A provider's key, which proves what we receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads a bare public key in PEM.
    pub fn from_file(path: &Path) -> Result<Self, InvalidKey> {
        let der = SubjectPublicKeyInfoDer::from_pem_file(path).map_err(|_| InvalidKey)?;
        let (_, key) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| InvalidKey)?;
        Ok(Self(key.subject_public_key.data.to_vec()))
    }

    /// As a certificate holds it.
    #[must_use]
    pub fn from_bits(bits: &[u8]) -> Self {
        Self(bits.to_vec())
    }

    /// The key as a certificate holds it.
    #[must_use]
    pub fn bits(&self) -> &[u8] {
        &self.0
    }

    /// Whether the signature, in Base64, is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let signature = STANDARD.decode(signature);
        signature.is_ok_and(|signature| {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0)
                .verify(message, &signature)
                .is_ok()
        })
    }
}
