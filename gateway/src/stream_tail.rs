//! Follows each subscribed stream once, encodes its events once, and leaves them with every subscriber that is at the
//! tail. Whoever is behind reads from the backend itself; nothing is kept here for later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::AbortHandle;
use types::{Cursor, History, Incarnation, Offset, StreamName, TenantId};

use crate::backend::{Backend, Read, ReadReply};
use crate::budget::{Budget, Full};
use crate::chunk::Chunk;
use crate::inbox::{Address, Inbox};
use crate::limits::{Limits, millis};
use crate::metrics::Metrics;
use crate::recourse::{Recourse, recourse};

/// A stream in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TailKey {
    pub(crate) tenant: TenantId,
    pub(crate) stream: StreamName,
    pub(crate) history: History,
    pub(crate) incarnation: Incarnation,
}

impl TailKey {
    fn cursor(&self, next: Offset) -> Cursor {
        Cursor { history: self.history, incarnation: self.incarnation, next }
    }
}

/// Who follows.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) address: Address,
}

/// All streams that someone follows.
#[derive(Debug)]
pub(crate) struct Tails<B> {
    backend: B,
    limits: Arc<Limits>,
    metrics: Metrics,
    /// Live events that wait in sockets.
    live: Arc<Budget>,
    followed: Mutex<HashMap<TailKey, Tail>>,
}

#[derive(Debug)]
struct Tail {
    shared: Arc<Mutex<Shared>>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// What the next chunk starts with.
    next: Offset,
    members: Vec<Member>,
}

impl<B: Backend> Tails<B> {
    pub(crate) fn new(backend: B, limits: Arc<Limits>, metrics: Metrics) -> Arc<Self> {
        let live = Budget::new(limits.live_bytes, metrics.held("live"));
        Arc::new(Self { backend, limits, metrics, live, followed: Mutex::default() })
    }

    /// Follows a stream from its tail on; `at` is where the asker stands. The answer is the first offset it will be
    /// sent: what lies between is read from the backend, what it has already it drops.
    pub(crate) fn join(self: &Arc<Self>, key: &TailKey, at: Offset, member: Member) -> Offset {
        let mut followed = self.followed();
        if let Some(tail) = followed.get(key) {
            let mut shared = lock(&tail.shared);
            shared.members.push(member);
            return shared.next;
        }
        let shared = Arc::new(Mutex::new(Shared { next: at, members: vec![member] }));
        let following = follow(Arc::clone(self), key.clone(), Arc::clone(&shared), at);
        let task = tokio::spawn(following).abort_handle();
        followed.insert(key.clone(), Tail { shared, task });
        at
    }

    /// Stops following. The last one to go ends the following.
    pub(crate) fn leave(&self, key: &TailKey, inbox: &Arc<Inbox>, address: Address) {
        let mut followed = self.followed();
        let Some(tail) = followed.get(key) else { return };
        let mut shared = lock(&tail.shared);
        let own = |member: &Member| member.address == address && Arc::ptr_eq(&member.inbox, inbox);
        if let Some(index) = shared.members.iter().position(own) {
            shared.members.swap_remove(index);
        }
        let last = shared.members.is_empty();
        drop(shared);
        if last && let Some(tail) = followed.remove(key) {
            tail.task.abort();
        }
    }

    /// Ends the following; whoever is still there learns that it reads for itself again.
    fn end(&self, key: &TailKey, shared: &Arc<Mutex<Shared>>) {
        let mut followed = self.followed();
        if followed.get(key).is_some_and(|tail| Arc::ptr_eq(&tail.shared, shared)) {
            followed.remove(key);
        }
        drop(followed);
        for member in std::mem::take(&mut lock(shared).members) {
            member.inbox.lose(member.address);
        }
    }

    /// Whether nobody is left to follow for; if so the following is over.
    fn is_deserted(&self, key: &TailKey, shared: &Arc<Mutex<Shared>>) -> bool {
        let mut followed = self.followed();
        let deserted = lock(shared).members.is_empty();
        if deserted && followed.get(key).is_some_and(|tail| Arc::ptr_eq(&tail.shared, shared)) {
            followed.remove(key);
        }
        deserted
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<TailKey, Tail>> {
        self.followed.lock().expect("nothing panics while it holds the tails")
    }

    fn publish(&self, shared: &Mutex<Shared>, from: Cursor, reply: ReadReply) -> Offset {
        let chunk = Chunk::encode(from, reply, None);
        self.metrics.events_encoded.inc_by(chunk.len() as u64);
        let mut shared = lock(shared);
        shared.next = chunk.end();
        match chunk.counted(&self.live) {
            Ok(chunk) => {
                let chunk = Arc::new(chunk);
                shared.members.retain(|member| member.inbox.offer(member.address, &chunk));
            }
            // There is no memory to keep it for those that are slow; each reads it for itself when it can take it.
            Err(Full) => shared.members.drain(..).for_each(|member| member.inbox.lose(member.address)),
        }
        shared.next
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nothing panics while it holds a tail")
}

async fn follow<B: Backend>(tails: Arc<Tails<B>>, key: TailKey, shared: Arc<Mutex<Shared>>, start: Offset) {
    let mut next = start;
    loop {
        let read = Read {
            stream: key.stream.clone(),
            from: key.cursor(next),
            max_events: tails.limits.read_events,
            max_bytes: tails.limits.batch_bytes,
            wait_ms: millis(tails.limits.poll_time),
        };
        match tails.backend.read(&key.tenant, read).await {
            Ok(reply) => {
                let closed = reply.info.closed;
                let end = reply.info.head;
                if !reply.events.is_empty() || closed {
                    next = tails.publish(&shared, key.cursor(next), reply);
                }
                if closed && next == end {
                    return tails.end(&key, &shared);
                }
            }
            Err(refusal) => match recourse(&refusal) {
                Recourse::Retry(pause) => tokio::time::sleep(pause).await,
                // Each subscriber finds out for itself, with the words that fit its position.
                Recourse::LookAgain | Recourse::StreamGone | Recourse::GiveUp => return tails.end(&key, &shared),
            },
        }
        if tails.is_deserted(&key, &shared) {
            return;
        }
    }
}
