//! What the stories share: a node as a process, the program as people call it, chance with a seed, patience.

mod chance;
mod http;
mod node;
pub(crate) mod program;

use std::future::Future;
use std::time::Duration;

use headwater_client::{Code, Error, RunId, RunView, StreamName};
use rustix::process::{Pid, kill_process};

pub(crate) use chance::Chance;
pub(crate) use http::{Answer, Http};
pub(crate) use node::{Home, NodeProcess};
pub(crate) use program::{Printed, Program, end};
pub(crate) use rustix::process::Signal;

/// Sends a process a signal.
pub(crate) fn tell(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the id of a process");
    kill_process(pid, signal)
}

/// Longer than anything takes on a busy machine. It ends a story that hangs; nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited for {what} for {} s", PATIENCE.as_secs());
    };
    output
}

/// Asks until it is answered, through restarts of the node.
pub(crate) async fn insist<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, Error>>,
{
    let asked = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) if passes(&error) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{what}: {error}"),
            }
        }
    };
    soon(what, asked).await
}

/// Whether asking again is what the error calls for.
fn passes(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Unanswered { .. } => true,
        Error::Refused(_) | Error::Problem(_) => matches!(
            error.code(),
            Some(
                Code::Draining
                    | Code::Unavailable
                    | Code::DiskFull
                    | Code::OutcomeUnknown
                    | Code::QueueFull
                    | Code::TooManyRequests
            )
        ),
        Error::NotUnderstood { .. } | Error::Unusable(_) => false,
    }
}

/// Waits for the end of a run.
pub(crate) async fn ended(client: &headwater_client::Client, run: RunId) -> RunView {
    let asked = async {
        loop {
            let view = insist("how a run stands", || client.run(run)).await;
            if view.is_closed() {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of a run", asked).await
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("a stream's name")
}
