//! What can be ordered beside credit, and how far such an order is.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wanwu_proto::billing::v1 as pb;

use super::money::MAX_TOP_UP_FEN;

/// A product of a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its name in the catalogue.
    pub product_id: String,
    /// What the payer reads, here and at the provider.
    pub title: String,
    /// What one costs.
    pub unit_fen: i64,
    /// The most that one order takes.
    pub max_quantity: i32,
    /// Somebody receives it at an address.
    pub delivered: bool,
    /// The version of its own terms; empty: it has none.
    #[serde(default)]
    pub addendum: String,
    /// Whom to ask about it.
    pub support: String,
}

impl Product {
    /// What so many cost, in fen; `None`: so many are not sold at once.
    #[must_use]
    pub fn amount_fen(&self, quantity: i32) -> Option<i64> {
        if !(1..=self.max_quantity).contains(&quantity) {
            return None;
        }
        let amount = self.unit_fen.checked_mul(i64::from(quantity))?;
        (amount <= MAX_TOP_UP_FEN).then_some(amount)
    }
}

/// An immutable, dated catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Counts from 1.
    pub version: i32,
    /// From when it is in force.
    pub effective_at: DateTime<Utc>,
    /// The products.
    pub products: Vec<Product>,
}

impl Catalogue {
    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if self.version < 1 {
            return Some("versions count from 1");
        }
        if self.effective_at.timestamp_subsec_nanos() != 0 {
            return Some("the start is a whole second");
        }
        for (place, product) in self.products.iter().enumerate() {
            let name = |text: &str, most: usize| (1..=most).contains(&text.chars().count());
            let kebab =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !name(&product.product_id, 60) || !product.product_id.bytes().all(kebab) {
                return Some("a product's name is of small letters, digits and hyphens");
            }
            // WeChat Pay takes 127 bytes.
            if product.title.is_empty() || product.title.len() > 127 {
                return Some("a title has 1 to 127 bytes");
            }
            if product.unit_fen < 1 || product.amount_fen(1).is_none() {
                return Some("a price or a quantity is out of its limits");
            }
            if !name(&product.support, 200) {
                return Some("a product says whom to ask about it");
            }
            let before = &self.products[..place];
            if before
                .iter()
                .any(|other| other.product_id == product.product_id)
            {
                return Some("a product stands twice");
            }
        }
        None
    }

    /// The product with this name.
    #[must_use]
    pub fn product(&self, id: &str) -> Option<&Product> {
        self.products
            .iter()
            .find(|product| product.product_id == id)
    }
}

/// How far a product order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fulfilment {
    /// Nothing was done yet.
    Pending,
    /// On its way.
    Shipped,
    /// Provided.
    Completed,
}

impl Fulfilment {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Shipped, Self::Completed];

    /// Whether the next one may follow: what is not delivered is not shipped.
    #[must_use]
    pub const fn leads_to(self, next: Self, delivered: bool) -> bool {
        match (self, next) {
            (Self::Pending, Self::Shipped) => delivered,
            (Self::Pending, Self::Completed) => !delivered,
            (Self::Shipped, Self::Completed) => true,
            _ => false,
        }
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Shipped => "shipped",
            Self::Completed => "completed",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// From the contract; `None`: unspecified.
    #[must_use]
    pub const fn from_wire(state: pb::FulfilmentState) -> Option<Self> {
        match state {
            pb::FulfilmentState::Unspecified => None,
            pb::FulfilmentState::Pending => Some(Self::Pending),
            pb::FulfilmentState::Shipped => Some(Self::Shipped),
            pb::FulfilmentState::Completed => Some(Self::Completed),
        }
    }
}

impl From<Fulfilment> for pb::FulfilmentState {
    fn from(state: Fulfilment) -> Self {
        match state {
            Fulfilment::Pending => Self::Pending,
            Fulfilment::Shipped => Self::Shipped,
            Fulfilment::Completed => Self::Completed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product() -> Product {
        Product {
            product_id: "printed-handbook".to_owned(),
            title: "手册".to_owned(),
            unit_fen: 8800,
            max_quantity: 20,
            delivered: true,
            addendum: String::new(),
            support: "support@example.cn".to_owned(),
        }
    }

    #[test]
    fn an_amount_is_quantity_times_price_within_the_limits() {
        let product = product();
        for (quantity, amount) in [
            (1, Some(8800)),
            (20, Some(176_000)),
            (0, None),
            (-1, None),
            (21, None),
            (i32::MAX, None),
        ] {
            assert_eq!(product.amount_fen(quantity), amount, "{quantity}");
        }
        let dear = Product {
            unit_fen: MAX_TOP_UP_FEN,
            ..product
        };
        assert_eq!(dear.amount_fen(1), Some(MAX_TOP_UP_FEN));
        assert_eq!(dear.amount_fen(2), None);
    }

    #[test]
    fn a_catalogue_with_a_mistake_is_not_taken() {
        let good = Catalogue {
            version: 1,
            effective_at: DateTime::UNIX_EPOCH,
            products: vec![product()],
        };
        assert_eq!(good.problem(), None);
        let changes: [fn(&mut Catalogue); 8] = [
            |c| c.version = 0,
            |c| c.effective_at += chrono::Duration::milliseconds(1),
            |c| c.products[0].product_id = "A B".to_owned(),
            |c| c.products[0].title.clear(),
            |c| c.products[0].unit_fen = 0,
            |c| c.products[0].max_quantity = 0,
            |c| c.products[0].support.clear(),
            |c| c.products.push(c.products[0].clone()),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(bad.problem().is_some(), "{number}");
        }
    }

    #[test]
    fn only_what_is_delivered_is_shipped_and_nothing_goes_back() {
        use Fulfilment::{Completed, Pending, Shipped};
        for (from, to, delivered, may) in [
            (Pending, Shipped, true, true),
            (Pending, Shipped, false, false),
            (Pending, Completed, false, true),
            (Pending, Completed, true, false),
            (Shipped, Completed, true, true),
            (Shipped, Pending, true, false),
            (Completed, Shipped, true, false),
            (Completed, Completed, true, false),
        ] {
            assert_eq!(from.leads_to(to, delivered), may, "{from:?} {to:?}");
        }
    }
}
