//! What is believed to be Alipay's: one public key, or certificates under a configured root.

use std::{collections::HashMap, ops::RangeInclusive};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Duration, Utc};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;

use super::{
    certificate::{Certificate, number_of_roots},
    client::Reply,
};
use crate::{
    config::{AlipayConfig, AlipayMode},
    providers::{
        ProviderError,
        rsa::{InvalidKey, PrivateKey, PublicKey},
    },
};

/// How often numbers that are not known may make us ask: anybody can send a notice with one.
const AT_MOST_EVERY: Duration = Duration::seconds(60);

/// A key or a certificate of the configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrustworthy {
    /// Alipay's public key cannot be read.
    #[error("Alipay's public key cannot be used")]
    PublicKey(#[source] InvalidKey),
    /// The file of roots cannot be read, or no root in it is signed with RSA.
    #[error("Alipay's root certificates cannot be used")]
    Roots,
    /// The app's certificate cannot be read.
    #[error("the app's certificate cannot be used")]
    AppCertificate(#[source] InvalidKey),
    /// The app's certificate is of another key than the configured one.
    #[error("the app's certificate is not of the app's key")]
    OtherKey,
    /// Alipay's certificate cannot be read, or names no organisation.
    #[error("Alipay's certificate cannot be used")]
    Certificate,
    /// No configured root stands above Alipay's certificate.
    #[error("Alipay's certificate does not chain to a configured root")]
    Chain,
}

/// Something is not proved to be Alipay's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is signed under a certificate that is not known, or that is not valid now.
    #[error("the signature names no certificate of ours that is valid")]
    Number,
    /// The signature is wrong or absent.
    #[error("the signature is wrong or absent")]
    Wrong,
}

/// What proves that something is Alipay's.
pub enum Trust {
    /// Public-key mode: one key, at all times.
    Key(PublicKey),
    /// Certificate mode.
    Certificates(Box<Certificates>),
}

/// Certificate mode.
pub struct Certificates {
    /// The number of the app's certificate, and that of the roots: requests carry both.
    pub app_number: String,
    /// The number of the file of roots.
    pub root_number: String,
    roots: Vec<Certificate>,
    /// The authorities between that came with Alipay's certificate.
    between: Vec<Certificate>,
    /// Who Alipay's certificates are issued to: the authority issues those of apps too.
    organisation: String,
    known: RwLock<HashMap<String, Known>>,
    asked: Mutex<Option<DateTime<Utc>>>,
}

struct Known {
    key: PublicKey,
    /// The seconds in which the whole chain is valid.
    valid: RangeInclusive<i64>,
}

/// Alipay's answer to `alipay.open.app.alipaycert.download`.
#[derive(Deserialize)]
struct Downloaded {
    /// The certificate in PEM, in Base64.
    #[serde(default)]
    alipay_cert_content: String,
}

impl Trust {
    /// Reads what the mode needs.
    ///
    /// # Errors
    /// When something is absent or cannot be used: nothing could be told from anybody's.
    pub fn read(config: &AlipayConfig, key: &PrivateKey) -> Result<Self, Untrustworthy> {
        match config.mode {
            AlipayMode::PublicKey => PublicKey::from_file(&config.alipay_public_key_file)
                .map(Self::Key)
                .map_err(Untrustworthy::PublicKey),
            AlipayMode::Certificate => {
                let certificates = Certificates::read(config, key)?;
                Ok(Self::Certificates(Box::new(certificates)))
            }
        }
    }

    /// In certificate mode: the certificates.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        match self {
            Self::Key(_) => None,
            Self::Certificates(certificates) => Some(certificates),
        }
    }

    /// Believes an answer, which in certificate mode names the certificate that proves it.
    pub fn verify_answer(
        &self,
        number: &str,
        message: &[u8],
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Distrust> {
        let holds = match self {
            Self::Key(key) => key.verifies(message, signature),
            Self::Certificates(certificates) => {
                let known = certificates.known.read();
                let known = known.get(number).ok_or(Distrust::Number)?;
                if !known.valid.contains(&now.timestamp()) {
                    return Err(Distrust::Number);
                }
                known.key.verifies(message, signature)
            }
        };
        holds.then_some(()).ok_or(Distrust::Wrong)
    }

    /// Believes a notice; one that names no certificate is proved by any that is valid.
    pub fn verify_notice(
        &self,
        number: Option<&str>,
        message: &[u8],
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Distrust> {
        let (Self::Certificates(certificates), None) = (self, number) else {
            return self.verify_answer(number.unwrap_or_default(), message, signature, now);
        };
        let known = certificates.known.read();
        let mut valid = known
            .values()
            .filter(|known| known.valid.contains(&now.timestamp()))
            .peekable();
        if valid.peek().is_none() {
            return Err(Distrust::Number);
        }
        let holds = valid.any(|known| known.key.verifies(message, signature));
        holds.then_some(()).ok_or(Distrust::Wrong)
    }
}

impl Certificates {
    fn read(config: &AlipayConfig, key: &PrivateKey) -> Result<Self, Untrustworthy> {
        let roots = Certificate::all_from_file(&config.alipay_root_file);
        let roots = roots.map_err(|_| Untrustworthy::Roots)?;
        let root_number = number_of_roots(&roots);
        if root_number.is_empty() {
            return Err(Untrustworthy::Roots);
        }
        let app = Certificate::all_from_file(&config.app_certificate_file)
            .map_err(Untrustworthy::AppCertificate)?;
        if !key.is_of(&app[0].key) {
            return Err(Untrustworthy::OtherKey);
        }
        let mut theirs = Certificate::all_from_file(&config.alipay_certificate_file)
            .map_err(|_| Untrustworthy::Certificate)?;
        let certificate = theirs.remove(0);
        let organisation = certificate.organisation.clone();
        let certificates = Self {
            app_number: app[0].number.clone(),
            root_number,
            roots,
            between: theirs,
            organisation: organisation.ok_or(Untrustworthy::Certificate)?,
            known: RwLock::default(),
            asked: Mutex::default(),
        };
        if certificates.take(certificate, &[]) {
            Ok(certificates)
        } else {
            Err(Untrustworthy::Chain)
        }
    }

    /// Takes a certificate that a root stands above and that is issued to Alipay.
    fn take(&self, certificate: Certificate, between: &[Certificate]) -> bool {
        if certificate.organisation.as_ref() != Some(&self.organisation) {
            return false;
        }
        let between = [&self.between, between].concat();
        let Some(valid) = certificate.chained(&between, &self.roots) else {
            return false;
        };
        let key = certificate.key;
        let known = Known { key, valid };
        self.known.write().insert(certificate.number, known);
        true
    }

    /// Whether this number is worth asking about, now: it is one, and we did not just ask.
    pub fn may_ask(&self, number: &str, now: DateTime<Utc>) -> bool {
        let is_one = number.len() == 32 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut asked = self.asked.lock();
        let may = is_one
            && !self.known.read().contains_key(number)
            && asked.is_none_or(|before| now - before >= AT_MOST_EVERY);
        if may {
            *asked = Some(now);
        }
        may
    }

    /// Takes the certificate that Alipay offers under this number. The answer's signature would be
    /// proved by that certificate itself: it is the chain that is believed.
    pub fn learn(&self, number: &str, reply: &Reply) -> Result<(), ProviderError> {
        let answer: Downloaded = reply.unproved()?;
        let pem = STANDARD.decode(answer.alipay_cert_content);
        let pem = pem.map_err(|_| ProviderError::Unreadable)?;
        let all = Certificate::all_from_pem(&pem).map_err(|_| ProviderError::Unreadable)?;
        let certificate = all[0].clone();
        if certificate.number != number || !self.take(certificate, &all[1..]) {
            return Err(ProviderError::Signature(Box::new(Distrust::Number)));
        }
        tracing::info!(number, "a new certificate of Alipay is known");
        Ok(())
    }
}
