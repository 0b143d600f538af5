use crate::{Class, Personal};

/// Fewest and most characters of a name.
const LENGTH: std::ops::RangeInclusive<usize> = 2..=50;
/// U+00B7, between the parts of a name that is not originally Chinese, as the police write it.
const DOT: char = '·';

/// Marks names of persons.
#[derive(Debug)]
pub enum PersonsName {}

impl Class for PersonsName {
    const NAME: &'static str = "name";
}

/// A name as it stands on a resident identity card: Han characters, parts divided by `·`.
pub type PersonName = Personal<PersonsName>;

/// It is not a name as identity cards have it. The text does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a name as on a resident identity card")]
pub struct InvalidPersonName;

impl PersonName {
    /// Reads a name. White space around it is dropped, and the look-alikes of the dividing dot
    /// become the one that is used.
    ///
    /// # Errors
    /// When it is not 2 to 50 Han characters, with single dots only between them.
    pub fn parse(text: &str) -> Result<Self, InvalidPersonName> {
        // The longest name has 50 characters of at most 4 bytes.
        if text.len() > 400 {
            return Err(InvalidPersonName);
        }
        let name: String = text.trim().chars().map(unify).collect();
        let parts = name.split(DOT);
        let sound = LENGTH.contains(&name.chars().count())
            && parts
                .clone()
                .all(|part| !part.is_empty() && part.chars().all(is_han));
        if sound {
            Ok(Self::new(name))
        } else {
            Err(InvalidPersonName)
        }
    }
}

const fn unify(character: char) -> char {
    match character {
        '•' | '‧' | '・' | '･' | '∙' | '⋅' | '．' => DOT,
        other => other,
    }
}

/// Unified ideographs with all extensions, and the zero that some names are written with.
const fn is_han(character: char) -> bool {
    matches!(character,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}' | '〇')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cards_are_accepted() {
        for name in [
            "王伟",
            "欧阳娜娜",
            "阿卜杜拉·买买提",
            "𠮷田",
            " 李〇 ",
            "古丽•巴哈尔",
        ] {
            assert!(PersonName::parse(name).is_ok(), "{name}");
        }
        assert_eq!(
            PersonName::parse("古丽•巴哈尔").unwrap().expose(),
            "古丽·巴哈尔"
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let long = "王".repeat(51);
        for name in [
            "",
            "王",
            "Wang Wei",
            "王 伟",
            "·王伟",
            "王伟·",
            "王··伟",
            "王伟1",
            &long,
        ] {
            assert_eq!(PersonName::parse(name), Err(InvalidPersonName), "{name}");
        }
    }

    #[test]
    fn it_shows_only_its_class() {
        assert_eq!(
            format!("{:?}", PersonName::parse("王伟").unwrap()),
            "[name]"
        );
    }
}
