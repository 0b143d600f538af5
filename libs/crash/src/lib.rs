//! Places where a process can be told to end at once, to see what is left behind: before and after what
//! cannot be undone, such as a commit.
//!
//! Only builds with debug assertions (of tests and the local stack) can be told; in a release build a
//! point is nothing at all, and no service starts in production while it is told.

use std::{
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The variable of the environment that names the point, or `name:3` for the third time that it is
/// reached.
pub const VARIABLE: &str = "WANWU_CRASH_AT";

/// What the log says last.
pub const LAST_WORDS: &str = "ends at the crash point";

struct Told {
    name: String,
    /// Times that it is still passed.
    left: AtomicU64,
}

static TOLD: LazyLock<Option<Told>> = LazyLock::new(|| {
    #[allow(clippy::disallowed_methods, reason = "no configuration may name it")]
    let told = std::env::var(VARIABLE).ok()?;
    Some(parse(&told))
});

fn parse(told: &str) -> Told {
    let (name, times) = told.split_once(':').unwrap_or((told, "1"));
    Told {
        name: name.to_owned(),
        left: AtomicU64::new(times.parse().unwrap_or(1)),
    }
}

/// A place where the process ends if it was told so.
#[inline]
pub fn point(name: &'static str) {
    if cfg!(debug_assertions)
        && let Some(told) = TOLD.as_ref()
        && told.reaches(name)
    {
        eprintln!("{LAST_WORDS} {name}");
        process::abort();
    }
}

/// The process is told to end somewhere, whether this build would do it or not.
#[must_use]
pub fn is_told() -> bool {
    TOLD.is_some()
}

impl Told {
    fn reaches(&self, name: &str) -> bool {
        self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_reached_the_time_that_was_told() {
        let told = parse("a.b");
        assert!(!told.reaches("a.c"));
        assert!(told.reaches("a.b"));
        assert!(!told.reaches("a.b"));
        let told = parse("a.b:3");
        let reached: Vec<_> = (0..4).map(|_| told.reaches("a.b")).collect();
        assert_eq!(reached, [false, false, true, false]);
    }
}
