//! Reads of one stream: dense, in order, over blocks, segments, checkpoints and both chains.

use storage::{Record, StoredRecord, StreamRead};
use types::{Offset, PartitionId, StreamOrdinal};

use crate::harness::{Harness, Rocks, Sizes, USUAL, fact, on_both, output, partition};
use crate::reading::mixture;

on_both! {
    every_stream_reads_dense_warm: USUAL,
    every_stream_reads_dense_small: SMALL,
    every_stream_reads_dense_cold: COLD,
    every_stream_reads_dense_after_reopening: SMALL,
    limits_of_a_stream_read_hold: SMALL,
    a_quiet_stream_is_found_among_many: COLD,
    nothing_at_the_end_and_nothing_unknown: SMALL,
}

pub(crate) fn request(partition: PartitionId, stream: u64, from: u64) -> StreamRead {
    StreamRead {
        partition,
        stream: StreamOrdinal::new(stream),
        from: Offset::new(from),
        until: Offset::new(u64::MAX),
        max_events: 1000,
        max_bytes: 1 << 20,
    }
}

pub(crate) fn read(harness: &dyn Harness, partition: PartitionId, stream: u64, from: u64) -> Vec<StoredRecord> {
    harness.log().read_stream(request(partition, stream, from)).expect("it reads")
}

fn check_streams(harness: &dyn Harness, all: &[Record]) {
    for stream in 1..=5 {
        let expect: Vec<_> = all.iter().filter(|record| record.stream == StreamOrdinal::new(stream)).collect();
        assert!(expect.len() > 10, "the mixture has enough of stream {stream}");
        for from in 0..expect.len() {
            let events = read(harness, partition(1), stream, from as u64);
            let records: Vec<_> = events.iter().map(|stored| &stored.record).collect();
            assert_eq!(records, expect[from..], "stream {stream} from {from}");
            assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position));
        }
        assert_eq!(read(harness, partition(1), stream, expect.len() as u64), Vec::new());
    }
}

fn every_stream_reads_dense_warm(harness: &mut dyn Harness) {
    let all = mixture(harness, 60);
    check_streams(harness, &all);
}

fn every_stream_reads_dense_small(harness: &mut dyn Harness) {
    every_stream_reads_dense_warm(harness);
}

fn every_stream_reads_dense_cold(harness: &mut dyn Harness) {
    every_stream_reads_dense_warm(harness);
}

fn every_stream_reads_dense_after_reopening(harness: &mut dyn Harness) {
    let all = mixture(harness, 60);
    harness.crash();
    check_streams(harness, &all);
    harness.reopen();
    check_streams(harness, &all);
}

fn limits_of_a_stream_read_hold(harness: &mut dyn Harness) {
    let p = partition(0);
    for n in 0..30 {
        harness.append(p, vec![if n % 3 == 0 { fact(1, n) } else { output(1, n) }]);
    }
    let offsets = |read: StreamRead| -> Vec<u64> {
        let events = harness.log().read_stream(read).expect("it reads");
        events.iter().map(|stored| stored.record.offset.value()).collect()
    };
    let all = request(p, 1, 5);
    assert_eq!(offsets(StreamRead { max_events: 3, ..all }), [5, 6, 7]);
    assert_eq!(offsets(StreamRead { until: Offset::new(8), ..all }), [5, 6, 7]);
    assert_eq!(offsets(StreamRead { max_bytes: 1, ..all }), [5]);
    assert_eq!(offsets(StreamRead { max_bytes: 20, ..all }), [5, 6]);
    assert_eq!(offsets(StreamRead { max_events: 0, ..all }), [0; 0]);
    assert_eq!(offsets(StreamRead { until: Offset::new(5), ..all }), [0; 0]);
    assert_eq!(offsets(all).len(), 25);
}

fn a_quiet_stream_is_found_among_many(harness: &mut dyn Harness) {
    let p = partition(3);
    harness.append(p, vec![fact(900, 0)]);
    for n in 0..80 {
        harness.append(p, (1..=6).map(|stream| output(stream, n)).collect());
    }
    harness.append(p, vec![output(900, 1)]);
    for n in 80..120 {
        harness.append(p, (1..=6).map(|stream| output(stream, n)).collect());
    }
    harness.append(p, vec![fact(900, 2)]);
    for from in 0..3 {
        assert_eq!(read(harness, p, 900, from).len() as u64, 3 - from);
    }
}

fn nothing_at_the_end_and_nothing_unknown(harness: &mut dyn Harness) {
    let p = partition(0);
    harness.append(p, vec![fact(1, 0), output(1, 1)]);
    assert_eq!(read(harness, p, 1, 2), Vec::new());
    assert_eq!(read(harness, p, 1, 99), Vec::new());
    assert_eq!(read(harness, p, 2, 0), Vec::new());
    assert_eq!(read(harness, p, 0, 0), Vec::new());
    assert_eq!(read(harness, partition(1), 1, 0), Vec::new());
}

#[test]
fn live_readers_need_no_disk_though_checkpoints_went_by() {
    let rocks = Rocks::new(Sizes { checkpoint_bytes: 1, ..USUAL });
    let (harness, p): (&dyn Harness, _) = (&rocks, partition(2));
    harness.append(p, vec![fact(1, 0)]);
    for n in 1..200 {
        harness.append(p, vec![output(1, n), output(2, n - 1)]);
        let behind = n.saturating_sub(5);
        assert_eq!(read(harness, p, 1, behind).len() as u64, n + 1 - behind);
        assert_eq!(read(harness, p, 1, n + 1).len(), 0);
    }
    let (hits, cold) = rocks.rocks().metrics().reads();
    assert_eq!(cold, 0, "{hits} reads came from memory");
}
