//! Memory for what clients have begun to send and the node has not finished with: messages and bodies on their way in.
//! One budget for all connections, so that many unfinished uploads together cost no more than one node can give.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What each connection may have on its way in without asking, in bytes: nearly every message fits.
const FREE_BYTES: usize = 16 * 1024;
/// The budget is given out in pieces of so many bytes.
const PIECE_BYTES: usize = 4 * 1024;

/// The budget of a node.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pieces: Arc<Semaphore>,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// What one message, or one request, holds of it. Dropping it gives all of that back.
#[derive(Debug)]
pub(crate) struct Held {
    inbound: Inbound,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Inbound {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { pieces: Arc::new(Semaphore::new(bytes / PIECE_BYTES)) }
    }

    pub(crate) fn hold(&self) -> Held {
        Held { inbound: self.clone(), permit: None, bytes: 0 }
    }
}

impl Held {
    /// So many bytes more came in.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.bytes += bytes;
        let needed = self.bytes.saturating_sub(FREE_BYTES).div_ceil(PIECE_BYTES);
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= held {
            return Ok(());
        }
        let missing = u32::try_from(needed - held).map_err(|_| NoRoom)?;
        let more = Arc::clone(&self.inbound.pieces).try_acquire_many_owned(missing).map_err(|_| NoRoom)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }

    /// Nothing is on its way any more.
    pub(crate) fn clear(&mut self) {
        (self.permit, self.bytes) = (None, 0);
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

tokio::task_local! {
    /// What the HTTP request that this task answers holds.
    static REQUEST: RefCell<Held>;
}

/// Answers an HTTP request; what its body takes is held until it is answered, decided on and durable.
pub(crate) async fn during<T>(inbound: &Inbound, answering: impl Future<Output = T>) -> T {
    REQUEST.scope(RefCell::new(inbound.hold()), answering).await
}

/// So many bytes more of the request's body came in.
pub(crate) fn body_grew(bytes: usize) -> Result<(), NoRoom> {
    REQUEST.with(|held| held.borrow_mut().add(bytes))
}

/// The request's body is thrown away.
pub(crate) fn body_dropped() {
    REQUEST.with(|held| held.borrow_mut().clear());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_free_and_what_is_large_is_shared_out() {
        let inbound = Inbound::new(3 * PIECE_BYTES);
        let [mut small, mut large, mut late] = [inbound.hold(), inbound.hold(), inbound.hold()];
        assert_eq!(small.add(FREE_BYTES), Ok(()));
        assert_eq!(large.add(FREE_BYTES + 1), Ok(()));
        assert_eq!(large.add(2 * PIECE_BYTES), Ok(()), "all three pieces, one of them begun");
        assert_eq!((late.add(FREE_BYTES), late.add(1)), (Ok(()), Err(NoRoom)));
        assert_eq!(small.add(1), Err(NoRoom));
        large.clear();
        assert_eq!(small.add(PIECE_BYTES), Ok(()));
        drop(small);
        assert_eq!(inbound.pieces.available_permits(), 3, "all of it came back");
    }
}
