//! What a running log does about damage that was met: it quarantines what is lost, makes indexes anew, and takes damaged
//! tables out before a compaction comes to them, as far as that can be done while all is served.

use std::time::{Duration, Instant};

use types::{PartitionId, Position, Timestamp};

use super::RocksLog;
use crate::keys::Family;
use crate::log::Log;
use crate::mend::{MendError, Met, Use, ask_next_start, meet, replace};
use crate::quarantine::Quarantined;
use crate::retention::{self, DropError, SegmentId};
use crate::rocks::Table;
use crate::store::StoreError;

/// Damaged tables that are taken out for one segment: it has few.
const MOST_TABLES: usize = 64;
/// How long a segment that must be sealed is waited for: one group commit is enough.
const SEAL_PATIENCE: Duration = Duration::from_secs(10);

impl RocksLog {
    /// Takes the damaged tables out that have keys of a sealed segment. `false`: some table is left to the next start.
    /// Nothing may be dropped meanwhile.
    pub(super) fn take_out(&self, family: Family, segment: SegmentId) -> Result<bool, DropError> {
        let sealed = retention::sealed(&self.catalog, segment)?;
        for _ in 0..MOST_TABLES {
            match meet(&self.store, family, &sealed).map_err(|error| failed(&error.into()))? {
                Met::Nothing => return Ok(true),
                Met::Sorted(table) => match self.replace(&table) {
                    Ok(()) => {}
                    Err(MendError::Active(active)) => self.seal_now(active)?,
                    Err(error) => {
                        ask_next_start(&self.directory, &format!("{} could not be rewritten: {error}", table.name));
                        return Ok(false);
                    }
                },
                Met::ForTheNextStart(what) => {
                    ask_next_start(&self.directory, &what);
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    fn replace(&self, table: &Table) -> Result<(), MendError> {
        self.store.pause_compaction(table.family)?;
        let mut mark = |found: &Quarantined| {
            say(found);
            retention::quarantine(&self.catalog, found).map_err(|error| MendError::Unreadable(error.to_string()))
        };
        let replaced = replace(&self.directory, &self.store, table, Use::Serving, &mut mark, &mut |_| Ok(()));
        self.store.resume_compaction(table.family)?;
        let replaced = replaced?;
        self.catalog.metrics.table_replaced(replaced.indexes);
        let (table, family, bytes) = (&table.name, table.family.name(), table.bytes);
        let (quarantined, indexes) = (replaced.quarantined, replaced.indexes);
        tracing::warn!(
            table,
            family,
            bytes,
            quarantined,
            indexes,
            "a damaged table was replaced by a copy of what can be read of it; it is kept in quarantined/"
        );
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn tables(&self, family: Family) -> Vec<Table> {
        self.store.tables(family).expect("the store tells")
    }

    /// Quarantines a segment that took records when the start found that it lost some. What fails here the scrub does: it
    /// finds the segment when it is sealed.
    pub(super) fn seal_and_quarantine(&self, lost: &Quarantined) {
        say(lost);
        if let Err(error) = self.seal_now(lost.segment).and_then(|()| self.quarantine(lost)) {
            tracing::error!(segment = lost.segment.number, %error, "it could not be quarantined yet");
        }
    }

    /// Seals what takes records and would end every reader with damage, so that it can be read through and quarantined.
    pub(super) fn seal_what_is_damaged(&self, partition: PartitionId) -> Result<usize, DropError> {
        let damaged = retention::active_damaged(&self.catalog, partition)?;
        for Quarantined { segment, position, what } in &damaged {
            let (chain, number) = (segment.class.name(), segment.number);
            tracing::error!(%partition, chain, segment = number, %position, what,
                "a segment that takes records is damaged and is sealed, so that it can be quarantined");
            self.seal_now(*segment)?;
        }
        Ok(damaged.len())
    }

    /// Seals a segment that takes records, whatever its size and age, and waits for that.
    fn seal_now(&self, segment: SegmentId) -> Result<(), DropError> {
        let began = Instant::now();
        self.seal(segment.partition, Timestamp::from_millis(u64::MAX));
        while retention::sealed(&self.catalog, segment).is_err() {
            if began.elapsed() > SEAL_PATIENCE {
                return Err(DropError::Refused { segment, what: "records are still added to it" });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Makes the index of a sealed segment anew; with a damaged table, all indexes in it that lost something.
    pub(super) fn make_index(&self, segment: SegmentId) -> Result<bool, DropError> {
        let place = crate::read::Place { partition: segment.partition, position: Position::ZERO };
        if !self.take_out(Family::Index, segment)? {
            return Ok(false);
        }
        let checked = retention::check(&self.catalog, segment, &mut |_| true)?;
        match checked {
            crate::Checked::IndexDamaged { .. } => {
                retention::rebuild_index(&self.catalog, segment)?;
                self.catalog.metrics.indexes_rebuilt(1);
                Ok(true)
            }
            crate::Checked::Sound { .. } | crate::Checked::Stopped => Ok(true),
            crate::Checked::Damaged { what, .. } => Err(place.corrupt(&what).into()),
        }
    }
}

fn say(found: &Quarantined) {
    let (SegmentId { partition, class, number }, what) = (found.segment, &found.what);
    tracing::error!(%partition, chain = class.name(), segment = number, what,
        "a segment in a damaged table lost records and is quarantined: they are not served, the rest is");
}

/// A write that failed ends the log; a copy that could not be made does not.
fn failed(error: &MendError) -> DropError {
    match error {
        MendError::Store(StoreError::Io(what)) => crate::ReadError::Io { what: what.clone() }.into(),
        MendError::Store(StoreError::Corrupt(_)) | MendError::Active(_) | MendError::Unreadable(_) => {
            DropError::Failed { cause: error.to_string() }
        }
    }
}
