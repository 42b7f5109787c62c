//! How much more the node may send, fed by what the application has taken: a slow reader is sent less, never lost.

use std::sync::atomic::{AtomicU32, Ordering};

use protocol::CreditAmount;
use tokio::sync::Notify;

use crate::limits::{CREDIT_BYTES, CREDIT_EVENTS};

/// Worth a frame once a quarter of the window was taken.
const WORTH_EVENTS: u32 = CREDIT_EVENTS / 4;
const WORTH_BYTES: u32 = CREDIT_BYTES / 4;

/// What the application took since the node was last told.
#[derive(Debug, Default)]
pub(super) struct Credit {
    events: AtomicU32,
    bytes: AtomicU32,
    worth_telling: Notify,
}

impl Credit {
    /// The application took an event whose message had so many bytes.
    pub(super) fn consumed(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(CREDIT_BYTES);
        let events = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if events >= WORTH_EVENTS || bytes >= WORTH_BYTES {
            self.worth_telling.notify_one();
        }
    }

    /// Returns when there is enough to tell the node about.
    pub(super) async fn worth_telling(&self) {
        self.worth_telling.notified().await;
    }

    /// What to add to the node's credit now.
    pub(super) fn take(&self) -> Option<CreditAmount> {
        let events = self.events.swap(0, Ordering::Relaxed);
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        (events > 0).then_some(CreditAmount { events, bytes })
    }

    /// A new connection begins with a full window, less the events that still wait here.
    pub(super) fn fresh(&self, waiting: usize) -> CreditAmount {
        self.take();
        let waiting = u32::try_from(waiting).unwrap_or(CREDIT_EVENTS);
        CreditAmount { events: CREDIT_EVENTS.saturating_sub(waiting).max(1), bytes: CREDIT_BYTES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_taken_is_told_once_when_it_is_worth_a_frame() {
        let credit = Credit::default();
        for _ in 0..WORTH_EVENTS {
            credit.consumed(10);
        }
        credit.worth_telling().await;
        assert_eq!(credit.take(), Some(CreditAmount { events: WORTH_EVENTS, bytes: 10 * WORTH_EVENTS }));
        assert_eq!(credit.take(), None);
        credit.consumed(WORTH_BYTES as usize);
        credit.worth_telling().await;
        assert_eq!(credit.take(), Some(CreditAmount { events: 1, bytes: WORTH_BYTES }));
    }

    #[test]
    fn a_new_connection_does_not_promise_room_that_is_taken() {
        let credit = Credit::default();
        credit.consumed(10);
        assert_eq!(credit.fresh(6), CreditAmount { events: CREDIT_EVENTS - 6, bytes: CREDIT_BYTES });
        assert_eq!(credit.take(), None);
        assert_eq!(credit.fresh(10_000).events, 1, "never nothing, or the node would never send");
    }
}
