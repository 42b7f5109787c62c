//! Programs as they are: talkative, mute, failing, stubborn, and with children of their own.

use std::future::pending;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::*;

fn shell(script: &str) -> Program {
    Program::find(vec!["sh".into(), "-c".into(), script.into()]).expect("there is a shell")
}

/// Whether a process lives that was not reaped.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !matches!(status.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z' | 'X'))
}

/// SIGKILL is on its way already.
async fn gone(pid: &str) {
    while lives(pid) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// The chunks and the end of a script.
async fn run(script: &str, unwanted: impl Future<Output = ()>) -> (Vec<String>, Result<String, Failed>) {
    run_in(&shell(script), unwanted).await
}

async fn run_in(program: &Program, unwanted: impl Future<Output = ()>) -> (Vec<String>, Result<String, Failed>) {
    let (lines, mut written) = mpsc::channel(1);
    let environment = [("HEADWATER_RUN", "r-1".to_owned())];
    let collect = async {
        let mut all = Vec::new();
        while let Some(line) = written.recv().await {
            all.push(line);
        }
        all
    };
    let (ended, chunks) = tokio::join!(program.execute(&environment, "{\"a\":1}", lines, unwanted), collect);
    (chunks, ended.map(|output| output.get().to_owned()))
}

#[test]
fn a_program_is_found_before_the_first_step() {
    assert!(Program::find(vec!["sh".into()]).is_ok());
    assert!(Program::find(vec!["/bin/sh".into()]).is_ok());
    assert!(Program::find(vec!["there-is-no-such-program".into()]).is_err());
}

#[tokio::test]
async fn every_line_but_the_last_is_a_chunk() {
    let (chunks, output) = run("read input; echo one; echo $HEADWATER_RUN; echo \"[$input]\"", pending()).await;
    assert_eq!(chunks, ["one", "r-1"]);
    assert_eq!(output.expect("an output"), "[{\"a\":1}]");
}

#[tokio::test]
async fn a_mute_program_has_a_result_and_need_not_read_its_input() {
    let (chunks, output) = run("true", pending()).await;
    assert_eq!((chunks.len(), output.expect("an output").as_str()), (0, "null"));
}

#[tokio::test]
async fn a_failing_program_is_told_with_its_last_words() {
    let (chunks, ended) = run("echo half; echo then; echo first >&2; echo 'out of paper' >&2; exit 7", pending()).await;
    let failed = ended.expect_err("it failed");
    assert_eq!(chunks, ["half"]);
    assert_eq!(failed.failure.kind, "program_failed");
    assert!(failed.failure.message.ends_with("out of paper"), "{}", failed.failure.message);
    let details = failed.failure.details.expect("details");
    assert_eq!((&details["exit_code"], &details["stderr"]), (&json!(7), &json!("first\nout of paper")));
    assert!(!failed.failure.non_retryable);
}

#[tokio::test]
async fn a_last_line_that_is_no_json_is_a_failure_for_good() {
    let (_, ended) = run("echo 1; echo done", pending()).await;
    let failed = ended.expect_err("`done` is no JSON");
    assert_eq!((failed.failure.kind.as_str(), failed.failure.non_retryable), ("bad_output", true));
}

#[tokio::test]
async fn an_unwanted_program_ends_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark");
    // It does not listen to SIGTERM, and has a child that would leave a mark.
    let script = format!("trap '' TERM; (sleep 4; touch {}) & wait", mark.display());
    let began = Instant::now();
    let (_, ended) = run(&script, sleep(Duration::from_millis(200))).await;
    assert_eq!(ended.expect_err("it was unwanted").failure.kind, "cancelled");
    sleep(Duration::from_secs(5).saturating_sub(began.elapsed())).await;
    assert!(!mark.exists(), "its child lived on");
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_program_and_fails_the_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("pid");
    // It would write for ever.
    let script = format!("echo one; echo $$ > {}; echo two; while :; do printf xxxxxxxxxxxxxxxx; done", mark.display());
    let (chunks, ended) = run(&script, pending()).await;
    let failed = ended.expect_err("the line has no end");
    assert_eq!((failed.failure.kind.as_str(), failed.failure.non_retryable), ("line_too_long", true));
    assert_eq!(chunks, ["one"]);
    gone(std::fs::read_to_string(mark).expect("it began").trim()).await;
}

#[tokio::test]
async fn the_programs_exit_decides_whatever_it_leaves_behind() {
    let (chunks, output) = run("sleep 1000 & echo $!; echo half; printf '{\"whole\":true}'", pending()).await;
    assert_eq!(output.expect("an output"), "{\"whole\":true}");
    assert_eq!(chunks.len(), 2);
    gone(&chunks[0]).await;
}

#[tokio::test]
async fn what_left_the_programs_group_is_not_listened_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("left");
    // The program ends once the other has a session of its own, so that it is not killed with it.
    let script = format!(
        "setsid sh -c 'touch {0}; exec sleep 1000' & echo $!; while [ ! -e {0} ]; do sleep 0.01; done; echo 7",
        mark.display()
    );
    let (chunks, output) = run(&script, pending()).await;
    let left = chunks[0].parse().ok().and_then(Pid::from_raw).expect("the shell said which one it is");
    assert_eq!(kill_process(left, Signal::KILL), Ok(()), "it is nobody's business here, and lives on");
    assert_eq!(output.expect("an output"), "7");
}

#[tokio::test]
async fn all_that_was_written_before_the_exit_is_read() {
    // More than what is copied at a time, less than what a pipe holds; and nobody listens before it has ended.
    let (chunks, output) = run("i=0; while [ $i -lt 6000 ]; do echo $i; i=$((i+1)); done", pending()).await;
    assert_eq!((chunks.len(), output.expect("an output").as_str()), (5_999, "5999"));
}

#[tokio::test]
async fn a_worker_that_ends_takes_its_programs_along_and_starts_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("pid");
    let program = shell(&format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.1; done", mark.display()));
    let end = async {
        while std::fs::read_to_string(&mark).unwrap_or_default().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        program.end().await;
        let pid = std::fs::read_to_string(&mark).expect("it began");
        assert!(!lives(pid.trim()), "it was waited for");
    };
    let ((_, ended), ()) = tokio::join!(run_in(&program, pending()), end);
    let failed = ended.expect_err("it was ended");
    assert_eq!((failed.failure.kind.as_str(), failed.failure.non_retryable), (STOPPED, false));
    let (_, ended) = run_in(&program, pending()).await;
    assert_eq!(ended.expect_err("nothing is started any more").failure.kind, STOPPED);
}
