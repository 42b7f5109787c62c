//! One command derives so much and no more; a definition that loops without waiting is ended by name.

use engine::{Command, Rejection, RunEvent, RunStatus, limits};
use serde_json::json;

use crate::harness::{Harness, kinds};

#[test]
fn a_long_derivation_is_cut_into_batches() {
    let mut harness = Harness::of(
        "do:
  - count: { set: { n: '${ .n + 1 }' } }
  - again: { switch: [ { more: { when: '.n < 500', then: count } } ] }",
    );
    let run = harness.start(&json!({"n": 0}));
    let derived = harness.history(run);
    assert_eq!(derived.len(), 1 + limits::EVENTS_PER_COMMAND + 1);
    assert_eq!(derived.last(), Some(&RunEvent::ContinueOwed));
    let batch = harness.expect(&Command::ContinueRun { run });
    assert_eq!(batch[0], RunEvent::Continued);
    assert_eq!(batch.len(), 1 + limits::EVENTS_PER_COMMAND + 1);
    assert_eq!(harness.carry_on(), 2);
    assert_eq!(harness.output(run), json!({"n": 500}));
    assert_eq!(harness.refuse(&Command::ContinueRun { run }), Rejection::NotDue);
}

#[test]
fn bytes_are_bounded_like_events() {
    let mut harness = Harness::of(
        "do:
  - grow: { for: { in: '${ [range(8)] }' }, do: [ { a: { set: '${ . + \"x\" }' } } ] }",
    );
    let run = harness.start(&json!("y".repeat(100_000)));
    let derived = harness.history(run);
    assert_eq!(derived.last(), Some(&RunEvent::ContinueOwed));
    let values = derived.iter().filter(|event| matches!(event, RunEvent::TaskExited { .. })).count();
    assert_eq!(values, 3, "three of 100 kB pass the 256 KiB");
    assert!(harness.carry_on() >= 2);
    assert_eq!(harness.status(run), RunStatus::Completed);
}

#[test]
fn a_loop_that_never_waits_is_ended_by_name() {
    let mut harness = Harness::of("do:\n  - spin: { set: '${ 1 }', then: spin }");
    let run = harness.start(&json!(1));
    harness.carry_on();
    let run = harness.run(run);
    assert_eq!(run.status, RunStatus::Failed);
    let error = run.error.clone().expect("it says why");
    assert_eq!(error.title.as_deref(), Some("Runaway Loop"));
    assert_eq!(error.instance.as_deref(), Some("/do/0/spin"));
    assert_eq!(error.type_, workflow::error::RUNTIME);
}

#[test]
fn no_catch_keeps_a_runaway_loop_alive() {
    let mut harness = Harness::of(
        "do:
  - t:
      try: [ { spin: { set: '${ 1 }', then: spin } } ]
      catch: { do: [ { c: { set: { caught: true } } } ] }",
    );
    let run = harness.start(&json!(1));
    harness.carry_on();
    assert_eq!(harness.status(run), RunStatus::Failed);
}

#[test]
fn errors_alone_do_not_keep_a_loop_alive_either() {
    let mut harness = Harness::of(
        "do:
  - t: { try: [ { a: { set: '${ .x.y.z }' } } ], catch: {}, then: t }",
    );
    let run = harness.start(&json!({"x": 1}));
    harness.carry_on();
    assert_eq!(harness.status(run), RunStatus::Failed);
    assert_eq!(harness.run(run).error.as_ref().and_then(|error| error.title.as_deref()), Some("Runaway Loop"));
}

#[test]
fn a_loop_that_waits_for_a_step_goes_on() {
    let mut harness = Harness::of("do:\n  - ask: { call: worker, with: { task: t }, then: ask }");
    let run = harness.start(&json!(0));
    for n in 0..2_000 {
        harness.complete(&json!(n));
    }
    assert_eq!(harness.status(run), RunStatus::Running);
    assert_eq!(harness.run(run).entries, 1);
    assert_eq!(harness.offer().path, "/do/0/ask@2001");
}

#[test]
fn a_closed_scope_leaves_only_its_result() {
    let mut harness = Harness::of(
        "do:
  - each: { for: { in: '${ [range(200)] }' }, do: [ { inner: { do: [ { a: { set: '${ $item }' } } ] } } ] }
  - pause: { wait: { seconds: 1 } }",
    );
    let run = harness.start(&json!({}));
    harness.carry_on();
    let run = harness.run(run);
    assert_eq!(run.scopes.len(), 1, "the root is all that is open");
    assert_eq!(run.timers.len(), 1);
    assert_eq!(kinds(&harness.history(run.id)).iter().filter(|kind| *kind == "ScopeClosed").count(), 201);
}

const SPIN: &str = "turn: { for: { in: '${ [range(5000)] }' }, do: [ { a: { set: { n: 1 } } } ] }";

/// Fires timers until the run is over, at most `most` times.
fn fire_until_closed(harness: &mut Harness, run: types::RunId, most: usize) {
    harness.carry_on();
    for _ in 0..most {
        if harness.status(run) != RunStatus::Running {
            return;
        }
        harness.fire_next();
        harness.carry_on();
    }
}

#[test]
fn a_timer_that_takes_no_time_is_no_wait() {
    let title = |wait: &str| {
        let mut harness = Harness::of(&format!("do:\n  - {SPIN}\n  - pause: {{ wait: {wait}, then: turn }}"));
        let run = harness.start(&json!({}));
        fire_until_closed(&mut harness, run, 25);
        harness.run(run).error.as_ref().and_then(|error| error.title.clone())
    };
    assert_eq!(title("{ milliseconds: 0 }").as_deref(), Some("Runaway Loop"));
    assert_eq!(title("{ milliseconds: 1 }"), None);
}

#[test]
fn trying_again_at_once_is_no_wait_either() {
    let title = |delay: &str| {
        let mut harness = Harness::of(&format!(
            "do:
  - t:
      try: [ {{ {SPIN} }}, {{ no: {{ raise: {{ error: {{ type: 'https://x.example/no', status: 400 }} }} }} }} ]
      catch: {{ retry: {{ delay: {delay} }} }}"
        ));
        let run = harness.start(&json!({}));
        fire_until_closed(&mut harness, run, 25);
        harness.run(run).error.as_ref().and_then(|error| error.title.clone())
    };
    assert_eq!(title("{ milliseconds: 0 }").as_deref(), Some("Runaway Loop"));
    assert_eq!(title("{ milliseconds: 1 }"), None);
}

#[test]
fn what_is_logged_without_a_wait_counts_as_well() {
    let mut harness = Harness::of(
        "do:
  - a: { set: '${ . + \"x\" }' }
  - b: { set: '${ . + \"x\" }' }
  - ask: { call: worker, with: { task: t } }",
    );
    let run = harness.start(&json!("y".repeat(200_000)));
    harness.carry_on();
    let weight = u32::try_from(2 * 200_000 / limits::BYTES_PER_ENTRY).expect("small");
    assert!(harness.run(run).entries >= weight, "{}", harness.run(run).entries);
    harness.complete(&json!(1));
}

#[test]
fn work_is_bounded_like_events() {
    let mut harness = Harness::of(
        "do:\n  - each: { for: { in: '${ [range(9)] }' }, do: [ { a: { set: '${ [range(60000)] | length }' } } ] }",
    );
    let run = harness.start(&json!({}));
    let derived = harness.history(run);
    assert_eq!(derived.last(), Some(&RunEvent::ContinueOwed));
    let tasks =
        |events: &[RunEvent]| events.iter().filter(|event| matches!(event, RunEvent::TaskExited { .. })).count();
    assert!((1..9).contains(&tasks(&derived)), "{derived:?}");
    assert!(harness.carry_on() >= 1);
    assert_eq!(harness.output(run), json!(60_000));
}

#[test]
fn the_expressions_of_one_task_are_bounded_together() {
    let fields: Vec<String> = (0..700).map(|n| format!("f{n}: '${{ [range(40000)] | length }}'")).collect();
    let mut harness = Harness::of(&format!("do:\n  - a: {{ set: {{ {} }} }}", fields.join(", ")));
    let run = harness.start(&json!({}));
    harness.carry_on();
    let error = harness.run(run).error.clone().expect("it says why");
    assert_eq!((error.type_.as_str(), error.instance.as_deref()), (workflow::error::EXPRESSION, Some("/do/0/a")));
    assert!(error.detail.is_some_and(|detail| detail.contains("of its task")));
}

#[test]
fn a_value_that_did_not_change_is_logged_once() {
    let mut harness = Harness::of(
        "do:
  - ask: { call: worker, with: { task: t }, input: { from: '${ . }' }, output: { as: '${ . }' }, export: { as: '${ . }' } }
  - again: { set: '${ . }', export: { as: '${ . }' } }
output: { as: '${ . }' }",
    );
    let run = harness.start(&json!({"n": 1}));
    harness.complete(&json!({"n": 2}));
    assert_eq!(harness.output(run), json!({"n": 2}));
    for event in harness.history(run) {
        if let RunEvent::StepScheduled { input, task_input, .. } = &event {
            assert_eq!((input, task_input), (&None, &None));
        } else if let RunEvent::TaskExited { path, output, context, .. } = &event {
            // What the first task exported is new, the second repeats it.
            assert_eq!((output.is_some(), context.is_some()), (false, path.is_none()));
        } else if let RunEvent::Completed { output } = &event {
            assert_eq!(output, &None);
        }
    }
}
