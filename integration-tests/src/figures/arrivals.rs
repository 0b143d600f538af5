//! When calls come, as they come in real load: those of Azure's trace of conversations (Azure/AzurePublicDataset,
//! CC-BY 4.0), of which `traces/` has the first 7,200.
//!
//! `WANWU_ARRIVALS` names another trace in the form of that one, with a heading and a line a call, its time first:
//! `2023-11-16 18:15:46.6805900,374,44`. Only the times count.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use chrono::NaiveDateTime;

/// The copy: pauses between calls, in milliseconds.
const PACKED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/traces/azure_conversation_arrivals.txt"
);
const FORM: &str = "%Y-%m-%d %H:%M:%S%.f";

/// The times of calls since the first.
#[derive(Clone, Debug)]
pub(super) struct Arrivals(Vec<Duration>);

impl Arrivals {
    /// Those of the file that is named, or else of the copy.
    pub(super) fn real() -> anyhow::Result<Self> {
        match std::env::var_os("WANWU_ARRIVALS") {
            Some(path) => Self::read(&text(Path::new(&path))?),
            None => Self::unpacked(&text(Path::new(PACKED))?),
        }
    }

    fn unpacked(text: &str) -> anyhow::Result<Self> {
        let (mut times, mut time) = (vec![Duration::ZERO], Duration::ZERO);
        for pause in text.split_whitespace() {
            let pause = pause.parse::<u64>().context("a pause is no number")?;
            time += Duration::from_millis(pause);
            times.push(time);
        }
        ensure!(times.len() > 1, "there are no pauses");
        Ok(Self(times))
    }

    fn read(text: &str) -> anyhow::Result<Self> {
        let mut times = Vec::new();
        for line in text.lines().skip(1) {
            let time = line.split(',').next().unwrap_or_default();
            let time = NaiveDateTime::parse_from_str(time, FORM);
            times.push(time.with_context(|| format!("{line:?} does not begin with a time"))?);
        }
        ensure!(times.len() > 1, "there are no times");
        ensure!(times.is_sorted(), "the times are in no order");
        let since = times.iter().map(|time| (*time - times[0]).to_std());
        Ok(Self(since.collect::<Result<_, _>>()?))
    }

    /// When `rate` calls a second come for so long: as in one of so many parts of the file, every pause longer
    /// or shorter by the same factor.
    pub(super) fn at(&self, rate: f64, long: Duration, part: usize, parts: usize) -> Vec<Duration> {
        let all = self.0.len();
        let count = ((rate * long.as_secs_f64()).round() as usize).clamp(2, all);
        let from = part * (all - count) / parts;
        let times = &self.0[from..from + count];
        let (first, span) = (times[0], times[count - 1] - times[0]);
        let factor = if span.is_zero() {
            0.0
        } else {
            long.as_secs_f64() / span.as_secs_f64()
        };
        let times = times.iter().map(|time| (*time - first).mul_f64(factor));
        times.collect()
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                        2023-11-16 23:59:58.5000000,374,44\r\n\
                        2023-11-16 23:59:59.0000000,396,109\r\n\
                        2023-11-17 00:00:02.5000000,879,55\r\n\
                        2023-11-17 00:00:03.5000000,91,16";

    #[test]
    fn times_are_read_and_pauses_keep_their_proportions() {
        let arrivals = Arrivals::read(TEXT).unwrap();
        let millis =
            |times: Vec<Duration>| -> Vec<u128> { times.iter().map(Duration::as_millis).collect() };
        assert_eq!(millis(arrivals.0.clone()), [0, 500, 4_000, 5_000]);
        let four = arrivals.at(0.4, Duration::from_secs(10), 0, 1);
        assert_eq!(millis(four), [0, 1_000, 8_000, 10_000]);
        // The second of two parts.
        let two = arrivals.at(0.2, Duration::from_secs(10), 1, 2);
        assert_eq!(millis(two), [0, 10_000]);
    }

    #[test]
    fn pauses_are_the_same_times_as_the_trace_they_are_of() {
        let packed = Arrivals::unpacked("500 3500\n1000\n").unwrap();
        assert_eq!(packed.0, Arrivals::read(TEXT).unwrap().0);
        for wrong in ["", "\n", "500 x", "-1", "0.5"] {
            assert!(Arrivals::unpacked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_copy_has_enough_calls_for_the_busiest_account_and_they_come_unevenly() {
        let copy = Arrivals::unpacked(&text(Path::new(PACKED)).unwrap()).unwrap();
        assert_eq!(copy.0.len(), 7_200);
        assert_eq!(copy.0.last(), Some(&Duration::from_millis(1_396_581)));
        let long = Duration::from_secs(60);
        let busiest = copy.at(100.0, long, 9, 10);
        assert_eq!(busiest.len(), 6_000);
        let mut seconds = [0; 61];
        for time in busiest {
            seconds[time.as_secs() as usize] += 1;
        }
        let most = seconds.into_iter().max();
        assert!(most > Some(130), "{seconds:?}");
    }

    #[test]
    fn what_is_no_list_of_times_is_refused() {
        for text in ["", "TIMESTAMP\n2023-11-16 23:59:58", "TIMESTAMP\nnow,1,2\n"] {
            assert!(Arrivals::read(text).is_err(), "{text}");
        }
        let turned: Vec<&str> = TEXT.lines().rev().collect();
        let turned = format!("heading\n{}", turned[..4].join("\n"));
        assert!(Arrivals::read(&turned).is_err());
    }
}
