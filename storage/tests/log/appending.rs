//! Appends: in order, at the expected place, answered once and only when durable.

use storage::{AppendBatch, AppendError, Record, Row, RowChange, RowKey, RowKind};
use types::Position;

use crate::harness::{Harness, fact, on_both, output, partition};

on_both! {
    positions_are_dense_over_both_chains: USUAL,
    an_append_elsewhere_than_at_the_end_is_refused: USUAL,
    appends_in_a_row_are_answered_in_order: SMALL,
    partitions_do_not_see_each_other: USUAL,
    what_breaks_a_rule_is_refused_and_nothing_of_it_written: USUAL,
    large_records_come_back: USUAL,
    an_append_after_the_close_is_refused: USUAL,
}

fn positions_are_dense_over_both_chains(harness: &mut dyn Harness) {
    let p = partition(1);
    harness.append(p, vec![fact(1, 0), output(1, 1), output(1, 2), fact(1, 3)]);
    harness.append(p, vec![output(1, 4)]);
    let all = harness.all(p);
    let expect = [fact(1, 0), output(1, 1), output(1, 2), fact(1, 3), output(1, 4)];
    assert_eq!(all.iter().map(|stored| stored.record.clone()).collect::<Vec<_>>(), expect);
    assert!(all.iter().zip(0..).all(|(stored, position)| stored.position == Position::new(position)));
}

fn an_append_elsewhere_than_at_the_end_is_refused(harness: &mut dyn Harness) {
    let p = partition(0);
    harness.append(p, vec![fact(1, 0)]);
    for expected in [0, 2] {
        let expected = Position::new(expected);
        let batch = AppendBatch { partition: p, expected, records: vec![fact(1, 1)], rows: Vec::new() };
        let answer = harness.offer(batch);
        harness.settle();
        let refused = AppendError::Refused { partition: p, expected, actual: Position::new(1) };
        assert_eq!(answer.take(), Some(Err(refused)));
    }
    assert_eq!(harness.all(p).len(), 1);
    harness.append(p, vec![fact(1, 1)]);
}

fn appends_in_a_row_are_answered_in_order(harness: &mut dyn Harness) {
    let offer = |n: u64| {
        let records = vec![fact(1, n)];
        harness.offer(AppendBatch { partition: partition(2), expected: Position::new(n), records, rows: Vec::new() })
    };
    let answers: Vec<_> = (0..200).map(offer).collect();
    harness.settle();
    for (answer, n) in answers.iter().zip(1..) {
        assert_eq!(answer.take(), Some(Ok(Position::new(n))));
    }
    let records: Vec<Record> = harness.all(partition(2)).into_iter().map(|stored| stored.record).collect();
    assert_eq!(records, (0..200).map(|n| fact(1, n)).collect::<Vec<_>>());
}

fn partitions_do_not_see_each_other(harness: &mut dyn Harness) {
    for n in 0..20 {
        for number in 0..4 {
            harness.append(partition(number), vec![fact(u64::from(number) + 1, n)]);
        }
    }
    for number in 0..4 {
        let all = harness.all(partition(number));
        let expect: Vec<_> = (0..20).map(|n| fact(u64::from(number) + 1, n)).collect();
        assert_eq!(all.into_iter().map(|stored| stored.record).collect::<Vec<_>>(), expect);
    }
}

fn what_breaks_a_rule_is_refused_and_nothing_of_it_written(harness: &mut dyn Harness) {
    let p = partition(0);
    let key = RowKey { kind: RowKind::OpenRun, id: "run".into() };
    let ahead = RowChange::Put(key.clone(), Row { position: Position::new(2), value: "x".into() });
    let headers = vec![("name".into(), "value".into()); storage::limits::RECORD_HEADERS + 1];
    let many = Record { headers, ..fact(1, 0) };
    for (number, records, rows) in
        [(0, vec![fact(1, 0)], vec![ahead]), (0, vec![many], Vec::new()), (77, vec![fact(1, 0)], Vec::new())]
    {
        let batch = AppendBatch { partition: partition(number), expected: Position::ZERO, records, rows };
        let answer = harness.offer(batch);
        harness.settle();
        let error = answer.take().expect("answered").expect_err("refused");
        assert!(matches!(error, AppendError::Invalid { .. }), "{error}");
    }
    assert_eq!((harness.all(p), harness.log().get(p, &key)), (Vec::new(), Ok(None)));
    harness.append(p, vec![fact(1, 0)]);
}

fn large_records_come_back(harness: &mut dyn Harness) {
    let p = partition(3);
    let large = |offset, len: usize| Record { payload: vec![b'x'; len].into(), ..output(1, offset) };
    let sizes = [70_000, 10, 65_536, 300_000, 1, 40_000, 40_000];
    let records: Vec<_> = sizes.iter().zip(0..).map(|(len, offset)| large(offset, *len)).collect();
    harness.append(p, records.clone());
    harness.reopen();
    let all: Vec<_> = harness.all(p).into_iter().map(|stored| stored.record).collect();
    assert!(all == records, "seven records of up to 300,000 bytes came back changed");
}

fn an_append_after_the_close_is_refused(harness: &mut dyn Harness) {
    let p = partition(0);
    harness.append(p, vec![fact(1, 0)]);
    harness.log().close().expect("it closes");
    harness.log().close().expect("and again");
    let records = vec![fact(1, 1)];
    let answer = harness.offer(AppendBatch { partition: p, expected: Position::new(1), records, rows: Vec::new() });
    assert_eq!(answer.take(), Some(Err(AppendError::Closed)));
    assert_eq!(harness.all(p).len(), 1);
}
