//! Producers that append all the time, several to each stream, and keep what was acknowledged to hold it against what
//! is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_client::{Client, Pending, ProducerId, ProducerOptions, StreamName};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{joined, readers};
use crate::support::{Chance, insist, soon, stream};

const PRODUCERS: usize = 4;
const STREAMS: usize = 10;

#[derive(Debug)]
pub(super) struct Appends {
    streams: Vec<StreamName>,
    producers: Vec<JoinHandle<Vec<Acknowledged>>>,
}

/// An append that the node said is durable.
#[derive(Debug)]
struct Acknowledged {
    stream: usize,
    data: Value,
    /// Unknown for a repeat whose place the node no longer remembers.
    offset: Option<u64>,
}

impl Appends {
    pub(super) async fn begin(client: &Client, stop: &Arc<AtomicBool>, chance: &Chance) -> Self {
        let streams: Vec<_> = (0..STREAMS).map(|n| stream(&format!("agent-{n}/notes"))).collect();
        for stream in &streams {
            insist("creating a stream", || client.create_stream(stream, None)).await;
        }
        let mut producers = Vec::new();
        for name in 0..PRODUCERS {
            let id = ProducerId::new(&format!("producer-{name}")).expect("a producer's name");
            let producer =
                client.producer(ProducerOptions { id, epoch: 1, patience: None }).await.expect("a producer connects");
            let (streams, stop) = (streams.clone(), stop.clone());
            let chance = chance.named(&format!("producer {name}"));
            producers.push(tokio::spawn(append(name, producer, streams, stop, chance)));
        }
        Self { streams, producers }
    }

    pub(super) fn streams(&self) -> &[StreamName] {
        &self.streams
    }

    /// Every acknowledged event is there, once, where it was said to be, in the order of its producer; and nothing else.
    pub(super) async fn verify(self, client: &Client) {
        let mut acknowledged: Vec<Vec<Acknowledged>> = Vec::new();
        for producer in self.producers {
            acknowledged.push(soon("all appends to be answered", joined(producer)).await);
        }
        for (n, stream) in self.streams.iter().enumerate() {
            let events = readers::from_the_beginning(client, stream.clone()).await;
            let found: Vec<Value> =
                events.iter().map(|event| serde_json::from_slice(&event.payload.data).expect("JSON")).collect();
            for (producer, acknowledged) in acknowledged.iter().enumerate() {
                let expected: Vec<_> = acknowledged.iter().filter(|append| append.stream == n).collect();
                for append in &expected {
                    let Some(offset) = append.offset else { continue };
                    let there = usize::try_from(offset).ok().and_then(|offset| found.get(offset));
                    assert_eq!(there, Some(&append.data), "{stream}, offset {offset}");
                }
                let in_order: Vec<_> = expected.iter().map(|append| &append.data).collect();
                let of_it: Vec<_> = found.iter().filter(|data| data["producer"] == producer).collect();
                assert_eq!(of_it, in_order, "{stream}: what producer {producer} appended");
            }
        }
        let total: usize = acknowledged.iter().map(Vec::len).sum();
        println!("{total} appends acknowledged, all there, once, in order");
    }
}

async fn append(
    name: usize,
    producer: headwater_client::Producer,
    streams: Vec<StreamName>,
    stop: Arc<AtomicBool>,
    mut chance: Chance,
) -> Vec<Acknowledged> {
    let mut waiting: Vec<(usize, Value, Pending)> = Vec::new();
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..chance.between(1, 8) {
            let to = usize::try_from(chance.between(0, STREAMS as u64 - 1)).expect("few");
            let count = counts.entry(to).or_default();
            let data = json!({ "producer": name, "n": *count });
            *count += 1;
            let pending = producer.append(&streams[to], &data).await.expect("a producer takes what it is given");
            waiting.push((to, data, pending));
        }
        sleep(chance.millis(5, 40)).await;
    }
    let mut acknowledged = Vec::new();
    for (stream, data, pending) in waiting {
        let appended = pending.await.unwrap_or_else(|error| panic!("producer {name}: {data} was refused: {error}"));
        acknowledged.push(Acknowledged { stream, data, offset: appended.offset.map(headwater_client::Offset::value) });
    }
    acknowledged
}
