//! A directory gets another number of partitions: nothing that happened changes, waiting runs go on, a worker finishes
//! what it held, a repeated request is still a repeat. Killed at any step, it ends all the same.

use std::path::Path;
use std::process::{Command, Stdio};

use headwater_client::{Appending, Client, Code, IdempotencyKey, ProducerId, Stamp, StartRun, StreamStart};
use node::repartition::{Repartition, repartition};
use serde_json::{Value, json};
use types::PartitionCount;

use crate::support::{Home, ended, insist, soon, stream};

const REST: &str = r"
document: { dsl: '1.0.3', namespace: default, name: rest, version: '1.0.0' }
do:
  - rest:
      wait: { seconds: 3 }
  - say:
      set: { said: 'rested' }
";

const HOLD: &str = r"
document: { dsl: '1.0.3', namespace: default, name: hold, version: '1.0.0' }
do:
  - hold:
      call: worker
      with: { task: hold, input: { name: '${ .name }' } }
";

/// Waits until a file says that it may end; tells how often it was begun.
const WAIT: &str = r#"
read input
echo begun >> "$1"
while [ ! -e "$2" ]; do sleep 0.05; done
printf '{"held":%s}\n' "$input"
"#;

const STREAMS: u64 = 12;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn name(number: u64) -> String {
    format!("agent-{number}/notes")
}

/// Streams with events and producers, closed and deleted ones among them.
async fn fill(client: &Client) {
    for number in 0..STREAMS {
        let notes = stream(&name(number));
        insist("a stream", || client.create_stream(&notes, None)).await;
        for seq in 0..3 {
            let mut appending = Appending::json(json!([[number, seq], "x".repeat(100)]).to_string());
            appending.producer = Some(producer(seq));
            appending.close = number == 3 && seq == 2;
            client.append(&notes, appending).await.expect("appended");
        }
    }
    client.delete_stream(&stream(&name(4))).await.expect("deleted");
    client.create_stream(&stream(&name(4)), Some("text/plain")).await.expect("created again");
}

fn producer(seq: u64) -> Stamp {
    Stamp { id: ProducerId::new("writer").expect("visible"), epoch: 7, seq }
}

async fn read(client: &Client, number: u64) -> (Vec<u8>, bool, String) {
    let page = client.read_stream(&stream(&name(number)), StreamStart::Begin, false).await.expect("read");
    (page.body.to_vec(), page.closed, client.stream(&stream(&name(number))).await.expect("it is there").content_type)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_in_its_new_partition_and_goes_on() {
    let home = Home::new().set("node.partitions", "4");
    let node = home.start().await;
    let (client, program) = (home.client(), home.program());
    for definition in [REST, HOLD] {
        client.register_workflow(definition).await.expect("registered");
    }
    fill(&client).await;
    let resting = client.start_run(&StartRun::new("rest")).await.expect("started").run;
    let (begun, go) = (home.file("begun", ""), home.data().with_file_name("go"));
    let _worker = program.start(["worker", "--task", "hold", "--", "sh", "-c", WAIT, "sh", text(&begun), text(&go)]);
    let key = || IdempotencyKey::new("once").expect("visible");
    let start = || StartRun::new("hold").input(json!({ "name": "a" })).idempotency_key(key());
    let held = client.start_run(&start()).await.expect("started").run;
    soon("the step to begin", async {
        while std::fs::read_to_string(&begun).expect("text").is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let cursor = client.stream(&stream(&name(0))).await.expect("it is there").end;
    let mut before = Vec::new();
    for number in 0..STREAMS {
        before.push(read(&client, number).await);
    }
    let events = program.run(["--json", "run", "events", &held.to_string()]).await.exits(0).json_lines();
    assert!(node.stop().await.success(), "{}", home.log());

    let data = text(home.data());
    let moved = program.run(["--json", "repartition", "--partitions", "7", data]).await.exits(0).json();
    assert_eq!((&moved["before"], &moved["after"], &moved["resumed"]), (&json!(4), &json!(7), &json!(false)));
    assert_eq!((&moved["streams"], &moved["runs"]), (&json!(STREAMS), &json!(2)), "{moved}");
    let original = Path::new(moved["original"].as_str().expect("a path"));
    assert!(original.join("FORMAT").is_file() && original.to_str().expect("text").ends_with(".before-1"));
    program.run(["log", "verify", data]).await.exits(0);
    program.run(["replay", "--verify", data]).await.exits(0);
    program.run(["repartition", "--partitions", "7", data]).await.exits(4).says(&["7 partitions already"]);

    let node = home.start().await;
    let load = program.run(["--json", "log", "partitions"]).await.exits(0).json();
    assert_eq!(load["partitions"].as_array().map(Vec::len), Some(7));
    for (number, before) in (0..).zip(before) {
        assert_eq!(read(&client, number).await, before, "stream {number}");
    }
    let refused = client.read_stream(&stream(&name(0)), StreamStart::At(cursor), false).await;
    assert_eq!(refused.expect_err("a cursor of before").code(), Some(Code::OtherHistory));
    let mut repeat = Appending::json("[1]");
    repeat.producer = Some(producer(2));
    assert!(client.append_once(&stream(&name(0)), repeat.clone()).await.expect("answered").duplicate);
    repeat.producer = Some(producer(3));
    assert!(!client.append_once(&stream(&name(0)), repeat).await.expect("appended").duplicate);
    let again = client.start_run(&start()).await.expect("answered");
    assert_eq!((again.run, again.duplicate), (held, true));

    std::fs::write(&go, "").expect("writable");
    assert_eq!(ended(&client, held).await.output, Some(json!({ "held": { "name": "a" } })));
    assert_eq!(std::fs::read_to_string(&begun).expect("text"), "begun\n", "the step's body ran once");
    assert_eq!(ended(&client, resting).await.output, Some(json!({ "said": "rested" })));
    let after = program.run(["--json", "run", "events", &held.to_string()]).await.exits(0).json_lines();
    assert_eq!(after[..events.len()], events[..], "what had happened had happened");
    assert!(node.stop().await.success(), "{}", home.log());
    program.run(["replay", "--verify", data]).await.exits(0);
}

const CHILD: &str = "HEADWATER_STORY_REPARTITION";

/// Repartitions, and ends at the step it is told as `kill -9` would end it.
#[test]
fn the_child() {
    let Some(task) = std::env::var_os(CHILD) else { return };
    let task = task.into_string().expect("text");
    let (at, directory) = task.split_once('|').expect("two parts");
    let mut left: u32 = at.parse().expect("a number");
    let request = Repartition { partitions: PartitionCount::new(5).expect("in range"), history_seed: 17 };
    let mut die = |_| left = left.checked_sub(1).unwrap_or_else(|| std::process::abort());
    repartition(Path::new(directory), request, &mut die).expect("it is repartitioned");
}

/// Whether it came to its end.
fn child(at: u32, directory: &Path) -> bool {
    let this = std::env::current_exe().expect("a test is a program");
    let status = Command::new(this)
        .args(["repartition::the_child", "--exact", "--test-threads=1"])
        .env(CHILD, format!("{at}|{}", directory.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("it starts").success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_step_the_directory_is_whole_and_the_next_attempt_ends() {
    let home = Home::new().set("node.partitions", "3");
    let node = home.start().await;
    let (client, program, data) = (home.client(), home.program(), home.data().to_owned());
    fill(&client).await;
    assert!(node.stop().await.success(), "{}", home.log());
    let partitions = |verified: Value| verified["partitions"].clone();
    let mut killed = 0;
    // Each attempt is killed one step later than the one before; what one attempt had finished the next one need not do.
    while !child(killed, &data) {
        let verified = program.run(["--json", "log", "verify", text(&data)]).await.exits(0).json();
        assert!([json!(3), json!(5)].contains(&partitions(verified)), "killed at step {killed}");
        killed += 1;
    }
    assert!(killed > 3, "only {killed} steps");
    let verified = program.run(["--json", "log", "verify", text(&data)]).await.exits(0).json();
    assert_eq!(partitions(verified), json!(5));
    let folder = data.parent().expect("a folder");
    let left: Vec<_> =
        std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("read").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(".repartition")), "{left:?}");
    assert!(!data.join("REPARTITION").exists());
    let _node = home.start().await;
    assert!(read(&client, 3).await.1, "a closed stream is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_wrote_meanwhile_is_not_lost() {
    let home = Home::new().set("node.partitions", "3");
    let node = home.start().await;
    let (client, data) = (home.client(), home.data().to_owned());
    fill(&client).await;
    assert!(node.stop().await.success(), "{}", home.log());
    // Verified and not exchanged: killed at the step before.
    let mut at = 0;
    while !data.with_file_name("data.repartition").join("REPARTITION").exists() {
        assert!(!child(at, &data), "it ended before it could be killed");
        at += 1;
    }
    let node = home.start().await;
    client.append(&stream(&name(0)), Appending::json("[\"meanwhile\"]")).await.expect("appended");
    let before = read(&client, 0).await;
    assert!(node.stop().await.success(), "{}", home.log());
    let moved = home.program().run(["--json", "repartition", "--partitions", "5", text(&data)]).await.exits(0).json();
    assert_eq!(moved["resumed"], json!(false), "it began anew");
    let _node = home.start().await;
    assert_eq!(read(&client, 0).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_repartitioned_is_left_alone() {
    let home = Home::new().set("node.partitions", "3");
    let program = home.program();
    let data = text(home.data()).to_owned();
    program.run(["repartition", "--partitions", "5", &data]).await.exits(1).says(&["No such file"]);
    program.run(["repartition", "--partitions", "0", &data]).await.exits(2).says(&["1024"]);
    let node = home.start().await;
    fill(&home.client()).await;
    program.run(["repartition", "--partitions", "5", &data]).await.exits(4).says(&["in use by process"]);
    assert!(node.stop().await.success(), "{}", home.log());
    let beside = home.data().with_file_name("data.repartition");
    std::fs::create_dir(&beside).expect("writable");
    std::fs::write(beside.join("letter.txt"), "dear").expect("writable");
    program.run(["repartition", "--partitions", "5", &data]).await.exits(4).says(&["is there already"]);
    assert_eq!(std::fs::read_to_string(beside.join("letter.txt")).expect("it is there"), "dear");
}
