use crate::Unit;

/// How many of each unit. Input and output tokens are totals; the parts are parts of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Unit::ALL.len()]);

/// The parts of a whole are more than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parts of {} are more than it", .0.as_str())]
pub struct Excess(pub Unit);

impl Counts {
    /// Tokens of a prompt and of an answer.
    #[must_use]
    pub fn tokens(input: u64, output: u64) -> Self {
        Self::default()
            .with(Unit::InputToken, input)
            .with(Unit::OutputToken, output)
    }

    /// The same with so many of a unit.
    #[must_use]
    pub const fn with(mut self, unit: Unit, count: u64) -> Self {
        self.0[unit.index()] = count;
        self
    }

    /// How many of a unit.
    #[must_use]
    pub const fn of(&self, unit: Unit) -> u64 {
        self.0[unit.index()]
    }

    /// Tokens of the prompt.
    #[must_use]
    pub const fn input(&self) -> u64 {
        self.of(Unit::InputToken)
    }

    /// Tokens of the answer.
    #[must_use]
    pub const fn output(&self) -> u64 {
        self.of(Unit::OutputToken)
    }

    /// Nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything but the totals that was counted, in the order of the contract.
    pub fn parts(&self) -> impl Iterator<Item = (Unit, u64)> {
        let counts = *self;
        let parts = Unit::ALL.into_iter().skip(2);
        parts
            .map(move |unit| (unit, counts.of(unit)))
            .filter(|(_, count)| *count > 0)
    }

    /// The same with parts that are at most their wholes together. What is too much is taken from the
    /// parts in the order of the contract, the last first: a token that is cached and of sound counts
    /// as cached.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        for whole in [Unit::InputToken, Unit::OutputToken] {
            let mut left = self.of(whole);
            for part in parts_of(whole) {
                let count = self.of(part).min(left);
                left -= count;
                self = self.with(part, count);
            }
        }
        self
    }

    /// At most so many tokens of prompt and answer, and clamped.
    #[must_use]
    pub fn within(self, input: u64, output: u64) -> Self {
        self.with(Unit::InputToken, self.input().min(input))
            .with(Unit::OutputToken, self.output().min(output))
            .clamped()
    }

    /// Refuses parts that are more than their whole.
    ///
    /// # Errors
    /// [`Excess`] names the whole.
    pub fn checked(self) -> Result<Self, Excess> {
        for whole in [Unit::InputToken, Unit::OutputToken] {
            let sum: u128 = parts_of(whole).map(|part| u128::from(self.of(part))).sum();
            if sum > u128::from(self.of(whole)) {
                return Err(Excess(whole));
            }
        }
        Ok(self)
    }

    /// What of a whole is none of its parts; of anything else, all.
    #[must_use]
    pub(crate) fn own(&self, unit: Unit) -> u64 {
        parts_of(unit).fold(self.of(unit), |left, part| {
            left.saturating_sub(self.of(part))
        })
    }
}

fn parts_of(whole: Unit) -> impl Iterator<Item = Unit> {
    Unit::ALL
        .into_iter()
        .filter(move |unit| unit.whole() == Some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_too_many_are_cut_and_the_cached_ones_last() {
        let counts = Counts::tokens(100, 10)
            .with(Unit::CachedInputToken, 80)
            .with(Unit::AudioInputToken, 30)
            .with(Unit::ImageInputToken, 5)
            .with(Unit::ReasoningToken, 99)
            .with(Unit::Page, 7);
        assert_eq!(counts.checked(), Err(Excess(Unit::InputToken)));
        let clamped = counts.clamped();
        let parts: Vec<_> = clamped.parts().collect();
        assert_eq!(
            parts,
            [
                (Unit::CachedInputToken, 80),
                (Unit::ReasoningToken, 10),
                (Unit::AudioInputToken, 20),
                (Unit::Page, 7),
            ]
        );
        assert_eq!(clamped.checked(), Ok(clamped));
        let less = clamped.within(50, 10);
        assert_eq!((less.input(), less.of(Unit::CachedInputToken)), (50, 50));
        assert_eq!(less.of(Unit::AudioInputToken), 0);
    }
}
