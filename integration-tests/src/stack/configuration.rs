//! The configuration of each service: what its defaults do not say for a stack on one machine.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    Description, Layout, SERVICES, files, providers::Provisioned, services::with_database,
};

/// What the scripted engine may make of one image: it reads none.
const SCRIPTED_IMAGE_TOKENS: u32 = 100;

/// Writes the configuration of every service.
pub fn write(
    layout: &Layout,
    source: &Path,
    description: &Description,
    provisioned: &Provisioned,
) -> io::Result<()> {
    write_if_changed(&descriptors(layout), wanwu_proto::DESCRIPTORS)?;
    for service in SERVICES {
        let mut config = common(layout, description, service);
        merge(&mut config, own(layout, source, description, service));
        merge(&mut config, provisioned.section(service));
        write_if_changed(&layout.config(service), toml_text(&config).as_bytes())?;
    }
    Ok(())
}

fn write_if_changed(path: &Path, content: &[u8]) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    files::write_private(path, content)
}

fn descriptors(layout: &Layout) -> PathBuf {
    layout.folder("config").join("descriptors.bin")
}

/// The sections that every service has.
fn common(layout: &Layout, description: &Description, service: &str) -> Value {
    let port = |what: &str| {
        let port = description.ports[&format!("{service}.{what}")];
        format!("127.0.0.1:{port}")
    };
    let (certificate, key) = layout.certificate(service);
    let peers: serde_json::Map<String, Value> = SERVICES
        .into_iter()
        .filter(|peer| called_by(service).contains(peer))
        .map(|peer| (peer.to_owned(), json!(description.services[peer].grpc)))
        .collect();
    let mut config = json!({
        "service": {"environment": "local", "region": description.region},
        "grpc": {"listen": port("grpc")},
        "admin": {"listen": port("admin")},
        "tls": {"ca_file": description.ca_file, "cert_file": certificate, "key_file": key},
        "telemetry": {"otlp_endpoint": description.traces.otlp, "sample_ratio": 1.0},
        "peers": peers,
        "keys": {"file": layout.keys(service)},
    });
    if with_database().any(|name| name == service) {
        config["database"] = json!({"url": description.database.urls[service]});
        config["broker"] = json!({"url": description.broker.url});
    }
    config
}

/// The call graph: whom a service asks.
fn called_by(service: &str) -> &'static [&'static str] {
    match service {
        "edge" => &[
            "identity",
            "verification",
            "billing",
            "inference-routing",
            "device-registry",
            "privacy",
        ],
        "identity" => &["privacy", "verification"],
        "verification" => &["privacy", "identity"],
        "privacy" | "billing" => &["identity"],
        "inference-routing" => &["billing", "identity", "device-registry"],
        "device-registry" => &["identity"],
        _ => &[],
    }
}

/// The sections that only one service has.
fn own(layout: &Layout, source: &Path, description: &Description, service: &str) -> Value {
    match service {
        "privacy" => json!({"agreements": {"folder": source.join("services/privacy/agreements")}}),
        // Nobody waits a week for a price here.
        "billing" => json!({
            "prices": {
                "folder": source.join("services/billing/price-lists"),
                "notice": "1s",
            },
            "products": {"folder": source.join("services/billing/products")},
        }),
        "inference-routing" => {
            json!({
                "models": models(description),
                "chat": chat_limits(description),
                "limits": call_limits(description),
                "leases": lease_terms(description),
            })
        }
        "identity" => json!({"codes": code_limits(description)}),
        "edge" => json!({"descriptors": {"file": descriptors(layout)}}),
        _ => json!({}),
    }
}

/// All customers of a test come from one address: the limits for one number stay.
fn code_limits(description: &Description) -> Value {
    if description.models.iter().any(|model| model.scripted) {
        json!({"address_an_hour": 100_000, "everybody_a_minute": 100_000})
    } else {
        json!({})
    }
}

/// Thousands of streams are held at once by few customers.
fn chat_limits(description: &Description) -> Value {
    if description.models.iter().any(|model| model.scripted) {
        json!({"max_running": 4096, "max_running_per_account": 1024})
    } else {
        json!({})
    }
}

/// A figure's few customers call as thousands do: what is measured are the limits' ways, not
/// their values.
fn call_limits(description: &Description) -> Value {
    if description.models.iter().any(|model| model.scripted) {
        json!({
            "requests_per_minute": 100_000_000,
            "tokens_per_minute": 100_000_000_000_u64,
            "concurrent_calls": 100_000,
        })
    } else {
        json!({})
    }
}

/// What nobody uses goes back soon: whoever waits until nothing is set aside waits for it.
fn lease_terms(description: &Description) -> Value {
    if description.models.iter().any(|model| model.scripted) {
        json!({"idle": "1s"})
    } else {
        json!({})
    }
}

fn models(description: &Description) -> Vec<Value> {
    let model = |model: &super::Model| {
        let mut section = json!({
            "name": model.name,
            "engine_model": model.engine_name,
            "capability": model.capability,
            "shapes": model.shapes,
            "created_at": "2026-11-01T00:00:00Z",
            "context_tokens": model.context_tokens,
            "default_max_tokens": 512,
            "template_allowance_tokens": 64,
            "continuous_usage": model.scripted,
            "engines": [{"url": model.engine}],
        });
        if let Some(tokenizer) = &model.tokenizer {
            section["tokenizer_file"] = json!(tokenizer);
        }
        if model.scripted {
            section["image_tokens"] = json!(SCRIPTED_IMAGE_TOKENS);
        }
        section
    };
    description.models.iter().map(model).collect()
}

/// Puts the sections of one value over those of another.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn toml_text(config: &Value) -> String {
    let table = toml::Table::try_from(config).expect("the sections are tables without null");
    let text = toml::to_string(&table).expect("a table is TOML");
    format!("# Written by `stack up`: changes are lost.\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_merged_key_by_key() {
        let mut config = json!({"a": {"x": 1, "y": 2}});
        merge(
            &mut config,
            json!({"a": {"y": 3}, "b": {"list": [{"z": "t"}]}}),
        );
        assert_eq!(
            config,
            json!({"a": {"x": 1, "y": 3}, "b": {"list": [{"z": "t"}]}})
        );
        let text = toml_text(&config);
        assert!(
            text.contains("[a]\n") && text.contains("[[b.list]]"),
            "{text}"
        );
    }
}
