//! Checks every checkpoint: its signature, its place after the one before, and that what it signed
//! is still there.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use sqlx::PgConnection;

use super::report::{Report, Wrong};
use crate::{
    domain::{
        chain::Hash,
        checkpoint::{Checkpoint, CheckpointKeys, Head},
    },
    store::checkpoints::{self, Signed, StoredHead},
};

/// Checks all of them, oldest first.
pub(super) async fn run(
    tx: &mut PgConnection,
    keys: &CheckpointKeys,
    report: &mut Report,
) -> sqlx::Result<()> {
    let mut heads = read_heads(tx, report).await?;
    let mut previous = [0; 32];
    for (place, signed) in (1..).zip(checkpoints::list(tx).await?) {
        report.checkpoints += 1;
        let number = signed.number;
        let heads = heads.remove(&number).unwrap_or_default();
        match check(&signed, place, previous, heads, keys) {
            Ok(digest) => previous = digest,
            Err(what) => {
                let what = what.to_owned();
                report.add(Wrong::Checkpoint { number, what });
                previous = signed.digest.try_into().unwrap_or_default();
            }
        }
    }
    Ok(())
}

async fn read_heads(
    tx: &mut PgConnection,
    report: &mut Report,
) -> sqlx::Result<BTreeMap<i64, Vec<Head>>> {
    let mut heads = BTreeMap::<i64, Vec<Head>>::new();
    let mut stored = checkpoints::heads(tx);
    while let Some(head) = stored.try_next().await? {
        if head.entry_hash.as_ref() != Some(&head.chain_hash) {
            report.add(lost(&head));
        }
        heads.entry(head.number).or_default().push(Head {
            ledger_account_id: head.ledger_account_id,
            position: head.chain_position,
            hash: head.chain_hash.try_into().unwrap_or_default(),
        });
    }
    Ok(heads)
}

fn lost(head: &StoredHead) -> Wrong {
    let (account, position) = (head.ledger_account_id, head.chain_position);
    let what = match head.entry_hash {
        None => "is gone",
        Some(_) => "is another than was signed",
    };
    Wrong::Checkpoint {
        number: head.number,
        what: format!("entry {position} of ledger account {account} {what}"),
    }
}

fn check(
    signed: &Signed,
    place: i64,
    previous: Hash,
    heads: Vec<Head>,
    keys: &CheckpointKeys,
) -> Result<Hash, &'static str> {
    if signed.number != place {
        return Err("a checkpoint before it is missing");
    }
    if signed.previous != previous {
        return Err("it does not follow the one before");
    }
    let digest = Checkpoint {
        number: signed.number,
        made_at: signed.made_at,
        previous,
        heads,
    }
    .digest();
    if signed.digest != digest {
        return Err("its digest is not of its heads");
    }
    if !keys.proves(&signed.key_id, &digest, &signed.signature) {
        return Err("its signature is not ours");
    }
    Ok(digest)
}
