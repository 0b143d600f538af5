use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;
use wanwu_clock::Entropy;

/// Kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An API key.
    ApiKey,
    /// An access token.
    Access,
    /// A refresh token.
    Refresh,
    /// An operator's session.
    Operator,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "wk",
            Self::Access => "ws",
            Self::Refresh => "wr",
            Self::Operator => "wo",
        }
    }
}

/// A new credential: the text is shown once, the hash is stored.
pub struct Credential {
    /// `<kind>-<32 hex digits of the id>-<secret>`.
    pub text: String,
    /// SHA-256 of the secret's text; it has 256 bits of chance, so no salt is needed.
    pub secret_hash: Vec<u8>,
}

impl Credential {
    /// A credential with this id.
    #[must_use]
    pub fn new(kind: Kind, id: Uuid, entropy: &dyn Entropy) -> Self {
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        let secret = URL_SAFE_NO_PAD.encode(secret);
        Self {
            text: format!("{}-{}-{secret}", kind.prefix(), id.simple()),
            secret_hash: hash(&secret),
        }
    }
}

/// A credential that somebody presented.
pub struct Presented<'a> {
    /// Which one it claims to be.
    pub id: Uuid,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Reads a credential of a kind; `None` when it has not its form.
    #[must_use]
    pub fn parse(kind: Kind, text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(kind.prefix())?.strip_prefix('-')?;
        let (id, secret) = rest.split_at_checked(32)?;
        let secret = secret.strip_prefix('-')?;
        let id = Uuid::try_parse(id).ok()?;
        (secret.len() == 43).then_some(Self { id, secret })
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, secret_hash: &[u8]) -> bool {
        verify_slices_are_equal(&hash(self.secret), secret_hash).is_ok()
    }
}

fn hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use wanwu_clock::SeededEntropy;

    use super::*;

    #[test]
    fn a_credential_is_read_as_it_was_written() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef);
        let credential = Credential::new(Kind::Refresh, id, &SeededEntropy::new(3));
        let presented = Presented::parse(Kind::Refresh, &credential.text).unwrap();
        assert_eq!(presented.id, id);
        assert!(presented.matches(&credential.secret_hash));
        assert!(Presented::parse(Kind::Access, &credential.text).is_none());
        let other = Credential::new(Kind::Refresh, id, &SeededEntropy::new(4));
        assert!(!presented.matches(&other.secret_hash));
        for text in ["", "wr", "wr-", "wr-00", &credential.text[..40]] {
            assert!(Presented::parse(Kind::Refresh, text).is_none(), "{text}");
        }
    }
}
