//! Bytes that all connections of a node may hold together for one purpose: what bounds them when each is within its own
//! bounds, and there are thousands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::metrics::IntGauge;

/// What a connection costs anyway.
const USUAL_BYTES: usize = 4 * 1024;

/// What is worth counting of so many bytes that one connection holds: nothing, where it would cost more than it tells.
pub(crate) const fn unusual(bytes: usize) -> usize {
    if bytes <= USUAL_BYTES { 0 } else { bytes }
}

/// What may be held for one purpose, and what is.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    held: AtomicUsize,
    counted: Counts,
}

/// Where what is held is counted besides.
#[derive(Debug)]
enum Counts {
    /// In what a metric shows.
    Shown(IntGauge),
    /// In the budget that this is a part of.
    Whole(Arc<Budget>),
}

/// What one connection holds of a budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

/// There is no room for what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Budget {
    /// The gauge shows what is held.
    pub(crate) fn new(most: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { most, held: AtomicUsize::new(0), counted: Counts::Shown(gauge) })
    }

    /// What one connection may have of it: at most so much.
    pub(crate) fn part(self: &Arc<Self>, most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: AtomicUsize::new(0), counted: Counts::Whole(Arc::clone(self)) })
    }

    /// A share that holds nothing yet.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    /// A share of so much.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, Full> {
        let mut share = self.share();
        share.set(bytes)?;
        Ok(share)
    }

    /// A share of so much, also where there is no room for it.
    pub(crate) fn overdraw(self: &Arc<Self>, bytes: usize) -> Share {
        self.add(bytes);
        Share { budget: Arc::clone(self), bytes }
    }

    fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        match &self.counted {
            Counts::Shown(gauge) => gauge.add(signed(bytes)),
            Counts::Whole(whole) => whole.add(bytes),
        }
    }

    fn grow(&self, bytes: usize) -> Result<(), Full> {
        let fits = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.most);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Full)?;
        let counted = match &self.counted {
            Counts::Shown(gauge) => {
                gauge.add(signed(bytes));
                Ok(())
            }
            Counts::Whole(whole) => whole.grow(bytes),
        };
        if counted.is_err() {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        counted
    }

    fn shrink(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        match &self.counted {
            Counts::Shown(gauge) => gauge.sub(signed(bytes)),
            Counts::Whole(whole) => whole.shrink(bytes),
        }
    }
}

impl Share {
    /// Holds so much from now on. Where there is no room for more it stays as it was.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes > self.bytes {
            self.budget.grow(bytes - self.bytes)?;
        } else if bytes < self.bytes {
            self.budget.shrink(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Holds nothing any more.
    pub(crate) fn clear(&mut self) {
        if self.bytes > 0 {
            self.budget.shrink(std::mem::take(&mut self.bytes));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes with the share that they hold: both go together.
struct Counted {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same bytes, which give the share back when the last piece of them is gone.
pub(crate) fn counted(bytes: Bytes, share: &Arc<Share>) -> Bytes {
    Bytes::from_owner(Counted { bytes, _share: Arc::clone(share) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(most: usize) -> Arc<Budget> {
        Budget::new(most, IntGauge::new("held", "held").expect("a name"))
    }

    fn shown(budget: &Budget) -> i64 {
        match &budget.counted {
            Counts::Shown(gauge) => gauge.get(),
            Counts::Whole(whole) => shown(whole),
        }
    }

    #[test]
    fn a_part_has_its_own_bound_and_counts_in_the_whole() {
        let whole = budget(100);
        let (one, other) = (whole.part(60), whole.part(60));
        let first = one.take(50).expect("room");
        assert_eq!(one.take(20).err(), Some(Full), "its own bound");
        assert_eq!(other.take(60).err(), Some(Full), "that of the whole");
        assert_eq!((shown(&whole), other.held.load(Ordering::Relaxed)), (50, 0), "a refusal changes nothing");
        let second = other.take(50).expect("the rest");
        let over = other.overdraw(30);
        assert_eq!(shown(&whole), 130);
        drop((first, second, over));
        assert_eq!((shown(&whole), whole.held.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_is_held_never_passes_the_budget_and_comes_back() {
        let budget = budget(100_000);
        let mut first = budget.take(60_000).expect("room");
        assert_eq!(budget.take(50_000).err(), Some(Full));
        assert_eq!(first.set(110_000), Err(Full));
        assert_eq!(shown(&budget), 60_000, "a refusal changes nothing");
        let second = budget.take(40_000).expect("exactly the rest");
        first.set(10_000).expect("less is always possible");
        assert_eq!(shown(&budget), 50_000);
        drop((first, second));
        assert_eq!((shown(&budget), budget.held.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn an_overdraft_keeps_others_out_until_it_is_over() {
        let budget = budget(100);
        let over = budget.overdraw(150);
        assert_eq!((shown(&budget), budget.take(1).err()), (150, Some(Full)));
        drop(over);
        budget.take(100).expect("all of it");
    }

    #[test]
    fn the_last_piece_of_an_answer_gives_its_share_back() {
        let budget = budget(100_000);
        let share = Arc::new(budget.take(50_000).expect("room"));
        let bytes = counted(Bytes::from(vec![7; 50_000]), &share);
        drop(share);
        let piece = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(shown(&budget), 50_000, "a piece keeps all of it");
        drop(piece);
        assert_eq!(shown(&budget), 0);
    }
}
