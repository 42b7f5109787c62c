//! The node's own figures, for Prometheus.

pub(crate) use prometheus::Registry;
use prometheus::{IntCounter, IntGauge};

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) commands: IntCounter,
    pub(crate) rejections: IntCounter,
    pub(crate) steps_waiting: IntGauge,
    pub(crate) ready_ms: IntGauge,
    pub(crate) torn_records: IntGauge,
    pub(crate) disk_free_bytes: IntGauge,
    pub(crate) disk_writable: IntGauge,
    pub(crate) dropped_segments: IntCounter,
    pub(crate) dropped_bytes: IntCounter,
    pub(crate) scrubbed_bytes: IntCounter,
    pub(crate) scrub_rounds: IntCounter,
    pub(crate) unreadable: IntCounter,
    pub(crate) state_bytes: IntGauge,
    pub(crate) runs_set_aside: IntGauge,
    pub(crate) definitions_lost: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("the name is a metric's");
            registry.register(Box::new(counter.clone())).expect("the name is not taken");
            counter
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("the name is a metric's");
            registry.register(Box::new(gauge.clone())).expect("the name is not taken");
            gauge
        };
        Self {
            commands: counter("headwater_commands_total", "Commands decided, internal ones included"),
            rejections: counter("headwater_rejections_total", "Commands that were rejected"),
            unreadable: counter(
                "headwater_unreadable_rows_total",
                "Questions and commands that were refused because a row they need is damaged or cannot be read, and such rows \
                in listings",
            ),
            runs_set_aside: gauge(
                "headwater_damaged_runs",
                "Open runs whose state is lost and that are set aside until they are given up",
            ),
            definitions_lost: gauge(
                "headwater_damaged_definitions",
                "Definitions that are lost and have to be registered again",
            ),
            state_bytes: gauge("headwater_state_bytes", "What open runs hold in memory"),
            steps_waiting: gauge("headwater_steps_waiting", "Steps that wait for a worker"),
            ready_ms: gauge("headwater_ready_milliseconds", "From opening the data directory to ready, at this start"),
            dropped_segments: counter("headwater_dropped_segments_total", "Segments that retention dropped"),
            dropped_bytes: counter("headwater_dropped_bytes_total", "Bytes of blocks in segments that were dropped"),
            scrubbed_bytes: counter(
                "headwater_scrubbed_bytes_total",
                "Bytes of sealed segments that were read to be checked",
            ),
            scrub_rounds: counter("headwater_scrub_rounds_total", "Rounds over all sealed segments to check them"),
            torn_records: gauge("headwater_torn_records", "Unacknowledged records dropped at this start"),
            disk_free_bytes: gauge("headwater_disk_free_bytes", "Free bytes of the data directory's disk"),
            disk_writable: gauge("headwater_disk_writable", "1, or 0 while the disk is too full to write"),
        }
    }
}
