//! A worker that waits for tasks. Whoever gives up waiting, or is gone, leaves nothing of what was meant for it behind.

use std::sync::Arc;
use std::time::Duration;

use gateway::backend::{PollWorker, WorkerPush};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use types::{Code, Refusal};

use crate::dispatcher::Room;
use crate::partition::Host;

/// One poll; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Polling {
    host: Arc<Host>,
    worker: String,
    poll: u64,
    bell: Arc<Notify>,
    until: Instant,
}

impl Polling {
    pub(crate) fn open(host: &Arc<Host>, request: PollWorker) -> Result<Self, Refusal> {
        let PollWorker { worker, max, max_bytes, wait_ms } = request;
        let bell = Arc::new(Notify::new());
        let room = Room { tasks: max, bytes: max_bytes };
        let Some((poll, owed)) = host.dispatcher.open_poll(&worker, room, bell.clone(), host.now()) else {
            let message = format!("worker {worker} is not attached: send its queues first");
            return Err(Refusal::new(Code::NotFound, message));
        };
        host.send(owed);
        Ok(Self { host: host.clone(), worker, poll, bell, until: Instant::now() + Duration::from_millis(wait_ms) })
    }

    /// Waits for the first task or cancellation; none when the time is over.
    pub(crate) async fn wait(self) -> Vec<WorkerPush> {
        loop {
            let pushes = self.host.dispatcher.fetch(&self.worker, self.poll, self.host.now());
            if !pushes.is_empty() || Instant::now() >= self.until {
                return pushes;
            }
            // A ring between the look and the wait is kept by `notify_one`.
            drop(timeout_at(self.until, self.bell.notified()).await);
        }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.host.send(self.host.dispatcher.close_poll(&self.worker, self.poll, self.host.now()));
    }
}
