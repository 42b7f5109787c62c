//! Subscribers that stay through all kills: each sees a dense sequence, to the end, without a gap.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_client::{Client, Delivery, Event, RunStarted, StreamName, StreamStart, Subscription};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::joined;
use crate::support::{insist, soon};

#[derive(Debug)]
pub(super) struct Readers {
    tasks: Vec<JoinHandle<u64>>,
    streams: Vec<StreamName>,
    /// How far each user stream goes, once that is known.
    ends: watch::Sender<Option<Arc<BTreeMap<StreamName, u64>>>>,
}

impl Readers {
    /// One half follows user streams, the other runs, as soon as those are started.
    pub(super) async fn begin(
        client: &Client,
        count: usize,
        streams: &[StreamName],
        announced: watch::Receiver<Vec<RunStarted>>,
    ) -> Self {
        let ends = watch::Sender::new(None);
        let mut tasks = Vec::new();
        for n in 0..count / 2 {
            let stream = streams[n % streams.len()].clone();
            let events = subscribed(client, &stream).await;
            tasks.push(tokio::spawn(follow(stream, events, ends.subscribe())));
        }
        for n in count / 2..count {
            let (client, mut announced, ends) = (client.clone(), announced.clone(), ends.subscribe());
            tasks.push(tokio::spawn(async move {
                // Spread over the runs, so that some begin early and some late.
                let wanted = (n - count / 2) * 4;
                let run = {
                    let known = announced.wait_for(|runs| runs.len() > wanted).await.expect("all runs are started");
                    known[wanted]
                };
                let events = subscribed(&client, &run.stream()).await;
                follow(run.stream(), events, ends).await
            }));
        }
        Self { tasks, streams: streams.to_vec(), ends }
    }

    /// Waits until everybody has everything.
    pub(super) async fn verify(self, client: &Client) {
        let mut ends = BTreeMap::new();
        for stream in &self.streams {
            let state = client.stream(stream).await.expect("the stream is there");
            ends.insert(stream.clone(), state.end.next.value());
        }
        self.ends.send_replace(Some(Arc::new(ends)));
        let mut reconnects = 0;
        for task in self.tasks {
            reconnects += soon("a subscriber to have everything", joined(task)).await;
        }
        println!("subscribers came back {reconnects} times, none missed an event");
    }
}

async fn subscribed(client: &Client, stream: &StreamName) -> Subscription {
    insist("subscribing", || client.subscribe(stream.clone(), StreamStart::Begin)).await
}

/// Follows until the run ends, or the stream's end is known and reached.
async fn follow(
    stream: StreamName,
    mut events: Subscription,
    mut ends: watch::Receiver<Option<Arc<BTreeMap<StreamName, u64>>>>,
) -> u64 {
    let (mut next, mut end) = (0, None);
    while end.is_none_or(|end| next < end) {
        let delivery = tokio::select! {
            delivery = events.next() => delivery,
            ends = ends.wait_for(Option::is_some), if end.is_none() => {
                // Without it the story has failed, which somebody else says.
                let Ok(ends) = ends else { break };
                let ends = ends.clone().expect("it was waited for");
                // A run ends by itself.
                end = Some(ends.get(&stream).copied().unwrap_or(u64::MAX));
                continue;
            }
        };
        let delivery = delivery.unwrap_or_else(|| panic!("{stream} ended without a word at {next}"));
        match delivery.unwrap_or_else(|error| panic!("{stream} at {next}: {error}")) {
            Delivery::Event(event) => {
                assert_eq!(event.offset.value(), next, "{stream}: the sequence has a hole or a repetition");
                next += 1;
            }
            Delivery::Gap { reason, .. } => panic!("{stream} at {next}: a gap: {reason}"),
            Delivery::End { .. } => break,
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } | Delivery::Passed { .. } => {}
        }
    }
    let stats = events.stats();
    assert_eq!((stats.gaps, stats.broken_chains), (0, 0), "{stream}: {stats:?}");
    stats.reconnects
}

/// All that a stream holds now, read by somebody new.
pub(super) async fn from_the_beginning(client: &Client, stream: StreamName) -> Vec<Event> {
    let end = client.stream(&stream).await.expect("the stream is there").end.next.value();
    let mut events = subscribed(client, &stream).await;
    let mut found: Vec<Event> = Vec::new();
    while (found.len() as u64) < end {
        let delivery = soon("the next event", events.next()).await.expect("the stream is not over");
        match delivery.expect("the node is up") {
            Delivery::Event(event) => {
                assert_eq!(event.offset.value(), found.len() as u64, "{stream} has a hole");
                found.push(event);
            }
            Delivery::Gap { reason, .. } => panic!("{stream}: a gap: {reason}"),
            Delivery::End { .. } => panic!("{stream} ended at {} of {end}", found.len()),
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } | Delivery::Passed { .. } => {}
        }
    }
    found
}
