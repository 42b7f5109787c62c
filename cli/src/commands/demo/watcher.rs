//! Follows one run as a client would, and writes down all that a client could complain about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use headwater_client::{
    Client, Cursor, Delivery, Error, Event, RunStarted, StreamStart, Subscription, SubscriptionStats,
};
use serde_json::Value;

use super::screen::Screen;

/// What all watchers together have seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) events: AtomicU64,
    pub(super) tokens: AtomicU64,
    /// Tokens of the run on the screen.
    pub(super) shown: AtomicU64,
}

/// What a client of one run saw.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) before: u64,
    /// Events that came after the connection was lost and made again.
    pub(super) after: u64,
    /// Offsets that should have come and did not, and gaps that the node announced.
    pub(super) missing: u64,
    /// Offsets that came twice.
    pub(super) repeated: u64,
    /// What the client library met and kept from whoever uses it: batches that did not follow on what was there, so that
    /// it asked again, and events that it had given already.
    pub(super) broken_chains: u64,
    pub(super) repeats_dropped: u64,
    pub(super) reconnects: u64,
    pub(super) first_resumed: Option<Instant>,
    /// Where it was when the connection was lost.
    pub(super) resumed_from: Option<Cursor>,
    /// The streamed text by step number, and where each step stands.
    texts: BTreeMap<u32, String>,
    paths: BTreeMap<u32, String>,
    next: u64,
    /// Why it was given up.
    pub(super) error: Option<String>,
}

/// Follows a run to its end.
pub(super) async fn watch(client: Client, run: RunStarted, seen: Arc<Seen>, screen: Option<Arc<Screen>>) -> Watched {
    let mut watched = Watched::default();
    if let Err(error) = follow(&client, run, &seen, screen.as_deref(), &mut watched).await {
        watched.error = Some(error.to_string());
    }
    watched
}

async fn follow(
    client: &Client,
    run: RunStarted,
    seen: &Seen,
    screen: Option<&Screen>,
    watched: &mut Watched,
) -> Result<(), Error> {
    let mut events = client.subscribe(run.stream(), StreamStart::Begin).await?;
    let ended = take_all(&mut events, seen, screen, watched).await;
    watched.settle(events.stats());
    ended
}

async fn take_all(
    events: &mut Subscription,
    seen: &Seen,
    screen: Option<&Screen>,
    watched: &mut Watched,
) -> Result<(), Error> {
    while let Some(delivery) = events.next().await {
        match delivery? {
            Delivery::Event(event) => {
                seen.events.fetch_add(1, Ordering::Relaxed);
                watched.event(&event);
                if let Some(token) = token(&event) {
                    seen.tokens.fetch_add(1, Ordering::Relaxed);
                    if let Some(screen) = screen {
                        seen.shown.fetch_add(1, Ordering::Relaxed);
                        screen.token(&token);
                    }
                }
            }
            Delivery::Gap { .. } => watched.missing += 1,
            Delivery::Lost { .. } => watched.resumed_from = events.cursor(),
            Delivery::Resumed { .. } => watched.reconnects += 1,
            Delivery::Opened { .. } | Delivery::Passed { .. } => {}
            Delivery::End { .. } => return Ok(()),
        }
    }
    Ok(())
}

fn token(event: &Event) -> Option<String> {
    event.source.and_then(|_| serde_json::from_slice(&event.payload.data).ok())
}

impl Watched {
    /// Nothing was seen, for this reason.
    pub(super) fn given_up(reason: String) -> Self {
        Self { error: Some(reason), ..Self::default() }
    }

    fn event(&mut self, event: &Event) {
        self.count(event.offset.value());
        if let (Some(source), Some(token)) = (event.source, token(event)) {
            self.texts.entry(source.step).or_default().push_str(&token);
        }
        let data: Value = serde_json::from_slice(&event.payload.data).unwrap_or_default();
        let step = data["step"].as_u64().and_then(|step| u32::try_from(step).ok());
        match (&*event.kind, step) {
            ("step_scheduled", Some(step)) => {
                self.paths.insert(step, data["path"].as_str().unwrap_or_default().to_owned());
            }
            // The text of the attempt before is void.
            ("attempt_superseded", Some(step)) => drop(self.texts.remove(&step)),
            _ => {}
        }
    }

    fn settle(&mut self, stats: SubscriptionStats) {
        self.broken_chains = stats.broken_chains;
        self.repeats_dropped = stats.repeats_dropped;
    }

    fn count(&mut self, offset: u64) {
        if self.reconnects == 0 {
            self.before += 1;
        } else {
            self.after += 1;
            self.first_resumed.get_or_insert_with(Instant::now);
        }
        self.missing += offset.saturating_sub(self.next);
        self.repeated += u64::from(offset < self.next);
        self.next = self.next.max(offset + 1);
    }

    /// The streamed texts by the path of their step.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let named = |(step, text): (&u32, &String)| (self.paths.get(step).cloned().unwrap_or_default(), text.clone());
        self.texts.iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(offsets: &[u64]) -> (u64, u64) {
        let mut watched = Watched::default();
        for &offset in offsets {
            watched.count(offset);
        }
        (watched.missing, watched.repeated)
    }

    #[test]
    fn a_client_notices_what_is_missing_and_what_comes_twice() {
        assert_eq!(offsets(&[0, 1, 2, 3]), (0, 0));
        assert_eq!(offsets(&[0, 1, 4, 5]), (2, 0));
        assert_eq!(offsets(&[0, 1, 1, 2]), (0, 1));
        assert_eq!(offsets(&[1]), (1, 0));
    }
}
