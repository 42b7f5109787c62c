//! Reads a whole data directory and compares everything with everything: checks, chains, positions, offsets, segments,
//! the stream index, rows, and the commit watermark. Changes nothing. For `headwater log verify`.

mod chain;
mod order;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use types::{PartitionId, Position};

use crate::block::Block;
use crate::catalog::SegmentStart;
use crate::error::OpenError;
use crate::format::{DataDirectory, Found, io_error};
use crate::holes::Holes;
use crate::keys::{Family, LogKey};
use crate::log::RETENTION_CLASSES;
use crate::lost_rows::AllLost;
use crate::quarantine;
use crate::record::RetentionClass;
use crate::recovery::{all_segments, checkpoint, directory, partition_meta, store_error, unopened};
use crate::retention::SegmentId;
use crate::rocks::RocksStore;
use crate::row_store::decode_row;
use crate::salvage::Salvage;
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::Store;
use crate::watermark;
use chain::ChainWalk;
use order::Order;

/// Beyond this many, damages are only counted: a lost disk is not described position by position.
const DAMAGES_LISTED: usize = 1000;
const SCAN_BYTES: usize = 2 * 1024 * 1024;

/// One place where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamageFound {
    pub partition: Option<PartitionId>,
    pub chain: Option<RetentionClass>,
    pub segment: Option<u32>,
    pub position: Option<Position>,
    /// A sentence.
    pub what: String,
    /// A segment that is quarantined: that is known, and nothing of it is served.
    pub quarantined: bool,
    /// Rows of state that cannot be read. A node says so to who asks for one, or makes it again from the log.
    pub of_rows: bool,
}

/// `partition 3, run chain, segment 2, position 17: …`
impl fmt::Display for DamageFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "partition {partition}")?,
            None => f.write_str("the directory")?,
        }
        if let Some(chain) = self.chain {
            write!(f, ", {} chain", chain.name())?;
        }
        if let Some(segment) = self.segment {
            write!(f, ", segment {segment}")?;
        }
        if let Some(position) = self.position {
            write!(f, ", position {position}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What was read, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub partitions: u64,
    pub segments: u64,
    pub blocks: u64,
    pub records: u64,
    pub streams: u64,
    pub index_entries: u64,
    pub rows: u64,
    /// Of blocks.
    pub bytes: u64,
    /// The directory was closed in order.
    pub clean: bool,
    pub term: u32,
    /// At most 1,000 of them.
    pub damages: Vec<DamageFound>,
    /// All of them.
    pub damage_count: u64,
    /// How many of them say that a segment is quarantined: known damage, and nothing of it is served.
    pub quarantined: u64,
    /// How many of them are of rows.
    pub of_rows: u64,
}

impl VerifyReport {
    pub const fn is_sound(&self) -> bool {
        self.damage_count == 0
    }

    fn damage(&mut self, place: Place, what: &impl ToString) {
        self.list(place, what, (false, false));
    }

    /// A row, or several that nobody can tell apart.
    fn rows(&mut self, place: Place, what: &impl ToString) {
        self.of_rows += 1;
        self.list(place, what, (false, true));
    }

    /// A segment that is known to be damaged.
    fn quarantine(&mut self, place: Place, what: &impl ToString) {
        self.quarantined += 1;
        self.list(place, what, (true, false));
    }

    fn list(&mut self, place: Place, what: &impl ToString, (quarantined, of_rows): (bool, bool)) {
        self.damage_count += 1;
        if self.damages.len() < DAMAGES_LISTED {
            let Place { partition, chain, segment, position } = place;
            let what = what.to_string();
            self.damages.push(DamageFound { partition, chain, segment, position, what, quarantined, of_rows });
        }
    }
}

/// Where something is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    partition: Option<PartitionId>,
    chain: Option<RetentionClass>,
    segment: Option<u32>,
    position: Option<Position>,
}

impl Place {
    fn partition(partition: PartitionId) -> Self {
        Self { partition: Some(partition), ..Self::default() }
    }

    fn block(key: &LogKey) -> Self {
        let LogKey { partition, class, segment, base } = *key;
        Self { partition: Some(partition), chain: Some(class), segment: Some(segment), position: Some(base) }
    }

    fn segment(segment: &Segment) -> Self {
        let ChainId { partition, class } = segment.chain;
        Self { partition: Some(partition), chain: Some(class), segment: Some(segment.number), position: None }
    }
}

/// Verifies the directory at `path`. `Err`: there is nothing that could be read at all.
pub fn verify(path: &Path) -> Result<VerifyReport, OpenError> {
    verify_with(path, |_, _| ())
}

/// The same, and tells `progress` how many bytes of blocks were read, of about how many.
pub fn verify_with(path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, OpenError> {
    let data = DataDirectory::new(path);
    if data.find()? == Found::New {
        let what = "there is nothing in it".to_owned();
        return Err(OpenError::NotADataDirectory { path: path.to_owned(), what });
    }
    let commit = data.commit();
    let watermark = watermark::read(&commit).map_err(|error| io_error(&commit, &error))?;
    let (mut files, _) = data.wal_files().map_err(|error| io_error(path, &error))?;
    files.extend(data.kept_aside().map_err(|error| io_error(path, &error))?);
    let log = data.log();
    let store = RocksStore::open_read_only(&log).map_err(unopened(&log.display().to_string()))?;
    let partitions = directory(&store)?.partitions;
    let mut report = VerifyReport::default();
    let durable = match watermark {
        Ok(watermark) => {
            (report.clean, report.term) = (watermark.clean, watermark.term);
            if store.sequence() < watermark.sequence {
                let what =
                    format!("write {} was durable, but the log ends at write {}", watermark.sequence, store.sequence());
                report.damage(Place::default(), &what);
            }
            let salvage = Salvage::scan(&files, &watermark).map_err(|error| io_error(path, &error))?;
            let both = watermark.durable.iter().zip(salvage.claims);
            both.map(|(durable, claim)| (*durable).max(claim)).collect()
        }
        Err(damage) => {
            report.damage(Place::default(), &format!("COMMIT cannot be believed: {damage}"));
            vec![Position::ZERO; partitions.get() as usize]
        }
    };
    let total = partitions.partitions().map(|partition| bytes(&store, partition)).sum();
    for partition in partitions.partitions() {
        report.partitions += 1;
        let durable = durable.get(partition.value() as usize).copied().unwrap_or_default();
        if let Err(error) = verify_partition(&store, partition, durable, &mut report, &mut |read| progress(read, total))
        {
            report.damage(Place::partition(partition), &error);
        }
    }
    Ok(report)
}

/// About how many bytes of blocks a partition has; what cannot be read has none.
fn bytes(store: &dyn Store, partition: PartitionId) -> u64 {
    let active = checkpoint(store, partition).map_or(0, |it| it.active.iter().map(|segment| segment.bytes).sum());
    let segments = |class| all_segments(store, ChainId { partition, class }).unwrap_or_default();
    let sealed = RETENTION_CLASSES.into_iter().flat_map(segments).filter(|it| it.state == SegmentState::Sealed);
    sealed.map(|segment| segment.bytes).sum::<u64>() + active
}

fn verify_partition(
    store: &dyn Store,
    partition: PartitionId,
    durable: Position,
    report: &mut VerifyReport,
    progress: &mut dyn FnMut(u64),
) -> Result<(), OpenError> {
    let start = partition_meta(store, partition)?.start;
    let checkpoint = checkpoint(store, partition)?;
    let mut marked = RETENTION_CLASSES.map(|_| BTreeSet::new());
    for mark in quarantine::of_partition(store, partition).map_err(store_error(&format!("partition {partition}")))? {
        let SegmentId { partition, class, number } = mark.segment;
        let place = Place {
            partition: Some(partition),
            chain: Some(class),
            segment: Some(number),
            position: Some(mark.position),
        };
        marked[class.index()].insert(number);
        report.quarantine(place, &format!("the segment is quarantined since this was met: {}", mark.what));
    }
    let [run, stream] = RETENTION_CLASSES.map(|class| ChainId { partition, class });
    // What is quarantined is not looked at, as if it were not kept.
    let start_of = |segment: &Segment| {
        let is_marked = marked[segment.chain.class.index()].contains(&segment.number);
        let start = SegmentStart::from(segment);
        SegmentStart { kept: start.kept && !is_marked, ..start }
    };
    let starts = |chain| all_segments(store, chain).map(|all| all.iter().map(start_of).collect::<Vec<_>>());
    let mut holes = Holes::of(start, &[starts(run)?, starts(stream)?]);
    // A mend that was cut short leaves a mark on a segment that takes records: the next start seals it.
    let is_lost = |segment: &&Segment| marked[segment.chain.class.index()].contains(&segment.number);
    let lost_from = checkpoint.active.iter().filter(is_lost).map(|segment| segment.base).min();
    if let Some(from) = lost_from {
        holes = holes.and(from, durable);
    }
    let mut order = Order::new(partition, start, holes.clone());
    let [of_run, of_stream] = marked.clone();
    let mut walks =
        [ChainWalk::new(store, run, &checkpoint, of_run)?, ChainWalk::new(store, stream, &checkpoint, of_stream)?];
    // Both chains side by side, the lower block first, so that groups are met one after the other.
    let mut heads = walks.each_mut().map(|walk| walk.next(report));
    loop {
        walks.iter_mut().filter_map(ChainWalk::take_unreadable).for_each(|range| order.pass(range));
        let base = |head: &Option<Block>| head.as_ref().map(|block| block.header.key.base);
        let chain = match (base(&heads[0]), base(&heads[1])) {
            (None, None) => break,
            (Some(run), Some(stream)) => usize::from(stream < run),
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
        };
        if let Some(block) = heads[chain].take() {
            order.add(&block, report);
            progress(report.bytes);
        }
        heads[chain] = walks[chain].next(report);
    }
    let end = order.finish(report);
    if end < durable && !holes.cover(end, durable) {
        let what = format!("it was durable up to position {durable}, but ends at {end}: acknowledged data is missing");
        report.damage(Place { position: Some(end), ..Place::partition(partition) }, &what);
    }
    verify_rows(store, partition, if lost_from.is_some() { end.max(durable) } else { end }, report);
    Ok(())
}

fn verify_rows(store: &dyn Store, partition: PartitionId, end: Position, report: &mut VerifyReport) {
    let from = partition.value().to_be_bytes();
    let until = partition.value().checked_add(1).expect("there are at most 1,024 partitions").to_be_bytes();
    let mut scan = store.scan(Family::Rows, &from, &until, SCAN_BYTES);
    let place = Place::partition(partition);
    match AllLost::of_partition(store, partition) {
        Ok(lost) => lost.iter().for_each(|lost| report.rows(place, lost)),
        Err(error) => report.damage(place, &error),
    }
    loop {
        match scan.next() {
            Ok(None) => return,
            Err(error) => return report.rows(place, &format!("after {} rows: {error}", report.rows)),
            Ok(Some((key, value))) => {
                report.rows += 1;
                match decode_row(&key, &value) {
                    Err(damage) => report.rows(place, &format!("row {key:02x?}: {damage}")),
                    Ok(row) if row.position > end => {
                        let what =
                            format!("row {key:02x?} reflects position {}, but the log ends at {end}", row.position);
                        report.damage(place, &what);
                    }
                    Ok(_) => {}
                }
            }
        }
    }
}
