//! A provider's bill of a day against the payments that we booked.

use std::collections::HashMap;

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, Utc};
use uuid::Uuid;

/// A payment, as the provider bills it or as we booked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its number at the provider.
    pub transaction: String,
    /// The order that it paid; `None`: a number that is none of ours.
    pub order: Option<Uuid>,
    /// In fen.
    pub fen: i64,
}

/// How bill and books differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The provider was paid and we booked nothing.
    NotBooked,
    /// We booked what the provider does not bill.
    NotBilled,
    /// The amounts differ.
    Amount,
    /// The orders differ.
    Order,
    /// The bill has it more than once.
    BilledTwice,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::NotBooked,
        Self::NotBilled,
        Self::Amount,
        Self::Order,
        Self::BilledTwice,
    ];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotBooked => "not_booked",
            Self::NotBilled => "not_billed",
            Self::Amount => "amount",
            Self::Order => "order",
            Self::BilledTwice => "billed_twice",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The payment's number at the provider.
    pub transaction: String,
    /// How they differ.
    pub kind: Kind,
    /// What the bill says, in fen; 0: nothing.
    pub billed_fen: i64,
    /// What we booked, in fen; 0: nothing.
    pub booked_fen: i64,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Payments that agree in everything.
    pub agreed: usize,
    /// Each difference, by transaction.
    pub differences: Vec<Difference>,
}

/// Compares a bill with what we booked on the same day. A payment can differ in more than one way.
#[must_use]
pub fn compare(bill: &[Payment], booked: &[Payment]) -> Comparison {
    let mut billed = HashMap::<&str, (&Payment, usize)>::with_capacity(bill.len());
    for line in bill {
        billed.entry(&line.transaction).or_insert((line, 0)).1 += 1;
    }
    let mut result = Comparison::default();
    for ours in booked {
        let Some((line, times)) = billed.remove(ours.transaction.as_str()) else {
            result.add(&ours.transaction, Kind::NotBilled, 0, ours.fen);
            continue;
        };
        let before = result.differences.len();
        if line.fen != ours.fen {
            result.add(&ours.transaction, Kind::Amount, line.fen, ours.fen);
        }
        if line.order != ours.order {
            result.add(&ours.transaction, Kind::Order, line.fen, ours.fen);
        }
        if times > 1 {
            result.add(&ours.transaction, Kind::BilledTwice, line.fen, ours.fen);
        }
        result.agreed += usize::from(result.differences.len() == before);
    }
    for (line, times) in billed.into_values() {
        result.add(&line.transaction, Kind::NotBooked, line.fen, 0);
        if times > 1 {
            result.add(&line.transaction, Kind::BilledTwice, line.fen, 0);
        }
    }
    result
        .differences
        .sort_by(|a, b| (&a.transaction, a.kind).cmp(&(&b.transaction, b.kind)));
    result
}

impl Comparison {
    fn add(&mut self, transaction: &str, kind: Kind, billed_fen: i64, booked_fen: i64) {
        self.differences.push(Difference {
            transaction: transaction.to_owned(),
            kind,
            billed_fen,
            booked_fen,
        });
    }
}

/// The instants at which a provider's day begins and ends: China Standard Time, which has no summer.
#[must_use]
pub fn day_bounds(day: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let zone = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");
    let begin = |day: NaiveDate| {
        let midnight = day.and_time(NaiveTime::MIN).and_local_timezone(zone);
        midnight
            .single()
            .expect("a fixed offset has every instant once")
            .to_utc()
    };
    (begin(day), begin(day + Days::new(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(number: u128) -> Payment {
        Payment {
            transaction: format!("42{number:06}"),
            order: Some(Uuid::from_u128(number)),
            fen: 100,
        }
    }

    #[test]
    fn each_way_to_differ_is_told_and_nothing_else() {
        let booked: Vec<_> = (0..10).map(payment).collect();
        let mut bill = booked.clone();
        bill.reverse();
        assert_eq!(compare(&bill, &booked).differences, []);
        assert_eq!(compare(&bill, &booked).agreed, 10);
        let place = |number| bill.iter().position(|line| *line == payment(number));
        let (amount, order, gone) = (place(1), place(2), place(3));
        bill[amount.unwrap()].fen = 99;
        bill[order.unwrap()].order = None;
        bill.remove(gone.unwrap());
        bill.push(payment(4));
        bill.push(payment(77));
        let found = compare(&bill, &booked);
        assert_eq!(found.agreed, 6);
        let told: Vec<_> = found
            .differences
            .iter()
            .map(|d| (&d.transaction[2..], d.kind, d.billed_fen, d.booked_fen))
            .collect();
        assert_eq!(
            told,
            [
                ("000001", Kind::Amount, 99, 100),
                ("000002", Kind::Order, 100, 100),
                ("000003", Kind::NotBilled, 0, 100),
                ("000004", Kind::BilledTwice, 100, 100),
                ("000077", Kind::NotBooked, 100, 0),
            ]
        );
    }

    #[test]
    fn a_day_is_a_day_in_china() {
        let (begin, end) = day_bounds(NaiveDate::from_ymd_opt(2026, 11, 23).unwrap());
        assert_eq!(begin.to_rfc3339(), "2026-11-22T16:00:00+00:00");
        assert_eq!(end.to_rfc3339(), "2026-11-23T16:00:00+00:00");
    }
}
