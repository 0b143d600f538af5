//! Notices that somebody forged, with and without the providers' own keys.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::{
    Figure, Kind, Reading, Tier,
    forger::{AlipayForger, Sent, WechatForger},
};
use crate::{
    journey::Journey,
    stack::{Stack, as_owner},
};

const FEN: i64 = 5000;
const AT_ONCE: usize = 8;
const SEED: u64 = 20_261_123;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-forgery",
        claim: "no forged, changed, old or misdirected notice is accepted; a missing secret refuses to start",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let mutations = if tier == Tier::Quick { 600 } else { 12_000 };
    let mut customer = Journey::new(&stack);
    customer.register().await?;
    customer.verify_real_name().await?;
    // One order at each provider that the notices are about: true in all but the mutation.
    let at_wechat = customer.order(FEN).await?.replace('-', "");
    let at_alipay = alipay_order(&customer).await?.replace('-', "");
    let folder = stack.description().dir.join("simulators");
    let wechat = WechatForger::load(&folder, &at_wechat, &at_alipay, FEN)?;
    let alipay = AlipayForger::load(&folder, &at_alipay, &at_wechat, FEN)?;
    let sends = (0..mutations).map(|number| {
        let mut chance = StdRng::seed_from_u64(SEED + number);
        let sent = if number % 2 == 0 {
            wechat.forge(&mut chance)
        } else {
            alipay.forge(&mut chance)
        };
        deliver(&customer, sent)
    });
    let accepted: Vec<Option<&'static str>> = stream::iter(sends)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut kinds = BTreeMap::<&str, u32>::new();
    for kind in accepted.iter().flatten() {
        *kinds.entry(kind).or_default() += 1;
    }
    let credited = customer.balance().await?.0;
    println!("  {mutations} mutations: accepted {kinds:?}; credited {credited}");
    // The true ones count, and count once however often they are replayed.
    let mut replayed = 0;
    for _ in 0..20 {
        for sent in [wechat.truth(), alipay.truth()] {
            replayed += u32::from(deliver(&customer, sent).await?.is_some());
        }
    }
    let once = customer.balance().await?.0;
    let expected = 2 * FEN * 10_000_000;
    println!("  40 true notices: {replayed} accepted; credited {once}, expected {expected}");
    let started = starts_without_secrets(&stack)?;
    println!("  started without a secret: {started:?}");
    let wrong = kinds.values().sum::<u32>();
    Ok(Reading {
        figure: wrong.to_string(),
        unit: format!("of {mutations} mutations accepted"),
        goal: "0, and a missing secret refuses to start".to_owned(),
        holds: wrong == 0
            && credited == 0
            && once == expected
            && replayed == 40
            && started.is_empty(),
    })
}

async fn alipay_order(customer: &Journey) -> anyhow::Result<String> {
    let body = json!({
        "requestId": uuid::Uuid::now_v7(),
        "amount": crate::journey::fen(FEN),
        "provider": "PAYMENT_PROVIDER_ALIPAY_PRECREATE",
    });
    let method = "wanwu.billing.v1.OrderService/CreateTopUpOrder";
    let answer = customer.call_verified(method, body).await?;
    Ok(answer["order"]["orderId"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Sends a notice to the edge; answers its kind when it was accepted.
async fn deliver(customer: &Journey, sent: Sent) -> anyhow::Result<Option<&'static str>> {
    let api = customer.api();
    let mut request = api.http().post(format!("{}{}", api.base(), sent.path));
    for (name, value) in &sent.headers {
        request = request.header(*name, value);
    }
    let answer = request.body(sent.body).send().await?;
    let taken = answer.status().is_success();
    Ok((taken && !sent.harmless).then_some(sent.kind))
}

/// Asked for where Alipay is without certificates.
const PUBLIC_KEY: &str = "alipay_public_key_file";

/// The secrets without which billing started all the same.
fn starts_without_secrets(stack: &Stack) -> anyhow::Result<Vec<&'static str>> {
    let config = std::fs::read_to_string(&stack.service("billing").config)?;
    let mut started = Vec::new();
    for (section, key, gone) in [
        ("wechat_pay", "api_v3_key", None),
        ("wechat_pay", "merchant_key_file", Some("/nowhere")),
        ("wechat_pay", "platform_certificate_file", Some("/nowhere")),
        ("wechat_pay", "platform_serial", Some("")),
        ("alipay", "app_key_file", Some("/nowhere")),
        ("alipay", "app_certificate_file", Some("/nowhere")),
        ("alipay", "alipay_certificate_file", Some("/nowhere")),
        ("alipay", "alipay_root_file", Some("/nowhere")),
        ("alipay", PUBLIC_KEY, Some("/nowhere")),
        ("alipay", "seller_id", Some("")),
    ] {
        let mut table: toml::Table = toml::from_str(&config)?;
        let values = table[section].as_table_mut();
        let values = values.ok_or_else(|| anyhow::anyhow!("no section {section}"))?;
        if key == PUBLIC_KEY {
            values.insert("mode".to_owned(), "public_key".into());
        }
        match gone {
            None => drop(values.remove(key)),
            Some(value) => drop(values.insert(key.to_owned(), value.into())),
        }
        for listener in ["grpc", "admin"] {
            table[listener]["listen"] = "127.0.0.1:0".into();
        }
        if starts(stack, &toml::to_string(&table)?)? {
            started.push(key);
        }
    }
    Ok(started)
}

fn starts(stack: &Stack, config: &str) -> anyhow::Result<bool> {
    let description = stack.description();
    let chance: u64 = rand::rng().random();
    let path = description.dir.join(format!("forged-{chance:016x}.toml"));
    crate::stack::write_private(&path, config.as_bytes())?;
    let outcome = run(stack, &path);
    std::fs::remove_file(&path)?;
    outcome
}

/// Whether billing is still there after a while.
fn run(stack: &Stack, config: &Path) -> anyhow::Result<bool> {
    let description = stack.description();
    let mut command = Command::new(description.binaries.join("billing"));
    command.arg("--config").arg(config).arg("serve");
    command
        .current_dir(&description.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    as_owner(&mut command, &description.dir)?;
    let mut process = command.spawn()?;
    for _ in 0..80 {
        if let Some(status) = process.try_wait()? {
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    process.kill()?;
    process.wait()?;
    Ok(true)
}
