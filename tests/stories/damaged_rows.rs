//! One row of state comes back from the disk as something else. What it held is made again from the log; where that is
//! damaged as well it is named, and everything else goes on.

use std::path::{Path, PathBuf};

use headwater_client::{Client, RunId, StartRun};
use serde_json::json;

use crate::damage::{fill, flip, is_of, metric, places};
use crate::support::{Chance, Home, Http, ended};

const KEEP: &str = r"
document: { dsl: '1.0.3', namespace: default, name: keep, version: '1.0.0' }
do:
  - it:
      set: { done: true }
";

const NAP: &str = r"
document: { dsl: '1.0.3', namespace: default, name: nap, version: '1.0.0' }
do:
  - doze: { wait: { seconds: 2 } }
";

/// Large enough to have a block of a table for itself.
const INPUT_BYTES: usize = 40_000;

async fn start(client: &Client, chance: &mut Chance, workflow: &str, count: usize) -> Vec<(RunId, String)> {
    let mut runs = Vec::new();
    for _ in 0..count {
        let input = fill(chance, INPUT_BYTES);
        let started = client.start_run(&StartRun::new(workflow).input(json!(input))).await.expect("started");
        runs.push((started.run, input));
    }
    runs
}

/// Flips a bit wherever these bytes are, in tables of the rows, and of the log too where `all` are meant.
fn damage(data: &Path, input: &str, all: bool) {
    let meant = |(table, _): &(PathBuf, usize)| all || is_of(table, "rows");
    let places: Vec<_> = places(data, &input.as_bytes()[..64]).into_iter().filter(meant).collect();
    assert!(places.iter().any(|(table, _)| is_of(table, "rows")), "the run's row is in a table of RocksDB");
    for (table, at) in places {
        flip(&table, at + 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_of_an_open_run_is_made_again_from_the_log() {
    let mut chance = Chance::from_environment().named("open row");
    let home = Home::new().set("node.partitions", "1");
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(NAP).await.expect("registered");
    let runs = start(&client, &mut chance, "nap", 5).await;
    assert!(node.stop().await.success(), "{}", home.log());
    damage(home.data(), &runs[2].1, false);

    let node = home.start().await;
    assert!(home.log().contains("made again from the log"), "{}", home.log());
    for (run, input) in &runs {
        let view = ended(&client, *run).await;
        assert_eq!((view.status.as_str(), view.input), ("completed", json!(input)));
    }
    assert_eq!(Http::to(home.admin).text("/healthz").await, "ok\n");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_events_are_damaged_too_is_set_aside_until_it_is_given_up() {
    let mut chance = Chance::from_environment().named("set aside");
    let home = Home::new().set("node.partitions", "1").set("storage.scrub.mib_per_second", "0");
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(NAP).await.expect("registered");
    let runs = start(&client, &mut chance, "nap", 5).await;
    assert!(node.stop().await.success(), "{}", home.log());
    let (lost, input) = &runs[2];
    damage(home.data(), input, true);

    let node = home.start().await;
    let (http, admin) = (Http::to(home.listen), Http::to(home.admin));
    for (run, _) in runs.iter().filter(|(run, _)| run != lost) {
        assert_eq!(ended(&client, *run).await.status, "completed");
    }
    // Whoever asks for it is told, and so is who looks after the node.
    let id = lost.to_string();
    assert!(home.log().contains(&id) && home.log().contains("set aside"), "{}", home.log());
    http.get(&format!("/v1/runs/{id}")).await.refuses(500, "run_damaged");
    http.get(&format!("/v1/streams/runs/{id}?offset=-1")).await.refuses(500, "run_damaged");
    http.post(&format!("/v1/runs/{id}/signals/go"), &json!(1)).await.refuses(500, "run_damaged");
    home.program().run(["run", "show", &id]).await.exits(74).says(&["set aside", "cancelling it"]);
    home.program().run(["run", "list", "--status", "damaged"]).await.exits(0).says(&[&id, "damaged"]);
    let listed = http.get("/v1/runs").await.ok();
    assert_eq!(listed["damaged"][0]["run"], json!(lost), "{listed}");
    assert_eq!(listed["damaged"][0]["code"], "run_damaged");
    assert_eq!(listed["runs"].as_array().map(Vec::len), Some(4));
    assert_eq!(metric(&home, "headwater_damaged_runs").await, 1);
    assert!(admin.text("/healthz").await.contains("1 damaged run is set aside"));

    home.program().run(["run", "cancel", &id]).await.exits(0);
    http.get(&format!("/v1/runs/{id}")).await.refuses(404, "run_not_found");
    assert_eq!(admin.text("/healthz").await, "ok\n");
    assert!(node.stop().await.success(), "{}", home.log());
    let node = home.start().await;
    http.get(&format!("/v1/runs/{id}")).await.refuses(404, "run_not_found");
    assert_eq!(metric(&home, "headwater_damaged_runs").await, 0);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_of_a_closed_run_refuses_whoever_asks_for_it_and_nobody_else() {
    let mut chance = Chance::from_environment().named("row");
    let home = Home::new().set("node.partitions", "1");
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(KEEP).await.expect("registered");
    let runs = start(&client, &mut chance, "keep", 8).await;
    for (run, _) in &runs {
        ended(&client, *run).await;
    }
    assert!(node.stop().await.success(), "{}", home.log());
    let (run, input) = &runs[4];
    damage(home.data(), input, false);

    let mut node = home.start().await;
    let http = Http::to(home.listen);
    for _ in 0..2 {
        http.get(&format!("/v1/runs/{run}")).await.refuses(500, "damaged");
        http.get(&format!("/v1/streams/runs/{run}?offset=-1")).await.refuses(500, "damaged");
    }
    home.program().run(["run", "show", &run.to_string()]).await.exits(74).says(&["damaged", "log verify"]);
    let refused = metric(&home, "headwater_unreadable_rows_total").await;
    assert!(refused >= 4);
    // A listing names it and goes on.
    let shown = home.program().run(["run", "list"]).await.exits(0);
    let ids: Vec<String> = runs.iter().map(|(run, _)| run.to_string()).collect();
    shown.says(&ids.iter().map(String::as_str).collect::<Vec<_>>()).says(&["damaged"]);
    assert!(metric(&home, "headwater_unreadable_rows_total").await > refused);
    let (mut next, mut met, mut damaged) = (String::new(), Vec::new(), Vec::new());
    loop {
        let page = http.get(&format!("/v1/runs?limit=3{next}")).await.ok();
        let of = |list: &str| page[list].as_array().cloned().unwrap_or_default();
        met.extend(of("runs").iter().map(|run| run["run"].as_str().expect("an id").to_owned()));
        damaged.extend(of("damaged"));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("&after={after}");
    }
    // Those of one millisecond stand in any order.
    let mut others: Vec<_> = ids.iter().filter(|id| **id != run.to_string()).cloned().collect();
    met.sort();
    others.sort();
    assert_eq!(met, others, "each once");
    let [only] = &damaged[..] else { panic!("it is named once: {damaged:?}") };
    assert_eq!((&only["run"], &only["damaged"], &only["code"]), (&json!(run), &json!(true), &json!("damaged")));
    // The node lives, and everybody else is served.
    assert!(node.is_up());
    for (other, input) in runs.iter().filter(|(other, _)| other != run) {
        assert_eq!(client.run(*other).await.expect("it is there").input, json!(input));
    }
    let started = client.start_run(&StartRun::new("keep").input(json!("new"))).await.expect("started");
    assert_eq!(ended(&client, started.run).await.status, "completed");
    assert!(node.stop().await.success(), "{}", home.log());
}
