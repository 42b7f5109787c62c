//! Fetches the blocks that a stream's index names: the first one alone, and for who reads on more and more of them at
//! once, on several threads. A stream that lies scattered waits for the disk, and for decompression, once a block;
//! together the blocks wait once.

use std::collections::VecDeque;
use std::thread;

use types::Position;

use super::{Blocks, Entries};
use crate::block::Block;
use crate::error::ReadError;
use crate::limits::BLOCK_BYTES;
use crate::stream_index::IndexEntry;

/// Blocks fetched at once at most: 4 MiB of memory for a reader, if no record is larger than a block should be.
const MOST: usize = 64;
/// With fewer that are not in memory, threads cost more than they save.
const LEAST: usize = 4;
/// Threads of one reader while it fetches.
const THREADS: usize = 8;

/// Entries of one chain's index, each with the block it names, in order.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    fetched: VecDeque<(IndexEntry, Result<Block, ReadError>)>,
    /// How many entries the last fetch was of.
    last: usize,
    /// Why there are no entries behind those that were fetched.
    stopped: Option<ReadError>,
}

impl Ahead {
    /// The next entry and its block. Fetches twice as many as the last time, as far as the reader may want them.
    pub(super) fn next(
        &mut self,
        entries: &mut Entries<'_>,
        passed: Option<Position>,
    ) -> Result<Option<(IndexEntry, Block)>, ReadError> {
        if self.fetched.is_empty() {
            self.fetch(entries, passed)?;
        }
        match self.fetched.pop_front() {
            Some((entry, block)) => Ok(Some((entry, block?))),
            None => Ok(None),
        }
    }

    fn fetch(&mut self, entries: &mut Entries<'_>, passed: Option<Position>) -> Result<(), ReadError> {
        if let Some(error) = self.stopped.take() {
            return Err(error);
        }
        let room = (entries.read.max_bytes / BLOCK_BYTES).min(MOST);
        let most = (self.last * 2).min(room).max(1);
        let (mut found, mut events) = (Vec::new(), 0);
        while found.len() < most && (found.is_empty() || events < entries.read.max_events) {
            match entries.next(passed) {
                Ok(Some(entry)) => {
                    events += entry.count as usize;
                    found.push(entry);
                }
                Ok(None) => break,
                Err(error) if found.is_empty() => return Err(error),
                // What comes before it is good.
                Err(error) => {
                    self.stopped = Some(error);
                    break;
                }
            }
        }
        self.last = found.len();
        self.fetched = fetch(entries.blocks(), found).into();
        Ok(())
    }
}

type Fetched = (IndexEntry, Result<Block, ReadError>);

fn fetch(blocks: Blocks<'_>, wanted: Vec<IndexEntry>) -> Vec<Fetched> {
    let recent: Vec<_> = wanted.iter().map(|entry| blocks.recent(entry)).collect();
    let cold: Vec<_> =
        wanted.iter().zip(&recent).filter(|(_, recent)| recent.is_none()).map(|(entry, _)| *entry).collect();
    let mut cold = read(blocks, &cold).into_iter();
    let block = |recent: Option<Block>| recent.map_or_else(|| cold.next().expect("one for each"), Ok);
    wanted.into_iter().zip(recent.into_iter().map(block)).collect()
}

/// Reads blocks from the disk: each on its own, so that one that cannot be read hides no other.
fn read(blocks: Blocks<'_>, wanted: &[IndexEntry]) -> Vec<Result<Block, ReadError>> {
    let read = move |entries: &[IndexEntry]| entries.iter().map(|entry| blocks.cold(entry)).collect::<Vec<_>>();
    if wanted.len() < LEAST {
        return read(wanted);
    }
    thread::scope(|scope| {
        let start = |share| {
            let thread = thread::Builder::new().name("log-ahead".to_owned());
            // A system that gives no thread just now is no reason not to read.
            thread.spawn_scoped(scope, move || read(share)).map_err(|_| share)
        };
        let shares: Vec<_> = wanted.chunks(wanted.len().div_ceil(THREADS)).map(start).collect();
        let end = |started: Result<thread::ScopedJoinHandle<'_, Vec<_>>, _>| match started {
            Ok(thread) => thread.join().expect("reading a block does not panic"),
            Err(share) => read(share),
        };
        shares.into_iter().flat_map(end).collect()
    })
}
