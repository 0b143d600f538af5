use std::collections::BTreeMap;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::Config;

/// The app's public key and Alipay's private one.
pub(super) struct Keys {
    app: Vec<u8>,
    alipay: KeyPair,
}

/// `k=v` by name, joined with `&`.
pub(super) fn joined(parameters: &BTreeMap<String, String>) -> String {
    let pairs = parameters
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

impl Keys {
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        let app = CertificateDer::from_pem_file(&config.app_certificate_file)?;
        let (_, app) = X509Certificate::from_der(&app)?;
        let alipay = PrivatePkcs8KeyDer::from_pem_file(&config.alipay_key_file)?;
        let alipay = KeyPair::from_pkcs8(alipay.secret_pkcs8_der())
            .map_err(|_| anyhow::anyhow!("Alipay's key cannot be used"))?;
        Ok(Self {
            app: app.public_key().subject_public_key.data.to_vec(),
            alipay,
        })
    }

    /// The app signed these parameters; `sign` is one of them.
    pub(super) fn verify(&self, parameters: &BTreeMap<String, String>) -> bool {
        let mut parameters = parameters.clone();
        let signature = parameters.remove("sign").unwrap_or_default();
        let signature = STANDARD.decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.app)
            .verify(joined(&parameters).as_bytes(), &signature)
            .is_ok()
    }

    /// Alipay's signature; a wrong one when `corrupt`.
    pub(super) fn sign(&self, message: &str, corrupt: bool) -> String {
        let mut signature = vec![0; self.alipay.public_modulus_len()];
        self.alipay
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .expect("the key signs");
        if corrupt {
            signature[0] ^= 1;
        }
        STANDARD.encode(signature)
    }
}
