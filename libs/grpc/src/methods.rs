//! What the contracts say about methods that the wire does not.

use std::{collections::HashMap, sync::LazyLock};

/// Whether each method of the contracts answers with a stream, by path.
static METHODS: LazyLock<HashMap<&str, bool>> = LazyLock::new(|| {
    let methods = wanwu_proto::METHODS.iter();
    methods
        .map(|one| (one.path, one.server_streaming))
        .collect()
});

/// The method answers with a stream, or is not of our contracts: neither gets a deadline that
/// nobody asked for.
#[must_use]
pub fn is_streaming(path: &str) -> bool {
    METHODS.get(path).copied().unwrap_or(true)
}

/// The path as a label of metrics: what is not of our contracts shares one, so that nobody can
/// make labels up.
pub(crate) fn label(path: &str) -> &'static str {
    METHODS
        .get_key_value(path)
        .map_or("other", |(path, _)| path)
}
