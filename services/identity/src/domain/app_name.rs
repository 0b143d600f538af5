//! What an app may be called (obligation T11.2: nobody names an app by our brand; who is authorised
//! says one phrase about an app, which is no name).

/// The longest name, in characters.
const LONGEST: usize = 64;
/// The brand's Chinese name, wherever it stands and whatever stands between its characters.
const NAME: &str = "世纪互联";
/// The brand's Latin names, as whole words in lower case: parts of other words are none.
const WORDS: [&str; 3] = ["vnet", "21vianet", "vianet"];

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidName {
    /// It is empty or too long, or has a control character.
    Length,
    /// It has a name of the brand.
    Brand,
}

impl InvalidName {
    /// What is wrong, for whoever asked.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Length => "must have 1 to 64 characters",
            Self::Brand => "has a name of our brand (不得使用世纪互联品牌名称)",
        }
    }
}

/// The name without what stands around it, if it may be one.
pub fn parse(text: &str) -> Result<&str, InvalidName> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
        return Err(InvalidName::Length);
    }
    let joined: String = name.chars().filter(|it| it.is_alphanumeric()).collect();
    let lower = name.to_lowercase();
    let mut words = lower.split(|it: char| !it.is_ascii_alphanumeric());
    if joined.contains(NAME) || words.any(|word| WORDS.contains(&word)) {
        return Err(InvalidName::Brand);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_not_our_brand() {
        for sound in [
            "灵犀",
            " 灵犀 ",
            "DevNet Monitor",
            "世纪之星",
            "互联助手",
            "x",
        ] {
            assert_eq!(parse(sound), Ok(sound.trim()), "{sound}");
        }
        let long = "长".repeat(65);
        for bad in ["", " ", "a\nb", long.as_str()] {
            assert_eq!(parse(bad), Err(InvalidName::Length), "{bad}");
        }
        for brand in [
            "世纪互联助手",
            "我的世纪 互联",
            "世纪·互联",
            "世纪\u{200b}互联",
            "VNET 客服",
            "vnet-bot",
            "官方VNET",
            "21Vianet Chat",
        ] {
            assert_eq!(parse(brand), Err(InvalidName::Brand), "{brand}");
        }
    }
}
