use serde::Deserialize;

/// The consent without which no model is called.
pub const CORE_SERVICE: &str = "core_service";

/// Something that one can consent to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// Its code.
    pub code: String,
    /// `consent` or `separate` (PIPL 23, 25, 29, 39, 55).
    pub kind: String,
    /// Good for one act only.
    pub single_use: bool,
    /// The exact text that the person is shown.
    pub text: String,
}
