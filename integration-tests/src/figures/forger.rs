//! Makes notices of the payment providers with their own keys, true and untrue.

mod alipay;
mod wechat;

use std::path::Path;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::RSA_PKCS1_SHA256,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rand::{Rng, rngs::StdRng};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

pub(super) use {alipay::AlipayForger, wechat::WechatForger};

/// A notice as it is sent.
pub(super) struct Sent {
    /// What is wrong with it.
    pub kind: &'static str,
    /// It may be answered with success, because it tells of no payment.
    pub harmless: bool,
    pub path: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

fn sign(key: &KeyPair, message: &str) -> String {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut signature,
    )
    .expect("the key signs");
    STANDARD.encode(signature)
}

fn key(path: &Path) -> anyhow::Result<KeyPair> {
    let key = PrivatePkcs8KeyDer::from_pem_file(path)?;
    KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|_| anyhow::anyhow!("no RSA key"))
}

fn stranger() -> anyhow::Result<KeyPair> {
    KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow::anyhow!("no RSA key"))
}

/// Changes one bit of Base64, so that it stays Base64.
fn flip(text: &str, chance: &mut StdRng) -> String {
    let mut bytes = STANDARD.decode(text).unwrap_or_default();
    let at = chance.random_range(0..bytes.len());
    bytes[at] ^= 1 << chance.random_range(0..8);
    STANDARD.encode(bytes)
}

/// An amount in fen that is not this one.
fn other_amount(fen: i64, chance: &mut StdRng) -> i64 {
    let other = chance.random_range(1..10_000_000);
    if other == fen { fen + 1 } else { other }
}
