use crate::{Class, Personal};

/// Every device of a faulty Android 2.2 build has this one.
const SHARED_ANDROID_ID: &str = "9774d56d682e549c";

/// Marks identifiers of devices.
#[derive(Debug)]
pub enum DevicesIdentifier {}

impl Class for DevicesIdentifier {
    const NAME: &'static str = "device identifier";
}

/// A raw identifier of a device. It is never kept: only a keyed pseudonym of it is.
pub type DeviceIdentifier = Personal<DevicesIdentifier>;

/// What kind of identifier it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceIdentifierKind {
    /// Open Anonymous Device Identifier of the Mobile Security Alliance; vendors differ in form.
    Oaid,
    /// `Settings.Secure.ANDROID_ID`: 64 bits in hexadecimal.
    AndroidId,
}

/// Why it is not an identifier. The texts do not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeviceIdentifier {
    /// The form is another.
    #[error("not an identifier of that kind")]
    Form,
    /// Only zeros: the user does not allow to be recognised.
    #[error("the identifier is blank: the user limits tracking")]
    Blank,
    /// Many devices have this one.
    #[error("the identifier does not tell devices apart")]
    Shared,
}

impl DeviceIdentifier {
    /// Reads an identifier: an OAID is 16 to 64 letters, digits and hyphens; an AndroidID is 16
    /// hexadecimal digits, kept in lower case.
    ///
    /// # Errors
    /// When the form is another, it is all zeros, or it is known to be shared.
    pub fn parse(kind: DeviceIdentifierKind, text: &str) -> Result<Self, InvalidDeviceIdentifier> {
        let text = match kind {
            DeviceIdentifierKind::Oaid => oaid(text)?.to_owned(),
            DeviceIdentifierKind::AndroidId => android_id(text)?,
        };
        if text.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
            return Err(InvalidDeviceIdentifier::Blank);
        }
        Ok(Self::new(text))
    }
}

fn oaid(text: &str) -> Result<&str, InvalidDeviceIdentifier> {
    let sound = (16..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if sound {
        Ok(text)
    } else {
        Err(InvalidDeviceIdentifier::Form)
    }
}

fn android_id(text: &str) -> Result<String, InvalidDeviceIdentifier> {
    if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(InvalidDeviceIdentifier::Form);
    }
    let text = text.to_ascii_lowercase();
    if text == SHARED_ANDROID_ID {
        Err(InvalidDeviceIdentifier::Shared)
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use DeviceIdentifierKind::{AndroidId, Oaid};
    use InvalidDeviceIdentifier::{Blank, Form, Shared};

    use super::*;

    #[test]
    fn forms_are_told_apart() {
        let cases = [
            (Oaid, "1fe9a970-efbb-29e0-0bdd-f5dbbf751ab5", Ok(())),
            (Oaid, "b12f6c8aa1bbcd2e", Ok(())),
            (Oaid, "00000000-0000-0000-0000-000000000000", Err(Blank)),
            (Oaid, "00000000000000000000000000000000", Err(Blank)),
            (Oaid, "short", Err(Form)),
            (Oaid, "1fe9a970_efbb_29e0", Err(Form)),
            (AndroidId, "A1B2C3D4E5F60718", Ok(())),
            (AndroidId, "a1b2c3d4e5f6071", Err(Form)),
            (AndroidId, "g1b2c3d4e5f60718", Err(Form)),
            (AndroidId, "0000000000000000", Err(Blank)),
            (AndroidId, "9774D56D682E549C", Err(Shared)),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(
                DeviceIdentifier::parse(kind, text).map(drop),
                expected,
                "{text}"
            );
        }
        assert!(DeviceIdentifier::parse(Oaid, &"a".repeat(65)).is_err());
    }

    #[test]
    fn an_android_id_has_one_form() {
        let upper = DeviceIdentifier::parse(AndroidId, "A1B2C3D4E5F60718").unwrap();
        assert_eq!(
            upper,
            DeviceIdentifier::parse(AndroidId, "a1b2c3d4e5f60718").unwrap()
        );
        assert_eq!(format!("{upper:?}"), "[device identifier]");
    }
}
