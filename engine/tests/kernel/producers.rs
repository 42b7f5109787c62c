//! Producers: their events once, in their order, whatever they send again.

use engine::{Answer, AppendEvents, Command, ProducerStamp, Rejection};
use serde_json::json;
use types::{Offset, ProducerId, StreamName, TenantId};

use crate::harness::{Harness, json};

fn append(producer: &str, epoch: u64, sequence: u64, count: u64) -> AppendEvents {
    let id = ProducerId::new(producer).expect("visible");
    AppendEvents {
        tenant: TenantId::default(),
        name: StreamName::new("agent-7/tokens").expect("valid"),
        events: (0..count).map(|n| json(&json!({"by": producer, "sequence": sequence, "n": n}))).collect(),
        producer: Some(ProducerStamp { id, epoch, sequence }),
        expected: None,
        sequence: None,
        create: true,
        close: false,
    }
}

fn send(harness: &mut Harness, append: AppendEvents) -> Result<(Option<u64>, u64, bool), Rejection> {
    let (_, answer) = harness.send(&Command::AppendEvents(Box::new(append)))?;
    let Answer::Appended { offset, end, duplicate, .. } = answer else { panic!("{answer:?}") };
    Ok((offset.map(Offset::value), end.value(), duplicate))
}

#[test]
fn a_request_is_taken_once() {
    let mut harness = Harness::new();
    assert_eq!(send(&mut harness, append("p", 0, 0, 2)), Ok((Some(0), 2, false)));
    assert_eq!(send(&mut harness, append("p", 0, 0, 2)), Ok((Some(0), 2, true)), "where it stands since");
    assert_eq!(send(&mut harness, append("p", 0, 1, 3)), Ok((Some(2), 5, false)));
    assert_eq!(send(&mut harness, append("p", 0, 1, 3)), Ok((Some(2), 5, true)));
    assert_eq!(send(&mut harness, append("p", 0, 0, 2)), Ok((None, 5, true)), "an older one, wherever it stands");
}

/// A producer that comes back without its count finds it again.
#[test]
fn the_highest_sequence_is_told_also_to_a_duplicate() {
    let mut harness = Harness::new();
    let highest = |harness: &mut Harness, append: AppendEvents| {
        let (_, answer) = harness.send(&Command::AppendEvents(Box::new(append))).expect("taken or known");
        let Answer::Appended { producer_sequence, duplicate, .. } = answer else { panic!("{answer:?}") };
        (producer_sequence, duplicate)
    };
    for sequence in 0..3 {
        assert_eq!(highest(&mut harness, append("p", 0, sequence, 1)), (Some(sequence), false));
    }
    assert_eq!(highest(&mut harness, append("p", 0, 0, 1)), (Some(2), true));
    // A repeated request is known before its own sequence could be called passed.
    let sequenced = AppendEvents { sequence: Some("a".to_owned()), ..append("p", 0, 3, 1) };
    assert_eq!(highest(&mut harness, sequenced.clone()), (Some(3), false));
    assert_eq!(highest(&mut harness, sequenced), (Some(3), true));
}

#[test]
fn a_request_that_skips_ahead_is_refused() {
    let mut harness = Harness::new();
    assert_eq!(send(&mut harness, append("p", 0, 1, 1)), Err(Rejection::ProducerGap { expected: 0, got: 1 }));
    assert_eq!(harness.partition.next_position().value(), 0, "not even the stream was made");
    assert_eq!(send(&mut harness, append("p", 0, 0, 1)), Ok((Some(0), 1, false)));
    assert_eq!(send(&mut harness, append("p", 0, 2, 1)), Err(Rejection::ProducerGap { expected: 1, got: 2 }));
}

#[test]
fn a_new_epoch_fences_the_old_one() {
    let mut harness = Harness::new();
    assert_eq!(send(&mut harness, append("p", 1, 0, 1)), Ok((Some(0), 1, false)));
    assert_eq!(send(&mut harness, append("p", 2, 1, 1)), Err(Rejection::ProducerGap { expected: 0, got: 1 }));
    assert_eq!(send(&mut harness, append("p", 2, 0, 1)), Ok((Some(1), 2, false)));
    assert_eq!(send(&mut harness, append("p", 1, 1, 1)), Err(Rejection::ProducerFenced { current: 2, got: 1 }));
    assert_eq!(send(&mut harness, append("p", 1, 0, 1)), Err(Rejection::ProducerFenced { current: 2, got: 1 }));
}

#[test]
fn producers_do_not_disturb_each_other() {
    let mut harness = Harness::new();
    assert_eq!(send(&mut harness, append("p", 0, 0, 1)), Ok((Some(0), 1, false)));
    assert_eq!(send(&mut harness, append("q", 0, 0, 1)), Ok((Some(1), 2, false)));
    assert_eq!(send(&mut harness, append("p", 0, 1, 1)), Ok((Some(2), 3, false)));
    assert_eq!(send(&mut harness, append("q", 0, 0, 1)), Ok((Some(1), 3, true)));
}

#[test]
fn a_duplicate_is_told_so_even_when_the_stream_was_closed_since() {
    let mut harness = Harness::new();
    assert_eq!(send(&mut harness, append("p", 0, 0, 1)), Ok((Some(0), 1, false)));
    assert_eq!(send(&mut harness, AppendEvents { close: true, ..append("p", 0, 1, 1) }), Ok((Some(1), 2, false)));
    assert_eq!(send(&mut harness, AppendEvents { close: true, ..append("p", 0, 1, 1) }), Ok((Some(1), 2, true)));
    let name = StreamName::new("agent-7/tokens").expect("valid");
    let closed = Err(Rejection::StreamClosed { name, end: Offset::new(2) });
    assert_eq!(send(&mut harness, append("p", 0, 2, 1)), closed);
}

#[test]
fn a_producer_begins_anew_on_a_new_life_of_the_stream() {
    let mut harness = Harness::new();
    assert!(send(&mut harness, append("p", 0, 0, 1)).is_ok());
    assert!(send(&mut harness, append("p", 0, 1, 1)).is_ok());
    let name = StreamName::new("agent-7/tokens").expect("valid");
    harness.expect(&Command::DeleteStream { tenant: TenantId::default(), name });
    assert_eq!(send(&mut harness, append("p", 0, 2, 1)), Err(Rejection::ProducerGap { expected: 0, got: 2 }));
    assert_eq!(send(&mut harness, append("p", 0, 0, 1)), Ok((Some(0), 1, false)));
    assert_eq!(send(&mut harness, append("p", 0, 0, 1)), Ok((Some(0), 1, true)));
}

#[test]
fn a_request_of_nothing_is_refused_because_nothing_would_remember_it() {
    let mut harness = Harness::new();
    assert!(send(&mut harness, append("p", 0, 0, 1)).is_ok());
    assert!(matches!(send(&mut harness, append("p", 0, 1, 0)), Err(Rejection::Invalid(_))));
    assert_eq!(send(&mut harness, AppendEvents { close: true, ..append("p", 0, 1, 0) }), Ok((None, 1, false)));
    assert_eq!(send(&mut harness, AppendEvents { close: true, ..append("p", 0, 1, 0) }), Ok((None, 1, true)));
}
