//! Who has no room for all that is sent, where a figure sends more than there is room for.

/// Who has no room for all that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The router: calls wait for a place of its own.
    Router,
    /// The engine: the router has places for more than it runs, and what is too much it refuses itself.
    Engine,
}

impl Full {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Engine => "engine",
        }
    }

    /// Calls that the router runs at a time: so few, or more than the engine has room for.
    pub(super) const fn places(self, few: u32, wider: u32) -> u32 {
        match self {
            Self::Router => few,
            Self::Engine => wider,
        }
    }
}
