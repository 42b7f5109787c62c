//! When a failed attempt is tried again: a pure function of the policy, the retry's number and one drawn number.

use crate::program::{Growth, Jitter, RetryPolicy};

impl RetryPolicy {
    /// What a worker call has that names no policy: 3 attempts, 1 s, doubling, at most 30 s, ±30 %.
    pub fn standard() -> Self {
        Self {
            max_attempts: 3,
            initial_ms: 1_000,
            growth: Growth::Exponential(2.0),
            cap_ms: 30_000,
            jitter: Jitter::Factor(0.3),
            max_duration_ms: None,
            non_retryable: Vec::new(),
        }
    }

    /// Whether retry number `retry_number` (1 is the first) may be made, `elapsed_ms` after the first attempt began.
    pub fn allows(&self, retry_number: u32, elapsed_ms: u64) -> bool {
        (self.max_attempts == 0 || retry_number < self.max_attempts)
            && self.max_duration_ms.is_none_or(|most| elapsed_ms <= most)
    }

    /// How long to wait before retry number `retry_number` (1 is the first), never more than the cap. `unit` is drawn
    /// by the caller from [0, 1) and kept, so that the delay can be derived again.
    pub fn delay_ms(&self, retry_number: u32, unit: f64) -> u64 {
        let retries_before = retry_number.saturating_sub(1);
        let grown = match self.growth {
            Growth::Constant => self.initial_ms,
            Growth::Linear => self.initial_ms.saturating_mul(u64::from(retries_before) + 1),
            Growth::Exponential(factor) => {
                let power = factor.max(1.0).powi(i32::try_from(retries_before).unwrap_or(i32::MAX));
                scaled(self.initial_ms, power)
            }
        };
        let capped = grown.min(self.cap_ms);
        let unit = if unit.is_finite() { unit.clamp(0.0, 1.0) } else { 0.0 };
        let spread = match self.jitter {
            Jitter::None => capped,
            Jitter::Factor(factor) => scaled(capped, 1.0 + factor.clamp(0.0, 1.0) * (2.0 * unit - 1.0)),
            Jitter::Between { from_ms, to_ms } => {
                capped.saturating_add(from_ms).saturating_add(scaled(to_ms.saturating_sub(from_ms), unit))
            }
        };
        spread.min(self.cap_ms)
    }
}

/// `millis × factor`, at the far end of time where it would overflow.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "`as` saturates, and a delay needs no more than 53 bits"
)]
fn scaled(millis: u64, factor: f64) -> u64 {
    if millis == 0 { 0 } else { (millis as f64 * factor).round() as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(growth: Growth, jitter: Jitter) -> RetryPolicy {
        RetryPolicy { growth, jitter, ..RetryPolicy::standard() }
    }

    fn delays(policy: &RetryPolicy, unit: f64) -> Vec<u64> {
        (1..=7).map(|retry| policy.delay_ms(retry, unit)).collect()
    }

    #[test]
    fn delays_grow_as_the_policy_says_and_stop_at_the_cap() {
        let exact = |growth| delays(&policy(growth, Jitter::None), 0.5);
        assert_eq!(exact(Growth::Constant), [1000; 7]);
        assert_eq!(exact(Growth::Linear), [1000, 2000, 3000, 4000, 5000, 6000, 7000]);
        assert_eq!(exact(Growth::Exponential(2.0)), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn jitter_spreads_a_delay() {
        let factor = policy(Growth::Constant, Jitter::Factor(0.3));
        assert_eq!([factor.delay_ms(1, 0.0), factor.delay_ms(1, 0.5)], [700, 1000]);
        assert!((1299..=1300).contains(&factor.delay_ms(1, 0.999_999)));
        let between = policy(Growth::Constant, Jitter::Between { from_ms: 100, to_ms: 300 });
        assert_eq!([between.delay_ms(1, 0.0), between.delay_ms(1, 0.5)], [1100, 1200]);
    }

    #[test]
    fn attempts_and_time_bound_the_retries() {
        let policy = RetryPolicy { max_duration_ms: Some(5000), ..RetryPolicy::standard() };
        assert!(policy.allows(1, 0) && policy.allows(2, 5000));
        assert!(!policy.allows(3, 0) && !policy.allows(1, 5001));
        assert!(RetryPolicy { max_attempts: 0, ..policy }.allows(1_000_000, 0));
    }

    proptest! {
        #[test]
        fn no_policy_overflows_or_exceeds_its_cap(
            initial_ms: u64, cap_ms: u64, retry: u32, unit: f64, factor: f64, kind in 0_usize..3, from_ms: u64, to_ms: u64,
        ) {
            let growth = [Growth::Constant, Growth::Linear, Growth::Exponential(factor)][kind];
            for jitter in [Jitter::None, Jitter::Factor(factor), Jitter::Between { from_ms, to_ms }] {
                let policy = RetryPolicy { initial_ms, growth, cap_ms, jitter, ..RetryPolicy::standard() };
                prop_assert!(policy.delay_ms(retry, unit) <= cap_ms);
            }
        }
    }
}
