//! The whole schema on one screen. Big-endian, so that the order of keys is the order of things.
//!
//! | family  | key                                                                        | value                   |
//! |---------|----------------------------------------------------------------------------|-------------------------|
//! | `log`   | partition u32, class u8, segment u32, base position u64                    | a block                 |
//! | `index` | partition u32, class u8, segment u32, stream ordinal u64, base offset u64  | where its events are    |
//! | `meta`  | kind u8 (1), 0                                                             | the directory           |
//! |         | kind u8 (2), partition u32                                                 | a partition             |
//! |         | kind u8 (3), partition u32, class u8, segment u32                          | a segment               |
//! |         | kind u8 (4), partition u32                                                 | a checkpoint            |
//! |         | kind u8 (5), partition u32, class u8, segment u32                          | a quarantine            |
//! |         | kind u8 (6), a row's key                                                   | rows that were lost     |
//! | `rows`  | partition u32, kind u8, id                                                 | a row                   |

mod index;
mod log;
mod meta;
mod rows;

pub(crate) use index::IndexKey;
pub(crate) use log::LogKey;
#[cfg(test)]
pub(crate) use log::tests as log_tests;
pub(crate) use meta::MetaKey;
pub(crate) use rows::{row_id, row_key, row_kind_end, row_kind_start};

use types::PartitionId;

use crate::codec::Damage;
use crate::record::RetentionClass;

/// Key families. Each is a column family of RocksDB; its name is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Log,
    Index,
    Meta,
    Rows,
}

impl Family {
    pub(crate) const ALL: [Self; 4] = [Self::Log, Self::Index, Self::Meta, Self::Rows];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::Meta => "meta",
            Self::Rows => "rows",
        }
    }
}

impl RetentionClass {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Run => 1,
            Self::Stream => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Result<Self, Damage> {
        match code {
            1 => Ok(Self::Run),
            2 => Ok(Self::Stream),
            other => Err(Damage(format!("the unknown retention class {other}"))),
        }
    }

    /// Where its things are in a pair of them.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Run => 0,
            Self::Stream => 1,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Stream => "stream",
        }
    }
}

/// Big-endian numbers from the front of a key.
struct KeyReader<'a>(&'a [u8]);

impl KeyReader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| Damage::new("a key is too short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Damage> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_be_bytes)
    }

    fn partition(&mut self) -> Result<PartitionId, Damage> {
        self.u32().map(PartitionId::new)
    }

    fn class(&mut self) -> Result<RetentionClass, Damage> {
        self.u8().and_then(RetentionClass::from_code)
    }

    fn end(self) -> Result<(), Damage> {
        if self.0.is_empty() { Ok(()) } else { Err(Damage::new("a key is too long")) }
    }
}
