//! Somebody fills the disk, up to the floor and up to the last byte.

use headwater_client::{Code, StartRun};
use serde_json::json;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::image::Image;
use super::{Writer, code, rounds};
use crate::support::{Home, Http, soon};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

const DEFINITION: &str = "document: { dsl: '1.0.3', namespace: default, name: rest, version: '1.0.0' }\n\
    do: [ { rest: { wait: { milliseconds: 100 } } }, { done: { set: { done: true } } } ]\n";

fn home(image: &Image, floor_mib: &str) -> Home {
    Home::at(&image.data()).set("storage.floor_mib", floor_mib).set("node.partitions", "4")
}

async fn until_refused(writer: &mut Writer) {
    soon("the disk to be called full", async {
        while code(writer.append().await) != Some(Code::DiskFull) {
            sleep(PAUSE).await;
        }
    })
    .await;
}

async fn until_taken(writer: &mut Writer) {
    soon("writing to go on", async {
        while let Err(error) = writer.append().await {
            assert_eq!(error.code(), Some(Code::DiskFull), "{error}");
            sleep(PAUSE).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_stops_at_the_floor_and_goes_on_by_itself() {
    let Some(image) = Image::mount(256) else { return };
    let home = home(&image, "32");
    let mut node = home.start().await;
    let http = Http::to(home.listen);
    let mut writer = Writer::new(home.client(), "agent-1/notes", 1_000).await;
    home.client().register_workflow(DEFINITION).await.expect("registered");
    for round in 0..rounds(5) {
        for _ in 0..20 {
            writer.append().await.expect("there is room");
        }
        let waiting = home.client().start_run(&StartRun::new("rest")).await.expect("started");
        image.fill(16);
        until_refused(&mut writer).await;
        // Everything that writes is told the same, in the words of its own way in.
        let refused = http.post("/v1/runs", &json!({ "workflow": "rest" })).await;
        refused.refuses(507, "disk_full");
        let said = refused.body["detail"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains("MiB are left") && said.contains("free some space"), "{said}");
        http.post("/v1/streams/agent-1/notes", &json!(1)).await.refuses(507, "disk_full");
        let metrics = Http::to(home.admin).text("/metrics").await;
        assert!(metrics.lines().any(|line| line == "headwater_disk_writable 0"), "{metrics}");
        // Everything that reads goes on.
        writer.check().await;
        home.client().run(waiting.run).await.expect("it is shown");
        if round % 2 == 1 {
            // Also after a crash in the middle of it.
            node.kill().await;
            node = home.start().await;
            writer.check().await;
            until_refused(&mut writer).await;
        }
        image.make_room();
        let freed = Instant::now();
        until_taken(&mut writer).await;
        println!("round {round}: written again {} ms after there was room", freed.elapsed().as_millis());
        crate::support::ended(&home.client(), waiting.run).await;
        assert!(node.is_up(), "{}", home.log());
    }
    writer.check().await;
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_a_byte_left_stops_the_node_and_the_ballast_opens_it_again() {
    for round in 0..rounds(3) {
        // A disk for each round: what is written stays.
        let Some(image) = Image::mount(256) else { return };
        let (careless, careful) = (home(&image, "0"), home(&image, "32"));
        // Without a floor the node notices only when a write fails.
        let node = careless.start().await;
        let mut writer = Writer::new(careless.client(), "agent-1/notes", 240_000).await;
        let current = &mut writer;
        current.append().await.expect("there is room");
        current.check().await;
        image.fill(0);
        soon("the disk to be full to the last byte", async { while current.append().await.is_ok() {} }).await;
        let printed = node.ended().await;
        assert_eq!(printed.code(), Some(74), "{}", careless.log());
        assert!(careless.log().contains("check the disk, then start it again"), "{}", careless.log());

        // Still full: the ballast makes room for the log to be opened, reads are served, writes are not.
        let node = careful.start().await;
        current.client = careful.client();
        current.check().await;
        until_refused(current).await;
        assert!(!image.data().join("BALLAST").exists(), "round {round}: it was given back");
        // Nobody has to be careful with a node in this state either.
        node.kill().await;
        let node = careful.start().await;
        current.check().await;
        image.make_room();
        until_taken(current).await;
        soon("the ballast to be made again", async {
            while !image.data().join("BALLAST").exists() {
                sleep(PAUSE).await;
            }
        })
        .await;
        current.check().await;
        assert!(node.stop().await.success(), "{}", careful.log());
    }
}
