//! An operator looks inside: how the work is spread, what stands in the log, live and in a directory, and takes events
//! out and in again.

use std::path::Path;

use headwater_client::{Appending, Client, StartRun, StreamStart};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{Home, ended, soon, stream};

const GREET: &str = r"
document: { dsl: '1.0.3', namespace: default, name: greet, version: '1.0.0' }
do:
  - say:
      set: { said: 'hello' }
";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

async fn append(client: &Client, name: &str, body: Value) {
    client.create_stream(&stream(name), None).await.expect("created");
    client.append(&stream(name), Appending::json(body.to_string())).await.expect("appended");
}

/// What is looked at in each story: two streams, one of them deleted, and a run.
async fn something(client: &Client) -> headwater_client::RunId {
    client.register_workflow(GREET).await.expect("registered");
    append(client, "agent-1/notes", json!([{ "n": 1 }, { "n": 2 }, { "n": 3 }])).await;
    append(client, "agent-2/notes", json!(["gone"])).await;
    client.delete_stream(&stream("agent-2/notes")).await.expect("deleted");
    client.create_stream(&stream("agent-3/raw"), Some("text/plain")).await.expect("created");
    let raw = Appending { content_type: "text/plain".to_owned(), ..Appending::json("plain") };
    client.append(&stream("agent-3/raw"), raw).await.expect("appended");
    let run = client.start_run(&StartRun::new("greet")).await.expect("started").run;
    ended(client, run).await;
    run
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().expect("a kind")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_reads_the_same_live_and_in_a_directory() {
    let home = Home::new().set("node.partitions", "3");
    let node = home.start().await;
    let (client, program) = (home.client(), home.program());
    let run = something(&client).await.to_string();
    let all = |printed: crate::support::Printed| printed.exits(0).json_lines();

    let notes = all(program.run(["--json", "log", "cat", "--stream", "agent-1/notes"]).await);
    assert_eq!(kinds(&notes), ["stream_created", "event", "event", "event"]);
    assert_eq!((&notes[2]["data"], &notes[2]["offset"]), (&json!({ "n": 2 }), &json!(1)));
    let raw = all(program.run(["--json", "log", "cat", "--stream", "agent-3/raw", "--kind", "event"]).await);
    assert_eq!((&raw[0]["content_type"], &raw[0]["base64"]), (&json!("text/plain"), &json!("cGxhaW4=")));
    let of_run = all(program.run(["--json", "log", "cat", "--run", &run]).await);
    assert_eq!(of_run[0]["kind"], "run_started");
    assert_eq!(of_run.last().expect("it ended")["kind"], "run_completed");
    let everything = all(program.run(["--json", "log", "cat"]).await);
    assert!(kinds(&everything).contains(&"workflow_registered") && kinds(&everything).contains(&"stream_deleted"));
    let limited = all(program.run(["--json", "log", "cat", "--limit", "2"]).await);
    assert_eq!(limited, everything[..2]);
    let empty = program.run(["log", "cat", "--since", "1h", "--before", "30m"]).await.exits(0);
    assert_eq!(empty.out, "");
    program.run(["log", "cat", "--partition", "9"]).await.exits(3).says(&["no such partition"]);
    program.run(["log", "cat", "--since", "yesterday"]).await.exits(2).says(&["is no time"]);
    let shown = program.run(["log", "cat", "--run", &run]).await.exits(0);
    assert!(
        shown.out.lines().next().is_some_and(|line| line.contains("run_started") && line.contains(&run)),
        "{shown}"
    );

    let live = program.run(["--json", "log", "partitions"]).await.exits(0).json();
    let recent: u64 =
        live["partitions"].as_array().expect("three").iter().map(|it| it["recent"].as_u64().expect("a count")).sum();
    assert_eq!(recent, everything.len() as u64);
    program.run(["log", "partitions"]).await.exits(0).says(&["PARTITION", "skew"]);
    let segments = program.run(["--json", "log", "segments"]).await.exits(0).json_lines();
    assert_eq!(segments.len(), 6, "two chains of three partitions, nothing sealed: {segments:?}");
    program.run(["log", "segments", "--partition", "9"]).await.exits(3).says(&["no such partition"]);
    let stats = program.run(["--json", "log", "stats"]).await.exits(0).json();
    let written = &stats["written"];
    assert!(written["block_bytes"].as_u64() > Some(0) && written["disk_bytes"].is_u64(), "{stats}");
    program.run(["log", "stats"]).await.exits(0).says(&["FAMILY", "write-ahead log", "since the start of the node"]);
    // A directory may be looked at while its node runs.
    let beside = program.run(["--json", "log", "cat", "--data", text(home.data())]).await.exits(0);
    assert!(beside.err.contains("in use by process"), "{beside}");
    assert_eq!(beside.json_lines(), everything);

    assert!(node.stop().await.success(), "{}", home.log());
    let stopped = all(program.run(["--json", "log", "cat", "--data", text(home.data())]).await);
    assert_eq!(stopped, everything);
    let load = program.run(["--json", "log", "partitions", "--data", text(home.data())]).await.exits(0).json();
    assert_eq!(load["skew_percent"], live["skew_percent"]);
    let stats = program.run(["--json", "log", "stats", "--data", text(home.data())]).await.exits(0).json();
    assert_eq!((&stats["records"], &stats["written"]), (&json!(everything.len()), &Value::Null), "{stats}");
    let last = all(program.run(["--json", "log", "tail", "-n", "1", "--data", text(home.data())]).await);
    let filled = load["partitions"].as_array().expect("three").iter().filter(|partition| partition["end"] != 0).count();
    assert_eq!(last.len(), filled, "one a partition that has any: {last:?}");
    program.run(["log", "tail", "-f", "--data", text(home.data())]).await.exits(2).says(&["asks a running node"]);
    program.run(["log", "cat"]).await.exits(5).says(&["cannot be reached"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_is_followed() {
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    append(&client, "agent-1/notes", json!([0])).await;
    let mut following = home.program().start(["--json", "log", "tail", "-f", "--kind", "event"]);
    let mut lines = BufReader::new(following.stdout.take().expect("a pipe")).lines();
    for n in 0..5 {
        let line = soon("an event", lines.next_line()).await.expect("text").expect("it goes on");
        let record: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&record["data"], &record["stream"]), (&json!(n), &json!("agent-1/notes")));
        client.append(&stream("agent-1/notes"), Appending::json(format!("[{}]", n + 1))).await.expect("appended");
    }
    following.kill().await.expect("it runs");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_is_imported_once() {
    let (from, to) = (Home::new(), Home::new());
    let node = from.start().await;
    something(&from.client()).await;
    for format in ["jsonl", "cloudevents"] {
        let exported = from.program().run(["log", "export", "--format", format]).await.exits(0);
        assert!(exported.err.contains("1 events of streams that were deleted are left out"), "{exported}");
        let file = from.file(format, &exported.out);
        let target = to.start().await;
        let arguments = ["--json", "log", "import", "--format", format, "--producer", format, text(&file)];
        let first = to.program().run(arguments).await.exits(0).json();
        assert_eq!((&first["appended"], &first["there_before"]), (&json!(4), &json!(0)), "{first}");
        assert!(first["of_runs"].as_u64() > Some(1), "{first}");
        let again = to.program().run(arguments).await.exits(0).json();
        assert_eq!((&again["appended"], &again["there_before"]), (&json!(0), &json!(4)), "{again}");
        let client = to.client();
        let notes = client.read_stream(&stream("agent-1/notes"), StreamStart::Begin, false).await.expect("read");
        let notes: Value = serde_json::from_slice(&notes.body).expect("JSON");
        assert_eq!(notes, json!([{ "n": 1 }, { "n": 2 }, { "n": 3 }]));
        let raw = client.read_stream(&stream("agent-3/raw"), StreamStart::Begin, false).await.expect("read");
        assert_eq!(raw.body.as_ref(), b"plain");
        for name in ["agent-1/notes", "agent-3/raw"] {
            client.delete_stream(&stream(name)).await.expect("deleted");
        }
        assert!(target.stop().await.success(), "{}", to.log());
    }
    let target = to.start().await;
    let wrong = to.file("wrong", "{\"specversion\":\"1.0\"}\n");
    let arguments = ["log", "import", "--format", "cloudevents", text(&wrong)];
    to.program().run(arguments).await.exits(2).says(&["line 1", "`source` is missing"]);
    assert!(node.stop().await.success() && target.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_says_when_its_workflow_was_registered() {
    let home = Home::new();
    let node = home.start().await;
    let run = something(&home.client()).await;
    let listed = home.client().workflows().await.expect("listed").remove(0);
    let view = home.client().run(run).await.expect("it is there");
    assert_eq!(view.workflow, listed);
    assert!(!view.workflow.registered.starts_with("1970"), "{}", view.workflow.registered);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduled_step_names_its_function() {
    const CALL: &str = r"
document: { dsl: '1.0.3', namespace: default, name: call, version: '1.0.0' }
do:
  - first:
      call: worker
      with: { task: tell, queue: tellers }
  - second:
      call: worker
      with: { task: count }
";
    let home = Home::new();
    let node = home.start().await;
    let (client, program) = (home.client(), home.program());
    client.register_workflow(CALL).await.expect("registered");
    let body = ["--", "sh", "-c", "read input; echo 1"];
    let _tell = program.start(["worker", "--queue", "tellers", "--task", "tell"].into_iter().chain(body));
    let _count = program.start(["worker", "--task", "count"].into_iter().chain(body));
    let watched = program.run(["run", "start", "call", "--watch"]).await.exits(0);
    assert!(watched.err.contains("→ /do/0/first (") && !watched.err.contains("(0)"), "{watched}");
    let run = program.run(["--json", "run", "list"]).await.exits(0).json()["runs"][0]["run"].clone();
    let events = program.run(["--json", "run", "events", run.as_str().expect("an id")]).await.exits(0).json_lines();
    let scheduled = events.iter().filter(|event| event["type"] == "step_scheduled").map(|event| &event["data"]);
    let named: Vec<_> = scheduled.map(|data| (data["task"].clone(), data["queue"].clone())).collect();
    assert_eq!(named, [(json!("tell"), json!("tellers")), (json!("count"), json!("default"))]);
    assert!(node.stop().await.success(), "{}", home.log());
}
