//! Clients that come back: each connects, subscribes from its own cursor and reads what it missed to the end. The node
//! was killed and started again before, so that nothing of it is in its memory. Beside it, in the same run, a server
//! that sends bytes as many, prepared, to as many connections.

mod common;
mod load;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use common::{Figure, Report, median, quantile};
use load::node::Node;
use load::socket::{Socket, frame, number};
use load::{event, figure, folder, http, on_one_thread, raw_server};

const STREAMS: usize = 500;
const EVENTS: usize = 1_000;
const EVENT_BYTES: usize = 256;
const MISSED: [usize; 2] = [100, 1_000];
const CLIENTS: [usize; 2] = [1, 500];
const ROUNDS: usize = 3;
/// Connections that fill the streams before the measurement.
const WRITERS: usize = 8;
const TEXT: u8 = 0x81;
/// Events that the node puts into one batch.
const BATCH: usize = 64;

/// A stream's name and the cursor behind its last event.
type Stream = (String, String);

/// Each with its events in one request; the events differ, the streams' names too.
fn fill(node: SocketAddr) -> Vec<Stream> {
    let events: Vec<String> = (0..EVENTS as u64).map(|seed| event(EVENT_BYTES, seed)).collect();
    let body = format!("[{}]", events.join(","));
    let one = |stream: usize| {
        let name = format!("session-{stream}/events");
        let (head, _) = http::send(node, "PUT", &format!("/v1/streams/{name}"), "application/json", &body);
        let cursor = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("stream-next-offset: ").map(str::to_owned));
        (name, cursor.expect("an append tells where the stream ends").trim().to_owned())
    };
    std::thread::scope(|scope| {
        let writing: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || (writer..STREAMS).step_by(WRITERS).map(one).collect::<Vec<_>>()))
            .collect();
        writing.into_iter().flat_map(|writer| writer.join().expect("the streams are filled")).collect()
    })
}

/// The cursor so many events before the end.
fn earlier(cursor: &str, events: usize) -> String {
    let (life, next) = cursor.split_once('_').expect("a cursor has two parts");
    let next = u64::from_str_radix(next, 16).expect("its second part is an offset");
    format!("{life}_{:016x}", next - events as u64)
}

/// Connects, says hello with its subscription, and reads until so many events have come. Milliseconds.
async fn come_back(server: SocketAddr, subscription: Rc<str>, events: usize) -> f64 {
    let began = Instant::now();
    let mut socket = Socket::hello(server, &subscription).await;
    let mut expected: Option<u64> = None;
    let mut read = 0;
    while read < events {
        match socket.next() {
            Some(text) if text.starts_with(r#"{"offset":"#) => {
                let offset = number(text, r#"{"offset":"#).expect("an event has an offset");
                assert!(expected.is_none_or(|expected| expected == offset), "no event is missing or repeated");
                expected = Some(offset + 1);
                read += 1;
            }
            Some(text) => assert!(!text.starts_with(r#"{"op":"err""#), "the node refuses: {text}"),
            None => socket.fill().await,
        }
    }
    assert_eq!(expected, Some(EVENTS as u64), "the last event is the stream's last");
    began.elapsed().as_secs_f64() * 1e3
}

struct Measured {
    total_ms: f64,
    sorted_ms: Vec<f64>,
}

/// All at once.
fn measure(server: SocketAddr, subscriptions: &[Rc<str>], events: usize) -> Measured {
    on_one_thread(async {
        let began = Instant::now();
        let come_back = |subscription: &Rc<str>| come_back(server, Rc::clone(subscription), events);
        let coming: Vec<_> =
            subscriptions.iter().map(|subscription| tokio::task::spawn_local(come_back(subscription))).collect();
        let mut sorted_ms = Vec::with_capacity(coming.len());
        for client in coming {
            sorted_ms.push(client.await.expect("a client reads to the end"));
        }
        let total_ms = began.elapsed().as_secs_f64() * 1e3;
        sorted_ms.sort_by(f64::total_cmp);
        Measured { total_ms, sorted_ms }
    })
}

/// What a client that missed so much is sent, near enough.
fn prepared(missed: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for index in 0..missed {
        if index % BATCH == 0 {
            let batch = r#"{"op":"batch","id":1,"prev":899,"cursor":"0123456789abcdef_0123456789abcdef","n":64}"#;
            frame(&mut bytes, TEXT, false, batch.as_bytes());
        }
        let (offset, data) = (EVENTS - missed + index, event(EVENT_BYTES, index as u64));
        let text = format!(r#"{{"offset":{offset},"time":1795493220123,"type":"event","data":{data}}}"#);
        frame(&mut bytes, TEXT, false, text.as_bytes());
    }
    bytes
}

fn subscriptions(streams: &[Stream], missed: usize) -> Vec<Rc<str>> {
    let one = |(name, cursor): &Stream| {
        let from = earlier(cursor, missed);
        let credit = r#"{"events":2000,"bytes":4194304}"#;
        format!(r#","subs":[{{"id":1,"stream":"{name}","from":"{from}","credit":{credit}}}]"#).into()
    };
    streams.iter().map(one).collect()
}

fn case(report: &mut Report, node: &Node, streams: &[Stream], clients: usize, missed: usize) {
    let raw_server = raw_server::sending(prepared(missed));
    let (mut totals, mut raw_totals, mut all, mut raw_all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let rounds = if clients == 1 { ROUNDS * 20 } else { ROUNDS };
    node.forget_peak();
    let before = node.usage();
    for round in 0..rounds {
        // A client alone comes back to another stream each time.
        let first = (round * 7) % (streams.len() - clients + 1);
        let subscriptions = subscriptions(&streams[first..first + clients], missed);
        let raw = measure(raw_server, &subscriptions, missed);
        raw_totals.push(raw.total_ms);
        raw_all.extend(raw.sorted_ms);
        let resumed = measure(node.address, &subscriptions, missed);
        totals.push(resumed.total_ms);
        all.extend(resumed.sorted_ms);
    }
    let used = node.usage().since(before);
    all.sort_by(f64::total_cmp);
    raw_all.sort_by(f64::total_cmp);
    let (total, raw_total) = (median(&mut totals), median(&mut raw_totals));
    let goal = if (clients, missed) == (500, 100) { Some(1_000.0) } else { None };
    let case = format!("{clients} clients, {missed} missed events");
    let mut add = |name: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.clone(), figure: name.to_owned(), value, unit, limit, goal });
    };
    add("all have all", total, "ms", Some(raw_total), goal);
    add("p50 a client", quantile(&all, 0.5), "ms", Some(quantile(&raw_all, 0.5)), None);
    add("p99 a client", quantile(&all, 0.99), "ms", Some(quantile(&raw_all, 0.99)), None);
    let events = figure((rounds * clients * missed) as u64);
    add("node's CPU an event", used.cpu_seconds / events * 1e6, "µs", None, None);
    add("node's peak memory", node.peak_bytes() / 1e6, "MB", None, Some(200.0));
}

fn main() {
    let mut report = Report::new("resume");
    let folder = folder();
    let data = folder.path().join("node");
    let node = Node::start(&data);
    let streams = fill(node.address);
    node.kill();
    let node = Node::start(&data);
    for missed in MISSED {
        for clients in CLIENTS {
            case(&mut report, &node, &streams, clients, missed);
        }
    }
    for sentence in report.finish() {
        eprintln!("missed: {sentence}");
    }
}
