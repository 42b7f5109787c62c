//! What the dispatcher knows, and how each event of the world moves it. A pure value: time comes in. Workers pull: a
//! step is given only into a poll that waits for one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::{
    Command, Effect, Failure, Flow, HEARTBEAT, Offer, SCHEDULE_TO_START, START_TO_CLOSE, Token, UNCLAIMED, WORKER_LOST,
};
use gateway::backend::{QueueSlots, WorkerPush};
use tokio::sync::Notify;
use types::{PartitionId, RunId, TenantId, Timestamp};

use super::queues::Queues;
use super::task::{Holder, Key, QueueKey, Task};
use super::worker::{self, Poll, Room, Worker};
use super::{Attempt, Owed};
use crate::translate::task_frame;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long a step waits for the worker that may still hold it.
    pub(crate) reclaim_ms: u64,
    /// How long a worker that neither waits nor holds anything is remembered.
    pub(crate) silence_ms: u64,
    /// Memory for what workers say about themselves.
    pub(crate) workers_bytes: usize,
    /// Waiting steps of a partition at which starts are refused, and at which they are taken again.
    pub(crate) pause_at: usize,
    pub(crate) resume_at: usize,
}

/// There is no memory for one more worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyWorkers;

#[derive(Debug)]
pub(crate) struct State {
    settings: Settings,
    tasks: BTreeMap<Key, Task>,
    queues: Queues,
    workers: BTreeMap<String, Worker>,
    /// What they cost, each its part.
    workers_bytes: BTreeMap<String, usize>,
    all_workers_bytes: usize,
    polls: u64,
    /// When workers that are silent are looked for again.
    sweep_at: Timestamp,
    deadlines: BTreeSet<(Timestamp, Key)>,
    depths: BTreeMap<PartitionId, (usize, Flow)>,
    owed: Owed,
    rung: Vec<Arc<Notify>>,
    earlier: bool,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            tasks: BTreeMap::new(),
            queues: Queues::default(),
            workers: BTreeMap::new(),
            workers_bytes: BTreeMap::new(),
            all_workers_bytes: 0,
            polls: 0,
            sweep_at: Timestamp::ZERO,
            deadlines: BTreeSet::new(),
            depths: BTreeMap::new(),
            owed: Vec::new(),
            rung: Vec::new(),
            earlier: false,
        }
    }

    /// What a recovery found: maybe held, so not offered before it is claimed or the time is up. What was handed to
    /// nobody, where that is known, goes out at once.
    pub(crate) fn recover(
        &mut self,
        partition: PartitionId,
        effect: Effect,
        known: Option<&BTreeSet<Attempt>>,
        now: Timestamp,
    ) {
        let until = now.plus_millis(self.settings.reclaim_ms);
        let at_home = |attempt: Attempt| known.is_some_and(|known| !known.contains(&attempt));
        match effect {
            Effect::Dispatch(offer) if at_home((offer.run, offer.step, offer.attempt)) => {
                self.take(partition, Effect::Dispatch(offer), now);
            }
            Effect::CancelStep { run, step, attempt } if at_home((run, step, attempt)) => {
                self.owed.push((partition, Command::DropStep { run, step, attempt }));
            }
            Effect::Dispatch(offer) => self.insert(partition, offer, Holder::Maybe { until }),
            Effect::CancelStep { run, step, attempt } => {
                let holder = Holder::Maybe { until };
                let task = Task { partition, attempt, offer: None, holder, cancelling: true, deadline: None };
                self.tasks.insert((run, step), task);
                self.reschedule((run, step));
            }
            Effect::Continue { run } => self.owed.push((partition, Command::ContinueRun { run })),
            Effect::Withdraw { .. } => {}
        }
    }

    pub(crate) fn take(&mut self, partition: PartitionId, effect: Effect, now: Timestamp) {
        match effect {
            Effect::Dispatch(offer) => {
                let (key, queue) = (
                    (offer.run, offer.step),
                    QueueKey { tenant: offer.tenant.clone(), queue: offer.queue.clone(), task: offer.task.clone() },
                );
                self.insert(partition, offer, Holder::Waiting { since: now });
                self.queues.push_back(queue.clone(), key);
                self.offer(&queue);
            }
            Effect::Withdraw { run, step, attempt } => self.withdraw((run, step), attempt),
            Effect::CancelStep { run, step, attempt } => self.cancel(partition, (run, step), attempt),
            Effect::Continue { run } => self.owed.push((partition, Command::ContinueRun { run })),
        }
    }

    /// A worker is there. Answers with the attempts that it has by its name, from before.
    pub(crate) fn attach(
        &mut self,
        name: &str,
        tenant: &TenantId,
        queues: &[QueueSlots],
        now: Timestamp,
    ) -> Result<Vec<Attempt>, TooManyWorkers> {
        let (cost, before) = (worker::cost(queues), self.workers_bytes.get(name).copied().unwrap_or_default());
        let all = self.all_workers_bytes - before + cost;
        if all > self.settings.workers_bytes {
            return Err(TooManyWorkers);
        }
        self.all_workers_bytes = all;
        self.workers_bytes.insert(name.to_owned(), cost);
        let worker = self.workers.entry(name.to_owned()).or_insert_with(|| Worker::new(tenant.clone(), now));
        worker.last_seen = now;
        let held = worker.held().filter_map(|key| {
            let task = self.tasks.get(&key)?;
            matches!(task.holder, Holder::Held { .. }).then_some((key.0, key.1, task.attempt))
        });
        Ok(held.collect())
    }

    /// It takes steps of these queues from now on, and of no others.
    pub(crate) fn serve(&mut self, name: &str, queues: &[QueueSlots]) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        for (queue, place) in std::mem::take(&mut worker.places) {
            self.queues.leave(&queue, place);
        }
        worker.serve(queues);
        self.enlist(name);
        self.fill(name);
    }

    /// The kernel agrees that the attempt is current: it is this worker's from now on.
    pub(crate) fn claim(&mut self, name: &str, token: &Token, now: Timestamp) {
        let key = (token.run, token.step);
        let Some(task) = self.tasks.get(&key).filter(|task| task.attempt == token.attempt) else { return };
        if !self.workers.contains_key(name) {
            return;
        }
        let (cancelling, queue) = (task.cancelling, task.queue_key());
        if let Some(queue) = &queue {
            self.queues.remove(queue, key);
        }
        self.free(key);
        self.hold(key, Holder::Held { worker: name.to_owned(), started: now, last_sign: now });
        let worker = self.workers.get_mut(name).expect("looked up above");
        worker.occupy(key, queue.map_or_else(String::new, |queue| queue.queue));
        if cancelling {
            self.rung.extend(worker.cancel(token.to_string()));
        }
        self.enlist(name);
    }

    /// A worker came back without an attempt that it had: nobody works on it any more.
    pub(crate) fn disclaim(&mut self, name: &str, (run, step, attempt): Attempt) {
        let key = (run, step);
        let task = self.tasks.get(&key).filter(|task| task.attempt == attempt);
        if let Some(Holder::Held { worker, .. }) = task.map(|task| &task.holder)
            && worker == name
        {
            self.lose(key, WORKER_LOST, "the worker came back and does not hold it any more");
        }
    }

    /// A worker waits for steps; `None`: it is not attached.
    pub(crate) fn open_poll(&mut self, name: &str, room: Room, bell: Arc<Notify>, now: Timestamp) -> Option<u64> {
        let worker = self.workers.get_mut(name)?;
        worker.last_seen = now;
        self.polls += 1;
        worker.open(self.polls, Poll::new(room, bell));
        self.enlist(name);
        self.fill(name);
        Some(self.polls)
    }

    /// Where a step is, for people.
    pub(crate) fn whereabouts(&self, run: RunId, step: u32) -> String {
        match self.tasks.get(&(run, step)).map(|task| &task.holder) {
            Some(Holder::Held { worker, .. }) => format!("is with worker {worker}"),
            Some(Holder::Maybe { .. } | Holder::Orphaned { .. }) => "is perhaps still with a worker".to_owned(),
            Some(Holder::Waiting { .. } | Holder::Given { .. }) | None => "waits for a worker".to_owned(),
        }
    }

    /// Everything that a worker has or may have.
    pub(crate) fn handed(&self) -> Vec<Attempt> {
        let away = |holder: &Holder| match holder {
            Holder::Maybe { .. } | Holder::Held { .. } | Holder::Orphaned { .. } => true,
            Holder::Waiting { .. } | Holder::Given { .. } => false,
        };
        let away = self.tasks.iter().filter(|(_, task)| away(&task.holder));
        away.map(|((run, step), task)| (*run, *step, task.attempt)).collect()
    }

    /// What there is for this poll by now, and which attempts leave with it: they are the worker's.
    pub(crate) fn fetch(&mut self, name: &str, poll: u64, now: Timestamp) -> (Vec<WorkerPush>, Vec<Attempt>) {
        let Some(worker) = self.workers.get_mut(name) else { return Default::default() };
        let Some(given) = worker.poll(poll).map(Poll::take) else { return Default::default() };
        worker.last_seen = now;
        let cancels = worker.take_cancels().into_iter().map(|token| WorkerPush::Cancel { token });
        let (mut pushes, mut leaving): (Vec<_>, _) = (cancels.collect(), Vec::new());
        for key in given {
            self.hold(key, Holder::Held { worker: name.to_owned(), started: now, last_sign: now });
            let Some(offer) = self.tasks.get(&key).and_then(|task| task.offer.as_deref()) else { continue };
            leaving.push((offer.run, offer.step, offer.attempt));
            pushes.push(WorkerPush::Task(task_frame(offer, now)));
        }
        // Whoever fetched something ends its poll: what waits goes to the next.
        self.enlist(name);
        (pushes, leaving)
    }

    /// The poll is over. What it was given and did not fetch goes to others.
    pub(crate) fn close_poll(&mut self, name: &str, poll: u64, now: Timestamp) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        worker.last_seen = now;
        let given = worker.close(poll);
        for key in given.iter().rev() {
            worker.vacate(*key);
        }
        self.enlist(name);
        self.put_back(&given);
        self.fill(name);
    }

    /// These attempts were fetched, but could not be told: they go to others, unless something was heard of them.
    pub(crate) fn give_back(&mut self, name: &str, tokens: &[Token], now: Timestamp) {
        let mut back = Vec::new();
        for token in tokens {
            let key = (token.run, token.step);
            let Some(task) = self.tasks.get(&key).filter(|task| task.attempt == token.attempt) else { continue };
            let Holder::Held { worker, started, last_sign } = &task.holder else { continue };
            if worker == name && started == last_sign {
                self.free(key);
                self.hold(key, Holder::Given { worker: name.to_owned(), since: now });
                back.push(key);
            }
        }
        self.put_back(&back);
        self.fill(name);
    }

    /// A sign of life about one attempt; false when the worker does not hold it.
    pub(crate) fn beat(&mut self, name: &str, token: &Token, now: Timestamp) -> bool {
        let key = (token.run, token.step);
        if let Some(worker) = self.workers.get_mut(name) {
            worker.last_seen = now;
        }
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.attempt == token.attempt) else { return false };
        match &mut task.holder {
            Holder::Held { worker, last_sign, .. } if worker == name => *last_sign = now,
            Holder::Held { .. }
            | Holder::Waiting { .. }
            | Holder::Maybe { .. }
            | Holder::Given { .. }
            | Holder::Orphaned { .. } => return false,
        }
        self.reschedule(key);
        true
    }

    /// Its connection is gone: what it fetched waits for it to come back, what it did not goes to others.
    pub(crate) fn detach(&mut self, name: &str, now: Timestamp) {
        let Some(worker) = self.forget(name) else { return };
        let until = now.plus_millis(self.settings.reclaim_ms);
        let mut given = Vec::new();
        for key in worker.held() {
            let Some(task) = self.tasks.get(&key) else { continue };
            match task.holder {
                Holder::Given { .. } => given.push(key),
                Holder::Held { .. } | Holder::Waiting { .. } | Holder::Maybe { .. } | Holder::Orphaned { .. } => {
                    self.hold(key, Holder::Orphaned { until });
                }
            }
        }
        self.put_back(&given);
    }

    pub(crate) fn tick(&mut self, now: Timestamp) {
        if now >= self.sweep_at {
            self.sweep_at = now.plus_millis(self.settings.silence_ms / 4);
            self.forget_the_silent(now);
        }
        while let Some(&(due, key)) = self.deadlines.first() {
            if due > now {
                break;
            }
            self.expire(key, now);
        }
    }

    /// Only those that hold nothing: a worker without a socket is silent while it works, and has its attempt's own
    /// time limits.
    fn forget_the_silent(&mut self, now: Timestamp) {
        let silence_ms = self.settings.silence_ms;
        let silent = |worker: &Worker| worker.is_idle() && now.millis_since(worker.last_seen) > silence_ms;
        let gone: Vec<_> =
            self.workers.iter().filter(|(_, worker)| silent(worker)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.forget(&name);
        }
    }

    fn forget(&mut self, name: &str) -> Option<Worker> {
        let worker = self.workers.remove(name)?;
        for (queue, place) in &worker.places {
            self.queues.leave(queue, *place);
        }
        self.all_workers_bytes -= self.workers_bytes.remove(name).unwrap_or_default();
        Some(worker)
    }

    fn expire(&mut self, key: Key, now: Timestamp) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(due) = task.deadline.take() {
            self.deadlines.remove(&(due, key));
        }
        let (kind, message) = match &task.holder {
            Holder::Maybe { .. } => (UNCLAIMED, "no worker said after the restart that it holds this attempt"),
            Holder::Orphaned { .. } => {
                (WORKER_LOST, "the worker's connection was lost and it did not come back in time")
            }
            Holder::Waiting { .. } => (SCHEDULE_TO_START, "no worker took the step in time"),
            Holder::Held { started, .. } => {
                let limit_ms = task.offer.as_deref().map_or(0, |offer| offer.start_to_close_ms);
                if now.millis_since(*started) >= limit_ms {
                    (START_TO_CLOSE, "the attempt ran longer than its start-to-close time")
                } else {
                    (HEARTBEAT, "the worker gave no sign of life within its heartbeat time")
                }
            }
            Holder::Given { .. } => return,
        };
        self.lose(key, kind, message);
    }

    /// The kernel is to decide what follows from it.
    fn lose(&mut self, key: Key, kind: &str, message: &str) {
        let Some(task) = self.tasks.get(&key) else { return };
        let ((run, step), attempt) = (key, task.attempt);
        let command = if task.cancelling {
            Command::DropStep { run, step, attempt }
        } else {
            Command::LoseAttempt { run, step, attempt, failure: Failure::new(kind, message) }
        };
        self.owed.push((task.partition, command));
    }

    fn insert(&mut self, partition: PartitionId, offer: Box<Offer>, holder: Holder) {
        let key = (offer.run, offer.step);
        self.free(key);
        let waits = matches!(holder, Holder::Waiting { .. });
        let task =
            Task { partition, attempt: offer.attempt, offer: Some(offer), holder, cancelling: false, deadline: None };
        self.tasks.insert(key, task);
        if waits {
            self.count(partition, 1);
        }
        self.reschedule(key);
    }

    fn withdraw(&mut self, key: Key, attempt: u32) {
        let Some(task) = self.tasks.get(&key).filter(|task| task.attempt == attempt) else { return };
        let (partition, queue) = (task.partition, task.queue_key());
        let worker = task.worker().map(ToOwned::to_owned);
        if let Holder::Waiting { .. } = task.holder {
            self.count(partition, -1);
        }
        if let Some(queue) = &queue {
            self.queues.remove(queue, key);
        }
        self.free(key);
        if let Some(task) = self.tasks.remove(&key)
            && let Some(due) = task.deadline
        {
            self.deadlines.remove(&(due, key));
        }
        if let Some(name) = worker {
            self.fill(&name);
        }
    }

    fn cancel(&mut self, partition: PartitionId, key: Key, attempt: u32) {
        let (run, step) = key;
        let drop_step = (partition, Command::DropStep { run, step, attempt });
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.attempt == attempt) else {
            return self.owed.push(drop_step);
        };
        task.cancelling = true;
        let queue = task.queue_key();
        match task.holder.clone() {
            Holder::Waiting { .. } => {
                if let Some(queue) = queue {
                    self.queues.remove(&queue, key);
                }
                self.owed.push(drop_step);
            }
            Holder::Given { .. } => self.owed.push(drop_step),
            Holder::Maybe { .. } | Holder::Orphaned { .. } => {}
            Holder::Held { worker, .. } => {
                let token = task.offer.as_deref().map(|offer| offer.token.to_string());
                if let (Some(worker), Some(token)) = (self.workers.get_mut(&worker), token) {
                    self.rung.extend(worker.cancel(token));
                }
            }
        }
    }

    /// Takes the step from whoever has it.
    fn free(&mut self, key: Key) {
        let Some(name) = self.tasks.get(&key).and_then(Task::worker).map(ToOwned::to_owned) else { return };
        let Some(worker) = self.workers.get_mut(&name) else { return };
        worker.vacate(key);
        self.enlist(&name);
    }

    fn hold(&mut self, key: Key, holder: Holder) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let waits = |holder: &Holder| isize::from(matches!(holder, Holder::Waiting { .. }));
        let change = waits(&holder) - waits(&task.holder);
        let partition = task.partition;
        task.holder = holder;
        self.count(partition, change);
        self.reschedule(key);
    }

    /// Steps that were given and not fetched stand in line again, before the others and in their order.
    fn put_back(&mut self, keys: &[Key]) {
        let mut queues = BTreeSet::new();
        for &key in keys.iter().rev() {
            let Some(task) = self.tasks.get(&key) else { continue };
            let Holder::Given { since, .. } = task.holder else { continue };
            let queue = task.queue_key().filter(|_| !task.cancelling);
            if task.cancelling {
                // Nobody has it, so nobody has to be asked.
                let (partition, (run, step), attempt) = (task.partition, key, task.attempt);
                self.owed.push((partition, Command::DropStep { run, step, attempt }));
            }
            self.hold(key, Holder::Waiting { since });
            if let Some(queue) = queue {
                self.queues.push_front(queue.clone(), key);
                queues.insert(queue);
            }
        }
        for queue in queues {
            self.offer(&queue);
        }
    }

    /// Gives waiting steps of a queue to workers that are ready.
    fn offer(&mut self, queue: &QueueKey) {
        while let Some(key) = self.queues.first(queue) {
            let Some(name) = self.queues.next_worker(queue) else { return };
            self.give(&name, queue, key);
        }
    }

    /// Gives a worker that waits what it may have, one of each queue in turn.
    fn fill(&mut self, name: &str) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        let serves = worker.serves();
        worker.turn = (worker.turn + 1) % serves.len().max(1);
        let first = worker.turn;
        let mut gave = true;
        while std::mem::take(&mut gave) {
            for queue in serves[first..].iter().chain(&serves[..first]) {
                let ready = self.workers.get(name).is_some_and(|worker| worker.is_ready(&queue.queue));
                if let Some(key) = self.queues.first(queue).filter(|_| ready) {
                    self.give(name, queue, key);
                    gave = true;
                }
            }
        }
    }

    fn give(&mut self, name: &str, queue: &QueueKey, key: Key) {
        self.queues.remove(queue, key);
        let task = self.tasks.get(&key).expect("what stands in line is known");
        let since = match task.holder {
            Holder::Waiting { since } => since,
            Holder::Maybe { .. } | Holder::Given { .. } | Holder::Held { .. } | Holder::Orphaned { .. } => {
                unreachable!("only steps that wait stand in line")
            }
        };
        let bytes = task.bytes();
        self.hold(key, Holder::Given { worker: name.to_owned(), since });
        let worker = self.workers.get_mut(name).expect("a worker in line is attached");
        worker.occupy(key, queue.queue.clone());
        self.rung.push(worker.give(key, bytes).expect("a worker in line waits in a poll with room"));
        // To the end of the line, if it is to stand there at all.
        if let Some(place) = worker.places.remove(queue) {
            self.queues.leave(queue, place);
        }
        self.enlist(name);
    }

    /// Has the worker stand in line exactly where it would take a step now.
    fn enlist(&mut self, name: &str) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        for queue in worker.serves().iter() {
            match (worker.is_ready(&queue.queue), worker.places.get(queue).copied()) {
                (true, None) => {
                    let place = self.queues.enlist(queue.clone(), name);
                    worker.places.insert(queue.clone(), place);
                }
                (false, Some(place)) => {
                    worker.places.remove(queue);
                    self.queues.leave(queue, place);
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    fn reschedule(&mut self, key: Key) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        let due = task.due();
        if let Some(before) = std::mem::replace(&mut task.deadline, due) {
            self.deadlines.remove(&(before, key));
        }
        if let Some(due) = due {
            self.earlier |= self.deadlines.first().is_none_or(|(first, _)| due < *first);
            self.deadlines.insert((due, key));
        }
    }

    fn count(&mut self, partition: PartitionId, change: isize) {
        let flow = Flow::new(self.settings.pause_at, self.settings.resume_at);
        let (depth, flow) = self.depths.entry(partition).or_insert((0, flow));
        *depth = depth.saturating_add_signed(change);
        flow.observe(*depth);
    }

    pub(crate) fn is_paused(&mut self, partition: PartitionId) -> bool {
        self.depths.get_mut(&partition).is_some_and(|(depth, flow)| flow.observe(*depth))
    }

    pub(crate) fn waiting(&self) -> usize {
        self.depths.values().map(|(depth, _)| depth).sum()
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    pub(super) fn drain_owed(&mut self) -> Owed {
        std::mem::take(&mut self.owed)
    }

    pub(super) fn drain_rung(&mut self) -> Vec<Arc<Notify>> {
        std::mem::take(&mut self.rung)
    }

    pub(super) fn take_earlier_deadline(&mut self) -> bool {
        std::mem::take(&mut self.earlier)
    }
}
