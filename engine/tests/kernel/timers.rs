//! Waiting: never early in log time, once.

use engine::{Command, Rejection, RunEvent, RunStatus};
use serde_json::json;
use types::Timestamp;

use crate::harness::{BEGINNING, Harness, kinds};

const WAIT: &str = "do:\n  - pause: { wait: { seconds: 10 } }\n  - done: { set: { done: true } }";

#[test]
fn a_wait_is_over_at_its_time_and_not_before() {
    let mut harness = Harness::of(WAIT);
    let run = harness.start(&json!({"n": 1}));
    let due = BEGINNING.plus_millis(10_000);
    assert_eq!(harness.partition.next_wake(), Some(due));
    harness.later_ms(9_999);
    assert_eq!(harness.partition.due(harness.now, 10), []);
    assert_eq!(harness.refuse(&Command::FireTimer { run, timer: 0 }), Rejection::NotDue);
    harness.later_ms(1);
    let commands = harness.partition.due(harness.now, 10);
    assert_eq!(commands, [Command::FireTimer { run, timer: 0 }]);
    assert_eq!(kinds(&harness.expect(&commands[0])), ["TimerFired", "TaskExited", "TaskExited", "Completed"]);
    assert_eq!(harness.refuse(&commands[0]), Rejection::NotDue, "a timer fires once");
    assert_eq!(harness.partition.next_wake(), None);
    assert_eq!(harness.output(run), json!({"done": true}));
}

#[test]
fn a_clock_that_is_set_back_moves_nothing() {
    let mut harness = Harness::of(WAIT);
    let run = harness.start(&json!({}));
    harness.now = Timestamp::from_millis(1_000);
    assert_eq!(harness.refuse(&Command::FireTimer { run, timer: 0 }), Rejection::NotDue);
    harness.start(&json!({}));
    let last = harness.log.last().expect("it was logged").placed.time;
    assert_eq!(last, BEGINNING, "log time stays where it was");
    assert_eq!(harness.partition.log_time(harness.now), BEGINNING);
}

#[test]
fn a_clock_that_is_set_forward_fires_what_is_due_then() {
    let mut harness = Harness::of(WAIT);
    let run = harness.start(&json!({}));
    harness.later_ms(10 * 365 * 86_400_000);
    let commands = harness.partition.due(harness.now, 10);
    harness.expect(&commands[0]);
    assert_eq!(harness.status(run), RunStatus::Completed);
}

#[test]
fn timers_are_due_earliest_first_and_no_more_than_asked_for() {
    let mut harness = Harness::of("do:\n  - pause: { wait: { seconds: 10 } }");
    let mut runs = Vec::new();
    for _ in 0..5 {
        harness.later_ms(1_000);
        runs.push(harness.start(&json!({})));
    }
    harness.later_ms(60_000);
    let due = |run| Command::FireTimer { run, timer: 0 };
    assert_eq!(harness.partition.due(harness.now, 3), runs[..3].iter().map(|&run| due(run)).collect::<Vec<_>>());
    assert_eq!(harness.partition.due(harness.now, 100).len(), 5);
}

#[test]
fn the_due_time_is_in_the_event() {
    let mut harness = Harness::of(WAIT);
    let run = harness.start(&json!({}));
    let set = harness.history(run).into_iter().find_map(|event| {
        if let RunEvent::TimerStarted { timer, path, .. } = event { Some((timer.due, path)) } else { None }
    });
    assert_eq!(set, Some((BEGINNING.plus_millis(10_000), "/do/0/pause".to_owned())));
}

#[test]
fn a_timer_of_nobody_is_not_due() {
    let mut harness = Harness::of(WAIT);
    let run = harness.start(&json!({}));
    harness.later_ms(60_000);
    assert_eq!(harness.refuse(&Command::FireTimer { run, timer: 7 }), Rejection::NotDue);
}
