//! An authority that makes certificates, for tests of services: each process of a test gets the
//! files that it would get on the ground.

use std::{fs, io, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use tempfile::TempDir;

use crate::{Tls, TlsConfig};

/// A certificate authority in a folder of its own, which is deleted with it.
pub struct TestAuthority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestAuthority {
    /// Makes an authority.
    pub fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "wanwu test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("ca.pem"), issuer.pem())?;
        Ok(Self { folder, issuer })
    }

    /// The files of a service; asked again, the service gets a new certificate in the same files.
    pub fn issue(&self, service: &str) -> Result<TlsConfig, Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![
            service.to_owned(),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ])?;
        params.subject_alt_names.push(SanType::URI(
            format!("spiffe://wanwu/{service}").try_into()?,
        ));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let file = |suffix: &str| self.folder.path().join(format!("{service}{suffix}.pem"));
        let config = TlsConfig {
            ca_file: self.ca(),
            cert_file: file(""),
            key_file: file("-key"),
        };
        write(&config.key_file, &key.serialize_pem())?;
        write(&config.cert_file, &certificate.pem())?;
        Ok(config)
    }

    /// The TLS of a service.
    pub fn tls(&self, service: &str) -> Result<Tls, Box<dyn std::error::Error>> {
        Ok(Tls::load(&self.issue(service)?)?)
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// Replaces a file in one step, as those who rotate certificates do.
fn write(path: &PathBuf, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}
