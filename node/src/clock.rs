//! The one place that reads time. What it gives is log time: never backwards, whatever the wall clock does.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use types::Timestamp;

/// Log time: the later of the last record and the wall clock, both at opening, plus what a monotonic clock counted
/// since. A wall clock that is set forward or back while the node runs moves nothing; one that lies in the past at
/// opening makes time go on from the last record.
#[derive(Clone, Copy, Debug)]
pub struct LogClock {
    base: Timestamp,
    opened: Instant,
}

impl LogClock {
    /// `last` is the time of the newest record, of all partitions that will share this clock.
    pub fn new(last: Timestamp) -> Self {
        Self { base: last.max(wall_clock()), opened: Instant::now() }
    }

    /// Not before `last`, and not before what any earlier call gave.
    pub fn now(&self) -> Timestamp {
        after(self.base, self.opened.elapsed().as_millis())
    }
}

fn after(base: Timestamp, elapsed_ms: u128) -> Timestamp {
    base.plus_millis(u64::try_from(elapsed_ms).unwrap_or(u64::MAX))
}

/// A wall clock before 1970 counts as 1970.
pub fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    after(Timestamp::ZERO, since_epoch.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_the_last_record_when_the_wall_clock_lies_behind_it() {
        let ten_years_ms = 315_576_000_000;
        let last = wall_clock().plus_millis(ten_years_ms);
        let clock = LogClock::new(last);
        assert!(clock.now() >= last);
        assert!(clock.now().millis_since(last) < ten_years_ms, "the wall clock was added to the last record");
    }

    #[test]
    fn time_is_the_wall_clock_when_the_last_record_lies_behind_it() {
        let before = wall_clock();
        let now = LogClock::new(Timestamp::from_millis(1)).now();
        assert!(now >= before);
        assert!(now.millis_since(before) < 3_600_000, "{now} is not the wall clock's {before}");
    }

    #[test]
    fn time_never_goes_backwards() {
        let clock = LogClock::new(Timestamp::ZERO);
        let readings: Vec<_> = (0..10_000).map(|_| clock.now()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn the_far_end_of_time_is_reached_and_not_passed() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(after(end, 1), end);
        assert_eq!(after(Timestamp::ZERO, u128::MAX), end);
    }
}
