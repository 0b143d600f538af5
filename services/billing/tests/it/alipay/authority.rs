//! Alipay's authorities: roots, one between, and what they issue. The numbers are made from what was
//! put into the certificates, not read out of them.

use aws_lc_rs::rsa::KeyPair;
use chrono::{DateTime, Datelike, Duration, Utc};
use md5::{Digest, Md5};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd,
};

use crate::wechat_pay::{rsa, sign};

/// Who Alipay's certificates are issued to.
pub const ALIPAY: &str = "支付宝（中国）网络技术有限公司";

/// Roots and an authority below one of them.
pub struct Authority {
    now: DateTime<Utc>,
    issuer: Issuer<'static, rcgen::KeyPair>,
    between: String,
    /// The file of roots: two that are signed with RSA, and one that is not.
    pub roots: String,
    pub root_number: String,
}

/// A certificate, and the key that it is of.
pub struct Issued {
    /// With the authority between behind it.
    pub pem: String,
    pub number: String,
    key: KeyPair,
}

impl Issued {
    pub fn sign(&self, message: &[u8]) -> String {
        sign(&self.key, message)
    }

    /// The key.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub enum Term {
    Now,
    /// For ten days.
    Short,
    Over,
}

fn name(organisation: &str, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "CN");
    name.push(DnType::OrganizationName, organisation);
    name.push(DnType::OrganizationalUnitName, "Certification Authority");
    name.push(DnType::CommonName, common);
    name
}

fn number(issuer: &str, serial: u32) -> String {
    let name = format!("CN={issuer},OU=Certification Authority,O=Payments,C=CN{serial}");
    hex::encode(Md5::digest(name))
}

fn params(organisation: &str, common: &str, serial: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(organisation, common);
    params.serial_number = Some(SerialNumber::from_slice(&serial.to_be_bytes()));
    params
}

fn authority(common: &str, serial: u32) -> CertificateParams {
    let mut params = params("Payments", common, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    pub fn new(now: DateTime<Utc>) -> Self {
        let (key, elliptic) = (
            rsa(),
            rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        );
        let root = authority("Root R1", 1_000_000_001);
        let elliptic = authority("Root E1", 5).self_signed(&elliptic).unwrap();
        let other = authority("Root R2", 7).self_signed(&rsa()).unwrap();
        let certificate = root.self_signed(&key).unwrap();
        let roots = [certificate.pem(), elliptic.pem(), other.pem()].join("\n");
        let (below, above) = (rsa(), Issuer::new(root, key));
        let class = authority("Class 2", 2);
        let between = class.signed_by(&below, &above).unwrap().pem();
        Self {
            now,
            issuer: Issuer::new(class, below),
            between,
            roots,
            root_number: format!(
                "{}_{}",
                number("Root R1", 1_000_000_001),
                number("Root R2", 7)
            ),
        }
    }

    /// A certificate of this key, issued to this organisation.
    pub fn issue(&self, key: &rcgen::KeyPair, organisation: &str, term: Term) -> Issued {
        let serial = rand::random_range(0x0100_0000..0x7f00_0000);
        let mut params = params(organisation, "issued", serial);
        let day = |days| {
            let date = (self.now + Duration::days(days)).date_naive();
            let part = |part: u32| u8::try_from(part).unwrap();
            date_time_ymd(date.year(), part(date.month()), part(date.day()))
        };
        params.not_before = day(-100);
        params.not_after = day(match term {
            Term::Now => 400,
            Term::Short => 10,
            Term::Over => -1,
        });
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Issued {
            pem: format!("{}\n{}", certificate.pem(), self.between),
            number: number("Class 2", serial),
            key: KeyPair::from_pkcs8(key.serialized_der()).unwrap(),
        }
    }
}
