//! Appends that are neither lost nor doubled: each is numbered, and sent again until the node has answered it.

mod task;
mod window;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use types::{Offset, ProducerId, StreamName};

use crate::chance;
use crate::dialer::Dialer;
use crate::error::Error;
use crate::limits::APPENDS_IN_FLIGHT;

/// Who appends. The default is a name that nobody else has, so that nothing is shared with another process.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    pub id: ProducerId,
    /// Raise it when a process starts again under the same id: the one before is fenced off, and counting begins anew.
    pub epoch: u64,
    /// When the node has answered nothing for so long, over however many connections, what waits is given up
    /// (`Error::Unanswered`) and the producer stops. `None`: it waits for as long as it takes.
    pub patience: Option<Duration>,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        let id = ProducerId::new(&format!("rust-{}", chance::name())).expect("letters and digits are visible");
        Self { id, epoch: 0, patience: None }
    }
}

/// Appends events to any number of streams, in order per stream, many in flight. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Producer {
    requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
}

/// The node's answer to an append: it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Unknown for a repeat whose place the node no longer remembers.
    pub offset: Option<Offset>,
    /// It was sent twice and kept once: an answer was lost on the way.
    pub duplicate: bool,
}

/// An append under way. Dropping it gives up the answer, not the append.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Appended, Error>>,
}

/// An append with the room it takes up until it is answered.
#[derive(Debug)]
struct Request {
    stream: StreamName,
    data: Box<RawValue>,
    reply: Reply,
}

#[derive(Debug)]
struct Reply {
    answer: oneshot::Sender<Result<Appended, Error>>,
    _room: OwnedSemaphorePermit,
}

impl Producer {
    /// Connects once; after that it goes on by itself.
    pub(crate) async fn open(dialer: Dialer, options: ProducerOptions) -> Result<Self, Error> {
        let connection = dialer.once(Vec::new()).await?;
        let (requests, queue) = mpsc::channel(APPENDS_IN_FLIGHT);
        tokio::spawn(task::Sender::new(dialer, options, queue).run(connection));
        Ok(Self { requests, room: Arc::new(Semaphore::new(APPENDS_IN_FLIGHT)) })
    }

    /// Takes an event, as soon as there is room for one more in flight; `Pending` is its answer.
    pub async fn append(&self, stream: &StreamName, data: &impl Serialize) -> Result<Pending, Error> {
        let data = serde_json::value::to_raw_value(data)
            .map_err(|error| Error::Unusable(format!("the event is no JSON: {error}")))?;
        self.append_raw(stream, data).await
    }

    /// The same for JSON as it stands.
    pub async fn append_raw(&self, stream: &StreamName, data: Box<RawValue>) -> Result<Pending, Error> {
        let room = self.room.clone().acquire_owned().await.expect("the room is never closed");
        let (sender, answer) = oneshot::channel();
        let reply = Reply { answer: sender, _room: room };
        let request = Request { stream: stream.clone(), data, reply };
        self.requests.send(request).await.map_err(|_| stopped())?;
        Ok(Pending { answer })
    }

    /// Waits until everything taken so far is answered.
    pub async fn flush(&self) {
        let all = u32::try_from(APPENDS_IN_FLIGHT).expect("a thousand fits");
        let _all = self.room.acquire_many(all).await.expect("the room is never closed");
    }
}

impl Future for Pending {
    type Output = Result<Appended, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(stopped())))
    }
}

impl Reply {
    /// The asker may be gone; then nobody misses the answer.
    fn give(self, answer: Result<Appended, Error>) {
        let _ = self.answer.send(answer);
    }
}

fn stopped() -> Error {
    Error::Unusable("this producer has stopped, because the node does not answer it any more".to_owned())
}
