//! User streams: created, appended to, closed, deleted.

use engine::{Answer, AppendEvents, Command, Event, Rejection, StreamKey};
use serde_json::json;
use types::{Offset, Payload, StreamName, TenantId};

use crate::harness::{Harness, json};

fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("valid")
}

fn create(text: &str, events: &[Payload], closed: bool) -> Command {
    let (tenant, name) = (TenantId::default(), name(text));
    let keep = engine::Keep::default();
    Command::CreateStream { tenant, name, content_type: None, events: events.to_vec(), closed, keep }
}

fn append(text: &str, count: usize) -> AppendEvents {
    AppendEvents {
        tenant: TenantId::default(),
        name: name(text),
        events: (0..count).map(|n| json(&json!(n))).collect(),
        producer: None,
        expected: None,
        sequence: None,
        create: false,
        close: false,
    }
}

fn send(harness: &mut Harness, append: AppendEvents) -> Result<Answer, Rejection> {
    harness.send(&Command::AppendEvents(Box::new(append))).map(|(_, answer)| answer)
}

fn appended(offset: Option<u64>, end: u64, closed: bool) -> Answer {
    Answer::Appended {
        offset: offset.map(Offset::new),
        end: Offset::new(end),
        duplicate: false,
        closed,
        producer_sequence: None,
    }
}

#[test]
fn creating_twice_finds_what_is_there() {
    let mut harness = Harness::new();
    let created = |harness: &mut Harness, command: &Command| harness.send(command).map(|(_, answer)| answer);
    let first = create("a/b", &[json(&json!(1))], false);
    assert_eq!(created(&mut harness, &first), Ok(Answer::Created { created: true }));
    assert_eq!(created(&mut harness, &first), Ok(Answer::Created { created: false }));
    assert_eq!(harness.refuse(&create("a/b", &[], true)), Rejection::StreamExists(name("a/b")));
    let key = StreamKey { tenant: TenantId::default(), name: name("a/b") };
    assert_eq!(harness.partition.stream(&key).expect("it is there").head, Offset::new(1));
}

#[test]
fn offsets_are_dense_from_nothing_on() {
    let mut harness = Harness::new();
    harness.expect(&create("a", &[], false));
    assert_eq!(send(&mut harness, append("a", 2)), Ok(appended(Some(0), 2, false)));
    assert_eq!(send(&mut harness, append("a", 3)), Ok(appended(Some(2), 5, false)));
    assert_eq!(send(&mut harness, append("a", 0)), Ok(appended(None, 5, false)));
    let offsets: Vec<_> = harness
        .log
        .iter()
        .filter_map(
            |logged| if let Event::EventAppended { offset, .. } = &logged.event { Some(offset.value()) } else { None },
        )
        .collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
}

#[test]
fn an_append_expects_the_stream_to_end_where_its_sender_saw_it_end() {
    let mut harness = Harness::new();
    let expecting = |offset, create| AppendEvents { expected: Some(Offset::new(offset)), create, ..append("a", 1) };
    let conflict = |expected, actual| {
        Err(Rejection::SequenceConflict { expected: Offset::new(expected), actual: Offset::new(actual) })
    };
    assert_eq!(send(&mut harness, expecting(1, true)), conflict(1, 0));
    assert_eq!(send(&mut harness, expecting(0, true)), Ok(appended(Some(0), 1, false)));
    assert_eq!(send(&mut harness, expecting(0, false)), conflict(0, 1));
    assert_eq!(send(&mut harness, expecting(1, false)), Ok(appended(Some(1), 2, false)));
}

#[test]
fn a_closed_stream_takes_nothing_more() {
    let mut harness = Harness::new();
    harness.expect(&create("a", &[], false));
    assert_eq!(send(&mut harness, AppendEvents { close: true, ..append("a", 1) }), Ok(appended(Some(0), 1, true)));
    let closed = Err(Rejection::StreamClosed { name: name("a"), end: Offset::new(1) });
    assert_eq!(send(&mut harness, append("a", 1)), closed);
    let again = send(&mut harness, AppendEvents { close: true, ..append("a", 0) });
    let (end, producer_sequence) = (Offset::new(1), None);
    assert_eq!(again, Ok(Answer::Appended { offset: None, end, duplicate: true, closed: true, producer_sequence }));
}

#[test]
fn a_writer_s_own_sequence_only_grows() {
    let mut harness = Harness::new();
    let with = |sequence: &str| {
        let sequence = Some(sequence.to_owned());
        AppendEvents { sequence, create: true, ..append("a", 1) }
    };
    let passed = |last: &str, got: &str| Err(Rejection::SequencePassed { last: last.to_owned(), got: got.to_owned() });
    assert_eq!(send(&mut harness, with("09")), Ok(appended(Some(0), 1, false)));
    assert_eq!(send(&mut harness, with("10")), Ok(appended(Some(1), 2, false)));
    assert_eq!(send(&mut harness, with("10")), passed("10", "10"));
    assert_eq!(send(&mut harness, with("2")), Ok(appended(Some(2), 3, false)), "texts, not numbers");
    assert_eq!(send(&mut harness, append("a", 1)), Ok(appended(Some(3), 4, false)), "without one there is no order");
    assert_eq!(send(&mut harness, with("11")), passed("2", "11"));
    assert_eq!(harness.replayed().digest(), harness.partition.digest(), "it is in the log");
    let key = StreamKey { tenant: TenantId::default(), name: name("a") };
    assert_eq!(harness.replayed().stream(&key), harness.partition.stream(&key));
    assert!(matches!(send(&mut harness, with(&"z".repeat(257))), Err(Rejection::TooLarge { .. })));
}

#[test]
fn a_deleted_streams_name_is_free_and_its_past_is_gone() {
    let mut harness = Harness::new();
    harness.expect(&create("a", &[json(&json!(1))], false));
    let key = StreamKey { tenant: TenantId::default(), name: name("a") };
    let first = harness.partition.stream(&key).expect("it is there").clone();
    let delete = Command::DeleteStream { tenant: TenantId::default(), name: name("a") };
    harness.expect(&delete);
    assert_eq!(harness.partition.stream(&key), None);
    assert_eq!(harness.refuse(&delete), Rejection::StreamNotFound(name("a")));
    assert_eq!(send(&mut harness, append("a", 1)), Err(Rejection::StreamNotFound(name("a"))));
    harness.expect(&create("a", &[], false));
    let second = harness.partition.stream(&key).expect("it is there");
    assert_eq!(second.head, Offset::ZERO);
    assert!(second.ordinal > first.ordinal && second.incarnation != first.incarnation, "another life");
}

#[test]
fn the_nodes_own_streams_are_not_for_clients() {
    let mut harness = Harness::new();
    let run = "runs/00000003-00000000000000000000000001";
    for reserved in [run, "system/audit", "runs", "system"] {
        let Ok(reserved) = StreamName::new(reserved) else { continue };
        let refused = Rejection::Reserved(reserved.clone());
        assert_eq!(harness.refuse(&create(reserved.as_str(), &[], false)), refused);
        assert_eq!(send(&mut harness, append(reserved.as_str(), 1)), Err(refused.clone()));
        let delete = Command::DeleteStream { tenant: TenantId::default(), name: reserved };
        assert_eq!(harness.refuse(&delete), refused);
    }
}

#[test]
fn a_stream_is_of_one_kind() {
    let mut harness = Harness::new();
    let text = Payload { content_type: Some("text/plain".to_owned()), ..Payload::json("not json") };
    let of_text = AppendEvents { events: vec![text.clone()], create: true, ..append("a", 0) };
    assert_eq!(send(&mut harness, of_text.clone()), Ok(appended(Some(0), 1, false)));
    assert_eq!(send(&mut harness, of_text), Ok(appended(Some(1), 2, false)));
    let kind = |expected: &str, got: &str| {
        Err(Rejection::ContentType { name: name("a"), expected: expected.to_owned(), got: got.to_owned() })
    };
    assert_eq!(send(&mut harness, append("a", 1)), kind("text/plain", "application/json"));
    let mixed = AppendEvents { name: name("b"), events: vec![json(&json!(1)), text], create: true, ..append("b", 0) };
    let refused = send(&mut harness, mixed);
    assert!(matches!(refused, Err(Rejection::ContentType { .. })), "all or none: {refused:?}");
    let broken = AppendEvents { events: vec![Payload::json("{")], create: true, ..append("b", 0) };
    assert!(matches!(send(&mut harness, broken), Err(Rejection::NotJson { .. })));
}

#[test]
fn tenants_do_not_see_each_others_streams() {
    let mut harness = Harness::new();
    harness.expect(&create("a", &[json(&json!(1))], false));
    let other = TenantId::new("other").expect("plain");
    let theirs = AppendEvents { tenant: other.clone(), ..append("a", 1) };
    assert_eq!(send(&mut harness, theirs.clone()), Err(Rejection::StreamNotFound(name("a"))));
    assert_eq!(send(&mut harness, AppendEvents { create: true, ..theirs }), Ok(appended(Some(0), 1, false)));
    let delete = Command::DeleteStream { tenant: other, name: name("a") };
    harness.expect(&delete);
    let key = StreamKey { tenant: TenantId::default(), name: name("a") };
    assert!(harness.partition.stream(&key).is_some());
}

#[test]
fn an_event_that_does_not_continue_its_stream_contradicts_it() {
    let mut harness = Harness::new();
    harness.expect(&create("a", &[json(&json!(1))], false));
    let key = StreamKey { tenant: TenantId::default(), name: name("a") };
    let stream = harness.partition.stream(&key).expect("it is there").ordinal;
    let event = |stream, offset| Event::EventAppended {
        stream,
        offset: Offset::new(offset),
        payload: json(&json!(2)),
        producer: None,
    };
    assert_eq!(harness.partition.contradiction(&event(stream, 1)), None);
    let says = |event: &Event| harness.partition.contradiction(event).unwrap_or_default();
    assert_eq!(says(&event(stream, 2)), "it stands at offset 2, the stream ends at 1");
    assert_eq!(says(&event(stream.next(), 0)), "stream 2 does not exist");
    assert_eq!(says(&Event::StreamDeleted { stream: stream.next() }), "stream 2 does not exist");
    let again =
        Event::StreamCreated { tenant: TenantId::default(), name: name("b"), ordinal: stream, content_type: None };
    assert_eq!(says(&again), "it gives the ordinal 1, the next one is 2");
}
