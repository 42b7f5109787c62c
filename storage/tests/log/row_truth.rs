//! Rows of several partitions and kinds in several tables, what each of them is, and what a listing says of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;
use rocksdb::{DB, LiveFile};
use storage::{Log, Met, Row, RowChange, RowKey, RowKind, Rows};
use types::PartitionId;

use crate::harness::{Harness, PARTITIONS, Rocks, SMALL, fact, partition};

pub(crate) const KINDS: [RowKind; 2] = [RowKind::OpenRun, RowKind::Stream];
const IDS: u64 = 120;
/// Fewer than make a compaction: the newest word on a row is in one of several tables.
pub(crate) const ROUNDS: u64 = 3;
/// What each row is, also those that are not there.
pub(crate) type Truth = BTreeMap<(PartitionId, RowKind, Bytes), Option<Row>>;

fn id(n: u64) -> Bytes {
    // Long enough that keys share most of their bytes.
    format!("a run or a stream with the number {n:04}").into()
}

/// In each round another third of the rows is written, and another part of them deleted.
pub(crate) fn filled(rounds: u64) -> (Rocks, Truth) {
    let mut rocks = Rocks::new(SMALL);
    let mut truth = Truth::new();
    for round in 0..rounds {
        for partition in (0..PARTITIONS).map(partition) {
            (&rocks as &dyn Harness).append(partition, (0..3).map(|n| fact(1, round * 3 + n)).collect());
            let position = rocks.rocks().bounds(partition).end;
            let mut changes = Vec::new();
            for (kind, n) in KINDS.into_iter().flat_map(|kind| (0..IDS).map(move |n| (kind, n))) {
                let key = RowKey { kind, id: id(n) };
                let place = truth.entry((partition, kind, key.id.clone())).or_default();
                if n % ROUNDS == round || (round > 0 && n % 7 == 0) {
                    let value = Bytes::from(format!("{kind:?} {n} as of round {round}: {:x}", n * 0x9e37_79b9_7f4a));
                    let row = Row { position, value };
                    *place = Some(row.clone());
                    changes.push(RowChange::Put(key, row));
                } else if round > 0 && n % 5 == round {
                    *place = None;
                    changes.push(RowChange::Delete(key));
                }
            }
            (&rocks as &dyn Harness).append_with_rows(partition, Vec::new(), changes);
        }
        rocks.reopen();
    }
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    (rocks, truth)
}

pub(crate) fn tables(path: &Path, family: &str) -> Vec<LiveFile> {
    let families = ["default", "log", "index", "meta", "rows"];
    let database = DB::open_cf_for_read_only(&rocksdb::Options::default(), path.join("log"), families, false);
    let files = database.expect("it opens").live_files().expect("it tells");
    files.into_iter().filter(|file| file.column_family_name == family).collect()
}

/// What a listing says of the rows of a kind, in pages of `limit`.
pub(crate) struct Listed {
    pub(crate) rows: BTreeMap<Bytes, Row>,
    pub(crate) damaged: Vec<RangeInclusive<Bytes>>,
}

impl Listed {
    pub(crate) fn of(log: &dyn Rows, partition: PartitionId, kind: RowKind, limit: usize) -> Self {
        let (mut listed, mut after) = (Self { rows: BTreeMap::new(), damaged: Vec::new() }, None::<Bytes>);
        loop {
            let page = log.scan_past_damage(partition, kind, after.as_ref(), limit).expect("it reads");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { return listed };
            assert!(after.as_ref().is_none_or(|after| after < last.last()), "it goes round: {after:?}, then {last:?}");
            after = Some(last.last().clone());
            for met in page {
                match met {
                    Met::Row(id, row) => drop(listed.rows.insert(id, row)),
                    Met::Damaged { id, .. } => listed.damaged.push(id.clone()..=id),
                    Met::Unreadable { first, last, .. } => listed.damaged.push(first..=last),
                }
            }
        }
    }

    pub(crate) fn names(&self, id: &Bytes) -> bool {
        self.damaged.iter().any(|range| range.contains(id))
    }
}
