//! A disk whose syncs fail, by `strace`: one failure is one too many.

use std::process::Command;

use super::{Writer, rounds};
use crate::support::{Home, soon};

fn strace_works() -> bool {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let works = tried.as_ref().is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped: strace does not work here: {tried:?}");
    }
    works
}

/// `strace` stands aside (`-D`), so that the node is the process that is started, waited for and killed.
fn failing_sync(nth: usize, error: &str) -> Vec<String> {
    let inject = format!("inject=fdatasync,fsync:error={error}:when={nth}");
    ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", &inject]
        .map(str::to_owned)
        .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failed_sync_stops_the_node_and_nothing_acknowledged_is_lost() {
    if !strace_works() {
        return;
    }
    let home = Home::new().set("node.partitions", "2");
    let node = home.start().await;
    let mut writer = Writer::new(home.client(), "agent-1/notes", 100).await;
    writer.append().await.expect("the disk works");
    assert!(node.stop().await.success(), "{}", home.log());
    for round in 0..rounds(6) {
        // The first ones fail while the log is opened, later ones under load.
        let (nth, error) = (1 + round * 7 % 40, if round % 2 == 0 { "EIO" } else { "ENOSPC" });
        let failing = home.under(&failing_sync(nth, error));
        match failing.try_start().await {
            Ok(node) => {
                writer.client = failing.client();
                soon("a sync to fail", async { while writer.append().await.is_ok() {} }).await;
                assert_eq!(node.ended().await.code(), Some(74), "sync {nth}: {}", failing.log());
                let said = failing.log();
                for word in ["nothing that was acknowledged is lost", "check the disk, then start it again"] {
                    assert!(said.contains(word), "sync {nth}: {word:?} is missing: {said}");
                }
            }
            Err(printed) => {
                assert_eq!(printed.exit, Some(74), "sync {nth}: {printed}");
            }
        }
        let node = home.start().await;
        writer.client = home.client();
        writer.check().await;
        writer.append().await.expect("the disk works again");
        assert!(node.stop().await.success(), "{}", home.log());
    }
}
