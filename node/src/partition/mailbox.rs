//! Where requests wait for their partition's driver: bounded, in order. Full is an answer: that is the back pressure.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use types::PartitionId;

/// What waits takes memory.
pub(crate) trait Weight {
    /// The values that it carries, in bytes, near enough to bound them.
    fn bytes(&self) -> usize;
}

/// One driver's mailbox, for all its partitions.
#[derive(Debug)]
pub(crate) struct Mailbox<R, N> {
    inner: Mutex<Inner<R, N>>,
    arrived: Condvar,
    capacity: Capacity,
}

/// What a mailbox holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Requests of each partition.
    pub(crate) requests: usize,
    /// Bytes of all requests; the last may pass it.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Inner<R, N> {
    /// By partition, from outside: refused when full.
    requests: Vec<(PartitionId, VecDeque<R>)>,
    waiting: usize,
    /// What they hold.
    waiting_bytes: usize,
    /// From inside the node: bounded by what they answer to (batches in flight, steps that are open).
    notices: Vec<N>,
    stopping: bool,
}

/// What a driver takes out at once.
#[derive(Debug)]
pub(crate) struct Delivery<R, N> {
    pub(crate) notices: Vec<N>,
    pub(crate) requests: Vec<(PartitionId, VecDeque<R>)>,
    pub(crate) stopping: bool,
}

impl<R: Weight, N> Mailbox<R, N> {
    pub(crate) fn new(partitions: &[PartitionId], capacity: Capacity) -> Self {
        let requests = partitions.iter().map(|&partition| (partition, VecDeque::new())).collect();
        let inner = Inner { requests, waiting: 0, waiting_bytes: 0, notices: Vec::new(), stopping: false };
        Self { inner: Mutex::new(inner), arrived: Condvar::new(), capacity }
    }

    /// Gives the request back when the partition's queue, or the mailbox, is full.
    pub(crate) fn request(&self, partition: PartitionId, request: R) -> Result<(), R> {
        let bytes = request.bytes();
        let mut inner = self.lock();
        if bytes > 0 && inner.waiting_bytes >= self.capacity.bytes {
            return Err(request);
        }
        let found = inner.requests.iter_mut().find(|(id, _)| *id == partition);
        let (_, queue) = found.expect("the router asks the driver of the partition");
        if queue.len() >= self.capacity.requests {
            return Err(request);
        }
        queue.push_back(request);
        inner.waiting += 1;
        inner.waiting_bytes += bytes;
        drop(inner);
        self.arrived.notify_one();
        Ok(())
    }

    pub(crate) fn notify(&self, notice: N) {
        self.lock().notices.push(notice);
        self.arrived.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.arrived.notify_one();
    }

    /// Waits for something to arrive, at most `patience`; takes up to `most` requests of each partition.
    pub(crate) fn take(&self, patience: Duration, most: usize) -> Delivery<R, N> {
        let mut inner = self.lock();
        if inner.notices.is_empty() && inner.waiting == 0 && !inner.stopping && !patience.is_zero() {
            let waited = self.arrived.wait_timeout(inner, patience);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut requests = Vec::new();
        let (mut taken, mut taken_bytes) = (0, 0);
        for (partition, queue) in inner.requests.iter_mut().filter(|(_, queue)| !queue.is_empty()) {
            let batch = if queue.len() <= most { std::mem::take(queue) } else { queue.drain(..most).collect() };
            taken += batch.len();
            taken_bytes += batch.iter().map(Weight::bytes).sum::<usize>();
            requests.push((*partition, batch));
        }
        inner.waiting -= taken;
        inner.waiting_bytes -= taken_bytes;
        Delivery { notices: std::mem::take(&mut inner.notices), requests, stopping: inner.stopping }
    }

    pub(crate) fn depth(&self) -> usize {
        self.lock().waiting
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<R, N>> {
        // A driver that panicked has stopped the node; its queue is only looked at to refuse.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of so many bytes.
    impl Weight for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn what_waits_has_a_bound_in_bytes_too_and_what_holds_none_gets_through() {
        let [a, b] = [PartitionId::new(0), PartitionId::new(2)];
        let mailbox: Mailbox<usize, ()> = Mailbox::new(&[a, b], Capacity { requests: 9, bytes: 100 });
        assert_eq!([99, 50, 1].map(|n| mailbox.request(a, n)), [Ok(()), Ok(()), Err(1)]);
        assert_eq!((mailbox.request(b, 1), mailbox.request(b, 0)), (Err(1), Ok(())));
        mailbox.take(Duration::ZERO, 1);
        assert_eq!(mailbox.request(b, 1), Ok(()), "99 bytes of it were taken");
    }

    #[test]
    fn a_full_queue_gives_the_request_back_and_leaves_its_neighbour_alone() {
        let [a, b] = [PartitionId::new(0), PartitionId::new(2)];
        let mailbox: Mailbox<usize, ()> = Mailbox::new(&[a, b], Capacity { requests: 2, bytes: 100 });
        assert_eq!([1, 2, 3].map(|n| mailbox.request(a, n)), [Ok(()), Ok(()), Err(3)]);
        assert_eq!(mailbox.request(b, 9), Ok(()));
        let delivery = mailbox.take(Duration::ZERO, 1);
        let taken: Vec<_> = delivery.requests.into_iter().map(|(id, queue)| (id, Vec::from(queue))).collect();
        assert_eq!(taken, [(a, vec![1]), (b, vec![9])]);
        assert_eq!(mailbox.depth(), 1);
    }
}
