//! What a client presents: `authorization: Bearer <kind>-<32 hex digits>-<secret>`.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use http::{HeaderMap, header::AUTHORIZATION};
use uuid::Uuid;

/// A credential, as it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    /// What kind it says it is.
    pub kind: Kind,
    /// Which one.
    pub id: Uuid,
    secret: &'a str,
}

/// The kinds that the edge knows grants of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `wk`: an API key.
    Key,
    /// `ws`: an access token of a person.
    Session,
    /// `wo`: a session of an operator.
    Operator,
}

/// The header is there and is not a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The longest secret that is hashed; ours have 43 characters.
const MAX_SECRET: usize = 128;

impl<'a> Credential<'a> {
    /// The credential in the headers; `None`: there is none.
    pub fn of(headers: &'a HeaderMap) -> Result<Option<Self>, Malformed> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| Malformed)?;
                Self::parse(text).map(Some).ok_or(Malformed)
            }
            (Some(_), Some(_)) => Err(Malformed),
        }
    }

    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, token) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parts = token.trim_start_matches(' ').splitn(3, '-');
        let kind = match parts.next()? {
            "wk" => Kind::Key,
            "ws" => Kind::Session,
            "wo" => Kind::Operator,
            _ => return None,
        };
        let id = parts
            .next()
            .filter(|id| id.len() == 32 && id.bytes().all(is_digit))?;
        let id = Uuid::try_parse(id).ok()?;
        let secret = parts.next()?;
        let sound = (1..=MAX_SECRET).contains(&secret.len()) && secret.bytes().all(is_letter);
        sound.then_some(Self { kind, id, secret })
    }

    /// The secret is the one with this SHA-256. The time that it takes tells nothing.
    #[must_use]
    pub fn has_secret(&self, hash: &[u8]) -> bool {
        let own = digest::digest(&digest::SHA256, self.secret.as_bytes());
        verify_slices_are_equal(own.as_ref(), hash).is_ok()
    }
}

/// As ids are written: one credential has one text.
const fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')
}

/// As secrets are: base64url.
const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190a0b0c0d07000800000000000000a";

    fn read(value: &str) -> Result<Option<(Kind, Uuid)>, Malformed> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        Credential::of(&headers).map(|found| found.map(|found| (found.kind, found.id)))
    }

    #[test]
    fn a_credential_has_a_kind_an_id_and_a_secret() {
        let id = Uuid::try_parse(ID).unwrap();
        let cases = [
            (
                format!("Bearer wk-{ID}-c2Vj-cmV0_"),
                Ok(Some((Kind::Key, id))),
            ),
            (format!("bearer ws-{ID}-x"), Ok(Some((Kind::Session, id)))),
            (format!("Bearer wo-{ID}-x"), Ok(Some((Kind::Operator, id)))),
            // Only identity reads a refresh token, only inference-routing a device's.
            (format!("Bearer wr-{ID}-x"), Err(Malformed)),
            (format!("Bearer wd-{ID}-x"), Err(Malformed)),
            (format!("Bearer wk-{}-x", ID.to_uppercase()), Err(Malformed)),
            (format!("Bearer wk-{ID}-x y"), Err(Malformed)),
            (format!("Bearer wk-{ID}-x+"), Err(Malformed)),
            (format!("Bearer wk-{ID}-"), Err(Malformed)),
            (format!("Bearer wk-{ID}"), Err(Malformed)),
            (format!("Bearer wk-{id}-x"), Err(Malformed)),
            (
                format!("Bearer wk-{ID}-{}", "x".repeat(129)),
                Err(Malformed),
            ),
            ("Bearer sk-something".to_owned(), Err(Malformed)),
            ("Basic dTpw".to_owned(), Err(Malformed)),
            (String::new(), Err(Malformed)),
        ];
        for (value, expected) in cases {
            assert_eq!(read(&value), expected, "{value}");
        }
        assert_eq!(
            Credential::of(&HeaderMap::new())
                .ok()
                .map(|none| none.is_none()),
            Some(true)
        );
    }

    #[test]
    fn the_secret_is_compared_by_its_hash() {
        let text = format!("Bearer wk-{ID}-secret");
        let credential = Credential::parse(&text).unwrap();
        let hash = digest::digest(&digest::SHA256, b"secret");
        assert!(credential.has_secret(hash.as_ref()));
        assert!(!credential.has_secret(&hash.as_ref()[..31]));
        assert!(!credential.has_secret(b""));
    }
}
