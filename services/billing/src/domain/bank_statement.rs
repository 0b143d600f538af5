//! Statements of our account at the bank, as files.

mod camt053;
mod csv;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use wanwu_personal::BankAccountNumber;

pub use camt053::read as read_camt053;
pub use csv::read as read_csv;

/// Most lines of a file.
pub const MAX_LINES: usize = 2_000;
/// Most bytes of a file.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

/// One movement on our account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// Its number at the bank, at most 64 characters.
    pub serial: String,
    /// When the bank booked it.
    pub booked_at: DateTime<Utc>,
    /// In fen, above zero.
    pub fen: i64,
    /// Which way it went.
    pub direction: Direction,
    /// The other account; `None`: not told, or none that could be.
    pub account: Option<BankAccountNumber>,
    /// The reference that the remark holds.
    pub reference: Option<String>,
}

/// Which way money went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To us.
    In,
    /// Back to who sent the line with this serial number.
    Reversal(String),
    /// Away, by us: no customer's matter.
    Out,
}

/// A file that cannot be read. It shows no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct InvalidStatement {
    /// The line of a CSV file or the entry of a camt.053 file, from 1; 0: the file.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A reference: "WW" and 40 bits in an alphabet without look-alikes.
#[must_use]
pub fn reference(random: u64) -> String {
    let digit = |place: u32| {
        let bits = usize::try_from((random >> (5 * place)) & 31).unwrap_or_default();
        char::from(ALPHABET[bits])
    };
    std::iter::once("WW".to_owned())
        .chain((0..8).map(|place| digit(place).to_string()))
        .collect()
}

const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The first reference in a remark, however it is spaced.
fn find_reference(remark: &str) -> Option<String> {
    let text: Vec<u8> = remark
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| u8::try_from(c.to_ascii_uppercase()).unwrap_or(b'?'))
        .collect();
    let found = text.windows(10).find(|window| {
        window.starts_with(b"WW") && window[2..].iter().all(|c| ALPHABET.contains(c))
    })?;
    Some(found.iter().map(|c| char::from(*c)).collect())
}

/// Fen of "1,234.5", "1234.50" or "1234".
fn fen(text: &str) -> Option<i64> {
    let text = text.trim().replace(',', "");
    let (yuan, rest) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    let rest = rest.trim_end_matches('0');
    if yuan.is_empty() || yuan.len() > 12 || rest.len() > 2 || !digits(yuan) || !digits(rest) {
        return None;
    }
    let fen = yuan.parse::<i64>().ok()? * 100 + format!("{rest:0<2}").parse::<i64>().ok()?;
    (fen > 0).then_some(fen)
}

/// An instant with its zone, or a time or day in China.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let time = |form| NaiveDateTime::parse_from_str(text, form).ok();
    let local = time("%Y-%m-%d %H:%M:%S")
        .or_else(|| time("%Y-%m-%dT%H:%M:%S"))
        .or_else(|| {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(day.and_time(NaiveTime::MIN))
        })?;
    let zone = FixedOffset::east_opt(8 * 3600)?;
    Some(local.and_local_timezone(zone).single()?.to_utc())
}

/// Puts a line together from the texts of a file.
struct Fields<'a> {
    serial: &'a str,
    booked_at: &'a str,
    amount: &'a str,
    direction: Direction,
    account: &'a str,
    remark: &'a str,
}

impl Fields<'_> {
    fn read(self, line: usize) -> Result<StatementLine, InvalidStatement> {
        let wrong = |what| InvalidStatement { line, what };
        let serial = self.serial.trim();
        if !(1..=64).contains(&serial.len()) {
            return Err(wrong("has no serial number of 1 to 64 characters"));
        }
        Ok(StatementLine {
            serial: serial.to_owned(),
            booked_at: instant(self.booked_at).ok_or_else(|| wrong("has no time"))?,
            fen: fen(self.amount).ok_or_else(|| wrong("has no amount in whole fen"))?,
            direction: self.direction,
            account: BankAccountNumber::parse(self.account).ok(),
            reference: find_reference(self.remark),
        })
    }
}

fn text(content: &[u8]) -> Result<&str, InvalidStatement> {
    let file = |what| InvalidStatement { line: 0, what };
    if content.len() > MAX_BYTES {
        return Err(file("is larger than 2 MiB"));
    }
    let text = std::str::from_utf8(content).map_err(|_| file("is not UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}'))
}

fn limited(lines: Vec<StatementLine>) -> Result<Vec<StatementLine>, InvalidStatement> {
    if lines.len() > MAX_LINES {
        let what = "has more than 2000 lines";
        return Err(InvalidStatement { line: 0, what });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_found_however_it_is_spaced() {
        let code = reference(0x12_3456_789a);
        assert_eq!(code.len(), 10);
        for remark in [
            code.clone(),
            format!("充值 {code} 谢谢"),
            code.to_lowercase(),
            format!("{} {}-{}", &code[..2], &code[2..6], &code[6..]),
        ] {
            assert_eq!(find_reference(&remark), Some(code.clone()), "{remark}");
        }
        for remark in ["", "WW", "WW123", "充值", "WWIOIOIOIO"] {
            assert_eq!(find_reference(remark), None, "{remark}");
        }
    }

    #[test]
    fn amounts_are_whole_fen() {
        for (text, expected) in [
            ("1,234.5", Some(123_450)),
            ("0.01", Some(1)),
            ("10", Some(1000)),
            ("10.0000", Some(1000)),
            ("0", None),
            ("-1", None),
            ("1.001", None),
            ("", None),
            ("9999999999999", None),
        ] {
            assert_eq!(fen(text), expected, "{text}");
        }
    }
}
