use std::{collections::BTreeMap, path::Path};

use aws_lc_rs::rsa::KeyPair;
use rand::{Rng, rngs::StdRng};

use super::{Sent, flip, key, other_amount, sign, stranger};
use crate::simulators::alipay;

/// Alipay's notices.
pub(in crate::figures) struct AlipayForger {
    config: alipay::Config,
    alipay: KeyPair,
    stranger: KeyPair,
    order: String,
    elsewhere: String,
    fen: i64,
}

type Fields = BTreeMap<&'static str, String>;

impl AlipayForger {
    /// `order` is offered at this provider, `elsewhere` only at the other one.
    pub(in crate::figures) fn load(
        folder: &Path,
        order: &str,
        elsewhere: &str,
        fen: i64,
    ) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(folder.join("alipay.toml"))?;
        let config: alipay::Config = toml::from_str(&text)?;
        Ok(Self {
            alipay: key(&config.alipay_key_file)?,
            stranger: stranger()?,
            config,
            order: order.to_owned(),
            elsewhere: elsewhere.to_owned(),
            fen,
        })
    }

    fn fields(&self) -> Fields {
        [
            ("notify_id", uuid::Uuid::new_v4().simple().to_string()),
            ("notify_type", "trade_status_sync".to_owned()),
            ("app_id", self.config.app_id.clone()),
            ("seller_id", self.config.seller_id.clone()),
            ("charset", "utf-8".to_owned()),
            ("out_trade_no", self.order.clone()),
            ("trade_no", format!("20261123{}", &self.order[..20])),
            ("trade_status", "TRADE_SUCCESS".to_owned()),
            ("total_amount", yuan(self.fen)),
        ]
        .into()
    }

    /// The true notice.
    pub(in crate::figures) fn truth(&self) -> Sent {
        let fields = self.fields();
        let signature = sign(&self.alipay, &joined(&fields));
        send("true", &fields, "RSA2", &signature)
    }

    /// One random mutation.
    pub(in crate::figures) fn forge(&self, chance: &mut StdRng) -> Sent {
        let mut fields = self.fields();
        let signature = sign(&self.alipay, &joined(&fields));
        if chance.random() {
            return self.tampered(fields, &signature, chance);
        }
        let mut harmless = false;
        let kind = match chance.random_range(0..7) {
            0 => {
                fields.insert("total_amount", yuan(other_amount(self.fen, chance)));
                "amount"
            }
            1 => {
                fields.insert(
                    "app_id",
                    format!("2021{:012}", chance.random_range(0..10_i64.pow(12))),
                );
                "app"
            }
            2 => {
                fields.insert(
                    "seller_id",
                    format!("2088{:012}", chance.random_range(0..10_i64.pow(12))),
                );
                "merchant"
            }
            3 => {
                fields.insert("out_trade_no", format!("{:032x}", chance.random::<u128>()));
                "order"
            }
            4 => {
                fields.insert("out_trade_no", self.elsewhere.clone());
                "provider"
            }
            5 => {
                let state =
                    ["WAIT_BUYER_PAY", "TRADE_CLOSED", "TRADE_PENDING"][chance.random_range(0..3)];
                // There is nothing to repeat about a trade that was not paid.
                harmless = state != "TRADE_PENDING";
                fields.insert("trade_status", state.to_owned());
                "terminal state"
            }
            _ => {
                fields.remove(
                    ["total_amount", "trade_no", "app_id", "seller_id"][chance.random_range(0..4)],
                );
                "missing field"
            }
        };
        let signature = sign(&self.alipay, &joined(&fields));
        let mut sent = send(kind, &fields, "RSA2", &signature);
        sent.harmless = harmless;
        sent
    }

    /// Changed after Alipay signed it, or signed by somebody else.
    fn tampered(&self, mut fields: Fields, signature: &str, chance: &mut StdRng) -> Sent {
        match chance.random_range(0..6) {
            0 => send("signature", &fields, "RSA2", &flip(signature, chance)),
            1 => {
                let signature = sign(&self.stranger, &joined(&fields));
                send("signature of a stranger", &fields, "RSA2", &signature)
            }
            2 => send("no signature", &fields, "RSA2", ""),
            3 => send("another algorithm", &fields, "RSA", signature),
            4 => {
                fields.insert("total_amount", yuan(other_amount(self.fen, chance)));
                send("changed amount", &fields, "RSA2", signature)
            }
            _ => {
                fields.insert("extra", format!("{:x}", chance.random::<u64>()));
                send("added field", &fields, "RSA2", signature)
            }
        }
    }
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

fn joined(fields: &Fields) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

fn send(kind: &'static str, fields: &Fields, algorithm: &str, signature: &str) -> Sent {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .append_pair("sign_type", algorithm)
        .append_pair("sign", signature)
        .finish();
    Sent {
        kind,
        harmless: false,
        path: "/payments/alipay/callback",
        headers: vec![(
            "content-type",
            "application/x-www-form-urlencoded".to_owned(),
        )],
        body: form.into_bytes(),
    }
}
