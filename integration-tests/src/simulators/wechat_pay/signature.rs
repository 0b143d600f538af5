use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Utc;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::Value;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::Config;

/// The merchant's public key and the platform's private one.
pub(super) struct Keys {
    merchant: Vec<u8>,
    platform: KeyPair,
    pub(super) certificate_pem: String,
}

impl Keys {
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        let merchant = CertificateDer::from_pem_file(&config.merchant_certificate_file)?;
        let (_, merchant) = X509Certificate::from_der(&merchant)?;
        let platform = PrivatePkcs8KeyDer::from_pem_file(&config.platform_key_file)?;
        let platform = KeyPair::from_pkcs8(platform.secret_pkcs8_der())
            .map_err(|_| anyhow::anyhow!("the platform's key cannot be used"))?;
        Ok(Self {
            merchant: merchant.public_key().subject_public_key.data.to_vec(),
            platform,
            certificate_pem: std::fs::read_to_string(&config.platform_certificate_file)?,
        })
    }

    /// The merchant signed this request, not long ago.
    pub(super) fn verify_merchant(
        &self,
        config: &Config,
        method: &str,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> bool {
        let authorization = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let Some(fields) =
            authorization.and_then(|text| text.strip_prefix("WECHATPAY2-SHA256-RSA2048 "))
        else {
            return false;
        };
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|part| {
                    part.trim()
                        .strip_prefix(name)?
                        .strip_prefix("=\"")?
                        .strip_suffix('"')
                })
                .unwrap_or_default()
        };
        let timestamp = field("timestamp");
        let fresh = timestamp
            .parse::<i64>()
            .is_ok_and(|at| (Utc::now().timestamp() - at).abs() < 300);
        let known = field("mchid") == config.mchid && field("serial_no") == config.merchant_serial;
        let mut message = format!("{method}\n{path}\n{timestamp}\n{}\n", field("nonce_str"));
        message.push_str(&String::from_utf8_lossy(body));
        message.push('\n');
        let signature = STANDARD.decode(field("signature")).unwrap_or_default();
        fresh
            && known
            && UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.merchant)
                .verify(message.as_bytes(), &signature)
                .is_ok()
    }

    /// The headers that prove a body to be the platform's.
    pub(super) fn headers(
        &self,
        config: &Config,
        body: &str,
        corrupt: bool,
    ) -> [(&'static str, String); 4] {
        let timestamp = Utc::now().timestamp().to_string();
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let message = format!("{timestamp}\n{nonce}\n{body}\n");
        let mut signature = vec![0; self.platform.public_modulus_len()];
        self.platform
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
        [
            ("wechatpay-serial", config.platform_serial.clone()),
            ("wechatpay-timestamp", timestamp),
            ("wechatpay-nonce", nonce),
            ("wechatpay-signature", STANDARD.encode(signature)),
        ]
    }
}

/// An answer with its proof.
pub(super) fn sign_answer(
    keys: &Keys,
    config: &Config,
    body: Option<&Value>,
    corrupt: bool,
) -> Response {
    let (status, text) = match body {
        Some(body) => (StatusCode::OK, body.to_string()),
        None => (StatusCode::NO_CONTENT, String::new()),
    };
    let headers = keys.headers(config, &text, corrupt);
    (
        status,
        headers,
        [("content-type", "application/json")],
        text,
    )
        .into_response()
}
