//! The determinism check: honest logs pass, and a tampered one is caught at its place.

use engine::{Event, Failure, PartitionConfig, Placed, RunEvent};
use proptest::prelude::*;
use serde_json::json;
use types::Position;

use crate::harness::{Harness, Logged, TOKEN_KEY, chunk, failing, json};

/// A log with causes of every kind.
fn honest() -> Harness {
    let mut harness = Harness::of(
        "do:
  - a: { set: { n: '${ .n + 1 }' } }
  - ask: { call: worker, with: { task: t, stream: true } }
  - pause: { wait: { seconds: 5 } }
  - b: { set: { total: '${ .n * 2 }', id: '${ uuid }' } }",
    );
    let _ = harness.start(&json!({"n": 1}));
    let token = harness.offer().token;
    harness.expect(&chunk(&token, 0, "half"));
    harness.expect(&failing(&token, Failure::new("flaky", "no")));
    harness.fire_next();
    harness.complete(&json!({"n": 4}));
    harness.fire_next();
    harness
}

#[test]
fn an_honest_log_passes_and_says_what_was_compared() {
    let harness = honest();
    let engine::Verified { causes, compared, unverified } = harness.verify(&harness.log).expect("it is honest");
    assert_eq!(unverified, 0);
    assert_eq!(causes, 5, "start, failure, timer, result, timer; a chunk has no consequences");
    let consequences = harness.log.iter().filter(|logged| !logged.cause).count();
    assert_eq!(compared, consequences as u64);
}

/// The position at which a changed log is caught.
fn caught(harness: &Harness, change: impl FnOnce(&mut Vec<Logged>)) -> Option<Position> {
    let mut log = harness.log.clone();
    change(&mut log);
    harness.verify(&log).err().map(|divergence| divergence.position)
}

#[test]
fn a_changed_consequence_is_caught_where_it_stands() {
    let harness = honest();
    for (index, logged) in harness.log.iter().enumerate().filter(|(_, logged)| !logged.cause) {
        let Some(changed) = changed(&logged.event) else { continue };
        let position = caught(&harness, |log| log[index].event = changed.clone());
        assert_eq!(position, Some(logged.placed.position), "{changed:?}");
    }
}

/// The same event with another value in it.
fn changed(event: &Event) -> Option<Event> {
    let Event::Run { run, event } = event else { return None };
    let mut event = event.clone();
    if let RunEvent::TaskExited { output: Some(output), .. } | RunEvent::Completed { output: Some(output) } = &mut event
    {
        *output = json(&json!("tampered"));
    } else if let RunEvent::StepScheduled { path, .. } = &mut event {
        path.push('x');
    } else if let RunEvent::TimerStarted { timer, .. } = &mut event {
        timer.due = timer.due.plus_millis(1);
    } else {
        return None;
    }
    Some(Event::Run { run: *run, event })
}

#[test]
fn a_changed_cause_is_caught_at_the_first_consequence_that_it_moves() {
    let harness = honest();
    let index = harness
        .log
        .iter()
        .position(|logged| matches!(&logged.event, Event::Run { event: RunEvent::StepCompleted { .. }, .. }));
    let index = index.expect("a step was completed");
    let position = caught(&harness, |log| {
        let Event::Run { event: RunEvent::StepCompleted { output, .. }, .. } = &mut log[index].event else {
            unreachable!("it was just found")
        };
        *output = json(&json!({"n": 5}));
    });
    let total = |logged: &Logged| {
        matches!(&logged.event, Event::Run { event: RunEvent::TaskExited { output: Some(_), .. }, .. })
    };
    let moved = harness.log[index..].iter().find(|logged| total(logged)).expect("the total was set");
    assert_eq!(position, Some(moved.placed.position));
}

#[test]
fn a_missing_consequence_is_caught_at_what_stands_in_its_place() {
    let harness = honest();
    let last = harness.log.last().expect("there is one").placed.position;
    assert_eq!(caught(&harness, |log| drop(log.pop())), Some(last), "at the log's end");
    let index = harness.log.iter().rposition(|logged| logged.cause).expect("there is one");
    let position = caught(&harness, |log| drop(log.drain(index - 1..index)));
    assert_eq!(position, Some(harness.log[index].placed.position), "at the next cause");
}

#[test]
fn an_event_that_nothing_caused_is_caught() {
    let harness = honest();
    let end = harness.partition.next_position();
    let mut extra = harness.log.last().expect("there is one").clone();
    (extra.cause, extra.placed.position) = (false, end);
    let mut log = harness.log.clone();
    log.push(extra);
    let mut partition = engine::Partition::new(harness.config.clone());
    let mut verifier = engine::Verifier::default();
    let mut position = None;
    for Logged { event, cause, placed, .. } in &log {
        let program = |hash| harness.programs.get(&hash).cloned();
        if let Err(divergence) = verifier.observe(&partition, event, *cause, placed.position, placed.time, program) {
            position = Some(divergence.position);
            break;
        }
        partition.apply(event, *placed, &mut Vec::new());
    }
    assert_eq!(position, Some(end));
}

#[test]
fn a_run_whose_definition_is_unknown_is_passed_over_and_counted() {
    let harness = honest();
    let mut partition = engine::Partition::new(harness.config.clone());
    let mut verifier = engine::Verifier::default();
    for Logged { event, cause, placed, .. } in &harness.log {
        verifier
            .observe(&partition, event, *cause, placed.position, placed.time, |_| None)
            .expect("nothing to compare");
        partition.apply(event, *placed, &mut Vec::new());
    }
    let found = verifier.finish(partition.next_position()).expect("nothing is missing");
    assert_eq!(found, engine::Verified { causes: 0, compared: 0, unverified: 5 });
}

/// A log with loops, a `try`, retries and a cancellation besides.
fn varied() -> Harness {
    let mut harness = Harness::of(
        "do:
  - t:
      try:
        - each: { for: { in: '${ [1, 2] }' }, do: [ { look: { call: worker, with: { task: look } } } ] }
        - odd: { raise: { error: { type: 'https://x.example/odd', status: 400 } } }
      catch: { retry: { delay: { seconds: 1 }, limit: { attempt: { count: 1 } } }, do: [ { rest: { wait: { seconds: 1 } } } ] }",
    );
    let run = harness.start(&json!({}));
    for _ in 0..2 {
        harness.fail("flaky");
        harness.fire_next();
        harness.complete(&json!(1));
        harness.complete(&json!(2));
        harness.fire_next();
    }
    assert!(harness.run(run).status.is_closed());
    let run = harness.start(&json!({}));
    let (tenant, reason) = (types::TenantId::default(), "enough".to_owned());
    harness.expect(&engine::Command::CancelRun { tenant, run, reason });
    harness.fire_next();
    harness
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a log says in whatever order: an event is refused, or it can be applied.
    #[test]
    fn what_cannot_have_happened_is_refused_and_never_ends_the_process(
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
    ) {
        static LOGS: std::sync::OnceLock<Vec<Logged>> = std::sync::OnceLock::new();
        let log = LOGS.get_or_init(|| [honest().log.clone(), varied().log.clone()].concat());
        let mut partition = engine::Partition::new(PartitionConfig::new(TOKEN_KEY));
        let starts = log.iter().filter(|logged| {
            matches!(logged.event, Event::Run { event: RunEvent::Started(_) | RunEvent::FunctionBound { .. }, .. })
        });
        for logged in starts.chain(order.iter().map(|index| index.get(log))) {
            if partition.contradiction(&logged.event).is_none() {
                let placed = Placed { position: partition.next_position(), ..logged.placed };
                partition.apply(&logged.event, placed, &mut Vec::new());
            }
        }
    }
}

#[test]
fn a_log_in_another_order_contradicts_itself() {
    let harness = varied();
    let mut partition = engine::Partition::new(harness.config.clone());
    let refused = harness.log.iter().rev().filter(|logged| {
        let refused = partition.contradiction(&logged.event);
        if refused.is_none() {
            let placed = Placed { position: partition.next_position(), ..logged.placed };
            partition.apply(&logged.event, placed, &mut Vec::new());
        }
        refused.is_some_and(|why| !why.is_empty())
    });
    assert!(refused.count() > harness.log.len() / 2);
}

#[test]
fn an_event_of_a_run_that_never_started_is_caught_where_it_stands() {
    let harness = honest();
    let position = caught(&harness, |log| {
        let Event::Run { run, .. } = &mut log[5].event else { panic!("an event of the run") };
        *run = types::RunId::new(types::RoutingHash::from_bits(0), 99);
    });
    assert_eq!(position, Some(harness.log[5].placed.position));
}
