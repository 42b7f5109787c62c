//! How long to wait before the next try: soon at first, then doubling, spread so that clients do not come as a herd.

use std::time::Duration;

const FIRST_MS: u64 = 20;
const CAP_MS: u64 = 2_000;

/// Counts tries in a row that came to nothing.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// It worked: the next failure is a first one again.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// The pause before the next try; `random` spreads it over its upper half.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let full = FIRST_MS.saturating_mul(1 << self.tries.min(16)).min(CAP_MS);
        self.tries = self.tries.saturating_add(1);
        Duration::from_millis(full / 2 + random % (full / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_again_after_success() {
        let mut backoff = Backoff::default();
        let most = |pauses: Vec<Duration>| pauses.iter().map(Duration::as_millis).collect::<Vec<_>>();
        let pauses = (0..9).map(|_| backoff.next(u64::MAX / 2)).collect();
        for (at, millis) in most(pauses).into_iter().enumerate() {
            let full = u128::from((FIRST_MS << at).min(CAP_MS));
            assert!((full / 2..=full).contains(&millis), "try {at} waits {millis} ms");
        }
        backoff.reset();
        assert!(backoff.next(7) <= Duration::from_millis(FIRST_MS));
    }

    #[test]
    fn a_million_failures_do_not_overflow() {
        let mut backoff = Backoff { tries: u32::MAX };
        assert!(backoff.next(u64::MAX) <= Duration::from_millis(CAP_MS));
    }
}
