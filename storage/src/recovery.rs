//! What a log that was not closed still holds: per partition the blocks since the last checkpoint, checked and chained;
//! where the good ones end; and whether that is all that was ever acknowledged.

use types::{History, PartitionCount, PartitionId, Position};

use crate::catalog::{PartitionView, SegmentStart, ViewState};
use crate::chain_tail::chain_tail;
use crate::checkpoint::{Checkpoint, Directory, PartitionMeta};
use crate::codec::Damage;
use crate::damage_walk::Step;
use crate::error::OpenError;
use crate::keys::{Family, MetaKey};
use crate::log::RETENTION_CLASSES;
use crate::lost_rows::AllLost;
use crate::partition_log::PartitionLog;
use crate::quarantine::{self, Quarantined};
use crate::recent::Recent;
use crate::record::CHAINS;
use crate::retention::SegmentId;
use crate::row_walk::row_walk;
use crate::salvage::Salvage;
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::{Batch, Store, StoreError};
use crate::tail_cut::{Cut, cut};
use crate::watermark::Watermark;

/// A log that may be served.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) views: Vec<PartitionView>,
    pub(crate) logs: Vec<PartitionLog>,
    /// Removes what lies beyond the end, so that it can never be taken for what will be written there.
    pub(crate) repairs: Batch,
    pub(crate) torn: Torn,
    /// Segments that are not read.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Segments that take records and lost some: they are to be sealed and quarantined.
    pub(crate) lost: Vec<Quarantined>,
}

impl Recovered {
    /// For a log that is only looked at: what would be sealed and quarantined is not read, and nothing is written.
    pub(crate) fn close_lost(&mut self) {
        for lost in &self.lost {
            self.views[lost.segment.partition.value() as usize].close_lost(lost.segment);
        }
    }

    /// Begins a new history in every partition: what was acknowledged may be missing, and its positions will be given
    /// again.
    pub(crate) fn begin_history(&mut self, seed: u32) {
        let partitions = (0..).map(PartitionId::new);
        for (partition, view) in partitions.zip(&mut self.views) {
            let meta = view.begin_history(history(seed, partition));
            self.repairs.put(Family::Meta, &MetaKey::Partition(partition).encode(), meta.value(partition));
        }
    }
}

/// Spreads one random number over the partitions.
pub(crate) fn history(seed: u32, partition: PartitionId) -> History {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    bytes[4..].copy_from_slice(&partition.value().to_le_bytes());
    History::new(crc32fast::hash(&bytes))
}

/// What was written and, unless the durability was relaxed, never acknowledged, and is now gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) blocks: u64,
    pub(crate) records: u64,
}

/// Writes that make an empty log of `partitions`, each with its history.
pub(crate) fn initial(histories: &[History]) -> Batch {
    let count = u32::try_from(histories.len()).ok().and_then(PartitionCount::new);
    let partitions = count.expect("the caller counts partitions with a `PartitionCount`");
    let mut batch = Batch::default();
    batch.put(Family::Meta, &MetaKey::Directory.encode(), Directory { partitions }.value());
    for (partition, history) in partitions.partitions().zip(histories) {
        let meta = PartitionMeta { history: *history, start: [Position::ZERO; CHAINS] };
        let checkpoint = Checkpoint::initial(partition);
        batch.put(Family::Meta, &MetaKey::Partition(partition).encode(), meta.value(partition));
        batch.put(Family::Meta, &MetaKey::Checkpoint(partition).encode(), checkpoint.value());
        for segment in &checkpoint.active {
            batch.put(Family::Meta, &segment.key().encode(), segment.value());
        }
    }
    batch
}

/// Checks all partitions. `salvage` is what the write-ahead log's files say.
pub(crate) fn recover(store: &dyn Store, watermark: &Watermark, salvage: &Salvage) -> Result<Recovered, OpenError> {
    let count = directory(store)?.partitions;
    if count.get() as usize != watermark.durable.len() {
        let what =
            format!("it knows {} partitions, but the log has {count}", watermark.durable.len(), count = count.get());
        return Err(OpenError::Damaged { place: "COMMIT".to_owned(), what });
    }
    let sequence = store.sequence();
    let (views, logs) = (Vec::new(), Vec::new());
    let (repairs, torn, quarantined, lost) = (Batch::default(), Torn::default(), Vec::new(), Vec::new());
    let mut recovered = Recovered { views, logs, repairs, torn, quarantined, lost };
    for partition in count.partitions() {
        let number = partition.value() as usize;
        let known = Known {
            durable: watermark.durable[number].max(salvage.claims[number]),
            term: watermark.term,
            covers_tables: salvage.covers_tables(watermark, sequence),
        };
        recover_partition(store, partition, &known, &mut recovered)?;
    }
    if sequence < watermark.sequence {
        return Err(OpenError::AcknowledgedWritesMissing { durable: watermark.sequence, found: sequence });
    }
    Ok(recovered)
}

pub(crate) fn directory(store: &dyn Store) -> Result<Directory, OpenError> {
    let value = store.get(Family::Meta, &MetaKey::Directory.encode()).map_err(store_error("the log"))?;
    let value = value.ok_or_else(|| damaged("the log")(Damage::new("the record of its partitions is missing")))?;
    Directory::from_value(&value).map_err(damaged("the log's record of its partitions"))
}

/// A partition from its checkpoint to the end of what is good.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) meta: PartitionMeta,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) cut: Cut,
    /// The furthest position that some block says was durable.
    pub(crate) claimed: Position,
    /// What ended the good blocks, if it was not the end.
    pub(crate) damage: Option<Damage>,
    /// The latest opening that some block is of.
    pub(crate) term: u32,
    pub(crate) marks: Vec<Quarantined>,
    /// Of its segments that take records, those that lost some.
    pub(crate) lost: Vec<Quarantined>,
    /// Whether there were records behind the end cannot be seen, for this reason.
    pub(crate) unsettled: Option<String>,
}

/// Follows both chains from the checkpoint. An error is damage before it, or that nothing can be read.
pub(crate) fn follow(store: &dyn Store, partition: PartitionId) -> Result<Followed, OpenError> {
    let name = format!("partition {partition}");
    let meta = partition_meta(store, partition)?;
    let checkpoint = checkpoint(store, partition)?;
    let marks = quarantine::of_partition(store, partition).map_err(store_error(&name))?;
    let (mut tails, mut lost, mut unsettled, mut term) = (Vec::new(), Vec::new(), None, 0);
    for (class, active) in RETENTION_CLASSES.into_iter().zip(&checkpoint.active) {
        let segment = SegmentId { partition, class, number: active.number };
        let mark = marks.iter().find(|mark| mark.segment == segment).map(|mark| mark.what.clone());
        let found = chain_tail(store, active, mark)?;
        let position = active.last_block.map_or(active.base, |last| last.base);
        lost.extend(found.lost.map(|what| Quarantined { segment, position, what }));
        unsettled = unsettled.or(found.unsettled);
        term = term.max(found.term);
        tails.push(found.tail);
    }
    let claimed = tails.iter().filter_map(|tail| tail.claim).max().unwrap_or_default();
    let damage = tails.iter().find_map(|tail| tail.damage.clone());
    let tails = tails.try_into().expect("a tail for each of the chains");
    let cut = cut(checkpoint.end, tails).map_err(damaged(&name))?;
    Ok(Followed { meta, checkpoint, cut, claimed, damage, term, marks, lost, unsettled })
}

/// What is known of a partition besides its blocks.
struct Known {
    durable: Position,
    term: u32,
    /// `COMMIT` speaks of everything that is in a table.
    covers_tables: bool,
}

fn recover_partition(
    store: &dyn Store,
    partition: PartitionId,
    known: &Known,
    recovered: &mut Recovered,
) -> Result<(), OpenError> {
    let Followed { meta, checkpoint, cut, claimed, damage, term, marks, lost, unsettled } = follow(store, partition)?;
    if term > known.term {
        let known = known.term;
        let what = format!("it is of opening {known}, but the log has blocks of opening {term}: it is another copy's");
        return Err(OpenError::Damaged { place: "COMMIT".to_owned(), what });
    }
    let durable = known.durable.max(claimed);
    if cut.end < durable {
        let what = damage.map_or_else(|| "what follows is gone".to_owned(), |damage| damage.to_string());
        return Err(OpenError::AcknowledgedDataMissing { partition, durable, found: cut.end, what });
    }
    if let Some(what) = unsettled.filter(|_| !known.covers_tables) {
        return Err(OpenError::EndUnknown { partition, found: cut.end, what });
    }
    if !cut.torn.is_empty() {
        no_row_ahead(store, partition, cut.end)?;
    }
    for torn in &cut.torn {
        recovered.repairs.delete(Family::Log, &torn.key);
        recovered.torn.blocks += 1;
        recovered.torn.records += torn.records;
    }
    let (mut active, saved, mut unsaved_bytes) = (checkpoint.active, checkpoint.end, 0);
    let mut recent = Recent::new(saved);
    for group in cut.groups {
        for (_, summary) in &group.blocks {
            active[summary.key.class.index()].add(summary);
            unsaved_bytes += summary.bytes as u64;
        }
        recent.add_group(group.blocks, group.end);
    }
    let mut segments = [segments(store, &active[0])?, segments(store, &active[1])?];
    for mark in &marks {
        let chain = &mut segments[mark.segment.class.index()];
        let marked = chain.iter_mut().filter(|start| start.number == mark.segment.number);
        marked.for_each(|start| start.quarantined = true);
    }
    recovered.quarantined.extend(marks);
    // One without a block is about to take its first one: it has nothing to lose.
    recovered.lost.extend(lost.into_iter().filter(|lost| active[lost.segment.class.index()].blocks > 0));
    let lost_rows = AllLost::of_partition(store, partition).map_err(store_error(&format!("partition {partition}")))?;
    recovered.views.push(PartitionView::new(cut.end, lost_rows, ViewState::new(meta, segments, recent)));
    recovered.logs.push(PartitionLog::new(active, cut.end, saved, unsaved_bytes));
    Ok(())
}

pub(crate) fn partition_meta(store: &dyn Store, partition: PartitionId) -> Result<PartitionMeta, OpenError> {
    let place = format!("partition {partition}");
    let value = store.get(Family::Meta, &MetaKey::Partition(partition).encode()).map_err(store_error(&place))?;
    let value = value.ok_or_else(|| damaged(&place)(Damage::new("its history is missing")))?;
    PartitionMeta::from_value(partition, &value).map_err(damaged(&place))
}

pub(crate) fn checkpoint(store: &dyn Store, partition: PartitionId) -> Result<Checkpoint, OpenError> {
    let place = format!("partition {partition}");
    let value = store.get(Family::Meta, &MetaKey::Checkpoint(partition).encode()).map_err(store_error(&place))?;
    let value = value.ok_or_else(|| damaged(&place)(Damage::new("its checkpoint is missing")))?;
    Checkpoint::from_value(partition, &value).map_err(damaged(&place))
}

/// The segments of a chain, oldest first, and that the active one is the last of them.
fn segments(store: &dyn Store, active: &Segment) -> Result<Vec<SegmentStart>, OpenError> {
    let all = all_segments(store, active.chain)?;
    let place = format!("partition {}, {} chain", active.chain.partition, active.chain.class.name());
    let last = all.last().map(|segment| (segment.number, segment.base, segment.state));
    if last != Some((active.number, active.base, SegmentState::Active)) {
        let what = format!("the checkpoint names segment {}, but the last one is {last:?}", active.number);
        return Err(OpenError::Damaged { place, what });
    }
    Ok(all.iter().map(SegmentStart::from).collect())
}

pub(crate) fn all_segments(store: &dyn Store, chain: ChainId) -> Result<Vec<Segment>, OpenError> {
    let ChainId { partition, class } = chain;
    let place = format!("partition {partition}, {} chain", class.name());
    let key = |number| MetaKey::Segment(partition, class, number).encode();
    let mut scan = store.scan(Family::Meta, &key(0), &key(u32::MAX), 1 << 16);
    let mut segments = Vec::new();
    while let Some((key, value)) = scan.next().map_err(store_error(&place))? {
        let MetaKey::Segment(_, _, number) = MetaKey::decode(&key).map_err(damaged(&place))? else {
            return Err(damaged(&place)(Damage::new("among its segments is something else")));
        };
        segments.push(Segment::from_value(chain, number, &value).map_err(damaged(&place))?);
    }
    Ok(segments)
}

/// Rows follow the log they reflect through the same writes. One that is ahead of a log cut short came from a write
/// after the damage: the disk broke its promise of order, and nothing of the rows can be trusted.
/// A damaged row says nothing: whoever needs it finds that out.
pub(crate) fn no_row_ahead(store: &dyn Store, partition: PartitionId, end: Position) -> Result<(), OpenError> {
    let place = format!("partition {partition}");
    let from = partition.value().to_be_bytes();
    let until = partition.value().checked_add(1).expect("there are at most 1,024 partitions").to_be_bytes();
    let mut walk = row_walk(store, from.to_vec(), until.to_vec(), 1 << 20);
    while let Some(step) = walk.next().map_err(store_error(&place))? {
        if let Step::Good(_, row) = step
            && row.position > end
        {
            let what = format!("a row reflects position {}, but the log ends at {end}", row.position);
            return Err(OpenError::Damaged { place, what });
        }
    }
    Ok(())
}

pub(crate) fn damaged(place: &str) -> impl Fn(Damage) -> OpenError {
    move |damage| OpenError::Damaged { place: place.to_owned(), what: damage.to_string() }
}

/// Of a store that does not open at all.
pub(crate) fn unopened(place: &str) -> impl Fn(StoreError) -> OpenError {
    move |error| {
        let place = place.to_owned();
        match error {
            StoreError::Corrupt(what) => OpenError::StoreUnreadable { place, what },
            StoreError::Io(what) => OpenError::Io { place, what },
        }
    }
}

pub(crate) fn store_error(place: &str) -> impl Fn(StoreError) -> OpenError {
    move |error| {
        let place = place.to_owned();
        match error {
            StoreError::Corrupt(what) => OpenError::Damaged { place, what },
            StoreError::Io(what) => OpenError::Io { place, what },
        }
    }
}
