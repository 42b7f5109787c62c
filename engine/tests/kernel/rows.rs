//! Rows beside the log: a checkpoint and the events behind it are worth the whole log, and what was written and
//! forgotten comes back as it was.

use std::collections::BTreeMap;

use engine::{Answer, AppendEvents, Command, Need, Partition, ProducerStamp, Rejection, RowImage, RowName, stored};
use serde_json::json;
use types::{ProducerId, StreamName, TenantId};

use crate::harness::{Harness, completion, json};

type Rows = BTreeMap<RowName, bytes::Bytes>;

/// Writes what is dirty, through bytes.
fn checkpoint(harness: &mut Harness, rows: &mut Rows) {
    for (name, image) in harness.partition.take_dirty() {
        match image {
            Some(image) => rows.insert(name.clone(), stored::encode_row(&name, &image)),
            None => rows.remove(&name),
        };
    }
}

fn admit(partition: &mut Partition, rows: &Rows, name: &RowName) {
    if let Some(bytes) = rows.get(name) {
        partition.admit(name.clone(), stored::decode_row(name, bytes).expect("it reads back"));
    }
}

/// Fetches what a command needs and sends it.
fn send(harness: &mut Harness, rows: &Rows, command: &Command) -> Result<Answer, Rejection> {
    for need in harness.partition.needs(command) {
        if let Need::Row(name) = need {
            admit(&mut harness.partition, rows, &name);
        }
    }
    harness.send(command).map(|(_, answer)| answer)
}

fn append(sequence: u64) -> Command {
    let id = ProducerId::new("p").expect("visible");
    Command::AppendEvents(Box::new(AppendEvents {
        tenant: TenantId::default(),
        name: StreamName::new("a/b").expect("valid"),
        events: vec![json(&json!(sequence))],
        producer: Some(ProducerStamp { id, epoch: 0, sequence }),
        expected: None,
        sequence: None,
        create: true,
        close: false,
    }))
}

fn delete() -> Command {
    Command::DeleteStream { tenant: TenantId::default(), name: StreamName::new("a/b").expect("valid") }
}

#[test]
fn rows_and_the_events_behind_them_are_worth_the_whole_log() {
    let mut harness = Harness::of(
        "do:
  - ask: { call: worker, with: { task: t } }
  - pause: { wait: { seconds: 5 } }",
    );
    let mut rows = Rows::new();
    let (open, closed) = (harness.start(&json!({})), harness.start(&json!({})));
    let offers = harness.offers();
    harness.expect(&append(0));
    harness.expect(&completion(&offers[1].token, &json!(1)));
    checkpoint(&mut harness, &mut rows);
    let from = harness.partition.next_position();
    harness.fire_next();
    harness.expect(&append(1));
    let mut recovered = Partition::new(harness.config.clone());
    admit(&mut recovered, &rows, &RowName::Partition);
    recovered.begin_at(from);
    for run in [open, closed] {
        admit(&mut recovered, &rows, &RowName::OpenRun(run));
    }
    for logged in harness.log.iter().filter(|logged| logged.placed.position >= from) {
        for _ in 0..2 {
            for need in recovered.needs_to_fold(logged.bytes.stream) {
                if let Need::Row(name) = need {
                    admit(&mut recovered, &rows, &name);
                }
            }
        }
        let event = stored::decode(&logged.bytes, |ordinal| recovered.run_of(ordinal)).expect("it reads back");
        recovered.apply(&event, logged.placed, &mut Vec::new());
    }
    assert!(recovered.runs().eq(harness.partition.runs()));
    assert_eq!(recovered.effects(), harness.partition.effects());
    assert_eq!(recovered.next_wake(), harness.partition.next_wake());
    assert_eq!(recovered.digest(), harness.partition.digest());
    // The rows of both differ in nothing.
    let again =
        |partition: &mut Partition| partition.take_dirty().into_iter().collect::<BTreeMap<_, Option<RowImage>>>().len();
    assert_eq!(again(&mut recovered), again(&mut harness.partition));
}

#[test]
fn what_was_forgotten_comes_back_when_it_is_needed() {
    let mut harness = Harness::of("do:\n  - a: { set: { n: 1 } }");
    let mut rows = Rows::new();
    let start = harness.keyed("k", &json!({}));
    let run = start.run;
    let first = send(&mut harness, &rows, &Command::StartRun(Box::new(start)));
    assert_eq!(first, Ok(Answer::Started { run, duplicate: false }));
    assert!(send(&mut harness, &rows, &append(0)).is_ok());
    checkpoint(&mut harness, &mut rows);
    harness.partition.evict(0);
    assert_eq!(harness.partition.run(run), None, "a closed run is forgotten");
    let again = harness.keyed("k", &json!({}));
    let duplicate = send(&mut harness, &rows, &Command::StartRun(Box::new(again)));
    assert_eq!(duplicate, Ok(Answer::Started { run, duplicate: true }));
    let Ok(Answer::Appended { duplicate, end, .. }) = send(&mut harness, &rows, &append(0)) else {
        panic!("it is known")
    };
    assert!(duplicate && end.value() == 1);
    let cancel = Command::CancelRun { tenant: TenantId::default(), run, reason: String::new() };
    assert_eq!(send(&mut harness, &rows, &cancel), Err(Rejection::RunClosed(run)));
    // Forgotten things are no part of what a replay must find.
    admit_all(&mut harness, &rows);
}

fn admit_all(harness: &mut Harness, rows: &Rows) {
    for name in rows.keys() {
        admit(&mut harness.partition, rows, name);
    }
}

#[test]
fn what_is_dirty_is_not_forgotten() {
    let mut harness = Harness::of("do:\n  - a: { set: { n: 1 } }");
    let run = harness.start(&json!({}));
    harness.expect(&append(0));
    harness.partition.evict(0);
    assert!(harness.partition.run(run).is_some());
    let Ok((_, Answer::Appended { duplicate: true, .. })) = harness.send(&append(0)) else { panic!("it is known") };
}

/// The row of a deleted stream goes with the next checkpoint; until that is durable it can still be read.
#[test]
fn a_deleted_stream_does_not_come_back_with_its_old_row() {
    let mut harness = Harness::new();
    let mut rows = Rows::new();
    assert!(send(&mut harness, &rows, &append(0)).is_ok());
    checkpoint(&mut harness, &mut rows);
    assert_eq!(send(&mut harness, &rows, &delete()), Ok(Answer::Done));
    let not_found = Err(Rejection::StreamNotFound(StreamName::new("a/b").expect("valid")));
    assert_eq!(send(&mut harness, &rows, &delete()), not_found, "the row is older than the state");
    // The checkpoint that deletes the row is on its way, but the old row can still be read.
    let mut later = rows.clone();
    checkpoint(&mut harness, &mut later);
    assert_eq!(send(&mut harness, &rows, &delete()), not_found);
    let Ok(Answer::Appended { offset, duplicate, .. }) = send(&mut harness, &rows, &append(0)) else {
        panic!("a new life")
    };
    assert_eq!((offset.map(types::Offset::value), duplicate), (Some(0), false));
}

/// A producer of an earlier life is not asked about, whatever its row says.
#[test]
fn a_producer_of_an_earlier_life_is_not_known_on_the_new_one() {
    let mut harness = Harness::new();
    let mut rows = Rows::new();
    assert!(send(&mut harness, &rows, &append(0)).is_ok());
    assert!(send(&mut harness, &rows, &append(1)).is_ok());
    assert!(send(&mut harness, &rows, &delete()).is_ok());
    checkpoint(&mut harness, &mut rows);
    harness.partition.evict(0);
    assert_eq!(send(&mut harness, &rows, &append(2)), Err(Rejection::ProducerGap { expected: 0, got: 2 }));
    let Ok(Answer::Appended { duplicate, .. }) = send(&mut harness, &rows, &append(0)) else { panic!("a new life") };
    assert!(!duplicate);
}

/// What is in memory and what only its row holds are one partition: no one can tell from outside.
#[test]
fn a_run_that_waits_leaves_memory_and_comes_back_for_whatever_names_it() {
    let mut harness = Harness::of(
        "do:
  - pause: { wait: { seconds: 5 } }
  - ask: { call: worker, with: { task: t } }",
    );
    let mut rows = Rows::new();
    let [timed, cancelled, signalled] = [(); 3].map(|()| harness.start(&json!({ "n": 1 })));
    checkpoint(&mut harness, &mut rows);
    let (digest, steps) = (harness.partition.digest(), harness.partition.open_steps());
    let (wake, effects) = (harness.partition.next_wake(), harness.partition.effects());
    assert!(harness.partition.open_bytes() > 0);
    harness.partition.evict_idle(0);
    assert_eq!(harness.partition.open_bytes(), 0);
    assert_eq!(harness.partition.idle_runs().collect::<Vec<_>>(), [timed, cancelled, signalled]);
    assert_eq!((harness.partition.digest(), harness.partition.open_steps()), (digest, steps));
    assert_eq!((harness.partition.next_wake(), harness.partition.effects()), (wake, effects));

    let tenant = TenantId::default();
    let cancel = Command::CancelRun { tenant: tenant.clone(), run: cancelled, reason: "enough".to_owned() };
    assert!(send(&mut harness, &rows, &cancel).is_ok());
    let signal =
        Command::SignalRun { tenant, run: signalled, name: "go".to_owned(), id: None, payload: types::Payload::null() };
    assert!(send(&mut harness, &rows, &signal).is_ok());
    harness.now = harness.partition.next_wake().expect("timers stay");
    for due in harness.partition.due(harness.now, 10) {
        assert!(send(&mut harness, &rows, &due).is_ok());
    }
    assert_eq!(harness.partition.idle_runs().count(), 0);
    assert!(harness.partition.run(cancelled).is_some_and(|run| run.status.is_closed()));
    assert_eq!(harness.offers().len(), 2, "both others came to their step");
    // Nothing was lost on the way out and back.
    assert_eq!(harness.replayed().digest(), harness.partition.digest());
}

#[test]
fn a_run_that_is_owed_something_or_is_dirty_stays_in_memory() {
    let mut harness = Harness::of(
        "do:
  - ask: { call: worker, with: { task: t } }
  - pause: { wait: { seconds: 5 } }",
    );
    let mut rows = Rows::new();
    let run = harness.start(&json!({}));
    checkpoint(&mut harness, &mut rows);
    harness.partition.evict_idle(0);
    assert!(harness.partition.run(run).is_some(), "a worker may answer at any moment");
    let offers = harness.offers();
    harness.expect(&completion(&offers[0].token, &json!(1)));
    harness.partition.evict_idle(0);
    assert!(harness.partition.run(run).is_some(), "its row is older than the state");
    checkpoint(&mut harness, &mut rows);
    let held = harness.partition.open_bytes();
    harness.partition.evict_idle(held);
    assert!(harness.partition.run(run).is_some(), "there is room");
    harness.partition.evict_idle(held - 1);
    assert!(harness.partition.is_idle(run));
    // Looked at, and put away again.
    admit(&mut harness.partition, &rows, &RowName::OpenRun(run));
    assert!(harness.partition.run(run).is_some() && !harness.partition.is_idle(run));
    assert_eq!(harness.partition.open_bytes(), held);
    harness.partition.put_away(run);
    assert!(harness.partition.is_idle(run));
    admit_all(&mut harness, &rows);
}

/// Whose row cannot be read just now is not in the way of others, and is looked at again.
#[test]
fn timers_of_a_run_that_cannot_be_read_are_put_off() {
    let mut harness = Harness::of("do:\n  - pause: { wait: { seconds: 5 } }");
    let mut rows = Rows::new();
    let [lost, other] = [(); 2].map(|()| harness.start(&json!({ "n": 1 })));
    checkpoint(&mut harness, &mut rows);
    harness.partition.evict_idle(0);
    let due = harness.partition.next_wake().expect("both wait");
    let later = due.plus_millis(60_000);
    harness.partition.put_off(lost, later);
    harness.now = due;
    let timers = harness.partition.due(due, 10);
    assert!(matches!(timers.as_slice(), [Command::FireTimer { run, .. }] if *run == other), "{timers:?}");
    assert!(send(&mut harness, &rows, &timers[0]).is_ok());
    assert_eq!(harness.partition.next_wake(), Some(later));
    // It could be read after all.
    let signal = Command::SignalRun {
        tenant: TenantId::default(),
        run: lost,
        name: "go".to_owned(),
        id: None,
        payload: types::Payload::null(),
    };
    assert!(send(&mut harness, &rows, &signal).is_ok());
    let timers = harness.partition.due(due, 10);
    assert!(matches!(timers.as_slice(), [Command::FireTimer { run, .. }] if *run == lost), "{timers:?}");
    assert!(send(&mut harness, &rows, &timers[0]).is_ok());
    assert_eq!(harness.partition.next_wake(), None);
}

/// The input that the data flow and the step begin with is one value, in memory and in the row, also when it comes back.
#[test]
fn what_a_run_holds_in_several_places_is_kept_once() {
    const INPUT: usize = 100_000;
    let mut harness = Harness::of("do: [ { ask: { call: worker, with: { task: t } } } ]");
    let mut rows = Rows::new();
    let run = harness.start(&json!("x".repeat(INPUT)));
    checkpoint(&mut harness, &mut rows);
    let held = harness.partition.open_bytes();
    assert!((INPUT..INPUT + 10_000).contains(&held), "{held}");
    let row = rows[&RowName::OpenRun(run)].len();
    assert!((INPUT..held).contains(&row), "{row}");

    let mut recovered = Partition::new(harness.config.clone());
    admit(&mut recovered, &rows, &RowName::OpenRun(run));
    assert_eq!(recovered.open_bytes(), held);
    assert_eq!((recovered.run(run), recovered.effects()), (harness.partition.run(run), harness.partition.effects()));
}
