//! Bytes that nobody wrote: refused by name, never a panic, never a large allocation.

use bincode::Encode;
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bytes::Bytes;
use types::{Offset, StreamOrdinal};

use super::samples::{self, EventSample, RowSample};
use super::{STREAM, read};
use crate::event::Class;
use crate::row::RowName;
use crate::step::Failure;
use crate::stored::row_name::envelope_kind;
use crate::stored::{
    Encoded, KERNEL_EVENT, StoredError, USER_EVENT, decode, decode_row, encode, encode_row, envelope, read_row,
    row_key, row_name, v1,
};

/// A body that is exactly these bytes.
struct Exactly(Vec<u8>);

impl Encode for Exactly {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encoder.writer().write(&self.0)
    }
}

fn sealed(kind: u8, version: u8, identity: &[u8], body: &[u8]) -> Bytes {
    envelope::seal(kind, version, identity, &Exactly(body.to_vec()), usize::MAX)
}

fn record(payload: Bytes) -> Encoded {
    let (key, headers) = (Bytes::new(), Vec::new());
    Encoded {
        schema: KERNEL_EVENT,
        class: Class::Fact,
        stream: STREAM,
        offset: Offset::ZERO,
        output: None,
        key,
        headers,
        payload,
    }
}

/// Every proper prefix, one byte too many, and every single flipped bit.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flips = (0..bytes.len() * 8).map(move |bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    });
    (0..bytes.len()).map(|end| bytes[..end].to_vec()).chain([[bytes, &[0]].concat()]).chain(flips)
}

fn is_damage(error: &StoredError) -> bool {
    matches!(error, StoredError::Length { .. } | StoredError::Checksum { .. })
}

#[test]
fn every_damaged_kernel_event_is_found() {
    for EventSample { name, event, place } in samples::events() {
        let encoded = encode(&event, place);
        if encoded.schema != KERNEL_EVENT {
            continue;
        }
        for payload in damaged(&encoded.payload) {
            let error = read(&Encoded { payload: payload.into(), ..encoded.clone() }).expect_err(name);
            assert!(is_damage(&error), "{name}: {error}");
        }
    }
}

#[test]
fn every_damaged_row_is_found() {
    for RowSample { label, name, image } in samples::rows() {
        for bytes in damaged(&encode_row(&name, &image)) {
            let error = decode_row(&name, &bytes).expect_err(label);
            assert!(is_damage(&error), "{label}: {error}");
        }
    }
}

#[test]
fn a_row_under_another_name_is_found() {
    let rows = samples::rows();
    for RowSample { label, name, image } in &rows {
        let bytes = encode_row(name, image);
        for other in rows.iter().filter(|other| other.name != *name) {
            decode_row(&other.name, &bytes).expect_err(label);
        }
    }
}

/// A writer that was wrong, not a disk: the checksum is right.
#[test]
fn sound_frames_around_damaged_bodies_never_panic() {
    for EventSample { event, place, .. } in samples::events() {
        let encoded = encode(&event, place);
        if encoded.schema != KERNEL_EVENT {
            continue;
        }
        for body in damaged(&encoded.payload[10..]) {
            let payload = sealed(encoded.payload[0], 1, &[], &body);
            drop(read(&Encoded { payload, ..encoded.clone() }));
        }
    }
    for RowSample { name, image, .. } in samples::rows() {
        let (kind, id) = row_key(&name);
        for body in damaged(&encode_row(&name, &image)[10..]) {
            drop(read_row(kind, &id, &sealed(envelope_kind(kind), 1, &id, &body)));
        }
    }
}

/// Eleven bytes that claim 2^64 more: without a limit, bincode allocates what they claim and the process aborts.
#[test]
fn a_lying_length_allocates_nothing() {
    let lie = |length: u64, lead: usize| {
        let mut body = vec![0; lead];
        body.push(253);
        body.extend_from_slice(&length.to_le_bytes());
        body.resize(body.len().max(11), 0);
        body
    };
    let rows = samples::rows();
    for length in [u64::MAX, u64::MAX / 2, 1 << 46, 1 << 33, 1 << 24] {
        for lead in 0..140 {
            let body = lie(length, lead);
            for (kind, _) in v1::event::KINDS {
                drop(read(&record(sealed(*kind, 1, &[], &body))));
            }
            for row in &rows {
                let (kind, id) = row_key(&row.name);
                drop(decode_row(&row.name, &sealed(envelope_kind(kind), 1, &id, &body)));
            }
        }
        // Where the lie is the very first length, it is refused for what it is.
        let terminated = v1::event::KINDS.iter().find(|(_, name)| *name == "Terminated").expect("listed").0;
        let error = read(&record(sealed(terminated, 1, &[], &lie(length, 0)))).expect_err("a lie");
        assert!(matches!(&error, StoredError::Body { kind, .. } if kind == "event Terminated"), "{error}");
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name() {
    let check = |payload, expect| assert_eq!(read(&record(payload)), Err(expect));
    let scheduled = v1::event::KINDS.iter().find(|(_, name)| *name == "StepScheduled").expect("listed").0;
    let kind = "event StepScheduled".to_owned();
    check(sealed(scheduled, 2, &[], &[]), StoredError::UnknownVersion { kind, version: 2 });
    check(sealed(99, 1, &[], &[]), StoredError::UnknownKind(99));
    check(sealed(99, 7, &[], &[]), StoredError::UnknownVersion { kind: "kind 99".to_owned(), version: 7 });

    let newer = Encoded { schema: 5, ..record(Bytes::new()) };
    assert_eq!(read(&newer), Err(StoredError::UnknownSchema(5)));
    let row = sealed(envelope_kind(1), 2, &[], &[]);
    let error = decode_row(&RowName::Partition, &row).expect_err("a newer row");
    assert_eq!(error, StoredError::UnknownVersion { kind: "row Partition".to_owned(), version: 2 });
    assert_eq!(row_name(9, &[]), Err(StoredError::UnknownKind(envelope_kind(9))));
}

#[test]
fn a_row_is_never_taken_for_an_event() {
    // The one row without an id, which the checksum would cover.
    let RowSample { name, image, .. } = samples::rows().swap_remove(0);
    assert_eq!(row_key(&name), (1, Vec::new()));
    assert_eq!(read(&record(encode_row(&name, &image))), Err(StoredError::UnknownKind(envelope_kind(1))));
}

#[test]
fn an_event_of_an_unknown_run_is_refused_and_names_its_stream() {
    for EventSample { name, event, place } in samples::events() {
        let own = place.stream == STREAM && !name.starts_with("Started");
        let result = decode(&encode(&event, place), |_| None);
        assert_eq!(result.is_err(), own, "{name}");
        if own {
            assert_eq!(result, Err(StoredError::UnknownRun(STREAM)), "{name}");
        }
    }
}

#[test]
fn headers_that_contradict_their_schema_are_refused() {
    let sample = |wanted: &str| {
        let found = samples::events().into_iter().find(|sample| sample.name == wanted).expect("a sample");
        encode(&found.event, found.place)
    };
    let refused = |encoded: Encoded| {
        let error = read(&encoded).expect_err("contradictory");
        assert!(matches!(error, StoredError::Header { .. } | StoredError::Invalid { .. }), "{error}");
    };
    let (chunk, user, cut) = (sample("ChunkAppended"), sample("EventAppended"), sample("AttemptSuperseded"));
    let header =
        |name: &'static [u8], value: &'static [u8]| vec![(Bytes::from_static(name), Bytes::from_static(value))];
    refused(Encoded { output: None, ..chunk.clone() });
    refused(Encoded { key: Bytes::from_static(b"p"), ..chunk.clone() });
    refused(Encoded { class: Class::Fact, ..chunk.clone() });
    refused(Encoded { headers: header(b"zoo", b""), ..chunk.clone() });
    refused(Encoded { headers: header(b"c", b"\xff"), ..chunk.clone() });
    refused(Encoded { headers: header(b"m", b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff"), ..chunk });
    refused(Encoded { payload: Bytes::from_static(b"x"), ..cut });
    refused(Encoded { key: Bytes::new(), ..user.clone() });
    refused(Encoded { headers: Vec::new(), ..user.clone() });
    refused(Encoded { headers: header(b"p", b"\xfd"), ..user.clone() });
    refused(Encoded { stream: StreamOrdinal::NONE, ..user.clone() });
    refused(Encoded { key: Bytes::from_static(b"\xff \n"), ..user.clone() });
    assert_eq!(user.schema, USER_EVENT);
    let hidden = sample("ContinueOwed");
    refused(Encoded { key: Bytes::from_static(b"short"), ..hidden });
}

#[test]
fn ids_that_no_row_has_are_refused() {
    for (kind, id) in [
        (1, &b"x"[..]),
        (2, b"short"),
        (3, b""),
        (4, b"tenant"),
        (4, b"no tenant\0stream"),
        (4, b"tenant\0no//stream"),
        (4, b"\xff\0stream"),
        (5, b"1234567"),
        (6, b"tenant\0stream"),
        (6, b"tenant\0stream\0not visible"),
        (7, b"12345678901234567890123456789012"),
        (8, b"short"),
        (8, b"12345678901234567890123456789012tenant\0namespace\0name"),
    ] {
        let error = row_name(kind, id).expect_err("no id");
        assert!(matches!(error, StoredError::RowId { .. }), "{error}");
    }
}

/// A chain of causes as long as a hostile worker likes is cut, and can be read again.
#[test]
fn an_endless_chain_of_causes_is_cut() {
    use crate::event::{Event, RunEvent, TimerSet};
    let cause = |inner: Option<Failure>, n: u32| {
        Some(Failure { cause: inner.map(Box::new), ..Failure::new("kind", format!("failure {n}")) })
    };
    let failure = (0..1000).fold(None, cause).expect("a failure");
    let retry = TimerSet { timer: 1, due: types::Timestamp::ZERO };
    let event = Event::Run { run: super::RUN, event: RunEvent::AttemptFailed { step: 1, attempt: 1, failure, retry } };
    let place = crate::stored::Place { stream: STREAM, offset: Offset::ZERO };
    let Ok(Event::Run { event: RunEvent::AttemptFailed { failure, .. }, .. }) = read(&encode(&event, place)) else {
        panic!("it is read as what it was");
    };
    let chain = std::iter::successors(Some(&failure), |failure| failure.cause.as_deref());
    assert_eq!((failure.message.as_str(), chain.count()), ("failure 999", 128));
}
