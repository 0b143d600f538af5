//! Gateways of others that a measurement goes without, because its environment says so: none is left out
//! unseen.

use anyhow::ensure;

/// The variable with their names, commas between.
pub(super) const WITHOUT: &str = "WANWU_WITHOUT_PEERS";
/// All that there are.
const NAMES: [&str; 6] = [
    "nginx",
    "sglang-router",
    "vllm-router",
    "smg",
    "portkey",
    "litellm",
];

/// Who is left out.
#[derive(Debug)]
pub(super) struct LeftOut(Vec<String>);

impl LeftOut {
    /// As the environment says; nobody, if it says nothing.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        Self::of(&std::env::var(WITHOUT).unwrap_or_default())
    }

    fn of(text: &str) -> anyhow::Result<Self> {
        let names = text.split(',').map(str::trim);
        let names: Vec<_> = names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        for name in &names {
            ensure!(
                NAMES.contains(&name.as_str()),
                "{WITHOUT} names {name}, which is none of {}",
                NAMES.join(", ")
            );
        }
        Ok(Self(names))
    }

    /// It is one of them.
    pub(super) fn names(&self, name: &str) -> bool {
        self.0.iter().any(|left_out| left_out == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_named_is_left_out() {
        let none = LeftOut::of("").unwrap();
        assert!(NAMES.iter().all(|name| !none.names(name)));
        let two = LeftOut::of("smg, litellm").unwrap();
        assert!(two.names("smg") && two.names("litellm") && !two.names("nginx"));
    }

    #[test]
    fn a_name_that_nobody_has_is_refused() {
        let error = LeftOut::of("smg,envoy").unwrap_err().to_string();
        assert!(
            error.contains("envoy") && error.contains("nginx"),
            "{error}"
        );
    }
}
