//! A node is backed up while it works, dies with its disk, and comes back from the backup: everything acknowledged
//! before the backup is there, a waiting run goes on, and old cursors are told the truth.

use std::fs;
use std::path::Path;

use headwater_client::{Appending, Client, Code, Cursor, StartRun, StreamStart};
use serde_json::json;

use crate::support::{Chance, Home, ended, insist, soon, stream};

const DEFINITION: &str = r"
document: { dsl: '1.0.3', namespace: default, name: rest, version: '1.0.0' }
do:
  - rest:
      wait: { seconds: 2 }
  - say:
      set: { said: 'rested' }
";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

async fn append(client: &Client, name: &str, body: String) -> Cursor {
    client.append(&stream(name), Appending::json(body)).await.expect("appended")
}

/// What a stream holds, from its beginning.
async fn read(client: &Client, name: &str) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    let mut from = StreamStart::Begin;
    loop {
        let page = client.read_stream(&stream(name), from, false).await.expect("read");
        let events: Vec<serde_json::Value> = serde_json::from_slice(&page.body).expect("a JSON array");
        all.extend(events);
        if page.up_to_date {
            return all;
        }
        from = StreamStart::At(page.next);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_node_has_all_that_was_acknowledged_and_a_new_history() {
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");
    let run = client.start_run(&StartRun::new("rest")).await.expect("started").run;
    for name in ["agent-1/notes", "agent-2/notes"] {
        client.create_stream(&stream(name), None).await.expect("created");
    }
    append(&client, "agent-1/notes", json!([0, 1, 2, 3]).to_string()).await;
    let cursor = append(&client, "agent-1/notes", json!([4]).to_string()).await;

    // Somebody goes on writing all the while.
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            let mut answered = 0_u64;
            while client.append(&stream("agent-2/notes"), Appending::json(answered.to_string())).await.is_ok() {
                answered += 1;
            }
            answered
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("backups");
    let first = home.program().run(["backup", "create", text(&target)]).await.exits(0);
    assert!(Path::new(&first.word()).join("MANIFEST").is_file(), "{first}");
    let before = read(&client, "agent-2/notes").await.len();
    let second = home.program().run(["--json", "backup", "create", text(&target)]).await.exits(0).json();
    assert!(second["copied_bytes"].as_u64() < second["bytes"].as_u64(), "{second}");
    node.kill().await;
    let answered = soon("the writer to notice", writer).await.expect("it ends");
    // The disk is gone as well.
    fs::remove_dir_all(home.data()).expect("it was there");

    let verified = home.program().run(["--json", "backup", "verify", text(&target)]).await.exits(0).json();
    assert_eq!(verified["path"], second["path"], "the newest of a folder is meant");
    home.program().run(["backup", "restore", text(&target), "--into", text(home.data())]).await.exits(0);
    let node = home.start().await;
    assert_eq!(node.ready["torn_records"], 0);
    assert_eq!(read(&client, "agent-1/notes").await, [0, 1, 2, 3, 4].map(|n| json!(n)));
    let kept = read(&client, "agent-2/notes").await;
    assert!(kept.len() >= before && kept.len() as u64 <= answered + 1, "{before} {} {answered}", kept.len());
    assert_eq!(kept, (0..kept.len()).map(|n| json!(n)).collect::<Vec<_>>());

    let refused = client.read_stream(&stream("agent-1/notes"), StreamStart::At(cursor), false).await;
    assert_eq!(refused.expect_err("a cursor of before").code(), Some(Code::OtherHistory));
    let view = ended(&client, run).await;
    assert_eq!((view.status.as_str(), view.output), ("completed", Some(json!({ "said": "rested" }))));
    append(&client, "agent-1/notes", "5".to_owned()).await;
    assert!(node.stop().await.success(), "{}", home.log());
    home.program().run(["log", "verify", text(home.data())]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_makes_a_backup_leaves_the_log_whole_and_no_half_backup() {
    const ROUNDS: u64 = 8;
    let (home, mut chance) = (Home::new(), Chance::from_environment());
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("backups");
    let client = home.client();
    let notes = stream("agent-1/notes");
    for round in 0..ROUNDS {
        let node = home.start().await;
        insist("a stream", || client.create_stream(&notes, None)).await;
        let body = json!([round, "x".repeat(2000)]).to_string();
        client.append(&notes, Appending::json(body)).await.expect("appended");
        let mut making = home.program().start(["backup", "create", text(&target)]);
        tokio::time::sleep(chance.millis(0, 60)).await;
        node.kill().await;
        soon("the command to end", making.wait()).await.expect("a child ends once");
    }
    let node = home.start().await;
    let events = read(&client, "agent-1/notes").await;
    assert_eq!(events.len() as u64, ROUNDS * 2, "nothing was lost");
    home.program().run(["backup", "create", text(&target)]).await.exits(0);
    for entry in fs::read_dir(&target).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            home.program().run(["backup", "verify", text(&path)]).await.exits(0);
        }
    }
    assert!(!target.join(".unfinished").exists());
    assert!(node.stop().await.success(), "{}", home.log());
    assert!(!home.data().join("frozen").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_backup_is_told_with_a_code_for_scripts() {
    let home = Home::new();
    let program = home.program();
    program.run(["backup", "create", "/tmp/nobody"]).await.exits(5).says(&["cannot be reached"]);
    let node = home.start().await;
    home.client().create_stream(&stream("agent-1/notes"), None).await.expect("created");
    let folder = tempfile::tempdir().expect("a folder");
    let (target, tar) = (folder.path().join("backups"), folder.path().join("log.tar"));
    let data = text(home.data());
    program.run(["backup", "create", text(&target), "--data", data]).await.exits(4).says(&["in use by process"]);
    let path = program.run(["backup", "create", text(&target)]).await.exits(0).word();
    program.run(["backup", "create", text(&tar)]).await.exits(0);
    program.run(["backup", "create", text(&tar)]).await.exits(2).says(&["never overwritten"]);
    program.run(["backup", "restore", text(&tar), "--into", data]).await.exits(4).says(&["never overwritten"]);
    assert!(node.stop().await.success(), "{}", home.log());
    program.run(["backup", "create", text(&target), "--data", data]).await.exits(0);

    program.run(["backup", "verify", text(&tar)]).await.exits(0).says(&["sound"]);
    program.run(["backup", "verify", text(folder.path())]).await.exits(2).says(&["not a backup of headwater"]);
    fs::write(Path::new(&path).join("more"), "x").expect("writable");
    program.run(["backup", "verify", &path]).await.exits(4).says(&["\"more\""]);
    fs::remove_file(Path::new(&path).join("more")).expect("writable");
    let mut commit = fs::read(Path::new(&path).join("COMMIT")).expect("readable");
    commit[100] ^= 1;
    fs::write(Path::new(&path).join("COMMIT"), commit).expect("writable");
    let new = folder.path().join("new");
    let damaged = program.run(["--json", "backup", "restore", &path, "--into", text(&new)]).await.exits(74);
    assert!(damaged.err.contains("COMMIT") && !new.exists(), "{damaged}");
    let unusual = program.run(["serve", "--data", &path]).await.exits(2);
    assert!(unusual.err.contains("headwater backup restore"), "{unusual}");
}
