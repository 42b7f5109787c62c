//! Disks that are full, failing or slow. Nothing that was acknowledged is lost, nothing has to be done by hand but to
//! make room, and everybody is told what is going on. `FAULT_ROUNDS` repeats each; `make faults` sets it high.

mod failing;
mod full;
mod image;
mod slow;

use headwater_client::{Appending, Client, Code, Error, StreamStart};
use serde_json::{Value, json};

use crate::support::stream;

/// How often a fault is planted.
fn rounds(few: usize) -> usize {
    std::env::var("FAULT_ROUNDS").ok().map_or(few, |text| text.parse().expect("FAULT_ROUNDS is a number"))
}

/// A writer that knows what it was acknowledged.
#[derive(Debug)]
struct Writer {
    client: Client,
    name: String,
    acknowledged: u64,
    event_bytes: usize,
}

impl Writer {
    async fn new(client: Client, name: &str, event_bytes: usize) -> Self {
        client.create_stream(&stream(name), None).await.expect("created");
        Self { client, name: name.to_owned(), acknowledged: 0, event_bytes }
    }

    /// Appends the next event; counts it only once it is acknowledged.
    async fn append(&mut self) -> Result<(), Error> {
        let event = json!({ "n": self.acknowledged, "filling": filling(self.acknowledged, self.event_bytes) });
        let appending = Appending::json(event.to_string());
        self.client.append(&stream(&self.name), appending).await?;
        self.acknowledged += 1;
        Ok(())
    }

    /// What is kept: all that was acknowledged, in order, and at most the one event whose outcome nobody knew.
    async fn check(&mut self) {
        let mut next = StreamStart::Begin;
        let mut found = Vec::new();
        loop {
            let page = self.client.read_stream(&stream(&self.name), next, false).await.expect("reading goes on");
            let events: Vec<Value> = serde_json::from_slice(&page.body).expect("JSON");
            found.extend(events.iter().map(|event| event["n"].as_u64().expect("a number")));
            next = StreamStart::At(page.next);
            if page.up_to_date {
                break;
            }
        }
        let count = found.len() as u64;
        assert!(found.iter().copied().eq(0..count), "{}: in order, without holes: {found:?}", self.name);
        let least = self.acknowledged;
        assert!((least..=least + 1).contains(&count), "{}: {least} were acknowledged, {count} are there", self.name);
        self.acknowledged = count;
    }
}

/// Text that hardly compresses, else no disk would ever be full of it.
fn filling(seed: u64, bytes: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    let states = std::iter::successors(Some(seed), next).skip(1).take(bytes);
    states.map(|state| char::from(LETTERS[usize::try_from(state >> 59).expect("five bits")])).collect()
}

fn code(outcome: Result<(), Error>) -> Option<Code> {
    outcome.err().and_then(|error| error.code())
}
