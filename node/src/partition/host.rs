//! What all drivers of a node share: the log, the definitions, and where effects and news go.

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use engine::DefinitionName;
use storage::{Log, RocksLog, Rows, Space};
use tokio::sync::watch;
use types::{Durability, History, PartitionCount, PartitionId, Timestamp};

use super::driver::{Notice, Request};
use super::lane::LaneError;
use super::mailbox::Mailbox;
use super::state_memory::StateMemory;
use crate::catalogue::Catalogue;
use crate::clock::LogClock;
use crate::dispatcher::{Dispatcher, Owed};
use crate::fanout::Fanout;
use crate::metrics::Metrics;
use crate::scrub::Word;

/// The rooms around the drivers.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) rows: Arc<dyn Rows>,
    /// The same log, as operators see it.
    pub(crate) storage: Arc<RocksLog>,
    /// What the log's answers promise.
    pub(crate) durability: Durability,
    pub(crate) clock: LogClock,
    pub(crate) catalogue: Catalogue,
    pub(crate) fanout: Fanout,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) metrics: Metrics,
    /// The room on the log's disk.
    pub(crate) space: Arc<Space>,
    /// One mailbox for each driver; a partition belongs to driver `partition % drivers`. Set once at the start.
    pub(crate) mailboxes: OnceLock<Vec<Arc<Mailbox<Request, Notice>>>>,
    /// Where a read tells that it met damage. Set once at the start.
    pub(crate) suspicions: OnceLock<Sender<Word>>,
    pub(crate) state: StateMemory,
    /// Definitions whose rows were damaged and could not be made again.
    pub(crate) lost_definitions: Mutex<BTreeSet<String>>,
    /// Why the node has to stop.
    pub(crate) fatal: watch::Sender<Option<String>>,
}

impl Host {
    /// Says that something could not be read: for whom, the answer tells.
    pub(crate) fn note_unreadable(&self, error: &LaneError) {
        self.metrics.unreadable.inc();
        tracing::error!(%error, "what was asked for cannot be read; the asker is refused, the node goes on");
    }

    /// A definition that was lost is known again.
    pub(crate) fn registered_again(&self, name: &DefinitionName) {
        let mut lost = self.lost_definitions.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.remove(&crate::recovery::definition_text(name)) {
            self.metrics.definitions_lost.dec();
        }
    }

    pub(crate) fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    pub(crate) fn history(&self, partition: PartitionId) -> History {
        self.log.bounds(partition).history
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Something damaged was read: whoever looks for damage looks there next.
    pub(crate) fn suspect(&self, partition: PartitionId) {
        if let Some(suspicions) = self.suspicions.get() {
            // Nobody listens any more when the node stops.
            let _ = suspicions.send(Word::Suspect(partition));
        }
    }

    pub(crate) fn partitions(&self) -> PartitionCount {
        self.log.partitions()
    }

    /// Sends what the dispatcher found the node to owe its partitions.
    pub(crate) fn send(&self, owed: Owed) {
        for (partition, command) in owed {
            self.mailbox(partition).notify(Notice::Command(partition, Box::new(command)));
        }
    }

    pub(crate) fn mailbox(&self, partition: PartitionId) -> &Arc<Mailbox<Request, Notice>> {
        let mailboxes = self.mailboxes.get().expect("drivers are started before anything is asked");
        &mailboxes[partition.value() as usize % mailboxes.len()]
    }
}
