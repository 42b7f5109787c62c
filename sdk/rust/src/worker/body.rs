//! Runs one body to its end: its own, a panic, or a cancellation it was given time to see.

use std::sync::Arc;

use protocol::Task;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

use super::roster::Handler;
use super::step::{Chunks, Failed, Step, Unwanted};
use crate::limits::{CANCEL_GRACE, CHUNKS_UNTAKEN};

/// What a body says to the worker's desk, in order.
#[derive(Debug)]
pub(super) enum Said {
    Chunk { token: Arc<str>, data: Box<RawValue>, room: OwnedSemaphorePermit },
    Finished { token: Arc<str>, outcome: Result<Box<RawValue>, Failed> },
}

/// Tells a body that it is no longer wanted.
#[derive(Debug)]
pub(super) struct Leash(watch::Sender<bool>);

impl Leash {
    pub(super) fn cancel(&self) {
        self.0.send_replace(true);
    }
}

/// Starts the body of a task.
pub(super) fn start(task: Task, handler: Arc<dyn Handler>, said: mpsc::Sender<Said>) -> Leash {
    let (leash, unwanted) = watch::channel(false);
    let token: Arc<str> = task.token.as_str().into();
    let chunks = Chunks::new(token.clone(), task.stream, said.clone(), CHUNKS_UNTAKEN, unwanted);
    let step = Step::new(task, chunks.clone());
    tokio::spawn(async move {
        let outcome = run(step, chunks, handler).await;
        // The desk is gone only when the whole worker is.
        let _ = said.send(Said::Finished { token, outcome }).await;
    });
    Leash(leash)
}

async fn run(step: Step, chunks: Chunks, handler: Arc<dyn Handler>) -> Result<Box<RawValue>, Failed> {
    // In a task of its own, so that a panic ends the body and not the worker.
    let mut body = tokio::spawn(async move { handler.run(step).await });
    let ended = tokio::select! {
        ended = &mut body => Some(ended),
        () = chunks.unwanted() => timeout(CANCEL_GRACE, &mut body).await.ok(),
    };
    match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Failed::new(format!("the step's code panicked: {error}")).kind("panic")),
        None => {
            body.abort();
            Err(Unwanted.into())
        }
    }
}
