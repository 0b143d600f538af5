//! Keyset pages: `page_size` and an opaque `page_token` that holds the last row's sort key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

/// Rows in a page when the caller names no number.
pub const DEFAULT_PAGE_SIZE: u32 = 20;
/// Most rows in a page; a greater wish gets this many.
pub const MAX_PAGE_SIZE: u32 = 100;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 1024;

/// The page that a caller asked for. `K` is the sort key of a row, such as `(created_at, id)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// How many rows.
    size: u32,
    /// The row after which the page begins; `None`: from the beginning.
    pub after: Option<K>,
}

/// One page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to ask the next page with; empty on the last page.
    pub next_page_token: String,
}

/// The caller asked for a page that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPage {
    /// `page_size` is negative.
    #[error("page_size is negative")]
    Size,
    /// `page_token` was not made by this list.
    #[error("page_token is not one of ours")]
    Token,
}

impl InvalidPage {
    /// The request's field that is wrong.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Size => "page_size",
            Self::Token => "page_token",
        }
    }
}

impl<K: Serialize + DeserializeOwned> PageRequest<K> {
    /// Reads the two fields of a list request: 0 means [`DEFAULT_PAGE_SIZE`], more than
    /// [`MAX_PAGE_SIZE`] means that; an empty token means the first page.
    ///
    /// # Errors
    /// When the size is negative or the token is not one of this list.
    pub fn parse(page_size: i32, page_token: &str) -> Result<Self, InvalidPage> {
        let size = match u32::try_from(page_size).map_err(|_| InvalidPage::Size)? {
            0 => DEFAULT_PAGE_SIZE,
            size => size.min(MAX_PAGE_SIZE),
        };
        let after = if page_token.is_empty() {
            None
        } else {
            Some(decode(page_token)?)
        };
        Ok(Self { size, after })
    }

    /// What to give to LIMIT: one row more than the page, which tells whether another follows.
    #[must_use]
    pub fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Makes the page of the rows that came for [`PageRequest::limit`].
    #[must_use]
    pub fn page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Page<T> {
        let size = self.size as usize;
        let more = rows.len() > size;
        rows.truncate(size);
        let last = if more { rows.last() } else { None };
        let next_page_token = last.map(|row| encode(&key(row))).unwrap_or_default();
        Page {
            items: rows,
            next_page_token,
        }
    }
}

fn encode<K: Serialize>(key: &K) -> String {
    let json = serde_json::to_vec(key).expect("a sort key is plain data");
    URL_SAFE_NO_PAD.encode(json)
}

fn decode<K: DeserializeOwned>(token: &str) -> Result<K, InvalidPage> {
    if token.len() > MAX_TOKEN {
        return Err(InvalidPage::Token);
    }
    let json = URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| InvalidPage::Token)?;
    serde_json::from_slice(&json).map_err(|_| InvalidPage::Token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    type Key = (i64, Uuid);

    #[test]
    fn sizes_have_a_default_and_a_limit() {
        for (asked, limit) in [(0, 21), (1, 2), (100, 101), (101, 101), (i32::MAX, 101)] {
            assert_eq!(PageRequest::<Key>::parse(asked, "").unwrap().limit(), limit);
        }
        assert_eq!(PageRequest::<Key>::parse(-1, ""), Err(InvalidPage::Size));
    }

    #[test]
    fn only_a_full_page_has_a_next_one() {
        let request = PageRequest::<i64>::parse(2, "").unwrap();
        assert_eq!(request.page(vec![1, 2], |n| *n).next_page_token, "");
        let page = request.page(vec![1, 2, 3], |n| *n);
        assert_eq!(page.items, [1, 2]);
        let next = PageRequest::<i64>::parse(2, &page.next_page_token).unwrap();
        assert_eq!(next.after, Some(2));
    }

    proptest! {
        #[test]
        fn every_key_comes_back(number: i64, bytes: u128) {
            let key = (number, Uuid::from_u128(bytes));
            let request = PageRequest::<Key>::parse(1, &encode(&key)).unwrap();
            prop_assert_eq!(request.after, Some(key));
        }

        #[test]
        fn no_token_breaks_us(token in "\\PC{0,2000}") {
            let _ = PageRequest::<Key>::parse(1, &token);
        }
    }
}
