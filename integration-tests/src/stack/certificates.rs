//! A development authority and a certificate for each service, as cert-manager would give them.

use std::{fs, io, net::IpAddr, path::Path};

use chrono::{Datelike, Days, NaiveDate, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::{Layout, files};

/// How long a service's certificate is good for, in days.
const LIFE: u64 = 365;
/// It is made anew when fewer days are left.
const RENEW: u64 = 60;

/// Something about a certificate failed.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot keep a certificate")]
    File(#[from] io::Error),
    /// It cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// Makes the authority and the certificates that are missing or end soon.
pub fn ensure(layout: &Layout, services: &[&str]) -> Result<(), CertificateError> {
    let key_file = layout.folder("tls").join("ca-key.pem");
    if !layout.authority().exists() || !key_file.exists() {
        make_authority(&layout.authority(), &key_file)?;
        for service in services {
            fs::remove_file(layout.certificate(service).0).ok();
        }
    }
    let key = KeyPair::from_pem(&fs::read_to_string(&key_file)?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(layout.authority())?, key)?;
    for service in services {
        let (certificate, key) = layout.certificate(service);
        if ends_soon(&certificate) {
            make_leaf(service, &issuer, &certificate, &key)?;
        }
    }
    Ok(())
}

fn make_authority(certificate: &Path, key_file: &Path) -> Result<(), CertificateError> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Wanwu development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, 10 * LIFE);
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    files::write_private(key_file, key.serialize_pem().as_bytes())?;
    files::write_private(certificate, authority.pem().as_bytes())?;
    Ok(())
}

fn make_leaf(
    service: &str,
    issuer: &Issuer<'_, KeyPair>,
    certificate: &Path,
    key_file: &Path,
) -> Result<(), CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, service);
    params.subject_alt_names = vec![
        SanType::DnsName(service.try_into()?),
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(IpAddr::from([127, 0, 0, 1])),
        SanType::URI(format!("spiffe://wanwu/{service}").as_str().try_into()?),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, LIFE);
    let key = KeyPair::generate()?;
    let leaf = params.signed_by(&key, issuer)?;
    files::write_private(key_file, key.serialize_pem().as_bytes())?;
    files::write_private(certificate, leaf.pem().as_bytes())?;
    Ok(())
}

/// From yesterday on, so that no clock is too early.
fn set_life(params: &mut CertificateParams, days: u64) {
    let today = Utc::now().date_naive();
    let ymd = |date: NaiveDate| {
        let part = |part: u32| u8::try_from(part).expect("months and days are small");
        date_time_ymd(date.year(), part(date.month()), part(date.day()))
    };
    params.not_before = ymd(today - Days::new(1));
    params.not_after = ymd(today + Days::new(days));
}

/// It is not there, cannot be read, or ends within [`RENEW`] days.
fn ends_soon(certificate: &Path) -> bool {
    let Ok(pem) = fs::read(certificate) else {
        return true;
    };
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&pem) else {
        return true;
    };
    let Ok(parsed) = pem.parse_x509() else {
        return true;
    };
    let limit = (Utc::now() + Days::new(RENEW)).timestamp();
    parsed.validity().not_after.timestamp() < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_its_service_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned(), folder.path().to_owned());
        ensure(&layout, &["billing"]).unwrap();
        let (certificate, _) = layout.certificate("billing");
        let first = fs::read(&certificate).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&first).unwrap();
        let parsed = pem.parse_x509().unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        let names = format!("{:?}", names.value.general_names);
        assert!(names.contains("spiffe://wanwu/billing") && names.contains("\"localhost\""));
        ensure(&layout, &["billing"]).unwrap();
        assert_eq!(fs::read(&certificate).unwrap(), first);
    }
}
