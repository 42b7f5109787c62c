//! A batch of changes: `sequence u64, count u32`, then as many changes, each a tag, for some a column family, and one
//! or two byte strings behind their lengths.

use crate::codec::{Damage, Reader};

/// Shows each put. What is not understood ends the batch: nothing behind it can be told from a value's bytes.
pub(super) fn for_each_put(batch: &[u8], visit: &mut impl FnMut(&[u8], &[u8])) {
    let mut reader = Reader::new(batch);
    if reader.u64().and_then(|_sequence| reader.u32()).is_err() {
        return;
    }
    while let Ok(change) = change(&mut reader) {
        if let Change::Put(key, value) = change {
            visit(key, value);
        }
    }
}

/// The number of its first change.
pub(super) fn first_change(batch: &[u8]) -> Option<u64> {
    Reader::new(batch).u64().ok()
}

enum Change<'a> {
    Put(&'a [u8], &'a [u8]),
    Other,
}

fn change<'a>(reader: &mut Reader<'a>) -> Result<Change<'a>, Damage> {
    let tag = reader.u8()?;
    // Those of a family that is not the default one begin with its number.
    if matches!(tag, 0x4 | 0x5 | 0x8 | 0xe) {
        reader.number::<u32>()?;
    }
    match tag {
        0x1 | 0x5 => Ok(Change::Put(reader.prefixed()?, reader.prefixed()?)),
        // A deletion, a single deletion, a note.
        0x0 | 0x3 | 0x4 | 0x7 | 0x8 => reader.prefixed().map(|_| Change::Other),
        // A range of keys.
        0xe | 0xf => reader.prefixed().and_then(|_| reader.prefixed()).map(|_| Change::Other),
        0xd => Ok(Change::Other),
        _ => Err(Damage(format!("a change of the unknown kind {tag}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_as_rocksdb_writes_it_is_read() {
        let mut batch = rocksdb::WriteBatch::default();
        batch.put(b"one", b"1");
        batch.delete(b"two");
        batch.delete_range(b"a", b"b");
        batch.put(b"three", vec![3; 300]);
        let mut puts = Vec::new();
        for_each_put(batch.data(), &mut |key, value| puts.push((key.to_vec(), value.to_vec())));
        assert_eq!(puts, [(b"one".to_vec(), b"1".to_vec()), (b"three".to_vec(), vec![3; 300])]);
    }

    #[test]
    fn an_unknown_change_ends_the_batch() {
        let mut batch = rocksdb::WriteBatch::default();
        batch.put(b"one", b"1");
        let mut bytes = batch.data().to_vec();
        bytes.extend_from_slice(&[0x55, 1, 1, b'x', 1, b'y']);
        let mut puts = 0;
        for_each_put(&bytes, &mut |_, _| puts += 1);
        assert_eq!(puts, 1);
        for end in 0..bytes.len() {
            for_each_put(&bytes[..end], &mut |key, _| assert_eq!(key, b"one"));
        }
    }
}
