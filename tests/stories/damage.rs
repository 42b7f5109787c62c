//! A disk that gives back other bytes than it was given. What is damaged is found, named and not served, everything else
//! goes on; and whoever decides to go on without it is told first what exactly that costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use headwater_client::{Appending, Client, Code, Delivery, StreamStart, SubscribeOptions};
use serde_json::{Value, json};
use tokio::process::Command;
use types::{PartitionCount, PartitionId, RoutingHash, TenantId};

use crate::support::{Chance, Home, Http, Printed, program, soon, stream};
use crate::verification::verify;

/// Of one event, so that a segment of 1 MiB holds twenty of them.
const FILL_BYTES: usize = 50_000;

/// Letters that no compression makes shorter, so that they stand in the files as they are.
pub(crate) fn fill(chance: &mut Chance, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |draw: u64| char::from(LETTERS[usize::try_from(draw).expect("one of 64")]);
    (0..bytes).map(|_| letter(chance.between(0, 63))).collect()
}

/// Table files of RocksDB, in which sealed segments and old rows are, that hold these bytes, with the place.
pub(crate) fn places(data: &Path, bytes: &[u8]) -> Vec<(PathBuf, usize)> {
    let files = fs::read_dir(data.join("log")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    let find = |path: PathBuf| {
        let content = fs::read(&path).expect("a file");
        let at = content.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, at))
    };
    tables.filter_map(find).collect()
}

/// Whether a table file belongs to this column family, by its own properties: there the name follows the number.
pub(crate) fn is_of(table: &Path, family: &str) -> bool {
    const NUMBER: &[u8] = b"column.family.id";
    let content = fs::read(table).expect("a file");
    let at = content.windows(NUMBER.len()).rposition(|window| window == NUMBER).expect("a table has properties");
    let near = &content[at..content.len().min(at + NUMBER.len() + 16)];
    let name = format!("name{family}");
    near.windows(name.len()).any(|window| window == name.as_bytes())
}

pub(crate) fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).expect("a file");
    content[at] ^= 1;
    fs::write(path, content).expect("written");
}

/// Two agents that live in different ones of two partitions.
fn two_agents() -> [(String, PartitionId); 2] {
    let two = PartitionCount::new(2).expect("a count");
    let partition = |agent: &str| RoutingHash::of(&TenantId::default(), agent).partition(two);
    let first = "agent-0".to_owned();
    let other = (1..1_000).map(|n| format!("agent-{n}")).find(|agent| partition(agent) != partition(&first));
    [first, other.expect("one in two is elsewhere")].map(|agent| {
        let partition = partition(&agent);
        (agent, partition)
    })
}

pub(crate) async fn write(client: &Client, name: &str, events: &[Value]) {
    let (name, body) = (stream(name), json!(events).to_string());
    client.append(&name, Appending::json(body)).await.expect("appended");
}

pub(crate) async fn metric(home: &Home, name: &str) -> u64 {
    let metrics = Http::to(home.admin).text("/metrics").await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is missing: {metrics}")).parse().expect("a count")
}

/// The offsets of all events that a subscription gives up to this one, and its gaps as offsets from and to, with reasons.
pub(crate) async fn follow(client: &Client, name: &str, until: u64) -> (Vec<u64>, Vec<(u64, u64, Code)>) {
    let mut events = client.subscribe(stream(name), StreamStart::Begin).await.expect("subscribed");
    let (mut offsets, mut gaps) = (Vec::new(), Vec::new());
    while offsets.last() != Some(&until) {
        match soon("what a reader is given", events.next()).await.expect("more comes").expect("nothing fails") {
            Delivery::Event(event) => offsets.push(event.offset.value()),
            Delivery::Gap { from, to, reason } => {
                gaps.push((from.map_or(0, |from| from.next.value()), to.next.value(), reason));
            }
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } | Delivery::Passed { .. } => {}
            Delivery::End { status } => panic!("the stream ended: {status:?}"),
        }
    }
    (offsets, gaps)
}

fn small() -> Home {
    Home::new().set("node.partitions", "2").set("storage.segment_mib", "1")
}

/// An export shows every event but those of the damaged segment, and says which those are.
fn exports_what_can_be_read(exported: Printed, damaged: &str, whole: &str, last: u64) {
    let exported = exported.exits(74).says(&["not shown: positions", "headwater log verify"]);
    let lines = exported.json_lines();
    let of = |agent: &str| -> Vec<u64> {
        let name = format!("{agent}/tokens");
        let offset = |line: &Value| line["offset"].as_u64().expect("an offset");
        lines.iter().filter(|line| line["stream"] == json!(name)).map(offset).collect()
    };
    assert_eq!(of(whole), (0..60).collect::<Vec<_>>());
    let found = of(damaged);
    assert!(found.contains(&last) && !found.contains(&5) && found.len() > 20, "{found:?} to {last}");
}

/// A stopped node's directory with 60 events of an agent in each of two partitions, so that segments are sealed, and a
/// flipped bit in the first agent's event 5. Gives the agents.
async fn with_a_damaged_segment(home: &Home) -> [(String, PartitionId); 2] {
    let mut chance = Chance::from_environment().named("damage");
    let agents = two_agents();
    let node = home.start().await;
    let client = home.client();
    let mut mark = String::new();
    for (agent, _) in &agents {
        let name = format!("{agent}/tokens");
        client.create_stream(&stream(&name), None).await.expect("created");
        for n in (0..60).step_by(4) {
            let fills: Vec<_> = (0..4).map(|_| fill(&mut chance, FILL_BYTES)).collect();
            if mark.is_empty() && n == 4 {
                fills[1].clone_into(&mut mark);
            }
            let events: Vec<_> = fills.iter().zip(n..).map(|(fill, n)| json!({ "n": n, "fill": fill })).collect();
            write(&client, &name, &events).await;
        }
    }
    assert!(node.stop().await.success(), "{}", home.log());
    let found = places(home.data(), &mark.as_bytes()[..64]);
    assert!(!found.is_empty(), "the event is in a table of RocksDB");
    for (path, at) in found {
        flip(&path, at + 20);
    }
    agents
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_segment_is_named_and_quarantined_and_the_rest_is_served() {
    let home = small().set("storage.scrub.every_ms", "50").set("storage.scrub.mib_per_second", "65536");
    let [(damaged, partition), (whole, _)] = with_a_damaged_segment(&home).await;

    let report = verify(&home, home.data()).await.exits(74).json();
    let listed = report["damages"].as_array().expect("a list");
    let of_segment = |found: &&Value| found["partition"] == json!(partition) && found["segment"].is_u64();
    let found = listed.iter().find(of_segment).unwrap_or_else(|| panic!("no segment is named: {report}"));
    let shown = home.program().run(["log".as_ref(), "verify".as_ref(), home.data().as_os_str()]).await.exits(74);
    let place = format!(
        "partition {partition}, {} chain, segment {}",
        found["chain"].as_str().unwrap_or("?"),
        found["segment"]
    );
    shown.says(&[&place, "damaged"]);
    assert!(!report.to_string().contains("acknowledged data is missing"), "it is there, and damaged: {report}");
    let data = home.data().as_os_str();
    let exported = home.program().run(["log".as_ref(), "export".as_ref(), "--data".as_ref(), data]).await;
    exports_what_can_be_read(exported, &damaged, &whole, 59);

    // Nobody reads it: the scrub finds it all the same.
    let node = home.start().await;
    let quarantined = async {
        while metric(&home, "headwater_log_quarantined_segments").await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon("the scrub to find it", quarantined).await;
    assert_eq!(metric(&home, "headwater_log_quarantined_segments").await, 1);
    assert!(home.log().contains("quarantined"), "{}", home.log());

    let client = home.client();
    let check = |offsets: Vec<u64>, gaps: Vec<(u64, u64, Code)>, last: u64| {
        let [(from, to, Code::Damaged)] = gaps[..] else { panic!("one gap, for damage: {gaps:?}") };
        assert!(from <= 5 && 5 < to && to < 60, "what is damaged is not given: {from} to {to}");
        assert_eq!(offsets, (0..from).chain(to..=last).collect::<Vec<_>>(), "all else is");
    };
    let name = format!("{damaged}/tokens");
    let (offsets, gaps) = follow(&client, &name, 59).await;
    check(offsets, gaps, 59);
    let refused = Http::to(home.listen).get(&format!("/v1/streams/{name}?offset=-1")).await;
    refused.refuses(410, "damaged");
    let (offsets, gaps) = follow(&client, &format!("{whole}/tokens"), 59).await;
    assert_eq!((offsets, gaps), ((0..60).collect(), Vec::new()), "the other partition is whole");
    write(&client, &name, &[json!({ "n": 60 })]).await;
    exports_what_can_be_read(home.program().run(["log", "export"]).await, &damaged, &whole, 60);
    assert!(node.stop().await.success(), "{}", home.log());

    // It is known from then on, and nothing of it comes back.
    let node = home.start().await;
    assert_eq!(metric(&home, "headwater_log_quarantined_segments").await, 1);
    let (offsets, gaps) = follow(&client, &name, 60).await;
    check(offsets, gaps, 60);
    assert!(node.stop().await.success(), "{}", home.log());
    verify(&home, home.data()).await.exits(74);
}

/// Writes so much to a stream of the agent's that RocksDB compacts the log's tables; `false`: the node ended over it.
async fn write_until_it_compacts(home: &Home, chance: &mut Chance, agent: &str) -> bool {
    const APPENDS: usize = 250;
    let name = stream(&format!("{agent}/bulk"));
    let client = home.client();
    // It may be there already.
    let _ = client.create_stream(&name, None).await;
    for _ in 0..APPENDS {
        let events: Vec<_> = (0..8).map(|_| fill(chance, 100_000)).collect();
        let body = json!(events).to_string();
        let appended = tokio::time::timeout(Duration::from_secs(20), client.append(&name, Appending::json(body))).await;
        if !matches!(appended, Ok(Ok(_))) {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_meets_damage_ends_the_node_once() {
    let home = small();
    let mut chance = Chance::from_environment().named("bulk");
    let [(damaged, _), (whole, _)] = with_a_damaged_segment(&home).await;
    let node = home.start().await;
    let mut rounds = 0;
    while write_until_it_compacts(&home, &mut chance, &whole).await {
        rounds += 1;
        assert!(rounds < 5, "no compaction met the damage");
    }
    assert_eq!(node.ended().await.code(), Some(74), "{}", home.log());
    assert!(home.log().contains("the next start takes it out of the log"), "{}", home.log());

    let node = home.start().await;
    assert!(write_until_it_compacts(&home, &mut chance, &whole).await, "the table is gone: {}", home.log());
    let (offsets, gaps) = follow(&home.client(), &format!("{whole}/tokens"), 59).await;
    assert_eq!((offsets, gaps), ((0..60).collect(), Vec::new()), "the other partition is whole");
    let refused = Http::to(home.listen).get(&format!("/v1/streams/{damaged}/tokens?offset=-1")).await;
    refused.refuses(410, "damaged");
    let kept = fs::read_dir(home.data().join("quarantined")).expect("a folder").count();
    assert_eq!(kept, 1, "the damaged table is kept for a person");
    assert!(node.stop().await.success(), "{}", home.log());
}

/// The program at a terminal, at which somebody types this.
async fn at_a_terminal(arguments: &[&str], typed: &str) -> Printed {
    let quoted: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let command = format!("{} {}", program::binary().display(), quoted.join(" "));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = script.spawn().expect("script is part of every Debian");
    let mut stdin = child.stdin.take().expect("a pipe");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, typed.as_bytes()).await.expect("it fits into the pipe");
    let output = soon("the program to end", child.wait_with_output()).await.expect("its output can be read");
    drop(stdin);
    Printed::new(output.status, String::from_utf8_lossy(&output.stdout).into_owned(), String::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_accepts_a_loss_is_told_what_it_is_asked_and_given_a_new_history() {
    const MARK: &[u8] = b"the-bit-is-flipped-here";
    let home = Home::new().set("node.partitions", "2");
    let [(damaged, partition), _] = two_agents();
    let name = format!("{damaged}/notes");
    let node = home.start().await;
    let client = home.client();
    client.create_stream(&stream(&name), None).await.expect("created");
    write(&client, &name, &[json!("kept")]).await;
    let before = client.read_stream(&stream(&name), StreamStart::Begin, false).await.expect("read").next;
    write(&client, &name, &[json!(String::from_utf8_lossy(MARK))]).await;
    // The latter says that the former was durable; of itself nothing may, when the node is killed this soon.
    write(&client, &name, &[json!("behind it")]).await;
    write(&client, &name, &[json!("the last")]).await;
    node.kill().await;
    // Where it was acknowledged first: the write-ahead log.
    let mut flipped = 0;
    for entry in fs::read_dir(home.data().join("log")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let content = fs::read(&path).unwrap_or_default();
        if let Some(at) = content.windows(MARK.len()).position(|window| window == MARK) {
            flip(&path, at + 4);
            flipped += 1;
        }
    }
    assert!(flipped > 0, "the event is on disk as it was written");
    home.refused().await.exits(74).says(&["acknowledged data is missing", "headwater repair --accept-loss"]);

    // What it costs: the event with the flipped bit and those behind it that are known to have been durable.
    let data = home.data().to_str().expect("a path that is text");
    let plan = home.program().run(["--json", "repair", data]).await.exits(74).json();
    let losses = plan["losses"].as_array().expect("a list");
    let [loss] = losses.as_slice() else { panic!("one partition loses something: {plan}") };
    let (kept, durable) = (loss["kept"].as_u64().expect("a position"), loss["durable"].as_u64().expect("a position"));
    assert_eq!((&loss["partition"], kept), (&json!(partition), 2), "{plan}");
    assert!((4..=5).contains(&durable), "{plan}");
    let (count, last) = (durable - kept, durable - 1);
    let told = format!("partition {partition}: the {count} records of positions {kept} to {last} are lost");
    let shown = home.program().run(["repair", data]).await.exits(74);
    shown.says(&[&told, "nothing was changed", "other_history"]);

    // Nobody is there to be asked; somebody says no; somebody says yes.
    let nobody = home.program().run(["repair", data, "--accept-loss"]).await.exits(4);
    nobody.says(&[&told, "nobody is there to confirm", "--yes"]);
    let no = at_a_terminal(&["repair", data, "--accept-loss"], "yes\n").await.exits(4);
    no.says(&[&told, "type `lose it`", "nothing was changed"]);
    home.refused().await.exits(74);
    let yes = at_a_terminal(&["repair", data, "--accept-loss"], "lose it\n").await.exits(0);
    yes.says(&[&told, "repaired", "before-repair-1", "new history"]);
    home.program().run(["log", "verify", data]).await.exits(0);

    let node = home.start().await;
    let page = client.read_stream(&stream(&name), StreamStart::Begin, false).await.expect("read");
    assert_eq!(page.body.as_ref(), br#"["kept"]"#);
    assert_ne!(page.next.history, before.history, "a new history");
    // A cursor of before is not given something else under its number.
    write(&client, &name, &[json!("another")]).await;
    let old = Http::to(home.listen).get(&format!("/v1/streams/{name}?offset={before}")).await;
    old.refuses(410, "other_history");
    let options = SubscribeOptions { from: StreamStart::At(before), ..SubscribeOptions::default() };
    let mut events = client.subscribe_with(stream(&name), options).await.expect("subscribed");
    let told = async {
        loop {
            match events.next().await.expect("more comes").expect("nothing fails") {
                Delivery::Gap { reason, .. } => return reason,
                Delivery::Event(event) => panic!("an event of the new history under the old cursor: {event:?}"),
                Delivery::Opened { .. }
                | Delivery::Lost { .. }
                | Delivery::Resumed { .. }
                | Delivery::Passed { .. }
                | Delivery::End { .. } => {}
            }
        }
    };
    assert_eq!(soon("word of another history", told).await, Code::OtherHistory);
    assert!(node.stop().await.success(), "{}", home.log());
}
