//! The providers that simulators stand for: what both sides must know of each other.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SerialNumber};
use serde_json::{Value, json};

use super::{Description, Layout, alipay_authority, files, secrets};

/// Providers that every stack simulates.
pub const PROVIDERS: [&str; 4] = ["sms", "wechat-pay", "alipay", "agency"];

const MCHID: &str = "1900000109";
const APPID: &str = "wx8888888888888888";
const ALIPAY_APP: &str = "2021000000000109";
const ALIPAY_SELLER: &str = "2088000000000109";
const AGENCY_APP: &str = "wanwu-local";

/// The configuration of a simulator.
#[must_use]
pub fn config_file(layout: &Layout, kind: &str) -> PathBuf {
    layout.folder("simulators").join(format!("{kind}.toml"))
}

/// What the services must be told.
#[derive(Debug)]
pub struct Provisioned {
    billing: Value,
    verification: Value,
    identity: Value,
}

impl Provisioned {
    /// The sections for one service.
    #[must_use]
    pub fn section(&self, service: &str) -> Value {
        match service {
            "billing" => self.billing.clone(),
            "verification" => self.verification.clone(),
            "identity" => self.identity.clone(),
            _ => json!({}),
        }
    }
}

/// An RSA key with a certificate, as the payment provider gives and takes them.
struct Signer {
    key_file: PathBuf,
    certificate_file: PathBuf,
    public_key_file: PathBuf,
    serial: String,
}

/// Makes keys, certificates and secrets that are not there, and the simulators' configuration.
pub fn provision(layout: &Layout, description: &Description) -> anyhow::Result<Provisioned> {
    let folder = layout.folder("simulators");
    let secret = |name: &str| secrets::ensure_secret(&layout.folder("secrets").join(name));
    let merchant = signer(&folder, "merchant")?;
    let platform = signer(&folder, "platform")?;
    let alipay_app = signer(&folder, "alipay-app")?;
    let alipay = signer(&folder, "alipay")?;
    let issued = alipay_authority::ensure(&folder, &alipay_app.key_file, &alipay.key_file)?;
    // 32 characters.
    let api_v3_key = secret("wechat-pay-api-v3")?[..32].to_owned();
    let (sms_id, sms_secret) = (secret("sms-id")?, secret("sms-secret")?);
    let agency_secret = secret("agency")?;

    write_config(
        layout,
        "sms",
        json!({
            "access_key_id": sms_id,
            "access_key_secret": sms_secret,
        }),
    )?;
    write_config(
        layout,
        "wechat-pay",
        json!({
            "mchid": MCHID,
            "appid": APPID,
            "api_v3_key": api_v3_key,
            "merchant_serial": merchant.serial,
            "merchant_certificate_file": merchant.certificate_file,
            "platform_key_file": platform.key_file,
            "platform_certificate_file": platform.certificate_file,
            "platform_serial": platform.serial,
        }),
    )?;
    write_config(
        layout,
        "alipay",
        json!({
            "app_id": ALIPAY_APP,
            "seller_id": ALIPAY_SELLER,
            "app_certificate_file": issued.app,
            "alipay_key_file": alipay.key_file,
            "mode": "certificate",
            "alipay_certificate_file": issued.alipay,
            "alipay_root_file": issued.roots,
        }),
    )?;
    write_config(
        layout,
        "agency",
        json!({"app_id": AGENCY_APP, "secret": agency_secret}),
    )?;

    let address = |name: &str| &description.simulators[name];
    Ok(Provisioned {
        billing: json!({"wechat_pay": {
            "base_url": address("wechat-pay"),
            "mchid": MCHID,
            "appid": APPID,
            "merchant_serial": merchant.serial,
            "merchant_key_file": merchant.key_file,
            "api_v3_key": api_v3_key,
            "platform_certificate_file": platform.certificate_file,
            "platform_serial": platform.serial,
            "notify_url": format!("{}/payments/wechat/callback", description.edge),
        }, "alipay": {
            "gateway_url": format!("{}/gateway.do", address("alipay")),
            "app_id": ALIPAY_APP,
            "seller_id": ALIPAY_SELLER,
            "mode": "certificate",
            "app_key_file": alipay_app.key_file,
            "alipay_public_key_file": alipay.public_key_file,
            "app_certificate_file": issued.app,
            "alipay_certificate_file": issued.alipay,
            "alipay_root_file": issued.roots,
            "notify_url": format!("{}/payments/alipay/callback", description.edge),
        }}),
        verification: json!({"agency": {
            "base_url": address("agency"),
            "app_id": AGENCY_APP,
            "secret": agency_secret,
        }}),
        identity: json!({"sms": {
            "base_url": address("sms"),
            "access_key_id": sms_id,
            "access_key_secret": sms_secret,
        }}),
    })
}

fn write_config(layout: &Layout, kind: &str, config: Value) -> io::Result<()> {
    let table = toml::Table::try_from(config).expect("the configuration is a table");
    let text = toml::to_string(&table).expect("a table is TOML");
    let path = config_file(layout, kind);
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    files::write_private(&path, text.as_bytes())
}

fn signer(folder: &Path, name: &str) -> anyhow::Result<Signer> {
    let key_file = folder.join(format!("{name}-key.pem"));
    let certificate_file = folder.join(format!("{name}.pem"));
    if !certificate_file.exists() {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("simulated {name}"));
        // Positive, as it is written in upper-case hex digits.
        let mut serial = hex::decode(secrets::random_hex(20))?;
        serial[0] = 0x5a;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.self_signed(&key)?;
        files::write_private(&key_file, key.serialize_pem().as_bytes())?;
        files::write_private(&certificate_file, certificate.pem().as_bytes())?;
    }
    let public_key_file = folder.join(format!("{name}-public.pem"));
    if !public_key_file.exists() {
        let key = KeyPair::from_pem(&fs::read_to_string(&key_file)?)?;
        files::write_private(&public_key_file, key.public_key_pem().as_bytes())?;
    }
    let (_, pem) = x509_parser::pem::parse_x509_pem(&fs::read(&certificate_file)?)?;
    let serial = pem
        .parse_x509()?
        .raw_serial()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    Ok(Signer {
        key_file,
        certificate_file,
        public_key_file,
        serial,
    })
}
