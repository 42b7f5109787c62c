//! What runs hold in memory, counted: nothing of a closed run stays for longer than it takes to write its row.

use storage::MemoryLog;
use types::{History, Offset, Payload, RoutingHash, TenantId};

use super::*;
use crate::limits::CLOSED_KEPT_MS;

const CLOSES_AT_ONCE: &str = "
document: { dsl: '1.0.3', namespace: default, name: closes, version: '1.0.0' }
do:
  - it: { set: { done: true } }
";

const WORKS_THEN_WAITS: &str = "
document: { dsl: '1.0.3', namespace: default, name: works, version: '1.0.0' }
do:
  - work: { call: worker, with: { task: t }, output: { as: '${ $workflow.input }' } }
  - pause: { wait: { hours: 1 } }
";

/// Of a run's input.
const INPUT_BYTES: usize = 10_000;
const LIMITS: LaneLimits = LaneLimits {
    bytes_per_checkpoint: usize::MAX,
    records_per_checkpoint: 1_000_000,
    rows_kept: 4,
    batch_bytes: 1 << 20,
    closed_bytes: 64 * 1024,
    open_bytes: 1 << 20,
};

struct One(Arc<Program>);

impl Programs for One {
    fn program(&self, _: WorkflowHash) -> Option<Arc<Program>> {
        Some(self.0.clone())
    }
}

/// A partition over a log in memory, which is as good as any.
struct Bench {
    log: MemoryLog,
    lane: Lane<()>,
    programs: One,
}

impl Bench {
    fn new() -> Self {
        Self::of(CLOSES_AT_ONCE, LIMITS)
    }

    fn of(source: &str, limits: LaneLimits) -> Self {
        let log = MemoryLog::new(types::PartitionCount::new(1).expect("one"), History::new(1));
        let partition = Partition::new(engine::PartitionConfig::new([0; 32]));
        let lane = Lane::recover(PartitionId::new(0), partition, &log, &log, limits).expect("an empty log is read");
        let program = workflow::compile(source).expect("it compiles");
        Self { log, lane, programs: One(Arc::new(program)) }
    }

    fn id(number: u32) -> RunId {
        RunId::new(RoutingHash::from_bits(0), u128::from(number))
    }

    /// Starts a run and writes what there is to write.
    fn run(&mut self, number: u32, now: Timestamp) {
        let name = || "closes".to_owned();
        let start = Command::StartRun(Box::new(engine::StartRun {
            tenant: TenantId::default(),
            run: Self::id(number),
            definition: engine::DefinitionName { namespace: name(), name: name(), version: name() },
            hash: WorkflowHash::of(CLOSES_AT_ONCE),
            key: None,
            idempotency_key: None,
            input: Payload::json(format!("\"{}\"", "x".repeat(INPUT_BYTES))),
            seed: 0,
            tags: Vec::new(),
        }));
        self.take(&start, now);
    }

    fn take(&mut self, command: &Command, now: Timestamp) {
        let answer = |_: &Partition, outcome: Result<Answer, Rejection>| {
            outcome.expect("it is taken");
            None
        };
        self.lane.take(command, now, &self.log, &self.programs, answer).expect("rows are read");
        let batch = self.lane.flush().expect("there are events");
        self.write(batch);
    }

    /// As the driver does: durable, and rows that can be read.
    fn write(&mut self, batch: AppendBatch) {
        let end = batch.expected.after(batch.records.len() as u64);
        self.log.append(batch, Box::new(move |outcome| assert_eq!(outcome, Ok(end))));
        self.log.sync();
        self.lane.durable(end);
        self.lane.rows_written(end);
        while self.lane.release().is_some() {}
    }

    fn held(&self) -> usize {
        self.lane.partition().runs().count()
    }

    /// Whether a closed run can be seen.
    fn sees(&mut self, number: u32) -> bool {
        let run = Self::id(number);
        let name = types::StreamName::of_run(run);
        let needs = self.lane.partition().needs_to_show(&engine::StreamKey { tenant: TenantId::default(), name });
        let mut seen = false;
        let look = |state: &Partition| {
            seen = state.run(run).is_some_and(|run| run.status.is_closed() && run.head > Offset::ZERO);
        };
        self.lane.look(&needs, &self.log, look).expect("rows are read");
        seen
    }
}

#[test]
fn closed_runs_leave_memory_before_they_hold_more_than_their_share() {
    let mut bench = Bench::new();
    let most = LIMITS.closed_bytes / INPUT_BYTES + 1;
    for number in 0..100 {
        bench.run(number, Timestamp::ZERO);
        assert!(bench.held() <= most, "{} closed runs are held after {number}", bench.held());
        assert!(bench.lane.partition().closed_bytes() < LIMITS.closed_bytes + 2 * INPUT_BYTES);
    }
    assert_eq!(bench.lane.partition().open_bytes(), 0, "none of them is open");
    assert!((0..100).all(|number| bench.sees(number)), "they are where they can be found");
}

#[test]
fn a_closed_run_leaves_memory_in_a_partition_where_nothing_else_happens() {
    let mut bench = Bench::new();
    let at = Timestamp::from_millis;
    bench.run(1, at(1_000));
    assert!(bench.lane.overdue_checkpoint(at(1_000 + CLOSED_KEPT_MS - 1)).is_none());
    let batch = bench.lane.overdue_checkpoint(at(1_000 + CLOSED_KEPT_MS)).expect("it is time");
    assert!(batch.records.is_empty() && !batch.rows.is_empty(), "rows alone: {batch:?}");
    bench.write(batch);
    assert_eq!((bench.held(), bench.lane.partition().closed_bytes()), (0, 0));
    assert!(bench.lane.overdue_checkpoint(at(1_000_000)).is_none(), "nothing waits any more");
    assert!(bench.sees(1));
}

#[test]
fn looking_at_closed_runs_holds_none_of_them() {
    let mut bench = Bench::new();
    for number in 0..50 {
        bench.run(number, Timestamp::ZERO);
    }
    let batch = bench.lane.checkpoint();
    bench.write(batch);
    for number in 0..50 {
        assert!(bench.sees(number));
        assert_eq!(bench.held(), 0, "after a look at {number}");
    }
}

/// Memory is full of runs that workers have; then all of them only wait. Nothing more is held, yet there is room to be had.
#[test]
fn room_is_sought_again_when_runs_become_idle() {
    const OPEN_BYTES: usize = 64 * 1024;
    let mut bench = Bench::of(WORKS_THEN_WAITS, LaneLimits { open_bytes: OPEN_BYTES, ..LIMITS });
    let at = Timestamp::from_millis;
    bench.lane.press(true);
    (0..20).for_each(|number| bench.run(number, at(1_000)));
    assert_eq!(bench.lane.partition().idle_runs().count(), 0, "a worker may answer at any moment");
    let offers = bench.lane.partition().effects().into_iter();
    let tokens =
        offers.map(|effect| if let Effect::Dispatch(offer) = effect { offer.token } else { panic!("{effect:?}") });
    for token in tokens.collect::<Vec<_>>() {
        let (output, worker) = (Payload::json("1"), "w".to_owned());
        bench.take(&Command::CompleteStep { token, output, worker }, at(2_000));
    }
    for second in 3..6 {
        if let Some(batch) = bench.lane.overdue_checkpoint(at(second * 1_000)) {
            bench.write(batch);
        }
    }
    assert!(bench.lane.partition().idle_runs().count() > 0);
    // Below the bound nothing is sought any more.
    assert!(bench.lane.partition().open_bytes() < OPEN_BYTES, "{}", bench.lane.partition().open_bytes());
}

/// What a recovery folds is held in memory: no more than that, also where records are few and large.
#[test]
fn rows_are_written_after_bytes_of_records_too() {
    const BYTES: usize = 5 * INPUT_BYTES;
    let mut bench = Bench::of(WORKS_THEN_WAITS, LaneLimits { bytes_per_checkpoint: BYTES, ..LIMITS });
    (0..49).for_each(|number| bench.run(number, Timestamp::ZERO));
    let (id, end) = (bench.lane.id(), bench.lane.partition().next_position());
    let mut partition = Partition::new(engine::PartitionConfig::new([0; 32]));
    let recovered = crate::recovery::recover(id, &mut partition, &bench.log, &bench.log, usize::MAX, end);
    let recovered = recovered.expect("it is sound");
    assert!(recovered.bytes < BYTES, "{} bytes were folded", recovered.bytes);
    assert_eq!(partition.digest(), bench.lane.partition().digest());
}
