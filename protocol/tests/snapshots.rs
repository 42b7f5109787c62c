//! Every frame as people see it on the wire. A change here is a change of the protocol.

use insta::assert_snapshot;
use protocol::{
    AppendCommand, Beat, CancelCommand, ChunkFrame, ChunkSource, ClientFrame, Cmd, Command, Credit, CreditAmount,
    EndStatus, Event, Failure, Filter, HeldStatus, Hello, Holding, Limits, Ping, QueueSlots, ResultFrame, ServerFrame,
    SignalCommand, StartCommand, Sub, Task, Unsub, Work,
};
use serde_json::value::RawValue;
use serde_json::{Map, json};
use types::{
    Code, Cursor, Durability, History, IdempotencyKey, Incarnation, Offset, Payload, Position, ProducerId, RoutingHash,
    RunId, StreamName, StreamStart, Timestamp,
};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("valid JSON")
}

fn cursor(next: u64) -> Cursor {
    let incarnation = Incarnation::at(Position::new(42));
    Cursor { history: History::new(0x00ab_cdef), incarnation, next: Offset::new(next) }
}

fn run() -> RunId {
    RunId::new(RoutingHash::from_bits(0x1f0c_9a3e), 7)
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("valid")
}

fn sub(id: u32, from: StreamStart) -> Sub {
    Sub { id, stream: stream("agent-42/tokens"), from, filter: None, credit: CreditAmount::default() }
}

/// A frame's text, which must also come back as the same text.
fn client(frame: &ClientFrame) -> String {
    let text = frame.encode();
    let again = ClientFrame::decode(&text).expect("our own frames are understood").encode();
    assert_eq!(again, text);
    text
}

fn server(frame: &ServerFrame) -> String {
    let text = frame.encode();
    let again = ServerFrame::decode(&text).expect("our own frames are understood").encode();
    assert_eq!(again, text);
    text
}

fn command(n: u64, command: Command) -> String {
    client(&ClientFrame::Cmd(Cmd { n, command }))
}

#[test]
fn what_a_client_says_first() {
    let plain = Hello { v: 1, client: "my-app/1.2".into(), subs: vec![], traceparent: None };
    assert_snapshot!(client(&ClientFrame::Hello(plain)), @r#"{"op":"hello","v":1,"client":"my-app/1.2"}"#);
    let resuming = Hello {
        v: 1,
        client: "my-app/1.2".into(),
        subs: vec![sub(1, StreamStart::At(cursor(17)))],
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    };
    assert_snapshot!(client(&ClientFrame::Hello(resuming)), @r#"{"op":"hello","v":1,"client":"my-app/1.2","subs":[{"id":1,"stream":"agent-42/tokens","from":"abcdef000000002a_0000000000000011","credit":{"events":256,"bytes":1048576}}],"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#);
}

#[test]
fn what_a_subscriber_says() {
    assert_snapshot!(client(&ClientFrame::Sub(sub(1, StreamStart::Begin))), @r#"{"op":"sub","id":1,"stream":"agent-42/tokens","from":"begin","credit":{"events":256,"bytes":1048576}}"#);
    let filtered = Sub {
        filter: Some(Filter { types: vec!["step_completed".into()] }),
        credit: CreditAmount { events: 10, bytes: 1000 },
        ..sub(2, StreamStart::Now)
    };
    assert_snapshot!(client(&ClientFrame::Sub(filtered)), @r#"{"op":"sub","id":2,"stream":"agent-42/tokens","from":"now","filter":{"types":["step_completed"]},"credit":{"events":10,"bytes":1000}}"#);
    assert_snapshot!(client(&ClientFrame::Unsub(Unsub { id: 1 })), @r#"{"op":"unsub","id":1}"#);
    assert_snapshot!(client(&ClientFrame::Credit(Credit { id: 1, events: 64, bytes: 65536 })), @r#"{"op":"credit","id":1,"events":64,"bytes":65536}"#);
    assert_snapshot!(client(&ClientFrame::Ping(Ping { ts: 1_795_493_220_123 })), @r#"{"op":"ping","ts":1795493220123}"#);
}

#[test]
fn what_a_client_commands() {
    let producer = Some(ProducerId::new("p-1").expect("valid"));
    let append = AppendCommand { stream: stream("a"), data: raw(r#"{"x": 1}"#), producer, epoch: 2, seq: Some(9) };
    assert_snapshot!(command(7, Command::Append(append)), @r#"{"op":"cmd","n":7,"type":"append","stream":"a","data":{"x": 1},"producer":"p-1","epoch":2,"seq":9}"#);
    let start = StartCommand {
        workflow: "acme/draft@1.0.0".into(),
        input: Some(raw("[1]")),
        key: Some("agent-42".into()),
        idempotency_key: Some(IdempotencyKey::new("order-1").expect("valid")),
    };
    assert_snapshot!(command(8, Command::Start(start)), @r#"{"op":"cmd","n":8,"type":"start","workflow":"acme/draft@1.0.0","input":[1],"key":"agent-42","idempotency_key":"order-1"}"#);
    let signal = SignalCommand { run: run(), name: "approved".into(), id: Some("s-1".into()), data: Some(raw("true")) };
    assert_snapshot!(command(9, Command::Signal(signal)), @r#"{"op":"cmd","n":9,"type":"signal","run":"1f0c9a3e-00000000000000000000000007","name":"approved","id":"s-1","data":true}"#);
    assert_snapshot!(command(10, Command::Cancel(CancelCommand { run: run(), reason: "enough".into() })), @r#"{"op":"cmd","n":10,"type":"cancel","run":"1f0c9a3e-00000000000000000000000007","reason":"enough"}"#);
}

#[test]
fn what_a_worker_says() {
    let work = Work {
        queues: vec![QueueSlots { name: "default".into(), tasks: vec!["draft".into()], slots: 4 }],
        holding: vec![Holding { token: "t1".into(), next_seq: 3, done: false }],
    };
    assert_snapshot!(client(&ClientFrame::Work(work)), @r#"{"op":"work","queues":[{"name":"default","tasks":["draft"],"slots":4}],"holding":[{"token":"t1","next_seq":3,"done":false}]}"#);
    assert_snapshot!(client(&ClientFrame::Chunk(ChunkFrame { token: "t1".into(), seq: 3, data: raw(r#""Hel""#) })), @r#"{"op":"chunk","token":"t1","seq":3,"data":"Hel"}"#);
    assert_snapshot!(client(&ClientFrame::Beat(Beat { token: "t1".into() })), @r#"{"op":"beat","token":"t1"}"#);
    let done = ResultFrame { token: "t1".into(), output: Some(raw("null")), failure: None, retry_after_ms: None };
    assert_snapshot!(client(&ClientFrame::Result(done)), @r#"{"op":"result","token":"t1","output":null}"#);
    let failure = Failure {
        message: "429 from the model".into(),
        kind: "rate_limited".into(),
        non_retryable: false,
        stack: None,
        details: Some(serde_json::json!({"model": "m"})),
        cause: None,
    };
    let failed = ResultFrame { token: "t1".into(), output: None, failure: Some(failure), retry_after_ms: Some(2000) };
    assert_snapshot!(client(&ClientFrame::Result(failed)), @r#"{"op":"result","token":"t1","failure":{"message":"429 from the model","type":"rate_limited","details":{"model":"m"}},"retry_after_ms":2000}"#);
}

#[test]
fn what_the_node_says_about_the_connection() {
    let limits = Limits { message_bytes: 524_288, event_bytes: 262_144, subscriptions: 128, commands_in_flight: 1024 };
    let welcome = ServerFrame::Welcome {
        session: "s-1".into(),
        heartbeat_ms: 20_000,
        limits,
        node: "n-1".into(),
        durability: Durability::Commit,
    };
    assert_snapshot!(server(&welcome), @r#"{"op":"welcome","session":"s-1","heartbeat_ms":20000,"limits":{"message_bytes":524288,"event_bytes":262144,"subscriptions":128,"commands_in_flight":1024},"node":"n-1","durability":"commit"}"#);
    assert_snapshot!(server(&ServerFrame::Goaway { reconnect_in_ms: 250, reason: "draining".into() }), @r#"{"op":"goaway","reconnect_in_ms":250,"reason":"draining"}"#);
    assert_snapshot!(server(&ServerFrame::Pong { ts: 5 }), @r#"{"op":"pong","ts":5}"#);
    let err = ServerFrame::Err {
        code: Code::StreamNotFound,
        message: "no stream \"a\"".into(),
        id: Some(1),
        retry_ms: Some(100),
    };
    assert_snapshot!(server(&err), @r#"{"op":"err","code":"stream_not_found","message":"no stream \"a\"","id":1,"retry_ms":100}"#);
}

#[test]
fn what_the_node_says_about_a_subscription() {
    let (head, low) = (Offset::new(20), Offset::new(3));
    assert_snapshot!(server(&ServerFrame::Subbed { id: 1, cursor: cursor(17), head, low, resumed: true }), @r#"{"op":"subbed","id":1,"cursor":"abcdef000000002a_0000000000000011","head":20,"low":3,"resumed":true}"#);
    let batch = ServerFrame::Batch { id: 1, prev: Some(Offset::new(16)), cursor: cursor(20), n: 3 };
    assert_snapshot!(server(&batch), @r#"{"op":"batch","id":1,"prev":16,"cursor":"abcdef000000002a_0000000000000014","n":3}"#);
    let first = ServerFrame::Batch { id: 1, prev: None, cursor: cursor(1), n: 1 };
    assert_snapshot!(server(&first), @r#"{"op":"batch","id":1,"prev":null,"cursor":"abcdef000000002a_0000000000000001","n":1}"#);
    assert_snapshot!(server(&ServerFrame::Mark { id: 1, cursor: cursor(20), head }), @r#"{"op":"mark","id":1,"cursor":"abcdef000000002a_0000000000000014","head":20}"#);
    let gap =
        ServerFrame::Gap { id: 1, from: Some(cursor(1)), to: cursor(3), reason: Code::Trimmed, low: Offset::new(3) };
    assert_snapshot!(server(&gap), @r#"{"op":"gap","id":1,"from":"abcdef000000002a_0000000000000001","to":"abcdef000000002a_0000000000000003","reason":"trimmed","low":3}"#);
    let end = ServerFrame::End { id: 1, cursor: Some(cursor(20)), status: EndStatus::Closed };
    assert_snapshot!(server(&end), @r#"{"op":"end","id":1,"cursor":"abcdef000000002a_0000000000000014","status":"closed"}"#);
}

#[test]
fn what_the_node_answers_to_commands() {
    let appended = ServerFrame::Done {
        n: 7,
        offset: Some(Offset::new(17)),
        run: None,
        cursor: Some(cursor(18)),
        dup: false,
        durability: Durability::Commit,
    };
    assert_snapshot!(server(&appended), @r#"{"op":"done","n":7,"offset":17,"cursor":"abcdef000000002a_0000000000000012"}"#);
    let started = ServerFrame::Done {
        n: 8,
        offset: None,
        run: Some(run()),
        cursor: Some(cursor(0)),
        dup: true,
        durability: Durability::Commit,
    };
    assert_snapshot!(server(&started), @r#"{"op":"done","n":8,"run":"1f0c9a3e-00000000000000000000000007","cursor":"abcdef000000002a_0000000000000000","dup":true}"#);
    let relaxed = ServerFrame::Done {
        n: 8,
        offset: None,
        run: None,
        cursor: None,
        dup: false,
        durability: "interval=50".parse().expect("a level"),
    };
    assert_snapshot!(server(&relaxed), @r#"{"op":"done","n":8,"durability":"interval=50"}"#);
    let refused = ServerFrame::Refused {
        n: 9,
        code: Code::QueueFull,
        message: "the partition's mailbox is full".into(),
        retry_after_ms: Some(50),
        details: Map::new(),
    };
    assert_snapshot!(server(&refused), @r#"{"op":"refused","n":9,"code":"queue_full","message":"the partition's mailbox is full","retry_after_ms":50}"#);
    let gap = ServerFrame::Refused {
        n: 10,
        code: Code::ProducerGap,
        message: "a sequence is missing".into(),
        retry_after_ms: None,
        details: Map::from_iter([("expected".to_owned(), json!(4))]),
    };
    assert_snapshot!(server(&gap), @r#"{"op":"refused","n":10,"code":"producer_gap","message":"a sequence is missing","expected":4}"#);
}

#[test]
fn what_the_node_says_to_a_worker() {
    let task = Task {
        token: "t1".into(),
        run: run().to_string(),
        path: "/do/0/draft@1".into(),
        step: 3,
        attempt: 1,
        queue: "default".into(),
        task: "draft".into(),
        input: raw(r#"{"topic":"rivers"}"#),
        idempotency_key: "k".into(),
        stream: true,
        heartbeat_ms: Some(10_000),
        deadline_ms: None,
    };
    assert_snapshot!(server(&ServerFrame::Task(Box::new(task))), @r#"{"op":"task","token":"t1","run":"1f0c9a3e-00000000000000000000000007","path":"/do/0/draft@1","step":3,"attempt":1,"queue":"default","task":"draft","input":{"topic":"rivers"},"idempotency_key":"k","stream":true,"heartbeat_ms":10000}"#);
    let held = |status| ServerFrame::Held { token: "t1".into(), status };
    assert_snapshot!(server(&held(HeldStatus::NextSeq(3))), @r#"{"op":"held","token":"t1","status":{"next_seq":3}}"#);
    assert_snapshot!(server(&held(HeldStatus::Superseded)), @r#"{"op":"held","token":"t1","status":"superseded"}"#);
    let took = |seq, result| ServerFrame::Took { token: "t1".into(), seq, result, durability: Durability::Commit };
    assert_snapshot!(server(&took(Some(4), false)), @r#"{"op":"took","token":"t1","seq":4}"#);
    assert_snapshot!(server(&took(None, true)), @r#"{"op":"took","token":"t1","result":true}"#);
    let untaken = ServerFrame::Untaken {
        token: "t1".into(),
        code: Code::ChunkGap,
        message: "chunk 4 is missing".into(),
        next_seq: Some(4),
        retry_after_ms: None,
    };
    assert_snapshot!(server(&untaken), @r#"{"op":"untaken","token":"t1","code":"chunk_gap","message":"chunk 4 is missing","next_seq":4}"#);
    assert_snapshot!(server(&ServerFrame::Cancel { token: "t1".into() }), @r#"{"op":"cancel","token":"t1"}"#);
}

fn event(kind: &'static str, source: Option<ChunkSource>, payload: Payload) -> String {
    let event = Event {
        offset: Offset::new(17),
        time: Timestamp::from_millis(1_795_493_220_123),
        kind: kind.into(),
        source,
        payload,
    };
    let mut text = Vec::new();
    event.encode_json(&mut text);
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    assert_eq!(Event::decode(&text), Ok(event));
    text
}

#[test]
fn events() {
    assert_snapshot!(event("event", None, Payload::json(r#"{"a": [1, 2]}"#)), @r#"{"offset":17,"time":1795493220123,"type":"event","data":{"a": [1, 2]}}"#);
    assert_snapshot!(event("event", None, Payload::null()), @r#"{"offset":17,"time":1795493220123,"type":"event","data":null}"#);
    let source = Some(ChunkSource { step: 3, attempt: 1, seq: 4 });
    assert_snapshot!(event("chunk", source, Payload::json(r#""Hel""#)), @r#"{"offset":17,"time":1795493220123,"type":"chunk","step":3,"attempt":1,"seq":4,"data":"Hel"}"#);
    let bytes = Payload { content_type: Some("image/png".into()), ..Payload::json(&b"\x00\xff\x10"[..]) };
    assert_snapshot!(event("event", None, bytes), @r#"{"offset":17,"time":1795493220123,"type":"event","content_type":"image/png","base64":"AP8Q"}"#);
    let meta = Payload { meta: vec![("source".into(), "/x".into())], ..Payload::json("1") };
    assert_snapshot!(event("event", None, meta), @r#"{"offset":17,"time":1795493220123,"type":"event","meta":{"source":"/x"},"data":1}"#);
}

/// What is refused, and what the author of a client reads.
fn refused(text: &str) -> String {
    let error = ClientFrame::decode(text).expect_err(text);
    let about = match (error.command, error.subscription) {
        (Some(n), None) => format!("command {n}: "),
        (None, Some(id)) => format!("subscription {id}: "),
        (None, None) => String::new(),
        both @ (Some(_), Some(_)) => panic!("a frame is about one thing, not {both:?}"),
    };
    format!("{about}{error}")
}

#[test]
fn what_is_refused_is_named() {
    assert_snapshot!(refused(""), @"EOF while parsing a value at line 1 column 0 (bad_message)");
    assert_snapshot!(refused("[]"), @"invalid length 0, expected a frame, which is one JSON object at line 1 column 2 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"ping","ts":1} x"#), @"trailing characters at line 1 column 22 (bad_message)");
    assert_snapshot!(refused("{}"), @"the message has no `op`: it names the frame (bad_message)");
    assert_snapshot!(refused(r#"{"op":"publish"}"#), @r#""publish" is not an op: expected one of hello, sub, unsub, credit, cmd, work, result, chunk, beat, ping (bad_message)"#);
    assert_snapshot!(refused(r#"{"op":"ping","ts":1,"extra":2}"#), @"unknown field `extra`, expected `ts` at line 1 column 27 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"ping","ts":1,"ts":2}"#), @"duplicate field `ts` at line 1 column 24 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"ping","ts":1,"op":"ping"}"#), @"duplicate field `op` at line 1 column 24 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"ping"}"#), @"missing field `ts` at line 1 column 13 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"ping","ts":-1}"#), @"invalid value: integer `-1`, expected u64 at line 1 column 20 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"cmd","n":1}"#), @"command 1: a command has no `type`: expected one of append, start, signal, cancel (bad_message)");
    assert_snapshot!(refused(r#"{"op":"cmd","n":1,"type":"delete"}"#), @r#"command 1: "delete" is not a type of command: expected one of append, start, signal, cancel (bad_message)"#);
    assert_snapshot!(refused(r#"{"op":"cmd","type":"append","stream":"a","data":1}"#), @"a command has no `n`: its answer carries it (bad_message)");
    assert_snapshot!(refused(r#"{"op":"cmd","n":1,"n":2,"type":"append","stream":"a","data":1}"#), @"duplicate field `n` at line 1 column 23 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"cmd","n":1,"type":"append","stream":"a","data":1,"color":2}"#), @"command 1: unknown field `color`, expected one of `stream`, `data`, `producer`, `epoch`, `seq` at line 1 column 63 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"cmd","n":1,"type":"append","stream":"a b","data":1}"#), @r#"command 1: "a b" contains ' ': use letters, digits, '/', and any of -_.~:@+= at line 1 column 48 (invalid_name)"#);
    assert_snapshot!(refused(r#"{"op":"cmd","n":1,"type":"append","stream":"a","data":{"x":}}"#), @"expected value at line 1 column 60 (bad_message)");
    assert_snapshot!(refused(r#"{"op":"sub","id":4,"stream":"a","from":"17"}"#), @r#"subscription 4: "17" is not a cursor: send back exactly what the node gave you, or `begin`, or `now` at line 1 column 44 (invalid_cursor)"#);
    let nested = "[".repeat(100) + &"]".repeat(100);
    assert_snapshot!(refused(&format!(r#"{{"op":"cmd","n":1,"type":"append","stream":"a","data":{nested}}}"#)), @"command 1: the message nests deeper than 100 levels (bad_message)");
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let text = r#" { "data" : [1, 2] , "type":"append", "seq":3, "n": 5, "stream":"a", "op":"cmd", "producer":"p" } "#;
    let frame = ClientFrame::decode(text).expect("valid");
    assert_snapshot!(frame.encode(), @r#"{"op":"cmd","n":5,"type":"append","stream":"a","data":[1, 2],"producer":"p","epoch":0,"seq":3}"#);
}

#[test]
fn a_client_skips_what_a_newer_node_adds() {
    let pong = ServerFrame::decode(r#"{"op":"pong","ts":5,"mood":"fine"}"#).expect("understood");
    assert!(matches!(pong, ServerFrame::Pong { ts: 5 }));
    let event = Event::decode(r#"{"offset":1,"time":2,"type":"event","data":3,"mood":"fine"}"#);
    assert!(event.is_ok());
}
