//! A disk in memory that keeps exactly what a real one promises: what was synced survives, of the rest a front part
//! may, and its last write may be torn. Faults come on demand, never by chance.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::keys::Family;
use crate::memory::Survives;
use crate::store::{Batch, Change, Entry, Scan, Store, StoreError};

#[derive(Clone, Debug, Default)]
struct Files {
    families: [BTreeMap<Vec<u8>, Bytes>; Family::ALL.len()],
    /// How many changes went in.
    sequence: u64,
}

impl Files {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(family, key, value) => self.families[*family as usize].insert(key.clone(), value.clone()),
            Change::Delete(family, key) => self.families[*family as usize].remove(key),
            Change::DeleteRange(family, from, until) => {
                self.families[*family as usize].retain(|key, _| key < from || key >= until);
                None
            }
        };
        self.sequence += 1;
    }

    fn apply_all(&mut self, batch: &Batch) {
        batch.changes().for_each(|change| self.apply(change));
    }

    /// The front part of a batch's blocks that `bytes` reach, the last of them cut.
    fn apply_torn(&mut self, batch: &Batch, mut bytes: usize) {
        for change in batch.blocks() {
            let Change::Put(family, key, value) = change else { continue };
            let kept = value.len().min(bytes);
            bytes -= kept;
            if kept > 0 {
                self.families[*family as usize].insert(key.clone(), value.slice(..kept));
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    durable: Files,
    unsynced: Vec<Batch>,
    /// `durable` with `unsynced` on top: what reads see.
    visible: Files,
    fail_next_sync: bool,
    full: bool,
    /// So many more operations work.
    left: Option<usize>,
}

impl State {
    /// Counts an operation.
    fn operate(&mut self) -> Result<(), StoreError> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(StoreError::Io("the simulated disk stopped".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct SimulatedDisk(Mutex<State>);

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fail_next_sync(&self) {
        self.state().fail_next_sync = true;
    }

    pub(crate) fn stop_after(&self, operations: usize) {
        self.state().left = Some(operations);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Power is gone: what is not synced is lost but for what `survives`.
    pub(crate) fn crash(&self, survives: Survives) {
        let mut state = self.state();
        let lost = std::mem::take(&mut state.unsynced);
        let (kept, rest) = lost.split_at(survives.batches.min(lost.len()));
        for batch in kept {
            state.durable.apply_all(batch);
        }
        if let Some(torn) = rest.first() {
            state.durable.apply_torn(torn, survives.torn_bytes);
        }
        state.visible = state.durable.clone();
        state.fail_next_sync = false;
        state.left = None;
    }

    /// Flips one bit of a durable value; `bit` wraps around its length.
    pub(crate) fn flip_bit(&self, family: Family, key: &[u8], bit: usize) -> bool {
        let mut state = self.state();
        let Some(value) = state.durable.families[family as usize].get(key) else { return false };
        let mut flipped = value.to_vec();
        let bit = bit % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = Bytes::from(flipped);
        state.durable.families[family as usize].insert(key.to_vec(), flipped.clone());
        state.visible.families[family as usize].insert(key.to_vec(), flipped);
        true
    }
}

impl Store for SimulatedDisk {
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.full {
            return Err(StoreError::Io("no space left on the simulated disk".to_owned()));
        }
        state.operate()?;
        state.visible.apply_all(batch);
        state.unsynced.push(batch.clone());
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.fail_next_sync {
            return Err(StoreError::Io("the simulated disk failed a sync".to_owned()));
        }
        state.operate()?;
        let written = std::mem::take(&mut state.unsynced);
        for batch in &written {
            state.durable.apply_all(batch);
        }
        Ok(())
    }

    fn sequence(&self) -> u64 {
        self.state().visible.sequence
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().visible.families[family as usize].get(key).cloned())
    }

    fn scan<'a>(&'a self, family: Family, from: &[u8], until: &[u8], _expect_bytes: usize) -> Box<dyn Scan + 'a> {
        Box::new(DiskScan { disk: self, family, from: Bound::Included(from.to_vec()), until: until.to_vec() })
    }

    /// Every second key is in a file that holds others too.
    fn drop_files(&self, family: Family, from: &[u8], until: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        state.operate()?;
        let keys: Vec<_> = state.durable.families[family as usize]
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(until)))
            .map(|(key, _)| key.clone())
            .step_by(2)
            .collect();
        for key in keys {
            state.durable.families[family as usize].remove(&key);
            state.visible.families[family as usize].remove(&key);
        }
        Ok(())
    }

    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Entry>, StoreError> {
        let state = self.state();
        let range = (Bound::Included(from), Bound::Included(until));
        let last = state.visible.families[family as usize].range::<[u8], _>(range).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }
}

struct DiskScan<'a> {
    disk: &'a SimulatedDisk,
    family: Family,
    from: Bound<Vec<u8>>,
    until: Vec<u8>,
}

impl Scan for DiskScan<'_> {
    fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        let state = self.disk.state();
        let from = self.from.as_ref().map(Vec::as_slice);
        let files = &state.visible.families[self.family as usize];
        let mut range = files.range::<[u8], _>((from, Bound::Unbounded));
        let found = range.next().filter(|(key, _)| **key < self.until);
        let found = found.map(|(key, value)| (key.clone(), value.clone()));
        if let Some((key, _)) = &found {
            self.from = Bound::Excluded(key.clone());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(key: &[u8], value: &'static [u8]) -> Batch {
        let mut batch = Batch::default();
        batch.put_block(key, Bytes::from_static(value));
        batch.put(Family::Rows, key, Bytes::from_static(value));
        batch
    }

    fn log(disk: &SimulatedDisk, key: &[u8]) -> Option<Bytes> {
        disk.get(Family::Log, key).expect("it reads")
    }

    #[test]
    fn what_is_synced_survives_and_the_rest_as_asked() {
        let disk = SimulatedDisk::default();
        for (key, synced) in [(b"a", true), (b"b", false), (b"c", false), (b"d", false)] {
            disk.write(&batch(key, b"0123456789")).expect("room");
            if synced {
                disk.sync().expect("it works");
            }
        }
        disk.crash(Survives { batches: 1, torn_bytes: 3 });
        assert_eq!(log(&disk, b"a").as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(log(&disk, b"b").as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(log(&disk, b"c").as_deref(), Some(&b"012"[..]));
        assert_eq!(disk.get(Family::Rows, b"c"), Ok(None));
        assert_eq!(log(&disk, b"d"), None);
        assert_eq!(disk.sequence(), 4);
    }

    #[test]
    fn a_scan_and_a_last_stay_in_their_range() {
        let disk = SimulatedDisk::default();
        for key in [b"a", b"b", b"c"] {
            disk.write(&batch(key, b"x")).expect("room");
        }
        let mut scan = disk.scan(Family::Log, b"a", b"c", 0);
        let mut keys = Vec::new();
        while let Some((key, _)) = scan.next().expect("it reads") {
            keys.push(key);
        }
        assert_eq!(keys, [b"a", b"b"]);
        let last =
            |from: &[u8], until: &[u8]| disk.last(Family::Log, from, until).expect("it reads").map(|(key, _)| key);
        assert_eq!(last(b"a", b"bb"), Some(b"b".to_vec()));
        assert_eq!(last(b"bb", b"bc"), None);
    }
}
