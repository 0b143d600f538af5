use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use url::{Host, Url};
use wanwu_telemetry::TelemetryConfig;

/// The whole configuration of a service: a struct of sections, `deny_unknown_fields` on each.
pub trait Configuration: DeserializeOwned + Send + 'static {
    /// Section `[service]`.
    fn service(&self) -> &ProcessConfig;

    /// Section `[admin]`.
    fn admin(&self) -> &AdminConfig;

    /// Section `[telemetry]`.
    fn telemetry(&self) -> &TelemetryConfig;

    /// What is wrong beyond the shape, one sentence each with the key first; nothing: it can be
    /// used. It looks at no network and no database.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Section `[service]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// What the process is for.
    pub environment: Environment,
    /// The region that it runs in; it must be in mainland China.
    pub region: String,
    /// How long the process keeps answering after it said NOT_SERVING: what routes to it needs
    /// that long to notice.
    #[serde(default, with = "humantime_serde")]
    pub drain_delay: Duration,
    /// When the process ends at the latest, counted from the signal.
    #[serde(default = "hard_end", with = "humantime_serde")]
    pub hard_end: Duration,
    /// Threads of the runtime, at least 2; 0: one a processor.
    #[serde(default)]
    pub workers: usize,
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A stack on one machine, with simulators for providers.
    Local,
    /// The real thing.
    Production,
}

/// Section `[admin]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Where `/live`, `/ready` and `/metrics` answer.
    pub listen: SocketAddr,
}

/// Regions that begin with `cn-` and are not on mainland ground.
const NOT_MAINLAND: [&str; 4] = ["hongkong", "hong-kong", "macau", "taiwan"];

fn hard_end() -> Duration {
    Duration::from_secs(25)
}

impl ProcessConfig {
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let region = self.region.to_ascii_lowercase();
        if !region.starts_with("cn-") || NOT_MAINLAND.iter().any(|place| region.contains(place)) {
            problems.push("service.region must be a region of mainland China (cn-...)".to_owned());
        }
        if self.drain_delay >= self.hard_end {
            problems.push("service.drain_delay must be less than service.hard_end".to_owned());
        }
        if self.environment == Environment::Production && wanwu_crash::is_told() {
            let variable = wanwu_crash::VARIABLE;
            problems.push(format!(
                "{variable} is set, which it may not be in production"
            ));
        }
        problems
    }
}

impl Environment {
    /// The name, as telemetry shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Production => "production",
        }
    }

    /// A problem if, in production, the address of a provider is not one of the outside: not
    /// HTTPS, or this machine, as the simulators are.
    #[must_use]
    pub fn provider_problem(self, key: &str, address: &str) -> Option<String> {
        if self == Self::Local {
            return Url::parse(address)
                .is_err()
                .then(|| format!("{key} is not a URL"));
        }
        let Ok(url) = Url::parse(address) else {
            return Some(format!("{key} is not a URL"));
        };
        if url.scheme() != "https" {
            return Some(format!("{key} must be https in production"));
        }
        let inside = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
            Some(Host::Ipv6(ip)) => {
                ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
            }
            None => true,
        };
        inside.then(|| format!("{key} points at a simulator, which production may not"))
    }

    /// As [`provider_problem`](Self::provider_problem), for a provider that answers at one host
    /// only: in production it must be that host, at its usual port.
    #[must_use]
    pub fn provider_host_problem(self, key: &str, address: &Url, host: &str) -> Option<String> {
        let problem = self.provider_problem(key, address.as_str());
        let own = self == Self::Local
            || (address.host_str() == Some(host) && address.port_or_known_default() == Some(443));
        problem.or_else(|| (!own).then(|| format!("{key} must be https://{host} in production")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mainland_regions_are_taken() {
        let cases = [
            ("cn-north-1", true),
            ("cn-hangzhou", true),
            ("cn-hongkong", false),
            ("ap-southeast-1", false),
            ("", false),
        ];
        for (region, taken) in cases {
            let config = ProcessConfig {
                environment: Environment::Local,
                region: region.to_owned(),
                drain_delay: Duration::ZERO,
                hard_end: hard_end(),
                workers: 0,
            };
            assert_eq!(config.problems().is_empty(), taken, "{region}");
        }
    }

    #[test]
    fn production_names_no_simulator() {
        let cases = [
            ("https://dysmsapi.aliyuncs.com", true),
            ("http://dysmsapi.aliyuncs.com", false),
            ("https://127.0.0.1:9001", false),
            ("https://[::1]:9001", false),
            ("https://localhost", false),
            ("https://[::ffff:127.0.0.1]", false),
            ("sms", false),
        ];
        for (address, taken) in cases {
            let problem = Environment::Production.provider_problem("sms.url", address);
            assert_eq!(problem.is_none(), taken, "{address}");
        }
        assert_eq!(
            Environment::Local.provider_problem("sms.url", "http://127.0.0.1:9001"),
            None
        );
    }

    #[test]
    fn a_provider_with_one_host_is_only_there() {
        let problem = |environment: Environment, address: &str| {
            let address = Url::parse(address).unwrap();
            environment.provider_host_problem("sms.url", &address, "sms.example.cn")
        };
        for (address, taken) in [
            ("https://sms.example.cn", true),
            ("https://sms.example.cn:443/", true),
            ("https://sms.example.cn:8443", false),
            ("http://sms.example.cn", false),
            ("https://sms.example.cn.evil.cn", false),
            ("https://simulator.internal", false),
            ("https://127.0.0.1", false),
        ] {
            let found = problem(Environment::Production, address);
            assert_eq!(found.is_none(), taken, "{address}");
        }
        assert_eq!(problem(Environment::Local, "http://127.0.0.1:9001"), None);
    }
}
