//! What the log tells an operator: how large groups are, where the time goes, and how often readers need the disk.

pub(crate) mod gauges;

use std::time::Duration;

pub(crate) use prometheus::Registry;
use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge};

/// One set of figures a log. `RocksLog::register` shows them.
#[derive(Debug)]
pub struct Metrics {
    group_batches: Histogram,
    group_bytes: Histogram,
    queue_seconds: Histogram,
    write_seconds: Histogram,
    sync_seconds: Histogram,
    records: IntCounter,
    bytes: IntCounter,
    written: IntGauge,
    durable: IntGauge,
    tail_hits: IntCounter,
    cold_reads: IntCounter,
    watermarks: IntCounter,
    quarantined: IntGauge,
    replaced_tables: IntCounter,
    rebuilt_indexes: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let counts = vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
        let bytes = vec![256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
        let seconds =
            vec![20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 500e-3, 2.0];
        Self {
            group_batches: histogram("group_batches", "appends in one group commit", counts),
            group_bytes: histogram("group_bytes", "bytes of blocks in one group commit", bytes),
            queue_seconds: histogram("queue_seconds", "from append to write", seconds.clone()),
            write_seconds: histogram("write_seconds", "one write, not synced", seconds.clone()),
            sync_seconds: histogram("sync_seconds", "one sync", seconds),
            records: counter("records_total", "records written"),
            bytes: counter("bytes_total", "bytes of blocks written"),
            written: gauge("written_sequence", "number of the last write"),
            durable: gauge("durable_sequence", "number of the last durable write"),
            tail_hits: counter("tail_hits_total", "reads served from recent blocks"),
            cold_reads: counter("cold_reads_total", "reads that went to the disk"),
            watermarks: counter("watermarks_total", "writes of the commit watermark"),
            quarantined: gauge("quarantined_segments", "damaged segments that are not served; should be 0"),
            replaced_tables: counter("replaced_tables_total", "damaged tables replaced by what can be read of them"),
            rebuilt_indexes: counter("rebuilt_indexes_total", "stream indexes of segments made anew from their blocks"),
        }
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), String> {
        let all: [Box<dyn Collector>; 15] = [
            Box::new(self.group_batches.clone()),
            Box::new(self.group_bytes.clone()),
            Box::new(self.queue_seconds.clone()),
            Box::new(self.write_seconds.clone()),
            Box::new(self.sync_seconds.clone()),
            Box::new(self.records.clone()),
            Box::new(self.bytes.clone()),
            Box::new(self.written.clone()),
            Box::new(self.durable.clone()),
            Box::new(self.tail_hits.clone()),
            Box::new(self.cold_reads.clone()),
            Box::new(self.watermarks.clone()),
            Box::new(self.quarantined.clone()),
            Box::new(self.replaced_tables.clone()),
            Box::new(self.rebuilt_indexes.clone()),
        ];
        all.into_iter().try_for_each(|figure| registry.register(figure).map_err(|error| error.to_string()))
    }

    pub(crate) fn wrote(&self, batches: usize, records: u64, bytes: u64, sequence: u64, took: Duration) {
        self.group_batches.observe(approximate(batches as u64));
        self.group_bytes.observe(approximate(bytes));
        self.write_seconds.observe(took.as_secs_f64());
        self.records.inc_by(records);
        self.bytes.inc_by(bytes);
        self.written.set(sequence.cast_signed());
    }

    /// How long each append of a group waited.
    pub(crate) fn queued(&self, waits: impl Iterator<Item = Duration>) {
        // Counted apart and added at once: a shared counter for each append would cost as much as its place in a block.
        let waited = self.queue_seconds.local();
        waits.for_each(|wait| waited.observe(wait.as_secs_f64()));
        waited.flush();
    }

    pub(crate) fn synced(&self, sequence: u64, took: Duration) {
        self.sync_seconds.observe(took.as_secs_f64());
        self.durable.set(sequence.cast_signed());
    }

    pub(crate) fn tail_hit(&self) {
        self.tail_hits.inc();
    }

    pub(crate) fn cold_read(&self) {
        self.cold_reads.inc();
    }

    pub(crate) fn quarantined(&self, segments: usize) {
        self.quarantined.set(i64::try_from(segments).unwrap_or(i64::MAX));
    }

    pub(crate) fn table_replaced(&self, indexes: u64) {
        self.replaced_tables.inc();
        self.indexes_rebuilt(indexes);
    }

    pub(crate) fn indexes_rebuilt(&self, indexes: u64) {
        self.rebuilt_indexes.inc_by(indexes);
    }

    /// Damaged tables that were replaced, and stream indexes that were made anew, since the log was opened.
    pub fn mended(&self) -> (u64, u64) {
        (self.replaced_tables.get(), self.rebuilt_indexes.get())
    }

    pub(crate) fn watermark(&self) {
        self.watermarks.inc();
    }

    /// Reads served from recent blocks, and reads that went to the disk.
    pub fn reads(&self) -> (u64, u64) {
        (self.tail_hits.get(), self.cold_reads.get())
    }

    /// Bytes of blocks that were written since the log was opened.
    pub fn block_bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// How many syncs there were.
    pub fn syncs(&self) -> u64 {
        self.sync_seconds.get_sample_count()
    }

    /// How many times the commit watermark was written since the log was opened.
    pub fn watermarks(&self) -> u64 {
        self.watermarks.get()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a histogram's buckets are coarser than 2^52")]
const fn approximate(value: u64) -> f64 {
    value as f64
}

fn histogram(name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    let options = HistogramOpts::new(format!("headwater_log_{name}"), help).buckets(buckets);
    Histogram::with_opts(options).expect("names and buckets are constants that are valid")
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(format!("headwater_log_{name}"), help).expect("names are constants that are valid")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(format!("headwater_log_{name}"), help).expect("names are constants that are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_figures_register_once() {
        let (metrics, registry) = (Metrics::new(), Registry::new());
        metrics.register(&registry).expect("all names differ");
        assert_eq!(registry.gather().len(), 15);
        assert!(metrics.register(&registry).is_err());
    }
}
