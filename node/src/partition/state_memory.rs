//! What open runs may hold in memory, over all partitions. From half of it on, runs that wait for a timer or a signal
//! are left to their rows. When all of it is used up no new run is started until some end: the ones that are there go on.

use std::sync::atomic::{AtomicUsize, Ordering};

use types::{Code, PartitionId, Refusal};

use crate::limits;

/// Each partition's driver says how much its runs hold.
#[derive(Debug)]
pub(crate) struct StateMemory {
    budget: usize,
    held: Vec<AtomicUsize>,
    total: AtomicUsize,
}

impl StateMemory {
    pub(crate) fn new(budget: usize, partitions: usize) -> Self {
        Self { budget, held: (0..partitions).map(|_| AtomicUsize::new(0)).collect(), total: AtomicUsize::new(0) }
    }

    /// What the open runs of one of so many partitions may hold before the idle ones among them leave.
    pub(crate) const fn share(budget: usize, partitions: usize) -> usize {
        budget / 2 / partitions
    }

    pub(crate) fn set(&self, partition: PartitionId, bytes: usize) {
        let before = self.held[partition.value() as usize].swap(bytes, Ordering::Relaxed);
        // Only this partition's driver sets it, so the differences add up; the sum wraps around and back.
        self.total.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    pub(crate) fn held(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Whether idle runs are to leave memory.
    pub(crate) fn is_pressed(&self) -> bool {
        self.held() >= self.budget / 2
    }

    /// Why no run may start: there is no memory for it.
    pub(crate) fn refuse(&self) -> Option<Refusal> {
        if self.held() < self.budget {
            return None;
        }
        let message = format!(
            "open runs hold the {} MiB of memory that they may: let some of them end, or raise `node.state_memory_mib`",
            self.budget >> 20
        );
        Some(Refusal::new(Code::QueueFull, message).retry_after_ms(limits::STATE_PAUSE_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_refused_while_it_is_used_up_and_idle_runs_leave_before_that() {
        let state = StateMemory::new(100, 2);
        state.set(PartitionId::new(0), 49);
        assert!(!state.is_pressed());
        state.set(PartitionId::new(0), 60);
        assert!(state.is_pressed());
        assert_eq!(state.refuse(), None);
        state.set(PartitionId::new(1), 40);
        assert_eq!(state.refuse().map(|refusal| refusal.code), Some(Code::QueueFull));
        state.set(PartitionId::new(0), 0);
        assert_eq!((state.refuse(), state.held()), (None, 40));
    }
}
