//! A task's chunks and result reach the node once and in order, whatever is lost between.

use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

fn held(chunks: u64) -> Held {
    let mut held = Held::new("token".into(), None, Instant::now());
    (0..chunks).for_each(|n| held.chunk(raw(&n.to_string()), None));
    held
}

/// What is sent now, for people: `c0 c1 result`.
fn sent(held: &mut Held, now: Instant) -> String {
    let mut all = Vec::new();
    while let Some(frame) = held.next_frame(now) {
        all.push(if let ClientFrame::Chunk(chunk) = frame {
            format!("c{}", chunk.seq)
        } else if let ClientFrame::Result(result) = frame {
            result.failure.map_or("result".to_owned(), |failure| format!("failed:{}", failure.kind))
        } else {
            assert!(matches!(frame, ClientFrame::Beat(_)), "{frame:?}");
            "beat".to_owned()
        });
    }
    all.join(" ")
}

#[tokio::test]
async fn chunks_go_first_and_the_result_last_each_once() {
    let now = Instant::now();
    let mut held = held(2);
    assert_eq!(sent(&mut held, now), "c0 c1");
    held.finish(Ok(raw("1")));
    assert_eq!(sent(&mut held, now), "result");
    assert_eq!(sent(&mut held, now), "");
    assert_eq!(held.took(Some(2), false), Fate::Kept);
    assert_eq!(held.took(None, true), Fate::Taken);
}

#[tokio::test]
async fn after_a_reconnect_only_what_the_node_lacks_is_sent_again() {
    let now = Instant::now();
    let mut held = held(4);
    assert_eq!(sent(&mut held, now), "c0 c1 c2 c3");
    held.took(Some(1), false);
    held.finish(Ok(raw("1")));
    assert_eq!(sent(&mut held, now), "result");
    let holding = held.reconnected();
    assert_eq!((holding.next_seq, holding.done), (4, true));
    assert_eq!(sent(&mut held, now), "", "nothing before the node has answered");
    assert_eq!(held.held(&HeldStatus::NextSeq(2), now), Fate::Kept);
    assert_eq!(sent(&mut held, now), "c2 c3 result");
}

#[tokio::test]
async fn a_superseded_task_is_dropped() {
    let mut held = held(1);
    held.reconnected();
    assert_eq!(held.held(&HeldStatus::Superseded, Instant::now()), Fate::Dropped);
    let stale = Refusal::new(Code::StaleAttempt, "another attempt runs");
    assert_eq!(held.untaken(&stale, None, Instant::now()), Fate::Dropped);
}

#[tokio::test]
async fn a_gap_repeats_from_there_once_for_all_its_echoes() {
    let now = Instant::now();
    let mut held = held(5);
    sent(&mut held, now);
    let gap = Refusal::new(Code::ChunkGap, "2 is missing");
    for _ in 2..5 {
        assert_eq!(held.untaken(&gap, Some(2), now), Fate::Kept);
    }
    assert_eq!(sent(&mut held, now), "");
    let due = held.next_wake().expect("a pause");
    assert_eq!(sent(&mut held, due), "c2 c3 c4");
}

#[tokio::test]
async fn a_full_queue_delays_the_result() {
    let now = Instant::now();
    let mut held = held(0);
    held.finish(Ok(raw("1")));
    assert_eq!(sent(&mut held, now), "result");
    let full = Refusal::new(Code::QueueFull, "later").retry_after_ms(500);
    assert_eq!(held.untaken(&full, None, now), Fate::Kept);
    assert_eq!(sent(&mut held, now + Duration::from_millis(499)), "");
    assert_eq!(sent(&mut held, now + Duration::from_millis(500)), "result");
}

#[tokio::test]
async fn a_result_that_is_too_large_becomes_a_failure_that_says_so() {
    let now = Instant::now();
    let mut held = held(0);
    held.finish(Ok(raw("1")));
    sent(&mut held, now);
    let large = Refusal::new(Code::TooLarge, "2 MiB are more than 256 KiB");
    assert_eq!(held.untaken(&large, None, now), Fate::Kept);
    assert_eq!(sent(&mut held, now), "failed:too_large");
    assert_eq!(held.untaken(&large, None, now), Fate::Dropped, "not for ever");
}

#[tokio::test]
async fn beats_come_three_times_in_the_due_time_and_end_with_the_body() {
    let start = Instant::now();
    let mut held = Held::new("token".into(), Some(300), start);
    assert_eq!(sent(&mut held, start), "");
    assert_eq!(held.next_wake(), Some(start + Duration::from_millis(100)));
    assert_eq!(sent(&mut held, start + Duration::from_millis(100)), "beat");
    held.finish(Ok(raw("1")));
    assert_eq!(sent(&mut held, start + Duration::from_millis(900)), "result");
    assert_eq!(held.next_wake(), None);
}
