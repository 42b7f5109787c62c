//! Stops, in order and out of order: what was acknowledged is there, what was not is gone or whole.

use storage::{AppendBatch, Survives};
use types::{History, Position};

use crate::harness::{HISTORY, Harness, Memory, Rocks, SMALL, USUAL, fact, on_both, output, partition};
use crate::reading::mixture;

on_both! {
    everything_is_there_after_a_close: SMALL,
    everything_is_there_after_a_crash: SMALL,
    a_log_goes_on_where_it_ended: SMALL,
    bounds_survive: USUAL,
    many_crashes_change_nothing: SMALL,
}

fn everything_is_there_after_a_close(harness: &mut dyn Harness) {
    mixture(harness, 60);
    let all = harness.all(partition(1));
    harness.reopen();
    assert_eq!(harness.all(partition(1)), all);
}

fn everything_is_there_after_a_crash(harness: &mut dyn Harness) {
    mixture(harness, 60);
    let all = harness.all(partition(1));
    harness.crash();
    assert_eq!(harness.all(partition(1)), all);
}

fn a_log_goes_on_where_it_ended(harness: &mut dyn Harness) {
    let p = partition(1);
    for n in 0..40 {
        harness.append(p, vec![fact(1, 2 * n), output(1, 2 * n + 1)]);
        match n % 4 {
            1 => harness.reopen(),
            3 => harness.crash(),
            _ => {}
        }
    }
    let events = crate::streams::read(harness, p, 1, 0);
    assert_eq!(events.len(), 80);
    assert!(events.iter().zip(0..).all(|(stored, n)| stored.record.offset.value() == n));
}

fn bounds_survive(harness: &mut dyn Harness) {
    harness.append(partition(2), vec![fact(1, 0), output(1, 1)]);
    let bounds: Vec<_> = (0..4).map(|number| harness.log().bounds(partition(number))).collect();
    assert_eq!(bounds[2].end, Position::new(2));
    assert_eq!(bounds[0].end, Position::ZERO);
    assert_ne!(bounds[0].history, History::new(0));
    harness.reopen();
    harness.crash();
    let after: Vec<_> = (0..4).map(|number| harness.log().bounds(partition(number))).collect();
    assert_eq!(after, bounds);
    assert_eq!(harness.log().partitions().get(), 4);
}

fn many_crashes_change_nothing(harness: &mut dyn Harness) {
    mixture(harness, 30);
    let all = harness.all(partition(1));
    for _ in 0..20 {
        harness.crash();
    }
    assert_eq!(harness.all(partition(1)), all);
    harness.append(partition(1), vec![fact(9, 0)]);
}

#[test]
fn all_that_survives_a_crash_is_a_whole_front_part() {
    for batches in 0..6 {
        for torn_bytes in 0..400 {
            let memory = Memory::new(SMALL);
            let (harness, p): (&dyn Harness, _) = (&memory, partition(0));
            harness.append(p, vec![fact(1, 0), output(1, 1), fact(1, 2)]);
            for n in 1..6 {
                let records = vec![fact(1, 3 * n), output(1, 3 * n + 1), fact(1, 3 * n + 2)];
                let expected = Position::new(3 * n);
                harness.offer(AppendBatch { partition: p, expected, records, rows: Vec::new() });
            }
            memory.0.crash(Survives { batches, torn_bytes });
            let after = Memory(memory.0.reopen().expect("a torn tail opens"));
            let harness: &dyn Harness = &after;
            let all = harness.all(p);
            let whole = all.len() / 3;
            assert_eq!(all.len() % 3, 0, "half a batch survived");
            assert!(
                whole == batches.min(5) + 1 || whole == batches + 2,
                "{whole} batches after {batches}, {torn_bytes}"
            );
            harness.append(p, vec![fact(1, all.len() as u64)]);
            assert_eq!(harness.all(p).len(), all.len() + 1);
            assert_eq!(crate::streams::read(harness, p, 1, 0).len(), all.len() + 1);
        }
    }
}

#[test]
fn a_directory_made_anew_has_another_history_in_each_partition() {
    let rocks = Rocks::new(USUAL);
    let history = |number| (&rocks as &dyn Harness).log().bounds(partition(number)).history;
    let mut all: Vec<_> = (0..4).map(history).collect();
    all.push(History::new(HISTORY));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
}
