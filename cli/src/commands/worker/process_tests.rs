//! Programs as they are: talkative, mute, failing, stubborn, and with children of their own.

use std::future::pending;
use std::time::Instant;

use tokio::time::sleep;

use super::*;

fn shell(script: &str) -> Program {
    Program::find(vec!["sh".into(), "-c".into(), script.into()]).expect("there is a shell")
}

/// The chunks and the end of a script.
async fn run(script: &str, unwanted: impl Future<Output = ()>) -> (Vec<String>, Result<String, Failed>) {
    let (lines, mut written) = mpsc::channel(1);
    let program = shell(script);
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
