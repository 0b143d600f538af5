//! The file of a monthly statement: CSV by RFC 4180 in UTF-8.
//!
//! **Invariant**: each line's balance is the one before and its amount; the last is the closing.

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use wanwu_ids::AccountId;

use super::money::NANOS_PER_CNY;

const ZONE: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");
/// The first row.
pub const HEAD: &str = "时间 time,类型 kind,金额 amount (CNY),余额 balance (CNY),事由 cause,模型 model,应用 app,\
                    密钥 key,输入 input tokens,输出 output tokens\r\n";

/// What the row that opens a month says.
pub const OPENING: &str = "期初余额 opening balance";
/// What the row that closes it says.
pub const CLOSING: &str = "期末余额 closing balance";

/// A movement of what an account holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was booked.
    pub booked_at: DateTime<Utc>,
    /// Its kind in the ledger.
    pub kind: String,
    /// What it was booked for.
    pub cause: String,
    /// In 10^-9 CNY; below zero: charged.
    pub nanos: i64,
    /// Of a call: what was called.
    pub call: Option<CallLine>,
}

/// What a call's line says more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLine {
    /// The model.
    pub model: String,
    /// The app.
    pub app: String,
    /// The key.
    pub key: String,
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
}

/// Writes a statement, a line at a time, and counts.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// What is held after the lines so far, in 10^-9 CNY.
    pub balance: i64,
    /// How many movements.
    pub lines: i64,
}

impl Writer {
    /// Begins the statement of a month: whose it is and what it begins with.
    #[must_use]
    pub fn begin(account_id: AccountId, month: NaiveDate, opening: i64, file: &mut String) -> Self {
        let month = month.format("%Y-%m");
        file.push_str(HEAD);
        row(
            file,
            [
                &month.to_string(),
                OPENING,
                "",
                &cny(opening),
                &format!("账户 account {account_id}"),
            ],
            None,
        );
        Self {
            balance: opening,
            lines: 0,
        }
    }

    /// Adds a movement.
    pub fn line(&mut self, line: &Line, file: &mut String) {
        self.balance += line.nanos;
        self.lines += 1;
        let at = line.booked_at.with_timezone(&ZONE);
        row(
            file,
            [
                &at.format("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string(),
                name(&line.kind),
                &cny(line.nanos),
                &cny(self.balance),
                &line.cause,
            ],
            line.call.as_ref(),
        );
    }

    /// Ends it.
    pub fn end(&self, month: NaiveDate, file: &mut String) {
        let month = month.format("%Y-%m").to_string();
        let balance = cny(self.balance);
        row(file, [&month, CLOSING, "", &balance, ""], None);
    }
}

fn row(file: &mut String, fields: [&str; 5], call: Option<&CallLine>) {
    let (input, output) = call.map_or_else(Default::default, |call| {
        (
            call.input_tokens.to_string(),
            call.output_tokens.to_string(),
        )
    });
    let call = call.map_or(["", "", ""], |call| {
        [call.model.as_str(), &call.app, &call.key]
    });
    let fields = fields.into_iter().chain(call).chain([&*input, &*output]);
    for (place, text) in fields.enumerate() {
        if place > 0 {
            file.push(',');
        }
        field(file, text);
    }
    file.push_str("\r\n");
}

/// A field, in quotes where it has to be. A text that a spreadsheet would compute is not one.
fn field(file: &mut String, text: &str) {
    let formula = text.starts_with(['=', '+', '@', '\t', '\r']);
    if !formula && !text.contains(['"', ',', '\r', '\n']) {
        return file.push_str(text);
    }
    file.push('"');
    if formula {
        file.push('\'');
    }
    file.push_str(&text.replace('"', "\"\""));
    file.push('"');
}

/// Yuan with nine places.
#[must_use]
pub fn cny(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (units, rest) = (nanos / NANOS_PER_CNY, nanos % NANOS_PER_CNY);
    format!("{sign}{}.{:09}", units.unsigned_abs(), rest.unsigned_abs())
}

/// A kind for people.
fn name(kind: &str) -> &str {
    match kind {
        "top_up" => "充值 top-up",
        "usage" => "调用 call",
        "refund_of_credit" => "退款 refund",
        "bank_credit" => "银行转账 bank transfer",
        "bank_recall" => "银行撤回 taken back by the bank",
        "package_sale" => "购买套餐 package bought",
        "package_discount" => "赠送额度 given with a package",
        "package_expiry" => "套餐到期 package ended",
        "refund_of_package" => "套餐退款 refund of a package",
        "package_discount_end" => "赠送额度收回 given credit ended with its package",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use wanwu_ids::Ids;

    use super::*;

    #[test]
    fn a_file_is_csv_and_every_balance_follows_from_the_one_before() {
        let account: AccountId = Ids::system().id();
        let month = NaiveDate::from_ymd_opt(2026, 11, 1).unwrap();
        let mut file = String::new();
        let mut writer = Writer::begin(account, month, 1_500_000_000, &mut file);
        let at = "2026-11-30T15:59:59.5Z".parse().unwrap();
        let line = |kind: &str, nanos, call| Line {
            booked_at: at,
            kind: kind.to_owned(),
            cause: "c".to_owned(),
            nanos,
            call,
        };
        writer.line(&line("top_up", 10_000_000, None), &mut file);
        let call = CallLine {
            model: "a \"model\", odd".to_owned(),
            app: "app".to_owned(),
            key: "=key()".to_owned(),
            input_tokens: 3,
            output_tokens: 4,
        };
        writer.line(&line("usage", -2_510_000_001, Some(call)), &mut file);
        writer.end(month, &mut file);
        let rows: Vec<_> = file.split_terminator("\r\n").collect();
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.matches(',').count() >= 9));
        assert_eq!(
            rows[2],
            "2026-11-30T23:59:59.500000+08:00,充值 top-up,0.010000000,1.510000000,c,,,,,"
        );
        assert_eq!(
            rows[3],
            "2026-11-30T23:59:59.500000+08:00,调用 call,-2.510000001,-1.000000001,c,\
             \"a \"\"model\"\", odd\",app,\"'=key()\",3,4"
        );
        assert!(rows[4].contains("-1.000000001"));
        assert_eq!((writer.balance, writer.lines), (-1_000_000_001, 2));
    }
}
