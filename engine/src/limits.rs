//! The kernel's bounds, each with its reason.

/// Events that one command may derive before the run is left owing a `Continue`: keeps a batch short for its neighbours.
pub const EVENTS_PER_COMMAND: usize = 256;
/// Bytes that one command may derive, for the same reason.
pub const BYTES_PER_COMMAND: usize = 256 * 1024;
/// Work of expressions in one command, for the same reason: 50 ms or so. It is looked at between tasks.
pub const FUEL_PER_COMMAND: u64 = 500_000;
/// Work of all expressions of one task, entered or left: twice what one expression may do.
pub const FUEL_PER_TASK: u64 = 2_000_000;
/// Bytes of a stored value that are read as JSON for one step of that work.
pub const BYTES_READ_PER_FUEL: u64 = 16;
/// Task entries without a wait, a step or a retry in between, after which a run is faulted: a loop that never waits
/// would fill the log. Far above what a sane definition does between two steps.
pub const ENTRIES_WITHOUT_WAIT: u32 = 100_000;
/// Bytes of logged values that count as one more entry: what a run may log without a wait is some 200 MB.
pub const BYTES_PER_ENTRY: usize = 2 * 1024;
/// A timer that is due earlier after it was set is no wait.
pub const LEAST_WAIT_MS: u64 = 1;
/// The largest single value (input, output, data): an event must fit a message of the wire.
pub const VALUE_BYTES: usize = 256 * 1024;
/// How deep a JSON value may nest: with the message around it, it stays below what JSON readers take as a rule (128).
pub const VALUE_DEPTH: usize = 110;
/// The `key` of a start, which goes with the run and its first event.
pub const KEY_BYTES: usize = 256;
/// Tags of a run, for the same reason.
pub const TAGS: usize = 64;
/// The names and values of a run's tags together.
pub const TAG_BYTES: usize = 8 * 1024;
/// What a value's sender calls its kind.
pub const CONTENT_TYPE_BYTES: usize = 256;
/// Attributes of a value; their bytes count as the value's.
pub const ATTRIBUTES: usize = 64;
/// A failure with all its causes, and an error that is raised, as JSON text: a step's last event holds its failure
/// twice, and a reader's default window is 1 MiB.
pub const FAILURE_BYTES: usize = VALUE_BYTES;
/// How large an open run may be, in its values and in its row: sixty-four open scopes with a value of 256 KiB each.
pub const RUN_BYTES: usize = 16 * 1024 * 1024;
/// Signals that a run keeps unconsumed: nobody may fill a run's state from outside.
pub const SIGNALS_PER_RUN: usize = 1_000;
/// Bytes of signals that a run keeps unconsumed.
pub const SIGNAL_BYTES_PER_RUN: usize = 256 * 1024;
/// Events of one append request: a batch must stay short for its neighbours.
pub const EVENTS_PER_APPEND: usize = 1_024;
/// A sequence that a writer names: a number, a time or an id, with room.
pub const SEQUENCE_BYTES: usize = 256;
/// Definitions a node keeps: they are held in memory, sources and all.
pub const DEFINITIONS: usize = 10_000;
/// Their sources together.
pub const DEFINITIONS_BYTES: usize = 32 * 1024 * 1024;
/// A definition's source.
pub const DEFINITION_BYTES: usize = 1024 * 1024;
/// How many scopes may be open inside each other.
pub const SCOPE_DEPTH: usize = 64;
/// Items of all open `for` tasks of a run: they are kept in its state. Those of one `for` are also one value.
pub const FOR_ITEMS: usize = 100_000;
/// Failures that may cause each other: readers see them nested, with their details inside.
pub const FAILURE_CAUSES: usize = 100;
/// What an error says of an expression that failed: its author may have made up any text.
pub const DETAIL_CHARS: usize = 4_096;
/// How long an idempotency key of a start is remembered, by default (the seed's `idempotency_window_hours`).
pub const IDEMPOTENCY_WINDOW_MS: u64 = 48 * 3_600_000;
/// How long the events of streams are kept, by default (the seed's `retention_hours`).
pub const STREAM_KEPT_MS: u64 = 24 * 3_600_000;
/// How long a run and its events are kept after it closed, by default.
pub const RUN_KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// Readers that may pin one stream: each is looked at whenever the stream is trimmed.
pub const PINS_PER_STREAM: usize = 16;
/// The longest pause that a worker may ask for after a failure: a day.
pub const RETRY_AFTER_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a cancelled run waits for its steps before it is terminated, by default.
pub const CANCEL_GRACE_MS: u64 = 30_000;
/// How long a step may run when its function says nothing.
pub const START_TO_CLOSE_MS: u64 = 300_000;
/// Compiled definitions that a partition keeps at hand before those of no open run are forgotten.
pub const PROGRAMS_KEPT: usize = 64;
