//! A flipped byte in each kind of row: the partition comes back, with what the row held or without it by name.

use std::sync::Arc;

use engine::{
    Answer, AppendEvents, Command, DefinitionName, Partition, PartitionConfig, Rejection, RowName, StartRun, StreamKey,
};
use storage::{AppendBatch, MemoryLog, MemoryOptions, Survives};
use types::{History, PartitionCount, Payload, RoutingHash, RunId, StreamName, TenantId, Timestamp, WorkflowHash};
use workflow::Program;

use super::*;
use crate::partition::{Lane, LaneLimits, Programs};

const WORKS: &str = "
document: { dsl: '1.0.3', namespace: default, name: works, version: '1.0.0' }
do:
  - ask: { call: worker, with: { task: t } }
  - pause: { wait: { hours: 1 } }
";
const ID: PartitionId = PartitionId::SYSTEM;
const NOW: Timestamp = Timestamp::from_millis(1_000);

struct One(Arc<Program>);

impl Programs for One {
    fn program(&self, _: WorkflowHash) -> Option<Arc<Program>> {
        Some(self.0.clone())
    }
}

struct Bench {
    log: MemoryLog,
    lane: Lane<()>,
    programs: One,
}

fn name() -> DefinitionName {
    DefinitionName { namespace: "default".into(), name: "works".into(), version: "1.0.0".into() }
}

fn run(number: u32) -> RunId {
    RunId::new(RoutingHash::from_bits(0), u128::from(number))
}

fn stream() -> StreamKey {
    StreamKey { tenant: TenantId::default(), name: StreamName::new("a/b").expect("valid") }
}

fn row_key(name: &RowName) -> RowKey {
    let (kind, id) = stored::row_key(name);
    RowKey { kind: translate::row_kind(kind), id: id.into() }
}

fn lane(log: &MemoryLog) -> Result<Lane<()>, LaneError> {
    Lane::recover(ID, Partition::new(PartitionConfig::new([0; 32])), log, log, LaneLimits::default())
}

impl Bench {
    fn over(log: MemoryLog) -> Self {
        let lane = lane(&log).unwrap_or_else(|error| panic!("it comes back: {error}"));
        Self { log, lane, programs: One(Arc::new(workflow::compile(WORKS).expect("it compiles"))) }
    }

    /// A definition, three runs that work, one that waits, one that closed, a stream: with their rows, and with events
    /// behind those.
    fn full() -> Self {
        let count = PartitionCount::new(1).expect("one");
        // A block each, so that each can be damaged by itself, and none that an opening has to follow.
        let options = MemoryOptions { automatic: true, checkpoint_bytes: 1, ..MemoryOptions::default() };
        let mut bench = Self::over(MemoryLog::with_options(count, History::new(1), options));
        bench.take(&Command::RegisterWorkflow {
            tenant: TenantId::default(),
            name: name(),
            hash: WorkflowHash::of(WORKS),
            source: WORKS.into(),
        });
        (1..=5).for_each(|number| bench.start(number));
        bench.complete(4);
        bench.take(&append());
        bench.take(&cancel(5));
        let dropped = Command::DropStep { run: run(5), step: 0, attempt: 1 };
        bench.take(&dropped);
        let batch = bench.lane.checkpoint();
        bench.write(batch);
        // Behind the rows.
        bench.complete(2);
        bench.take(&append());
        bench
    }

    fn start(&mut self, number: u32) {
        self.take(&Command::StartRun(Box::new(StartRun {
            tenant: TenantId::default(),
            run: run(number),
            definition: name(),
            hash: WorkflowHash::of(WORKS),
            key: None,
            idempotency_key: Some(types::IdempotencyKey::new(&format!("k{number}")).expect("visible")),
            input: Payload::json("1"),
            seed: 0,
            tags: Vec::new(),
        })));
    }

    fn complete(&mut self, number: u32) {
        let offers = self.lane.partition().effects().into_iter();
        let of_run = |effect| if let engine::Effect::Dispatch(offer) = effect { Some(offer.token) } else { None };
        let token = offers.filter_map(of_run).filter(|token| token.run == run(number));
        let token = token.last().expect("it is offered");
        self.take(&Command::CompleteStep { token, output: Payload::json("2"), worker: "w".into() });
    }

    fn take(&mut self, command: &Command) -> Answer {
        self.try_to(command).unwrap_or_else(|rejection| panic!("{command:?}: {rejection}"))
    }

    fn try_to(&mut self, command: &Command) -> Result<Answer, Rejection> {
        let mut told = None;
        let answer = |_: &Partition, outcome: Result<Answer, Rejection>| {
            told = Some(outcome);
            None
        };
        self.lane.take(command, NOW, &self.log, &self.programs, answer).expect("rows are read");
        if let Some(batch) = self.lane.flush() {
            self.write(batch);
        }
        told.expect("it is answered")
    }

    fn write(&mut self, batch: AppendBatch) {
        let end = batch.expected.after(batch.records.len() as u64);
        self.log.append(batch, Box::new(move |outcome| assert_eq!(outcome, Ok(end))));
        self.lane.durable(end);
        self.lane.rows_written(end);
        while self.lane.release().is_some() {}
    }

    /// The machine stops and starts, with this row damaged meanwhile.
    fn crash_with(self, damaged: &[RowName]) -> MemoryLog {
        self.log.crash(Survives::default());
        for name in damaged {
            assert!(self.log.flip_row_bit(ID, &row_key(name), 300), "there is a row of {name:?}");
        }
        self.log.reopen().expect("the log is whole")
    }

    /// What is to be the same.
    fn state(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let partition = self.lane.partition();
        let runs: Vec<_> = partition.runs().filter(|run| !run.status.is_closed()).cloned().collect();
        let definitions: Vec<_> = partition.definitions().cloned().collect();
        let (digest, effects) = (partition.digest(), partition.effects());
        (runs, definitions, digest, effects, partition.next_position(), partition.next_wake())
    }
}

fn append() -> Command {
    Command::AppendEvents(Box::new(AppendEvents {
        tenant: TenantId::default(),
        name: stream().name,
        events: vec![Payload::json("1")],
        producer: None,
        expected: None,
        sequence: None,
        create: true,
        close: false,
    }))
}

fn cancel(number: u32) -> Command {
    Command::CancelRun { tenant: TenantId::default(), run: run(number), reason: String::new() }
}

fn signal(number: u32) -> Command {
    let (tenant, payload) = (TenantId::default(), Payload::json("1"));
    Command::SignalRun { tenant, run: run(number), name: "go".into(), id: None, payload }
}

/// All rows that a full bench has, but those of the stream's name and the closed run, which have ordinals.
fn names(bench: &Bench) -> Vec<RowName> {
    let ordinal = bench.lane.partition().stream(&stream()).expect("it is there").ordinal;
    let mut names: Vec<_> = (1..=4).map(|number| RowName::OpenRun(run(number))).collect();
    names.extend([
        RowName::Partition,
        RowName::Definition(WorkflowHash::of(WORKS), TenantId::default(), name()),
        RowName::Stream(stream()),
        RowName::StreamName(ordinal),
        RowName::ClosedRun(run(5)),
    ]);
    names
}

#[test]
fn a_damaged_row_of_any_kind_is_made_again_from_the_log() {
    for name in names(&Bench::full()) {
        let bench = Bench::full();
        let before = bench.state();
        let mut bench = Bench::over(bench.crash_with(std::slice::from_ref(&name)));
        assert_eq!(bench.state(), before, "without the row of {name:?}");
        // It goes on, and its rows are whole from the next checkpoint on.
        bench.complete(1);
        bench.take(&append());
        assert_eq!(bench.lane.partition().stream(&stream()).expect("it is there").head.value(), 3);
        let batch = bench.lane.checkpoint();
        bench.write(batch);
        let state = bench.state();
        let log = bench.crash_with(&[]);
        let closed = matches!(name, RowName::ClosedRun(_));
        assert_eq!(log.get(ID, &row_key(&name)).is_ok(), !closed, "{name:?}");
        assert_eq!(Bench::over(log).state(), state, "after the row of {name:?} was made again");
    }
}

#[test]
fn several_damaged_rows_at_once_are_made_again() {
    let bench = Bench::full();
    let mut names = names(&bench);
    names.retain(|name| !matches!(name, RowName::ClosedRun(_)));
    let before = bench.state();
    let bench = Bench::over(bench.crash_with(&names));
    assert_eq!(bench.state(), before);
}

#[test]
fn a_run_whose_events_are_damaged_too_is_set_aside_and_all_others_go_on() {
    let bench = Bench::full();
    let log = bench.crash_with(&[RowName::OpenRun(run(2))]);
    // The definition is at position 0, so the second run begins behind the first.
    let begins = (0..20).map(Position::new).find(|at| {
        let record = log.read(ID, *at, 1, 1).expect("it is read").remove(0);
        let event = stored::decode(&translate::encoded(&record.record), |_| None);
        matches!(event, Ok(Event::Run { run: started, .. }) if started == run(2))
    });
    log.crash(Survives::default());
    assert!(log.flip_bit(ID, begins.expect("it began"), 700));
    let mut bench = Bench::over(log.reopen().expect("what is damaged lies before the checkpoint"));
    let aside: Vec<_> = bench.lane.partition().all_set_aside().keys().copied().collect();
    assert_eq!(aside, [run(2)]);
    assert!(matches!(bench.try_to(&signal(2)), Err(Rejection::RunDamaged { .. })));
    // Others are not touched, and what happened to it behind the rows was passed by.
    bench.complete(1);
    bench.complete(3);
    bench.take(&signal(4));
    // It is still set aside after a checkpoint and another crash.
    let batch = bench.lane.checkpoint();
    bench.write(batch);
    let mut bench = Bench::over(bench.crash_with(&[]));
    assert!(bench.lane.partition().all_set_aside().contains_key(&run(2)));
    // Given up it is gone, before and after its row is.
    assert_eq!(bench.take(&cancel(2)), Answer::Done);
    assert!(matches!(bench.try_to(&signal(2)), Err(Rejection::RunNotFound(_))));
    let mut bench = Bench::over(bench.crash_with(&[]));
    assert!(bench.lane.partition().all_set_aside().is_empty());
    let batch = bench.lane.checkpoint();
    bench.write(batch);
    let mut bench = Bench::over(bench.crash_with(&[]));
    assert!(matches!(bench.try_to(&signal(2)), Err(Rejection::RunNotFound(_))));
    bench.take(&signal(4));
}

#[test]
fn a_lost_definition_is_named_and_can_be_registered_again() {
    let bench = Bench::full();
    let row = RowName::Definition(WorkflowHash::of(WORKS), TenantId::default(), name());
    let log = bench.crash_with(std::slice::from_ref(&row));
    log.crash(Survives::default());
    assert!(log.flip_bit(ID, Position::ZERO, 700));
    let mut bench = Bench::over(log.reopen().expect("what is damaged lies before the checkpoint"));
    assert_eq!(bench.lane.lost_definitions(), [definition_text(&name())]);
    bench.take(&Command::RegisterWorkflow {
        tenant: TenantId::default(),
        name: name(),
        hash: WorkflowHash::of(WORKS),
        source: WORKS.into(),
    });
    let batch = bench.lane.checkpoint();
    bench.write(batch);
    let bench = Bench::over(bench.crash_with(&[]));
    assert!(bench.lane.lost_definitions().is_empty());
    assert_eq!(bench.lane.partition().definitions().count(), 1);
}

#[test]
fn large_rows_are_read_a_few_at_a_time_and_small_ones_many() {
    let page = |rows: usize, bytes: usize| -> Vec<Met> {
        let row = || storage::Row { position: Position::ZERO, value: vec![0; bytes].into() };
        (0..rows).map(|_| Met::Row(Bytes::new(), row())).collect()
    };
    let (least, most) = (limits::LEAST_ROWS_PER_SCAN, limits::ROWS_PER_SCAN);
    assert_eq!(next_page(least, &page(least, 100)), least * 2);
    assert_eq!(next_page(most, &page(most, 100)), most);
    assert_eq!(next_page(64, &page(64, limits::ROW_BYTES_PER_SCAN / 64)), 32);
    assert_eq!(next_page(least, &page(least, limits::ROW_BYTES_PER_SCAN)), least);
}

/// Rows of which nobody can tell how many there were: what is there is read, what is not there is not known.
#[derive(Debug)]
struct Marked<'a>(&'a MemoryLog);

impl Rows for Marked<'_> {
    fn get(&self, partition: PartitionId, key: &RowKey) -> Result<Option<storage::Row>, ReadError> {
        let found = self.0.get(partition, key)?;
        if found.is_none() && key.kind == RowKind::StreamName {
            let what = "the table that may have held it was damaged".to_owned();
            return Err(ReadError::Corrupt { partition, position: Position::ZERO, what });
        }
        Ok(found)
    }

    fn scan(
        &self,
        partition: PartitionId,
        kind: RowKind,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, storage::Row)>, ReadError> {
        self.0.scan(partition, kind, after, limit)
    }
}

#[test]
fn what_began_behind_the_rows_is_not_taken_for_lost() {
    let mut bench = Bench::full();
    (11..=14).for_each(|number| bench.start(number));
    let mut partition = Partition::new(PartitionConfig::new([0; 32]));
    let end = bench.lane.partition().next_position();
    recover(ID, &mut partition, &bench.log, &Marked(&bench.log), usize::MAX, end).expect("it comes back");
    for number in 11..=14 {
        assert_eq!(partition.run(run(number)), bench.lane.partition().run(run(number)), "run {number}");
    }
    assert_eq!(partition.next_ordinal(), bench.lane.partition().next_ordinal());
}
