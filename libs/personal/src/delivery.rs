use crate::{Class, Personal, text::plain};

/// Marks names of recipients.
#[derive(Debug)]
pub enum RecipientsName {}

impl Class for RecipientsName {
    const NAME: &'static str = "recipient";
}

/// Who receives a delivery, a person or an enterprise.
pub type RecipientName = Personal<RecipientsName>;

/// Marks postal addresses.
#[derive(Debug)]
pub enum PostalAddresses {}

impl Class for PostalAddresses {
    const NAME: &'static str = "address";
}

/// A postal address in one line.
pub type PostalAddress = Personal<PostalAddresses>;

/// Marks addresses of electronic mail.
#[derive(Debug)]
pub enum EmailAddresses {}

impl Class for EmailAddresses {
    const NAME: &'static str = "email";
}

/// An address of electronic mail.
pub type EmailAddress = Personal<EmailAddresses>;

/// It is not a recipient, an address or an address of mail. The text does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not one that something can be sent to")]
pub struct InvalidDelivery;

impl RecipientName {
    /// Reads a name of 2 to 50 characters.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidDelivery> {
        plain(text, 2..=50).map(Self::new).ok_or(InvalidDelivery)
    }

    /// What may be shown: the first character.
    #[must_use]
    pub fn masked(&self) -> String {
        self.expose().chars().take(1).chain("**".chars()).collect()
    }
}

impl PostalAddress {
    /// Reads an address of 5 to 200 characters.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidDelivery> {
        plain(text, 5..=200).map(Self::new).ok_or(InvalidDelivery)
    }

    /// What may be shown: the first three characters, a province as a rule.
    #[must_use]
    pub fn masked(&self) -> String {
        self.expose()
            .chars()
            .take(3)
            .chain("****".chars())
            .collect()
    }
}

impl EmailAddress {
    /// Reads an address of at most 254 printable ASCII characters, with one `@` and a dot after it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidDelivery> {
        let text = text.trim();
        let parts = text.split_once('@').ok_or(InvalidDelivery)?;
        let sound = text.len() <= 254
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && !parts.0.is_empty()
            && parts.1.split('.').count() > 1
            && parts.1.split('.').all(|label| !label.is_empty())
            && !parts.1.contains('@');
        if sound {
            Ok(Self::new(text.to_owned()))
        } else {
            Err(InvalidDelivery)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_and_addresses_are_shown_only_a_little() {
        let name = RecipientName::parse(" 王小明 ").unwrap();
        assert_eq!((name.expose(), name.masked().as_str()), ("王小明", "王**"));
        let address = PostalAddress::parse("福建省厦门市思明区某路1号").unwrap();
        assert_eq!(address.masked(), "福建省****");
        assert_eq!(format!("{name:?} {address:?}"), "[recipient] [address]");
        for wrong in ["", "王", "王\n明", &"王".repeat(51)] {
            assert!(RecipientName::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "厦门市", &"厦".repeat(201), "厦门市\0思明区"] {
            assert!(PostalAddress::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_mail_have_a_place_and_a_domain() {
        for good in ["a@b.cn", "finance+1@mail.example.com.cn"] {
            assert_eq!(EmailAddress::parse(good).unwrap().expose(), good);
        }
        for wrong in [
            "", "a", "@b.cn", "a@b", "a@b..cn", "a@@b.cn", "a b@c.cn", "王@b.cn",
        ] {
            assert!(EmailAddress::parse(wrong).is_err(), "{wrong}");
        }
    }
}
