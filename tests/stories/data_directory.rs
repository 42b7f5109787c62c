//! A node that must not come up: its directory is somebody else's, newer, damaged or not to be written; its port is
//! taken; its configuration has a mistake. It says why, ends with the code for it, and leaves everything as it is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use headwater_client::{Appending, Client, StreamStart};
use tokio::net::TcpListener;

use crate::support::{Home, stream};

/// A node's directory with something in it.
async fn used(home: &Home) {
    let node = home.start().await;
    write(&home.client(), "agent-1/notes", "[1,2,3]").await;
    assert!(node.stop().await.success(), "{}", home.log());
}

async fn write(client: &Client, name: &str, body: &str) {
    client.create_stream(&stream(name), None).await.expect("created");
    client.append(&stream(name), Appending::json(body.to_owned())).await.expect("appended");
}

/// What was there is there.
async fn still_whole(home: &Home) {
    let node = home.start().await;
    let page = home.client().read_stream(&stream("agent-1/notes"), StreamStart::Begin, false).await.expect("read");
    assert_eq!(page.body.as_ref(), b"[1,2,3]");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_belongs_to_one_node_at_a_time() {
    let home = Home::new();
    let mut first = home.start().await;
    let second = Home::sharing(&home);
    let refused = second.refused().await.exits(4).says(&["already in use by", "stop it first"]);
    assert_eq!(refused.error()["code"], "directory_in_use");
    assert!(first.is_up());
    write(&home.client(), "agent-1/notes", "[1,2,3]").await;
    first.kill().await;
    // A killed node leaves its lock behind, and that hinders nobody.
    still_whole(&second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_with_the_version_that_it_needs() {
    let home = Home::new();
    used(&home).await;
    let format = home.data().join("FORMAT");
    let original = fs::read_to_string(&format).expect("the format is a text");
    fs::write(&format, "headwater data directory\nformat 99\nneeds headwater 7.0.0\n").expect("written");
    let refused = home.refused().await.exits(4).says(&["format 99", "needs headwater 7.0.0"]);
    assert_eq!(refused.error()["code"], "newer_format");
    fs::write(&format, original).expect("written");
    still_whole(&home).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_with_other_things_is_left_alone() {
    let home = Home::new();
    fs::create_dir(home.data()).expect("a new folder");
    let letter = home.data().join("letter.txt");
    fs::write(&letter, "dear reader").expect("written");
    let refused = home.refused().await.exits(2).says(&["is not a data directory of headwater", "letter.txt"]);
    assert_eq!(refused.error()["code"], "not_a_data_directory");
    let left: Vec<_> =
        fs::read_dir(home.data()).expect("listed").map(|entry| entry.expect("read").file_name()).collect();
    assert!(left.contains(&"letter.txt".into()) && left.len() <= 2, "{left:?}");
    assert_eq!(fs::read_to_string(letter).expect("read"), "dear reader");
}

/// How to run a program that may not write here. Permissions do not bind root, unless root gives up that right, or the
/// directory is mounted read-only for this one program.
fn bound(data: &Path, file: &Path) -> Option<Vec<String>> {
    let mount = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec \"$@\"", data.display());
    let ways: [&[&str]; 3] = [
        &[],
        &["setpriv", "--bounding-set", "-dac_override,-dac_read_search"],
        &["unshare", "--mount", "sh", "-c", &mount, "sh"],
    ];
    let runs = |way: &[&str], script: &str| {
        let words = [way, &["sh", "-c", script]].concat();
        let run = std::process::Command::new(words[0]).args(&words[1..]).output();
        run.is_ok_and(|output| output.status.success())
    };
    let write = format!(": >> {}", file.display());
    let way = ways.into_iter().find(|way| runs(way, "true") && !runs(way, &write))?;
    println!("run by {way:?}");
    Some(way.iter().map(|&word| word.to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_written_is_named() {
    let home = Home::new();
    used(&home).await;
    fs::set_permissions(home.data(), Permissions::from_mode(0o555)).expect("its owner may");
    let lock = home.data().join("LOCK");
    fs::set_permissions(&lock, Permissions::from_mode(0o444)).expect("its owner may");
    match bound(home.data(), &lock) {
        Some(way) => {
            let refused = home.under(&way).refused().await.exits(2).says(&["cannot be written", "write access"]);
            assert_eq!(refused.error()["code"], "directory_not_writable");
        }
        None => println!("skipped: nothing is read-only to this user, who may neither give up that right nor mount"),
    }
    fs::set_permissions(home.data(), Permissions::from_mode(0o755)).expect("its owner may");
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).expect("its owner may");
    still_whole(&home).await;
}

/// Files of the log that hold these bytes, with the place.
fn places(folder: &Path, bytes: &[u8]) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(places(&path, bytes));
            continue;
        }
        let content = fs::read(&path).expect("a file");
        let at = content.windows(bytes.len()).position(|window| window == bytes);
        found.extend(at.map(|at| (path, at)));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_acknowledged_data_is_never_served() {
    const MARK: &[u8] = b"the-bit-is-flipped-here";
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    write(&client, "agent-1/notes", "[1,2,3]").await;
    write(&client, "agent-2/notes", &format!("[\"{}\"]", String::from_utf8_lossy(MARK))).await;
    write(&client, "agent-3/notes", "[7]").await;
    node.kill().await;

    let marked = places(home.data(), MARK);
    assert!(!marked.is_empty(), "the event is on disk as it was written");
    for (path, at) in &marked {
        let mut content = fs::read(path).expect("a file");
        content[at + 4] ^= 1;
        fs::write(path, content).expect("written");
    }
    home.program().run(["log".as_ref(), "verify".as_ref(), home.data().as_os_str()]).await.exits(74);
    // However often it is tried: what was found missing once is not forgotten.
    for _ in 0..2 {
        match home.try_start().await {
            Err(printed) => {
                let refused = printed.exits(74).says(&["partition", "acknowledged data is missing"]);
                assert_eq!(refused.error()["code"], "acknowledged_data_missing");
            }
            Ok(_node) => {
                let read = client.read_stream(&stream("agent-2/notes"), StreamStart::Begin, false).await;
                panic!("the node came up, and gives {read:?}");
            }
        }
    }
    assert!(!places(home.data(), b"it-is-flipped-here").is_empty(), "what there was to repair from is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named_before_anything_is_touched() {
    let home = Home::new();
    let _other = TcpListener::bind(home.listen).await.expect("it is free");
    let refused = home.refused().await.exits(4).says(&[&home.listen.to_string(), "in use"]);
    assert_eq!(refused.error()["code"], "cannot_listen");
    assert!(!home.data().exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_the_configuration_is_told_with_its_place() {
    let home = Home::new();
    let file = home.file("headwater.yaml", "node:\n  data_dri: here\nworkers:\n  reclaim_ms: soon\n");
    let path = file.to_str().expect("text");
    let printed = home.program().run(["serve", "--config", path]).await.exits(2);
    printed.says(&["headwater.yaml:2:3", "data_dri", "data_dir", "headwater.yaml:4:15", "reclaim_ms"]);
    let printed = home.program().run(["serve", "--set", "node.partitions=0"]).await.exits(2);
    printed.says(&["node.partitions", "1024"]);
    home.program().run(["serve", "--set", "nothing"]).await.exits(2).says(&["key=value"]);
    let away = home.program().run(["serve", "--listen", "0.0.0.0:7400"]).await.exits(2);
    away.says(&["node.listen", "loopback"]);
    let printed = home.program().run(["--json", "serve", "--set", "node.partitions=0"]).await.exits(2);
    assert_eq!(printed.error()["code"], "invalid_configuration");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_file_that_says_what_was_acknowledged_nothing_is_served_until_somebody_decides() {
    let home = Home::new();
    used(&home).await;
    fs::remove_file(home.data().join("COMMIT")).expect("it is there");
    let advice = ["COMMIT", "the file is not there", "cannot be known", "headwater repair --accept-loss", "backup"];
    let refused = home.refused().await.exits(74).says(&advice);
    assert_eq!(refused.error()["code"], "damaged");
    let repair = |more: &'static [&'static str]| {
        let arguments = ["repair".as_ref(), home.data().as_os_str()];
        let arguments: Vec<_> = arguments.into_iter().chain(more.iter().map(AsRef::as_ref)).collect();
        async { home.program().run(arguments).await }
    };
    repair(&[]).await.exits(74).says(&["COMMIT cannot be believed", "nothing was changed"]);
    repair(&["--accept-loss", "--yes"]).await.exits(0).says(&["repaired", "new history"]);
    still_whole(&home).await;
}
