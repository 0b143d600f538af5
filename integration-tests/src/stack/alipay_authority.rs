//! Alipay's authorities, simulated: two roots, one between, and what they issue to the app and to Alipay.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};

use super::{files, secrets};

/// What certificate mode needs: files in PEM.
pub(crate) struct AlipayCertificates {
    pub(crate) app: PathBuf,
    /// Alipay's, with the authority between behind it.
    pub(crate) alipay: PathBuf,
    pub(crate) roots: PathBuf,
}

/// Makes the certificates of these keys, unless they are there.
pub(crate) fn ensure(
    folder: &Path,
    app_key: &Path,
    alipay_key: &Path,
) -> anyhow::Result<AlipayCertificates> {
    let made = AlipayCertificates {
        app: folder.join("alipay-app.crt"),
        alipay: folder.join("alipay.crt"),
        roots: folder.join("alipay-root.crt"),
    };
    // Written last.
    if made.roots.exists() {
        return Ok(made);
    }
    let root_key = rsa()?;
    let root = authority("Ant Financial", "simulated authority R1")?;
    let first = root.self_signed(&root_key)?;
    let root = Issuer::new(root, root_key);
    // As Alipay's file has them: roots that are not signed with RSA, and such of others.
    let elliptic = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let second = authority("Ant Financial", "simulated authority E1")?.self_signed(&elliptic)?;
    let third = authority("Others", "simulated class 1 root")?.self_signed(&rsa()?)?;
    let class_key = rsa()?;
    let class = authority("Ant Financial", "simulated authority class 2 R1")?;
    let between = class.signed_by(&class_key, &root)?;
    let class = Issuer::new(class, class_key);
    for (path, key, organisation) in [
        (&made.app, app_key, "万物"),
        (&made.alipay, alipay_key, "支付宝（中国）网络技术有限公司"),
    ] {
        let key = KeyPair::from_pem(&fs::read_to_string(key)?)?;
        let issued = named(organisation, "simulated")?.signed_by(&key, &class)?;
        let both = [issued.pem(), between.pem()].join("\n");
        files::write_private(path, both.as_bytes())?;
    }
    let roots = [first.pem(), second.pem(), third.pem()].join("\n");
    files::write_private(&made.roots, roots.as_bytes())?;
    Ok(made)
}

fn rsa() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
}

fn named(organisation: &str, common: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "CN");
    name.push(DnType::OrganizationName, organisation);
    name.push(DnType::OrganizationalUnitName, "Certification Authority");
    name.push(DnType::CommonName, common);
    params.distinguished_name = name;
    let mut serial = hex::decode(secrets::random_hex(16))?;
    serial[0] = 0x5a;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn authority(organisation: &str, common: &str) -> anyhow::Result<CertificateParams> {
    let mut params = named(organisation, common)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}
