//! `headwater demo`, the first thing that people see, holds everything it claims.

use crate::support::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_holds_what_it_claims() {
    // It brings its own node.
    let printed = Program::at("http://127.0.0.1:1", "http://127.0.0.1:1").run(["--json", "demo"]).await.exits(0);
    let report = printed.json_lines().pop().expect("it reports");
    let claims = [("gaps", 0), ("duplicates", 0), ("repeated_bodies", 0), ("runs", 24), ("completed", 24)];
    for (name, expected) in claims {
        assert_eq!(report[name], expected, "{name}: {report}");
    }
    assert_eq!(report["texts_equal"], report["runs"], "{report}");
    assert!(report["in_flight_at_kill"].as_u64() > Some(0), "it was killed in the middle: {report}");
}
