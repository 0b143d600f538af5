use chrono::{DateTime, Duration, Utc};

/// How many codes are sent. Those of a number are at or below the provider's own limits.
#[derive(Clone, Copy, Debug)]
pub struct SendLimits {
    /// To one number in a minute.
    pub number_a_minute: usize,
    /// To one number in an hour.
    pub number_an_hour: usize,
    /// To one number in any 24 hours.
    pub number_a_day: usize,
    /// For one client address in an hour.
    pub address_an_hour: i64,
    /// By everybody together in a minute: what may be spent on messages.
    pub everybody_a_minute: i64,
}

/// What was sent before.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// To the number in the last 24 hours.
    pub to_number: Vec<DateTime<Utc>>,
    /// For the address in the last hour.
    pub for_address: i64,
    /// By everybody in the last minute.
    pub by_everybody: i64,
}

/// A limit is reached; try again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub Duration);

impl SendLimits {
    /// Whether one more may be sent now.
    pub fn check(&self, sent: &Sent, now: DateTime<Utc>) -> Result<(), TooMany> {
        for (limit, window) in [
            (self.number_a_minute, Duration::minutes(1)),
            (self.number_an_hour, Duration::hours(1)),
            (self.number_a_day, Duration::hours(24)),
        ] {
            let mut within: Vec<_> = sent
                .to_number
                .iter()
                .filter(|at| now - **at < window)
                .collect();
            within.sort();
            if within.len() >= limit {
                // When enough of them have left the window.
                let first = within[within.len() - limit];
                return Err(TooMany(*first + window - now));
            }
        }
        if sent.for_address >= self.address_an_hour {
            return Err(TooMany(Duration::hours(1)));
        }
        if sent.by_everybody >= self.everybody_a_minute {
            return Err(TooMany(Duration::minutes(1)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SendLimits = SendLimits {
        number_a_minute: 1,
        number_an_hour: 5,
        number_a_day: 10,
        address_an_hour: 20,
        everybody_a_minute: 100,
    };

    #[test]
    fn whoever_asks_as_often_as_possible_gets_what_the_limits_say() {
        let start = DateTime::UNIX_EPOCH;
        let mut sent = Sent::default();
        let mut now = start;
        while now < start + Duration::hours(48) {
            if LIMITS.check(&sent, now).is_ok() {
                sent.to_number.push(now);
            }
            now += Duration::seconds(10);
        }
        for (window, limit) in [
            (Duration::minutes(1), 1),
            (Duration::hours(1), 5),
            (Duration::hours(24), 10),
        ] {
            for from in &sent.to_number {
                let within = sent
                    .to_number
                    .iter()
                    .filter(|at| **at >= *from && **at < *from + window);
                assert!(within.count() <= limit, "{window}");
            }
        }
        assert_eq!(sent.to_number.len(), 20, "ten a day, not fewer");
    }

    #[test]
    fn a_refusal_says_when_it_ends() {
        let now = DateTime::UNIX_EPOCH + Duration::days(1);
        let sent = Sent {
            to_number: vec![now - Duration::seconds(20)],
            ..Sent::default()
        };
        let Err(TooMany(wait)) = LIMITS.check(&sent, now) else {
            panic!("it may be sent")
        };
        assert_eq!(wait, Duration::seconds(40));
        assert_eq!(LIMITS.check(&sent, now + wait), Ok(()));
    }

    #[test]
    fn addresses_and_everybody_have_limits_of_their_own() {
        let now = DateTime::UNIX_EPOCH;
        let many = Sent {
            for_address: 20,
            ..Sent::default()
        };
        assert!(LIMITS.check(&many, now).is_err());
        let flood = Sent {
            by_everybody: 100,
            ..Sent::default()
        };
        assert!(LIMITS.check(&flood, now).is_err());
    }
}
