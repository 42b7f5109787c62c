//! A log whose bytes are whole but say what cannot have happened: the node names the place and does not start.

use bytes::Bytes;
use engine::{Partition, PartitionConfig, stored};
use node::partition::{Lane, LaneError, LaneLimits};
use storage::{AppendBatch, EventClass, Log, MemoryLog, Record};
use types::{History, Offset, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

fn record(schema: u16, class: EventClass, stream: u64, offset: u64, payload: &'static [u8]) -> Record {
    Record {
        schema,
        class,
        cause: true,
        time: Timestamp::from_millis(1),
        stream: StreamOrdinal::new(stream),
        offset: Offset::new(offset),
        output: None,
        key: Bytes::new(),
        headers: Vec::new(),
        payload: Bytes::from_static(payload),
    }
}

fn check(record: Record, says: &str) {
    let log = MemoryLog::automatic(PartitionCount::new(1).expect("one is a count"), History::new(1));
    let (partition, expected) = (PartitionId::SYSTEM, Position::ZERO);
    let batch = AppendBatch { partition, expected, records: vec![record], rows: Vec::new() };
    log.append(batch, Box::new(|result| assert!(result.is_ok(), "{result:?}")));
    let empty = Partition::new(PartitionConfig::new([9; 32]));
    let refused =
        Lane::<()>::recover(partition, empty, &log, &log, LaneLimits::default()).expect_err("it cannot be folded");
    assert!(matches!(&refused, LaneError::Fold { position, .. } if *position == Position::ZERO), "{refused:?}");
    assert!(refused.to_string().contains(says), "{refused}");
}

#[test]
fn what_cannot_have_happened_is_named_with_its_place() {
    check(record(stored::USER_EVENT, EventClass::Output, 5, 0, b"1"), "stream 5 does not exist");
    check(record(stored::CHUNK, EventClass::Output, 5, 0, b"1"), "no run has stream ordinal 5");
    check(record(stored::KERNEL_EVENT, EventClass::Fact, 5, 0, b"not an envelope"), "");
    check(record(4_000, EventClass::Fact, 5, 0, b""), "4000");
}
