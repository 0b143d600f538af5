use std::time::Duration;

use super::Load;

/// A load in four figures.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The median of the whole time.
    pub p50: Duration,
    /// Its 99th percentile.
    pub p99: Duration,
    /// Requests a second.
    pub rate: f64,
    /// Requests.
    pub count: usize,
}

impl Summary {
    /// Of all samples of some rounds; the rate is over the time of all rounds.
    #[must_use]
    pub fn of(rounds: &[Load]) -> Self {
        let mut times: Vec<_> = rounds
            .iter()
            .flat_map(|round| round.samples.iter().map(|sample| sample.whole))
            .collect();
        let elapsed: Duration = rounds.iter().map(|round| round.elapsed).sum();
        Self {
            p50: quantile(&mut times, 0.5),
            p99: quantile(&mut times, 0.99),
            rate: times.len() as f64 / elapsed.as_secs_f64().max(1e-9),
            count: times.len(),
        }
    }
}

/// A quantile by the nearest rank; zero of nothing. Sorts what it is given.
#[must_use]
pub fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let rank = (times.len() as f64 * share).ceil() as usize;
    times
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&mut times, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&mut times, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&mut times, 1.0), Duration::from_millis(100));
        assert_eq!(quantile(&mut [], 0.5), Duration::ZERO);
    }
}
