//! `headwater demo`, the first thing that people see, holds everything it claims; and the log that it leaves behind, with a
//! `kill -9` in the middle of it, can be derived again from its causes, unless somebody changed it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::forgery::{forge, with_output};
use crate::support::{Program, Signal, soon, tell};

/// What a demo with `--keep` leaves up. Dropping it ends and removes all of that.
struct Kept(Value);

impl Kept {
    fn path(&self, name: &str) -> PathBuf {
        self.0[name].as_str().expect("a path").into()
    }

    fn signal(&self, signal: Signal) {
        for name in ["node", "workers"] {
            let pid = self.0[name].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process");
            // It may be gone.
            let _ = tell(pid, signal);
        }
    }

    /// Tells the node to stop, in order, and waits until it has let go of its directory.
    async fn stop(&self) {
        self.signal(Signal::TERM);
        let data = self.path("data");
        let gone = async {
            while storage::in_use_by(&data).is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the demo's node to stop", gone).await;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = std::fs::remove_dir_all(self.path("directory"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_holds_what_it_claims_and_its_log_is_verified() {
    // It brings its own node.
    let program = Program::at("http://127.0.0.1:1", "http://127.0.0.1:1");
    let printed = program.run(["--json", "demo", "--keep"]).await;
    let mut lines = printed.json_lines().into_iter().rev();
    let kept = lines.next().filter(|line| line["node"].is_u64()).map(Kept);
    let kept = kept.unwrap_or_else(|| panic!("it does not say what it leaves: {printed}"));
    let report = lines.next().unwrap_or_else(|| panic!("it does not report: {printed}"));
    assert_eq!(printed.exit, Some(0), "{printed}");
    let none = ["gaps", "duplicates", "broken_chains", "repeats_dropped", "repeated_bodies"].map(|name| (name, 0));
    let claims = none.into_iter().chain([("runs", 24), ("completed", 24)]);
    for (name, expected) in claims {
        assert_eq!(report[name], expected, "{name}: {report}");
    }
    assert_eq!(report["texts_equal"], report["runs"], "{report}");
    assert!(report["in_flight_at_kill"].as_u64() > Some(0), "it was killed in the middle: {report}");

    kept.stop().await;
    let (data, forged) = (kept.path("data"), kept.path("directory").join("forged"));
    let verify = |directory: &PathBuf| {
        let arguments = ["--json".into(), "replay".into(), "--verify".into(), directory.clone().into_os_string()];
        let program = program.clone();
        async move { program.run(arguments).await }
    };
    let verified = verify(&data).await.exits(0).json();
    assert_eq!((&verified["verified"], &verified["unverified"]), (&true.into(), &0.into()), "{verified}");
    let partitions = verified["partitions"].as_array().expect("a list");
    let compared: u64 = partitions.iter().filter_map(|partition| partition["compared"].as_u64()).sum();
    assert!(compared >= 24 * 5, "each run has four steps and an end: {verified}");

    let published = |output: &[u8]| String::from_utf8_lossy(output).contains("https://support.example/");
    let change = |event| with_output(event, published, r#"{"forged":true}"#);
    let (partition, position) = forge(&data, &forged, change);
    let found = verify(&forged).await.exits(74);
    found.says(&[&format!("partition {partition}"), &format!("position {position}"), "forged"]);
}
