use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use wanwu_service::{AdminConfig, Configuration, Environment, ProcessConfig};
use wanwu_telemetry::TelemetryConfig;

/// Where WeChat Pay answers; production takes no other.
const WECHAT_HOST: &str = "api.mch.weixin.qq.com";

/// Where Alipay answers; production takes no other.
const ALIPAY_HOST: &str = "openapi.alipay.com";

/// The whole configuration; `config.default.toml` documents every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Section `[service]`.
    pub service: ProcessConfig,
    /// Section `[admin]`.
    pub admin: AdminConfig,
    /// Section `[telemetry]`.
    pub telemetry: TelemetryConfig,
    /// Section `[grpc]`.
    pub grpc: wanwu_grpc::GrpcConfig,
    /// Section `[tls]`.
    pub tls: wanwu_grpc::TlsConfig,
    /// Section `[peers]`.
    pub peers: wanwu_grpc::Peers,
    /// Section `[database]`.
    pub database: wanwu_postgres::DatabaseConfig,
    /// Section `[broker]`.
    pub broker: wanwu_events::BrokerConfig,
    /// Section `[keys]`.
    pub keys: KeysConfig,
    /// Section `[prices]`.
    pub prices: PricesConfig,
    /// Section `[products]`.
    pub products: ProductsConfig,
    /// Section `[packages]`.
    pub packages: PackagesConfig,
    /// Section `[wechat_pay]`.
    pub wechat_pay: WechatPayConfig,
    /// Section `[alipay]`.
    pub alipay: AlipayConfig,
}

/// Section `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The file of the keys that nothing in the database can be read without.
    pub file: std::path::PathBuf,
}

/// Section `[prices]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricesConfig {
    /// The folder with the price lists.
    pub folder: PathBuf,
    /// How long before its start operators publish a list at the latest.
    #[serde(with = "humantime_serde")]
    pub notice: Duration,
}

/// Section `[packages]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagesConfig {
    /// The file with the packages that can be had; empty: none can.
    pub file: PathBuf,
}

/// Section `[products]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductsConfig {
    /// The folder with the catalogues; empty: nothing is sold but credit.
    pub folder: PathBuf,
}

/// Section `[wechat_pay]`: the merchant's account at WeChat Pay, API v3.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WechatPayConfig {
    /// Where it answers.
    pub base_url: Url,
    /// The merchant.
    pub mchid: String,
    /// The merchant's app.
    pub appid: String,
    /// Serial number of the merchant's certificate.
    pub merchant_serial: String,
    /// The merchant's key, PKCS#8 in PEM.
    pub merchant_key_file: PathBuf,
    /// The APIv3 key, 32 characters.
    pub api_v3_key: Option<SecretString>,
    /// A file that holds the APIv3 key. Exactly one of the two.
    pub api_v3_key_file: Option<PathBuf>,
    /// The platform's certificate in PEM.
    pub platform_certificate_file: PathBuf,
    /// Its serial number, as signatures name it; empty: the merchant has no platform certificate.
    pub platform_serial: String,
    /// The platform's public key in PEM, for merchants in public-key mode.
    pub platform_public_key_file: PathBuf,
    /// Its id (`PUB_KEY_ID_...`), as signatures name it; empty: not in public-key mode.
    pub platform_public_key_id: String,
    /// Certificates of the platform are asked for, so that new ones are known before they are used.
    pub download_certificates: bool,
    /// Where notices are sent to: the edge's callback address.
    pub notify_url: String,
    /// Where its user agreement and privacy policy are: shown before somebody pays.
    pub legal_urls: Vec<String>,
}

/// Section `[alipay]`: an app of the merchant at Alipay's open platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlipayConfig {
    /// Where it answers.
    pub gateway_url: Url,
    /// The app; empty: orders are not offered through Alipay, and its notices are refused.
    pub app_id: String,
    /// The merchant, 2088...
    pub seller_id: String,
    /// What proves Alipay's signatures.
    pub mode: AlipayMode,
    /// The app's key, PKCS#8 in PEM.
    pub app_key_file: PathBuf,
    /// Public-key mode: Alipay's public key in PEM.
    pub alipay_public_key_file: PathBuf,
    /// Certificate mode: the app's certificate in PEM (`appCertPublicKey_....crt`).
    pub app_certificate_file: PathBuf,
    /// Certificate mode: Alipay's certificate in PEM, with the authorities that stand between it and
    /// a root behind it (`alipayCertPublicKey_RSA2.crt`).
    pub alipay_certificate_file: PathBuf,
    /// Certificate mode: Alipay's root certificates in PEM (`alipayRootCert.crt`).
    pub alipay_root_file: PathBuf,
    /// Where notices are sent to: the edge's callback address.
    pub notify_url: String,
    /// Where its user agreement and privacy policy are: shown before somebody pays.
    pub legal_urls: Vec<String>,
}

/// What proves Alipay's signatures (加签方式), as the app is set up at Alipay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlipayMode {
    /// 公钥: one public key of Alipay.
    PublicKey,
    /// 公钥证书: certificates of the app and of Alipay, under Alipay's roots.
    Certificate,
}

impl AlipayConfig {
    /// Orders are offered through Alipay.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        !self.app_id.is_empty()
    }

    fn problems(&self, environment: Environment) -> Vec<String> {
        if !self.is_used() {
            return Vec::new();
        }
        let mut problems = Vec::new();
        let gateway = &self.gateway_url;
        problems.extend(environment.provider_problem("alipay.gateway_url", gateway.as_str()));
        problems.extend(environment.provider_problem("alipay.notify_url", &self.notify_url));
        if environment == Environment::Production && gateway.host_str() != Some(ALIPAY_HOST) {
            problems.push(format!("alipay.gateway_url must be https://{ALIPAY_HOST}"));
        }
        for (key, value) in [
            ("seller_id", &self.seller_id),
            ("notify_url", &self.notify_url),
        ] {
            if value.is_empty() {
                problems.push(format!("alipay.{key} must be set"));
            }
        }
        problems
    }
}

impl WechatPayConfig {
    /// Certificates are asked for: not of a platform that has only its public key for us.
    #[must_use]
    pub const fn downloads_certificates(&self) -> bool {
        let only_key = self.platform_serial.is_empty() && !self.platform_public_key_id.is_empty();
        self.download_certificates && !only_key
    }

    /// The APIv3 key.
    ///
    /// # Errors
    /// When it is absent, named twice, unreadable, or not 32 characters: without it notices could not
    /// be told from anybody's.
    pub fn key(&self) -> anyhow::Result<SecretString> {
        let key = match (&self.api_v3_key, &self.api_v3_key_file) {
            (Some(key), None) => key.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?
                .trim()
                .into(),
            _ => anyhow::bail!("set exactly one of wechat_pay.api_v3_key and api_v3_key_file"),
        };
        anyhow::ensure!(
            key.expose_secret().len() == 32,
            "wechat_pay.api_v3_key has not 32 characters"
        );
        Ok(key)
    }
}

impl Configuration for Config {
    fn service(&self) -> &ProcessConfig {
        &self.service
    }

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn problems(&self) -> Vec<String> {
        let (environment, pay) = (self.service.environment, &self.wechat_pay);
        let mut problems = self.alipay.problems(environment);
        problems.extend(environment.provider_problem("wechat_pay.base_url", pay.base_url.as_str()));
        problems.extend(environment.provider_problem("wechat_pay.notify_url", &pay.notify_url));
        if environment == Environment::Production && pay.base_url.host_str() != Some(WECHAT_HOST) {
            problems.push(format!("wechat_pay.base_url must be https://{WECHAT_HOST}"));
        }
        let unproved = pay.platform_serial.is_empty() && pay.platform_public_key_id.is_empty();
        if unproved && !pay.downloads_certificates() {
            problems.push(
                "wechat_pay.platform_serial or platform_public_key_id must be set, or \
                 download_certificates"
                    .to_owned(),
            );
        }
        for (key, value) in [
            ("mchid", &self.wechat_pay.mchid),
            ("appid", &self.wechat_pay.appid),
            ("merchant_serial", &self.wechat_pay.merchant_serial),
            ("notify_url", &self.wechat_pay.notify_url),
        ] {
            if value.is_empty() {
                problems.push(format!("wechat_pay.{key} must be set"));
            }
        }
        if self.wechat_pay.api_v3_key.is_some() == self.wechat_pay.api_v3_key_file.is_some() {
            problems.push(
                "exactly one of wechat_pay.api_v3_key and api_v3_key_file must be set".to_owned(),
            );
        }
        problems
    }
}
