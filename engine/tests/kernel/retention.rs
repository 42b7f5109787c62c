//! What goes, when, and who holds it back: streams are trimmed, runs and producers forgotten.

use std::collections::BTreeMap;

use engine::{
    Answer, AppendEvents, Command, Event, Keep, KeepConfig, PartitionConfig, Pin, ProducerStamp, Rejection,
    RetentionEvent, StreamKey, TrimStreams,
};
use serde_json::json;
use types::{Offset, ProducerId, StreamName, StreamOrdinal, TenantId, Timestamp};

use crate::harness::{BEGINNING, Harness, TOKEN_KEY, json};

const HOUR: u64 = 3_600_000;

fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("valid")
}

fn create(text: &str, events: usize, keep: Keep) -> Command {
    let events = (0..events).map(|n| json(&json!(n))).collect();
    let (tenant, name) = (TenantId::default(), name(text));
    Command::CreateStream { tenant, name, content_type: None, events, closed: false, keep }
}

fn harness(keep: KeepConfig) -> Harness {
    Harness::with_config(PartitionConfig { keep, ..PartitionConfig::new(TOKEN_KEY) })
}

fn hours(stream: u64, run: u64) -> KeepConfig {
    KeepConfig { stream_ms: stream * HOUR, run_ms: run * HOUR, tenants: BTreeMap::new() }
}

/// What a segment that was filled at the beginning holds: stream `n` up to `end`.
fn trim(extents: &[(u64, u64)], room: bool) -> Command {
    let extent = |(stream, end): &(u64, u64)| (StreamOrdinal::new(*stream), Offset::new(*end));
    let extents = extents.iter().map(extent).collect();
    Command::TrimStreams(Box::new(TrimStreams { newest: BEGINNING, extents, room }))
}

/// Which streams were trimmed to where, and whether the segment may go, or when it is worth asking again.
fn trimmed(harness: &mut Harness, command: &Command) -> (Vec<(String, u64)>, bool, Option<Timestamp>) {
    let (_, answer) = harness.send(command).expect("it is taken");
    let Answer::Trimmed { trimmed, cleared, next, .. } = answer else { panic!("{answer:?}") };
    let lows = trimmed.into_iter().map(|(key, _, low)| (key.name.as_str().to_owned(), low.value()));
    (lows.collect(), cleared, next)
}

fn low(harness: &Harness, text: &str) -> u64 {
    let key = StreamKey { tenant: TenantId::default(), name: name(text) };
    harness.partition.stream(&key).expect("it is there").low.value()
}

fn pin(reader: &str, at: u64, max_lag: u64) -> Command {
    let pin = Pin { at: Offset::new(at), max_lag };
    Command::PinReader { tenant: TenantId::default(), name: name("a"), reader: reader.to_owned(), pin }
}

#[test]
fn a_stream_is_kept_for_as_long_as_the_node_its_tenant_or_it_says() {
    let mut harness =
        harness(KeepConfig { tenants: [(TenantId::new("acme").expect("plain"), 72 * HOUR)].into(), ..hours(24, 168) });
    harness.expect(&create("usual", 5, Keep::default()));
    harness.expect(&create("short", 5, Keep { age_ms: Some(HOUR), events: None }));
    harness.expect(&create("long", 5, Keep { age_ms: Some(48 * HOUR), events: None }));
    let Command::CreateStream { events, .. } = create("x", 5, Keep::default()) else { unreachable!() };
    let (tenant, keep) = (TenantId::new("acme").expect("plain"), Keep::default());
    harness.expect(&Command::CreateStream {
        tenant,
        name: name("theirs"),
        content_type: None,
        events,
        closed: false,
        keep,
    });
    let all = trim(&[(1, 5), (2, 5), (3, 5), (4, 5)], false);
    assert_eq!(trimmed(&mut harness, &all), (vec![], false, Some(BEGINNING.plus_millis(HOUR))));
    harness.later_ms(HOUR);
    assert_eq!(trimmed(&mut harness, &all), (vec![("short".into(), 5)], false, Some(BEGINNING.plus_millis(24 * HOUR))));
    harness.later_ms(23 * HOUR);
    assert_eq!(trimmed(&mut harness, &all), (vec![("usual".into(), 5)], false, Some(BEGINNING.plus_millis(48 * HOUR))));
    harness.later_ms(24 * HOUR);
    assert_eq!(trimmed(&mut harness, &all), (vec![("long".into(), 5)], false, Some(BEGINNING.plus_millis(72 * HOUR))));
    harness.later_ms(24 * HOUR);
    assert_eq!(trimmed(&mut harness, &all), (vec![("theirs".into(), 5)], true, None));
    assert_eq!(trimmed(&mut harness, &all), (vec![], true, None), "once is enough");
}

#[test]
fn only_what_the_segment_holds_goes() {
    let mut harness = harness(hours(1, 1));
    harness.expect(&create("a", 10, Keep::default()));
    harness.later_ms(2 * HOUR);
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 7)], false)), (vec![("a".into(), 7)], true, None));
    assert_eq!(low(&harness, "a"), 7);
    // A later segment, an unknown stream, and one that was deleted.
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 3), (9, 100)], false)), (vec![], true, None));
    harness.expect(&Command::DeleteStream { tenant: TenantId::default(), name: name("a") });
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 10)], false)), (vec![], true, None));
}

#[test]
fn a_stream_may_keep_so_many_events() {
    let mut harness = harness(hours(24, 24));
    harness.expect(&create("a", 10, Keep { age_ms: None, events: Some(4) }));
    let (lows, cleared, _) = trimmed(&mut harness, &trim(&[(1, 10)], false));
    assert_eq!((lows, cleared), (vec![("a".into(), 6)], false));
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 6)], false)), (vec![], true, None));
}

#[test]
fn room_is_made_whatever_the_age() {
    let mut harness = harness(hours(24, 24));
    harness.expect(&create("a", 10, Keep { age_ms: Some(1_000 * HOUR), events: None }));
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 10)], true)), (vec![("a".into(), 10)], true, None));
}

#[test]
fn a_pinned_reader_holds_back_what_it_has_still_to_read() {
    let mut harness = harness(hours(1, 1));
    harness.expect(&create("a", 10, Keep::default()));
    harness.expect(&pin("slow", 4, 6));
    harness.later_ms(2 * HOUR);
    let (lows, cleared, _) = trimmed(&mut harness, &trim(&[(1, 8)], true));
    assert_eq!((lows, cleared), (vec![("a".into(), 4)], false), "also when room is needed");
    harness.expect(&pin("slow", 8, 6));
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 8)], false)), (vec![("a".into(), 8)], true, None));
    assert_eq!(harness.refuse(&pin("slow", 7, 6)), Rejection::Trimmed { low: Offset::new(8) });
    assert_eq!(harness.refuse(&pin("slow", 11, 6)), Rejection::BeyondEnd { head: Offset::new(10) });
}

#[test]
fn a_pin_that_lags_too_far_behind_holds_nothing_and_its_reader_is_told() {
    let mut harness = harness(hours(1, 1));
    harness.expect(&create("a", 10, Keep::default()));
    harness.expect(&pin("lost", 2, 7));
    harness.expect(&pin("near", 5, 7));
    harness.later_ms(2 * HOUR);
    let (events, _) = harness.send(&trim(&[(1, 10)], false)).expect("it is taken");
    let stream = StreamOrdinal::new(1);
    let expect = [
        RetentionEvent::ReaderUnpinned { stream, reader: "lost".to_owned() },
        RetentionEvent::StreamTrimmed { stream, low: Offset::new(5) },
    ];
    assert_eq!(events, expect.map(Event::Retention));
    assert_eq!(harness.refuse(&pin("lost", 2, 7)), Rejection::Trimmed { low: Offset::new(5) });
    let unpin = Command::UnpinReader { tenant: TenantId::default(), name: name("a"), reader: "near".to_owned() };
    harness.expect(&unpin);
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 10)], false)), (vec![("a".into(), 10)], true, None));
}

#[test]
fn a_stream_has_few_pins() {
    let mut harness = harness(hours(1, 1));
    harness.expect(&create("a", 10, Keep::default()));
    for reader in 0..engine::limits::PINS_PER_STREAM {
        harness.expect(&pin(&format!("reader-{reader}"), 0, 100));
    }
    let limit = engine::limits::PINS_PER_STREAM;
    assert_eq!(harness.refuse(&pin("one-more", 0, 100)), Rejection::TooManyPins { name: name("a"), limit });
    harness.expect(&pin("reader-0", 1, 100));
}

#[test]
fn a_run_is_forgotten_when_it_was_closed_long_enough_and_its_key_is_free() {
    let config =
        PartitionConfig { keep: hours(1, 10), idempotency_window_ms: 20 * HOUR, ..PartitionConfig::new(TOKEN_KEY) };
    let mut harness = Harness::with_config(config);
    harness.define("flow", "do:\n  - a: { set: { n: 1 } }");
    harness.define("waits", "do:\n  - pause: { wait: { hours: 1000 } }");
    let keyed = harness.keyed("k", &json!({}));
    let with_key = keyed.run;
    harness.expect(&Command::StartRun(Box::new(keyed)));
    let (plain, open) = (harness.start(&json!({})), harness.start_named("waits", &json!({})));
    let all = Command::ForgetRuns { runs: vec![with_key, plain, open], room: false };
    let forgotten = |harness: &mut Harness| -> Vec<_> {
        let (events, _) = harness.send(&all).expect("it is taken");
        let run = |event| {
            let Event::Retention(RetentionEvent::RunForgotten { run, start, .. }) = event else { panic!("{event:?}") };
            (run, start.is_some())
        };
        events.into_iter().map(run).collect()
    };
    harness.later_ms(10 * HOUR - 1);
    assert_eq!(forgotten(&mut harness), []);
    harness.later_ms(1);
    assert_eq!(forgotten(&mut harness), [(plain, false)]);
    harness.later_ms(10 * HOUR);
    assert_eq!(forgotten(&mut harness), [(with_key, true)]);
    assert_eq!(forgotten(&mut harness), []);
    assert!(harness.partition.run(plain).is_none() && harness.partition.run(open).is_some());
    let stream = harness.run(open).ordinal;
    assert_eq!(harness.partition.kept_run(stream), Some((open, true)));
    assert_eq!(harness.partition.kept_run(StreamOrdinal::new(1)), None, "the run with the key had the first stream");
    let again = harness.keyed("k", &json!({"another": "input"}));
    let run = again.run;
    let (_, answer) = harness.send(&Command::StartRun(Box::new(again))).expect("the key is free");
    assert_eq!(answer, Answer::Started { run, duplicate: false });
}

#[test]
fn a_closed_run_goes_early_when_its_room_is_needed() {
    let mut harness = harness(hours(1, 10));
    harness.define("flow", "do:\n  - a: { set: { n: 1 } }");
    let run = harness.start(&json!({}));
    let stream = harness.run(run).ordinal;
    assert_eq!(harness.partition.kept_run(stream), Some((run, false)));
    assert_eq!(harness.send(&Command::ForgetRuns { runs: vec![run], room: false }).expect("it is taken").0, []);
    harness.expect(&Command::ForgetRuns { runs: vec![run], room: true });
    assert_eq!(harness.partition.kept_run(stream), None);
}

#[test]
fn a_producer_is_forgotten_when_none_of_its_events_is_kept() {
    let mut harness = harness(hours(1, 1));
    let producer = |id: &str| ProducerId::new(id).expect("visible");
    let append = |id: &str, sequence| {
        Command::AppendEvents(Box::new(AppendEvents {
            tenant: TenantId::default(),
            name: name("a"),
            events: vec![json(&json!(1))],
            producer: Some(ProducerStamp { id: producer(id), epoch: 0, sequence }),
            expected: None,
            sequence: None,
            create: true,
            close: false,
        }))
    };
    for (id, sequence) in [("old", 0), ("busy", 0), ("busy", 1)] {
        harness.expect(&append(id, sequence));
    }
    let forget =
        Command::ForgetProducers { stream: StreamOrdinal::new(1), producers: vec![producer("old"), producer("busy")] };
    assert_eq!(harness.send(&forget).expect("it is taken").0, []);
    harness.later_ms(HOUR);
    assert_eq!(trimmed(&mut harness, &trim(&[(1, 2)], false)), (vec![("a".into(), 2)], true, None));
    let (events, _) = harness.send(&forget).expect("it is taken");
    let expect = RetentionEvent::ProducersForgotten { stream: StreamOrdinal::new(1), producers: vec![producer("old")] };
    assert_eq!(events, [Event::Retention(expect)]);
    assert_eq!(harness.refuse(&append("old", 1)), Rejection::ProducerGap { expected: 0, got: 1 });
    harness.expect(&append("busy", 2));
}
