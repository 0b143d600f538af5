//! Streams that are held while one of the routers is killed: those that ran on it break, and no other.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::super::{
    customers::scripted,
    model_path::ModelPath,
    paid_streams::{End, Taken, take, target},
};
use crate::journey::Journey;

const STREAMS: u64 = 16;
/// Of each; together they last five seconds, longer than all are opened and a router killed.
const TOKENS: u64 = 50;
const TOKEN_MS: u64 = 100;
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// The streams, all under way.
pub(super) struct HeldStreams {
    streams: Vec<JoinHandle<Taken>>,
    /// How many each router has, by its own count.
    on: Vec<u64>,
}

impl HeldStreams {
    /// Opens them on routers that have nothing else to do.
    pub(super) async fn open(path: &ModelPath, customer: &Journey) -> anyhow::Result<Self> {
        under_way(path, 0).await?;
        let mut streams = Vec::new();
        for n in 0..STREAMS {
            let mut body = scripted(json!({"tokens": TOKENS, "delay_ms": TOKEN_MS}));
            // What begins otherwise may go to another router.
            body["messages"][0]["content"] = format!("stream {n}").into();
            let target = target(&path.base(), customer, body)?;
            streams.push(tokio::spawn(async move { take(&target, None).await }));
        }
        let on = under_way(path, STREAMS).await?;
        Ok(Self { streams, on })
    }

    /// Waits for their ends, after this router was killed; answers how many ended in a way that nothing
    /// excuses, and a word on all.
    pub(super) async fn end(self, killed: usize) -> anyhow::Result<(u64, String)> {
        let mut ends = Ends::default();
        for stream in self.streams {
            ends.count(&stream.await?);
        }
        let ran = self.on[killed];
        ensure!(ran > 0, "no stream ran on the router that was killed");
        let (wrong, word) = (ends.wrong(ran), ends.word(ran));
        if wrong > 0 {
            println!("  WRONG: {word}");
        }
        Ok((wrong, word))
    }
}

/// How streams ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    /// With all of their tokens.
    whole: u64,
    /// They broke, and their client was told.
    told: u64,
    /// Tokens are missing, and their client cannot see it.
    hidden: u64,
}

impl Ends {
    fn count(&mut self, taken: &Taken) {
        match taken.end {
            End::Whole if taken.tokens == TOKENS => self.whole += 1,
            End::Broken | End::Refused(_) => self.told += 1,
            End::Whole | End::Hidden | End::Left => self.hidden += 1,
        }
    }

    /// How many nothing excuses, where so many ran on the router that was killed: these break, and no other. The
    /// edge lives and tells it: who broke without a word is excused by nobody's death.
    const fn wrong(self, ran: u64) -> u64 {
        let broken = self.told + self.hidden;
        self.hidden + self.told.saturating_sub(ran) + ran.saturating_sub(broken)
    }

    fn word(self, ran: u64) -> String {
        let (broken, hidden) = (self.told + self.hidden, self.hidden);
        format!(
            "{broken} of {STREAMS} held streams broke, {hidden} of these without a word, {ran} ran on it"
        )
    }
}

/// Waits until the routers have so many calls under way together; answers how many each has.
async fn under_way(path: &ModelPath, wanted: u64) -> anyhow::Result<Vec<u64>> {
    let begin = Instant::now();
    loop {
        let mut each = Vec::new();
        for router in &path.routers {
            each.push(router.under_way().await? as u64);
        }
        if each.iter().sum::<u64>() == wanted {
            return Ok(each);
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "{wanted} calls should be under way, and {each:?} are"
        );
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(of: &[(End, u64)]) -> Ends {
        let mut ends = Ends::default();
        for (end, tokens) in of {
            ends.count(&Taken {
                call_id: None,
                tokens: *tokens,
                end: end.clone(),
            });
        }
        ends
    }

    #[test]
    fn a_stream_without_all_of_its_tokens_is_whole_for_nobody() {
        let ends = ends(&[
            (End::Whole, TOKENS),
            (End::Whole, TOKENS - 1),
            (End::Broken, TOKENS),
            (End::Refused("busy".to_owned()), 0),
            (End::Hidden, 7),
        ]);
        let expected = Ends {
            whole: 1,
            told: 2,
            hidden: 2,
        };
        assert_eq!(ends, expected);
    }

    #[test]
    fn who_ran_on_the_router_that_was_killed_breaks_and_is_told() {
        let wrong = |told, hidden, ran| {
            let whole = STREAMS - told - hidden;
            let ends = Ends {
                whole,
                told,
                hidden,
            };
            ends.wrong(ran)
        };
        assert_eq!(wrong(8, 0, 8), 0);
        assert_eq!(wrong(9, 0, 8), 1, "one of another router");
        assert_eq!(wrong(7, 0, 8), 1, "one that nobody can have run");
        assert_eq!(wrong(0, 8, 8), 8, "cut without a word");
        assert_eq!(wrong(7, 1, 8), 1);
        assert_eq!(wrong(8, 1, 8), 1, "the hidden one may be another router's");
        assert_eq!(wrong(9, 2, 8), 3);
    }
}
