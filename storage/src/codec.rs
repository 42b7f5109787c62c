//! The small change of all stored bytes: little-endian numbers, varints, and a reader that never runs past the end.
//! The shapes built from them are in docs/file-format.md.

use std::fmt;

/// What is wrong with stored bytes, as a fragment that fits "partition 3 is damaged at position 17: …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) String);

impl Damage {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends 7 bits a byte, low bits first; the high bit says that more follow.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// A length prefix and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps small numbers of either sign to small unsigned ones: 0, -1, 1, -2, …
pub(crate) const fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// The last position or offset: no length of a block or a group behind it runs out of 64 bits.
pub(crate) const LAST_COUNTED: u64 = u64::MAX - (1 << 32);

/// A position or an offset as it stands in stored bytes: what comes after it can be counted.
pub(crate) fn counted(value: u64) -> Result<u64, Damage> {
    if value <= LAST_COUNTED { Ok(value) } else { Err(Damage(format!("{value} is no position that a log can have"))) }
}

/// Reads from the front of a slice. Every read is checked: bytes from a disk may be anything.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| Damage(format!("it ends {} bytes early", len.saturating_sub(self.rest.len()))))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.bytes(N).map(|bytes| bytes.try_into().expect("a slice of N bytes is an array of N bytes"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Damage> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Damage> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damage::new("a number in it is longer than 64 bits"))
    }

    /// A varint that fits `T`.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Damage> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| Damage(format!("the number {value} is out of its range")))
    }

    /// A length prefix and that many bytes.
    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], Damage> {
        let len = self.number()?;
        self.bytes(len)
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Says that nothing may follow.
    pub(crate) fn end(self) -> Result<(), Damage> {
        if self.rest.is_empty() { Ok(()) } else { Err(Damage(format!("{} bytes too many", self.rest.len()))) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_comes_back(value: u64, shift in 0_u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn a_signed_number_comes_back(value: i64, shift in 0_u32..64) {
            let value = value >> shift;
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn small_numbers_are_short() {
        let len = |value| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            bytes.len()
        };
        assert_eq!([len(0), len(127), len(128), len(u64::MAX)], [1, 1, 2, 10]);
        assert_eq!([zigzag(0), zigzag(-1), zigzag(1)], [0, 1, 2]);
    }

    #[test]
    fn what_is_too_short_or_too_long_is_damage() {
        assert!(Reader::new(&[0x80]).varint().is_err());
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]).varint().is_err());
        assert!(Reader::new(&[1, 2, 3]).u32().is_err());
        assert!(Reader::new(&[5, 1]).prefixed().is_err());
        assert!(Reader::new(&[1]).end().is_err());
    }
}
