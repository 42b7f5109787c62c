//! The faults that only the simulated log makes on demand.

use std::sync::{Arc, Mutex};

use storage::{AppendBatch, AppendError, Log, MemoryLog, OpenError, ReadError, Survives};
use types::{History, Position};

use crate::harness::{COLD, Harness, Memory, USUAL, fact, output, partition, partitions};

fn offer(log: &MemoryLog, n: u64) -> crate::harness::Answer {
    let batch = AppendBatch {
        partition: partition(0),
        expected: Position::new(n),
        records: vec![if n.is_multiple_of(2) { fact(1, n) } else { output(1, n) }],
        rows: Vec::new(),
    };
    let answer = crate::harness::Answer::default();
    log.append(batch, answer.callback());
    answer
}

#[test]
fn nothing_is_durable_before_the_sync() {
    let log = MemoryLog::new(partitions(), History::new(1));
    let answers: Vec<_> = (0..5).map(|n| offer(&log, n)).collect();
    assert_eq!((log.unsynced(), log.bounds(partition(0)).end), (5, Position::ZERO));
    assert!(answers.iter().all(|answer| answer.take().is_none()));
    assert_eq!(log.sync(), 5);
    assert!(answers.iter().zip(1..).all(|(answer, n)| answer.take() == Some(Ok(Position::new(n)))));
}

#[test]
fn an_automatic_log_answers_before_append_returns() {
    let log = MemoryLog::automatic(partitions(), History::new(1));
    assert_eq!(offer(&log, 0).take(), Some(Ok(Position::new(1))));
}

#[test]
fn a_callback_may_append_again() {
    let log = MemoryLog::new(partitions(), History::new(1));
    let (again, second) = (log.clone(), Arc::new(Mutex::new(None)));
    let kept = Arc::clone(&second);
    let records = vec![fact(1, 0)];
    let batch = AppendBatch { partition: partition(0), expected: Position::ZERO, records, rows: Vec::new() };
    log.append(batch, Box::new(move |_| *kept.lock().expect("not poisoned") = Some(offer(&again, 1))));
    log.sync();
    let second = second.lock().expect("not poisoned").clone().expect("the callback ran");
    assert_eq!(second.take(), None);
    log.sync();
    assert_eq!(second.take(), Some(Ok(Position::new(2))));
}

#[test]
fn a_failed_sync_ends_the_log_until_it_is_reopened() {
    let log = MemoryLog::new(partitions(), History::new(1));
    offer(&log, 0);
    log.sync();
    let lost = offer(&log, 1);
    log.fail_next_sync();
    log.sync();
    let unknown = |answer: &crate::harness::Answer| matches!(answer.take(), Some(Err(AppendError::OutcomeUnknown { cause })) if cause.contains("failed a sync"));
    assert!(unknown(&lost));
    assert!(unknown(&offer(&log, 2)));
    assert_eq!(log.sync(), 0);
    let log = log.reopen().expect("it opens");
    assert_eq!(log.bounds(partition(0)).end, Position::new(1));
    let answer = offer(&log, 1);
    log.sync();
    assert_eq!(answer.take(), Some(Ok(Position::new(2))));
}

#[test]
fn a_full_disk_ends_the_log_and_nothing_acknowledged_is_lost() {
    let log = MemoryLog::new(partitions(), History::new(1));
    offer(&log, 0);
    log.sync();
    let waiting = offer(&log, 1);
    log.set_full(true);
    let failed = offer(&log, 2);
    for answer in [waiting, failed] {
        assert!(matches!(answer.take(), Some(Err(AppendError::OutcomeUnknown { .. }))));
    }
    log.set_full(false);
    let log = log.reopen().expect("it opens");
    assert_eq!(log.bounds(partition(0)).end, Position::new(1));
}

#[test]
fn callbacks_of_a_crashed_machine_never_run() {
    let log = MemoryLog::new(partitions(), History::new(1));
    let answer = offer(&log, 0);
    log.crash(Survives { batches: 1, torn_bytes: 0 });
    assert_eq!((log.sync(), answer.take()), (0, None));
    let after = log.reopen().expect("it opens");
    assert_eq!(after.bounds(partition(0)).end, Position::new(1));
    assert!(matches!(offer(&log, 1).take(), Some(Err(AppendError::OutcomeUnknown { .. }))));
}

#[test]
fn a_flipped_bit_is_named_and_never_served() {
    for bit in 0..1500 {
        let memory = Memory::new(COLD);
        let (harness, p): (&dyn Harness, _) = (&memory, partition(0));
        for n in 0..12 {
            harness.append(p, vec![fact(1, 2 * n), output(1, 2 * n + 1)]);
        }
        let position = Position::new(bit % 24);
        assert!(memory.0.flip_bit(p, position, usize::try_from(bit).expect("small") * 7));
        assert!(!memory.0.flip_bit(p, Position::new(24), 0));
        let error = match memory.0.reopen() {
            // The newest blocks are looked at by the opening, which says what is gone.
            Err(error) => {
                let named = matches!(&error, OpenError::AcknowledgedDataMissing { .. } | OpenError::Damaged { .. });
                assert!(named && position >= Position::new(20), "{error}");
                continue;
            }
            Ok(log) => log.read(p, position, 1, 1).expect_err("a damaged record was served"),
        };
        if matches!(error, ReadError::Quarantined { .. }) {
            // The block that the checkpoint names: its segment was quarantined by the opening.
            assert_eq!(memory.0.quarantined().map(|found| found.len()), Ok(1));
            continue;
        }
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
        let before = memory.0.read(p, Position::ZERO, 100, 1 << 20).map_or(0, |records| records.len() as u64);
        assert_eq!(before, position.value(), "what lies before the damage is served");
    }
}

#[test]
fn acknowledged_data_that_is_gone_is_refused_by_position() {
    let memory = Memory::new(USUAL);
    let (harness, p): (&dyn Harness, _) = (&memory, partition(0));
    for n in 0..10 {
        harness.append(p, vec![fact(1, n)]);
    }
    memory.0.flip_bit(p, Position::new(7), 1000);
    let error = memory.0.reopen().expect_err("three records are gone");
    let OpenError::AcknowledgedDataMissing { partition, durable, found, .. } = &error else { panic!("{error}") };
    assert_eq!((*partition, *durable, *found), (p, Position::new(10), Position::new(7)));
    let text = error.to_string();
    assert!(text.contains("durable up to position 10, but only 7 is there"), "{text}");
    assert!(text.contains("headwater repair --accept-loss"), "{text}");
}
