//! When calls come, as they come in real load.
//!
//! `WANWU_ARRIVALS` names a file with a heading and a line a call, its time first, in the form of Azure's trace of
//! conversations (Azure/AzurePublicDataset, CC-BY 4.0): `2023-11-16 18:15:46.6805900,374,44`. Only the times
//! count. There is no copy of it here.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use chrono::NaiveDateTime;

const FORM: &str = "%Y-%m-%d %H:%M:%S%.f";

/// The times of calls since the first.
#[derive(Clone, Debug)]
pub(super) struct Arrivals(Vec<Duration>);

impl Arrivals {
    /// Those of the file, where one is named.
    pub(super) fn named() -> anyhow::Result<Option<Self>> {
        let Some(path) = std::env::var_os("WANWU_ARRIVALS") else {
            return Ok(None);
        };
        let path = Path::new(&path);
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Some(Self::read(&text)?))
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
    fn what_is_no_list_of_times_is_refused() {
        for text in ["", "TIMESTAMP\n2023-11-16 23:59:58", "TIMESTAMP\nnow,1,2\n"] {
            assert!(Arrivals::read(text).is_err(), "{text}");
        }
        let turned: Vec<&str> = TEXT.lines().rev().collect();
        let turned = format!("heading\n{}", turned[..4].join("\n"));
        assert!(Arrivals::read(&turned).is_err());
    }
}
