use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad as AeadAad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use uuid::Uuid;
use wanwu_clock::{Entropy, SharedEntropy};
use zeroize::Zeroizing;

/// First byte of what is sealed: AES-256-GCM, a 96-bit nonce after this byte, the tag at the end.
const FORMAT: u8 = 1;
const TAG_LEN: usize = 16;
/// Most bytes that are sealed at once.
const MAX_PLAINTEXT: usize = 1024 * 1024;

/// Where a sealed value stands. It can be opened only there, so it cannot be moved to another
/// person, row or column.
#[derive(Clone, Copy, Debug)]
pub struct Aad<'a> {
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// The row's key as text; of an id, not personal data.
    pub row: &'a str,
}

/// It cannot be opened: sealed for another place or person, or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than 1 MiB.
    #[error("the value is too large to be sealed")]
    TooLarge,
    /// Not sealed for this place with this key, or changed.
    #[error("the sealed value does not belong here or was changed")]
    Broken,
    /// The content is not text.
    #[error("the sealed value is not text")]
    NotText,
}

/// The key of one person's data in this service.
#[derive(Clone)]
pub struct SubjectKey {
    subject: Uuid,
    key: std::sync::Arc<LessSafeKey>,
    entropy: SharedEntropy,
}

impl SubjectKey {
    pub(crate) fn new(subject: Uuid, key: &[u8], entropy: SharedEntropy) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self {
            subject,
            key: std::sync::Arc::new(LessSafeKey::new(key)),
            entropy,
        })
    }

    /// Whose key it is.
    #[must_use]
    pub const fn subject(&self) -> Uuid {
        self.subject
    }

    /// Encrypts a value for its place.
    ///
    /// # Errors
    /// When it is larger than 1 MiB.
    pub fn seal(&self, aad: Aad<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(SealError::TooLarge);
        }
        let place = place(self.subject, aad);
        Ok(seal_with(&self.key, &*self.entropy, &place, plaintext))
    }

    /// Decrypts a value that was sealed for this place and person.
    ///
    /// # Errors
    /// When it was not, or was changed.
    pub fn open(&self, aad: Aad<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open_with(&self.key, &place(self.subject, aad), sealed)
    }

    /// As [`open`](Self::open), for text.
    ///
    /// # Errors
    /// When it cannot be opened or is not UTF-8.
    pub fn open_text(&self, aad: Aad<'_>, sealed: &[u8]) -> Result<Zeroizing<String>, SealError> {
        let bytes = self.open(aad, sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SealError::NotText)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Table, column, row, subject, each preceded by its length so that no two places are alike.
fn place(subject: Uuid, aad: Aad<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    for part in [
        aad.table.as_bytes(),
        aad.column.as_bytes(),
        aad.row.as_bytes(),
        subject.as_bytes(),
    ] {
        bytes.extend(
            u32::try_from(part.len())
                .expect("names and keys are short")
                .to_be_bytes(),
        );
        bytes.extend(part);
    }
    bytes
}

pub(crate) fn seal_with(
    key: &LessSafeKey,
    entropy: &dyn Entropy,
    aad: &[u8],
    plaintext: &[u8],
) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plaintext.len() + TAG_LEN);
    sealed.push(FORMAT);
    sealed.extend(nonce);
    sealed.extend(plaintext);
    let body = &mut sealed[1 + NONCE_LEN..];
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            AeadAad::from(aad),
            body,
        )
        .expect("the value is within the cipher's limit");
    sealed.extend(tag.as_ref());
    sealed
}

pub(crate) fn open_with(
    key: &LessSafeKey,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (&format, rest) = sealed.split_first().ok_or(SealError::Broken)?;
    if format != FORMAT || rest.len() < NONCE_LEN + TAG_LEN {
        return Err(SealError::Broken);
    }
    let (nonce, body) = rest.split_at(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Broken)?;
    let mut plaintext = Zeroizing::new(body.to_vec());
    key.open_in_place(nonce, AeadAad::from(aad), &mut plaintext)
        .map_err(|_| SealError::Broken)?;
    plaintext.truncate(body.len() - TAG_LEN);
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use wanwu_clock::SeededEntropy;

    use super::*;

    const PLACE: Aad<'_> = Aad {
        table: "accounts",
        column: "phone",
        row: "7",
    };

    fn key(subject: u128) -> SubjectKey {
        let entropy = Arc::new(SeededEntropy::new(1));
        SubjectKey::new(Uuid::from_u128(subject), &[7; 32], entropy).unwrap()
    }

    /// Test case 16 of the GCM specification (McGrew, Viega): key, nonce, AAD, text and tag.
    #[test]
    fn the_cipher_is_aes_256_gcm() {
        struct Fixed(Vec<u8>);
        impl Entropy for Fixed {
            fn fill(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.0);
            }
        }
        let bytes = |text: &str| hex::decode(text).unwrap();
        let secret = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).unwrap());
        let nonce = Fixed(bytes("cafebabefacedbaddecaf888"));
        let aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let text = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let sealed = seal_with(&cipher, &nonce, &aad, &text);
        let expected = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b";
        assert_eq!(hex::encode(&sealed[13..]), expected);
        assert_eq!(*open_with(&cipher, &aad, &sealed).unwrap(), text);
    }

    #[test]
    fn it_opens_only_in_its_own_place() {
        let sealed = key(1).seal(PLACE, b"13800138000").unwrap();
        assert_eq!(*key(1).open_text(PLACE, &sealed).unwrap(), "13800138000");
        let elsewhere = [
            Aad {
                table: "orders",
                ..PLACE
            },
            Aad {
                column: "name",
                ..PLACE
            },
            Aad { row: "8", ..PLACE },
            Aad {
                table: "account",
                column: "sphone",
                ..PLACE
            },
        ];
        for place in elsewhere {
            assert_eq!(
                key(1).open(place, &sealed).unwrap_err(),
                SealError::Broken,
                "{place:?}"
            );
        }
        assert!(key(2).open(PLACE, &sealed).is_err(), "another person");
    }

    #[test]
    fn the_same_value_is_never_sealed_alike() {
        let key = key(1);
        assert_ne!(
            key.seal(PLACE, b"x").unwrap(),
            key.seal(PLACE, b"x").unwrap()
        );
    }

    proptest! {
        #[test]
        fn everything_comes_back_and_no_change_goes_unseen(
            text in prop::collection::vec(any::<u8>(), 0..200),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut sealed = key(1).seal(PLACE, &text).unwrap();
            prop_assert_eq!(&*key(1).open(PLACE, &sealed).unwrap(), &text);
            let index = place.index(sealed.len());
            sealed[index] ^= 1 << bit;
            prop_assert!(key(1).open(PLACE, &sealed).is_err());
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(key(1).open(PLACE, &bytes).is_err());
        }
    }
}
