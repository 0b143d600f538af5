/// Fen as yuan with two decimals.
#[must_use]
pub fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// Yuan with at most two decimals as fen; `None`: it is no such amount.
#[must_use]
pub fn fen(yuan: &str) -> Option<i64> {
    let (whole, part) = yuan.split_once('.').unwrap_or((yuan, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || whole.len() > 12 || part.len() > 2 {
        return None;
    }
    let tens: i64 = if part.len() == 1 { 10 } else { 1 };
    Some(whole.parse::<i64>().ok()? * 100 + part.parse::<i64>().ok()? * tens)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fen_become_yuan_and_back(amount in 0_i64..100_000_000_000) {
            prop_assert_eq!(fen(&yuan(amount)), Some(amount));
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        assert_eq!(
            (fen("12.3"), fen("12"), fen("0.01")),
            (Some(1230), Some(1200), Some(1))
        );
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "-1.00",
            "+1.00",
            "1.001",
            "1,00",
            "1e3",
            " 1.00",
            "9999999999999.00",
        ] {
            assert_eq!(fen(text), None, "{text}");
        }
    }
}
