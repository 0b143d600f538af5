//! Which replica of several gets a call that should go where others like it went.
//!
//! Each replica has a rank for each kind of call, by a hash of both (rendezvous hashing): the first in
//! that order gets it. A replica that goes away leaves its calls to the next in their orders, and
//! nobody else's calls move. None gets much more than the mean of the last minute: beyond, the next
//! in order gets the call. One that has just joined gets its kinds of calls one after the other.

use std::time::Duration;

/// How often a replica may get the mean.
const BOUND: f64 = 1.25;
/// Calls that are no load: below, nothing is gained by moving one.
const SLACK: f64 = 8.0;
/// How fast calls are forgotten.
const RECENT: Duration = Duration::from_secs(60);
/// A replica that has just joined gets its share little by little, over so long.
const WARM_UP: Duration = Duration::from_secs(30);

/// Calls that carry the same one go to the same replica, as far as that has not too many. It travels
/// as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity(pub u64);

/// What counts of a replica.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// A hash of its name; every caller has the same.
    pub name: u64,
    /// Calls that it got, those of long ago nearly forgotten.
    pub recent: f64,
    /// Since it could be reached.
    pub joined: Duration,
}

/// Calls that are forgotten as time goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recent {
    calls: f64,
    at: Duration,
}

impl Affinity {
    /// The best of these replicas; none of none.
    #[must_use]
    pub fn choose(self, candidates: &[Candidate]) -> Option<usize> {
        let oldest = candidates.iter().map(|candidate| candidate.joined).max()?;
        let all: f64 = candidates.iter().map(|candidate| candidate.recent).sum();
        // Who was here for half of the time that counts has half of the calls that it would have.
        let counted = oldest.min(2 * RECENT);
        let here: f64 = candidates
            .iter()
            .map(|candidate| share(candidate.joined, counted))
            .sum();
        let most = BOUND * (all + 1.0) / here + SLACK;
        let fill = |n: &usize| (candidates[*n].recent + 1.0) / most;
        let rank = |n: &usize| mixed(self.0 ^ candidates[*n].name);
        // The kinds that a new replica gets already. One that it has stays with it.
        let warm = |n: &usize| {
            let turn = mixed(rank(n)) as f64 / u64::MAX as f64;
            // All that joined together are equally new: then nobody is.
            turn <= share(candidates[*n].joined, oldest.min(WARM_UP))
        };
        let all = || 0..candidates.len();
        let best = all().filter(|n| fill(n) <= 1.0 && warm(n)).max_by_key(rank);
        best.or_else(|| all().min_by(|a, b| fill(a).total_cmp(&fill(b))))
    }
}

/// How much of a time has passed.
fn share(passed: Duration, whole: Duration) -> f64 {
    match whole {
        Duration::ZERO => 1.0,
        whole => (passed.as_secs_f64() / whole.as_secs_f64()).min(1.0),
    }
}

impl Recent {
    /// One more call, at a time since any fixed moment.
    pub fn count(&mut self, now: Duration) {
        *self = Self {
            calls: self.at(now) + 1.0,
            at: self.at.max(now),
        };
    }

    /// The calls, as of now.
    #[must_use]
    pub fn at(&self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.calls * (-passed / RECENT.as_secs_f64()).exp()
    }
}

/// A hash of some bytes that is the same in every process and every version.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(bytes.len() as u64, |hash, word| {
        mixed(hash.rotate_left(29) ^ word)
    })
}

/// Every bit of the input changes about half of the output's (the finisher of SplitMix64).
const fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn replicas(count: u64) -> Vec<Candidate> {
        (0..count)
            .map(|n| Candidate {
                name: stable_hash(format!("10.0.0.{n}:7100").as_bytes()),
                recent: 0.0,
                joined: LONG,
            })
            .collect()
    }

    fn keys(count: u64) -> impl Iterator<Item = Affinity> {
        (0..count).map(|n| Affinity(stable_hash(&n.to_le_bytes())))
    }

    #[test]
    fn what_is_alike_goes_to_one_replica_and_all_get_their_share() {
        let replicas = replicas(4);
        let mut got = [0; 4];
        for key in keys(4000) {
            let chosen = key.choose(&replicas).unwrap();
            assert_eq!(key.choose(&replicas), Some(chosen));
            got[chosen] += 1;
        }
        assert!(
            got.iter().all(|count| (900..1100).contains(count)),
            "{got:?}"
        );
        assert_eq!(Affinity(1).choose(&[]), None);
    }

    #[test]
    fn only_the_calls_of_a_lost_replica_move() {
        let all = replicas(4);
        let less = &all[..3];
        for key in keys(1000) {
            let before = key.choose(&all).unwrap();
            let after = key.choose(less).unwrap();
            assert!(before == 3 || before == after);
        }
    }

    #[test]
    fn nobody_gets_much_more_than_the_mean() {
        let mut replicas = replicas(3);
        // One prompt that everybody sends.
        for _ in 0..3000 {
            let chosen = Affinity(7).choose(&replicas).unwrap();
            replicas[chosen].recent += 1.0;
        }
        let most = replicas.iter().map(|r| r.recent).fold(0.0, f64::max);
        assert!(most <= 1000.0 * BOUND + SLACK + 1.0, "{most}");
        // Where there are few calls they stay together.
        let mut replicas = self::replicas(3);
        for _ in 0..8 {
            let chosen = Affinity(7).choose(&replicas).unwrap();
            replicas[chosen].recent += 1.0;
        }
        assert!(replicas.iter().any(|replica| replica.recent == 8.0));
    }

    #[test]
    fn who_has_just_joined_gets_its_share_little_by_little() {
        let share = |joined: Duration| {
            let mut replicas = replicas(2);
            replicas[1].joined = joined;
            for key in keys(1000) {
                let chosen = key.choose(&replicas).unwrap();
                replicas[chosen].recent += 1.0;
            }
            replicas[1].recent / 1000.0
        };
        assert_eq!(share(Duration::ZERO), 0.0);
        let early = share(Duration::from_secs(3));
        assert!(early > 0.02 && early < 0.2, "{early}");
        assert!(share(WARM_UP) > 0.4);
    }

    #[test]
    fn who_begins_with_all_replicas_uses_all() {
        let mut replicas = replicas(2);
        replicas
            .iter_mut()
            .for_each(|r| r.joined = Duration::from_millis(3));
        let firsts = keys(100).filter(|key| key.choose(&replicas) == Some(0));
        assert!((30..70).contains(&firsts.count()));
    }

    #[test]
    fn calls_are_forgotten() {
        let mut recent = Recent::default();
        for second in 0..100 {
            recent.count(Duration::from_secs(second));
        }
        let now = recent.at(Duration::from_secs(99));
        assert!(now > 40.0 && now < 60.0, "{now}");
        assert!(recent.at(Duration::from_secs(99 + 600)) < 0.01);
    }

    #[test]
    fn the_hash_is_the_same_for_ever() {
        // Worked out apart from this code: an edge of another version must say the same.
        let known: [(&[u8], u64); 4] = [
            (b"", 0),
            (b"a", 0xa78e_529b_e5c7_7941),
            (b"10.0.0.7:7100", 0xf723_6b55_4674_1984),
            ("你好，请回答".as_bytes(), 0xbe3b_881c_32c6_6266),
        ];
        for (bytes, hash) in known {
            assert_eq!(stable_hash(bytes), hash, "{bytes:?}");
        }
        assert_ne!(stable_hash(b"a"), stable_hash(b"a\0"));
    }
}
