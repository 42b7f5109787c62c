//! What a fake node answers its operators: the same each time, and it remembers what it was asked.

use gateway::backend::Answer;
use gateway::operator::{
    BackUp, BackupMade, Load, LogStats, Operator, PartitionLoad, ReadRecords, RecordPage, SegmentView, Written,
};
use types::{Code, History, PartitionId, Position, Refusal, Timestamp};

use super::Fake;

impl Fake {
    fn note(&self, call: String) {
        self.state().calls.push(call);
    }

    /// What workers and operators asked, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }
}

impl Operator for Fake {
    fn back_up(&self, request: BackUp) -> impl Answer<BackupMade> {
        self.note(format!("back up to {} copy={}", request.target, request.copy));
        let refused = || Refusal::new(Code::Unavailable, "another backup is being made");
        std::future::ready(if request.target == "/busy" { Err(refused()) } else { Ok(backup_made(request.target)) })
    }

    fn load(&self, over_ms: u64) -> impl Answer<Load> {
        let until = Timestamp::from_millis(1_795_493_220_000);
        let partition = PartitionLoad {
            partition: PartitionId::SYSTEM,
            history: History::new(7),
            start: Position::ZERO,
            end: Position::new(40),
            recent: 12,
            recent_bytes: 3000,
            last: Some(until),
        };
        let (partitions, skew) = (vec![partition], Some(0.0));
        std::future::ready(Ok(Load { until, over_ms, partitions, skew_percent: skew, skew_bytes_percent: skew }))
    }

    fn segments(&self, partition: Option<PartitionId>) -> impl Answer<Vec<SegmentView>> {
        let time = Some(Timestamp::from_millis(1_795_493_220_000));
        let segment = SegmentView {
            partition: partition.unwrap_or(PartitionId::SYSTEM),
            chain: "run".into(),
            number: 1,
            state: "active".into(),
            base: Position::ZERO,
            next: Position::new(40),
            records: 40,
            blocks: 9,
            bytes: 4000,
            first: time,
            last: time,
        };
        std::future::ready(Ok(vec![segment]))
    }

    fn stats(&self) -> impl Answer<LogStats> {
        let (wal_files, wal_bytes, segments, records, block_bytes) = (1, 5000, 2, 40, 4000);
        let written = Some(Written { block_bytes: 4000, disk_bytes: 9000 });
        let families = Vec::new();
        let stats = LogStats { families, wal_files, wal_bytes, segments, records, block_bytes, written };
        std::future::ready(Ok(stats))
    }

    fn read_records(&self, request: ReadRecords) -> impl Answer<RecordPage> {
        let next = request.from.unwrap_or_default();
        std::future::ready(Ok(RecordPage {
            records: Vec::new(),
            next,
            done: true,
            start: Position::ZERO,
            damaged: Vec::new(),
        }))
    }
}

fn backup_made(path: String) -> BackupMade {
    BackupMade {
        path,
        made: Timestamp::from_millis(1_795_493_220_000),
        partitions: 16,
        positions: 1000,
        files: 9,
        bytes: 123_456,
        copied_bytes: 33_000,
        quarantined: 0,
        elapsed_ms: 17,
    }
}
