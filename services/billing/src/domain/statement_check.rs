//! Whether a file is a monthly statement of ours, and the first thing that is wrong with it.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, UnparsedPublicKey},
};

use super::{
    money::NANOS_PER_CNY,
    monthly_statement::{CLOSING, HEAD, OPENING},
};

/// Fields of a row.
const FIELDS: usize = 10;

/// What a statement says as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The month, as 2026-11.
    pub month: String,
    /// Whose it is, as the file writes it.
    pub account: String,
    /// What was held before, in 10^-9 CNY.
    pub opening_nanos: i64,
    /// What was held afterwards.
    pub closing_nanos: i64,
    /// How many movements.
    pub lines: usize,
    /// The name of the key that signed.
    pub key_id: String,
}

/// The first thing that is wrong with a file. Rows count from 1, which is the head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Its bytes are no text.
    #[error("the file is not UTF-8 from byte {0} on")]
    Text(usize),
    /// The first row is not a statement's.
    #[error("row 1 is not the head of a statement")]
    Head,
    /// A row is not CSV as it is written here, or has another number of fields.
    #[error("row {0} is not a row of a statement")]
    Row(usize),
    /// The row after the head does not open a month.
    #[error("row 2 is not an opening balance")]
    Opening,
    /// An amount is none.
    #[error("row {0}: {1:?} is not an amount")]
    Amount(usize, String),
    /// The balance does not follow.
    #[error("row {0}: the balance is not the one before and the amount")]
    Balance(usize),
    /// The last row does not close the month that was opened.
    #[error("row {0} is not the closing balance of the month")]
    Closing(usize),
    /// Something stands behind the closing balance.
    #[error("row {0} stands behind the closing balance")]
    Behind(usize),
    /// Everything adds up and is not what was signed.
    #[error("the signature is not of this file, or not by one of these keys")]
    Signature,
}

/// Reads the whole file and verifies its signature: Ed25519 over the SHA-256 of the file by one of
/// these keys (name, 32 bytes).
///
/// # Errors
/// The first thing that is wrong, from the top; the signature comes last, because it cannot say
/// which row was changed.
pub fn check<'a>(
    file: &[u8],
    signature: &[u8],
    keys: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Checked, Wrong> {
    let text = std::str::from_utf8(file).map_err(|error| Wrong::Text(error.valid_up_to()))?;
    let rest = text.strip_prefix(HEAD).ok_or(Wrong::Head)?;
    let mut rows = Rows { rest, number: 1 };
    let opening = rows.next_row()?.ok_or(Wrong::Opening)?;
    if opening[1] != OPENING || !opening[2].is_empty() {
        return Err(Wrong::Opening);
    }
    let opening_nanos = nanos(2, &opening[3])?;
    let (mut balance, mut lines) = (opening_nanos, 0);
    loop {
        let row = rows.next_row()?.ok_or(Wrong::Closing(rows.number))?;
        let number = rows.number;
        if row[1] == CLOSING && row[2].is_empty() {
            if row[0] != opening[0] {
                return Err(Wrong::Closing(number));
            }
            if nanos(number, &row[3])? != balance {
                return Err(Wrong::Balance(number));
            }
            break;
        }
        let follows = balance.checked_add(nanos(number, &row[2])?);
        balance = nanos(number, &row[3])?;
        if follows != Some(balance) {
            return Err(Wrong::Balance(number));
        }
        lines += 1;
    }
    if !rows.rest.is_empty() {
        return Err(Wrong::Behind(rows.number + 1));
    }
    let digest = digest(&SHA256, file);
    let proves = |key: &[u8]| {
        let key = UnparsedPublicKey::new(&ED25519, key);
        key.verify(digest.as_ref(), signature).is_ok()
    };
    let mut keys = keys.into_iter();
    let (key_id, _) = keys.find(|(_, key)| proves(key)).ok_or(Wrong::Signature)?;
    let [month, _, _, _, account, ..] = opening;
    Ok(Checked {
        month,
        account,
        opening_nanos,
        closing_nanos: balance,
        lines,
        key_id: key_id.to_owned(),
    })
}

/// Rows of RFC 4180.
struct Rows<'a> {
    rest: &'a str,
    /// Of the row that was read last.
    number: usize,
}

impl Rows<'_> {
    /// The next row; `None`: there is none.
    fn next_row(&mut self) -> Result<Option<[String; FIELDS]>, Wrong> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let mut fields = Vec::with_capacity(FIELDS);
        loop {
            let (field, rest) = field(self.rest).ok_or(Wrong::Row(self.number))?;
            fields.push(field);
            if let Some(rest) = rest.strip_prefix("\r\n") {
                self.rest = rest;
                break;
            }
            self.rest = rest.strip_prefix(',').ok_or(Wrong::Row(self.number))?;
        }
        let fields = fields.try_into();
        fields.map(Some).map_err(|_| Wrong::Row(self.number))
    }
}

/// A field, and what follows it.
fn field(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\r', '\n', '"'])?;
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut field = String::new();
    loop {
        let (part, behind) = rest.split_once('"')?;
        field.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, behind)),
        }
    }
}

/// Yuan with nine places, in 10^-9 CNY.
fn nanos(row: usize, text: &str) -> Result<i64, Wrong> {
    let parse = || {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (units, places) = digits.split_once('.')?;
        let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all(units) || !all(places) || places.len() != 9 {
            return None;
        }
        let units: i64 = units.parse().ok()?;
        let amount = units
            .checked_mul(NANOS_PER_CNY)?
            .checked_add(places.parse().ok()?)?;
        Some(if negative { -amount } else { amount })
    };
    parse().ok_or_else(|| Wrong::Amount(row, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use chrono::NaiveDate;
    use wanwu_ids::Ids;

    use super::*;
    use crate::domain::monthly_statement::{CallLine, Line, Writer};

    /// A statement of two lines.
    fn file() -> String {
        let month = NaiveDate::from_ymd_opt(2026, 11, 1).unwrap();
        let mut file = String::new();
        let mut writer = Writer::begin(Ids::system().id(), month, -5, &mut file);
        for nanos in [10_000_000_000, -2_510_000_001] {
            let line = Line {
                booked_at: "2026-11-30T15:59:59.5Z".parse().unwrap(),
                kind: "usage".to_owned(),
                cause: "c".to_owned(),
                nanos,
                call: Some(CallLine {
                    model: "a \"model\",\r\nodd".to_owned(),
                    app: "app".to_owned(),
                    key: "=key()".to_owned(),
                    input_tokens: 3,
                    output_tokens: 4,
                }),
            };
            writer.line(&line, &mut file);
        }
        writer.end(month, &mut file);
        file
    }

    fn judge(file: &str, signed: &str) -> Result<Checked, Wrong> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let signature = pair.sign(digest(&SHA256, signed.as_bytes()).as_ref());
        let keys = [
            ("k2", other.public_key().as_ref()),
            ("k1", pair.public_key().as_ref()),
        ];
        check(file.as_bytes(), signature.as_ref(), keys)
    }

    #[test]
    fn what_was_written_and_signed_is_right() {
        let file = file();
        let checked = judge(&file, &file).unwrap();
        assert_eq!((checked.month.as_str(), checked.lines), ("2026-11", 2));
        assert_eq!(checked.opening_nanos, -5);
        assert_eq!(checked.closing_nanos, 7_489_999_994);
        assert_eq!(checked.key_id, "k1");
        assert!(checked.account.starts_with("账户 account "));
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_named() {
        let file = file();
        let rows: Vec<_> = file.split_inclusive(",3,4\r\n").collect();
        let head = file.split_inclusive("\r\n").next().unwrap();
        let cases = [
            (file.replacen("时间", "time", 1), Wrong::Head),
            (String::new(), Wrong::Head),
            (head.to_owned(), Wrong::Opening),
            (file.replace("期初", "期末"), Wrong::Opening),
            (
                file.replace("10.000000000", "11.000000000"),
                Wrong::Balance(3),
            ),
            (
                file.replace("10.000000000", "10.00"),
                Wrong::Amount(3, "10.00".to_owned()),
            ),
            (file.replace(",3,4\r\n", ",3\r\n"), Wrong::Row(3)),
            (file.replace("\r\n", "\n"), Wrong::Head),
            // A line is gone.
            ([rows[0], rows[2]].concat(), Wrong::Balance(4)),
            ([rows[0], rows[1]].concat(), Wrong::Closing(4)),
            (format!("{file}more"), Wrong::Behind(6)),
            (
                file.replace("2026-11,期末", "2026-12,期末"),
                Wrong::Closing(5),
            ),
            (file.replace(",c,", ",d,"), Wrong::Signature),
        ];
        for (changed, wrong) in cases {
            assert_eq!(judge(&changed, &file), Err(wrong), "{changed}");
        }
        let broken = [file.as_bytes(), b"\xff"].concat();
        let text = check(&broken, &[], []);
        assert_eq!(text, Err(Wrong::Text(file.len())));
        assert_eq!(judge(&file, "another"), Err(Wrong::Signature));
    }
}
