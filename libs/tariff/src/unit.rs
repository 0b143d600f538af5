use serde::{Deserialize, Serialize};

/// What calls are metered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A token of the prompt.
    InputToken,
    /// A token of the answer.
    OutputToken,
    /// A token of the prompt that the engine had in its cache.
    CachedInputToken,
    /// A token that the model reasoned with.
    ReasoningToken,
    /// A token of sound in the prompt.
    AudioInputToken,
    /// A token of sound in the answer.
    AudioOutputToken,
    /// A token of a picture in the prompt.
    ImageInputToken,
    /// A second of sound.
    AudioSecond,
    /// A page that was read.
    Page,
    /// A picture that was made or looked at.
    Image,
    /// The call itself.
    Call,
}

impl Unit {
    /// Every unit, in the order of the contract.
    pub const ALL: [Self; 11] = [
        Self::InputToken,
        Self::OutputToken,
        Self::CachedInputToken,
        Self::ReasoningToken,
        Self::AudioInputToken,
        Self::AudioOutputToken,
        Self::ImageInputToken,
        Self::AudioSecond,
        Self::Page,
        Self::Image,
        Self::Call,
    ];

    /// As tables and files name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InputToken => "input_token",
            Self::OutputToken => "output_token",
            Self::CachedInputToken => "cached_input_token",
            Self::ReasoningToken => "reasoning_token",
            Self::AudioInputToken => "audio_input_token",
            Self::AudioOutputToken => "audio_output_token",
            Self::ImageInputToken => "image_input_token",
            Self::AudioSecond => "audio_second",
            Self::Page => "page",
            Self::Image => "image",
            Self::Call => "call",
        }
    }

    /// From that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == name)
    }

    /// As the contract numbers it (`wanwu.billing.v1.Unit`).
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32 + 1
    }

    /// From that number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.number() == number)
    }

    /// What it is a part of: a token of this kind is one of those too.
    #[must_use]
    pub const fn whole(self) -> Option<Self> {
        match self {
            Self::CachedInputToken | Self::AudioInputToken | Self::ImageInputToken => {
                Some(Self::InputToken)
            }
            Self::ReasoningToken | Self::AudioOutputToken => Some(Self::OutputToken),
            _ => None,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_found_by_its_name_and_its_number() {
        for (at, unit) in Unit::ALL.into_iter().enumerate() {
            assert_eq!(unit.index(), at);
            assert_eq!(Unit::from_name(unit.as_str()), Some(unit));
            assert_eq!(Unit::from_number(unit.number()), Some(unit));
            let json = serde_json::to_value(unit).unwrap();
            assert_eq!(json, unit.as_str());
        }
        assert_eq!(Unit::from_number(0), None);
        assert_eq!(Unit::from_name("token"), None);
    }
}
