//! Whose money a line of a statement is.

use chrono::{DateTime, Duration, Utc};

/// How far declared and booked time may be apart where only account and amount speak.
const APART: Duration = Duration::days(10);

/// A declaration that waits for money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What the customer was to write into the remark.
    pub reference: String,
    /// The declared account is the line's.
    pub same_account: bool,
    /// What has not come, in fen; above zero.
    pub outstanding_fen: i64,
    /// When it was to be sent.
    pub transfer_at: DateTime<Utc>,
}

/// What is known of a line.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// The reference in its remark.
    pub reference: Option<&'a str>,
    /// In fen.
    pub fen: i64,
    /// When the bank booked it.
    pub booked_at: DateTime<Utc>,
}

/// The declaration that a line pays, by its place; `None`: an operator has to look.
///
/// The reference decides, whatever the amount. Without one, or with one that nobody waits for, the
/// account and the exact amount do when they name one declaration and no other.
#[must_use]
pub fn find(line: Arrived<'_>, waiting: &[Waiting]) -> Option<usize> {
    let named = |w: &Waiting| line.reference == Some(w.reference.as_str());
    if let Some(place) = waiting.iter().position(named) {
        return Some(place);
    }
    let fits = |(_, w): &(usize, &Waiting)| {
        w.same_account
            && w.outstanding_fen == line.fen
            && (w.transfer_at - line.booked_at).abs() <= APART
    };
    let mut fitting = waiting.iter().enumerate().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some((place, _)), None) => Some(place),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(reference: &str, same_account: bool, fen: i64) -> Waiting {
        Waiting {
            reference: reference.to_owned(),
            same_account,
            outstanding_fen: fen,
            transfer_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_reference_decides_and_else_the_only_one_that_fits() {
        let all = [
            waiting("WWA", false, 100),
            waiting("WWB", true, 100),
            waiting("WWC", true, 200),
            waiting("WWD", true, 200),
        ];
        for (reference, fen, days, expected) in [
            (Some("WWA"), 100, 0, Some(0)),
            (Some("WWA"), 7, 99, Some(0)),
            (Some("WWX"), 100, 0, Some(1)),
            (None, 100, 10, Some(1)),
            (None, 100, 11, None),
            (None, 99, 0, None),
            (None, 200, 0, None),
        ] {
            let line = Arrived {
                reference,
                fen,
                booked_at: DateTime::UNIX_EPOCH + Duration::days(days),
            };
            assert_eq!(find(line, &all), expected, "{reference:?} {fen} {days}");
        }
    }
}
