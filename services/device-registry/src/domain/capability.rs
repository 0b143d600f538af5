/// What a licence can be for and an app can demand one for. The same words scope API keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Models that answer.
    Chat,
    /// Models that turn text into vectors.
    Embedding,
}

impl Capability {
    const ALL: [Self; 2] = [Self::Chat, Self::Embedding];

    /// As on the wire and in the tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embedding => "embedding",
        }
    }

    /// From the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::Capability;

    #[test]
    fn only_known_capabilities_are_read() {
        assert_eq!(Capability::parse("chat"), Some(Capability::Chat));
        assert_eq!(Capability::parse("embedding"), Some(Capability::Embedding));
        for text in ["", "Chat", "speech", "chat "] {
            assert_eq!(Capability::parse(text), None, "{text:?}");
        }
    }
}
