//! A file is chunks of 32 KiB, a chunk is fragments, and a batch is one fragment or several in a row. A fragment is
//! `crc32c u32, length u16, type u8, number of the file u32, content`, little-endian, and never crosses a chunk.

/// No fragment crosses one, so that a reader finds its way again behind damage.
pub(super) const CHUNK_BYTES: usize = 32 * 1024;
pub(super) const HEADER: usize = 11;
/// The check is over all from the type on.
const CHECKED_FROM: usize = 6;

/// Which part of a batch a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Full,
    First,
    Middle,
    Last,
    /// What RocksDB notes for itself.
    Note,
}

/// What the front of a chunk's rest is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Good {
        part: Part,
        content: &'a [u8],
        after: &'a [u8],
    },
    /// Its check does not fit. `after` is where it claims to end.
    Damaged {
        after: &'a [u8],
    },
    /// Good, but of an earlier use of this file: what follows is older still.
    Stale,
    /// No fragment: the padding of a chunk, never written, or too short.
    Nothing,
}

/// Only the types that RocksDB uses in a file that it may use again are known: the others name no file, so that any
/// bytes with a check could pass for one.
pub(super) fn fragment(bytes: &[u8], number: u32) -> Found<'_> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Found::Nothing };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
    if length == 0 && header[CHECKED_FROM] == 0 {
        return Found::Nothing;
    }
    let Some((content, after)) = rest.split_at_checked(length) else { return Found::Nothing };
    if masked(crc32c::crc32c(&bytes[CHECKED_FROM..HEADER + length])) != word(0) {
        return Found::Damaged { after };
    }
    let part = match header[CHECKED_FROM] {
        5 => Part::Full,
        6 => Part::First,
        7 => Part::Middle,
        8 => Part::Last,
        11 | 131 => Part::Note,
        _ => return Found::Damaged { after },
    };
    if word(7) == number { Found::Good { part, content, after } } else { Found::Stale }
}

/// RocksDB keeps checks in this form, so that the check of bytes that hold checks is no trivial one.
const fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Appends a batch as RocksDB cuts it.
    pub(in crate::wal) fn write(file: &mut Vec<u8>, number: u32, batch: &[u8]) {
        let (mut rest, mut first) = (batch, true);
        loop {
            let room = CHUNK_BYTES - file.len() % CHUNK_BYTES;
            if room < HEADER {
                file.resize(file.len() + room, 0);
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room - HEADER));
            let kind = match (first, later.is_empty()) {
                (true, true) => 5,
                (true, false) => 6,
                (false, false) => 7,
                (false, true) => 8,
            };
            let checked = [&[kind], &number.to_le_bytes()[..], now].concat();
            file.extend_from_slice(&masked(crc32c::crc32c(&checked)).to_le_bytes());
            file.extend_from_slice(&u16::try_from(now.len()).expect("a chunk is small").to_le_bytes());
            file.extend_from_slice(&checked);
            (rest, first) = (later, false);
            if rest.is_empty() {
                return;
            }
        }
    }

    #[test]
    fn a_check_is_masked_as_rocksdb_does() {
        // The known check of "123456789", turned and moved by hand.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(0xe306_9283), 0xc78a_b0e5);
    }

    #[test]
    fn kinds_that_name_no_file_are_not_believed() {
        let mut file = Vec::new();
        write(&mut file, 1, b"batch");
        assert!(matches!(fragment(&file, 1), Found::Good { part: Part::Full, content: b"batch", after: [] }));
        assert_eq!(fragment(&file, 2), Found::Stale);
        // Type 1 is a full batch in a file that is used once.
        let checked = [&[1], &b"batch"[..]].concat();
        let mut short = masked(crc32c::crc32c(&checked)).to_le_bytes().to_vec();
        short.extend_from_slice(&5_u16.to_le_bytes());
        short.extend_from_slice(&checked);
        assert!(!matches!(fragment(&short, 1), Found::Good { .. }));
    }
}
