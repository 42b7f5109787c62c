//! What a stopped node's directory can be held to: every event follows from its cause, and one that was changed, however
//! carefully, is named with its position.

use std::path::Path;
use std::sync::mpsc;

use engine::stored::{self, Encoded, Place};
use engine::{Class, Event, RunEvent};
use headwater_client::{Appending, StartRun};
use serde_json::json;
use storage::{AppendBatch, Log, Options, ReadOnlyLog, Record, RocksLog, StoredRecord};
use types::{PartitionId, Payload, Position};

use crate::support::{Home, Printed, ended, stream};

const DEFINITION: &str = r#"
document: { dsl: '1.0.3', namespace: default, name: review, version: '1.0.0' }
do:
  - look:
      set: '${ . + { looked: true } }'
  - rest:
      wait: { milliseconds: 10 }
  - judge:
      set: '${ { verdict: (if .looked then "approved" else "unknown" end) } }'
"#;

/// A node's directory with closed runs and streams in it; the node is stopped.
async fn used(home: &Home) {
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");
    for _ in 0..3 {
        let started = client.start_run(&StartRun::new("review").input(json!({}))).await.expect("started");
        let view = ended(&client, started.run).await;
        assert_eq!(view.output, Some(json!({ "verdict": "approved" })));
    }
    client.create_stream(&stream("agent-1/notes"), None).await.expect("created");
    client.append(&stream("agent-1/notes"), Appending::json("[1,2,3]")).await.expect("appended");
    assert!(node.stop().await.success(), "{}", home.log());
}

async fn verify(home: &Home, directory: &Path) -> Printed {
    home.program().run(["--json".as_ref(), "log".as_ref(), "verify".as_ref(), directory.as_os_str()]).await
}

async fn replay(home: &Home, directory: &Path) -> Printed {
    home.program().run(["--json".as_ref(), "replay".as_ref(), "--verify".as_ref(), directory.as_os_str()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_is_replayed_and_verified() {
    let home = Home::new();
    let node = home.start().await;
    replay(&home, home.data()).await.exits(4).says(&["in use", "stop that node"]);
    verify(&home, home.data()).await.exits(4).says(&["in use", "stop that node"]);
    assert!(node.stop().await.success(), "{}", home.log());
    used(&home).await;
    let report = replay(&home, home.data()).await.exits(0).json();
    assert_eq!(report["verified"], true);
    let sum = |name: &str| {
        let partitions = report["partitions"].as_array().expect("a list");
        partitions.iter().map(|partition| partition[name].as_u64().expect("a number")).sum::<u64>()
    };
    // Each run has two causes, its start and its timer, and five events that follow.
    assert_eq!((sum("causes"), sum("compared"), sum("open_runs")), (6, 15, 0), "{report}");
    let again = replay(&home, home.data()).await.exits(0).json();
    assert_eq!(again, report, "looking changes nothing");
    let sound = verify(&home, home.data()).await.exits(0).json();
    assert_eq!((&sound["sound"], &sound["clean"], &sound["damage_count"]), (&json!(true), &json!(true), &json!(0)));
    assert_eq!(sound["records"], sum("events"), "both read the whole log");
    home.program().run(["replay", "/nowhere/at/all"]).await.exits(2);
    home.program().run(["log", "verify", "/nowhere/at/all"]).await.exits(2);
}

/// Copies a log record by record, as whoever can compute a checksum could; `change` may alter what is written.
fn copy(from: &Path, to: &Path, mut change: impl FnMut(PartitionId, &mut StoredRecord)) {
    let (old, _) = ReadOnlyLog::open(from).expect("a stopped node's log");
    let options = Options { partitions: old.partitions(), ..Options::default() };
    let (new, _) = RocksLog::open(to, &options).expect("a new directory");
    for partition in old.partitions().partitions() {
        let end = old.bounds(partition).end;
        let mut next = Position::new(0);
        while next < end {
            let page = old.read(partition, next, 1, 1 << 20).expect("an undamaged log");
            let mut stored = page.into_iter().next().expect("a record before the end");
            change(partition, &mut stored);
            let batch = AppendBatch { partition, expected: next, records: vec![stored.record], rows: Vec::new() };
            let (sender, durable) = mpsc::channel();
            new.append(batch, Box::new(move |outcome| drop(sender.send(outcome))));
            next = durable.recv().expect("it is answered").expect("it is durable");
        }
    }
    new.close().expect("closed");
}

/// The record with another verdict, and with every checksum right; `None` when it holds no verdict.
fn forge(record: &Record) -> Option<Record> {
    let encoded = Encoded {
        schema: record.schema,
        class: Class::Fact,
        stream: record.stream,
        offset: record.offset,
        output: None,
        key: record.key.clone(),
        headers: record.headers.clone(),
        payload: record.payload.clone(),
    };
    // Who runs is not in the record: its stream says so.
    let run = "00000000-01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("a run's id");
    let Ok(Event::Run {
        event: RunEvent::TaskExited { scope, path, skipped, output: Some(output), context, next },
        ..
    }) = stored::decode(&encoded, |_| Some(run))
    else {
        return None;
    };
    if output.data.as_ref() != br#"{"verdict":"approved"}"# {
        return None;
    }
    let output = Some(Payload::json(r#"{"verdict":"rejected"}"#));
    let event = Event::Run { run, event: RunEvent::TaskExited { scope, path, skipped, output, context, next } };
    let forged = stored::encode(&event, Place { stream: record.stream, offset: record.offset });
    Some(Record { payload: forged.payload, ..record.clone() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_that_was_changed_with_a_good_checksum_is_named_with_its_position() {
    let home = Home::new();
    used(&home).await;
    let (honest, forged) = (home.data().with_file_name("honest"), home.data().with_file_name("forged"));

    copy(home.data(), &honest, |_, _| {});
    replay(&home, &honest).await.exits(0);

    let mut place = None;
    copy(home.data(), &forged, |partition, stored| {
        if place.is_none()
            && let Some(forged) = forge(&stored.record)
        {
            stored.record = forged;
            place = Some((partition, stored.position));
        }
    });
    let (partition, position) = place.expect("the verdict stands in the log");
    let found = replay(&home, &forged).await.exits(74);
    found.says(&[&format!("partition {partition}"), &format!("position {position}"), "rejected", "approved"]);
    // Without deriving anything it cannot be seen: every checksum is right.
    verify(&home, &forged).await.exits(0);
    home.program().run(["replay".as_ref(), forged.as_os_str()]).await.exits(0);
}
