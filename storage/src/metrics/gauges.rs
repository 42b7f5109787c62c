//! Figures that are looked up when somebody asks: positions, what acknowledgements promise, how RocksDB is doing.

use std::sync::{Arc, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};
use types::Durability;

use crate::catalog::Catalog;
use crate::rocks::RocksStore;

/// They outlive neither the log nor its directory's lock.
#[derive(Debug)]
pub(crate) struct Gauges {
    catalog: Weak<Catalog>,
    store: Weak<RocksStore>,
    durability: IntGaugeVec,
    written: IntGaugeVec,
    durable: IntGaugeVec,
    stalls: IntGauge,
    stopped: IntGauge,
    debt_bytes: IntGauge,
    compactions: IntGauge,
    flushes: IntGauge,
    memtable_bytes: IntGauge,
    file_bytes: IntGauge,
}

impl Gauges {
    pub(crate) fn new(catalog: &Arc<Catalog>, store: &Arc<RocksStore>, durability: Durability) -> Self {
        let level = labelled("durability", "level", "what an acknowledgement promises: 1 at the level that is set");
        level.with_label_values(&[&durability.to_string()]).set(1);
        Self {
            catalog: Arc::downgrade(catalog),
            store: Arc::downgrade(store),
            durability: level,
            written: labelled("written_position", "partition", "one past the last record written"),
            durable: labelled("durable_position", "partition", "one past the last record synced to disk"),
            stalls: gauge(
                "write_stalls_total",
                "how often RocksDB slowed down or stopped writes since the log was opened",
            ),
            stopped: gauge("writes_stopped", "1 while RocksDB stops writes"),
            debt_bytes: gauge("compaction_debt_bytes", "bytes that compaction has still to rewrite, an estimate"),
            compactions: gauge("compactions_running", "compactions at work"),
            flushes: gauge("flushes_running", "memtables being written to files"),
            memtable_bytes: gauge("memtable_bytes", "memory of the memtables"),
            file_bytes: gauge("file_bytes", "bytes of all files but the write-ahead log"),
        }
    }

    fn all(&self) -> [&dyn Collector; 10] {
        [
            &self.durability,
            &self.written,
            &self.durable,
            &self.stalls,
            &self.stopped,
            &self.debt_bytes,
            &self.compactions,
            &self.flushes,
            &self.memtable_bytes,
            &self.file_bytes,
        ]
    }

    fn look_up(&self) {
        if let Some(catalog) = self.catalog.upgrade() {
            for partition in catalog.count().partitions() {
                let (view, label) = (catalog.view(partition), partition.to_string());
                self.written.with_label_values(&[&label]).set(view.written().value().cast_signed());
                self.durable.with_label_values(&[&label]).set(view.durable().value().cast_signed());
            }
        }
        if let Some(store) = self.store.upgrade() {
            let health = store.health();
            for (gauge, value) in [
                (&self.stalls, health.stalls),
                (&self.stopped, health.stopped),
                (&self.debt_bytes, health.debt_bytes),
                (&self.compactions, health.compactions),
                (&self.flushes, health.flushes),
                (&self.memtable_bytes, health.memtable_bytes),
                (&self.file_bytes, health.file_bytes),
            ] {
                gauge.set(value.cast_signed());
            }
        }
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.look_up();
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

fn labelled(name: &str, label: &str, help: &str) -> IntGaugeVec {
    let options = Opts::new(format!("headwater_log_{name}"), help);
    IntGaugeVec::new(options, &[label]).expect("names are constants that are valid")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(format!("headwater_log_{name}"), help).expect("names are constants that are valid")
}
