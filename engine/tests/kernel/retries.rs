//! When a failed attempt gets another, and when it does not.

use engine::{
    Command, Failure, HEARTBEAT, Rejection, RunEvent, RunStatus, SCHEDULE_TO_START, START_TO_CLOSE, UNCLAIMED,
    WORKER_LOST,
};
use serde_json::json;

use crate::harness::{Harness, failing};

fn step(retry: &str) -> String {
    format!("do:\n  - ask: {{ call: worker, with: {{ task: t, retry: {retry} }} }}")
}

/// Fails every attempt; how long each retry waited.
fn delays(harness: &mut Harness, kind: &str) -> Vec<u64> {
    let mut delays = Vec::new();
    while !harness.offers().is_empty() {
        harness.fail(kind);
        let Some(due) = harness.partition.next_wake() else { break };
        delays.push(due.millis_since(harness.now));
        harness.fire_next();
    }
    delays
}

#[test]
fn delays_grow_as_the_policy_says() {
    let check = |retry: &str, expect: &[u64]| {
        let mut harness = Harness::of(&step(retry));
        let run = harness.start(&json!({}));
        assert_eq!(delays(&mut harness, "flaky"), expect, "{retry}");
        assert_eq!(harness.status(run), RunStatus::Failed);
    };
    check("{ delay: { seconds: 1 }, limit: { attempt: { count: 3 } } }", &[1_000, 1_000, 1_000]);
    let exponential = "{ delay: { seconds: 1 }, backoff: { exponential: { factor: 3, maxDelay: { seconds: 5 } } }, limit: { attempt: { count: 3 } } }";
    check(exponential, &[1_000, 3_000, 5_000]);
    check(
        "{ delay: { seconds: 2 }, backoff: { linear: {} }, limit: { attempt: { count: 3 } } }",
        &[2_000, 4_000, 6_000],
    );
    check("{ limit: { attempt: { count: 0 } } }", &[]);
}

#[test]
fn what_the_policy_calls_final_is_final() {
    let mut harness = Harness::of(&step("{ nonRetryable: [bad_input], limit: { attempt: { count: 5 } } }"));
    let run = harness.start(&json!({}));
    harness.fail("bad_input");
    assert_eq!(harness.status(run), RunStatus::Failed);
    let run = harness.start(&json!({}));
    let token = harness.offer().token;
    harness.expect(&failing(&token, Failure { non_retryable: true, ..Failure::new("odd", "final") }));
    assert_eq!(harness.status(run), RunStatus::Failed);
}

#[test]
fn a_duration_bounds_all_retries() {
    let retry = "{ delay: { seconds: 4 }, limit: { duration: { seconds: 10 } } }";
    let mut harness = Harness::of(&step(retry));
    let run = harness.start(&json!({}));
    assert_eq!(delays(&mut harness, "flaky"), [4_000, 4_000]);
    assert_eq!(harness.status(run), RunStatus::Failed);
}

#[test]
fn a_worker_may_ask_for_a_later_retry_but_not_for_an_earlier_one() {
    let check = |retry_after_ms, expect| {
        let mut harness = Harness::of(&step("{ delay: { seconds: 2 }, limit: { attempt: { count: 3 } } }"));
        harness.start(&json!({}));
        let token = harness.offer().token;
        harness.expect(&Command::FailStep { token, failure: Failure::new("busy", "later"), retry_after_ms });
        assert_eq!(harness.partition.next_wake(), Some(harness.now.plus_millis(expect)));
    };
    check(None, 2_000);
    check(Some(500), 2_000);
    check(Some(60_000), 60_000);
}

/// The default policy: 1 s ± 30 %, then 2 s ± 30 %.
#[test]
fn jitter_is_drawn_once_per_attempt_and_differs_between_runs() {
    let body = "do:\n  - ask: { call: worker, with: { task: t } }";
    let mut harness = Harness::of(body);
    let mut first_delays = Vec::new();
    for _ in 0..20 {
        let run = harness.start(&json!({}));
        let delays = delays(&mut harness, "flaky");
        assert_eq!(delays.len(), 2, "three attempts in all");
        assert!((700..=1_300).contains(&delays[0]) && (1_400..=2_600).contains(&delays[1]), "{delays:?}");
        assert_eq!(harness.status(run), RunStatus::Failed);
        first_delays.push(delays[0]);
    }
    let mut other = Harness::of(body);
    other.start(&json!({}));
    assert_eq!(delays(&mut other, "flaky")[0], first_delays[0], "the same run draws the same");
    first_delays.sort_unstable();
    first_delays.dedup();
    assert!(first_delays.len() > 10, "runs do not retry in step: {first_delays:?}");
}

#[test]
fn a_lost_worker_counts_but_does_not_wait_and_an_unclaimed_attempt_does_not_even_count() {
    let mut harness = Harness::of(&step("{ delay: { seconds: 5 }, limit: { attempt: { count: 1 } } }"));
    let run = harness.start(&json!({}));
    let lose = |attempt, kind| Command::LoseAttempt { run, step: 0, attempt, failure: Failure::new(kind, "gone") };
    for attempt in 1..=5 {
        harness.expect(&lose(attempt, UNCLAIMED));
        assert_eq!(harness.partition.next_wake(), Some(harness.now));
        harness.fire_next();
    }
    harness.expect(&lose(6, WORKER_LOST));
    assert_eq!(harness.partition.next_wake(), Some(harness.now));
    harness.fire_next();
    assert_eq!(harness.offer().attempt, 7);
    harness.expect(&lose(7, WORKER_LOST));
    assert_eq!(harness.status(run), RunStatus::Failed, "one retry was allowed");
}

#[test]
fn a_timed_out_step_fails_as_a_timeout() {
    for kind in [START_TO_CLOSE, SCHEDULE_TO_START, HEARTBEAT] {
        let mut harness = Harness::of(&step("{ limit: { attempt: { count: 0 } } }"));
        let run = harness.start(&json!({}));
        harness.expect(&Command::LoseAttempt { run, step: 0, attempt: 1, failure: Failure::new(kind, "too long") });
        let error = harness.run(run).error.clone().expect("it failed");
        assert_eq!((error.type_.as_str(), error.status), (workflow::error::TIMEOUT, 408), "{kind}");
    }
}

#[test]
fn a_worker_may_name_the_type_of_its_error() {
    let mut harness = Harness::of(&step("{ limit: { attempt: { count: 0 } } }"));
    let run = harness.start(&json!({}));
    harness.fail("https://x.example/errors/no-such-ticket");
    let error = harness.run(run).error.clone().expect("it failed");
    assert_eq!(error.type_, "https://x.example/errors/no-such-ticket");
}

#[test]
fn a_failed_attempt_keeps_the_whole_failure() {
    let mut harness = Harness::of(&step("{ delay: { seconds: 1 }, limit: { attempt: { count: 3 } } }"));
    harness.start(&json!({}));
    let token = harness.offer().token;
    let failure = Failure {
        stack: Some("at line 1".to_owned()),
        cause: Some(Box::new(Failure::new("io", "disk on fire"))),
        ..Failure::new("flaky", "no")
    };
    let events = harness.expect(&failing(&token, failure.clone()));
    let RunEvent::AttemptFailed { failure: kept, attempt: 1, step: 0, retry } = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!((kept, retry.due), (&failure, harness.now.plus_millis(1_000)));
}

#[test]
fn a_worker_cannot_put_a_step_off_for_ever() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let mut harness = Harness::of(&step("{ limit: { attempt: { count: 3 } } }"));
    harness.start(&json!({}));
    let token = harness.offer().token;
    let failing = |retry_after_ms: u64| Command::FailStep {
        token: token.clone(),
        failure: Failure::new("busy", "much later"),
        retry_after_ms: Some(retry_after_ms),
    };
    for too_long in [DAY_MS + 1, u64::MAX] {
        let refused = harness.refuse(&failing(too_long));
        assert!(matches!(&refused, Rejection::Invalid(why) if why.contains("retry_after_ms")), "{refused:?}");
    }
    harness.expect(&failing(DAY_MS));
    assert_eq!(harness.partition.next_wake(), Some(harness.now.plus_millis(DAY_MS)));
}
