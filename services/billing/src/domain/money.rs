use wanwu_proto::google::r#type::Money;

/// Billionths of a yuan in one yuan.
pub const NANOS_PER_CNY: i64 = 1_000_000_000;
/// Billionths of a yuan in one fen.
pub const NANOS_PER_FEN: i64 = 10_000_000;
/// The smallest top-up, in fen.
pub const MIN_TOP_UP_FEN: i64 = 1;
/// The largest top-up, in fen: 50,000 CNY.
pub const MAX_TOP_UP_FEN: i64 = 5_000_000;

/// The amount is not one that can be topped up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Only CNY.
    #[error("must be in CNY")]
    Currency,
    /// Providers move whole fen.
    #[error("must be whole fen")]
    Fraction,
    /// Out of the limits.
    #[error("must be from 0.01 to 50000 CNY")]
    Limits,
}

/// An amount of 10^-9 CNY on the wire.
#[must_use]
pub fn to_wire(nanos: i64) -> Money {
    Money {
        currency_code: "CNY".to_owned(),
        units: nanos / NANOS_PER_CNY,
        nanos: i32::try_from(nanos % NANOS_PER_CNY).expect("a remainder of 10^9 fits"),
    }
}

/// The fen of a top-up.
///
/// # Errors
/// When the currency is another, there are parts of a fen, or it is out of the limits.
pub fn top_up_fen(money: &Money) -> Result<i64, InvalidAmount> {
    if money.currency_code != "CNY" {
        return Err(InvalidAmount::Currency);
    }
    let nanos = i64::from(money.nanos);
    if !(0..NANOS_PER_CNY).contains(&nanos) || !(0..=50_000).contains(&money.units) {
        return Err(InvalidAmount::Limits);
    }
    if nanos % NANOS_PER_FEN != 0 {
        return Err(InvalidAmount::Fraction);
    }
    let fen = money.units * 100 + nanos / NANOS_PER_FEN;
    if (MIN_TOP_UP_FEN..=MAX_TOP_UP_FEN).contains(&fen) {
        Ok(fen)
    } else {
        Err(InvalidAmount::Limits)
    }
}

/// The largest budget, in yuan.
const MAX_BUDGET_CNY: i64 = 100_000_000;

/// The 10^-9 CNY of a budget.
///
/// # Errors
/// When the currency is another, or it is out of the limits.
pub fn budget_nanos(money: &Money) -> Result<i64, InvalidBudget> {
    let nanos = i64::from(money.nanos);
    let fits = money.currency_code == "CNY"
        && (0..NANOS_PER_CNY).contains(&nanos)
        && (0..=MAX_BUDGET_CNY).contains(&money.units);
    let nanos = fits.then(|| money.units * NANOS_PER_CNY + nanos);
    nanos
        .filter(|nanos| *nanos <= MAX_BUDGET_CNY * NANOS_PER_CNY)
        .ok_or(InvalidBudget)
}

/// The 10^-9 CNY below which an account is told: as a budget, and above nothing.
///
/// # Errors
/// When the currency is another, or it is out of the limits.
pub fn alert_nanos(money: &Money) -> Result<i64, InvalidAlert> {
    let nanos = budget_nanos(money).map_err(|_| InvalidAlert)?;
    (nanos > 0).then_some(nanos).ok_or(InvalidAlert)
}

/// The amount is not one to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be above 0 and at most 100000000 CNY")]
pub struct InvalidAlert;

/// The amount is not one of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be from 0 to 100000000 CNY")]
pub struct InvalidBudget;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_may_be_nothing_and_a_hundred_million() {
        let money = |code: &str, units, nanos| Money {
            currency_code: code.into(),
            units,
            nanos,
        };
        for (amount, expected) in [
            (money("CNY", 0, 0), Ok(0)),
            (money("CNY", 1, 7), Ok(1_000_000_007)),
            (money("CNY", 100_000_000, 0), Ok(100_000_000_000_000_000)),
            (money("CNY", 100_000_000, 1), Err(InvalidBudget)),
            (money("CNY", -1, 0), Err(InvalidBudget)),
            (money("CNY", 0, -1), Err(InvalidBudget)),
            (money("USD", 1, 0), Err(InvalidBudget)),
        ] {
            assert_eq!(budget_nanos(&amount), expected, "{amount:?}");
        }
    }

    #[test]
    fn only_whole_fen_within_the_limits_are_topped_up() {
        let money = |code: &str, units, nanos| Money {
            currency_code: code.into(),
            units,
            nanos,
        };
        for (amount, expected) in [
            (money("CNY", 0, 10_000_000), Ok(1)),
            (money("CNY", 12, 340_000_000), Ok(1234)),
            (money("CNY", 50_000, 0), Ok(5_000_000)),
            (money("CNY", 50_000, 10_000_000), Err(InvalidAmount::Limits)),
            (money("CNY", 0, 0), Err(InvalidAmount::Limits)),
            (money("CNY", 0, 5_000_000), Err(InvalidAmount::Fraction)),
            (money("CNY", -1, 0), Err(InvalidAmount::Limits)),
            (money("CNY", 1, -10_000_000), Err(InvalidAmount::Limits)),
            (money("CNY", i64::MAX, 0), Err(InvalidAmount::Limits)),
            (money("USD", 1, 0), Err(InvalidAmount::Currency)),
            (money("", 1, 0), Err(InvalidAmount::Currency)),
        ] {
            assert_eq!(top_up_fen(&amount), expected, "{amount:?}");
        }
    }

    #[test]
    fn an_amount_keeps_its_sign_on_the_wire() {
        for (nanos, units, rest) in [
            (1_500_000_000, 1, 500_000_000),
            (-1_500_000_000, -1, -500_000_000),
            (7, 0, 7),
        ] {
            let money = to_wire(nanos);
            assert_eq!((money.units, money.nanos), (units, rest));
        }
    }
}
