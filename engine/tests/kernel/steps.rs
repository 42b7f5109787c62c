//! Steps: what a worker is offered, and which of its answers count.

use engine::{Command, Failure, Rejection, RunEvent, RunStatus, Token, WORKER_LOST};
use serde_json::json;
use types::Payload;

use crate::harness::{Harness, chunk, completion, failing, json, kinds, value};

const STEP: &str = "do:
  - ask: { call: worker, with: { task: answer, queue: llm, startToClose: { seconds: 9 }, heartbeat: { seconds: 3 }, scheduleToStart: { seconds: 5 } } }";

/// Goes twice through the same task.
const TWICE: &str = "do:
  - ask: { call: worker, with: { task: answer } }
  - again: { switch: [ { more: { when: '.again', then: ask } }, { done: { then: end } } ] }";

#[test]
fn an_offer_says_all_that_a_worker_needs() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({"q": "why"}));
    let offer = harness.offer();
    assert_eq!((offer.run, offer.step, offer.attempt, offer.path.as_str()), (run, 0, 1, "/do/0/ask"));
    assert_eq!((offer.queue.as_str(), offer.task.as_str(), offer.stream), ("llm", "answer", false));
    assert_eq!((offer.start_to_close_ms, offer.heartbeat_ms), (9_000, Some(3_000)));
    assert_eq!((offer.schedule_to_start_ms, offer.next_sequence), (Some(5_000), 0));
    assert_eq!(value(&offer.input), json!({"q": "why"}));
    assert_eq!(harness.partition.held(&offer.token), Some(0));
    assert_eq!(harness.partition.open_steps(), 1);
}

#[test]
fn a_result_goes_on_in_one_batch() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let events = harness.complete(&json!({"a": 1}));
    assert_eq!(kinds(&events), ["StepCompleted", "TaskExited", "Completed"]);
    let RunEvent::StepCompleted { step: 0, attempt: 1, worker, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(worker, "worker-1");
    assert_eq!(harness.output(run), json!({"a": 1}));
    assert_eq!(harness.partition.open_steps(), 0);
}

#[test]
fn the_first_result_wins() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let token = harness.offer().token;
    harness.expect(&completion(&token, &json!("first")));
    assert_eq!(harness.refuse(&completion(&token, &json!("first"))), Rejection::StaleAttempt);
    assert_eq!(harness.refuse(&completion(&token, &json!("second"))), Rejection::StaleAttempt);
    assert_eq!(harness.refuse(&failing(&token, Failure::new("x", "y"))), Rejection::StaleAttempt);
    assert_eq!(harness.partition.held(&token), None);
    assert_eq!(harness.output(run), json!("first"));
}

#[test]
fn a_late_result_of_an_earlier_attempt_is_stale() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let first = harness.offer().token;
    harness.fail("flaky");
    assert_eq!(harness.refuse(&completion(&first, &json!("late"))), Rejection::StaleAttempt, "while it waits");
    harness.fire_next();
    let second = harness.offer();
    assert_eq!(second.attempt, 2);
    assert_eq!(harness.refuse(&completion(&first, &json!("late"))), Rejection::StaleAttempt, "while another runs");
    harness.expect(&completion(&second.token, &json!("in time")));
    assert_eq!(harness.output(run), json!("in time"));
}

#[test]
fn a_late_result_of_an_earlier_visit_is_stale() {
    let mut harness = Harness::of(TWICE);
    let run = harness.start(&json!({}));
    let first = harness.offer();
    harness.complete(&json!({"again": true}));
    let second = harness.offer();
    assert_eq!((first.path.as_str(), second.path.as_str()), ("/do/0/ask", "/do/0/ask@2"));
    assert_ne!(first.idempotency_key, second.idempotency_key);
    assert_eq!(harness.refuse(&completion(&first.token, &json!({"again": true}))), Rejection::StaleAttempt);
    // Even with the number of the second step, the first visit's token is not the second's.
    let forged = forge(&first.token, second.step, second.attempt);
    assert_eq!(harness.refuse(&completion(&forged, &json!({}))), Rejection::ForgedToken);
    harness.complete(&json!({"again": false}));
    assert_eq!(harness.status(run), RunStatus::Completed);
}

/// The same token for another step or attempt.
fn forge(token: &Token, step: u32, attempt: u32) -> Token {
    let text = token.to_string();
    let mac = text.rsplit('.').next().expect("a token has parts");
    format!("{}.{step}.{attempt}.{mac}", token.run).parse().expect("it looks like a token")
}

#[test]
fn forged_tokens_are_refused_for_whatever_they_ask() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({}));
    let genuine = harness.offer().token;
    let text = genuine.to_string();
    let flipped = if text.ends_with('0') {
        format!("{}1", &text[..text.len() - 1])
    } else {
        format!("{}0", &text[..text.len() - 1])
    };
    let forged: Token = flipped.parse().expect("it looks like a token");
    let later = forge(&genuine, 0, 2);
    for token in [forged, later] {
        assert_eq!(harness.refuse(&completion(&token, &json!(1))), Rejection::ForgedToken);
        assert_eq!(harness.refuse(&failing(&token, Failure::default())), Rejection::ForgedToken);
        assert_eq!(harness.refuse(&chunk(&token, 0, "x")), Rejection::ForgedToken);
        assert_eq!(harness.partition.held(&token), None);
    }
}

#[test]
fn the_idempotency_key_is_that_of_the_step_not_of_the_attempt() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({"q": 1}));
    let first = harness.offer();
    harness.fail("flaky");
    harness.fire_next();
    let second = harness.offer();
    assert_eq!(first.idempotency_key, second.idempotency_key);
    assert_ne!(first.token, second.token);
    harness.complete(&json!(1));
    harness.start(&json!({"q": 1}));
    assert_ne!(harness.offer().idempotency_key, first.idempotency_key, "another run is another step");
}

#[test]
fn an_output_must_be_json() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let token = harness.offer().token;
    let output = Payload::json("{");
    let rejection = harness.refuse(&Command::CompleteStep { token: token.clone(), output, worker: String::new() });
    assert!(matches!(rejection, Rejection::NotJson { what: "the output", .. }), "{rejection}");
    harness.expect(&completion(&token, &json!("now it is")));
    assert_eq!(harness.output(run), json!("now it is"));
}

#[test]
fn a_lost_attempt_is_offered_again_at_once() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let lost = |attempt| Command::LoseAttempt { run, step: 0, attempt, failure: Failure::new(WORKER_LOST, "gone") };
    harness.expect(&lost(1));
    assert_eq!(harness.partition.next_wake(), Some(harness.now));
    assert_eq!(harness.refuse(&lost(1)), Rejection::StaleAttempt);
    harness.fire_next();
    assert_eq!(harness.offer().attempt, 2);
    assert_eq!(harness.refuse(&lost(1)), Rejection::StaleAttempt);
    harness.complete(&json!(1));
    assert_eq!(harness.refuse(&lost(2)), Rejection::StaleAttempt);
    assert_eq!(harness.status(run), RunStatus::Completed);
}

#[test]
fn functions_are_kept_once() {
    let mut harness = Harness::of(
        "use: { functions: { ask: { call: worker, with: { task: answer, queue: llm } } } }
do:
  - a: { call: ask, with: { n: 1 } }
  - b: { call: ask, with: { n: 2 } }
  - c: { call: worker, with: { task: answer, queue: other } }",
    );
    let run = harness.start(&json!({}));
    for n in 0..3 {
        harness.complete(&json!(n));
    }
    let bound = |event: &RunEvent| matches!(event, RunEvent::FunctionBound { .. });
    assert_eq!(harness.history(run).iter().filter(|event| bound(event)).count(), 2);
    let completed = |event: &RunEvent| matches!(event, RunEvent::StepCompleted { .. });
    assert_eq!(harness.history(run).iter().filter(|event| completed(event)).count(), 3);
}

#[test]
fn runs_that_are_unknown_have_no_steps() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({}));
    let token = harness.offer().token;
    let mut other = Harness::of(STEP);
    assert_eq!(other.refuse(&completion(&token, &json!(1))), Rejection::StaleAttempt);
    assert_eq!(other.refuse(&chunk(&token, 0, "x")), Rejection::StaleAttempt);
    let lost = Command::LoseAttempt { run: token.run, step: 0, attempt: 1, failure: Failure::default() };
    assert_eq!(other.refuse(&lost), Rejection::StaleAttempt);
}

#[test]
fn a_workers_name_is_cut_to_a_bound() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({}));
    let token = harness.offer().token;
    let worker = "w".repeat(1_000);
    let events = harness.expect(&Command::CompleteStep { token, output: json(&json!(1)), worker });
    let RunEvent::StepCompleted { worker, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(worker.len(), 128);
}
