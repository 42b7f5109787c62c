//! A process group: told to end, and killed when it does not.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::time::timeout;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A process and all that it has started, but for what has left its group. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Group(Option<Pid>);

impl Group {
    pub(super) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Returns when all are gone, which takes no longer than the grace if the system does its part.
    pub(super) async fn end(&mut self, child: &mut Child) {
        if child.id().is_some() {
            self.signal(Signal::TERM);
            let _ = timeout(GRACE, child.wait()).await;
        }
        // The process may be gone while others of its group are not.
        self.kill();
        let _ = child.wait().await;
    }

    /// Once only: another group may get the number afterwards.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.0 = None;
    }

    /// A group that is gone cannot be told anything, and need not.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
