//! Counts and prices by unit, as rows keep them: a JSON object, null where there is nothing.

use std::collections::BTreeMap;

use sqlx::types::Json;
use wanwu_proto::billing::v1::UnitCount;
use wanwu_tariff::{Counts, Prices, Unit};

/// Numbers by the name of their unit.
pub type ByUnit = Json<BTreeMap<Unit, i64>>;

/// What was counted beside the totals.
#[must_use]
pub fn of_parts(parts: &Counts) -> Option<ByUnit> {
    let parts: BTreeMap<Unit, i64> = parts
        .parts()
        .map(|(unit, count)| (unit, i64::try_from(count).unwrap_or(i64::MAX)))
        .collect();
    (!parts.is_empty()).then_some(Json(parts))
}

/// The same, read.
#[must_use]
pub fn parts(stored: Option<&ByUnit>) -> Counts {
    let stored = stored.iter().flat_map(|parts| parts.0.iter());
    stored.fold(Counts::default(), |all, (unit, count)| {
        all.with(*unit, u64::try_from(*count).unwrap_or_default())
    })
}

/// The prices that have no column of their own.
#[must_use]
pub fn of_prices(prices: &Prices) -> Option<ByUnit> {
    let others: BTreeMap<Unit, i64> = prices
        .units()
        .filter(|(unit, _)| !matches!(unit, Unit::InputToken | Unit::OutputToken))
        .collect();
    (!others.is_empty()).then_some(Json(others))
}

/// The same with those that have one, read.
#[must_use]
pub fn prices(input: i64, output: i64, others: Option<&ByUnit>) -> Prices {
    let others = others.iter().flat_map(|others| others.0.iter());
    others.fold(Prices::tokens(input, output), |all, (unit, nanos)| {
        all.with(*unit, *nanos)
    })
}

/// What was counted beside the totals, as events tell it.
#[must_use]
pub fn told(parts: &Counts) -> Vec<UnitCount> {
    let told = parts.parts().map(|(unit, count)| UnitCount {
        unit: unit.number(),
        count: i64::try_from(count).unwrap_or(i64::MAX),
    });
    told.collect()
}
