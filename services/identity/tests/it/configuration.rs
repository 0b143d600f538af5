use identity::config::Config;
use wanwu_service::{Configuration, Environment};

#[test]
fn production_sends_by_the_provider_and_nobody_else() {
    let mut config: Config = toml::from_str(
        &include_str!("../../config.default.toml")
            .replace(
                "[database]",
                "[database]\nurl = \"postgres://localhost/identity\"",
            )
            .replace("[broker]", "[broker]\nurl = \"amqp://localhost\"")
            .replace("[sms]", "[sms]\naccess_key_secret = \"secret\""),
    )
    .unwrap();
    config.service.environment = Environment::Production;
    assert_eq!(config.problems(), [""; 0]);
    for address in [
        "http://dysmsapi.aliyuncs.com",
        "https://127.0.0.1:9000",
        "https://dysmsapi.aliyuncs.com.example.cn",
        "https://sms.example.cn",
    ] {
        config.sms.base_url = address.parse().unwrap();
        assert!(!config.problems().is_empty(), "{address}");
    }
    config.service.environment = Environment::Local;
    config.sms.base_url = "http://127.0.0.1:9000".parse().unwrap();
    assert_eq!(config.problems(), [""; 0], "a simulator is fine here");
}

#[test]
fn a_number_gets_no_more_than_the_provider_allows() {
    let defaults = include_str!("../../config.default.toml");
    for (key, more) in [
        ("number_a_minute = 1", "number_a_minute = 2"),
        ("number_an_hour = 5", "number_an_hour = 6"),
        ("number_a_day = 10", "number_a_day = 11"),
    ] {
        let config: Config = toml::from_str(&defaults.replace(key, more)).unwrap();
        let problems = config.problems().join("\n");
        assert!(problems.contains("a number gets at most"), "{more}");
    }
}
