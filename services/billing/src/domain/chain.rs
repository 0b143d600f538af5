//! The hash chain of a ledger account's entries, as the database makes it (`chain_entry`).
//!
//! **Invariant**: an entry's hash covers the one before it, its account and place, its amount, and
//! its transfer's id, kind, cause and time. All numbers are big-endian, text has its length before.

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A SHA-256.
pub type Hash = [u8; 32];

/// One entry with what its hash covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The account's number in the ledger.
    pub ledger_account_id: i64,
    /// 1 for the first.
    pub position: i64,
    /// The transfer.
    pub transfer_id: Uuid,
    /// The transfer's kind, as stored.
    pub kind: String,
    /// What it was booked for.
    pub cause_id: Uuid,
    /// When it was booked; whole microseconds.
    pub booked_at: DateTime<Utc>,
    /// In 10^-9 CNY.
    pub amount_nanos: i64,
}

/// What an account's chain begins with: whose account it is, and of what kind.
#[must_use]
pub fn beginning(kind: &str, account_id: Option<Uuid>) -> Hash {
    let mut hash = Context::new(&SHA256);
    hash.update(b"wanwu-ledger-account-1");
    text(&mut hash, kind);
    if let Some(account_id) = account_id {
        hash.update(account_id.as_bytes());
    }
    finish(hash)
}

/// The hash of an entry after another.
#[must_use]
pub fn next(previous: &Hash, link: &Link) -> Hash {
    let mut hash = Context::new(&SHA256);
    hash.update(b"wanwu-ledger-entry-1");
    hash.update(previous);
    hash.update(&link.ledger_account_id.to_be_bytes());
    hash.update(&link.position.to_be_bytes());
    hash.update(link.transfer_id.as_bytes());
    text(&mut hash, &link.kind);
    hash.update(link.cause_id.as_bytes());
    hash.update(&link.booked_at.timestamp_micros().to_be_bytes());
    hash.update(&link.amount_nanos.to_be_bytes());
    finish(hash)
}

fn text(hash: &mut Context, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    hash.update(&length.to_be_bytes());
    hash.update(text.as_bytes());
}

pub(super) fn finish(hash: Context) -> Hash {
    let digest = hash.finish();
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_an_entry_is_changes_its_hash() {
        let link = Link {
            ledger_account_id: 7,
            position: 1,
            transfer_id: Uuid::from_u128(1),
            kind: "usage".to_owned(),
            cause_id: Uuid::from_u128(2),
            booked_at: DateTime::from_timestamp_micros(1).unwrap(),
            amount_nanos: -5,
        };
        let begin = beginning("available", Some(Uuid::from_u128(3)));
        assert_ne!(begin, beginning("available", Some(Uuid::from_u128(4))));
        assert_ne!(begin, beginning("leased", Some(Uuid::from_u128(3))));
        assert_ne!(
            beginning("cash_wechat", None),
            beginning("cash_alipay", None)
        );
        let hash = next(&begin, &link);
        let changes: [fn(&mut Link); 7] = [
            |link| link.ledger_account_id = 8,
            |link| link.position = 2,
            |link| link.transfer_id = Uuid::from_u128(9),
            |link| link.kind = "lease".to_owned(),
            |link| link.cause_id = Uuid::from_u128(9),
            |link| link.booked_at = DateTime::from_timestamp_micros(2).unwrap(),
            |link| link.amount_nanos = 5,
        ];
        for change in changes {
            let mut other = link.clone();
            change(&mut other);
            assert_ne!(next(&begin, &other), hash, "{other:?}");
        }
        assert_ne!(next(&hash, &link), hash, "what came before counts");
    }
}
