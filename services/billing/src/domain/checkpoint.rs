//! Where the chains of the ledger stood at an instant, signed with Ed25519.

use std::collections::BTreeMap;

use aws_lc_rs::{
    digest::{Context, SHA256},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use chrono::{DateTime, Utc};

use super::chain::{Hash, finish};

/// Where an account's chain stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// The account's number in the ledger.
    pub ledger_account_id: i64,
    /// The place of its last entry.
    pub position: i64,
    /// That entry's hash.
    pub hash: Hash,
}

/// What is signed: the heads of the accounts that went on since the checkpoint before, which it
/// names by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// 1 for the first.
    pub number: i64,
    /// When it was made; whole microseconds.
    pub made_at: DateTime<Utc>,
    /// The digest of the one before; zeros for the first.
    pub previous: Hash,
    /// By account.
    pub heads: Vec<Head>,
}

impl Checkpoint {
    /// SHA-256 of everything; all numbers big-endian, the heads by account.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut hash = Context::new(&SHA256);
        hash.update(b"wanwu-ledger-checkpoint-1");
        hash.update(&self.number.to_be_bytes());
        hash.update(&self.made_at.timestamp_micros().to_be_bytes());
        hash.update(&self.previous);
        for head in &self.heads {
            hash.update(&head.ledger_account_id.to_be_bytes());
            hash.update(&head.position.to_be_bytes());
            hash.update(&head.hash);
        }
        finish(hash)
    }
}

/// The keys that checkpoints are signed with, by id. Old ones only prove.
pub struct CheckpointKeys {
    active: String,
    pairs: BTreeMap<String, Ed25519KeyPair>,
}

impl CheckpointKeys {
    /// From the seeds of the keys, 32 bytes each.
    ///
    /// # Panics
    /// When a seed is not a key's, which 32 bytes always are.
    #[must_use]
    pub fn new<'a>(active: &str, seeds: impl IntoIterator<Item = (&'a str, [u8; 32])>) -> Self {
        let pair = |seed: [u8; 32]| {
            Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed")
        };
        Self {
            active: active.to_owned(),
            pairs: seeds
                .into_iter()
                .map(|(id, seed)| (id.to_owned(), pair(seed)))
                .collect(),
        }
    }

    /// The id of the key that signs now.
    #[must_use]
    pub fn active(&self) -> &str {
        &self.active
    }

    /// Signs a digest with the active key.
    ///
    /// # Panics
    /// When the active key is not among the keys.
    #[must_use]
    pub fn sign(&self, digest: &Hash) -> [u8; 64] {
        let signature = self.pairs[&self.active].sign(digest);
        signature.as_ref().try_into().expect("Ed25519 has 64 bytes")
    }

    /// The signature is of one of our keys.
    #[must_use]
    pub fn proves(&self, key_id: &str, digest: &Hash, signature: &[u8]) -> bool {
        self.pairs.get(key_id).is_some_and(|pair| {
            UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref())
                .verify(digest, signature)
                .is_ok()
        })
    }

    /// The public keys, for who checks without the secret.
    pub fn public_keys(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pairs
            .iter()
            .map(|(id, pair)| (id.as_str(), pair.public_key().as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            number: 2,
            made_at: DateTime::from_timestamp_micros(5).unwrap(),
            previous: [1; 32],
            heads: vec![Head {
                ledger_account_id: 1,
                position: 3,
                hash: [2; 32],
            }],
        }
    }

    #[test]
    fn only_our_signature_of_this_digest_proves() {
        let keys = CheckpointKeys::new("k1", [("k1", [7; 32])]);
        let strangers = CheckpointKeys::new("k1", [("k1", [8; 32])]);
        let digest = checkpoint().digest();
        let signature = keys.sign(&digest);
        assert!(keys.proves("k1", &digest, &signature));
        assert!(!keys.proves("k2", &digest, &signature));
        assert!(!strangers.proves("k1", &digest, &signature));
        let changes: [fn(&mut Checkpoint); 6] = [
            |point| point.number += 1,
            |point| point.made_at += chrono::Duration::microseconds(1),
            |point| point.previous[0] ^= 1,
            |point| point.heads[0].position += 1,
            |point| point.heads[0].hash[31] ^= 1,
            |point| point.heads.clear(),
        ];
        for change in changes {
            let mut other = checkpoint();
            change(&mut other);
            assert!(!keys.proves("k1", &other.digest(), &signature), "{other:?}");
        }
    }
}
