//! What a call used, and what that costs.

/// Prices of one model, in 10^-9 CNY a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// The price list that they come from.
    pub version: i32,
    /// A token of the prompt.
    pub input: i64,
    /// A token of the answer.
    pub output: i64,
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
}

/// Where the counts of a bill come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The engine said so.
    Engine,
    /// The last progress before the router was killed.
    Progress,
    /// Chunks counted by the router, because the engine did not say.
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
    /// What tokens cost, in 10^-9 CNY; saturates.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> i64 {
        let part = |price: i64, units: u64| i128::from(price.max(0)) * i128::from(units);
        let sum = part(self.input, tokens.input).saturating_add(part(self.output, tokens.output));
        i64::try_from(sum).unwrap_or(i64::MAX)
    }
}

impl Tokens {
    /// At most `bound`, each: a bill never exceeds its hold.
    #[must_use]
    pub fn within(self, bound: Self) -> Self {
        Self {
            input: self.input.min(bound.input),
            output: self.output.min(bound.output),
        }
    }
}

impl Source {
    /// As events and rows name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Progress => "progress",
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
        let prices = Prices {
            version: 1,
            input: 500,
            output: 2_000,
        };
        assert_eq!(
            prices.cost(Tokens {
                input: 3,
                output: 2
            }),
            5_500
        );
        assert_eq!(
            prices.cost(Tokens {
                input: u64::MAX,
                output: u64::MAX
            }),
            i64::MAX
        );
        assert_eq!(prices.cost(Tokens::default()), 0);
    }

    #[test]
    fn a_bill_stays_within_its_bound() {
        let bound = Tokens {
            input: 5,
            output: 7,
        };
        let billed = Tokens {
            input: 9,
            output: 2,
        }
        .within(bound);
        assert_eq!(
            billed,
            Tokens {
                input: 5,
                output: 2
            }
        );
    }
}
