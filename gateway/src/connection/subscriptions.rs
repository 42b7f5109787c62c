//! The subscriptions of a socket, taking turns: each sends a batch, asks for what it needs, or waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use protocol::{Credit, EndStatus, Filter, ServerFrame, Sub};
use types::{Code, Cursor, Refusal, StreamStart};

use super::outcome::Outcome;
use super::state::State;
use super::worker::after;
use crate::backend::{Backend, Read, ReadReply, StreamInfo};
use crate::chunk::Chunk;
use crate::inbox::Address;
use crate::recourse::{Recourse, recourse, resume_at};
use crate::stream_tail::{Member, TailKey};
use crate::subscription::{Portion, Step, Subscription};

/// Event types in one filter: more is no filter.
const FILTER_TYPES: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: HashMap<u32, Entry>,
    next_key: u64,
    /// Those that may have something to do.
    ready: VecDeque<Address>,
    /// Those that are behind, until a read may start.
    behind: VecDeque<(Address, Cursor, Portion)>,
    reads: usize,
    /// Bytes of live events kept for all of them; an upper bound.
    kept_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    subscription: Subscription,
    /// Stands in `ready`.
    queued: bool,
}

impl Subscriptions {
    fn of(&mut self, address: Address) -> Option<&mut Subscription> {
        self.all.get_mut(&address.id).map(|entry| &mut entry.subscription).filter(|found| found.address == address)
    }

    fn queue(&mut self, address: Address) {
        let entry = self.all.get_mut(&address.id).filter(|entry| entry.subscription.address == address);
        if let Some(entry) = entry
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.ready.push_back(address);
        }
    }

    fn next_ready(&mut self) -> Option<&mut Subscription> {
        while let Some(address) = self.ready.pop_front() {
            let found = self.all.get_mut(&address.id).filter(|entry| entry.subscription.address == address);
            if let Some(entry) = found {
                entry.queued = false;
                // Looked up again because the borrow checker does not see that this returns.
                return self.of(address);
            }
        }
        None
    }

    /// Bytes of events that were read for one of them and not sent yet.
    pub(super) fn backlog_bytes(&self) -> usize {
        self.all.values().map(|entry| entry.subscription.backlog_bytes()).sum()
    }

    /// Whether there is one of this id.
    pub(super) fn credit(&mut self, credit: &Credit) -> bool {
        let Some(entry) = self.all.get_mut(&credit.id) else { return false };
        entry.subscription.add_credit(credit);
        let address = entry.subscription.address;
        self.queue(address);
        true
    }

    pub(super) fn retry(&mut self, address: Address) {
        if let Some(subscription) = self.of(address) {
            subscription.retry();
            self.queue(address);
        }
    }

    /// Tells all positions that moved without an event.
    pub(super) fn mark(&mut self, out: &mut Vec<u8>) {
        for entry in self.all.values_mut() {
            entry.subscription.mark(out);
        }
    }
}

impl<B: Backend> State<B> {
    pub(super) fn subscribe(&mut self, sub: Sub) {
        if let Err(refusal) = self.may_subscribe(&sub) {
            return self.object(sub.id, &refusal);
        }
        let address = Address { id: sub.id, key: self.subscriptions.next_key };
        self.subscriptions.next_key += 1;
        let start = sub.from;
        let entry = Entry { subscription: Subscription::new(address, sub), queued: false };
        self.subscriptions.all.insert(address.id, entry);
        self.gateway.metrics.subscriptions.inc();
        self.look_up(address, start, true);
    }

    fn may_subscribe(&self, sub: &Sub) -> Result<(), Refusal> {
        let (all, limit) = (&self.subscriptions.all, self.gateway.limits.subscriptions);
        if all.contains_key(&sub.id) {
            return Err(Refusal::new(Code::BadMessage, "a subscription has this id already: unsub first"));
        }
        if all.len() >= limit {
            return Err(Refusal::new(Code::TooManyRequests, format!("a connection has at most {limit} subscriptions")));
        }
        match &sub.filter {
            Some(Filter { types }) if !(1..=FILTER_TYPES).contains(&types.len()) => {
                Err(Refusal::new(Code::BadMessage, format!("a filter names 1 to {FILTER_TYPES} event types")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Asks how the stream stands. `first`: for a new subscription.
    pub(super) fn look_up(&mut self, address: Address, start: StreamStart, first: bool) {
        let Some(subscription) = self.subscriptions.of(address) else { return };
        let answer = self.gateway.backend.stream(&self.tenant, subscription.stream.clone());
        self.pending.push(async move { Outcome::Opened { address, start, first, result: answer.await } });
    }

    pub(super) fn opened(
        &mut self,
        address: Address,
        start: StreamStart,
        first: bool,
        result: Result<StreamInfo, Refusal>,
    ) {
        let Some(subscription) = self.subscriptions.of(address) else { return };
        let info = match result {
            Ok(info) => info,
            Err(refusal) => return self.look_up_failed(address, start, first, &refusal),
        };
        let plan = if first {
            subscription.open(start, &info, &mut self.out)
        } else {
            subscription.reopen(&info, &mut self.out)
        };
        self.gateway.metrics.resumed(plan.name());
        self.subscriptions.queue(address);
    }

    fn look_up_failed(&mut self, address: Address, start: StreamStart, first: bool, refusal: &Refusal) {
        match recourse(refusal) {
            Recourse::Retry(pause) => self.pending.push(after(pause, Outcome::OpenAgain { address, start, first })),
            Recourse::StreamGone if !first => self.finish(address, EndStatus::Deleted),
            Recourse::LookAgain | Recourse::StreamGone | Recourse::GiveUp => self.give_up(address, refusal),
        }
    }

    pub(super) fn unsubscribe(&mut self, id: u32) {
        match self.subscriptions.all.get(&id) {
            Some(entry) => self.finish(entry.subscription.address, EndStatus::Unsubscribed),
            None => self.object(id, &Refusal::new(Code::NotFound, "no subscription has this id")),
        }
    }

    pub(super) fn unsubscribe_all(&mut self) {
        let addresses: Vec<_> = self.subscriptions.all.values().map(|entry| entry.subscription.address).collect();
        for address in addresses {
            self.forget(address);
        }
    }

    /// Ends a subscription and says so.
    fn finish(&mut self, address: Address, status: EndStatus) {
        let cursor = self.subscriptions.of(address).and_then(|subscription| subscription.position());
        self.forget(address);
        self.say(&ServerFrame::End { id: address.id, cursor, status });
    }

    /// Ends a subscription that cannot go on, and says why.
    fn give_up(&mut self, address: Address, refusal: &Refusal) {
        self.forget(address);
        self.object(address.id, refusal);
    }

    fn forget(&mut self, address: Address) {
        self.unfollow(address);
        if self.subscriptions.of(address).is_some() {
            self.subscriptions.all.remove(&address.id);
            self.gateway.metrics.subscriptions.dec();
        }
    }

    /// Leaves the tail, if it follows; the rest it reads for itself.
    fn unfollow(&mut self, address: Address) {
        let Some(subscription) = self.subscriptions.of(address) else { return };
        if let Some(key) = subscription.lose() {
            self.gateway.tails.leave(&key, &self.inbox, address);
        }
    }

    /// Live events came for it. One that cannot take them for want of credit keeps a few and then stops following.
    pub(super) fn arrived(&mut self, address: Address, chunk: Arc<Chunk>) {
        let Some(subscription) = self.subscriptions.of(address) else { return };
        self.subscriptions.kept_bytes += subscription.arrived(chunk);
        self.subscriptions.queue(address);
    }

    /// It follows no longer.
    pub(super) fn lost(&mut self, address: Address) {
        if let Some(subscription) = self.subscriptions.of(address) {
            // The tail has let go of it already.
            subscription.lose();
            self.subscriptions.queue(address);
        }
    }

    pub(super) fn read_answered(&mut self, address: Address, from: Cursor, result: Result<ReadReply, Refusal>) {
        self.subscriptions.reads -= 1;
        let Some(subscription) = self.subscriptions.of(address) else { return };
        match result {
            Ok(reply) => {
                subscription.read(from, reply);
                self.subscriptions.queue(address);
            }
            Err(refusal) => self.read_failed(address, from, &refusal),
        }
    }

    fn read_failed(&mut self, address: Address, from: Cursor, refusal: &Refusal) {
        match recourse(refusal) {
            Recourse::Retry(pause) => self.pending.push(after(pause, Outcome::ReadAgain { address })),
            Recourse::StreamGone => self.finish(address, EndStatus::Deleted),
            Recourse::LookAgain => {
                self.unfollow(address);
                if let (Some(low), Some(subscription)) = (resume_at(refusal), self.subscriptions.of(address)) {
                    subscription.gap_to(low, refusal.code);
                }
                self.look_up(address, StreamStart::At(from), false);
            }
            Recourse::GiveUp => self.give_up(address, refusal),
        }
    }

    /// Lets subscriptions take turns until nobody can go on or enough is written. Whether a position waits to be told.
    pub(super) fn pump(&mut self) -> bool {
        let mut mark = false;
        while self.out.len() < self.gateway.limits.unsent_bytes {
            let Some(subscription) = self.subscriptions.next_ready() else { break };
            let address = subscription.address;
            match subscription.step(&self.tenant, &self.gateway.limits, &mut self.out) {
                Step::Moved { events } => {
                    self.gateway.metrics.events_sent.inc_by(events.into());
                    self.subscriptions.queue(address);
                }
                Step::Read(from, portion) => self.subscriptions.behind.push_back((address, from, portion)),
                Step::Join(key, at) => self.join(address, key, at),
                Step::Ended => self.finish(address, EndStatus::Closed),
                Step::Wait { mark: owed } => mark |= owed,
            }
        }
        self.keep_little();
        self.start_reads();
        mark
    }

    fn join(&mut self, address: Address, key: TailKey, at: types::Offset) {
        let member = Member { inbox: Arc::clone(&self.inbox), address };
        let start = self.gateway.tails.join(&key, at, member);
        if let Some(subscription) = self.subscriptions.of(address) {
            subscription.joined(key, start);
            self.subscriptions.queue(address);
        }
    }

    /// Live events that wait for credit are dropped when they become many: the log has them.
    fn keep_little(&mut self) {
        if self.subscriptions.kept_bytes <= self.gateway.limits.feed_bytes {
            return;
        }
        self.subscriptions.kept_bytes =
            self.subscriptions.all.values().map(|entry| entry.subscription.kept_bytes()).sum();
        if self.subscriptions.kept_bytes > self.gateway.limits.feed_bytes {
            let keeping = self.subscriptions.all.values().filter(|entry| entry.subscription.kept_bytes() > 0);
            let addresses: Vec<_> = keeping.map(|entry| entry.subscription.address).collect();
            for address in addresses {
                self.unfollow(address);
                self.subscriptions.queue(address);
            }
            self.subscriptions.kept_bytes = 0;
        }
    }

    fn start_reads(&mut self) {
        if self.subscriptions.behind.is_empty() {
            return;
        }
        let limits = Arc::clone(&self.gateway.limits);
        let waiting = self.subscriptions.backlog_bytes();
        while self.subscriptions.reads < limits.reads_in_flight
            && self.out.len() < limits.unsent_bytes
            && waiting + self.subscriptions.reads * limits.batch_bytes < limits.backlog_bytes
        {
            let Some((address, from, portion)) = self.subscriptions.behind.pop_front() else { return };
            let Some(subscription) = self.subscriptions.of(address) else { continue };
            let read = Read {
                stream: subscription.stream.clone(),
                from,
                max_events: portion.events,
                max_bytes: portion.bytes,
                wait_ms: 0,
            };
            let answer = self.gateway.backend.read(&self.tenant, read);
            self.subscriptions.reads += 1;
            self.gateway.metrics.reads.inc();
            self.pending.push(async move { Outcome::Read { address, from, result: answer.await } });
        }
    }
}
