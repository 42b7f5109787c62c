//! Time as a machine sees it: a wall clock that somebody sets, a monotonic clock that nobody can, and the node's log
//! time made of both.

use types::Timestamp;

#[derive(Clone, Debug)]
pub(crate) struct Clock {
    wall_ms: u64,
    monotonic_ms: u64,
    base: Timestamp,
    opened_ms: u64,
    /// Hands out the wall clock as it is: what the kernel must bear from a driver that is wrong about time.
    raw: bool,
}

impl Clock {
    pub(crate) fn new(raw: bool) -> Self {
        let wall_ms = 1_795_493_220_000;
        Self { wall_ms, monotonic_ms: 0, base: Timestamp::from_millis(wall_ms), opened_ms: 0, raw }
    }

    /// A node opens whose last record is of this time.
    pub(crate) fn open(&mut self, last: Timestamp) {
        self.base = last.max(Timestamp::from_millis(self.wall_ms));
        self.opened_ms = self.monotonic_ms;
    }

    pub(crate) fn now(&self) -> Timestamp {
        if self.raw {
            Timestamp::from_millis(self.wall_ms)
        } else {
            self.base.plus_millis(self.monotonic_ms - self.opened_ms)
        }
    }

    /// What workers and clients measure by.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.wall_ms += millis;
        self.monotonic_ms += millis;
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set_back(&mut self, millis: u64) {
        self.wall_ms = self.wall_ms.saturating_sub(millis);
    }

    pub(crate) fn set_forward(&mut self, millis: u64) {
        self.wall_ms += millis;
    }
}
