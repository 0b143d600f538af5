//! Why answers end, in the words of OpenAI, which OpenTelemetry's conventions take over. A word that nobody
//! knows is not kept: what an engine makes up could be anything.

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// It was complete.
    Stop,
    /// It had its limit's length.
    Length,
    /// The model wants tools to be called.
    ToolCalls,
    /// The same, in older words.
    FunctionCall,
    /// A filter stopped it.
    ContentFilter,
    /// The engine gave it up.
    Abort,
    /// It ended without a reason.
    Error,
    /// Something else.
    Other,
}

/// The most answers of a call whose reasons are kept.
const MOST: usize = 16;

/// Why the answers of a call ended, by their index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinishReasons([Option<FinishReason>; MOST]);

impl FinishReason {
    /// Reads the word of an engine.
    #[must_use]
    pub fn read(word: &str) -> Self {
        match word {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" => Self::ToolCalls,
            "function_call" => Self::FunctionCall,
            "content_filter" => Self::ContentFilter,
            "abort" => Self::Abort,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }

    /// As traces show it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::FunctionCall => "function_call",
            Self::ContentFilter => "content_filter",
            Self::Abort => "abort",
            Self::Error => "error",
            Self::Other => "other",
        }
    }
}

impl FinishReasons {
    /// All for the same reason.
    #[must_use]
    pub const fn all(reason: FinishReason) -> Self {
        Self([Some(reason); MOST])
    }

    /// The answer with this index ended.
    pub fn ended(&mut self, index: u32, reason: FinishReason) {
        if let Some(of_answer) = self.0.get_mut(index as usize) {
            *of_answer = Some(reason);
        }
    }

    /// The words of so many answers, the first 16 at most, in their order. One that has no reason did not
    /// come to its end.
    pub fn words(self, answers: u64) -> impl Iterator<Item = &'static str> {
        let answers = usize::try_from(answers).unwrap_or(MOST);
        let reasons = self.0.into_iter().take(answers);
        reasons.map(|reason| reason.unwrap_or(FinishReason::Error).word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_reason_in_its_place_and_what_did_not_end_is_an_error() {
        let mut reasons = FinishReasons::default();
        reasons.ended(2, FinishReason::read("length"));
        reasons.ended(0, FinishReason::read("stop"));
        reasons.ended(u32::MAX, FinishReason::Stop);
        let words: Vec<_> = reasons.words(3).collect();
        assert_eq!(words, ["stop", "error", "length"]);
        assert_eq!(reasons.words(0).count(), 0);
        assert_eq!(reasons.words(u64::MAX).count(), MOST);
    }

    #[test]
    fn a_word_of_ours_is_read_again_and_another_one_is_not_kept() {
        use FinishReason::{
            Abort, ContentFilter, Error, FunctionCall, Length, Other, Stop, ToolCalls,
        };
        for reason in [
            Stop,
            Length,
            ToolCalls,
            FunctionCall,
            ContentFilter,
            Abort,
            Error,
        ] {
            assert_eq!(FinishReason::read(reason.word()), reason);
        }
        assert_eq!(FinishReason::read("call me at 13800138000"), Other);
    }
}
