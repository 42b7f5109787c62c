//! Reads of a partition: from anywhere, within limits, from memory and from disk alike.

use storage::{AppendBatch, Record, StoredRecord};
use types::Position;

use crate::harness::{Harness, Memory, Sizes, USUAL, attempt, fact, on_both, output, partition};

on_both! {
    any_start_and_any_limit_give_the_same_records_warm: USUAL,
    any_start_and_any_limit_give_the_same_records_small: SMALL,
    any_start_and_any_limit_give_the_same_records_cold: COLD,
    the_end_is_empty: SMALL,
}

/// Batches of both chains, of several streams, with records that no stream shows.
pub(crate) fn mixture(harness: &dyn Harness, batches: u64) -> Vec<Record> {
    let (p, mut records, mut offsets) = (partition(1), Vec::new(), [0_u64; 5]);
    let mut state = 42_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..batches {
        let mut batch = Vec::new();
        for _ in 0..=draw(5) {
            let stream = draw(5);
            let offset = &mut offsets[usize::try_from(stream).expect("small")];
            match draw(4) {
                0 => {
                    batch.push(attempt());
                    continue;
                }
                1 => batch.push(fact(stream + 1, *offset)),
                _ => batch.push(output(stream + 1, *offset)),
            }
            *offset += 1;
        }
        records.extend(batch.iter().cloned());
        harness.append(p, batch);
    }
    records
}

fn check_all_starts(harness: &dyn Harness) {
    let expect = mixture(harness, 60);
    let expect: Vec<_> = expect
        .into_iter()
        .zip(0..)
        .map(|(record, position)| StoredRecord { position: Position::new(position), record })
        .collect();
    for from in 0..expect.len() {
        for (max_records, max_bytes) in [(1, 1), (3, 1000), (1000, 40), (1000, 1_000_000)] {
            let read = harness.log().read(partition(1), Position::new(from as u64), max_records, max_bytes);
            let read = read.expect("it reads");
            assert!(!read.is_empty() && read.len() <= max_records);
            assert_eq!(
                read,
                expect[from..from + read.len()],
                "from {from}, at most {max_records} and {max_bytes} bytes"
            );
            let bytes: usize = read.iter().map(|stored| stored.record.bytes()).sum();
            let whole = from + read.len() == expect.len() || read.len() == max_records || bytes >= max_bytes;
            assert!(whole || max_bytes < 1_000_000, "a read ended early");
        }
    }
    assert_eq!(harness.all(partition(1)), expect);
}

fn any_start_and_any_limit_give_the_same_records_warm(harness: &mut dyn Harness) {
    check_all_starts(harness);
}

fn any_start_and_any_limit_give_the_same_records_small(harness: &mut dyn Harness) {
    check_all_starts(harness);
}

fn any_start_and_any_limit_give_the_same_records_cold(harness: &mut dyn Harness) {
    check_all_starts(harness);
}

fn the_end_is_empty(harness: &mut dyn Harness) {
    let p = partition(2);
    assert_eq!(harness.log().read(p, Position::ZERO, 10, 1000), Ok(Vec::new()));
    let end = harness.append(p, vec![fact(1, 0), output(1, 1)]);
    assert_eq!(harness.log().read(p, end, 10, 1000), Ok(Vec::new()));
    assert_eq!(harness.log().read(p, Position::new(1_000_000), 10, 1000), Ok(Vec::new()));
    assert_eq!(harness.log().read(p, Position::ZERO, 0, 1000), Ok(Vec::new()));
}

#[test]
fn only_what_is_durable_is_read() {
    for sizes in [USUAL, Sizes { tail_bytes: 0, ..USUAL }] {
        let memory = Memory::new(sizes);
        let (harness, p): (&dyn Harness, _) = (&memory, partition(0));
        harness.append(p, vec![fact(1, 0)]);
        let records = vec![fact(1, 1), output(1, 2)];
        let answer = harness.offer(AppendBatch { partition: p, expected: Position::new(1), records, rows: Vec::new() });
        assert_eq!((answer.take(), harness.all(p).len()), (None, 1));
        let events = crate::streams::read(harness, p, 1, 0);
        assert_eq!(events.len(), 1);
        memory.0.sync();
        assert_eq!((answer.take(), harness.all(p).len()), (Some(Ok(Position::new(3))), 3));
    }
}
