//! The certificates of certificate mode (公钥证书方式): Alipay's authorities, and what they issued.

use std::{ops::RangeInclusive, path::Path};

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, UnparsedPublicKey,
};
use md5::{Digest, Md5};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{
        OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, Oid,
    },
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Name},
};

use crate::providers::rsa::{InvalidKey, PublicKey};

/// Certificates that a file has at most.
const MAX_CERTIFICATES: usize = 32;
/// Authorities that a chain has at most.
const MAX_CHAIN: usize = 5;
/// What the names of RSA signatures begin with (PKCS #1).
const RSA: &str = "1.2.840.113549.1.1.";

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// How Alipay names it: MD5, in hexadecimal digits, of the issuer's name (RFC 2253, the last
    /// part first) and the serial number in decimal digits.
    pub number: String,
    /// Its key.
    pub key: PublicKey,
    /// The seconds in which it proves anything.
    pub valid: RangeInclusive<i64>,
    /// The organisation that it was issued to.
    pub organisation: Option<String>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    /// How many authorities may stand below it; `None`: it is no authority.
    below: Option<usize>,
    /// The name of the algorithm that it is signed with.
    algorithm: String,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// All certificates of a text in PEM, in their order; at least one.
    ///
    /// # Errors
    /// When one cannot be read, or there is none, or there are more than 32.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, InvalidKey> {
        let mut all = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(|_| InvalidKey)?;
            let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| InvalidKey)?;
            all.push(Self::read(&certificate)?);
        }
        if (1..=MAX_CERTIFICATES).contains(&all.len()) {
            Ok(all)
        } else {
            Err(InvalidKey)
        }
    }

    /// As [`Certificate::all_from_pem`], of a file.
    pub fn all_from_file(path: &Path) -> Result<Vec<Self>, InvalidKey> {
        Self::all_from_pem(&std::fs::read(path).map_err(|_| InvalidKey)?)
    }

    fn read(certificate: &X509Certificate<'_>) -> Result<Self, InvalidKey> {
        let name = rfc2253(certificate.issuer()).ok_or(InvalidKey)?;
        let number = Md5::digest(format!("{name}{}", certificate.serial));
        let constraints = certificate.basic_constraints().map_err(|_| InvalidKey)?;
        let usage = certificate.key_usage().map_err(|_| InvalidKey)?;
        let signs = usage.is_none_or(|usage| usage.value.key_cert_sign());
        let below = constraints
            .filter(|constraints| constraints.value.ca && signs)
            .map(|constraints| match constraints.value.path_len_constraint {
                Some(length) => usize::try_from(length).unwrap_or(MAX_CHAIN),
                None => MAX_CHAIN,
            });
        let mut organisations = certificate.subject().iter_organization();
        let organisation = organisations.next().and_then(|part| part.as_str().ok());
        let validity = certificate.validity();
        Ok(Self {
            number: hex::encode(number),
            key: PublicKey::from_bits(&certificate.public_key().subject_public_key.data),
            valid: validity.not_before.timestamp()..=validity.not_after.timestamp(),
            organisation: organisation.map(str::to_owned),
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            below,
            algorithm: certificate.signature_algorithm.algorithm.to_id_string(),
            signed: certificate.tbs_certificate.as_ref().to_vec(),
            signature: certificate.signature_value.data.to_vec(),
        })
    }

    fn is_signed_by(&self, authority: &Self) -> bool {
        let algorithms: [(Oid<'_>, &RsaParameters); 3] = [
            (OID_PKCS1_SHA256WITHRSA, &RSA_PKCS1_2048_8192_SHA256),
            (OID_PKCS1_SHA384WITHRSA, &RSA_PKCS1_2048_8192_SHA384),
            (OID_PKCS1_SHA512WITHRSA, &RSA_PKCS1_2048_8192_SHA512),
        ];
        let algorithm = algorithms
            .into_iter()
            .find(|(name, _)| name.to_id_string() == self.algorithm);
        algorithm.is_some_and(|(_, algorithm)| {
            UnparsedPublicKey::new(algorithm, authority.key.bits())
                .verify(&self.signed, &self.signature)
                .is_ok()
        })
    }

    /// The seconds in which it and every authority above it prove anything, where one of the roots
    /// stands above it; the authorities between are looked for in `between`.
    #[must_use]
    pub fn chained(&self, between: &[Self], roots: &[Self]) -> Option<RangeInclusive<i64>> {
        let mut current = self;
        let mut valid = self.valid.clone();
        for below in 0..MAX_CHAIN {
            let above = |authority: &&Self| {
                authority.subject == current.issuer
                    && authority.below.is_some_and(|most| below <= most)
                    && current.is_signed_by(authority)
            };
            let narrowed = |authority: &Self| {
                *valid.start().max(authority.valid.start())
                    ..=*valid.end().min(authority.valid.end())
            };
            if let Some(root) = roots.iter().find(above) {
                return Some(narrowed(root));
            }
            let authority = between.iter().find(above)?;
            valid = narrowed(authority);
            current = authority;
        }
        None
    }
}

/// How Alipay names a file of roots: the numbers of those that are signed with RSA, joined with `_`.
#[must_use]
pub fn number_of_roots(roots: &[Certificate]) -> String {
    let numbers = roots
        .iter()
        .filter(|root| root.algorithm.starts_with(RSA))
        .map(|root| root.number.as_str());
    numbers.collect::<Vec<_>>().join("_")
}

/// A name as Java's `X500Principal.getName()` writes it, which Alipay's numbers are made from.
fn rfc2253(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let written: Option<Vec<String>> = part.iter().map(attribute).collect();
        parts.push(written?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = attribute.attr_type().to_id_string();
    // The types that RFC 2253 has words for; no issuer of Alipay has another.
    let word = match kind.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return None,
    };
    Some(format!("{word}={}", escaped(attribute.as_str().ok()?)))
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (place, character) in value.chars().enumerate() {
        let edge =
            (place == 0 && matches!(character, ' ' | '#')) || (place == last && character == ' ');
        if edge || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &[u8] = include_bytes!("../../../tests/certificates/alipay-app.crt");
    const ROOTS: &[u8] = include_bytes!("../../../tests/certificates/alipay-root.crt");

    /// ```sh
    /// n=$(openssl x509 -in alipay-app.crt -noout -issuer -nameopt RFC2253 | sed 's/^issuer=//')
    /// s=$(openssl x509 -in alipay-app.crt -noout -serial | cut -d= -f2)
    /// printf %s "$n$(python3 -c "print(int('$s',16))")" | openssl md5
    /// ```
    /// for each: `CN=Example Payments Certification Authority R1,OU=Certification Authority,O=Example
    /// Payments,C=CN61554884239868934589758551969357576795`, the same name with `381778307405`, and
    /// `CN=Example Class 1 Root,OU=Trust,O=Example Roots\, Ltd.,C=CN170141183460469231731687303715884105729`.
    /// The root in the middle is signed with SM2 and does not count.
    #[test]
    fn numbers_are_those_that_openssl_computes() {
        let app = &Certificate::all_from_pem(APP).unwrap()[0];
        assert_eq!(app.number, "8eed8d4518be1825846355297ff94f36");
        assert_eq!(app.organisation.as_deref(), Some("万物"));
        let roots = Certificate::all_from_pem(ROOTS).unwrap();
        assert_eq!(roots.len(), 3);
        assert_eq!(
            number_of_roots(&roots),
            "29d98094d5cdfc2d957027f5320d0b65_2f247736b62abd63f4d6b7c8398ac957"
        );
    }

    #[test]
    fn a_chain_ends_in_a_root_and_is_as_short_lived_as_its_shortest() {
        let app = &Certificate::all_from_pem(APP).unwrap()[0];
        let roots = Certificate::all_from_pem(ROOTS).unwrap();
        let valid = app.chained(&[], &roots).unwrap();
        assert_eq!(valid.start(), app.valid.start().max(roots[0].valid.start()));
        assert_eq!(valid.end(), app.valid.end().min(roots[0].valid.end()));
        assert_eq!(app.chained(&[], &roots[1..]), None);
        // A changed certificate is not what the root signed, and an app's is no authority.
        let mut changed = app.clone();
        changed.signed[40] ^= 1;
        assert_eq!(changed.chained(&[], &roots), None);
        assert_eq!(app.chained(&[], std::slice::from_ref(app)), None);
    }

    #[test]
    fn names_are_written_as_java_writes_them() {
        assert_eq!(escaped(" a,b\\\"c\" "), "\\ a\\,b\\\\\\\"c\\\"\\ ");
        assert_eq!(escaped("#1"), "\\#1");
        assert_eq!(escaped("万物"), "万物");
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert_eq!(Certificate::all_from_pem(b""), Err(InvalidKey));
        let cut = &APP[..APP.len() / 2];
        assert_eq!(Certificate::all_from_pem(cut), Err(InvalidKey));
    }
}
