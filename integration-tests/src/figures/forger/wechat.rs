use std::path::Path;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rsa::KeyPair,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Utc;
use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};

use super::{Sent, flip, key, other_amount, sign, stranger};
use crate::simulators::wechat_pay;

/// WeChat Pay's notices.
pub(in crate::figures) struct WechatForger {
    config: wechat_pay::Config,
    platform: KeyPair,
    stranger: KeyPair,
    order: String,
    elsewhere: String,
    fen: i64,
}

/// A notice while it is put together.
struct Draft {
    transaction: Value,
    event: &'static str,
    api_v3_key: String,
    serial: String,
    timestamp: String,
    nonce: String,
}

impl WechatForger {
    /// `order` is offered at this provider, `elsewhere` only at the other one.
    pub(in crate::figures) fn load(
        folder: &Path,
        order: &str,
        elsewhere: &str,
        fen: i64,
    ) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(folder.join("wechat-pay.toml"))?;
        let config: wechat_pay::Config = toml::from_str(&text)?;
        Ok(Self {
            platform: key(&config.platform_key_file)?,
            stranger: stranger()?,
            config,
            order: order.to_owned(),
            elsewhere: elsewhere.to_owned(),
            fen,
        })
    }

    fn draft(&self) -> Draft {
        Draft {
            transaction: json!({
                "mchid": self.config.mchid,
                "appid": self.config.appid,
                "out_trade_no": self.order,
                "transaction_id": format!("42{}", &self.order[..26]),
                "trade_type": "NATIVE",
                "trade_state": "SUCCESS",
                "success_time": Utc::now(),
                "amount": {"total": self.fen, "payer_total": self.fen, "currency": "CNY"},
            }),
            event: "TRANSACTION.SUCCESS",
            api_v3_key: self.config.api_v3_key.clone(),
            serial: self.config.platform_serial.clone(),
            timestamp: Utc::now().timestamp().to_string(),
            nonce: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// The true notice.
    pub(in crate::figures) fn truth(&self) -> Sent {
        self.send("true", self.draft(), &self.platform)
    }

    fn send(&self, kind: &'static str, draft: Draft, key: &KeyPair) -> Sent {
        let body = json!({
            "id": uuid::Uuid::new_v4(),
            "create_time": Utc::now(),
            "event_type": draft.event,
            "resource_type": "encrypt-resource",
            "resource": seal(&draft.api_v3_key, &draft.transaction.to_string()),
        })
        .to_string();
        let message = format!("{}\n{}\n{body}\n", draft.timestamp, draft.nonce);
        Sent {
            kind,
            harmless: false,
            path: "/payments/wechat/callback",
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("wechatpay-serial", draft.serial),
                ("wechatpay-timestamp", draft.timestamp),
                ("wechatpay-nonce", draft.nonce),
                ("wechatpay-signature", sign(key, &message)),
            ],
            body: body.into_bytes(),
        }
    }

    /// Changed after the platform signed it, or signed by somebody else.
    fn tampered(&self, chance: &mut StdRng) -> Sent {
        let mut sent = self.send("changed", self.draft(), &self.platform);
        let header = |sent: &mut Sent, at: usize, value: String| sent.headers[at].1 = value;
        match chance.random_range(0..8) {
            0 => {
                sent.kind = "signature";
                let flipped = flip(&sent.headers[4].1, chance);
                header(&mut sent, 4, flipped);
            }
            1 => return self.send("signature of a stranger", self.draft(), &self.stranger),
            2 => {
                sent.kind = "missing header";
                let at = chance.random_range(1..5);
                sent.headers.remove(at);
            }
            3 => {
                sent.kind = "serial";
                header(&mut sent, 1, format!("{:040X}", chance.random::<u128>()));
            }
            4 => {
                sent.kind = "time of another";
                let moved = Utc::now().timestamp() + chance.random_range(1..250);
                header(&mut sent, 2, moved.to_string());
            }
            5 => {
                sent.kind = "nonce";
                header(&mut sent, 3, format!("{:032x}", chance.random::<u128>()));
            }
            6 => {
                sent.kind = "body";
                let at = chance.random_range(0..sent.body.len());
                sent.body[at] ^= 1 << chance.random_range(0..7);
            }
            _ => {
                sent.kind = "probe";
                let probe = format!("WECHATPAY/SIGNTEST/{}", sent.headers[4].1);
                header(&mut sent, 4, probe);
            }
        }
        sent
    }

    /// One random mutation.
    pub(in crate::figures) fn forge(&self, chance: &mut StdRng) -> Sent {
        if chance.random() {
            return self.tampered(chance);
        }
        let mut draft = self.draft();
        let fields = &mut draft.transaction;
        let kind = match chance.random_range(0..10) {
            0 => {
                fields["amount"]["total"] = json!(other_amount(self.fen, chance));
                "amount"
            }
            1 => {
                fields["amount"]["currency"] =
                    json!(["USD", "HKD", "cny", ""][chance.random_range(0..4)]);
                "currency"
            }
            2 => {
                fields["mchid"] = json!(format!("19{:08}", chance.random_range(0..100_000_000)));
                "merchant"
            }
            3 => {
                fields["appid"] = json!(format!("wx{:016x}", chance.random::<u64>()));
                "app"
            }
            4 => {
                fields["out_trade_no"] = json!(format!("{:032x}", chance.random::<u128>()));
                "order"
            }
            5 => {
                fields["out_trade_no"] = json!(self.elsewhere);
                "provider"
            }
            6 => {
                let states = [
                    "CLOSED",
                    "REFUND",
                    "NOTPAY",
                    "REVOKED",
                    "USERPAYING",
                    "PAYERROR",
                    "",
                ];
                fields["trade_state"] = json!(states[chance.random_range(0..states.len())]);
                "terminal state"
            }
            7 => {
                draft.api_v3_key = format!("{:032x}", chance.random::<u128>());
                "key of the content"
            }
            8 => {
                draft.event = ["REFUND.SUCCESS", "REFUND.CLOSED", "PAYSCORE.USER_PAID"]
                    [chance.random_range(0..3)];
                "kind of notice"
            }
            _ => {
                let away = chance.random_range(301..1_000_000) * [1, -1][chance.random_range(0..2)];
                draft.timestamp = (Utc::now().timestamp() + away).to_string();
                "time"
            }
        };
        self.send(kind, draft, &self.platform)
    }
}

fn seal(api_v3_key: &str, plaintext: &str) -> Value {
    let key = UnboundKey::new(&AES_256_GCM, api_v3_key.as_bytes()).expect("the key has 32 bytes");
    let nonce = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
    let mut sealed = plaintext.as_bytes().to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(
            Nonce::try_assume_unique_for_key(nonce.as_bytes()).expect("12 bytes"),
            Aad::from(b"transaction"),
            &mut sealed,
        )
        .expect("a small text is sealed");
    json!({
        "algorithm": "AEAD_AES_256_GCM",
        "original_type": "transaction",
        "nonce": nonce,
        "associated_data": "transaction",
        "ciphertext": STANDARD.encode(sealed),
    })
}
