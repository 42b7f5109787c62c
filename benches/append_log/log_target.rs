//! The log: producers are spread over its partitions, as streams are.

use std::path::Path;
use std::sync::{Arc, Mutex};

use storage::{AppendBatch, EventClass, Log, Options, Record, RocksLog};
use types::{Offset, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::target::{Target, Told, payload};

pub(crate) struct LogTarget {
    log: Arc<RocksLog>,
    ends: Vec<Mutex<Place>>,
    producers: usize,
    /// Each producer's own: producers of a node share no bytes.
    payloads: Vec<bytes::Bytes>,
}

#[derive(Default)]
struct Place {
    position: u64,
    /// By producer of the partition.
    offsets: Vec<u64>,
}

impl LogTarget {
    pub(crate) fn new(path: &Path, bytes: usize, producers: usize, options: &Options) -> Self {
        let (log, _) = RocksLog::open(path, options).expect("a new directory opens");
        let partitions = log.partitions().get() as usize;
        let payloads = (0..producers).map(|_| payload(bytes)).collect();
        let place = || Mutex::new(Place { position: 0, offsets: vec![0; producers.div_ceil(partitions)] });
        Self { log, ends: (0..partitions).map(|_| place()).collect(), producers, payloads }
    }

    /// Where there are more partitions than producers, each producer goes round its share of them.
    fn partition(&self, producer: usize, n: usize) -> usize {
        let share = self.ends.len() / self.producers;
        if share > 1 { producer + self.producers * (n % share) } else { producer % self.ends.len() }
    }
}

impl Target for LogTarget {
    fn append(&self, producer: usize, n: usize, told: Told) {
        let (partition, stream) = (self.partition(producer, n), producer / self.ends.len());
        let mut place = self.ends[partition].lock().expect("not poisoned");
        let record = Record {
            schema: 1,
            class: EventClass::Output,
            cause: true,
            time: Timestamp::from_millis(1_795_493_220_000 + place.position / 100),
            stream: StreamOrdinal::new(stream as u64 + 1),
            offset: Offset::new(place.offsets[stream]),
            output: None,
            key: bytes::Bytes::new(),
            headers: Vec::new(),
            payload: self.payloads[producer].clone(),
        };
        let batch = AppendBatch {
            partition: PartitionId::new(u32::try_from(partition).expect("few")),
            expected: Position::new(place.position),
            records: vec![record],
            rows: Vec::new(),
        };
        place.position += 1;
        place.offsets[stream] += 1;
        self.log.append(
            batch,
            Box::new(move |outcome| {
                outcome.expect("an append succeeds");
                told.send(()).expect("the producer waits");
            }),
        );
    }

    fn syncs(&self) -> u64 {
        self.log.metrics().syncs()
    }

    fn close(&self) {
        self.log.close().expect("it closes");
    }
}
