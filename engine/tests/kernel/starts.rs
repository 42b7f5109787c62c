//! Starting a run once, however often it is asked for.

use engine::{Answer, Command, PartitionConfig, Rejection, RunStatus, StartRun};
use serde_json::json;
use types::Payload;

use crate::harness::{Harness, TOKEN_KEY};

const FLOW: &str = "do:\n  - pause: { wait: { hours: 100 } }";

fn send(harness: &mut Harness, start: StartRun) -> Result<Answer, Rejection> {
    harness.send(&Command::StartRun(Box::new(start))).map(|(_, answer)| answer)
}

#[test]
fn the_same_key_and_input_is_the_same_run() {
    let mut harness = Harness::of(FLOW);
    let first = harness.keyed("k", &json!({"n": 1}));
    let run = first.run;
    assert_eq!(send(&mut harness, first), Ok(Answer::Started { run, duplicate: false }));
    let again = harness.keyed("k", &json!({"n": 1}));
    assert_ne!(again.run, run);
    let before = harness.log.len();
    assert_eq!(send(&mut harness, again), Ok(Answer::Started { run, duplicate: true }));
    assert_eq!(harness.log.len(), before, "a duplicate leaves no trace");
    assert_eq!(harness.partition.runs().count(), 1);
}

#[test]
fn the_same_key_with_another_input_is_a_conflict() {
    let mut harness = Harness::of(FLOW);
    let first = harness.keyed("k", &json!({"n": 1}));
    let run = first.run;
    assert!(send(&mut harness, first).is_ok());
    let other = harness.keyed("k", &json!({"n": 2}));
    let conflict = Rejection::IdempotencyConflict { key: "k".to_owned(), run };
    assert_eq!(send(&mut harness, other), Err(conflict));
}

#[test]
fn a_key_means_the_same_within_tenant_workflow_and_run_key() {
    let mut harness = Harness::of(FLOW);
    harness.define("other", FLOW);
    let base = harness.keyed("k", &json!({}));
    assert!(send(&mut harness, base).is_ok());
    let elsewhere = harness.keyed("k", &json!({}));
    let elsewhere = StartRun { tenant: types::TenantId::new("other").expect("plain"), ..elsewhere };
    let run = elsewhere.run;
    assert_eq!(send(&mut harness, elsewhere), Ok(Answer::Started { run, duplicate: false }));
    let keyed = harness.keyed("k", &json!({}));
    let keyed = StartRun { key: Some("agent-7".to_owned()), ..keyed };
    let run = keyed.run;
    assert_eq!(send(&mut harness, keyed), Ok(Answer::Started { run, duplicate: false }));
    let key = harness.keyed("k", &json!({})).idempotency_key;
    let workflow = StartRun { idempotency_key: key, ..harness.start_command("other", &json!({})) };
    let run = workflow.run;
    assert_eq!(send(&mut harness, workflow), Ok(Answer::Started { run, duplicate: false }));
}

#[test]
fn a_key_is_forgotten_after_its_window() {
    let config = PartitionConfig { idempotency_window_ms: 1_000, ..PartitionConfig::new(TOKEN_KEY) };
    let mut harness = Harness::with_config(config);
    harness.define("flow", FLOW);
    let first = harness.keyed("k", &json!({}));
    let old = first.run;
    assert!(send(&mut harness, first).is_ok());
    harness.later_ms(999);
    let second = harness.keyed("k", &json!({}));
    assert_eq!(send(&mut harness, second), Ok(Answer::Started { run: old, duplicate: true }));
    harness.later_ms(1);
    let third = harness.keyed("k", &json!({"another": "input"}));
    let new = third.run;
    assert_eq!(send(&mut harness, third), Ok(Answer::Started { run: new, duplicate: false }));
    let fourth = harness.keyed("k", &json!({"another": "input"}));
    assert_eq!(send(&mut harness, fourth), Ok(Answer::Started { run: new, duplicate: true }), "the window begins anew");
}

#[test]
fn a_duplicate_is_known_when_its_run_is_long_over() {
    let mut harness = Harness::of("do:\n  - a: { set: { n: 1 } }");
    let first = harness.keyed("k", &json!({}));
    let run = first.run;
    assert!(send(&mut harness, first).is_ok());
    assert_eq!(harness.status(run), RunStatus::Completed);
    let again = harness.keyed("k", &json!({}));
    assert_eq!(send(&mut harness, again), Ok(Answer::Started { run, duplicate: true }));
}

#[test]
fn a_run_id_is_used_once() {
    let mut harness = Harness::of(FLOW);
    let first = harness.start_command("flow", &json!({}));
    let run = first.run;
    assert!(send(&mut harness, first.clone()).is_ok());
    assert_eq!(send(&mut harness, first), Err(Rejection::RunExists(run)));
}

#[test]
fn an_input_must_be_json_and_fit() {
    let mut harness = Harness::of(FLOW);
    let start = StartRun { input: Payload::json("nonsense"), ..harness.start_command("flow", &json!({})) };
    assert!(matches!(send(&mut harness, start), Err(Rejection::NotJson { what: "the input", .. })));
    let large = Payload::json(format!("\"{}\"", "x".repeat(engine::limits::VALUE_BYTES)));
    let start = StartRun { input: large, ..harness.start_command("flow", &json!({})) };
    assert!(matches!(send(&mut harness, start), Err(Rejection::TooLarge { what: "the input", .. })));
}

#[test]
fn an_input_from_that_fails_refuses_the_start() {
    let mut harness = Harness::of("input: { from: '${ .n.deep.er }' }\ndo:\n  - a: { set: { n: 1 } }");
    let start = harness.start_command("flow", &json!({"n": 1}));
    let refused = send(&mut harness, start);
    assert!(matches!(&refused, Err(Rejection::Invalid(why)) if why.contains("input.from")), "{refused:?}");
}
