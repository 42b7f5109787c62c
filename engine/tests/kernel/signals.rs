//! Signals: kept for the run, once per message id, inside bounds.

use engine::{Answer, Command, Rejection};
use serde_json::json;
use types::{Payload, RunId, TenantId};

use crate::harness::{Harness, json};

const FLOW: &str = "do:\n  - pause: { wait: { hours: 1 } }";

fn signal(run: RunId, id: Option<&str>, payload: Payload) -> Command {
    let (name, id) = ("approve".to_owned(), id.map(str::to_owned));
    Command::SignalRun { tenant: TenantId::default(), run, name, id, payload }
}

fn send(harness: &mut Harness, command: &Command) -> Result<bool, Rejection> {
    let (_, answer) = harness.send(command)?;
    let Answer::Signalled { duplicate } = answer else { panic!("{answer:?}") };
    Ok(duplicate)
}

#[test]
fn a_message_id_is_taken_once() {
    let mut harness = Harness::of(FLOW);
    let run = harness.start(&json!({}));
    assert_eq!(send(&mut harness, &signal(run, Some("m1"), json(&json!(1)))), Ok(false));
    assert_eq!(send(&mut harness, &signal(run, Some("m1"), json(&json!(1)))), Ok(true));
    assert_eq!(send(&mut harness, &signal(run, Some("m2"), json(&json!(2)))), Ok(false));
    assert_eq!(send(&mut harness, &signal(run, None, json(&json!(3)))), Ok(false));
    assert_eq!(send(&mut harness, &signal(run, None, json(&json!(3)))), Ok(false), "without an id there are no twins");
    assert_eq!(harness.run(run).signals.len(), 4);
}

#[test]
fn signals_are_for_open_runs_of_the_same_tenant() {
    let mut harness = Harness::of("do:\n  - a: { set: { n: 1 } }");
    let run = harness.start(&json!({}));
    assert_eq!(harness.refuse(&signal(run, None, json(&json!(1)))), Rejection::RunClosed(run));
    let mut harness = Harness::of(FLOW);
    let run = harness.start(&json!({}));
    let (tenant, payload) = (TenantId::new("other").expect("plain"), json(&json!(1)));
    let theirs = Command::SignalRun { tenant, run, name: "x".to_owned(), id: None, payload };
    assert_eq!(harness.refuse(&theirs), Rejection::RunNotFound(run));
}

#[test]
fn a_run_keeps_only_so_many_signals_and_so_many_bytes() {
    let mut harness = Harness::of(FLOW);
    let run = harness.start(&json!({}));
    let large = json(&json!("x".repeat(200_000)));
    assert_eq!(send(&mut harness, &signal(run, None, large.clone())), Ok(false));
    assert!(matches!(harness.refuse(&signal(run, None, large)), Rejection::TooManySignals { .. }));
    let run = harness.start(&json!({}));
    for n in 0..engine::limits::SIGNALS_PER_RUN {
        assert_eq!(send(&mut harness, &signal(run, Some(&n.to_string()), json(&json!(n)))), Ok(false));
    }
    assert!(matches!(harness.refuse(&signal(run, None, json(&json!(0)))), Rejection::TooManySignals { .. }));
    assert_eq!(send(&mut harness, &signal(run, Some("7"), json(&json!(7)))), Ok(true), "a duplicate needs no room");
}

#[test]
fn a_signal_has_a_name_and_json() {
    let mut harness = Harness::of(FLOW);
    let run = harness.start(&json!({}));
    let named = |name: &str| {
        let (tenant, name, payload) = (TenantId::default(), name.to_owned(), json(&json!(1)));
        Command::SignalRun { tenant, run, name, id: None, payload }
    };
    assert!(matches!(harness.refuse(&named("")), Rejection::Invalid(_)));
    assert!(matches!(harness.refuse(&named(&"x".repeat(257))), Rejection::Invalid(_)));
    assert!(matches!(harness.refuse(&signal(run, None, Payload::json("{"))), Rejection::NotJson { .. }));
    assert!(matches!(harness.refuse(&signal(run, Some(&"x".repeat(257)), json(&json!(1)))), Rejection::Invalid(_)));
}
