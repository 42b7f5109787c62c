//! What a block of a table still says when RocksDB refuses it because its checksum is wrong. RocksDB would also read it
//! without checking, but then it follows whatever numbers it finds in it, out of the block and into memory that is not
//! its own. So the block is taken apart by hand, in safe code, and gives something only if every length and every restart
//! in it is right: then RocksDB may read it, too.
//! Source: <https://github.com/facebook/rocksdb/wiki/Rocksdb-BlockBasedTable-Format>, and `table/block_based/block.cc` of
//! release 11.8.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::named_table;
use crate::store::{DoubtedBlock, DoubtedEntry};

/// No block is larger: one record may be.
const MOST_BYTES: usize = crate::limits::RECORD_BYTES + 1024 * 1024;
/// Behind a key: what the entry is, and a number.
const KEY_END_BYTES: usize = 8;
const IS_DELETION: u8 = 0;
const IS_VALUE: u8 = 1;
const IS_PLAIN: u8 = 0;
const IS_LZ4: u8 = 4;
/// The higher bits of the number at the end of a block say that it is laid out in another way.
const MOST_RESTARTS: u32 = 0x0fff_ffff;

/// The entries of the damaged block of which RocksDB says `what`, if they are in order. `folder` has the tables.
pub(super) fn entries(folder: &Path, what: &str) -> Option<DoubtedBlock> {
    let (table, offset, size) = place_in(what)?;
    let mut bytes = vec![0; size + 1];
    File::open(folder.join(table)).and_then(|file| file.read_exact_at(&mut bytes, offset)).ok()?;
    // Behind a block: how it is compressed.
    let (entries, is_plain) = match bytes.pop()? {
        IS_PLAIN => (taken_apart(&bytes)?, true),
        IS_LZ4 => (taken_apart(&unpacked(&bytes)?)?, false),
        _ => return None,
    };
    Some(DoubtedBlock { entries, is_plain })
}

/// Where a block is, as RocksDB says it: `… in DIR/000012.sst offset 1996 size 2003, …`.
fn place_in(text: &str) -> Option<(String, u64, usize)> {
    let number = |name: &str| {
        let rest = text.split_once(name)?.1;
        rest.split(|other: char| !other.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let size = usize::try_from(number(" size ")?).ok().filter(|size| *size <= MOST_BYTES)?;
    Some((named_table(text)?, number(" offset ")?, size))
}

/// The bytes' number comes first.
fn unpacked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let size = varint(&mut bytes).filter(|size| *size <= MOST_BYTES)?;
    let block = lz4_flex::block::decompress(bytes, size).ok()?;
    (block.len() == size).then_some(block)
}

fn taken_apart(block: &[u8]) -> Option<Vec<DoubtedEntry>> {
    let (body, count) = block.split_last_chunk::<4>()?;
    let count = u32::from_le_bytes(*count);
    let restarts = usize::try_from(count).ok().filter(|_| (1..=MOST_RESTARTS).contains(&count))?;
    let (mut rest, restarts) = body.split_at_checked(body.len().checked_sub(restarts.checked_mul(4)?)?)?;
    let (end, mut restarts) = (rest.len(), restarts.chunks_exact(4).map(number).peekable());
    let (mut entries, mut key) = (Vec::<DoubtedEntry>::new(), Vec::new());
    while !rest.is_empty() {
        let at = end - rest.len();
        let is_restart = restarts.next_if(|restart| *restart == at).is_some();
        let (shared, own, value) = next_entry(&mut rest, key.len())?;
        if (is_restart && shared > 0) || (at == 0 && !is_restart) {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(own);
        let (name, end) = key.split_last_chunk::<KEY_END_BYTES>()?;
        if entries.last().is_some_and(|before| &before.key[..] >= name) {
            return None;
        }
        // Nothing else is ever written, and RocksDB takes other kinds for what they are not.
        let value = match end[0] {
            IS_DELETION => None,
            IS_VALUE => Some(Bytes::copy_from_slice(value)),
            _ => return None,
        };
        entries.push(DoubtedEntry { key: name.to_vec(), value });
    }
    // Every restart is where an entry begins.
    (restarts.next().is_none() && !entries.is_empty()).then_some(entries)
}

fn number(bytes: &[u8]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes.try_into().expect("four bytes were taken"))).unwrap_or(usize::MAX)
}

/// How much of the key before it an entry has, the rest of its key, and its value.
fn next_entry<'a>(rest: &mut &'a [u8], before: usize) -> Option<(usize, &'a [u8], &'a [u8])> {
    let [shared, own, value] = [varint(rest)?, varint(rest)?, varint(rest)?];
    let (own, behind) = rest.split_at_checked(own)?;
    let (value, behind) = behind.split_at_checked(value)?;
    *rest = behind;
    (shared <= before).then_some((shared, own, value))
}

/// 7 bits a byte, the low ones first.
fn varint(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two values and a deletion, which share two bytes with each other.
    fn block() -> Vec<u8> {
        let mut block = Vec::new();
        for (shared, own, kind, value) in [(0, "abc", 1, "one"), (2, "d", 1, "two"), (2, "e", 0, "")] {
            let own = [own.as_bytes(), &[kind, 7, 0, 0, 0, 0, 0, 0]].concat();
            block.extend([shared, u8::try_from(own.len()).expect("short"), u8::try_from(value.len()).expect("short")]);
            block.extend(own);
            block.extend(value.as_bytes());
        }
        block.extend([0; 4]);
        block.extend(1_u32.to_le_bytes());
        block
    }

    fn expected() -> Vec<DoubtedEntry> {
        let entry =
            |key: &str, value: Option<&'static str>| DoubtedEntry { key: key.into(), value: value.map(Bytes::from) };
        vec![entry("abc", Some("one")), entry("abd", Some("two")), entry("abe", None)]
    }

    #[test]
    fn a_block_in_order_is_taken_apart() {
        assert_eq!(taken_apart(&block()), Some(expected()));
        let mut packed = vec![u8::try_from(block().len()).expect("short")];
        packed.extend(lz4_flex::block::compress(&block()));
        assert_eq!(unpacked(&packed).as_deref().and_then(taken_apart), Some(expected()));
    }

    #[test]
    fn what_is_not_in_order_gives_nothing() {
        let with = |at: usize, byte: u8| {
            let mut block = block();
            block[at] = byte;
            taken_apart(&block)
        };
        let restarts = block().len() - 8;
        // A length beyond the end, a restart within an entry, restarts that are too many, keys out of order.
        assert_eq!([with(1, 200), with(restarts, 1), with(restarts + 4, 2), with(20, b'z')], [None, None, None, None]);
        // Two under one key, and kinds of entries that are never written.
        assert_eq!(with(20, b'c'), None);
        let kinds = (2..=u8::MAX).find(|kind| with(6, *kind).is_some() || with(21, *kind).is_some());
        assert_eq!(kinds, None);
        // Whether a value is right is for others to say.
        assert!(with(14, b'x').is_some_and(|entries| entries.len() == 3));
    }

    #[test]
    fn a_sentence_says_where_a_block_is() {
        let text = "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4  in /d/000012.sst offset 7 size 9, x";
        assert_eq!(place_in(text), Some(("000012.sst".to_owned(), 7, 9)));
        assert_eq!(place_in("Corruption: bad entry in /d/000012.sst"), None);
        assert_eq!(place_in("in /d/000012.sst offset 7 size 99999999999"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_block_says_it_is_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (taken_apart(&bytes), unpacked(&bytes));
        }
    }
}
