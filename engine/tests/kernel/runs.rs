//! A run as a whole: its stream, its digest, and what stays when it is over.

use engine::{Class, Event, RunStatus};
use serde_json::json;

use crate::harness::{Harness, chunk, kinds};

const FLOW: &str = "do:
  - a: { set: { n: 1 } }
  - ask: { call: worker, with: { task: t, stream: true, retry: { delay: { seconds: 1 } } } }
  - each: { for: { in: '${ [1, 2] }' }, do: [ { b: { set: { n: '${ $item }' } } } ] }
  - pause: { wait: { seconds: 5 } }";

fn through(harness: &mut Harness) {
    let run = harness.start(&json!({"n": 0}));
    let token = harness.offer().token;
    harness.expect(&chunk(&token, 0, "half"));
    harness.fail("flaky");
    harness.fire_next();
    harness.complete(&json!({"n": 9}));
    harness.fire_next();
    assert_eq!(harness.output(run), json!({"n": 2}));
}

#[test]
fn a_whole_run_reads_like_its_definition() {
    let mut harness = Harness::of(FLOW);
    through(&mut harness);
    let history: Vec<_> = harness.log.iter().map(|logged| logged.event.clone()).collect();
    let expect = [
        "Started",
        "TaskExited",
        "FunctionBound",
        "StepScheduled",
        "ChunkAppended",
        "AttemptFailed",
        "AttemptSuperseded",
        "TimerFired",
        "StepCompleted",
        "TaskExited",
        "ScopeOpened",
        "TaskExited",
        "IterationStarted",
        "TaskExited",
        "ScopeClosed",
        "TaskExited",
        "TimerStarted",
        "TimerFired",
        "TaskExited",
        "Completed",
    ];
    assert_eq!(kinds(&crate::harness::run_events(history)), expect);
}

#[test]
fn the_runs_stream_shows_facts_and_output_without_a_gap() {
    let mut harness = Harness::of(FLOW);
    through(&mut harness);
    let mut next = 0;
    for logged in &harness.log {
        let shown = logged.event.class() != Class::Attempt;
        assert_eq!(!logged.bytes.stream.is_none(), shown, "{:?}", logged.event);
        if shown {
            assert_eq!(logged.bytes.offset.value(), next, "{:?}", logged.event);
            next += 1;
        }
    }
}

#[test]
fn only_the_first_of_a_batch_is_a_cause() {
    let mut harness = Harness::of(FLOW);
    through(&mut harness);
    let causes: Vec<_> = harness.log.iter().filter(|logged| logged.cause).map(|logged| logged.event.clone()).collect();
    let expect = ["Started", "ChunkAppended", "AttemptFailed", "TimerFired", "StepCompleted", "TimerFired"];
    assert_eq!(kinds(&crate::harness::run_events(causes)), expect);
}

#[test]
fn the_same_commands_give_the_same_digest_and_other_commands_another() {
    let digest = |outputs: &[u32]| {
        let mut harness = Harness::of("do:\n  - ask: { call: worker, with: { task: t }, then: ask }");
        let mut digests = vec![harness.partition.digest()];
        harness.start(&json!({}));
        for output in outputs {
            digests.push(harness.partition.digest());
            harness.complete(&json!(output));
        }
        digests.push(harness.partition.digest());
        digests
    };
    let (first, same, other) = (digest(&[1, 2, 3]), digest(&[1, 2, 3]), digest(&[1, 2, 4]));
    assert_eq!(first, same);
    assert_eq!(first[..4], other[..4]);
    assert_ne!(first[4], other[4]);
    let mut distinct: Vec<_> = first.iter().map(ToString::to_string).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), first.len(), "every event moves it");
}

#[test]
fn a_closed_run_owes_nothing_and_keeps_its_result_and_what_its_functions_are_called() {
    let mut harness = Harness::of(FLOW);
    through(&mut harness);
    let run = harness.partition.runs().next().expect("it is still in memory");
    assert_eq!(run.status, RunStatus::Completed);
    assert!(run.scopes.is_empty() && run.steps.is_empty() && run.timers.is_empty());
    assert_eq!(harness.partition.effects(), []);
    assert_eq!(harness.partition.digest(), engine::Digest::default(), "the digest is over open runs");
}

#[test]
fn runs_do_not_disturb_each_other() {
    let mut harness = Harness::of("do:\n  - ask: { call: worker, with: { task: t } }");
    let runs: Vec<_> = (0..10).map(|n| harness.start(&json!(n))).collect();
    let offers = harness.offers();
    assert_eq!(offers.len(), 10);
    for offer in offers.iter().rev() {
        harness.expect(&crate::harness::completion(&offer.token, &json!(offer.run.ulid().to_string())));
    }
    for run in runs {
        assert_eq!(harness.output(run), json!(run.ulid().to_string()));
    }
    let streams = harness.log.iter().filter_map(|logged| match &logged.event {
        Event::Run { run, .. } if !logged.bytes.stream.is_none() => Some((*run, logged.bytes.stream)),
        Event::Run { .. }
        | Event::WorkflowRegistered(_)
        | Event::StreamCreated { .. }
        | Event::EventAppended { .. }
        | Event::StreamSequenced { .. }
        | Event::StreamClosed { .. }
        | Event::StreamDeleted { .. }
        | Event::Retention(_) => None,
    });
    let distinct: std::collections::BTreeSet<_> = streams.collect();
    assert_eq!(distinct.len(), 10, "each run has one stream of its own");
}
