//! Says now and then how far a long mend is: a start that waits for it is not hung.

use std::time::{Duration, Instant};

use crate::rocks::Table;

const EVERY: Duration = Duration::from_secs(5);

/// A family is written anew, part by part.
pub(super) struct Progress<'a> {
    table: &'a Table,
    /// `segments`, or what else the parts are.
    parts: &'static str,
    done: usize,
    of: usize,
    bytes: u64,
    began: Instant,
    told: Instant,
}

impl<'a> Progress<'a> {
    /// `bytes`: of the tables that are read.
    pub(super) fn begin(table: &'a Table, parts: &'static str, of: usize, bytes: u64) -> Self {
        let (name, family, mib) = (&table.name, table.family.name(), bytes >> 20);
        tracing::warn!(
            table = name,
            family,
            mib,
            "what the family holds besides a damaged table is written anew before the node serves; this takes about as long \
             as copying so many MiB"
        );
        let now = Instant::now();
        Self { table, parts, done: 0, of, bytes: 0, began: now, told: now }
    }

    /// One part more is written.
    pub(super) fn step(&mut self, bytes: u64) {
        (self.done, self.bytes) = (self.done + 1, self.bytes + bytes);
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            self.tell("a family is being written anew");
        }
    }

    pub(super) fn end(self) {
        self.tell("a family was written anew");
    }

    fn tell(&self, what: &str) {
        let (family, parts, done, of, mib) =
            (self.table.family.name(), self.parts, self.done, self.of, self.bytes >> 20);
        let seconds = self.began.elapsed().as_secs();
        tracing::info!(family, done, of, parts, mib, seconds, "{what}");
    }
}
