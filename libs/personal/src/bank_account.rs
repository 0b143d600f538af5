use crate::{Class, Personal};

/// Fewest and most characters of an account's number.
const NUMBER: std::ops::RangeInclusive<usize> = 6..=34;
/// Fewest and most characters of an account's name.
const NAME: std::ops::RangeInclusive<usize> = 2..=100;

/// Marks numbers of bank accounts.
#[derive(Debug)]
pub enum BankAccountsNumber {}

impl Class for BankAccountsNumber {
    const NAME: &'static str = "bank account";
}

/// A bank account's number: 6 to 34 letters and digits, as domestic numbers and IBANs are.
pub type BankAccountNumber = Personal<BankAccountsNumber>;

/// Marks names of bank accounts.
#[derive(Debug)]
pub enum BankAccountsName {}

impl Class for BankAccountsName {
    const NAME: &'static str = "bank account name";
}

/// Whose bank account it is, a person or an enterprise.
pub type BankAccountName = Personal<BankAccountsName>;

/// It is not a bank account's number or name. The text does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a bank account's")]
pub struct InvalidBankAccount;

impl BankAccountNumber {
    /// Reads a number; spaces and hyphens are dropped, letters become capitals.
    ///
    /// # Errors
    /// When it is not 6 to 34 letters and digits.
    pub fn parse(text: &str) -> Result<Self, InvalidBankAccount> {
        if text.len() > 100 {
            return Err(InvalidBankAccount);
        }
        let divides = |c: &char| !matches!(c, ' ' | '-');
        let number: String = text.chars().filter(divides).collect();
        if NUMBER.contains(&number.len()) && number.chars().all(|c| c.is_ascii_alphanumeric()) {
            Ok(Self::new(number.to_ascii_uppercase()))
        } else {
            Err(InvalidBankAccount)
        }
    }

    /// What may be shown of it: the last four characters.
    #[must_use]
    pub fn last_four(&self) -> &str {
        let text = self.expose();
        &text[text.len() - 4..]
    }
}

impl BankAccountName {
    /// Reads a name; white space around it is dropped.
    ///
    /// # Errors
    /// When it is not 2 to 100 characters without control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidBankAccount> {
        let name = text.trim();
        let sound = name.len() <= 400
            && NAME.contains(&name.chars().count())
            && !name.chars().any(char::is_control);
        if sound {
            Ok(Self::new(name.to_owned()))
        } else {
            Err(InvalidBankAccount)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_letters_and_digits() {
        let number = BankAccountNumber::parse("6222 0212-3456 7890123").unwrap();
        assert_eq!(number.expose(), "6222021234567890123");
        assert_eq!(number.last_four(), "0123");
        assert_eq!(format!("{number:?}"), "[bank account]");
        for wrong in [
            "",
            "12345",
            "62220212a4567890123456789012345678901",
            "6222_021",
            "六二二二零二",
        ] {
            assert!(BankAccountNumber::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_of_persons_and_enterprises() {
        for name in ["王伟", "北京某某科技有限公司", "Siemens (China) Ltd."] {
            assert_eq!(BankAccountName::parse(name).unwrap().expose(), name);
        }
        for wrong in ["", "王", "a\nb"] {
            assert!(BankAccountName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
