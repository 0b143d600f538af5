use std::collections::BTreeMap;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{Config, Mode};

/// The app's public key and Alipay's private one.
pub(super) struct Keys {
    app: Vec<u8>,
    alipay: KeyPair,
    /// In certificate mode.
    pub(super) certificates: Option<Certificates>,
}

/// What both sides name in certificate mode.
pub(super) struct Certificates {
    app_number: String,
    root_number: String,
    /// The number of Alipay's certificate, which answers carry.
    pub(super) alipay_number: String,
    /// Alipay's certificate in PEM, for those who ask for it.
    pub(super) alipay_pem: String,
}

/// MD5 of the issuer's name, its last part first, and the decimal serial number.
fn number(certificate: &X509Certificate<'_>) -> String {
    let issuer = certificate.issuer();
    let first = |part: Option<&str>| part.unwrap_or_default().to_owned();
    let common = first(
        issuer
            .iter_common_name()
            .find_map(|part| part.as_str().ok()),
    );
    let unit = issuer.iter_organizational_unit();
    let unit = first(unit.filter_map(|part| part.as_str().ok()).next());
    let organisation = issuer.iter_organization();
    let organisation = first(organisation.filter_map(|part| part.as_str().ok()).next());
    let country = first(issuer.iter_country().find_map(|part| part.as_str().ok()));
    let name = format!("CN={common},OU={unit},O={organisation},C={country}");
    hex::encode(Md5::digest(format!("{name}{}", certificate.serial)))
}

impl Certificates {
    fn load(config: &Config) -> anyhow::Result<Self> {
        let first = |path| -> anyhow::Result<String> {
            let der = CertificateDer::from_pem_file(path)?;
            Ok(number(&X509Certificate::from_der(&der)?.1))
        };
        let mut roots = Vec::new();
        for der in CertificateDer::pem_file_iter(&config.alipay_root_file)? {
            let der = der?;
            let (_, root) = X509Certificate::from_der(&der)?;
            let algorithm = root.signature_algorithm.algorithm.to_id_string();
            if algorithm.starts_with("1.2.840.113549.1.1") {
                roots.push(number(&root));
            }
        }
        Ok(Self {
            app_number: first(&config.app_certificate_file)?,
            root_number: roots.join("_"),
            alipay_number: first(&config.alipay_certificate_file)?,
            alipay_pem: std::fs::read_to_string(&config.alipay_certificate_file)?,
        })
    }
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
            certificates: match config.mode {
                Mode::PublicKey => None,
                Mode::Certificate => Some(Certificates::load(config)?),
            },
        })
    }

    /// The app signed these parameters, and named the certificates of its mode; `sign` is one of
    /// them.
    pub(super) fn verify(&self, parameters: &BTreeMap<String, String>) -> bool {
        let named = |name: &str| parameters.get(name).map(String::as_str);
        let certificates = self.certificates.as_ref();
        let app = certificates.map(|known| known.app_number.as_str());
        let roots = certificates.map(|known| known.root_number.as_str());
        if named("app_cert_sn") != app || named("alipay_root_cert_sn") != roots {
            return false;
        }
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
