//! A timer of a run: never early in log time, fired once.

use types::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    pub due: Timestamp,
    pub purpose: Purpose,
}

/// What happens when it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A `wait` task of this scope is over.
    Wait { scope: u32 },
    /// The next attempt of this step is owed.
    Retry { step: u32 },
    /// The tasks of this `try` begin again.
    TryAgain { scope: u32 },
    /// The run is terminated: its steps did not answer the cancellation.
    CancelGrace,
}
