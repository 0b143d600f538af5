//! What an enterprise may say with our brand (obligations T11.1a, T11.3a, T11.3b).

use chrono::{DateTime, Utc};

use super::working_days::{self, Term};

/// Working days within which an application is answered.
const ANSWER_WITHIN: u32 = 7;
/// What follows the name in the one phrase that may be used.
const PHRASE: &str = "技术由世纪互联提供";
/// Names of the brand, in lower case: they stand nowhere outside of the phrase.
const TERMS: [&str; 4] = ["世纪互联", "21vianet", "vnet", "centuryinternet"];

/// The subject of an application's mail: "企业名称+品牌授权申请".
#[must_use]
pub fn subject(enterprise: &str) -> String {
    format!("{enterprise}+品牌授权申请")
}

/// The phrase of a registered name.
#[must_use]
pub fn phrase(name: &str) -> String {
    format!("{name}{PHRASE}")
}

/// By when an application is answered.
#[must_use]
pub fn due(applied_at: DateTime<Utc>) -> Term {
    working_days::after(applied_at, ANSWER_WITHIN)
}

/// Why a text may not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The phrase is not in it.
    Absent,
    /// The phrase is in it, with something between its characters, or with another name.
    Split,
    /// A name of the brand stands outside of the phrase.
    Term(&'static str),
}

/// Whether a text uses the brand as the authorisation of this name allows: the whole phrase, unsplit, at
/// least once, and the brand nowhere else.
pub fn check(text: &str, name: &str) -> Result<(), Misuse> {
    let phrase = phrase(name);
    // Between the parts stands a character that is in no term, so that none comes about by cutting.
    let rest = text.replace(&phrase, "\u{0}");
    let used = rest.len() != text.len();
    let joined = joined(&rest);
    if joined.contains(PHRASE) {
        return Err(Misuse::Split);
    }
    if let Some(term) = TERMS.into_iter().find(|term| joined.contains(term)) {
        return Err(Misuse::Term(term));
    }
    if used { Ok(()) } else { Err(Misuse::Absent) }
}

/// The letters and digits of a text in lower case: what stands between them hides nothing. The cut stays.
fn joined(text: &str) -> String {
    let kept = text
        .chars()
        .filter(|character| character.is_alphanumeric() || *character == '\u{0}');
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_phrase_of_the_registered_name_may_be_used() {
        for sound in [
            "灵犀技术由世纪互联提供",
            "本产品：灵犀技术由世纪互联提供。灵犀技术由世纪互联提供！",
        ] {
            assert_eq!(check(sound, "灵犀"), Ok(()), "{sound}");
        }
        for (text, misuse) in [
            ("", Misuse::Absent),
            ("灵犀", Misuse::Absent),
            ("技术由世纪互联提供", Misuse::Split),
            ("天问技术由世纪互联提供", Misuse::Split),
            ("灵犀 技术由世纪互联提供", Misuse::Split),
            ("灵犀技术由\n世纪互联提供", Misuse::Split),
            ("灵犀技术由世纪\u{200b}互联提供", Misuse::Split),
            ("灵犀技术，由世纪互联提供", Misuse::Split),
            ("灵犀由世纪互联提供技术", Misuse::Term("世纪互联")),
            (
                "灵犀技术由世纪互联提供，世纪互联官方合作",
                Misuse::Term("世纪互联"),
            ),
            ("灵犀技术由世纪互联提供 by V-NET", Misuse::Term("vnet")),
            ("灵犀技术由世纪互联提供 21Vianet", Misuse::Term("21vianet")),
        ] {
            assert_eq!(check(text, "灵犀"), Err(misuse), "{text}");
        }
    }

    #[test]
    fn cutting_the_phrase_out_makes_no_term_of_what_is_around() {
        assert_eq!(check("世纪灵犀技术由世纪互联提供互联", "灵犀"), Ok(()));
    }

    #[test]
    fn the_subject_has_the_agreed_form() {
        assert_eq!(subject("某某科技有限公司"), "某某科技有限公司+品牌授权申请");
    }
}
