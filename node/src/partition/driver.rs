//! A driver: one thread that takes its partitions' requests through the lane's verbs, whole batches at a time, and
//! lets out what has become durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine::{Answer, Command, Effect, Partition};
use storage::{AppendBatch, AppendError};
use types::{Code, PartitionId, Position, Refusal, RunId, Timestamp};

use super::host::Host;
use super::lane::{Lane, LaneError, Leaving};
use super::mailbox::{Mailbox, Weight};
use super::query::{Query, Release};
use crate::{disk, limits, translate};

/// What an asker is sent: made from the outcome and the state behind it, run at the gate.
pub(crate) type Answerer = Box<dyn FnOnce(&Partition, Result<Answer, Refusal>) -> Release + Send>;

/// From outside.
pub(crate) enum Request {
    /// `refuse` answers when it is never decided.
    Command {
        command: Command,
        answer: Answerer,
    },
    Query(Query),
}

impl Weight for Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Command { command, .. } => command.value_bytes(),
            Self::Query(_) => 0,
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command { command, .. } => f.debug_tuple("Command").field(command).finish(),
            Self::Query(query) => f.debug_tuple("Query").field(query).finish(),
        }
    }
}

/// From inside the node.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A batch is durable, or nobody can say. With the position of its rows, where it has any.
    Durable(PartitionId, Result<Position, AppendError>, Option<Position>),
    /// A command that the node owes itself: a continuation, a lost attempt, a dropped step.
    Command(PartitionId, Box<Command>),
    /// Rows are to be written, so that recovery needs less of the log.
    Checkpoint(PartitionId),
}

/// The thread's own state.
pub(crate) struct Driver {
    host: Arc<Host>,
    mailbox: Arc<Mailbox<Request, Notice>>,
    lanes: BTreeMap<PartitionId, Lane<Release>>,
    /// What the node owes itself and cannot write down while the disk is full. Bounded like the notices it came by.
    deferred: Vec<(PartitionId, Box<Command>)>,
    /// Long derivations that are to go on, in the order in which they were cut.
    owed: VecDeque<(PartitionId, RunId)>,
    /// What the node owes itself and needs something that cannot be read just now, with when to try again. Bounded like
    /// the notices it came by.
    stuck: Vec<(Timestamp, PartitionId, Box<Command>)>,
    stopping: bool,
    failed: bool,
}

impl Driver {
    pub(crate) fn new(
        host: Arc<Host>,
        mailbox: Arc<Mailbox<Request, Notice>>,
        lanes: BTreeMap<PartitionId, Lane<Release>>,
    ) -> Self {
        Self {
            host,
            mailbox,
            lanes,
            deferred: Vec::new(),
            owed: VecDeque::new(),
            stuck: Vec::new(),
            stopping: false,
            failed: false,
        }
    }

    /// Runs until the mailbox is stopped and all that was taken is durable, then leaves a checkpoint. Once it is
    /// stopped no run moves by itself: what timers and continuations are due is due again at the next start.
    pub(crate) fn run(mut self) -> Result<(), LaneError> {
        loop {
            let delivery = self.mailbox.take(self.patience(), limits::REQUESTS_PER_TURN);
            self.catch_up()?;
            self.stopping = delivery.stopping;
            for notice in delivery.notices {
                self.take_notice(notice)?;
            }
            for (partition, requests) in delivery.requests {
                for request in requests {
                    self.take_request(partition, request)?;
                }
                self.flush(partition);
            }
            if !self.stopping {
                self.fire_timers()?;
                self.carry_on()?;
                self.leave_overdue_checkpoints();
            }
            self.release_all();
            if self.stopping && (self.failed || self.is_idle()) {
                break;
            }
        }
        // On a full disk the next start reads the log back instead.
        if !self.failed && self.may_write() {
            self.leave_checkpoints();
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.mailbox.depth() == 0 && self.lanes.values().all(Lane::is_settled)
    }

    fn may_write(&self) -> bool {
        self.host.space.is_writable()
    }

    /// Takes up what had to wait for room on the disk.
    fn catch_up(&mut self) -> Result<(), LaneError> {
        if !self.stuck.is_empty() {
            let now = self.host.now();
            let due = self.stuck.extract_if(.., |(when, ..)| *when <= now);
            self.deferred.extend(due.map(|(_, partition, command)| (partition, command)));
        }
        if self.deferred.is_empty() || !self.may_write() {
            return Ok(());
        }
        for (partition, command) in std::mem::take(&mut self.deferred) {
            self.owe(partition, command)?;
        }
        Ok(())
    }

    /// Until the next timer; never so long that a clock which is set would matter much.
    fn patience(&self) -> Duration {
        if !self.may_write() {
            return Duration::from_millis(limits::DISK_FULL_PATIENCE_MS);
        }
        if !self.owed.is_empty() && !self.stopping {
            return Duration::ZERO;
        }
        let now = self.host.now();
        let next = self.lanes.values().filter_map(|lane| lane.partition().next_wake()).min();
        let wait_ms = next.map_or(1_000, |due| due.millis_since(now)).min(1_000);
        Duration::from_millis(wait_ms)
    }

    fn take_notice(&mut self, notice: Notice) -> Result<(), LaneError> {
        match notice {
            Notice::Durable(partition, Ok(end), rows) => {
                let lane = self.lane(partition);
                lane.durable(end);
                if let Some(position) = rows {
                    lane.rows_written(position);
                    self.note_memory(partition);
                }
            }
            Notice::Durable(_, Err(error), _) => self.fail(&error),
            Notice::Command(partition, command) => self.owe(partition, command)?,
            Notice::Checkpoint(partition) => {
                let batch = self.lane(partition).checkpoint();
                self.append(batch);
            }
        }
        Ok(())
    }

    fn owe(&mut self, partition: PartitionId, command: Box<Command>) -> Result<(), LaneError> {
        if let Command::ContinueRun { run } = *command {
            self.owed.push_back((partition, run));
        } else if self.may_write() {
            if !self.decide(partition, &command, |_, _| None)? {
                self.stuck.push((self.later(), partition, command));
            }
            self.flush(partition);
        } else {
            self.deferred.push((partition, command));
        }
        Ok(())
    }

    fn take_request(&mut self, partition: PartitionId, request: Request) -> Result<(), LaneError> {
        match request {
            // What frees room is let through: the ballast and the floor are there for it.
            Request::Command { command, answer } if !self.may_write() && !frees_room(&command) => {
                let refusal = disk::full(&self.host.space);
                self.lane(partition).tell(|state| answer(state, Err(refusal)));
                Ok(())
            }
            Request::Command { command, answer } => {
                if let Some(refusal) = self.not_now(partition, &command)
                    && self.begins(partition, &command)
                {
                    self.lane(partition).tell(|state| answer(state, Err(refusal)));
                    return Ok(());
                }
                self.decide(partition, &command, |state, outcome| Some(answer(state, outcome))).map(drop)
            }
            Request::Query(query) => {
                let host = self.host.clone();
                query.look(self.lane(partition), &host);
                Ok(())
            }
        }
    }

    /// Why no run may start now.
    fn not_now(&self, partition: PartitionId, command: &Command) -> Option<Refusal> {
        if !matches!(command, Command::StartRun(_)) {
            return None;
        }
        if self.host.dispatcher.is_paused(partition) {
            let message = "too many steps of this partition wait for workers: start more workers, or try again later";
            return Some(Refusal::new(Code::QueueFull, message).retry_after_ms(limits::QUEUE_PAUSE_MS));
        }
        self.host.state.refuse()
    }

    /// Whether something begins with it: what was accepted before is answered as before, and what fails says why.
    fn begins(&mut self, partition: PartitionId, command: &Command) -> bool {
        let (host, now) = (self.host.clone(), self.host.now());
        let lane = self.lane(partition);
        let ready = lane.prefetch(command, host.rows.as_ref(), &host.catalogue).is_ok();
        ready && lane.partition().decide(command, now).is_ok_and(|decision| !decision.events.is_empty())
    }

    /// Whether it could be decided: not when a row that it needs cannot be read.
    fn decide(
        &mut self,
        partition: PartitionId,
        command: &Command,
        answer: impl FnOnce(&Partition, Result<Answer, Refusal>) -> Option<Release>,
    ) -> Result<bool, LaneError> {
        let (host, now) = (self.host.clone(), self.host.now());
        let lane = self.lane(partition);
        let aside = lane.partition().all_set_aside().len();
        host.metrics.commands.inc();
        let mut decided = true;
        match lane.prefetch(command, host.rows.as_ref(), &host.catalogue) {
            Ok(()) => lane.decide(command, now, |state, outcome| {
                host.metrics.rejections.inc_by(u64::from(outcome.is_err()));
                answer(state, outcome.map_err(|rejection| translate::refusal(&rejection)))
            }),
            Err(
                error @ (LaneError::Read { .. }
                | LaneError::Row { .. }
                | LaneError::Newer { .. }
                | LaneError::Program { .. }),
            ) => {
                decided = false;
                host.note_unreadable(&error);
                if let Some(refused) = answer(lane.partition(), Err(translate::unreadable(&error))) {
                    lane.tell(|_| refused);
                }
            }
            Err(error @ LaneError::Fold { .. }) => return Err(error),
        }
        let given_up = aside - self.lane(partition).partition().all_set_aside().len();
        host.metrics.runs_set_aside.sub(i64::try_from(given_up).expect("few enough to count"));
        self.note_memory(partition);
        if self.lane(partition).is_full() {
            self.flush(partition);
        }
        Ok(decided)
    }

    /// Says what the partition's open runs hold.
    fn note_memory(&mut self, partition: PartitionId) {
        let host = self.host.clone();
        let lane = self.lane(partition);
        host.state.set(partition, lane.partition().open_bytes());
        lane.press(host.state.is_pressed());
    }

    fn flush(&mut self, partition: PartitionId) {
        if let Some(batch) = self.lane(partition).flush() {
            self.append(batch);
        }
    }

    fn append(&self, batch: AppendBatch) {
        let (partition, mailbox) = (batch.partition, self.mailbox.clone());
        let rows = (!batch.rows.is_empty()).then(|| batch.expected.after(batch.records.len() as u64));
        let on_durable = Box::new(move |result| mailbox.notify(Notice::Durable(partition, result, rows)));
        self.host.log.append(batch, on_durable);
    }

    /// Lets long derivations go on, a few of them.
    fn carry_on(&mut self) -> Result<(), LaneError> {
        if !self.may_write() {
            return Ok(());
        }
        for _ in 0..limits::CONTINUES_PER_TURN {
            let Some((partition, run)) = self.owed.pop_front() else { break };
            let command = Command::ContinueRun { run };
            if !self.decide(partition, &command, |_, _| None)? {
                self.stuck.push((self.later(), partition, Box::new(command)));
            }
            self.flush(partition);
        }
        Ok(())
    }

    /// When what cannot be read is tried again.
    fn later(&self) -> Timestamp {
        self.host.now().plus_millis(limits::UNREADABLE_PAUSE_MS)
    }

    /// Closed runs, and idle ones when memory is short, leave that of quiet partitions as well.
    fn leave_overdue_checkpoints(&mut self) {
        if !self.may_write() {
            return;
        }
        let (now, pressed) = (self.host.now(), self.host.state.is_pressed());
        self.lanes.values_mut().for_each(|lane| lane.press(pressed));
        let overdue: Vec<_> = self.lanes.values_mut().filter_map(|lane| lane.overdue_checkpoint(now)).collect();
        for batch in overdue {
            self.append(batch);
        }
    }

    /// A timer may be late, also because the disk is full; it is never early.
    fn fire_timers(&mut self) -> Result<(), LaneError> {
        if !self.may_write() {
            return Ok(());
        }
        let now = self.host.now();
        let due: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.partition().next_wake().is_some_and(|due| due <= now))
            .map(|(&id, _)| id)
            .collect();
        for partition in due {
            for command in self.lane(partition).partition().due(now, limits::TIMERS_PER_TURN) {
                let decided = self.decide(partition, &command, |_, _| None)?;
                if let Command::FireTimer { run, .. } = command
                    && !decided
                {
                    // Others are due as well.
                    self.lane(partition).put_off(run, now.plus_millis(limits::UNREADABLE_PAUSE_MS));
                }
            }
            self.flush(partition);
        }
        Ok(())
    }

    fn release_all(&mut self) {
        let host = self.host.clone();
        for (&partition, lane) in &mut self.lanes {
            while let Some(leaving) = lane.release() {
                release(&host, &self.mailbox, partition, leaving);
            }
        }
    }

    /// The log failed: nobody can say what became of what waits. The node is about to stop.
    fn fail(&mut self, error: &AppendError) {
        self.failed = true;
        tracing::error!(%error, "the log failed; what waits is answered with outcome_unknown");
        for lane in self.lanes.values_mut() {
            // Dropping an answer tells its asker `outcome_unknown`: see `Backend`.
            lane.abandon().for_each(drop);
        }
    }

    fn leave_checkpoints(&mut self) {
        for lane in self.lanes.values_mut() {
            self.host.log.append(lane.checkpoint(), Box::new(|_| {}));
        }
    }

    fn lane(&mut self, partition: PartitionId) -> &mut Lane<Release> {
        self.lanes.get_mut(&partition).expect("the router asks the driver of the partition")
    }
}

/// Whether a command is one of retention's, which lead to segments being dropped.
const fn frees_room(command: &Command) -> bool {
    matches!(command, Command::TrimStreams(_) | Command::ForgetRuns { .. } | Command::ForgetProducers { .. })
}

/// Lets out one thing: first the news that others need to act on the answer, then the effects, so
/// that a full queue is known to be full, then the answer.
fn release(host: &Arc<Host>, mailbox: &Mailbox<Request, Notice>, partition: PartitionId, leaving: Leaving<Release>) {
    for definition in leaving.definitions {
        host.catalogue.publish(&definition);
        host.registered_again(&definition.name);
    }
    host.fanout.publish(partition, &leaving.moved);
    let mut outside = Vec::new();
    for effect in leaving.effects {
        match effect {
            Effect::Continue { run } => {
                mailbox.notify(Notice::Command(partition, Box::new(Command::ContinueRun { run })));
            }
            Effect::Dispatch(_) | Effect::Withdraw { .. } | Effect::CancelStep { .. } => outside.push(effect),
        }
    }
    if !outside.is_empty() {
        host.send(host.dispatcher.take(partition, outside, host.now()));
    }
    if let Some(answer) = leaving.answer {
        answer();
    }
}

/// An answer that sends `make` of the outcome to a waiting asker.
pub(crate) fn answer<T: Send + 'static>(
    reply: tokio::sync::oneshot::Sender<Result<T, types::Refusal>>,
    make: impl FnOnce(&Partition, Answer) -> T + Send + 'static,
) -> Answerer {
    Box::new(move |partition, outcome| {
        let result = outcome.map(|answer| make(partition, answer));
        Box::new(move || drop(reply.send(result)))
    })
}
