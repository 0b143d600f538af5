use billing::config::Config;
use wanwu_service::{Configuration, Environment};

/// The defaults with what only an operator knows.
fn config() -> Config {
    let mut config: Config = toml::from_str(include_str!("../../config.default.toml")).unwrap();
    let pay = &mut config.wechat_pay;
    pay.mchid = "1900000001".to_owned();
    pay.appid = "wx0123456789abcdef".to_owned();
    pay.merchant_serial = "3775".to_owned();
    pay.platform_serial = "5157".to_owned();
    pay.api_v3_key_file = Some("/secrets/api-v3-key".into());
    pay.notify_url = "https://api.example.cn/payments/wechat/callback".to_owned();
    config
}

#[test]
fn what_only_an_operator_knows_must_be_set() {
    let defaults: Config = toml::from_str(include_str!("../../config.default.toml")).unwrap();
    let problems = defaults.problems().join("\n");
    for key in [
        "mchid",
        "appid",
        "merchant_serial",
        "platform_serial",
        "api_v3_key",
        "notify_url",
    ] {
        assert!(problems.contains(key), "{key}: {problems}");
    }
    assert_eq!(config().problems(), [""; 0]);
}

#[test]
fn production_pays_at_wechat_and_nowhere_else() {
    let mut config = config();
    config.service.environment = Environment::Production;
    assert_eq!(config.problems(), [""; 0]);
    for address in [
        "http://api.mch.weixin.qq.com",
        "https://127.0.0.1:9000",
        "https://api.mch.weixin.qq.com.example.cn",
        "https://pay.example.cn",
    ] {
        config.wechat_pay.base_url = address.parse().unwrap();
        assert!(!config.problems().is_empty(), "{address}");
    }
    config.service.environment = Environment::Local;
    config.wechat_pay.base_url = "http://127.0.0.1:9000".parse().unwrap();
    assert_eq!(config.problems(), [""; 0], "a simulator is fine here");
    config.service.environment = Environment::Production;
    config.wechat_pay.base_url = "https://api.mch.weixin.qq.com".parse().unwrap();
    config.wechat_pay.notify_url = "http://api.example.cn/payments/wechat/callback".to_owned();
    assert!(!config.problems().is_empty(), "notices come over HTTPS");
}

#[test]
fn an_api_v3_key_has_thirty_two_characters_and_is_not_shown() {
    let mut pay = config().wechat_pay;
    pay.api_v3_key_file = None;
    for (key, taken) in [("0123456789abcdef0123456789abcdef", true), ("short", false)] {
        pay.api_v3_key = Some(key.into());
        assert_eq!(pay.key().is_ok(), taken, "{key}");
        assert!(!format!("{pay:?}").contains(key));
    }
    pay.api_v3_key = None;
    assert!(pay.key().is_err());
}
