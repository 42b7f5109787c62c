//! A worker's desk: gives tasks to bodies, sends what they say, and tells each new connection what is still held.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::{ClientFrame, ServerFrame, Task, Work};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use types::{Code, Refusal};

use super::body::{self, Leash, Said};
use super::held::{Fate, Held};
use super::roster::Roster;
use super::step::Failed;
use super::{Counts, count};
use crate::connection::{Connection, Incoming, Lost};
use crate::dialer::{Dialer, as_lost};
use crate::error::Error;

pub(super) struct Desk {
    dialer: Dialer,
    roster: Roster,
    counts: Arc<Counts>,
    stop: watch::Receiver<bool>,
    held: BTreeMap<Arc<str>, (Held, Option<Leash>)>,
    /// Tasks that may have a frame to send, each once.
    ready: VecDeque<Arc<str>>,
    in_ready: BTreeSet<Arc<str>>,
    /// When tasks have something to send that they have not now. Stale entries do no harm.
    wakes: BTreeSet<(Instant, Arc<str>)>,
    /// The node must be told of queues and held tasks.
    introduce: bool,
    /// The largest chunk or result that the node takes.
    event_bytes: usize,
    said: mpsc::Sender<Said>,
    heard: mpsc::Receiver<Said>,
}

/// Why a connection is no longer served.
enum Stop {
    Again(Lost),
    Finished,
    Failed(Error),
}

impl Desk {
    pub(super) fn new(dialer: Dialer, roster: Roster, counts: Arc<Counts>, stop: watch::Receiver<bool>) -> Self {
        let (said, heard) = mpsc::channel(roster.slots().clamp(16, 1024));
        Self {
            dialer,
            roster,
            counts,
            stop,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            in_ready: BTreeSet::new(),
            wakes: BTreeSet::new(),
            introduce: true,
            event_bytes: 0,
            said,
            heard,
        }
    }

    pub(super) async fn run(mut self, first: Connection) -> Result<(), Error> {
        let mut connection = first;
        loop {
            let lost = match self.serve(connection).await {
                Stop::Again(lost) => lost,
                Stop::Finished => return Ok(()),
                Stop::Failed(error) => return Err(error),
            };
            count(&self.counts.reconnects);
            connection = self.reconnect(lost).await?;
        }
    }

    /// Bodies go on meanwhile: what they say waits in their own windows.
    async fn reconnect(&mut self, mut lost: Lost) -> Result<Connection, Error> {
        loop {
            let dialer = &mut self.dialer;
            let dialled = async {
                dialer.pause(&lost).await?;
                Ok::<_, Error>(dialer.once(Vec::new()).await)
            };
            match dialled.await? {
                Ok(connection) => return Ok(connection),
                Err(error) => lost = as_lost(&error),
            }
        }
    }

    async fn serve(&mut self, mut connection: Connection) -> Stop {
        self.introduce = true;
        self.clear_schedule();
        let outgoing = connection.outgoing();
        self.event_bytes = connection.limits().event_bytes;
        loop {
            if *self.stop.borrow() && self.held.is_empty() {
                return Stop::Finished;
            }
            let now = Instant::now();
            let wake = self.wakes.first().map(|(due, _)| *due);
            tokio::select! {
                incoming = connection.next() => match incoming {
                    Ok(incoming) => if let Err(stop) = self.take(incoming) { return stop; },
                    Err(lost) => return Stop::Again(lost),
                },
                permit = outgoing.reserve(), if self.introduce || !self.ready.is_empty() => match permit {
                    Ok(permit) => if let Some(frame) = self.next_frame(now) { permit.send(frame.encode()); },
                    Err(lost) => return Stop::Again(lost),
                },
                Some(said) = self.heard.recv() => self.hear(said),
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => self.wake(Instant::now()),
                Ok(()) = self.stop.changed() => self.introduce = true,
            }
        }
    }

    fn clear_schedule(&mut self) {
        self.ready.clear();
        self.in_ready.clear();
        self.wakes.clear();
    }

    fn next_frame(&mut self, now: Instant) -> Option<ClientFrame> {
        if std::mem::take(&mut self.introduce) {
            return Some(self.introduction());
        }
        while let Some(token) = self.ready.pop_front() {
            self.in_ready.remove(&token);
            let Some((held, _)) = self.held.get_mut(&token) else { continue };
            let frame = held.next_frame(now);
            if frame.is_some() {
                self.enqueue(token);
                return frame;
            }
            if let Some(due) = held.next_wake() {
                self.wakes.insert((due, token));
            }
        }
        None
    }

    /// Whoever we are and whatever we hold. While stopping, on the same connection, tasks are settled already.
    fn introduction(&mut self) -> ClientFrame {
        let stopping = *self.stop.borrow();
        let holding: Vec<_> = self.held.values_mut().map(|(held, _)| held.reconnected()).collect();
        self.counts.held_over.fetch_add(holding.len() as u64, Ordering::Relaxed);
        ClientFrame::Work(Work { queues: self.roster.queues(stopping), holding })
    }

    fn enqueue(&mut self, token: Arc<str>) {
        if self.in_ready.insert(token.clone()) {
            self.ready.push_back(token);
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some((due, token)) = self.wakes.pop_first() {
            if due > now {
                self.wakes.insert((due, token));
                return;
            }
            self.enqueue(token);
        }
    }

    fn hear(&mut self, said: Said) {
        let (Said::Chunk { token, .. } | Said::Finished { token, .. }) = &said;
        let token = token.clone();
        // A dropped task's body may still speak.
        let Some((held, leash)) = self.held.get_mut(&token) else { return };
        match said {
            Said::Chunk { data, .. } if data.get().len() > self.event_bytes => {
                let refusal = too_large("a chunk", data.get().len(), self.event_bytes);
                return self.settle(&token, |held| held.untaken(&refusal, None, Instant::now()));
            }
            Said::Chunk { data, room, .. } => {
                if held.is_running() {
                    count(&self.counts.chunks);
                    held.chunk(data, Some(room));
                }
            }
            Said::Finished { outcome, .. } if size_of(&outcome) > self.event_bytes => {
                let refusal = too_large("its output or failure", size_of(&outcome), self.event_bytes);
                *leash = None;
                return self.settle(&token, |held| held.untaken(&refusal, None, Instant::now()));
            }
            Said::Finished { outcome, .. } => {
                held.finish(outcome);
                *leash = None;
            }
        }
        self.enqueue(token);
    }

    fn take(&mut self, incoming: Incoming) -> Result<(), Stop> {
        let Incoming::Frame(frame) = incoming else {
            tracing::warn!("the node sent an event to a worker that subscribed to nothing");
            return Ok(());
        };
        let now = Instant::now();
        match frame {
            ServerFrame::Task(task) => self.begin(*task, now),
            ServerFrame::Held { token, status } => self.settle(&token, |held| held.held(&status, now)),
            ServerFrame::Took { token, seq, result, .. } => self.settle(&token, |held| held.took(seq, result)),
            ServerFrame::Untaken { token, code, message, next_seq, retry_after_ms } => {
                let refusal = Refusal { retry_after_ms, ..Refusal::new(code, message) };
                tracing::debug!(token, %refusal, "untaken");
                self.settle(&token, |held| held.untaken(&refusal, next_seq, now));
            }
            ServerFrame::Cancel { token } => {
                if let Some((_, Some(leash))) = self.held.get(token.as_str()) {
                    leash.cancel();
                }
            }
            ServerFrame::Err { code, message, retry_ms, .. } => return Err(complaint(code, message, retry_ms)),
            ServerFrame::Welcome { .. }
            | ServerFrame::Subbed { .. }
            | ServerFrame::Batch { .. }
            | ServerFrame::Mark { .. }
            | ServerFrame::Gap { .. }
            | ServerFrame::End { .. }
            | ServerFrame::Done { .. }
            | ServerFrame::Refused { .. }
            | ServerFrame::Goaway { .. }
            | ServerFrame::Pong { .. } => tracing::warn!("the node sent a frame that belongs to no worker"),
        }
        Ok(())
    }

    fn begin(&mut self, task: Task, now: Instant) {
        let token: Arc<str> = task.token.as_str().into();
        if self.held.contains_key(&token) {
            // The same attempt again: its body runs already.
            return;
        }
        self.dialer.settled();
        let mut held = Held::new(token.clone(), task.heartbeat_ms, now);
        let leash = match self.admit(&task) {
            Ok(handler) => {
                count(&self.counts.bodies);
                Some(body::start(task, handler, self.said.clone()))
            }
            Err(failed) => {
                held.finish(Err(failed));
                None
            }
        };
        self.held.insert(token.clone(), (held, leash));
        self.enqueue(token);
    }

    fn admit(&self, task: &Task) -> Result<Arc<dyn super::Handler>, Failed> {
        // A slot may be filled again before word of its release has arrived, hence twice.
        if self.held.len() >= 2 * self.roster.slots() {
            return Err(Failed::new("this worker was given more tasks than it has slots").kind("overloaded"));
        }
        let unknown = || format!("this worker knows no task {:?} on queue {:?}", task.task, task.queue);
        self.roster.handler(task).ok_or_else(|| Failed::new(unknown()).kind("unknown_task"))
    }

    fn settle(&mut self, token: &str, judge: impl FnOnce(&mut Held) -> Fate) {
        let Some((held, leash)) = self.held.get_mut(token) else { return };
        let was_running = held.is_running();
        match judge(held) {
            Fate::Kept => {
                if was_running && !held.is_running() {
                    // A chunk was refused for good, so nothing more of the body can be taken.
                    leash.take().iter().for_each(Leash::cancel);
                }
                self.enqueue(token.into());
            }
            Fate::Taken => {
                self.dialer.settled();
                count(&self.counts.taken);
                self.held.remove(token);
            }
            Fate::Dropped => {
                if let Some(leash) = leash {
                    count(&self.counts.cut_short);
                    leash.cancel();
                }
                self.held.remove(token);
            }
        }
    }
}

fn too_large(what: &str, bytes: usize, limit: usize) -> Refusal {
    Refusal::new(Code::TooLarge, format!("{what} has {bytes} bytes, the limit is {limit}"))
}

/// How many bytes a result takes up on the wire.
fn size_of(outcome: &Result<Box<RawValue>, Failed>) -> usize {
    match outcome {
        Ok(output) => output.get().len(),
        Err(failed) => serde_json::to_string(&failed.failure).map_or(usize::MAX, |text| text.len()),
    }
}

/// About the worker as a whole. What it asks for is wrong for good, or the node lost sight of it and is told again.
fn complaint(code: Code, message: String, retry_ms: Option<u64>) -> Stop {
    let for_good = matches!(code, Code::BadRequest | Code::BadMessage | Code::InvalidName | Code::TooLarge);
    if for_good {
        return Stop::Failed(Error::Refused(Refusal::new(code, message)));
    }
    let pause = retry_ms.map(std::time::Duration::from_millis);
    Stop::Again(Lost { pause, ..Lost::because(format!("{message} ({code})")) })
}

/// Bodies end with their desk.
impl Drop for Desk {
    fn drop(&mut self) {
        self.held.values().filter_map(|(_, leash)| leash.as_ref()).for_each(Leash::cancel);
    }
}
