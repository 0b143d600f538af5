//! CSV (RFC 4180) with a head line of English or Chinese names.

use super::{Direction, Fields, InvalidStatement, StatementLine, limited, text};

/// The columns, each with the names that banks use.
const COLUMNS: [(&str, &[&str]); 7] = [
    ("serial", &["交易流水号", "流水号"]),
    ("booked_at", &["交易时间", "交易日期"]),
    ("amount", &["交易金额", "发生额"]),
    ("direction", &["借贷标志"]),
    ("account", &["对方账号"]),
    ("remark", &["附言", "摘要"]),
    ("reverses", &["原流水号"]),
];
/// Columns that may be absent.
const OPTIONAL: [usize; 2] = [4, 6];

/// Reads a statement.
///
/// # Errors
/// When the file is too large or a line is not readable; the first such line.
pub fn read(content: &[u8]) -> Result<Vec<StatementLine>, InvalidStatement> {
    let mut records = records(text(content)?)?.into_iter();
    let head = records.next().unwrap_or_default();
    let places = COLUMNS.map(|(name, others)| {
        let named = |field: &String| field == name || others.contains(&field.as_str());
        head.iter().position(named)
    });
    let missing =
        |(place, found): (usize, &Option<usize>)| found.is_none() && !OPTIONAL.contains(&place);
    if places.iter().enumerate().any(missing) {
        let what = "lacks a column";
        return Err(InvalidStatement { line: 1, what });
    }
    let mut lines = Vec::new();
    for (number, record) in (2..).zip(records) {
        let field = |place: usize| {
            let found = places[place].and_then(|place| record.get(place));
            found.map_or("", |field| field.trim())
        };
        let direction = match (field(3), field(6)) {
            ("credit" | "C" | "贷", _) => Direction::In,
            ("debit" | "D" | "借", "") => Direction::Out,
            ("debit" | "D" | "借", serial) => Direction::Reversal(serial.to_owned()),
            _ => {
                let what = "has no direction: credit or debit";
                return Err(InvalidStatement { line: number, what });
            }
        };
        let fields = Fields {
            serial: field(0),
            booked_at: field(1),
            amount: field(2),
            direction,
            account: field(4),
            remark: field(5),
        };
        lines.push(fields.read(number)?);
    }
    limited(lines)
}

/// The fields of each record; empty lines are left out.
fn records(text: &str) -> Result<Vec<Vec<String>>, InvalidStatement> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    if quoted {
        let what = "a quote is not closed";
        return Err(InvalidStatement { line: 0, what });
    }
    record.push(field);
    records.push(record);
    records.retain(|record| record.iter().any(|field| !field.trim().is_empty()));
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chinese_head_and_quotes_are_read() {
        let file = "\u{feff}交易流水号,交易时间,交易金额,借贷标志,对方户名,对方账号,摘要,原流水号\r\n\
             S1,2026-11-23 10:00:00,\"1,000.00\",贷,\"北京, 某某\",6222 0212 3456 7890,\"充值 \"\"WWABCDEFGH\"\"\",\r\n\
             \r\nS2,2026-11-23 11:00:00,1000.00,借,,,退回,S1\r\nS3,2026-11-23,5,借,,,手续费,\r\n";
        let lines = read(file.as_bytes()).unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].fen, 100_000);
        assert_eq!(lines[0].reference.as_deref(), Some("WWABCDEFGH"));
        assert_eq!(lines[0].account.as_ref().unwrap().last_four(), "7890");
        assert_eq!(lines[0].booked_at.to_rfc3339(), "2026-11-23T02:00:00+00:00");
        assert_eq!(lines[1].direction, Direction::Reversal("S1".to_owned()));
        assert_eq!(lines[2].direction, Direction::Out);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let head = "serial,booked_at,amount,direction,remark\n";
        for (line, named) in [
            ("S1,2026-11-23,5,credit,x\n,2026-11-23,5,credit,x", 3),
            ("S1,yesterday,5,credit,x", 2),
            ("S1,2026-11-23,5.001,credit,x", 2),
            ("S1,2026-11-23,5,sideways,x", 2),
            ("S1,2026-11-23,5,credit,\"x", 0),
        ] {
            let error = read(format!("{head}{line}").as_bytes()).unwrap_err();
            assert_eq!(error.line, named, "{line}: {error}");
        }
        assert_eq!(read(b"serial,amount\n").unwrap_err().line, 1);
        assert_eq!(read(&[0xff]).unwrap_err().line, 0);
    }
}
