//! Rows: written with the log, read back by key and in order, never ahead of what they reflect.

use bytes::Bytes;
use storage::{Row, RowChange, RowKey, RowKind};
use types::Position;

use crate::harness::{Harness, Memory, USUAL, fact, on_both, partition};
use storage::Survives;

on_both! {
    a_row_is_put_replaced_and_deleted: USUAL,
    rows_are_scanned_in_order_by_kind: USUAL,
    all_rows_that_begin_alike_are_deleted: USUAL,
    rows_survive: SMALL,
    rows_without_records_are_durable_too: USUAL,
}

fn key(id: &str) -> RowKey {
    RowKey { kind: RowKind::OpenRun, id: Bytes::copy_from_slice(id.as_bytes()) }
}

fn row(position: u64, value: &str) -> Row {
    Row { position: Position::new(position), value: Bytes::copy_from_slice(value.as_bytes()) }
}

fn put(id: &str, position: u64, value: &str) -> RowChange {
    RowChange::Put(key(id), row(position, value))
}

fn a_row_is_put_replaced_and_deleted(harness: &mut dyn Harness) {
    let p = partition(1);
    assert_eq!(harness.log().get(p, &key("a")), Ok(None));
    harness.append_with_rows(p, vec![fact(1, 0)], vec![put("a", 1, "one"), put("b", 0, "two")]);
    assert_eq!(harness.log().get(p, &key("a")), Ok(Some(row(1, "one"))));
    harness.append_with_rows(p, vec![fact(1, 1)], vec![put("a", 2, "three"), RowChange::Delete(key("b"))]);
    assert_eq!(harness.log().get(p, &key("a")), Ok(Some(row(2, "three"))));
    assert_eq!(harness.log().get(p, &key("b")), Ok(None));
    assert_eq!(harness.log().get(partition(2), &key("a")), Ok(None));
    let other_kind = RowKey { kind: RowKind::ClosedRun, ..key("a") };
    assert_eq!(harness.log().get(p, &other_kind), Ok(None));
}

fn rows_are_scanned_in_order_by_kind(harness: &mut dyn Harness) {
    let p = partition(0);
    let ids = ["", "a", "aa", "ab", "b", "\u{7f}"];
    let other = RowChange::Put(RowKey { kind: RowKind::ClosedRun, id: Bytes::new() }, row(0, "other"));
    let mut changes: Vec<_> = ids.iter().rev().map(|id| put(id, 0, id)).collect();
    changes.push(other);
    harness.append_with_rows(p, vec![fact(1, 0)], changes);
    let scan = |after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(|after| Bytes::copy_from_slice(after.as_bytes()));
        let rows = harness.log().scan(p, RowKind::OpenRun, after.as_ref(), limit).expect("it reads");
        rows.into_iter().map(|(id, _)| String::from_utf8(id.to_vec()).expect("ours is text")).collect()
    };
    assert_eq!(scan(None, 100), ids);
    assert_eq!(scan(Some("a"), 100), ids[2..]);
    assert_eq!(scan(Some("aa"), 2), ids[3..5]);
    assert_eq!(scan(Some("\u{7f}"), 100), [""; 0]);
    assert_eq!(harness.log().scan(partition(1), RowKind::OpenRun, None, 9), Ok(Vec::new()));
}

fn all_rows_that_begin_alike_are_deleted(harness: &mut dyn Harness) {
    let p = partition(1);
    let ids = ["a", "a\0", "a\0x", "a\0y", "a\u{1}", "b"];
    let mut changes: Vec<_> = ids.iter().map(|id| put(id, 1, "one")).collect();
    changes.push(RowChange::Put(RowKey { kind: RowKind::ClosedRun, ..key("a\0x") }, row(1, "other")));
    harness.append_with_rows(p, vec![fact(1, 0)], changes);
    let again = vec![RowChange::DeleteAll(key("a\0")), put("a\0y", 2, "two")];
    harness.append_with_rows(p, vec![fact(1, 1)], again);
    harness.reopen();
    let all = harness.log().scan(p, RowKind::OpenRun, None, 100).expect("it reads");
    let found: Vec<_> = all.iter().map(|(id, row)| (&id[..], row.position.value())).collect();
    assert_eq!(found, [(&b"a"[..], 1), (b"a\0y", 2), (b"a\x01", 1), (b"b", 1)]);
    assert_eq!(harness.log().scan(p, RowKind::ClosedRun, None, 100).expect("it reads").len(), 1);
}

fn rows_survive(harness: &mut dyn Harness) {
    let p = partition(3);
    for n in 0..50 {
        harness.append_with_rows(p, vec![fact(1, n)], vec![put(&format!("{n:02}"), n + 1, "value")]);
    }
    let all = harness.log().scan(p, RowKind::OpenRun, None, 100).expect("it reads");
    assert_eq!(all.len(), 50);
    harness.crash();
    assert_eq!(harness.log().scan(p, RowKind::OpenRun, None, 100).as_ref(), Ok(&all));
    harness.reopen();
    assert_eq!(harness.log().scan(p, RowKind::OpenRun, None, 100), Ok(all));
}

fn rows_without_records_are_durable_too(harness: &mut dyn Harness) {
    let p = partition(2);
    harness.append(p, vec![fact(1, 0)]);
    harness.append_with_rows(p, Vec::new(), vec![put("a", 1, "one")]);
    harness.crash();
    assert_eq!(harness.log().get(p, &key("a")), Ok(Some(row(1, "one"))));
}

#[test]
fn rows_are_never_ahead_of_the_log_after_a_crash() {
    for batches in 0..10 {
        for torn_bytes in [0, 1, 70, 100_000] {
            let memory = Memory::new(USUAL);
            let p = partition(0);
            for n in 0..10 {
                let (records, rows) = (vec![fact(1, n)], vec![put("state", n + 1, &n.to_string())]);
                let batch = storage::AppendBatch { partition: p, expected: Position::new(n), records, rows };
                (&memory as &dyn Harness).offer(batch);
            }
            memory.0.crash(Survives { batches, torn_bytes });
            let log = memory.0.reopen().expect("a torn tail opens");
            let end = storage::Log::bounds(&log, p).end;
            let row = storage::Rows::get(&log, p, &key("state")).expect("it reads");
            let reflects = row.map_or(Position::ZERO, |row| row.position);
            assert!(reflects <= end, "{batches} batches and {torn_bytes} bytes: {reflects} is beyond {end}");
            assert!(end >= Position::new(batches as u64));
        }
    }
}
