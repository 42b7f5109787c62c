//! What all connections of a node share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use types::{Code, Durability, Refusal};

use crate::backend::{Backend, Damage};
use crate::budget::Budget;
use crate::inbound::Inbound;
use crate::inbox::Inbox;
use crate::limits::{Limits, millis};
use crate::metrics::Metrics;
use crate::origin::WebAccess;
use crate::stream_tail::Tails;

/// One connection has at most this part of the memory for answers.
const CONNECTIONS: usize = 8;

/// One node's gateway.
#[derive(Debug)]
pub(crate) struct Gateway<B> {
    pub(crate) backend: B,
    /// The node's name, for people who read logs.
    pub(crate) node: String,
    /// The backend's.
    pub(crate) durability: Durability,
    pub(crate) limits: Arc<Limits>,
    pub(crate) web: WebAccess,
    pub(crate) metrics: Metrics,
    pub(crate) tails: Arc<Tails<B>>,
    pub(crate) inbound: Inbound,
    /// Of what clients have still to take.
    pub(crate) outbound: Arc<Budget>,
    sockets: Mutex<HashMap<u64, Arc<Inbox>>>,
    next_socket: AtomicU64,
    phase: watch::Sender<Phase>,
}

/// How far the node is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    Draining,
    Over,
}

impl<B: Backend> Gateway<B> {
    pub(crate) fn new(backend: B, node: String, limits: Limits, web: WebAccess, metrics: Metrics) -> Arc<Self> {
        let limits = Arc::new(limits);
        let tails = Tails::new(backend.clone(), Arc::clone(&limits), metrics.clone());
        let durability = backend.durability();
        let inbound = Inbound::of(&limits, metrics.held("inbound"));
        let outbound = Budget::new(limits.outbound_bytes, metrics.held("outbound"));
        Arc::new(Self {
            backend,
            node,
            durability,
            limits,
            web,
            metrics,
            tails,
            inbound,
            outbound,
            sockets: Mutex::default(),
            next_socket: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Serving),
        })
    }

    /// What the answers of one connection may hold: HTTP/2 carries many at a time, and others want some of it too.
    pub(crate) fn answers_of_connection(&self) -> Arc<Budget> {
        let Limits { outbound_bytes, response_bytes, .. } = *self.limits;
        self.outbound.part((outbound_bytes / CONNECTIONS).max(response_bytes.saturating_mul(2)))
    }

    /// Whether new work is welcome.
    pub(crate) fn ready(&self) -> Result<(), Refusal> {
        if *self.phase.borrow() != Phase::Serving {
            return Err(Refusal::new(
                Code::Draining,
                "the node is going away: connect again, to another one if you can",
            ));
        }
        self.backend.ready()
    }

    /// What is damaged and not served.
    pub(crate) fn damage(&self) -> Damage {
        self.backend.damage()
    }

    /// Resolves when the node starts to go away.
    pub(crate) async fn drained(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves when the node waits for nobody any longer.
    pub(crate) async fn over(&self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so the wait ends with the phase and not otherwise.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Waits for nobody any longer.
    pub(crate) fn end(&self) {
        self.phase.send_replace(Phase::Over);
    }

    /// Admits a socket, for as long as the pass is held.
    pub(crate) fn admit(self: &Arc<Self>, inbox: Arc<Inbox>) -> Result<Pass<B>, Refusal> {
        let mut sockets = self.sockets();
        // Looked at under the lock: a drain tells those that are listed, and lists nobody after.
        self.ready()?;
        if sockets.len() >= self.limits.sockets {
            let message = format!("the node has its limit of {} sockets", self.limits.sockets);
            return Err(Refusal::new(Code::Unavailable, message).retry_after_ms(1000));
        }
        let number = self.next_socket.fetch_add(1, Ordering::Relaxed);
        sockets.insert(number, inbox);
        drop(sockets);
        self.metrics.connections.inc();
        self.metrics.connections_total.inc();
        Ok(Pass { gateway: Arc::clone(self), number })
    }

    /// Turns the node away from new work and tells each socket when it is to go, each at another moment of the window.
    pub(crate) fn drain(&self) {
        let sockets = self.sockets();
        self.phase.send_replace(Phase::Draining);
        let window = self.limits.drain_window;
        for (place, inbox) in (1_u32..).zip(sockets.values()) {
            inbox.go_away(millis(turn(window, place, sockets.len())));
        }
    }

    pub(crate) fn socket_count(&self) -> usize {
        self.sockets().len()
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<u64, Arc<Inbox>>> {
        self.sockets.lock().expect("nothing panics while it holds the list of sockets")
    }
}

/// The moment of the `place`-th of `count`, the last at the end of the window.
fn turn(window: Duration, place: u32, count: usize) -> Duration {
    window.mul_f64(f64::from(place) / f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// A socket's place on the list.
pub(crate) struct Pass<B: Backend> {
    gateway: Arc<Gateway<B>>,
    number: u64,
}

impl<B: Backend> Drop for Pass<B> {
    fn drop(&mut self) {
        self.gateway.sockets().remove(&self.number);
        self.gateway.metrics.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_leaves_at_another_moment() {
        let window = Duration::from_secs(10);
        let moments: Vec<_> = (1..=4).map(|place| turn(window, place, 4).as_millis()).collect();
        assert_eq!(moments, [2500, 5000, 7500, 10_000]);
    }
}
