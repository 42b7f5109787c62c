//! Streamed output: in order, from the current attempt only, with a mark where readers must cut.

use engine::{Answer, Failure, Rejection, RunEvent, RunStatus};
use serde_json::json;

use crate::harness::{Harness, chunk, completion, failing, kinds};

const STREAM: &str = "do:\n  - ask: { call: worker, with: { task: t, stream: true, retry: { delay: { seconds: 1 }, limit: { attempt: { count: 3 } } } } }";

#[test]
fn chunks_are_taken_once_and_in_order() {
    let mut harness = Harness::of(STREAM);
    harness.start(&json!({}));
    let token = harness.offer().token;
    let accepted = |next_sequence| Ok(Answer::ChunkTaken { next_sequence });
    let answer =
        |harness: &mut Harness, sequence, text| harness.send(&chunk(&token, sequence, text)).map(|(_, answer)| answer);
    assert_eq!(answer(&mut harness, 0, "a"), accepted(1));
    assert_eq!(answer(&mut harness, 1, "b"), accepted(2));
    let before = harness.log.len();
    assert_eq!(answer(&mut harness, 0, "a"), accepted(2), "a duplicate is told how far it came");
    assert_eq!(answer(&mut harness, 3, "d"), Err(Rejection::ChunkGap { expected: 2, got: 3 }));
    assert_eq!(harness.log.len(), before);
    assert_eq!(harness.partition.held(&token), Some(2));
    assert_eq!(harness.offer().next_sequence, 2);
}

#[test]
fn what_an_attempt_streamed_is_cut_when_another_takes_over() {
    let mut harness = Harness::of(STREAM);
    let run = harness.start(&json!({}));
    let first = harness.offer().token;
    harness.expect(&chunk(&first, 0, "half a"));
    let events = harness.expect(&failing(&first, Failure::new("flaky", "no")));
    assert_eq!(kinds(&events), ["AttemptFailed", "AttemptSuperseded"]);
    assert_eq!(events[1], RunEvent::AttemptSuperseded { step: 0, attempt: 1 });
    assert_eq!(harness.refuse(&chunk(&first, 1, "late")), Rejection::StaleAttempt);
    harness.fire_next();
    assert_eq!(harness.refuse(&chunk(&first, 1, "late")), Rejection::StaleAttempt);
    let second = harness.offer();
    assert_eq!(second.next_sequence, 0, "it begins again");
    harness.expect(&chunk(&second.token, 0, "a whole"));
    harness.expect(&completion(&second.token, &json!("a whole")));
    assert_eq!(harness.status(run), RunStatus::Completed);
    assert_eq!(harness.refuse(&chunk(&second.token, 1, "more")), Rejection::StaleAttempt);
}

#[test]
fn an_attempt_that_streamed_nothing_is_not_cut() {
    let mut harness = Harness::of(STREAM);
    harness.start(&json!({}));
    assert_eq!(kinds(&harness.fail("flaky")), ["AttemptFailed"]);
}

#[test]
fn a_step_that_fails_for_good_needs_no_cut() {
    let mut harness = Harness::of(STREAM);
    harness.start(&json!({}));
    let token = harness.offer().token;
    harness.expect(&chunk(&token, 0, "half"));
    let events = harness.expect(&failing(&token, Failure { non_retryable: true, ..Failure::new("x", "y") }));
    assert_eq!(kinds(&events), ["StepFailed", "Failed"]);
}

#[test]
fn a_step_streams_only_when_its_function_says_so() {
    let mut harness = Harness::of("do:\n  - ask: { call: worker, with: { task: t } }");
    harness.start(&json!({}));
    let token = harness.offer().token;
    assert_eq!(harness.refuse(&chunk(&token, 0, "x")), Rejection::NotStreaming { step: 0 });
}

#[test]
fn chunks_take_offsets_of_the_runs_stream() {
    let mut harness = Harness::of(STREAM);
    let run = harness.start(&json!({}));
    let head = harness.run(run).head;
    let token = harness.offer().token;
    for sequence in 0..10 {
        harness.expect(&chunk(&token, sequence, "x"));
    }
    assert_eq!(harness.run(run).head, head.after(10));
    // Dense and in order: every event that the stream shows has the next number.
    let shown = harness.log.iter().filter(|logged| !logged.bytes.stream.is_none());
    let offsets: Vec<_> = shown.map(|logged| logged.bytes.offset.value()).collect();
    assert_eq!(offsets, (0..offsets.len() as u64).collect::<Vec<_>>());
}
