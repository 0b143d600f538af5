use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::body::Bytes;
use chrono::Utc;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Calls that are remembered, and bytes of their bodies.
const MAX_CALLS: usize = 100_000;
const MAX_BODIES: usize = 128 << 20;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Running,
    Finished,
    Cut,
    /// Nobody read on.
    Cancelled,
}

/// What the engine did.
#[derive(Clone, Default)]
pub(super) struct Truth(Arc<Calls>);

#[derive(Default)]
struct Calls {
    known: Mutex<Known>,
    total: AtomicU64,
    cancelled: AtomicU64,
    running: AtomicU64,
    most_at_once: AtomicU64,
}

#[derive(Default)]
struct Known {
    calls: HashMap<String, Arc<Mutex<Done>>>,
    order: VecDeque<String>,
    bodies: usize,
}

struct Done {
    prompt_tokens: u64,
    tokens_sent: u64,
    ending: Ending,
    ended_at: Option<chrono::DateTime<Utc>>,
    body: Bytes,
    times: u32,
}

/// One call as it goes on. Dropped before its end, it was cancelled.
pub(super) struct Record {
    done: Arc<Mutex<Done>>,
    calls: Arc<Calls>,
}

impl Truth {
    /// Begins a call; none: as many run as there is room for.
    pub(super) fn begin(
        &self,
        id: &str,
        prompt_tokens: u64,
        body: &Bytes,
        room: u64,
    ) -> Option<Record> {
        let mut known = self.0.known.lock();
        // Calls are added only here, under the lock: there is never one too many.
        if self.running() >= room {
            return None;
        }
        self.0.total.fetch_add(1, Ordering::Relaxed);
        let running = self.0.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most_at_once.fetch_max(running, Ordering::Relaxed);
        let times = known.calls.get(id).map_or(0, |done| done.lock().times);
        let done = Arc::new(Mutex::new(Done {
            prompt_tokens,
            tokens_sent: 0,
            ending: Ending::Running,
            ended_at: None,
            body: body.clone(),
            times: times + 1,
        }));
        if !id.is_empty() {
            match known.calls.insert(id.to_owned(), Arc::clone(&done)) {
                Some(before) => known.bodies -= before.lock().body.len(),
                None => known.order.push_back(id.to_owned()),
            }
            known.bodies += body.len();
            while (known.order.len() > MAX_CALLS || known.bodies > MAX_BODIES)
                && let Some(oldest) = known.order.pop_front()
            {
                if let Some(done) = known.calls.remove(&oldest) {
                    known.bodies -= done.lock().body.len();
                }
            }
        }
        Some(Record {
            done,
            calls: Arc::clone(&self.0),
        })
    }

    /// Calls that run.
    pub(super) fn running(&self) -> u64 {
        self.0.running.load(Ordering::Relaxed)
    }

    /// The most calls that ran at once since this was asked last.
    pub(super) fn most_at_once(&self) -> u64 {
        self.0.most_at_once.swap(self.running(), Ordering::Relaxed)
    }

    /// One call with its body, or all without theirs.
    pub(super) fn show(&self, call: Option<&str>) -> Value {
        let known = self.0.known.lock();
        if let Some(id) = call {
            return known.calls.get(id).map_or(Value::Null, |done| {
                let done = done.lock();
                let mut shown = done.show();
                shown["body"] = String::from_utf8_lossy(&done.body).into();
                shown
            });
        }
        let calls: serde_json::Map<_, _> = known
            .calls
            .iter()
            .map(|(id, done)| (id.clone(), done.lock().show()))
            .collect();
        json!({
            "total": self.0.total.load(Ordering::Relaxed),
            "cancelled": self.0.cancelled.load(Ordering::Relaxed),
            "calls": calls,
        })
    }
}

impl Done {
    fn show(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "tokens_sent": self.tokens_sent,
            "ending": format!("{:?}", self.ending).to_lowercase(),
            "ended_at": self.ended_at,
            "times": self.times,
        })
    }
}

impl Record {
    pub(super) fn prompt_tokens(&self) -> u64 {
        self.done.lock().prompt_tokens
    }

    /// So many tokens went out by now.
    pub(super) fn sent(&self, tokens: u64) {
        self.done.lock().tokens_sent = tokens;
    }

    pub(super) fn end(&mut self, ending: Ending) {
        let mut done = self.done.lock();
        if done.ending == Ending::Running {
            self.calls.running.fetch_sub(1, Ordering::Relaxed);
        }
        done.ending = ending;
        done.ended_at = Some(Utc::now());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.done.lock().ending == Ending::Running {
            self.calls.cancelled.fetch_add(1, Ordering::Relaxed);
            self.end(Ending::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_another_call_when_one_has_ended() {
        let (truth, body) = (Truth::default(), Bytes::new());
        let begin = |id: &str| truth.begin(id, 1, &body, 2);
        let mut first = begin("a").unwrap();
        let second = begin("b").unwrap();
        assert!(begin("c").is_none());
        first.end(Ending::Finished);
        let third = begin("d").unwrap();
        assert!(begin("e").is_none());
        drop(second);
        assert!(begin("f").is_some());
        drop(third);
        assert_eq!(truth.show(None)["total"], 4);
    }
}
