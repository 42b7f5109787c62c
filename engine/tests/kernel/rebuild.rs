//! Rows made again from the log: exactly what they were, or said to be lost; and what may be done with a run that is.

use std::collections::BTreeSet;

use engine::{
    Answer, AppendEvents, Command, Event, Gone, Keep, Partition, Rebuilt, Rejection, RetentionEvent, RowImage, RowName,
    SetAside, StreamKey, Wanted, stored,
};
use serde_json::json;
use types::{RunId, StreamName, TenantId, Timestamp};

use crate::harness::{Harness, Logged, chunk, completion, failing, json};

const WORKS_AND_WAITS: &str = "do:
  - ask: { call: worker, with: { task: t, stream: true } }
  - again:
      try: [ { risky: { call: worker, with: { task: u } } } ]
      catch: { retry: { delay: { seconds: 1 }, limit: { attempt: { count: 2 } } } }
  - pause: { wait: { seconds: 5 } }
  - last: { call: worker, with: { task: v } }";

fn run_wanted(runs: &[RunId]) -> Wanted {
    Wanted { names: runs.iter().map(|run| RowName::OpenRun(*run)).collect(), ..Wanted::default() }
}

/// What is made of these events, of which those that are `gone` are missing, as `how` says.
fn rebuild(harness: &Harness, wanted: Wanted, log: &[Logged], gone: &BTreeSet<usize>, how: Gone) -> Rebuilt {
    let mut rebuild = harness.partition.rebuild(wanted);
    for (index, logged) in log.iter().enumerate() {
        if gone.contains(&index) {
            rebuild.hole(logged.placed.position, logged.placed.position.next(), how);
            continue;
        }
        match stored::decode(&logged.bytes, |ordinal| rebuild.run_of(ordinal)) {
            Ok(event) => rebuild.take(&event, logged.placed, logged.bytes.offset),
            Err(stored::StoredError::UnknownRun(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    rebuild.finish()
}

fn only_run(rebuilt: &Rebuilt) -> Option<&engine::Run> {
    match &rebuilt.rows[..] {
        [(RowName::OpenRun(_), RowImage::Run(run))] => Some(run),
        [] => None,
        more => panic!("one run was asked for: {more:?}"),
    }
}

/// A run that streams, fails, tries again, waits and asks once more, between others that do the same.
fn busy() -> (Harness, RunId) {
    let mut harness = Harness::of(WORKS_AND_WAITS);
    let runs: Vec<RunId> = (0..3).map(|n| harness.start(&json!({ "n": n }))).collect();
    let tokens = |harness: &Harness| harness.offers().into_iter().map(|offer| offer.token).collect::<Vec<_>>();
    for token in tokens(&harness) {
        (0..3).for_each(|n| drop(harness.expect(&chunk(&token, n, "word"))));
        harness.expect(&failing(&token, engine::Failure::new("io", "no")));
    }
    (0..3).for_each(|_| drop(harness.fire_next()));
    for token in tokens(&harness) {
        harness.expect(&chunk(&token, 0, "again"));
        harness.expect(&completion(&token, &json!("answer")));
    }
    for token in tokens(&harness) {
        harness.expect(&completion(&token, &json!("done")));
    }
    (0..3).for_each(|_| drop(harness.fire_next()));
    (harness, runs[1])
}

#[test]
fn a_run_is_made_again_as_it_was_at_every_position() {
    let (mut harness, run) = busy();
    let tokens: Vec<_> = harness.offers().into_iter().map(|offer| offer.token).collect();
    for token in tokens {
        harness.expect(&completion(&token, &json!("end")));
    }
    let (mut open, mut closed) = (0, 0);
    let mut truth = Partition::new(harness.config.clone());
    for (index, logged) in harness.log.iter().enumerate() {
        truth.apply(&logged.event, logged.placed, &mut Vec::new());
        let rebuilt = rebuild(&harness, run_wanted(&[run]), &harness.log[..=index], &BTreeSet::new(), Gone::Output);
        match truth.run(run) {
            Some(state) if !state.status.is_closed() => {
                assert_eq!(only_run(&rebuilt), Some(state), "behind {index}");
                assert!(rebuilt.set_aside.is_empty() && rebuilt.closed.is_empty());
                open += 1;
            }
            Some(_) => {
                assert_eq!((&rebuilt.closed[..], only_run(&rebuilt)), (&[run][..], None), "behind {index}");
                closed += 1;
            }
            None => assert_eq!(rebuilt.set_aside.len(), 1, "it has not begun yet"),
        }
    }
    assert!(open > 10 && closed > 0, "{open} {closed}");
}

/// Whatever single event is missing: the run is made again as it is, or it is said that it cannot be.
#[test]
fn a_run_is_never_made_again_as_something_else() {
    let (harness, run) = busy();
    let truth = harness.run(run);
    let (mut whole, mut lost) = (0, 0);
    for index in 0..harness.log.len() {
        let logged = &harness.log[index];
        let how = match logged.event.class() {
            engine::Class::Output => Gone::Output,
            engine::Class::Attempt => Gone::Dropped,
            engine::Class::Fact => Gone::Anything,
        };
        let rebuilt = rebuild(&harness, run_wanted(&[run]), &harness.log, &BTreeSet::from([index]), how);
        if let Some(made) = only_run(&rebuilt) {
            assert_eq!(made, truth, "without {logged:?}");
            whole += 1;
        } else {
            assert_eq!(rebuilt.set_aside.len(), 1);
            lost += 1;
        }
    }
    assert!(whole > 0 && lost > 0, "{whole} {lost}");
}

#[test]
fn output_that_may_be_missing_at_the_end_is_not_guessed() {
    let mut harness = Harness::of(WORKS_AND_WAITS);
    let run = harness.start(&json!({}));
    let token = harness.offer().token;
    harness.expect(&chunk(&token, 0, "one"));
    let end = harness.log.len() - 1;
    let rebuilt = rebuild(&harness, run_wanted(&[run]), &harness.log, &BTreeSet::from([end]), Gone::Output);
    let [(lost, aside)] = &rebuilt.set_aside[..] else { panic!("{rebuilt:?}") };
    assert_eq!((*lost, only_run(&rebuilt)), (run, None));
    assert_eq!(aside.ordinal, Some(harness.run(run).ordinal), "its first event says so");
    assert!(aside.why.contains("last events"), "{}", aside.why);
}

#[test]
fn rows_without_names_are_found_in_the_log() {
    let (harness, run) = busy();
    let others: Vec<RunId> = harness.partition.runs().map(|run| run.id).filter(|id| *id != run).collect();
    let known = others.iter().map(|run| RowName::OpenRun(*run)).collect();
    let wanted = Wanted { all_but: Some(known), ..Wanted::default() };
    let rebuilt = rebuild(&harness, wanted, &harness.log, &BTreeSet::new(), Gone::Output);
    assert_eq!(only_run(&rebuilt), Some(harness.run(run)));
}

fn append(create: bool) -> Command {
    Command::AppendEvents(Box::new(AppendEvents {
        tenant: TenantId::default(),
        name: StreamName::new("a/b").expect("valid"),
        events: vec![json(&json!(1)), json(&json!(2))],
        producer: None,
        expected: None,
        sequence: None,
        create,
        close: false,
    }))
}

#[test]
fn a_stream_is_made_again_also_when_its_first_events_were_dropped() {
    let mut harness = Harness::new();
    harness.expect(&append(true));
    harness.expect(&append(false));
    let stream = || harness.partition.stream(&key()).expect("it is there").clone();
    let ordinal = stream().ordinal;
    let extents = vec![(ordinal, types::Offset::new(2))];
    let newest = harness.now;
    let trim = engine::TrimStreams { newest, extents, room: true };
    harness.expect(&Command::TrimStreams(Box::new(trim)));
    harness.expect(&append(false));
    let stream = harness.partition.stream(&key()).expect("it is there");
    assert_eq!(stream.keep, Keep::default());
    let wanted = Wanted { ordinals: BTreeSet::from([ordinal]), ..Wanted::default() };
    let is_output = |index: &usize| harness.log[*index].event.class() == engine::Class::Output;
    let dropped: BTreeSet<usize> = (0..harness.log.len()).filter(is_output).take(2).collect();
    for gone in [BTreeSet::new(), dropped] {
        let rebuilt = rebuild(&harness, wanted.clone(), &harness.log, &gone, Gone::Output);
        let rows: Vec<_> = rebuilt.rows.into_iter().filter(|(name, _)| *name == RowName::Stream(key())).collect();
        assert_eq!(rows, [(RowName::Stream(key()), RowImage::Stream(stream.clone()))], "without {gone:?}");
    }
    // When it began is needed.
    let rebuilt = rebuild(&harness, wanted, &harness.log, &BTreeSet::from([0]), Gone::Anything);
    assert_eq!(rebuilt.rows, []);
}

fn key() -> StreamKey {
    StreamKey { tenant: TenantId::default(), name: StreamName::new("a/b").expect("valid") }
}

#[test]
fn a_run_that_is_set_aside_takes_nothing_but_being_given_up() {
    let mut harness = Harness::of(WORKS_AND_WAITS);
    let start = harness.keyed("k", &json!({}));
    let run = start.run;
    harness.send(&Command::StartRun(Box::new(start.clone()))).expect("it starts");
    let (token, ordinal) = (harness.offer().token, harness.run(run).ordinal);
    let mut partition = Partition::new(harness.config.clone());
    partition.begin_at(harness.partition.next_position());
    let why = "a bit flipped".to_owned();
    let rows = harness.partition.take_dirty();
    let start_key = rows.into_iter().find_map(|(name, image)| {
        let RowName::Start(key) = name else { return None };
        partition.admit(RowName::Start(key.clone()), image.expect("it is remembered"));
        Some(key)
    });
    let tenant = Some(TenantId::default());
    partition.set_aside(run, SetAside { why, ordinal: Some(ordinal), tenant, start: start_key });

    assert!(partition.effects().is_empty() && partition.next_wake().is_none(), "it owes nobody anything");
    assert_eq!(partition.kept_run(ordinal), Some((run, true)), "its events are kept");
    let signal = Command::SignalRun {
        tenant: TenantId::default(),
        run,
        name: "go".to_owned(),
        id: None,
        payload: json(&json!(1)),
    };
    for command in [signal, completion(&token, &json!(1)), chunk(&token, 0, "word"), Command::ContinueRun { run }] {
        assert!(partition.needs(&command).is_empty());
        let refused = partition.decide(&command, Timestamp::ZERO).expect_err("it is damaged");
        assert!(matches!(&refused, Rejection::RunDamaged { run: named, why } if *named == run && why.contains("bit")));
    }
    let other = Command::CancelRun { tenant: TenantId::new("other").expect("a name"), run, reason: String::new() };
    assert_eq!(partition.decide(&other, Timestamp::ZERO).expect_err("not theirs"), Rejection::RunNotFound(run));
    // Its start is still answered with it.
    assert_eq!(
        partition.decide(&Command::StartRun(Box::new(start)), harness.now).map(|decision| decision.answer),
        Ok(Answer::Started { run, duplicate: true })
    );

    let cancel = Command::CancelRun { tenant: TenantId::default(), run, reason: String::new() };
    let decision = partition.decide(&cancel, Timestamp::ZERO).expect("it can be given up");
    let [event @ Event::Retention(RetentionEvent::RunForgotten { stream, start: Some(_), .. })] = &decision.events[..]
    else {
        panic!("{decision:?}")
    };
    assert_eq!(*stream, ordinal);
    let placed = engine::Placed { position: partition.next_position(), time: harness.now };
    assert_eq!(partition.contradiction(event), None);
    partition.apply(event, placed, &mut Vec::new());
    assert!(partition.all_set_aside().is_empty() && partition.kept_run(ordinal).is_none());
    let rows = partition.take_dirty();
    assert!(rows.contains(&(RowName::OpenRun(run), None)), "the damaged row goes: {rows:?}");
    assert!(matches!(partition.decide(&cancel, Timestamp::ZERO), Err(Rejection::RunNotFound(_))));

    // To a replay of all events it is an open run that is given up.
    let mut replayed = harness.replayed();
    assert_eq!((replayed.contradiction(event), replayed.effects().len()), (None, 1));
    replayed.apply(event, placed, &mut Vec::new());
    assert!(replayed.run(run).is_none() && replayed.kept_run(ordinal).is_none() && replayed.effects().is_empty());
    assert_eq!((replayed.open_bytes(), replayed.next_wake()), (0, None));
}
