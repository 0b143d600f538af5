/// What a licence can be for and an app can demand one for. The same words scope API keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Chat models.
    Chat,
}

impl Capability {
    /// As on the wire and in the tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
        }
    }

    /// From the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text == Self::Chat.as_str()).then_some(Self::Chat)
    }
}

#[cfg(test)]
mod tests {
    use super::Capability;

    #[test]
    fn only_known_capabilities_are_read() {
        assert_eq!(Capability::parse("chat"), Some(Capability::Chat));
        for text in ["", "Chat", "speech", "chat "] {
            assert_eq!(Capability::parse(text), None, "{text:?}");
        }
    }
}
