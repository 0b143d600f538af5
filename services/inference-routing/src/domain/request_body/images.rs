//! Images in a request: an engine makes of each as many tokens as its model is configured for, not
//! as many as its bytes.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{BodyError, place, read};

/// How an image is written into a request.
const HERE: &str = "data:";

/// The images of a request.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// Where each stands, its quotes included.
    at: Vec<Range<usize>>,
    /// The field of the first.
    first: String,
    /// A field that may make them larger for the model than they are.
    pub(super) processor: Option<String>,
}

/// `image_url` as chat has it; responses, and some engines' chat, have the address alone.
#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow)]
    url: &'a RawValue,
}

impl Images {
    /// Takes an image's address, at `field`.
    pub(super) fn take(
        &mut self,
        raw: &[u8],
        field: &str,
        value: &RawValue,
    ) -> Result<(), BodyError> {
        let url = match value.get().starts_with('{') {
            true => read::<Address<'_>>(field, value)?.url,
            false => value,
        };
        let is_here = url.get().strip_prefix('"').is_some_and(|text| {
            text.get(..HERE.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(HERE))
        });
        if !is_here {
            return Err(BodyError::RemoteImage {
                field: field.to_owned(),
            });
        }
        if self.at.is_empty() {
            field.clone_into(&mut self.first);
        }
        self.at.push(place(raw, url.get()));
        Ok(())
    }

    /// Bytes that are images.
    pub(super) fn bytes(&self) -> u64 {
        self.at.iter().map(|at| at.len() as u64).sum()
    }

    /// The most tokens that they are, where one is `each` at most; refused where that is not known.
    pub(super) fn tokens(&self, each: Option<u64>) -> Result<u64, BodyError> {
        let unbounded = |field: &String| {
            Err(BodyError::UnboundedCost {
                field: field.clone(),
            })
        };
        match (each, &self.processor) {
            _ if self.at.is_empty() => Ok(0),
            (None, _) => unbounded(&self.first),
            (Some(_), Some(field)) => unbounded(field),
            (Some(each), None) => Ok(each.saturating_mul(self.at.len() as u64)),
        }
    }

    /// The byte at this place belongs to an image.
    pub(super) fn has(&self, at: usize) -> bool {
        self.at.iter().any(|image| image.contains(&at))
    }
}
