//! What the dispatcher knows, and how each event of the world moves it. A pure value: time comes in.

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    Command, Effect, Failure, Flow, HEARTBEAT, Offer, SCHEDULE_TO_START, START_TO_CLOSE, Token, UNCLAIMED, WORKER_LOST,
};
use gateway::backend::QueueSlots;
use gateway::backend::WorkerPush;
use types::{PartitionId, TenantId, Timestamp};

use super::queues::{Out, Queues, Worker};
use super::task::{Holder, Key, QueueKey, Task};
use super::{Attempt, Owed};
use crate::translate::task_frame;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long a step waits for the worker that may still hold it.
    pub(crate) reclaim_ms: u64,
    /// How long a worker may be silent before it counts as gone.
    pub(crate) silence_ms: u64,
    /// Waiting steps of a partition at which starts are refused, and at which they are taken again.
    pub(crate) pause_at: usize,
    pub(crate) resume_at: usize,
}

#[derive(Debug)]
pub(crate) struct State {
    settings: Settings,
    tasks: BTreeMap<Key, Task>,
    queues: Queues,
    workers: BTreeMap<String, Worker>,
    deadlines: BTreeSet<(Timestamp, Key)>,
    depths: BTreeMap<PartitionId, (usize, Flow)>,
    owed: Owed,
    rung: BTreeSet<String>,
    earlier: bool,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            tasks: BTreeMap::new(),
            queues: Queues::default(),
            workers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            depths: BTreeMap::new(),
            owed: Vec::new(),
            rung: BTreeSet::new(),
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
                self.serve_queue(&queue);
            }
            Effect::Withdraw { run, step, attempt } => self.withdraw((run, step), attempt),
            Effect::CancelStep { run, step, attempt } => self.cancel(partition, (run, step), attempt),
            Effect::Continue { run } => self.owed.push((partition, Command::ContinueRun { run })),
        }
    }

    pub(crate) fn attach(&mut self, name: &str, tenant: &TenantId, queues: Vec<QueueSlots>, now: Timestamp) {
        self.queues.leave(name);
        let worker =
            self.workers.entry(name.to_owned()).or_insert_with(|| Worker::new(tenant.clone(), Vec::new(), now));
        worker.serve(queues);
        worker.last_seen = now;
        let serves = worker.serves();
        self.queues.serve(name, &serves);
        for queue in serves {
            self.serve_queue(&queue);
        }
    }

    /// The kernel agrees that the attempt is current: it is this worker's from now on.
    pub(crate) fn claim(&mut self, name: &str, token: &Token, now: Timestamp) {
        let key = (token.run, token.step);
        let Some(task) = self.tasks.get(&key).filter(|task| task.attempt == token.attempt) else { return };
        let cancelling = task.cancelling;
        if let (Holder::Waiting { .. }, Some(queue)) = (&task.holder, task.queue_key()) {
            self.queues.remove(&queue, key);
        }
        let queue = task.queue_key().map_or_else(String::new, |queue| queue.queue);
        self.free(key);
        let holder = Holder::Held { worker: name.to_owned(), started: now, last_sign: now };
        self.hold(key, holder);
        if let Some(worker) = self.workers.get_mut(name) {
            worker.occupy(key, queue);
            if cancelling {
                worker.outbox.push_back(Out::Push(WorkerPush::Cancel { token: token.to_string() }));
                self.rung.insert(name.to_owned());
            }
        }
    }

    /// Everything that a worker has or may have.
    pub(crate) fn handed(&self) -> Vec<Attempt> {
        let away = |holder: &Holder| match holder {
            Holder::Maybe { .. } | Holder::Held { .. } | Holder::Orphaned { .. } => true,
            Holder::Waiting { .. } | Holder::Outbox { .. } => false,
        };
        let away = self.tasks.iter().filter(|(_, task)| away(&task.holder));
        away.map(|((run, step), task)| (*run, *step, task.attempt)).collect()
    }

    /// What the worker is sent, and which attempts leave with it.
    pub(crate) fn poll(&mut self, name: &str, max: usize, now: Timestamp) -> Option<(Vec<WorkerPush>, Vec<Attempt>)> {
        let worker = self.workers.get_mut(name)?;
        worker.last_seen = now;
        let count = max.min(worker.outbox.len());
        let taken: Vec<Out> = worker.outbox.drain(..count).collect();
        let mut pushes = Vec::with_capacity(taken.len());
        let mut leaving = Vec::new();
        for out in taken {
            match out {
                Out::Push(push) => pushes.push(push),
                Out::Task(key) => {
                    self.hold(key, Holder::Held { worker: name.to_owned(), started: now, last_sign: now });
                    let Some(offer) = self.tasks.get(&key).and_then(|task| task.offer.as_deref()) else { continue };
                    leaving.push((offer.run, offer.step, offer.attempt));
                    pushes.push(WorkerPush::Task(task_frame(offer, now)));
                }
            }
        }
        Some((pushes, leaving))
    }

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
            | Holder::Outbox { .. }
            | Holder::Orphaned { .. } => return false,
        }
        self.reschedule(key);
        true
    }

    /// Its connection is gone: what it fetched waits for it to come back, what it did not goes to others.
    pub(crate) fn detach(&mut self, name: &str, now: Timestamp) {
        self.queues.leave(name);
        let Some(worker) = self.workers.remove(name) else { return };
        let until = now.plus_millis(self.settings.reclaim_ms);
        for key in worker.into_held() {
            let Some(task) = self.tasks.get(&key) else { continue };
            match (&task.holder, task.queue_key()) {
                (Holder::Outbox { .. }, Some(queue)) => {
                    self.hold(key, Holder::Waiting { since: now });
                    self.queues.push_front(queue.clone(), key);
                    self.serve_queue(&queue);
                }
                (_, _) => self.hold(key, Holder::Orphaned { until }),
            }
        }
    }

    pub(crate) fn tick(&mut self, now: Timestamp) {
        let silent = |worker: &Worker| now.millis_since(worker.last_seen) > self.settings.silence_ms;
        let gone: Vec<_> =
            self.workers.iter().filter(|(_, worker)| silent(worker)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.detach(&name, now);
        }
        while let Some(&(due, key)) = self.deadlines.first() {
            if due > now {
                break;
            }
            self.expire(key, now);
        }
    }

    fn expire(&mut self, key: Key, now: Timestamp) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(due) = task.deadline.take() {
            self.deadlines.remove(&(due, key));
        }
        let (partition, attempt, cancelling) = (task.partition, task.attempt, task.cancelling);
        let (run, step) = key;
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
            Holder::Outbox { .. } => return,
        };
        let command = if cancelling {
            Command::DropStep { run, step, attempt }
        } else {
            Command::LoseAttempt { run, step, attempt, failure: Failure::new(kind, message) }
        };
        self.owed.push((partition, command));
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
        let (partition, queue, holder) = (task.partition, task.queue_key(), task.holder.clone());
        if let (Holder::Waiting { .. }, Some(queue)) = (&holder, &queue) {
            self.queues.remove(queue, key);
            self.count(partition, -1);
        }
        self.free(key);
        if let Some(task) = self.tasks.remove(&key)
            && let Some(due) = task.deadline
        {
            self.deadlines.remove(&(due, key));
        }
        if let Some(queue) = queue {
            self.serve_worker_queue(&queue);
        }
    }

    fn cancel(&mut self, partition: PartitionId, key: Key, attempt: u32) {
        let (run, step) = key;
        let drop_step = (partition, Command::DropStep { run, step, attempt });
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.attempt == attempt) else {
            return self.owed.push(drop_step);
        };
        task.cancelling = true;
        match task.holder.clone() {
            Holder::Waiting { .. } | Holder::Outbox { .. } => self.owed.push(drop_step),
            Holder::Maybe { .. } | Holder::Orphaned { .. } => {}
            Holder::Held { worker, .. } => {
                let token = task.offer.as_deref().map(|offer| offer.token.to_string());
                if let (Some(worker), Some(token)) = (self.workers.get_mut(&worker), token) {
                    worker.outbox.push_back(Out::Push(WorkerPush::Cancel { token }));
                }
                self.rung.insert(worker);
            }
        }
    }

    /// Takes the step from whoever holds it.
    fn free(&mut self, key: Key) {
        let Some(task) = self.tasks.get(&key) else { return };
        let Some(worker) = task.worker().and_then(|name| self.workers.get_mut(name)) else { return };
        worker.vacate(key);
        if matches!(task.holder, Holder::Outbox { .. }) {
            worker.outbox.retain(|out| !matches!(out, Out::Task(other) if *other == key));
        }
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

    /// Gives waiting steps of a queue to workers with free slots.
    fn serve_queue(&mut self, queue: &QueueKey) {
        while let Some(key) = self.queues.first(queue) {
            let Some(name) = self.queues.next_worker(queue, &self.workers) else { return };
            self.queues.remove(queue, key);
            self.hold(key, Holder::Outbox { worker: name.clone() });
            let worker = self.workers.get_mut(&name).expect("the next worker is attached");
            worker.occupy(key, queue.queue.clone());
            worker.outbox.push_back(Out::Task(key));
            self.rung.insert(name);
        }
    }

    /// A slot of this queue came free: whatever its workers serve there may go on.
    fn serve_worker_queue(&mut self, freed: &QueueKey) {
        for queue in self.queues.busy(freed) {
            self.serve_queue(&queue);
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

    pub(super) fn drain_rung(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.rung)
    }

    pub(super) fn take_earlier_deadline(&mut self) -> bool {
        std::mem::take(&mut self.earlier)
    }
}
