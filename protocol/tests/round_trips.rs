//! Whatever a client or a node says comes back as it was said, and no input makes a reader panic.

use std::borrow::Cow;

use proptest::prelude::*;
use protocol::{
    AppendCommand, ChunkSource, ClientFrame, Cmd, Command, Credit, CreditAmount, Event, Filter, Hello, ServerFrame, Sub,
};
use serde_json::value::RawValue;
use serde_json::{Map, json};
use types::{
    Code, Cursor, Durability, History, Incarnation, Offset, Payload, Position, ProducerId, StreamName, StreamStart,
    Timestamp,
};

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    value.prop_map(|value| value.to_string())
}

fn cursor() -> impl Strategy<Value = Cursor> {
    (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(history, position, next)| Cursor {
        history: History::new(history),
        incarnation: Incarnation::at(Position::new(position)),
        next: Offset::new(next),
    })
}

fn start() -> impl Strategy<Value = StreamStart> {
    prop_oneof![Just(StreamStart::Begin), Just(StreamStart::Now), cursor().prop_map(StreamStart::At)]
}

fn stream() -> impl Strategy<Value = StreamName> {
    "[a-z0-9]{1,8}(/[a-z0-9_.~:@+=-]{1,4}x){0,3}".prop_map(|name| StreamName::new(&name).expect("made to be valid"))
}

fn sub() -> impl Strategy<Value = Sub> {
    let filter = prop::option::of(prop::collection::vec(any::<String>(), 1..4).prop_map(|types| Filter { types }));
    (any::<u32>(), stream(), start(), filter, any::<(u32, u32)>()).prop_map(|(id, stream, from, filter, credit)| {
        let credit = CreditAmount { events: credit.0, bytes: credit.1 };
        Sub { id, stream, from, filter, credit }
    })
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let append = (any::<u64>(), stream(), json(), prop::option::of("[!-~]{1,20}"), any::<(u64, u64)>()).prop_map(
        |(n, stream, data, producer, (epoch, seq))| {
            let data = RawValue::from_string(data).expect("valid JSON");
            let producer = producer.map(|id| ProducerId::new(&id).expect("made to be valid"));
            let seq = producer.is_some().then_some(seq);
            let command = Command::Append(AppendCommand { stream, data, producer, epoch, seq });
            ClientFrame::Cmd(Cmd { n, command })
        },
    );
    let hello = (any::<String>(), prop::collection::vec(sub(), 0..3), prop::option::of(any::<String>()))
        .prop_map(|(client, subs, traceparent)| ClientFrame::Hello(Hello { v: 1, client, subs, traceparent }));
    let credit =
        any::<(u32, u32, u32)>().prop_map(|(id, events, bytes)| ClientFrame::Credit(Credit { id, events, bytes }));
    prop_oneof![append, hello, sub().prop_map(ClientFrame::Sub), credit]
}

fn event() -> impl Strategy<Value = Event> {
    let payload = prop_oneof![
        json().prop_map(Payload::json),
        (any::<Vec<u8>>(), any::<String>()).prop_map(|(data, content_type)| Payload {
            data: data.into(),
            content_type: Some(content_type),
            meta: Vec::new()
        }),
    ];
    let source =
        prop::option::of(any::<(u32, u32, u64)>().prop_map(|(step, attempt, seq)| ChunkSource { step, attempt, seq }));
    (any::<(u64, u64)>(), any::<String>(), source, payload).prop_map(|((offset, time), kind, source, payload)| Event {
        offset: Offset::new(offset),
        time: Timestamp::from_millis(time),
        kind: Cow::Owned(kind),
        source,
        payload,
    })
}

proptest! {
    #[test]
    fn a_client_frame_comes_back_as_it_was_said(frame in client_frame()) {
        let text = frame.encode();
        let read = ClientFrame::decode(&text).expect("our own frames are understood");
        prop_assert_eq!(format!("{read:?}"), format!("{frame:?}"));
    }

    #[test]
    fn the_place_of_the_envelope_does_not_matter(frame in client_frame()) {
        let text = frame.encode();
        let serde_json::Value::Object(fields) = serde_json::from_str(&text).expect("JSON") else { panic!("an object") };
        let reversed: serde_json::Map<_, _> = fields.into_iter().rev().collect();
        let read = ClientFrame::decode(&serde_json::Value::Object(reversed).to_string()).expect("understood");
        prop_assert_eq!(read.encode(), text);
    }

    #[test]
    fn a_node_frame_comes_back_as_it_was_said(
        (n, id) in any::<(u64, u32)>(), cursor in cursor(), prev in prop::option::of(any::<u64>()), message in any::<String>()
    ) {
        let details = Map::from_iter([("expected".to_owned(), json!(id))]);
        let durability = if n % 3 == 0 { Durability::Os } else { Durability::Commit };
        for frame in [
            ServerFrame::Batch { id, prev: prev.map(Offset::new), cursor, n: 3 },
            ServerFrame::Refused { n, code: Code::TooLarge, message: message.clone(), retry_after_ms: prev, details: details.clone() },
            ServerFrame::Done { n, offset: prev.map(Offset::new), run: None, cursor: Some(cursor), dup: n % 2 == 0, durability },
        ] {
            let read = ServerFrame::decode(&frame.encode()).expect("our own frames are understood");
            prop_assert_eq!(format!("{read:?}"), format!("{frame:?}"));
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was_said(event in event()) {
        let mut text = Vec::new();
        event.encode_json(&mut text);
        let text = String::from_utf8(text).expect("JSON is UTF-8");
        prop_assert_eq!(Event::decode(&text), Ok(event));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in any::<Vec<u8>>(), cut in any::<prop::sample::Index>(), frame in client_frame()) {
        let _ = ClientFrame::decode_bytes(&bytes);
        let text = frame.encode().into_bytes();
        let cut = cut.index(text.len());
        prop_assert!(ClientFrame::decode_bytes(&text[..cut]).is_err(), "half a frame is no frame");
    }
}
