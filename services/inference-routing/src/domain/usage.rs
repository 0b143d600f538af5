//! What a call used, and what that costs.

use wanwu_tariff::{Counts, Unit};

/// Prices of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// The price list that they come from.
    pub version: i32,
    /// The tier of the list that the account was in.
    pub tier: i32,
    /// Of each unit.
    pub units: wanwu_tariff::Prices,
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// What is a part of them, and what else is counted.
    pub parts: Counts,
}

/// Where the counts of a bill come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The engine said so.
    Engine,
    /// The last progress before the router was killed.
    Progress,
    /// The model's tokenizer, because the engine did not say.
    Tokenizer,
    /// Chunks and bytes counted by the router, because nothing better was there.
    #[default]
    Estimate,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The engine finished.
    Completed,
    /// The client went away.
    ClientGone,
    /// The engine failed or cut the stream.
    EngineFailed,
    /// The content screen stopped it.
    ContentStopped,
    /// The router was killed.
    Recovered,
}

impl Prices {
    /// A model that charges tokens of prompt and answer alike whatever they are.
    #[must_use]
    pub const fn tokens(version: i32, input: i64, output: i64) -> Self {
        Self {
            version,
            tier: 0,
            units: wanwu_tariff::Prices::tokens(input, output),
        }
    }

    /// What tokens cost, in 10^-9 CNY; saturates. What was counted and has no price is more than
    /// anybody holds: billing refuses it.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> i64 {
        self.units.cost(tokens.counts()).unwrap_or(i64::MAX)
    }

    /// What so many tokens cost at most, whatever they turn out to be; saturates.
    #[must_use]
    pub fn bound(&self, tokens: Tokens) -> i64 {
        let bound = self.units.bound(tokens.input, tokens.output);
        bound.unwrap_or(i64::MAX)
    }

    /// What is charged for what was used: within the bound, and the call itself where calls have a
    /// price; nothing where nothing was used.
    #[must_use]
    pub fn charged(&self, used: Tokens, bound: Tokens) -> Tokens {
        let used = used.within(bound);
        let calls = u64::from(self.units.own(Unit::Call).is_some() && used != Tokens::default());
        Tokens {
            parts: used.parts.with(Unit::Call, calls),
            ..used
        }
    }
}

impl Tokens {
    /// Tokens without parts.
    #[must_use]
    pub fn of(input: u64, output: u64) -> Self {
        Self {
            input,
            output,
            parts: Counts::default(),
        }
    }

    /// From everything that was counted.
    #[must_use]
    pub const fn from_counts(counts: Counts) -> Self {
        Self {
            input: counts.input(),
            output: counts.output(),
            parts: counts.with(Unit::InputToken, 0).with(Unit::OutputToken, 0),
        }
    }

    /// Everything that was counted.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.parts
            .with(Unit::InputToken, self.input)
            .with(Unit::OutputToken, self.output)
    }

    /// At most `bound`, each, and parts at most their wholes: a bill never exceeds its hold.
    #[must_use]
    pub fn within(self, bound: Self) -> Self {
        Self::from_counts(self.counts().within(bound.input, bound.output))
    }
}

impl Source {
    /// As events and rows name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Progress => "progress",
            Self::Tokenizer => "tokenizer",
            Self::Estimate => "estimate",
        }
    }
}

impl Outcome {
    /// As rows and the contract number it; 0 is a call that runs.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Completed => 1,
            Self::ClientGone => 2,
            Self::EngineFailed => 3,
            Self::ContentStopped => 4,
            Self::Recovered => 5,
        }
    }

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientGone => "client_gone",
            Self::EngineFailed => "engine_failed",
            Self::ContentStopped => "content_stopped",
            Self::Recovered => "recovered",
        }
    }
}

/// Tokens of a prompt whose engine did not say: a quarter of the bytes of its messages, rounded
/// up, which is what byte-pair vocabularies make of Chinese and of English text alike.
#[must_use]
pub const fn estimated_input(message_bytes: u64) -> u64 {
    message_bytes.div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_exact_and_saturates() {
        let prices = Prices::tokens(1, 500, 2_000);
        assert_eq!(prices.cost(Tokens::of(3, 2)), 5_500);
        assert_eq!(prices.cost(Tokens::of(u64::MAX, u64::MAX)), i64::MAX);
        assert_eq!(prices.bound(Tokens::of(u64::MAX, u64::MAX)), i64::MAX);
        assert_eq!(prices.cost(Tokens::default()), 0);
    }

    #[test]
    fn a_bill_stays_within_its_bound() {
        let billed = Tokens::of(9, 2).within(Tokens::of(5, 7));
        assert_eq!(billed, Tokens::of(5, 2));
        let mut cached = Tokens::of(9, 2);
        cached.parts = Counts::default()
            .with(Unit::CachedInputToken, 8)
            .with(Unit::ReasoningToken, 3);
        let billed = cached.within(Tokens::of(5, 7));
        assert_eq!((billed.input, billed.output), (5, 2));
        assert_eq!(billed.parts.of(Unit::CachedInputToken), 5);
        assert_eq!(billed.parts.of(Unit::ReasoningToken), 2);
    }

    #[test]
    fn a_call_that_used_something_is_charged_once_where_calls_have_a_price() {
        let mut prices = Prices::tokens(1, 500, 2_000);
        let bound = Tokens::of(10, 10);
        assert_eq!(prices.charged(Tokens::of(3, 2), bound), Tokens::of(3, 2));
        prices.units = prices.units.with(Unit::Call, 7);
        let charged = prices.charged(Tokens::of(3, 2), bound);
        assert_eq!(prices.cost(charged), 5_507);
        let nothing = prices.charged(Tokens::default(), bound);
        assert_eq!(prices.cost(nothing), 0);
        assert!(prices.cost(prices.charged(bound, bound)) <= prices.bound(bound));
    }
}
