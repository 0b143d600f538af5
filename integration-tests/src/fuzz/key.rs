//! The reader of keys: it takes the form in which keys are written, and no other.

use edge::credential::{Credential, Kind};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::{Target, about, way};

pub(super) const TARGET: Target = Target {
    name: "key",
    examples: &[
        b"Bearer wk-0190a0b0c0d07000800000000000000a-c2Vj-cmV0_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2Vj",
        b"bearer ws-0190a0b0c0d07000800000000000000a-x",
        b"BEARER wo-00000000000000000000000000000000--",
    ],
    words: &[
        b"Bearer ", b"bearer", b"Basic ", b"wk-", b"ws-", b"wo-", b"wr-", b"wd-", b"sk-", b"-", b" ", b"\t",
        b"0190a0b0c0d07000800000000000000a", b"0190A0B0C0D07000800000000000000A",
        b"0190a0b0-c0d0-7000-8000-00000000000a", b"{", b"urn:uuid:", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ],
    check,
};

fn check(input: &[u8]) -> Result<u64, String> {
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return Ok(way("no header"));
    };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, value);
    let read = Credential::of(&headers);
    let expected = canonical(input);
    match (&read, &expected) {
        (Ok(Some(read)), Some((kind, id)))
            if read.kind == *kind && read.id.simple().to_string() == *id => {}
        (Err(_), None) => {}
        (read, _) => {
            let taken = matches!(read, Ok(Some(_)));
            return Err(format!("taken: {taken}, should be: {}", expected.is_some()));
        }
    }
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    if Credential::of(&headers).is_ok() {
        return Err("two keys at once were taken".to_owned());
    }
    let kind = expected.as_ref().map(|(kind, _)| *kind as u8);
    let hyphens = input.iter().filter(|byte| **byte == b'-').count();
    Ok(way((
        kind,
        about(input.len()),
        hyphens.min(8),
        input.first().copied(),
    )))
}

/// `Bearer`, whatever its case, spaces, a kind, 32 digits of which none is large, and a secret of the
/// letters of base64url.
fn canonical(input: &[u8]) -> Option<(Kind, String)> {
    let text = std::str::from_utf8(input).ok()?;
    let (scheme, token) = (text.get(..6)?, text.get(6..)?);
    let token = token.strip_prefix(' ')?.trim_start_matches(' ');
    let kind = match token.get(..3)? {
        "wk-" => Kind::Key,
        "ws-" => Kind::Session,
        "wo-" => Kind::Operator,
        _ => return None,
    };
    let (id, secret) = (token.get(3..35)?, token.get(35..)?.strip_prefix('-')?);
    let digits = id
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let letters = secret
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let right = scheme.eq_ignore_ascii_case("bearer")
        && digits
        && letters
        && (1..=128).contains(&secret.len());
    right.then(|| (kind, id.to_owned()))
}
