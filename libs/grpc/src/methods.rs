//! What the contracts say about methods that the wire does not.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use metrics::Histogram;

/// A method of the contracts.
pub(crate) struct Method {
    /// `/package.Service/Method`: also its label in metrics.
    pub(crate) path: &'static str,
    /// It answers with a stream.
    server_streaming: bool,
    /// How long its calls take that end well: found once.
    pub(crate) good: OnceLock<Histogram>,
}

/// Each method of the contracts, by path.
static METHODS: LazyLock<HashMap<&str, Method>> = LazyLock::new(|| {
    let methods = wanwu_proto::METHODS.iter().map(|one| Method {
        path: one.path,
        server_streaming: one.server_streaming,
        good: OnceLock::new(),
    });
    methods.map(|method| (method.path, method)).collect()
});

/// The method of this path; none: it is not of our contracts.
pub(crate) fn find(path: &str) -> Option<&'static Method> {
    METHODS.get(path)
}

/// The method answers with a stream, or is not of our contracts: neither gets a deadline that
/// nobody asked for.
#[must_use]
pub fn is_streaming(path: &str) -> bool {
    find(path).is_none_or(|method| method.server_streaming)
}
