//! An attempt on its way: who has it, and until when.

use engine::Offer;
use types::{PartitionId, RunId, TenantId, Timestamp};

/// A task's names and numbers as they are sent, about.
const TASK_BYTES: usize = 512;

/// Which step.
pub(super) type Key = (RunId, u32);

#[derive(Debug)]
pub(super) struct Task {
    pub(super) partition: PartitionId,
    pub(super) attempt: u32,
    /// `None`: known only as something to cancel, after a recovery.
    pub(super) offer: Option<Box<Offer>>,
    pub(super) holder: Holder,
    pub(super) cancelling: bool,
    /// Its entry among the deadlines.
    pub(super) deadline: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// In its queue since then.
    Waiting {
        since: Timestamp,
    },
    /// Perhaps a worker that survived the crash: to be claimed until then.
    Maybe {
        until: Timestamp,
    },
    /// Chosen for a worker that waits, not fetched by it yet; in line since then.
    Given {
        worker: String,
        since: Timestamp,
    },
    Held {
        worker: String,
        started: Timestamp,
        last_sign: Timestamp,
    },
    /// Its worker's connection is gone: to be claimed until then.
    Orphaned {
        until: Timestamp,
    },
}

/// A place to wait: what workers serve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    pub(super) tenant: TenantId,
    pub(super) queue: String,
    pub(super) task: String,
}

impl Task {
    /// When somebody has to act if nothing happens.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let offer = self.offer.as_deref();
        match &self.holder {
            Holder::Waiting { since } => Some(since.plus_millis(offer?.schedule_to_start_ms?)),
            Holder::Maybe { until } | Holder::Orphaned { until } => Some(*until),
            Holder::Given { .. } => None,
            Holder::Held { started, last_sign, .. } => {
                let offer = offer?;
                let closes = started.plus_millis(offer.start_to_close_ms);
                let silent = offer.heartbeat_ms.map(|heartbeat_ms| last_sign.plus_millis(heartbeat_ms));
                Some(silent.map_or(closes, |silent| silent.min(closes)))
            }
        }
    }

    /// Who gets it or has it.
    pub(super) fn worker(&self) -> Option<&str> {
        match &self.holder {
            Holder::Given { worker, .. } | Holder::Held { worker, .. } => Some(worker),
            Holder::Waiting { .. } | Holder::Maybe { .. } | Holder::Orphaned { .. } => None,
        }
    }

    /// What giving it costs, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.offer.as_deref().map_or(0, |offer| offer.input.data.len() + TASK_BYTES)
    }

    pub(super) fn queue_key(&self) -> Option<QueueKey> {
        let offer = self.offer.as_deref()?;
        Some(QueueKey { tenant: offer.tenant.clone(), queue: offer.queue.clone(), task: offer.task.clone() })
    }
}
