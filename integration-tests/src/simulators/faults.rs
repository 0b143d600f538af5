//! What a simulator is told to do wrong.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It takes `millis` longer.
    Delay,
    /// What is sent once is sent `count` times.
    Repeat,
    /// It is done, and nobody is told: the answer or notice never comes.
    Lose,
    /// The signature is wrong.
    Corrupt,
    /// It is not done: HTTP 500.
    Refuse,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The operation, such as `send`, `prepay`, `callback`, `check`, `chat`.
    pub operation: String,
    /// What goes wrong.
    pub kind: Kind,
    /// How often; absent: until the faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// For a delay.
    #[serde(default)]
    pub millis: u64,
    /// For a repetition.
    #[serde(default)]
    pub count: u32,
}

/// The faults of a simulator.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// Takes a fault of an operation, if there is one; counts it.
    #[must_use]
    pub fn take(&self, operation: &str, kind: Kind) -> Option<Fault> {
        let mut faults = self.0.lock();
        let at = faults
            .iter()
            .position(|f| f.operation == operation && f.kind == kind)?;
        let fault = faults[at].clone();
        if let Some(times) = &mut faults[at].times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                faults.remove(at);
            }
        }
        Some(fault)
    }

    /// Waits as long as a delay of the operation says, if there is one.
    pub async fn delay(&self, operation: &str) {
        if let Some(fault) = self.take(operation, Kind::Delay) {
            tokio::time::sleep(Duration::from_millis(fault.millis)).await;
        }
    }

    /// `POST` sets the list, `DELETE` clears it.
    pub fn routes(&self) -> Router {
        let set = |State(faults): State<Self>, Json(list): Json<Vec<Fault>>| async move {
            *faults.0.lock() = list;
            StatusCode::NO_CONTENT
        };
        let clear = |State(faults): State<Self>| async move {
            faults.0.lock().clear();
            StatusCode::NO_CONTENT
        };
        Router::new()
            .route("/_faults", post(set).delete(clear))
            .with_state(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_taken_as_often_as_it_says() {
        let faults = Faults::default();
        let fault = |times| Fault {
            operation: "send".to_owned(),
            kind: Kind::Refuse,
            times,
            millis: 0,
            count: 0,
        };
        *faults.0.lock() = vec![fault(Some(2))];
        assert!(faults.take("other", Kind::Refuse).is_none());
        assert!(faults.take("send", Kind::Refuse).is_some());
        assert!(faults.take("send", Kind::Refuse).is_some());
        assert!(faults.take("send", Kind::Refuse).is_none());
        *faults.0.lock() = vec![fault(None)];
        for _ in 0..10 {
            assert!(faults.take("send", Kind::Refuse).is_some());
        }
    }
}
