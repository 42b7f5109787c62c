//! Scenarios on the verbs of a partition's driver over a simulated disk, killed after each of their events. However
//! often a run is killed, and whether the batch in the air was lost, torn or kept: its history must come out the same,
//! byte for byte, and end as the scenario says. When the worker dies with the node, its attempts are given up and made
//! again; then the end must still be the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use engine::{
    Answer, Command, DefinitionName, Effect, Failure, Offer, Partition, PartitionConfig, Rejection, RunStatus,
    StreamKey, UNCLAIMED,
};
use node::partition::{Lane, LaneLimits, Leaving, Programs};
use serde_json::Value;
use storage::{AppendBatch, Log, MemoryLog, StoredRecord, Survives};
use types::{
    History, IdempotencyKey, PartitionCount, PartitionId, Payload, Position, RoutingHash, RunId, StreamName, TenantId,
    Timestamp, WorkflowHash,
};
use workflow::Program;

use crate::outcome::End;
use crate::scenario::Scenario;
use crate::script::{MESSAGE, Script, Turn, TurnEnd};

const PARTITION: PartitionId = PartitionId::new(0);
/// When every run begins.
const BEGINNING: Timestamp = Timestamp::from_millis(1_795_493_220_000);
/// Far more than any scenario needs: one that goes on for ever is told, not waited for.
const MOST_COMMANDS: usize = 10_000;

/// When the machine stops. Events count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Never,
    /// While the batch that holds this event is being written: everything behind the event is missing.
    Writing(u64),
    /// Once this event is durable, before anybody is told of it.
    Durable(u64),
    /// The same after every batch, again and again.
    Always,
}

/// What else is true of a life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions {
    /// Rows are written with every batch, so that recovery begins with them.
    rows: bool,
    /// The worker dies with the node.
    workers_die: bool,
}

/// How much was tried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    events: usize,
    lives: usize,
    kills: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.lives += other.lives;
        self.kills += other.kills;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events, {} runs killed, {} kills in all", self.events, self.lives, self.kills)
    }
}

/// Holds a scenario against itself, unhurt and killed. What differs, as a sentence.
pub(crate) fn check(scenario: &Scenario) -> Result<Counts, String> {
    let plain = Conditions::default();
    let unhurt = life(scenario, Kill::Never, plain)?;
    let expect = |life: &Life| scenario.expectations.iter().try_for_each(|expected| expected.check_end(&life.end));
    expect(&unhurt)?;
    let mut counts = Counts { events: unhurt.history.len(), ..Counts::default() };
    for (kill, conditions) in kills(unhurt.history.len() as u64) {
        let place = |what: String| format!("{kill:?}, {conditions:?}: {what}");
        let hurt = life(scenario, kill, conditions).map_err(place)?;
        expect(&hurt).map_err(place)?;
        if !conditions.workers_die {
            same_history(&unhurt.history, &hurt.history).map_err(place)?;
        }
        counts.add(Counts { events: 0, lives: usize::from(hurt.kills > 0), kills: hurt.kills });
    }
    Ok(counts)
}

fn kills(events: u64) -> Vec<(Kill, Conditions)> {
    let (plain, rows) = (Conditions::default(), Conditions { rows: true, workers_die: false });
    let workers_die = Conditions { rows: false, workers_die: true };
    let of_event = |event| {
        let (writing, durable) = (Kill::Writing(event), Kill::Durable(event));
        [(writing, plain), (durable, plain), (durable, rows), (writing, workers_die), (durable, workers_die)]
    };
    (1..=events).flat_map(of_event).chain([(Kill::Always, plain), (Kill::Always, rows)]).collect()
}

/// A run from its start to its end.
struct Life {
    end: End,
    history: Vec<StoredRecord>,
    kills: usize,
}

fn life(scenario: &Scenario, kill: Kill, conditions: Conditions) -> Result<Life, String> {
    let mut bench = Bench::new(scenario, kill, conditions)?;
    let run = bench.live()?;
    let history =
        bench.log.read(PARTITION, Position::ZERO, usize::MAX, usize::MAX).map_err(|error| error.to_string())?;
    let life = Life { end: bench.end_of(run)?, history, kills: bench.kills };
    match bench.script.left_over() {
        0 => Ok(life),
        left => Err(format!("{left} turns of its workers were never taken")),
    }
}

/// Two logs of one scenario. The first event holds the run's id, which a start that was lost draws anew.
fn same_history(unhurt: &[StoredRecord], hurt: &[StoredRecord]) -> Result<(), String> {
    let plain = |record: &StoredRecord| {
        let mut record = record.clone();
        if record.position == Position::ZERO {
            record.record.payload = bytes::Bytes::new();
        }
        record
    };
    for (index, (one, other)) in unhurt.iter().zip(hurt).enumerate() {
        if plain(one) != plain(other) {
            return Err(format!("event {} came out otherwise:\n{one:?}\n{other:?}", index + 1));
        }
    }
    let (unhurt, hurt) = (unhurt.len(), hurt.len());
    if unhurt == hurt { Ok(()) } else { Err(format!("{hurt} events, unhurt there are {unhurt}")) }
}

/// What the lane answers with.
#[derive(Debug)]
enum Told {
    Outcome(Result<Answer, Rejection>),
    Run(Option<(RunStatus, Result<Value, Value>)>),
}

/// The one program there is.
struct OneProgram(WorkflowHash, Arc<Program>);

impl Programs for OneProgram {
    fn program(&self, hash: WorkflowHash) -> Option<Arc<Program>> {
        (hash == self.0).then(|| self.1.clone())
    }
}

/// An attempt in a worker's hands. The worker lives on when the node dies.
struct Held {
    task: String,
    turn: Turn,
    sent: u64,
}

/// A partition with its log, one client and one worker; the world outside outlives every crash.
struct Bench<'s> {
    scenario: &'s Scenario,
    program: OneProgram,
    log: MemoryLog,
    lane: Lane<Told>,
    now: Timestamp,
    kill: Kill,
    conditions: Conditions,
    kills: usize,
    /// What the node owes: taken from what left by the gate, and after a crash from the state.
    offers: BTreeMap<(u32, u32), Offer>,
    carry_on: Option<RunId>,
    /// Attempts whose worker died, to be given up.
    lost: Vec<Command>,
    script: Script,
    held: BTreeMap<(u32, u32), Held>,
    /// A request of the client or the worker that was not answered: it is sent again.
    unanswered: Option<Command>,
    started: Option<RunId>,
    ids: u128,
}

impl<'s> Bench<'s> {
    fn new(scenario: &'s Scenario, kill: Kill, conditions: Conditions) -> Result<Self, String> {
        let source = &scenario.definition;
        let program = workflow::compile(source).map_err(|problems| format!("{problems:?}"))?;
        let log = MemoryLog::new(PartitionCount::new(1).expect("1 is allowed"), History::new(7));
        let lane = recovered(&log)?;
        Ok(Self {
            scenario,
            program: OneProgram(WorkflowHash::of(source), Arc::new(program)),
            log,
            lane,
            now: BEGINNING,
            kill,
            conditions,
            kills: 0,
            offers: BTreeMap::new(),
            carry_on: None,
            lost: Vec::new(),
            script: scenario.script.clone(),
            held: BTreeMap::new(),
            unanswered: None,
            started: None,
            ids: 0,
        })
    }

    /// Carries the run to its end.
    fn live(&mut self) -> Result<RunId, String> {
        for _ in 0..MOST_COMMANDS {
            match (self.next_command(), self.started) {
                (Some(command), _) => self.carry(&command)?,
                (None, Some(run)) => return Ok(run),
                (None, None) => return Err("nothing is to be done, though nothing was started".to_owned()),
            }
        }
        Err(format!("not over after {MOST_COMMANDS} commands"))
    }

    /// Whoever has something to do next: the client, the node itself, the worker, then the clock.
    fn next_command(&mut self) -> Option<Command> {
        if let Some(command) = self.unanswered.take() {
            let again = if let Command::StartRun(_) = command { self.start() } else { command };
            self.unanswered = Some(again);
        } else if self.started.is_none() {
            self.unanswered = Some(self.start());
        } else if let Some(run) = self.carry_on.take() {
            return Some(Command::ContinueRun { run });
        } else if let Some(lost) = self.lost.pop() {
            return Some(lost);
        } else if let Some(offer) = self.offers.values().next().cloned() {
            self.unanswered = Some(self.work(&offer));
        } else {
            self.now = self.lane.partition().next_wake()?;
            return self.lane.partition().due(self.now, 1).pop();
        }
        self.unanswered.clone()
    }

    /// A start draws a fresh id each time; its key makes it one run.
    fn start(&mut self) -> Command {
        self.ids += 1;
        let document = &self.program.1.document;
        let definition = DefinitionName {
            namespace: document.namespace.clone(),
            name: document.name.clone(),
            version: document.version.clone(),
        };
        let input = self.scenario.input.as_ref().map_or_else(Payload::null, |input| Payload::json(input.to_string()));
        Command::StartRun(Box::new(engine::StartRun {
            tenant: TenantId::default(),
            run: RunId::new(RoutingHash::from_bits(3), self.ids),
            definition,
            hash: self.program.0,
            key: None,
            idempotency_key: Some(IdempotencyKey::new("once").expect("visible")),
            input,
            seed: 7919,
            tags: Vec::new(),
        }))
    }

    /// The worker's next word on an attempt.
    fn work(&mut self, offer: &Offer) -> Command {
        let script = &mut self.script;
        let begun = || Held { task: offer.task.clone(), turn: script.next(&offer.task), sent: 0 };
        let held = self.held.entry((offer.step, offer.attempt)).or_insert_with(begun);
        let token = offer.token.clone();
        let sent = usize::try_from(held.sent).expect("few chunks");
        if let Some(chunk) = held.turn.chunks.get(sent).filter(|_| offer.stream) {
            let data = Payload::json(chunk.to_string());
            return Command::AppendChunk { token, sequence: held.sent, data };
        }
        let worker = "worker-1".to_owned();
        match &held.turn.end {
            TurnEnd::Answer(answer) => {
                Command::CompleteStep { token, output: Payload::json(answer.to_string()), worker }
            }
            TurnEnd::Echo => Command::CompleteStep { token, output: offer.input.clone(), worker },
            TurnEnd::Fail { kind, for_good } => {
                let failure = Failure { non_retryable: *for_good, ..Failure::new(kind, MESSAGE) };
                Command::FailStep { token, failure, retry_after_ms: None }
            }
        }
    }

    /// One command through *take*, *flush*, the log and the gate, as a driver does it; or into a crash.
    fn carry(&mut self, command: &Command) -> Result<(), String> {
        let before = self.lane.partition().next_position();
        let told = |_: &Partition, outcome| Some(Told::Outcome(outcome));
        let taken = self.lane.take(command, self.now, &self.log, &self.program, told);
        taken.map_err(|error| error.to_string())?;
        if let Some(batch) = self.lane.flush() {
            let (first, last) = (before.value() + 1, self.lane.partition().next_position().value());
            match self.kill {
                Kill::Writing(event) if (first..=last).contains(&event) => {
                    return self.tear(batch, event - before.value());
                }
                Kill::Never | Kill::Writing(_) | Kill::Durable(_) | Kill::Always => self.make_durable(batch),
            }
            let strikes = match self.kill {
                Kill::Durable(event) => (first..=last).contains(&event),
                Kill::Always => true,
                Kill::Never | Kill::Writing(_) => false,
            };
            if strikes {
                if let Kill::Durable(_) = self.kill {
                    self.kill = Kill::Never;
                }
                return self.crash(Survives::default());
            }
        }
        while let Some(leaving) = self.lane.release() {
            self.release(command, leaving)?;
        }
        Ok(())
    }

    fn make_durable(&mut self, batch: AppendBatch) {
        self.log.append(batch, Box::new(|_| {}));
        if self.conditions.rows {
            let checkpoint = self.lane.checkpoint();
            self.log.append(checkpoint, Box::new(|_| {}));
        }
        self.log.sync();
        self.lane.durable(self.log.bounds(PARTITION).end);
    }

    /// The machine stops while a batch is written, behind the `written`th of its events.
    fn tear(&mut self, batch: AppendBatch, written: u64) -> Result<(), String> {
        self.kill = Kill::Never;
        let (begin, end) = (batch.expected, batch.expected.after(batch.records.len() as u64));
        let written = usize::try_from(written).expect("few events");
        let torn_bytes = batch.records.iter().take(written).map(storage::Record::bytes).sum();
        self.log.append(batch, Box::new(|_| {}));
        self.crash(Survives { batches: 0, torn_bytes })?;
        let found = self.log.bounds(PARTITION).end;
        if found == begin || found == end { Ok(()) } else { Err(format!("half a batch was found: it ends at {found}")) }
    }

    /// The node is gone and comes back over what is on the disk.
    fn crash(&mut self, survives: Survives) -> Result<(), String> {
        self.kills += 1;
        self.log.crash(survives);
        self.log = self.log.reopen().map_err(|error| error.to_string())?;
        self.lane = recovered(&self.log)?;
        self.offers.clear();
        self.carry_on = None;
        let owed = self.lane.partition().effects();
        for effect in owed {
            self.owe(effect);
        }
        if self.conditions.workers_die {
            self.bury_worker();
        }
        Ok(())
    }

    /// A new worker knows nothing: what is still owed was never ended, and nobody claims it.
    fn bury_worker(&mut self) {
        self.unanswered = self.unanswered.take().filter(|command| matches!(command, Command::StartRun(_)));
        for (attempt, held) in std::mem::take(&mut self.held) {
            if self.offers.contains_key(&attempt) {
                self.script.put_back(&held.task, held.turn);
            }
        }
        let failure = Failure::new(UNCLAIMED, "nobody holds it");
        let lose = |offer: &Offer| Command::LoseAttempt {
            run: offer.run,
            step: offer.step,
            attempt: offer.attempt,
            failure: failure.clone(),
        };
        self.lost = self.offers.values().map(lose).collect();
    }

    fn owe(&mut self, effect: Effect) {
        match effect {
            Effect::Dispatch(offer) => drop(self.offers.insert((offer.step, offer.attempt), *offer)),
            Effect::Withdraw { step, attempt, .. } | Effect::CancelStep { step, attempt, .. } => {
                self.offers.remove(&(step, attempt));
            }
            Effect::Continue { run } => self.carry_on = Some(run),
        }
    }

    fn release(&mut self, command: &Command, leaving: Leaving<Told>) -> Result<(), String> {
        leaving.effects.into_iter().for_each(|effect| self.owe(effect));
        match leaving.answer {
            Some(Told::Outcome(Ok(answer))) => self.take_answer(command, &answer),
            // The worker's word was durable before the crash, and its answer was lost with it.
            Some(Told::Outcome(Err(Rejection::StaleAttempt))) if self.kills > 0 => self.unanswered = None,
            other => return Err(format!("{command:?} was answered with {other:?}")),
        }
        Ok(())
    }

    fn take_answer(&mut self, command: &Command, answer: &Answer) {
        match (command, answer) {
            (Command::AppendChunk { token, .. }, Answer::ChunkTaken { next_sequence }) => {
                let held = self.held.get_mut(&(token.step, token.attempt)).expect("who streams holds");
                held.sent = *next_sequence;
            }
            (_, Answer::Started { run, .. }) => self.started = Some(*run),
            (_, _) => {}
        }
        self.unanswered = None;
    }

    /// The run as the node shows it.
    fn end_of(&mut self, run: RunId) -> Result<End, String> {
        let key = StreamKey { tenant: TenantId::default(), name: StreamName::of_run(run) };
        let needs = self.lane.partition().needs_to_show(&key);
        let json = |payload: &Payload| serde_json::from_slice(&payload.data).expect("the kernel keeps JSON");
        let look = |partition: &Partition| {
            Told::Run(partition.run(run).map(|run| {
                let error = run.error.as_ref().map(workflow::WorkflowError::to_json).unwrap_or_default();
                (run.status, run.output.as_ref().map(json).ok_or(error))
            }))
        };
        self.lane.look(&needs, &self.log, look).map_err(|error| error.to_string())?;
        match self.lane.release().and_then(|leaving| leaving.answer) {
            Some(Told::Run(Some((RunStatus::Completed, Ok(output))))) => Ok(End::Completed(output)),
            Some(Told::Run(Some((RunStatus::Failed, Err(error))))) => Ok(End::Faulted(error)),
            other => Err(format!("with nothing left to do the run is not over: {other:?}")),
        }
    }
}

fn recovered(log: &MemoryLog) -> Result<Lane<Told>, String> {
    let partition = Partition::new(PartitionConfig::new([7; 32]));
    Lane::recover(PARTITION, partition, log, log, LaneLimits::default()).map_err(|error| error.to_string())
}

#[test]
fn a_history_that_comes_out_otherwise_is_told() {
    let scenarios = crate::all();
    let of = |scenario| life(scenario, Kill::Never, Conditions::default()).expect("it ends").history;
    let (one, other) = (of(&scenarios[0]), of(&scenarios[1]));
    assert_eq!(same_history(&one, &one), Ok(()));
    assert!(same_history(&one, &other).is_err());
    assert!(same_history(&one, &one[1..]).is_err());
    assert!(same_history(&one, &one[..one.len() - 1]).is_err());
}
