//! What can still be read of state (`rows`) and of what is known of segments (`meta`) beside a damaged table. A value is kept
//! only where it is known to be the newest, by the rule of `damage_walk`; what the damage hides is kept as damaged, or named.

use std::collections::BTreeSet;

use bytes::Bytes;
use types::PartitionId;

use super::{MendError, parts};
use crate::checkpoint::{Checkpoint, Directory, PartitionMeta};
use crate::codec::Damage;
use crate::damage_walk::{DamageWalk, Step, behind};
use crate::keys::{Family, MetaKey};
use crate::log::RETENTION_CLASSES;
use crate::lost_rows::{AllLost, LostRows};
use crate::quarantine::Quarantined;
use crate::record::RetentionClass;
use crate::recovery;
use crate::retention::SegmentId;
use crate::rocks::RocksStore;
use crate::row_store::decode_row;
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::{Batch, Store, StoreError};

const SCAN_BYTES: usize = 1024 * 1024;
/// What is written to the copy at once.
const WRITE_BYTES: u64 = 1024 * 1024;

/// A family of a copy, which is filled with ordinary writes: what is written later is newer for RocksDB's own repair, too.
pub(super) struct Anew<'a> {
    copy: &'a RocksStore,
    family: Family,
    batch: Batch,
    unwritten: u64,
    pub(super) bytes: u64,
}

impl<'a> Anew<'a> {
    pub(super) fn new(copy: &'a RocksStore, family: Family) -> Self {
        Self { copy, family, batch: Batch::default(), unwritten: 0, bytes: 0 }
    }

    fn put(&mut self, key: &[u8], value: Bytes) -> Result<(), StoreError> {
        let bytes = (key.len() + value.len()) as u64;
        (self.bytes, self.unwritten) = (self.bytes + bytes, self.unwritten + bytes);
        self.batch.put(self.family, key, value);
        if self.unwritten >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// What was put and not written yet.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        self.unwritten = 0;
        self.copy.write(&std::mem::take(&mut self.batch))
    }
}

/// Of the rows of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rescued {
    pub(super) rows: u64,
    /// Rows that are there and say nothing: whoever needs one makes it again from the log.
    pub(super) damaged: u64,
    /// Where not even their keys can be read.
    pub(super) lost: AllLost,
}

fn checked_row(key: &[u8], value: &Bytes) -> Result<Bytes, Damage> {
    decode_row(key, value).map(|_| value.clone())
}

/// Copies all rows of a partition that can be read. `others`: the store without the damaged table, for what that hides where
/// its own keys cannot be read.
pub(super) fn copy_rows(
    store: &RocksStore,
    others: &RocksStore,
    partition: PartitionId,
    anew: &mut Anew<'_>,
) -> Result<Rescued, StoreError> {
    let from = partition.value().to_be_bytes().to_vec();
    let until = partition.value().checked_add(1).expect("there are at most 1,024 partitions").to_be_bytes().to_vec();
    let mut walk = DamageWalk::new(store, (Family::Rows, checked_row), (from, until), SCAN_BYTES);
    let mut rescued = Rescued::default();
    while let Some(step) = walk.next()? {
        match step {
            Step::Good(key, value) => rescued.row(&key, value, anew)?,
            Step::Damaged { key, .. } => rescued.damaged_row(&key, anew)?,
            Step::Unreadable { first, last, what } => {
                rescued.hidden((store, others), (&first, &last), anew)?;
                rescued.lost.add(LostRows { first, last, what });
            }
        }
    }
    anew.write()?;
    Ok(rescued)
}

impl Rescued {
    fn row(&mut self, key: &[u8], value: Bytes, anew: &mut Anew<'_>) -> Result<(), StoreError> {
        self.rows += 1;
        anew.put(key, value)
    }

    /// Nothing has no check, so it is damaged.
    fn damaged_row(&mut self, key: &[u8], anew: &mut Anew<'_>) -> Result<(), StoreError> {
        self.damaged += 1;
        anew.put(key, Bytes::new())
    }

    /// The rows that other tables have in a range that cannot be walked. What the store finds of them is the newest; where it
    /// comes to the damage, that may hide a newer one.
    fn hidden(
        &mut self,
        (store, others): (&RocksStore, &RocksStore),
        (first, last): (&[u8], &[u8]),
        anew: &mut Anew<'_>,
    ) -> Result<(), StoreError> {
        let range = (first.to_vec(), behind(last));
        let mut walk = DamageWalk::new(others, (Family::Rows, checked_row), range, 0);
        while let Some(step) = walk.next()? {
            let (Step::Good(key, _) | Step::Damaged { key, .. }) = step else { continue };
            match store.get(Family::Rows, &key) {
                Ok(None) => {}
                Ok(Some(value)) if decode_row(&key, &value).is_ok() => self.row(&key, value, anew)?,
                Ok(Some(_)) | Err(StoreError::Corrupt(_)) => self.damaged_row(&key, anew)?,
                Err(error @ StoreError::Io(_)) => return Err(error),
            }
        }
        Ok(())
    }
}

fn checked_meta(key: &[u8], value: &Bytes) -> Result<Bytes, Damage> {
    let checked = match MetaKey::first_lost(key) {
        Some(first) => LostRows::from_value(first, value).map(drop),
        None => match MetaKey::decode(key)? {
            MetaKey::Directory => Directory::from_value(value).map(drop),
            MetaKey::Partition(partition) => PartitionMeta::from_value(partition, value).map(drop),
            MetaKey::Segment(partition, class, number) => {
                Segment::from_value(ChainId { partition, class }, number, value).map(drop)
            }
            MetaKey::Checkpoint(partition) => Checkpoint::from_value(partition, value).map(drop),
            MetaKey::Quarantine(partition, class, number) => {
                let segment = SegmentId { partition, class, number };
                Quarantined::from_value(segment, value).map(drop)
            }
        },
    };
    checked.map(|()| value.clone())
}

/// Copies all that is known of the segments. An error is something without which the log cannot be opened, by name.
pub(super) fn copy_meta(store: &RocksStore, copy: &RocksStore) -> Result<(), MendError> {
    let mut meta = Meta { store, anew: Anew::new(copy, Family::Meta) };
    let key = MetaKey::Directory.encode();
    meta.needed((key.clone(), behind(&key)), &[MetaKey::Directory], "the record of the log's partitions")?;
    meta.anew.write()?;
    let partitions = recovery::directory(copy)?.partitions;
    let mut unseen = BTreeSet::new();
    for partition in partitions.partitions() {
        let of = |what: &str| format!("{what} of partition {partition}");
        let [itself, segments, checkpoint, quarantines] = MetaKey::all_of_partition(partition);
        meta.needed(itself, &[MetaKey::Partition(partition)], &of("the history"))?;
        meta.needed(checkpoint, &[MetaKey::Checkpoint(partition)], &of("the checkpoint"))?;
        meta.needed(MetaKey::all_lost_rows(partition), &[], &of("the list of lost rows"))?;
        meta.anew.write()?;
        let saved = recovery::checkpoint(copy, partition)?;
        let number = |class: RetentionClass| saved.active[class.index()].number;
        let of_class = |class| (1..=number(class)).map(move |number| MetaKey::Segment(partition, class, number));
        let possible: Vec<_> = RETENTION_CLASSES.into_iter().flat_map(of_class).collect();
        meta.needed(segments, &possible, &of("the list of segments"))?;
        meta.anew.write()?;
        unseen.extend(meta.marks(quarantines, &check_chains(copy, partition, &saved)?)?);
        meta.anew.write()?;
    }
    if unseen.is_empty() { Ok(()) } else { mark_damaged(copy, &unseen) }
}

fn walk_meta(store: &RocksStore, range: (Vec<u8>, Vec<u8>)) -> DamageWalk<'_, Bytes> {
    DamageWalk::new(store, (Family::Meta, checked_meta), range, 0)
}

/// What is known of the segments, on its way into a copy.
struct Meta<'a> {
    store: &'a RocksStore,
    anew: Anew<'a>,
}

impl Meta<'_> {
    /// Copies all keys of a range. Where they cannot be walked `possible` are all that may be there.
    fn needed(&mut self, range: (Vec<u8>, Vec<u8>), possible: &[MetaKey], name: &str) -> Result<(), MendError> {
        let lost = |what: &str| {
            let what = format!("what it says of {name} is lost, and is made from nothing else ({what})");
            MendError::Unreadable(what)
        };
        let mut walk = walk_meta(self.store, range);
        while let Some(step) = walk.next()? {
            match step {
                Step::Good(key, value) => self.anew.put(&key, value)?,
                Step::Damaged { what, .. } => return Err(lost(&what)),
                Step::Unreadable { what, .. } if possible.is_empty() => return Err(lost(&what)),
                Step::Unreadable { first, last, .. } => {
                    for key in possible.iter().map(MetaKey::encode).filter(|key| first <= *key && *key <= last) {
                        match self.newest(&key)? {
                            Newest::Is(value) => self.anew.put(&key, value)?,
                            Newest::Nothing => {}
                            Newest::Hidden(what) => return Err(lost(&what)),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies the marks of segments of which these are the possible ones. One that cannot be read marks all the same. Those of
    /// which nobody knows whether they are there.
    fn marks(&mut self, range: (Vec<u8>, Vec<u8>), possible: &BTreeSet<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut walk = walk_meta(self.store, range);
        let mut unseen = Vec::new();
        while let Some(step) = walk.next()? {
            match step {
                Step::Good(key, value) => self.anew.put(&key, value)?,
                Step::Damaged { key, .. } if possible.contains(&key) => self.anew.put(&key, Bytes::new())?,
                Step::Damaged { .. } => {}
                Step::Unreadable { first, last, .. } => {
                    for key in possible.range(first..=last) {
                        match self.newest(key)? {
                            Newest::Is(value) => self.anew.put(key, value)?,
                            Newest::Nothing => {}
                            Newest::Hidden(_) => unseen.push(key.clone()),
                        }
                    }
                }
            }
        }
        Ok(unseen)
    }

    /// What the store finds without coming to the damage is the newest.
    fn newest(&self, key: &[u8]) -> Result<Newest, StoreError> {
        match self.store.get(Family::Meta, key) {
            Ok(Some(value)) => match checked_meta(key, &value) {
                Ok(value) => Ok(Newest::Is(value)),
                Err(damage) => Ok(Newest::Hidden(damage.to_string())),
            },
            Ok(None) => Ok(Newest::Nothing),
            Err(StoreError::Corrupt(what)) => Ok(Newest::Hidden(what)),
            Err(error @ StoreError::Io(_)) => Err(error),
        }
    }
}

/// What a key holds.
enum Newest {
    Is(Bytes),
    Nothing,
    /// That is damaged, for this reason.
    Hidden(String),
}

/// Refuses where something is missing that every partition has, or a segment between two others. The keys that the
/// quarantines of its segments would have.
fn check_chains(copy: &RocksStore, partition: PartitionId, saved: &Checkpoint) -> Result<BTreeSet<Vec<u8>>, MendError> {
    let meta = recovery::partition_meta(copy, partition)?;
    let mut known = BTreeSet::new();
    for class in RETENTION_CLASSES {
        let all = recovery::all_segments(copy, ChainId { partition, class })?;
        let is_unbroken = all.windows(2).all(|pair| pair[0].number + 1 == pair[1].number);
        let starts = all.iter().find(|segment| segment.state.is_kept()).map(|first| first.base);
        let ends = all.last().map(|last| (last.number, last.state));
        let expected = (saved.active[class.index()].number, SegmentState::Active);
        if !is_unbroken || starts != Some(meta.start[class.index()]) || ends != Some(expected) {
            let class = class.name();
            let what = format!("what it says of some segments of partition {partition}, {class} chain, is lost");
            return Err(MendError::Unreadable(what));
        }
        known.extend(all.iter().map(|segment| MetaKey::Quarantine(partition, class, segment.number).encode()));
    }
    Ok(known)
}

/// Marks the segments that are not whole, of those whose marks were not seen: what was met once is not served by chance.
fn mark_damaged(copy: &RocksStore, unseen: &BTreeSet<Vec<u8>>) -> Result<(), MendError> {
    for part in parts::all(copy, Family::Log)? {
        let mark = part.mark("whether it was quarantined is lost, and not all of it can be read");
        let is_unseen = unseen.contains(&mark.key().encode());
        if is_unseen && !part.is_marked && !parts::is_whole(copy, Family::Log, &part)? {
            super::anew::mark(copy, &mark)?;
        }
    }
    Ok(())
}
