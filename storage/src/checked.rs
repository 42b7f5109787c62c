//! Small stored values other than blocks: a check over the key and the value, a version, then the fields.

use bytes::Bytes;

use crate::codec::{Damage, Reader};

const CRC_BYTES: usize = 4;

/// `crc32 u32, version u8, body`; the check covers the key too, so that a value in the place of another is found.
pub(crate) fn seal(key: &[u8], version: u8, body: &[u8]) -> Bytes {
    let mut value = Vec::with_capacity(CRC_BYTES + 1 + body.len());
    value.extend_from_slice(&[0; CRC_BYTES]);
    value.push(version);
    value.extend_from_slice(body);
    let crc = check(key, &value[CRC_BYTES..]);
    value[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    value.into()
}

/// The body of a value of `version`, the only one there is so far.
pub(crate) fn unseal<'a>(key: &[u8], version: u8, value: &'a [u8]) -> Result<Reader<'a>, Damage> {
    let mut reader = Reader::new(value);
    let crc = reader.u32()?;
    let found = check(key, &value[CRC_BYTES..]);
    if crc != found {
        return Err(Damage(format!("a value's check is {crc:#010x} but its bytes give {found:#010x}")));
    }
    match reader.u8()? {
        same if same == version => Ok(reader),
        other => Err(Damage(format!("a value of the unknown version {other}"))),
    }
}

fn check(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_only_under_its_key_and_version() {
        let value = seal(b"key", 1, b"body");
        assert_eq!(unseal(b"key", 1, &value).expect("good").rest(), b"body");
        assert!(unseal(b"kez", 1, &value).is_err());
        assert!(unseal(b"key", 2, &value).is_err());
        assert!(unseal(b"key", 1, &value[..3]).is_err());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let value = seal(b"key", 1, b"body");
        for bit in 0..value.len() * 8 {
            let mut bytes = value.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(b"key", 1, &bytes).is_err(), "bit {bit}");
        }
    }
}
