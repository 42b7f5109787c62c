//! Watches the room on the disk. Where it is short nothing more is written, by anyone, until there is more; reads go on.

use std::sync::Arc;

use storage::{Change, Space};
use tokio::time::{MissedTickBehavior, interval};
use types::{Code, Refusal};

use crate::limits;
use crate::metrics::Metrics;

const MIB: u64 = 1024 * 1024;

/// Looks for as long as it is polled, and says what changed.
pub(crate) async fn watch(space: Arc<Space>, metrics: Metrics) {
    let mut looks = interval(limits::DISK_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let (looking, measured) = (Arc::clone(&space), metrics.clone());
        // A disk that hangs holds this thread, and no other.
        let looked = tokio::task::spawn_blocking(move || look(&looking, &measured));
        drop(looked.await);
    }
}

/// One look.
pub(crate) fn look(space: &Space, metrics: &Metrics) {
    match space.look() {
        Ok(Some(Change::Stopped { free_bytes })) => tracing::error!(
            free_mib = free_bytes / MIB,
            floor_mib = space.floor_bytes() / MIB,
            "the disk is full: nothing is written until there is room again, reads go on; free some space, nothing \
             else has to be done"
        ),
        Ok(Some(Change::Resumed { free_bytes })) => {
            tracing::info!(free_mib = free_bytes / MIB, "the disk has room again: writing goes on");
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the room on the disk could not be looked at"),
    }
    metrics.disk_free_bytes.set(i64::try_from(space.free_bytes()).unwrap_or(i64::MAX));
    metrics.disk_writable.set(i64::from(space.is_writable()));
}

/// What whoever wants to write is told.
pub(crate) fn full(space: &Space) -> Refusal {
    let (free, floor) = (space.free_bytes() / MIB, space.floor_bytes() / MIB);
    let message = format!(
        "the node's disk is full ({free} MiB are left, below {floor} MiB nothing is written): free some space there, \
         the node goes on by itself"
    );
    Refusal::new(Code::DiskFull, message).retry_after_ms(limits::DISK_FULL_PAUSE_MS).detail("free_mib", free)
}
