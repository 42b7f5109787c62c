//! The program as people use it: definitions, runs, streams and workers from a shell, with exit codes for scripts.

use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::{Home, NodeProcess, Program, Signal, end, soon};

const GREET: &str = r"
document: { dsl: '1.0.3', namespace: default, name: greet, version: '1.0.0' }
use:
  retries:
    never: { limit: { attempt: { count: 1 } } }
do:
  - say:
      call: worker
      with: { task: say, stream: true, input: { name: '${ .name }' }, retry: never }
";

const WAIT: &str = r"
document: { dsl: '1.0.3', namespace: default, name: rest, version: '1.0.0' }
do:
  - rest:
      wait: { hours: 1 }
";

const MISTAKEN: &str = r"
document: { dsl: '1.0.3', namespace: default, name: mistaken, version: '1.0.0' }
do:
  - ask:
      call: http
";

/// Reads its input, streams two tokens and ends with a result; fails on purpose when it is asked to.
const SAY: &str = r#"
read input
case "$input" in *trouble*) echo "no words for this" >&2; exit 3 ;; esac
echo '"Hello, "'
echo '"you."'
printf '{"input":%s,"attempt":%s}\n' "$input" "$HEADWATER_ATTEMPT"
"#;

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

async fn with_greet(home: &Home) -> (NodeProcess, Program, Child) {
    let node = home.start().await;
    let program = home.program();
    let file = home.file("greet.yaml", GREET);
    program.run(["workflow", "register", path(&file)]).await.exits(0).says(&["registered default/greet@1.0.0"]);
    let worker = program.start(["worker", "--task", "say", "--slots", "2", "--", "sh", "-c", SAY]);
    (node, program, worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_checked_registered_listed_and_shown() {
    let home = Home::new();
    let program = home.program();
    let (good, bad) = (home.file("greet.yaml", GREET), home.file("mistaken.yaml", MISTAKEN));
    // Checking needs no node.
    program.run(["workflow", "validate", path(&good)]).await.exits(0).says(&["is valid"]);
    let checked = program.run(["workflow", "validate", path(&bad)]).await.exits(1);
    checked.says(&["mistaken.yaml:5:13", "call: worker"]);
    let checked = program.run(["--json", "workflow", "validate", path(&bad)]).await.exits(1).json();
    assert_eq!((&checked["problems"][0]["line"], &checked["problems"][0]["column"]), (&json!(5), &json!(13)));
    assert_eq!(checked["problems"][0]["code"], "unsupported_construct");
    program.run(["workflow", "list"]).await.exits(5).says(&["cannot be reached"]);

    let node = home.start().await;
    program.run(["workflow", "list"]).await.exits(0).says(&["no workflow is registered"]);
    program.run(["workflow", "register", path(&good)]).await.exits(0).says(&["registered default/greet@1.0.0"]);
    program.run(["workflow", "register", path(&good)]).await.exits(0).says(&["was registered before"]);
    let refused = program.run(["workflow", "register", path(&bad), path(&good)]).await.exits(1);
    refused.says(&["mistaken.yaml:5:13", "was not registered", "was registered before"]);
    let refused = program.run(["--json", "workflow", "register", path(&bad)]).await.exits(1).json();
    assert_eq!(refused["problems"][0]["line"], 5, "{refused}");
    assert_eq!(refused["problems"][0]["code"], "unsupported_construct", "{refused}");
    program.run_with(["workflow", "register", "-"], WAIT).await.exits(0).says(&["default/rest@1.0.0"]);
    let listed = program.run(["workflow", "list"]).await.exits(0).says(&["greet", "rest", "1.0.0"]);
    assert!(!listed.out.contains("mistaken"), "{listed}");
    let listed = program.run(["--json", "workflow", "list"]).await.exits(0).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert_eq!(program.run(["workflow", "show", "greet"]).await.exits(0).out, GREET);
    let shown = program.run(["--json", "workflow", "show", "default/greet@1.0.0"]).await.exits(0).json();
    assert_eq!(shown["source"], GREET);
    program.run(["workflow", "show", "nobody"]).await.exits(3).says(&["nobody"]);
    program.run(["workflow", "show", "greet@9.9.9"]).await.exits(3);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_started_watched_listed_and_looked_into() {
    let home = Home::new();
    let (node, program, worker) = with_greet(&home).await;
    let watched = program.run(["run", "start", "greet", "--input", r#"{"name":"Ann"}"#, "--watch"]).await.exits(0);
    assert_eq!(watched.out, "Hello, you.\n", "tokens on standard output, all else beside: {watched}");
    watched.says(&["/do/0/say", "completed with", "\"Ann\""]);
    let waited = program.run(["--json", "run", "start", "greet", "--input", r#"{"name":"Bob"}"#, "--wait"]).await;
    let view = waited.exits(0).json();
    assert_eq!(view["output"], json!({ "input": { "name": "Bob" }, "attempt": 1 }));

    let failed = program.run(["run", "start", "greet", "--input", r#"{"name":"trouble"}"#, "--watch"]).await.exits(1);
    failed.says(&["no words for this"]);

    let key = ["run", "start", "greet", "--input", r#"{"name":"Cid"}"#, "--idempotency-key", "once", "--tag", "a=b"];
    let run = program.run(key).await.exits(0).word();
    let again = program.run(key).await.exits(0);
    assert_eq!(again.word(), run, "{again}");
    program.run(["run", "events", &run, "--follow"]).await.exits(0).says(&[
        "run_started",
        "step_completed",
        "run_completed",
    ]);
    program.run(["run", "show", &run]).await.exits(0).says(&[&run, "completed", "a=b", "\"Cid\""]);
    let shown = program.run(["--json", "run", "show", &run]).await.exits(0).json();
    assert_eq!((shown["run"].as_str(), shown["status"].as_str()), (Some(run.as_str()), Some("completed")));
    let steps = program.run(["--json", "run", "events", &run, "--type", "step_completed"]).await.exits(0).json_lines();
    assert_eq!((steps.len(), &steps[0]["type"]), (1, &json!("step_completed")));

    let listed = program.run(["--json", "run", "list"]).await.exits(0).json();
    assert_eq!(listed["runs"].as_array().map(Vec::len), Some(4));
    let listed = program.run(["--json", "run", "list", "--status", "failed"]).await.exits(0).json();
    assert_eq!(listed["runs"].as_array().map(Vec::len), Some(1));
    let page = program.run(["--json", "run", "list", "--limit", "3"]).await.exits(0).json();
    let next = page["next"].as_str().expect("there is more").to_owned();
    let rest = program.run(["--json", "run", "list", "--after", &next]).await.exits(0).json();
    assert_eq!(rest["runs"].as_array().map(Vec::len), Some(1), "{rest}");
    program.run(["run", "list", "--workflow", "nobody"]).await.exits(0).says(&["no runs"]);

    assert_eq!(end(worker, Signal::INT).await, Some(0), "a worker that is interrupted finishes and ends well");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_signalled_and_cancelled() {
    let home = Home::new();
    let node = home.start().await;
    let program = home.program();
    program.run_with(["workflow", "register", "-"], WAIT).await.exits(0);
    let run = program.run(["run", "start", "rest"]).await.exits(0).word();
    let signal = ["run", "signal", &run, "hurry", "--data", r#"{"up":true}"#, "--id", "s-1"];
    program.run(signal).await.exits(0).says(&["kept with the run"]);
    program.run(signal).await.exits(0).says(&["had this signal before"]);
    program.run(["run", "show", &run]).await.exits(0).says(&["waiting", "a wait until"]);
    // What is there ends though the run goes on, and though its last event is of another type.
    let started = program.run(["run", "events", &run, "--type", "run_started"]).await.exits(0);
    assert_eq!(started.out.lines().count(), 1, "{started}");
    let nothing = program.run(["run", "events", &run, "--type", "run_completed"]).await.exits(0);
    assert_eq!(nothing.out, "", "{nothing}");
    program.run(["run", "cancel", &run, "--reason", "enough"]).await.exits(0).says(&["asked"]);
    let ended = program.run(["run", "events", &run, "--follow"]).await.exits(0);
    ended.says(&["signal_received", "enough", "run_cancelled"]);
    let shown = program.run(["--json", "run", "show", &run]).await.exits(0).json();
    assert_eq!(shown["status"], "cancelled");
    program.run(["run", "signal", &run, "late"]).await.exits(4).says(&["run_closed"]);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_appended_to_read_and_followed() {
    let home = Home::new();
    let node = home.start().await;
    let program = home.program();
    let appended = program.run(["stream", "append", "agent-1/notes", r#"{"a":1}"#, "plain text"]).await.exits(0);
    assert_eq!(appended.out, "0\n1\n");
    let appended = program.run_with(["--json", "stream", "append", "agent-1/notes"], "{\"b\":2}\n3\n").await.exits(0);
    let offsets: Vec<_> = appended.json_lines().iter().map(|line| line["offset"].clone()).collect();
    assert_eq!(offsets, [json!(2), json!(3)]);
    let read = program.run(["stream", "read", "agent-1/notes"]).await.exits(0);
    assert_eq!(read.out.lines().count(), 4, "{read}");
    let cursor = read.err.split("--from ").nth(1).expect("it says where to go on").trim().to_owned();
    let read = program.run(["--json", "stream", "read", "agent-1/notes"]).await.exits(0).json_lines();
    let data: Vec<_> = read.iter().map(|line| line["data"].clone()).collect();
    assert_eq!(data, [json!({ "a": 1 }), json!("plain text"), json!({ "b": 2 }), json!(3)]);

    let nothing = program.run(["stream", "read", "agent-1/notes", "--type", "nothing"]).await.exits(0);
    assert_eq!((nothing.out.as_str(), nothing.err.contains(&cursor)), ("", true), "it stands behind all: {nothing}");

    let mut tail = program.start(["--json", "stream", "tail", "agent-1/notes", "--from", &cursor]);
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    program.run(["stream", "append", "agent-1/notes", "5"]).await.exits(0);
    let line = soon("the new event", lines.next_line()).await.expect("text").expect("not over");
    let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&event["offset"], &event["data"]), (&json!(4), &json!(5)));
    assert_eq!(end(tail, Signal::INT).await, Some(130));

    // A cursor behind the end, and one of another stream, are not taken for one at the head.
    let beyond = format!("{}00ff", &cursor[..cursor.len() - 4]);
    let read = program.run(["--json", "stream", "read", "agent-1/notes", "--from", &beyond]).await.exits(0);
    assert_eq!(read.json_lines()[0]["gap"]["reason"], "log_truncated", "{read}");
    let other = format!("ffff{}", &cursor[4..]);
    let read = program.run(["stream", "read", "agent-1/notes", "--from", &other]).await.exits(0);
    read.says(&["events are missing here"]);

    // What is no JSON stands as on the wire, and what is no event is a line as well.
    let binary = reqwest::Client::new().put(format!("{}/v1/streams/agent-1/bytes", home.server()));
    let binary = binary.header("content-type", "application/octet-stream").header("stream-closed", "true");
    let created = soon("an answer", binary.body(vec![0xff, 0xfe, 0]).send()).await.expect("an answer");
    assert!(created.status().is_success(), "{created:?}");
    let lines =
        program.run(["--json", "stream", "tail", "agent-1/bytes", "--from", "begin"]).await.exits(0).json_lines();
    assert_eq!((&lines[0]["base64"], &lines[1]), (&json!("//4A"), &json!({ "end": "closed" })), "{lines:?}");

    let pin = ["stream", "pin", "agent-1/notes", "--reader", "me", "--at", "begin"];
    program.run(pin).await.exits(2).says(&["not a cursor", "stream read"]);
    program.run(["stream", "read", "agent-2/notes"]).await.exits(3).says(&["agent-2/notes"]);
    program.run(["stream", "read", "agent-1/notes", "--from", "rubbish"]).await.exits(2);
    program.run(["stream", "append", "system/audit", "1"]).await.exits(2).says(&["reserved_name"]);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_can_tell_mistakes_apart_by_the_exit_code() {
    const NO_RUN: &str = "00000000-01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let home = Home::new();
    let program = home.program();
    program.run(["run", "list"]).await.exits(5).says(&["cannot be reached"]);
    let node = home.start().await;
    program.run(["run", "start", "nobody"]).await.exits(3).says(&["workflow_not_found"]);
    program.run(["run", "show", NO_RUN]).await.exits(3).says(&["run_not_found"]);
    program.run(["run", "cancel", NO_RUN]).await.exits(3);
    program.run(["run", "show", "rubbish"]).await.exits(2);
    program.run(["run", "start", "nobody", "--input", "{"]).await.exits(2).says(&["JSON"]);
    program.run(["run", "strt"]).await.exits(2).says(&["start"]);
    program.run(["run", "list", "--status", "bogus"]).await.exits(2).says(&["bogus", "running", "cancelled"]);
    for wrong in [&["--task", ""][..], &["--task", "a", "--queue", ""], &["--task", "a", "--slots", "0"]] {
        program.run(["worker"].iter().chain(wrong).chain(&["--", "true"])).await.exits(2);
    }
    let twice = ["worker", "--task", "a", "--task", "a", "--", "true"];
    program.run(twice).await.exits(2).says(&["\"a\" is named twice"]);
    let twice = ["worker", "--task", "a", "--queue", "b", "--queue", "b", "--", "true"];
    program.run(twice).await.exits(2).says(&["--queue", "multiple times"]);
    assert_eq!(program.run(["--json", "run", "strt"]).await.exits(2).error()["code"], "usage");
    program.run(["worker", "--task", "a", "--", "there-is-no-such-program"]).await.exits(1);
    let problem = program.run(["--json", "run", "start", "nobody"]).await.exits(3);
    assert_eq!(problem.error()["code"], "workflow_not_found");
    assert!(node.stop().await.success(), "{}", home.log());
}
