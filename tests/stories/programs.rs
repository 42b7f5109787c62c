//! Programs as step workers that do what programs do: write without end, leave processes behind, are still at it when
//! their worker is told to stop. A step never hangs on them, and no process outlives its worker.

use std::path::{Path, PathBuf};

use headwater_client::RunView;
use serde_json::json;
use tokio::process::Child;

use crate::support::{Home, NodeProcess, Signal, end, ended, soon};

const ONCE: &str = r"
document: { dsl: '1.0.3', namespace: default, name: once, version: '1.0.0' }
use:
  retries:
    once: { delay: { milliseconds: 10 }, limit: { attempt: { count: 1 } } }
do:
  - it:
      call: worker
      with: { task: it, stream: true, retry: once }
";

/// A node with the workflow, and a worker whose program is this script.
async fn with_worker(home: &Home, arguments: &[&str], script: &str) -> (NodeProcess, Child) {
    let node = home.start().await;
    home.client().register_workflow(ONCE).await.expect("registered");
    let command = [&["worker", "--task", "it"], arguments, &["--", "sh", "-c", script]].concat();
    (node, home.program().start(command))
}

async fn outcome(home: &Home) -> RunView {
    let run = home.program().run(["run", "start", "once"]).await.exits(0).word();
    ended(&home.client(), run.parse().expect("a run's id")).await
}

/// A process that has written its id here.
async fn began(mark: &Path) -> String {
    let written = async {
        loop {
            match std::fs::read_to_string(mark) {
                Ok(pid) if pid.ends_with('\n') => return pid.trim().to_owned(),
                Ok(_) | Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    };
    soon("the program to begin", written).await
}

/// Whether a process is there that is not only waiting to be reaped.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// It was killed or is being killed.
async fn gone(pid: &str) {
    let gone = async {
        while lives(pid) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    soon("the program to be gone", gone).await;
}

fn mark(home: &Home) -> PathBuf {
    home.data().with_file_name("pid")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_without_end_fails_the_step_and_ends_the_program() {
    let home = Home::new();
    let mark = mark(&home);
    let script = format!("echo $$ > {}; while :; do printf xxxxxxxxxxxxxxxx; done", mark.display());
    let (node, worker) = with_worker(&home, &[], &script).await;
    let view = outcome(&home).await;
    assert_eq!(view.status, "failed");
    let error = view.error.expect("a failed run has an error");
    assert!(error.to_string().contains("line_too_long"), "{error}");
    gone(&began(&mark).await).await;
    assert_eq!(end(worker, Signal::TERM).await, Some(0), "nothing was running any more");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_leaves_a_process_behind_is_done_when_it_exits() {
    let home = Home::new();
    let mark = mark(&home);
    let script = format!("sleep 1000 & echo $! > {}; echo '{{\"done\":true}}'", mark.display());
    let (node, worker) = with_worker(&home, &[], &script).await;
    let view = outcome(&home).await;
    assert_eq!((view.status.as_str(), view.output), ("completed", Some(json!({ "done": true }))));
    gone(&began(&mark).await).await;
    assert_eq!(end(worker, Signal::INT).await, Some(0));
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_lets_its_program_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let mark = mark(&home);
        // It ends when it is told to, by a file that is there.
        let script =
            format!("echo $$ > {0}; while [ ! -e {0}.go ]; do sleep 0.05; done; echo '\"well\"'", mark.display());
        let (node, worker) = with_worker(&home, &["--grace", "600"], &script).await;
        let run = home.program().run(["run", "start", "once"]).await.exits(0).word();
        began(&mark).await;
        let go = async {
            home.client().run(run.parse().expect("a run's id")).await.expect("the node is there");
            std::fs::write(mark.with_file_name("pid.go"), "").expect("written");
        };
        let (exit, ()) = tokio::join!(end(worker, signal), go);
        assert_eq!(exit, Some(0), "{signal:?}");
        let view = ended(&home.client(), run.parse().expect("a run's id")).await;
        assert_eq!(view.output, Some(json!("well")), "{signal:?}: {view:?}");
        assert!(node.stop().await.success(), "{}", home.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_leaves_no_program_running() {
    let home = Home::new();
    let mark = mark(&home);
    // Neither it nor what it started listens to SIGTERM.
    let script = format!("trap '' TERM; echo $$ > {0}; sh -c 'echo $$ > {0}.child; sleep 1000'", mark.display());
    let (node, worker) = with_worker(&home, &["--grace", "0"], &script).await;
    let run = home.program().run(["run", "start", "once"]).await.exits(0).word();
    let (program, child) = (began(&mark).await, began(&mark.with_file_name("pid.child")).await);
    assert_eq!(end(worker, Signal::TERM).await, Some(130));
    assert!(!lives(&program), "the worker waits for its end");
    gone(&child).await;
    // The node was told, so another worker gets the step, and nobody waits for the first to come back.
    let other = home.program().start(["worker", "--task", "it", "--", "echo", "\"second\""]);
    let view = ended(&home.client(), run.parse().expect("a run's id")).await;
    assert_eq!(view.output, Some(json!("second")), "{view:?}");
    let told = home.program().run(["log", "cat", "--run", &run, "--kind", "attempt_failed", "--full"]).await.exits(0);
    told.says(&["worker_stopped"]);
    assert_eq!(end(other, Signal::INT).await, Some(0));
    assert!(node.stop().await.success(), "{}", home.log());
}
