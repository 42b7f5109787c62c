//! What the log needs of a disk: ordered keys, atomic batches, a sync, and honest reads. RocksDB (`rocks.rs`) and a
//! simulated disk (`simulated_disk.rs`) are the two; everything above them is the same code.

use std::fmt;

use bytes::Bytes;

use crate::keys::Family;

/// A failure of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// What is there is not what was written.
    Corrupt(String),
    /// Everything else: no space, no permission, gone.
    Io(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(what) | Self::Io(what) => f.write_str(what),
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Family, Vec<u8>, Bytes),
    Delete(Family, Vec<u8>),
    /// All keys from the first (inclusive) to the second (exclusive).
    DeleteRange(Family, Vec<u8>, Vec<u8>),
}

/// Changes that happen together or not at all. Blocks come first: a torn simulated write keeps a front part of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    blocks: Vec<Change>,
    rest: Vec<Change>,
}

impl Batch {
    pub(crate) fn put_block(&mut self, key: &[u8], value: Bytes) {
        self.blocks.push(Change::Put(Family::Log, key.to_vec(), value));
    }

    pub(crate) fn put(&mut self, family: Family, key: &[u8], value: Bytes) {
        self.rest.push(Change::Put(family, key.to_vec(), value));
    }

    pub(crate) fn delete(&mut self, family: Family, key: &[u8]) {
        self.rest.push(Change::Delete(family, key.to_vec()));
    }

    pub(crate) fn delete_range(&mut self, family: Family, from: &[u8], until: &[u8]) {
        self.rest.push(Change::DeleteRange(family, from.to_vec(), until.to_vec()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.rest.is_empty()
    }

    pub(crate) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.blocks.iter().chain(&self.rest)
    }

    /// The blocks alone.
    pub(crate) fn blocks(&self) -> &[Change] {
        &self.blocks
    }
}

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Bytes);

/// What stands in a place that the store cannot vouch for, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DoubtedBlock {
    pub(crate) entries: Vec<DoubtedEntry>,
    /// It is as it lies on the disk. In one that was compressed one damaged byte may have spoiled many.
    pub(crate) is_plain: bool,
}

/// A value or a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DoubtedEntry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Bytes>,
}

/// A walk over keys in order. It ends with `None` only when there is truly nothing more: a damaged file is an error.
pub(crate) trait Scan {
    fn next(&mut self) -> Result<Option<Entry>, StoreError>;
}

pub(crate) trait Store: Send + Sync + fmt::Debug {
    /// Writes a batch, in order with all others. Visible at once; durable after the next `sync`.
    fn write(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Makes durable all that was written before the call. Never retried after a failure.
    fn sync(&self) -> Result<(), StoreError>;

    /// The number of the last change written: grows by one a change.
    fn sequence(&self) -> u64;

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Keys from `from` (inclusive) until `until` (exclusive). About `expect_bytes` will be read.
    fn scan<'a>(&'a self, family: Family, from: &[u8], until: &[u8], expect_bytes: usize) -> Box<dyn Scan + 'a>;

    /// What stands in a place of a file that the store cannot vouch for, as it says in `what`; `None` where its entries
    /// cannot be told apart.
    fn doubted_block(&self, _what: &str) -> Option<DoubtedBlock> {
        None
    }

    /// As `scan`, without the store's own checks of what it reads: only for keys of a `doubted_block`.
    fn scan_unchecked<'a>(&'a self, family: Family, from: &[u8], until: &[u8]) -> Box<dyn Scan + 'a> {
        self.scan(family, from, until, 0)
    }

    /// Gives back at once the files that hold nothing but keys of `from..until`. Not a write: nothing brings them back,
    /// so it must be durable before that nobody wants them. Keys in other files stay.
    fn drop_files(&self, family: Family, from: &[u8], until: &[u8]) -> Result<(), StoreError>;

    /// The last key in `from..=until`.
    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Entry>, StoreError>;
}
