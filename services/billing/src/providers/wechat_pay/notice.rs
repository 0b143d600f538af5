use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};

use super::{RefundStatus, Transaction};

/// A notice of the provider, as it comes to the callback address.
#[derive(Debug, Deserialize)]
pub struct Notice {
    /// Such as `TRANSACTION.SUCCESS`.
    pub event_type: String,
    resource: Resource,
}

/// Something that the provider encrypted with the APIv3 key.
#[derive(Debug, Deserialize)]
pub(super) struct Resource {
    algorithm: String,
    nonce: String,
    #[serde(default)]
    associated_data: String,
    ciphertext: String,
}

/// What a notice tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An order was paid.
    Payment(Transaction),
    /// A refund succeeded, was closed, or wants a person.
    Refund(RefundStatus),
}

/// The notice is signed, but cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// It is not the JSON of a notice.
    #[error("the body is not a notice")]
    Form,
    /// It is encrypted in another way.
    #[error("the resource is encrypted in an unknown way")]
    Algorithm,
    /// It was not encrypted with our key.
    #[error("the resource cannot be decrypted")]
    Ciphertext,
    /// What was encrypted is something else.
    #[error("the resource is not what the notice says")]
    Content,
    /// It tells of something that we do not deal in.
    #[error("the notice is of another kind")]
    Kind,
}

impl Notice {
    /// Reads a body whose signature was verified.
    pub fn parse(body: &[u8]) -> Result<Self, NoticeError> {
        serde_json::from_slice(body).map_err(|_| NoticeError::Form)
    }

    /// Decrypts what it tells with the APIv3 key. That it decrypts is no proof of where it comes
    /// from: the signature is.
    pub fn open(&self, api_v3_key: &[u8]) -> Result<Content, NoticeError> {
        match self.event_type.as_str() {
            "TRANSACTION.SUCCESS" => self.decrypt(api_v3_key).map(Content::Payment),
            "REFUND.SUCCESS" | "REFUND.CLOSED" | "REFUND.ABNORMAL" => {
                self.decrypt(api_v3_key).map(Content::Refund)
            }
            _ => Err(NoticeError::Kind),
        }
    }

    fn decrypt<T: DeserializeOwned>(&self, api_v3_key: &[u8]) -> Result<T, NoticeError> {
        let opened = self.resource.open(api_v3_key)?;
        serde_json::from_slice(&opened).map_err(|_| NoticeError::Content)
    }
}

impl Resource {
    /// What was encrypted.
    pub(super) fn open(&self, api_v3_key: &[u8]) -> Result<Vec<u8>, NoticeError> {
        if self.algorithm != "AEAD_AES_256_GCM" {
            return Err(NoticeError::Algorithm);
        }
        let key = UnboundKey::new(&AES_256_GCM, api_v3_key).map_err(|_| NoticeError::Ciphertext)?;
        let nonce = Nonce::try_assume_unique_for_key(self.nonce.as_bytes())
            .map_err(|_| NoticeError::Ciphertext)?;
        let mut sealed = STANDARD
            .decode(&self.ciphertext)
            .map_err(|_| NoticeError::Ciphertext)?;
        let aad = Aad::from(self.associated_data.as_bytes());
        let opened = LessSafeKey::new(key)
            .open_in_place(nonce, aad, &mut sealed)
            .map_err(|_| NoticeError::Ciphertext)?;
        let length = opened.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}
