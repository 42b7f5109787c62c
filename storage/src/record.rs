//! One record of a partition: the header that recovery reads, and the bytes that it does not.

use bytes::Bytes;
use types::{Offset, Position, StreamOrdinal, Timestamp};

/// What a record is for. Decides whether recovery folds it and which retention class keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventClass {
    /// Folded by recovery, shown in history. Kept in the `Run` chain.
    Fact,
    /// Folded by recovery, not shown: it has no stream offset. Kept in the `Run` chain.
    Attempt,
    /// Recovery reads only its header. Kept in the `Stream` chain.
    Output,
}

/// A chain of segments with a retention of its own. Both share the partition's positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetentionClass {
    Run,
    Stream,
}

impl EventClass {
    pub const fn retention(self) -> RetentionClass {
        match self {
            Self::Fact | Self::Attempt => RetentionClass::Run,
            Self::Output => RetentionClass::Stream,
        }
    }
}

/// Which attempt of which step streamed an output, and the how-manieth it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputHeader {
    /// The step's number in its run.
    pub step: u32,
    pub attempt: u32,
    /// Dense from 0 within the attempt.
    pub sequence: u64,
}

/// A record as the kernel hands it over: storage adds the position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which codec made `payload`. Storage keeps it and does not look inside.
    pub schema: u16,
    pub class: EventClass,
    /// The first record of a command: the cause of those that follow until the next cause.
    pub cause: bool,
    pub time: Timestamp,
    /// `StreamOrdinal::NONE` for a record that no stream shows.
    pub stream: StreamOrdinal,
    /// Its number in that stream; meaningless without one.
    pub offset: Offset,
    pub output: Option<OutputHeader>,
    pub key: Bytes,
    pub headers: Vec<(Bytes, Bytes)>,
    pub payload: Bytes,
}

/// A record that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub position: Position,
    pub record: Record,
}
