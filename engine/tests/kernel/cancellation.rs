//! Cancelling a run: its waits at once, its steps by asking their workers, inside a grace time.

use engine::{Command, Effect, Failure, Rejection, RunEvent, RunStatus};
use serde_json::json;
use types::{RunId, TenantId};

use crate::harness::{Harness, chunk, completion, failing, kinds};

const STEP: &str = "do:\n  - ask: { call: worker, with: { task: t, stream: true, retry: { delay: { seconds: 1 } } } }";

fn cancel(run: RunId) -> Command {
    Command::CancelRun { tenant: TenantId::default(), run, reason: "changed my mind".to_owned() }
}

#[test]
fn a_waiting_run_is_cancelled_at_once() {
    let mut harness = Harness::of("do:\n  - pause: { wait: { hours: 1 } }");
    let run = harness.start(&json!({}));
    assert_eq!(kinds(&harness.expect(&cancel(run))), ["CancelRequested", "Cancelled"]);
    assert_eq!(harness.status(run), RunStatus::Cancelled);
    assert_eq!(harness.run(run).reason.as_deref(), Some("changed my mind"));
    assert_eq!(harness.partition.next_wake(), None);
    assert_eq!(harness.refuse(&cancel(run)), Rejection::RunClosed(run));
}

#[test]
fn a_run_that_waits_for_a_retry_is_cancelled_at_once() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    harness.fail("flaky");
    assert_eq!(kinds(&harness.expect(&cancel(run))), ["CancelRequested", "StepCancelled", "Cancelled"]);
    assert_eq!(harness.status(run), RunStatus::Cancelled);
    assert_eq!(harness.partition.next_wake(), None);
}

#[test]
fn a_running_step_is_told_and_dropped_when_nobody_holds_it() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    assert_eq!(kinds(&harness.expect(&cancel(run))), ["CancelRequested", "StepCancelRequested"]);
    assert_eq!(harness.partition.effects(), [Effect::CancelStep { run, step: 0, attempt: 1 }]);
    assert_eq!(harness.status(run), RunStatus::Cancelling);
    assert_eq!(harness.expect(&cancel(run)), [], "asking again changes nothing");
    let drop = |attempt| Command::DropStep { run, step: 0, attempt };
    assert_eq!(harness.refuse(&drop(2)), Rejection::StaleAttempt);
    assert_eq!(kinds(&harness.expect(&drop(1))), ["StepCancelled", "Cancelled"]);
    assert_eq!(harness.partition.effects(), []);
    assert_eq!(harness.refuse(&drop(1)), Rejection::StaleAttempt);
}

#[test]
fn a_step_that_is_not_being_cancelled_is_not_dropped() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    assert_eq!(harness.refuse(&Command::DropStep { run, step: 0, attempt: 1 }), Rejection::StaleAttempt);
}

#[test]
fn whatever_the_holder_answers_ends_the_cancelled_step() {
    let answers: [fn(&Harness) -> Command; 3] = [
        |harness| completion(&token(harness), &json!("done all the same")),
        |harness| failing(&token(harness), Failure::new("stopped", "as told")),
        |harness| {
            let token = token(harness);
            let failure = Failure::new(engine::WORKER_LOST, "gone");
            Command::LoseAttempt { run: token.run, step: token.step, attempt: token.attempt, failure }
        },
    ];
    for answer in answers {
        let mut harness = Harness::of(STEP);
        let run = harness.start(&json!({}));
        let command = answer(&harness);
        harness.expect(&cancel(run));
        assert_eq!(kinds(&harness.expect(&command)), ["StepCancelled", "Cancelled"], "{command:?}");
        assert_eq!(harness.status(run), RunStatus::Cancelled);
        assert_eq!(harness.run(run).output, None, "its result does not count");
    }
}

fn token(harness: &Harness) -> engine::Token {
    harness.offer().token
}

#[test]
fn a_step_may_stream_until_it_stops() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let token = token(&harness);
    harness.expect(&cancel(run));
    harness.expect(&chunk(&token, 0, "last words"));
    harness.expect(&completion(&token, &json!(1)));
    assert_eq!(harness.status(run), RunStatus::Cancelled);
}

#[test]
fn a_step_that_does_not_stop_is_left_behind_after_the_grace_time() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let token = token(&harness);
    harness.expect(&cancel(run));
    let due = harness.now.plus_millis(engine::limits::CANCEL_GRACE_MS);
    assert_eq!(harness.partition.next_wake(), Some(due));
    assert_eq!(kinds(&harness.fire_next()), ["TimerFired", "Terminated"]);
    assert_eq!(harness.status(run), RunStatus::Terminated);
    let reason = harness.run(run).reason.clone().expect("it says why");
    assert_eq!(reason, "its steps did not stop within the grace time");
    assert_eq!(harness.refuse(&completion(&token, &json!("too late"))), Rejection::StaleAttempt);
    assert_eq!(harness.partition.effects(), []);
}

#[test]
fn a_cancelled_run_does_not_go_on_deriving() {
    let mut harness = Harness::of("do:\n  - again: { set: '${ . + 1 }', then: again }");
    let run = harness.start(&json!(0));
    assert!(harness.run(run).continue_owed);
    assert_eq!(kinds(&harness.expect(&cancel(run))), ["CancelRequested", "Cancelled"]);
    assert_eq!(harness.partition.effects(), []);
    assert_eq!(harness.refuse(&Command::ContinueRun { run }), Rejection::NotDue);
}

#[test]
fn only_its_own_tenant_may_cancel_a_run() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let tenant = TenantId::new("other").expect("plain");
    let theirs = Command::CancelRun { tenant, run, reason: String::new() };
    assert_eq!(harness.refuse(&theirs), Rejection::RunNotFound(run));
}

#[test]
fn a_long_reason_is_cut() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let reason = "ä".repeat(5_000);
    let events = harness.expect(&Command::CancelRun { tenant: TenantId::default(), run, reason });
    let RunEvent::CancelRequested { reason, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(reason.chars().count(), 1_000);
}
