//! Reads one stream in order of offset: its entries in both chains' indexes, then the blocks they name.

mod ahead;

use std::collections::VecDeque;
use std::sync::Arc;

use types::{Offset, PartitionId, Position};

use crate::block::Block;
use crate::catalog::Catalog;
use crate::error::ReadError;
use crate::holes::Holes;
use crate::keys::{Family, IndexKey, LogKey};
use crate::log::{RETENTION_CLASSES, StreamRead};
use crate::read::{Place, newest_first, unless_dropped};
use crate::record::{CHAINS, RetentionClass, StoredRecord};
use crate::store::Scan;
use crate::stream_index::{IndexEntry, decode_entries};
use ahead::Ahead;

/// How much of the index one step of a walk over it is expected to read.
const INDEX_READ_BYTES: usize = 4 * 1024;

/// The index entries of a stream in one chain, oldest first: those on disk, then those in memory.
struct Entries<'a> {
    catalog: &'a Catalog,
    read: StreamRead,
    class: RetentionClass,
    place: Place,
    /// Segments whose index was not looked at, newest first; `None` once the disk was, or need not be, consulted.
    not_consulted: Option<Vec<u32>>,
    /// All later records of the partition are in memory.
    low: Position,
    /// Segments still to be walked, the next one last.
    segments: Vec<u32>,
    walk: Option<(u32, Box<dyn Scan + 'a>)>,
    /// Found and not yet given.
    found: VecDeque<IndexEntry>,
    memory: VecDeque<IndexEntry>,
    /// Entries of blocks from here on are in memory.
    memory_from: Option<Position>,
}

impl<'a> Entries<'a> {
    fn new(catalog: &'a Catalog, read: StreamRead, class: RetentionClass) -> Self {
        let place = Place { partition: read.partition, position: Position::ZERO };
        let state = catalog.view(read.partition).read();
        let covering = state.recent.index.covering(class.index(), read.stream, read.from, read.until);
        let memory: VecDeque<_> = covering.take(read.max_events.saturating_add(1)).collect();
        let memory_from = state.recent.indexed_from(class.index());
        let in_memory = memory.front().is_some_and(|entry| entry.base <= read.from);
        let not_consulted = if in_memory { None } else { Some(newest_first(&state, class.index())) };
        let low = state.recent.low();
        drop(state);
        let (segments, walk, found) = (Vec::new(), None, VecDeque::new());
        Self { catalog, read, class, place, not_consulted, low, segments, walk, found, memory, memory_from }
    }

    const fn blocks(&self) -> Blocks<'a> {
        Blocks { catalog: self.catalog, partition: self.read.partition, class: self.class }
    }

    fn key(&self, segment: u32, base: Offset) -> IndexKey {
        let StreamRead { partition, stream, .. } = self.read;
        IndexKey { partition, class: self.class, segment, stream, base }
    }

    /// Finds the newest segment whose entries cover the first wanted offset, and starts there. When there is none, all
    /// segments are walked: the stream may begin in a later one.
    fn consult(&mut self, newest_first: Vec<u32>) -> Result<(), ReadError> {
        self.segments = newest_first;
        for (index, segment) in self.segments.iter().enumerate() {
            let start = self.key(*segment, Offset::ZERO).encode();
            let seek = self.key(*segment, self.read.from).encode();
            let found = self.catalog.store.last(Family::Index, &start, &seek).map_err(self.place.store())?;
            if let Some((key, _)) = found {
                let segment = *segment;
                self.segments.truncate(index);
                self.start_walk(segment, &key);
                return Ok(());
            }
        }
        Ok(())
    }

    fn start_walk(&mut self, segment: u32, from: &[u8]) {
        let until = self.key(segment, self.read.until).encode();
        self.walk = Some((segment, self.catalog.store.scan(Family::Index, from, &until, INDEX_READ_BYTES)));
    }

    /// The next entry of an event after position `passed`, where the stream's event before it is, if that is known.
    fn next(&mut self, passed: Option<Position>) -> Result<Option<IndexEntry>, ReadError> {
        if let Some(newest_first) = self.not_consulted.take()
            && passed.is_none_or(|passed| passed < self.low)
        {
            self.consult(newest_first)?;
        }
        loop {
            if let Some(entry) = self.found.pop_front() {
                return Ok(Some(entry));
            }
            if !self.walk_on()? {
                return Ok(self.memory.pop_front());
            }
        }
    }

    /// Reads one more value of the index on disk. `false`: there is no more.
    fn walk_on(&mut self) -> Result<bool, ReadError> {
        let Some((segment, scan)) = &mut self.walk else {
            let Some(segment) = self.segments.pop() else { return Ok(false) };
            let from = self.key(segment, Offset::ZERO).encode();
            self.start_walk(segment, &from);
            return Ok(true);
        };
        let segment = *segment;
        let Some((key, value)) = scan.next().map_err(self.place.store())? else {
            self.walk = None;
            return Ok(true);
        };
        let key = IndexKey::decode(&key).map_err(self.place.damage())?;
        if key.segment != segment {
            return Err(self.place.corrupt(&"the stream index is out of order"));
        }
        let entries = decode_entries(&key, &value).map_err(self.place.damage())?;
        let on_disk_only = |entry: &IndexEntry| self.memory_from.is_none_or(|from| entry.block < from);
        let wanted = entries.partition_point(|entry| entry.base <= self.read.from).saturating_sub(1);
        self.found.extend(entries.into_iter().skip(wanted).filter(on_disk_only));
        Ok(true)
    }
}

/// The blocks of one chain.
#[derive(Clone, Copy)]
struct Blocks<'a> {
    catalog: &'a Catalog,
    partition: PartitionId,
    class: RetentionClass,
}

impl Blocks<'_> {
    fn key(&self, entry: &IndexEntry) -> LogKey {
        LogKey { partition: self.partition, class: self.class, segment: entry.segment, base: entry.block }
    }

    /// The block that an entry names, if it is in memory.
    fn recent(&self, entry: &IndexEntry) -> Option<Block> {
        let block = self.catalog.view(self.partition).read().recent.block(&self.key(entry))?;
        self.catalog.metrics.tail_hit();
        Some(block)
    }

    /// The same from the disk.
    fn cold(&self, entry: &IndexEntry) -> Result<Block, ReadError> {
        self.catalog.metrics.cold_read();
        let (key, place) = (self.key(entry), Place { partition: self.partition, position: entry.block });
        let bytes = self.catalog.store.get(Family::Log, &key.encode()).map_err(place.store())?;
        let bytes = bytes.ok_or_else(|| place.corrupt(&"a block that the stream index names is missing"))?;
        Block::decode(&key, bytes).map_err(place.damage())
    }
}

/// One event that is next in its chain.
struct Event {
    block: Block,
    index: usize,
    offset: Offset,
    position: Position,
    /// How many more of the stream are in the block.
    left: u32,
}

/// The events of a stream in one chain, in order.
struct Events<'a> {
    entries: Entries<'a>,
    ahead: Ahead,
    next: Option<Event>,
}

impl<'a> Events<'a> {
    fn new(entries: Entries<'a>) -> Self {
        Self { entries, ahead: Ahead::default(), next: None }
    }

    /// Goes on to the first event at or after `from`; `passed` learns the position of those before it.
    fn seek(&mut self, from: Offset, passed: &mut Option<Position>) -> Result<(), ReadError> {
        loop {
            let Some(event) = &self.next else {
                let Some((entry, block)) = self.ahead.next(&mut self.entries, *passed)? else { return Ok(()) };
                self.next = Some(self.open(&entry, block)?);
                continue;
            };
            if event.offset >= from {
                return Ok(());
            }
            *passed = (*passed).max(Some(event.position));
            self.advance()?;
        }
    }

    fn offset(&self) -> Option<Offset> {
        self.next.as_ref().map(|event| event.offset)
    }

    fn open(&self, entry: &IndexEntry, block: Block) -> Result<Event, ReadError> {
        let read = &self.entries.read;
        let place = Place { position: entry.block, ..self.entries.place };
        let index = entry.first_index as usize;
        let indexed = if index < block.count() { Some(block.stream(index).map_err(place.damage())?) } else { None };
        if indexed != Some((read.stream, entry.base)) || entry.count == 0 {
            return Err(place.corrupt(&"the stream index names a record that is another one"));
        }
        let position = block.position(index).map_err(place.damage())?;
        Ok(Event { block, index, offset: entry.base, position, left: entry.count - 1 })
    }

    /// Goes on to the stream's next record in the same block, if the entry says there is one.
    fn advance(&mut self) -> Result<(), ReadError> {
        let Some(event) = &mut self.next else { return Ok(()) };
        if event.left == 0 {
            self.next = None;
            return Ok(());
        }
        let place = Place { position: event.position, ..self.entries.place };
        for index in event.index + 1..event.block.count() {
            let (stream, offset) = event.block.stream(index).map_err(place.damage())?;
            if stream == self.entries.read.stream {
                let position = event.block.position(index).map_err(place.damage())?;
                (event.index, event.offset, event.position, event.left) = (index, offset, position, event.left - 1);
                return Ok(());
            }
        }
        Err(place.corrupt(&"the stream index counts more records than the block holds"))
    }
}

/// Whether the first wanted event, and with it all that come after, is in a block in memory.
pub(crate) fn is_recent(catalog: &Catalog, read: &StreamRead) -> bool {
    let state = catalog.view(read.partition).read();
    let low = state.recent.low();
    RETENTION_CLASSES.iter().any(|class| {
        let mut covering = state.recent.index.covering(class.index(), read.stream, read.from, read.until);
        covering.next().is_some_and(|first| first.base <= read.from && first.block >= low)
    })
}

pub(crate) fn read_stream(catalog: &Catalog, read: StreamRead) -> Result<Vec<StoredRecord>, ReadError> {
    unless_dropped(catalog, read.partition, || read_once(catalog, read))
}

fn read_once(catalog: &Catalog, read: StreamRead) -> Result<Vec<StoredRecord>, ReadError> {
    if read.stream.is_none() || read.max_events == 0 || read.from >= read.until {
        return Ok(Vec::new());
    }
    let view = catalog.view(read.partition);
    let end = view.acknowledged();
    let state = view.read();
    let (holes, damaged) = (Arc::clone(&state.holes), Arc::clone(&state.damaged));
    drop(state);
    let mut chains = RETENTION_CLASSES.map(|class| Events::new(Entries::new(catalog, read, class)));
    // The chain that needs no disk is asked first; often the other then need not be asked.
    chains.sort_by_key(|events| events.entries.not_consulted.is_some());
    let mut merge = Merge { chains, passed: None, end, holes, damaged };
    let (mut events, mut bytes, mut expected) = (Vec::new(), 0, read.from);
    while events.len() < read.max_events && (events.is_empty() || bytes < read.max_bytes) && expected < read.until {
        match merge.next(expected) {
            Ok(Some(stored)) => {
                bytes += stored.record.bytes();
                expected = expected.next();
                events.push(stored);
            }
            Err(error) if events.is_empty() => return Err(error),
            // After an error: what comes before it is good, and the next read meets it.
            Ok(None) | Err(_) => break,
        }
    }
    Ok(events)
}

/// A stream's events in both chains as one sequence.
struct Merge<'a> {
    chains: [Events<'a>; CHAINS],
    /// Where the last event before the next one is.
    passed: Option<Position>,
    /// Where what is acknowledged ends.
    end: Position,
    /// Where the partition is no longer kept.
    holes: Arc<Holes>,
    /// Where it is kept and not read.
    damaged: Arc<Holes>,
}

impl Merge<'_> {
    /// The acknowledged event at `expected`. Offsets are dense, so the chain that has it is enough.
    fn next(&mut self, expected: Offset) -> Result<Option<StoredRecord>, ReadError> {
        for chain in 0..CHAINS {
            self.chains[chain].seek(expected, &mut self.passed)?;
            if self.chains[chain].offset() == Some(expected) {
                return self.take(chain);
            }
        }
        let next = self.chains.iter().filter_map(|events| events.next.as_ref());
        let Some(event) = next.min_by_key(|event| event.offset) else { return Ok(None) };
        if event.position >= self.end {
            return Ok(None);
        }
        let from = self.passed.map_or(Position::ZERO, Position::next);
        if self.holes.touch(from, event.position) {
            return Err(ReadError::Trimmed { low: event.offset });
        }
        if self.damaged.touch(from, event.position) {
            return Err(ReadError::EventsQuarantined { low: event.offset });
        }
        let entries = &self.chains[0].entries;
        let place = Place { position: event.position, ..entries.place };
        Err(place.corrupt(&format!("event {expected} of stream {} is missing before it", entries.read.stream)))
    }

    fn take(&mut self, chain: usize) -> Result<Option<StoredRecord>, ReadError> {
        let events = &mut self.chains[chain];
        let event = events.next.as_ref().expect("it has the expected offset");
        if event.position >= self.end {
            return Ok(None);
        }
        let place = Place { position: event.position, ..events.entries.place };
        let stored = event.block.record(event.index).map_err(place.damage())?;
        self.passed = self.passed.max(Some(stored.position));
        Ok(Some(stored))
    }
}
