//! What the connection plane counts about itself.

pub(crate) use prometheus::{Error, IntGauge, Registry, TextEncoder};
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts};
use types::Code;

use crate::admission::CloseCode;

/// Counters of one gateway. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) connections: IntGauge,
    pub(crate) connections_total: IntCounter,
    pub(crate) subscriptions: IntGauge,
    pub(crate) workers: IntGauge,
    pub(crate) messages_received: IntCounter,
    pub(crate) bytes_received: IntCounter,
    pub(crate) writes: IntCounter,
    pub(crate) bytes_sent: IntCounter,
    pub(crate) events_sent: IntCounter,
    pub(crate) events_encoded: IntCounter,
    pub(crate) reads: IntCounter,
    pub(crate) commands: IntCounter,
    pub(crate) http_requests: IntCounterVec,
    held: IntGaugeVec,
    closed: IntCounterVec,
    refused: IntCounterVec,
    resumed: IntCounterVec,
}

impl Metrics {
    /// Registers them; fails when the registry has other metrics of these names.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("headwater_gateway_{name}"), help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("headwater_gateway_{name}"), help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let by = |name: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(Opts::new(format!("headwater_gateway_{name}"), help), &[label])?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let held = Opts::new("headwater_gateway_held_bytes", "Bytes held for connections, by what for.");
        let held = IntGaugeVec::new(held, &["what"])?;
        registry.register(Box::new(held.clone()))?;
        Ok(Self {
            held,
            connections: gauge("connections", "Open sockets.")?,
            connections_total: counter("connections_total", "Sockets opened.")?,
            subscriptions: gauge("subscriptions", "Open subscriptions.")?,
            workers: gauge("workers", "Sockets that work.")?,
            messages_received: counter("messages_received_total", "Messages read from sockets.")?,
            bytes_received: counter("received_bytes_total", "Bytes of messages read from sockets.")?,
            writes: counter("writes_total", "Buffers written to sockets: system calls, nearly.")?,
            bytes_sent: counter("sent_bytes_total", "Bytes written to sockets.")?,
            events_sent: counter("events_sent_total", "Events sent to subscribers.")?,
            events_encoded: counter("events_encoded_total", "Events encoded, once for all who follow a stream.")?,
            reads: counter("reads_total", "Reads asked of the backend for subscribers behind the tail.")?,
            commands: counter("commands_total", "Commands taken from sockets.")?,
            http_requests: by("http_requests_total", "HTTP requests by status.", "status")?,
            closed: by("closed_total", "Sockets closed by this node, by close code.", "code")?,
            refused: by("refused_total", "Refusals, by code.", "code")?,
            resumed: by("resumed_total", "Subscriptions opened, by how they started.", "result")?,
        })
    }

    /// What a budget holds.
    pub(crate) fn held(&self, what: &str) -> IntGauge {
        self.held.with_label_values(&[what])
    }

    pub(crate) fn closed(&self, code: CloseCode) {
        self.closed.with_label_values(&[code.to_string().as_str()]).inc();
    }

    pub(crate) fn refused(&self, code: Code) {
        self.refused.with_label_values(&[code.as_str()]).inc();
    }

    /// `live`, `replay`, or the reason of a gap.
    pub(crate) fn resumed(&self, result: &str) {
        self.resumed.with_label_values(&[result]).inc();
    }
}
