//! The self-describing frame around every bincode body: kind, version, length, checksum. Checks before it decodes,
//! because most flipped bits decode "successfully". Knows no event and no row.
//!
//! Little-endian: kind u8, version u8, length of the body u32, checksum u32, body. The checksum is the first four bytes
//! of blake3 over the first six, the identity and the body; the identity is what the bytes are stored under, so that
//! a misplaced row is found as well.

use bincode::config::{Configuration, standard};
use bincode::enc::EncoderImpl;
use bincode::enc::write::SizeWriter;
use bincode::{Decode, Encode};
use bytes::Bytes;

use super::error::StoredError;

const HEADER_BYTES: usize = 10;
/// Where the checksum begins: it covers what stands before it.
const CHECKSUM_AT: usize = 6;

/// The most memory that a stored byte makes its reader claim: an open scope is claimed with some 500 bytes and stored
/// in ten at least; all else that comes in lists has less to it.
const CLAIM_PER_BYTE: usize = 64;

/// What a sound envelope holds.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) kind: u8,
    pub(super) version: u8,
    pub(super) body: &'a [u8],
}

/// Frames a body. `limit` is what its reader will allow.
pub(super) fn seal(kind: u8, version: u8, identity: &[u8], body: &impl Encode, limit: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&[kind, version]);
    bytes.resize(HEADER_BYTES, 0);
    write_into(&mut bytes, body);
    let length = bytes.len() - HEADER_BYTES;
    assert!(length <= limit, "kind {kind} with {length} bytes could never be read again, the limit is {limit}");
    let length = u32::try_from(length).expect("the limits lie below 4 GiB");
    bytes[2..CHECKSUM_AT].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(&bytes[..CHECKSUM_AT], identity, &bytes[HEADER_BYTES..]);
    bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    bytes.into()
}

/// Checks a frame and takes it off.
pub(super) fn open<'a>(identity: &[u8], bytes: &'a [u8]) -> Result<Opened<'a>, StoredError> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(StoredError::Length { expected: HEADER_BYTES, actual: bytes.len() });
    };
    let [kind, version, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length != body.len() {
        return Err(StoredError::Length { expected: HEADER_BYTES.saturating_add(length), actual: bytes.len() });
    }
    let expected = u32::from_le_bytes([c0, c1, c2, c3]);
    let actual = checksum(&header[..CHECKSUM_AT], identity, body);
    if actual != expected {
        return Err(StoredError::Checksum { expected, actual });
    }
    Ok(Opened { kind, version, body })
}

fn checksum(head: &[u8], identity: &[u8], body: &[u8]) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(identity).update(body);
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A body without its frame.
pub(super) fn write(body: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_into(&mut bytes, body);
    bytes
}

fn write_into(bytes: &mut Vec<u8>, body: &impl Encode) {
    bincode::encode_into_std_write(body, bytes, standard()).expect("a vector takes all bytes");
}

/// Whether `read` with this limit could read the body back. One so short that nothing in it can claim more is only
/// measured; a longer one is written and read.
pub(super) fn check<T: Encode + Decode<()>, const LIMIT: usize>(body: &T) -> Result<(), String> {
    let mut counter = EncoderImpl::new(SizeWriter::default(), standard());
    body.encode(&mut counter).map_err(|error| error.to_string())?;
    let bytes = counter.into_writer().bytes_written;
    if bytes <= LIMIT / CLAIM_PER_BYTE {
        return Ok(());
    }
    read::<T, LIMIT>(&write(body)).map(drop)
}

/// Reads a body to its last byte. `LIMIT` bounds the memory that lengths inside it may claim.
pub(super) fn read<T: Decode<()>, const LIMIT: usize>(bytes: &[u8]) -> Result<T, String> {
    let config: Configuration<_, _, _> = standard().with_limit::<LIMIT>();
    let (value, used) = bincode::decode_from_slice(bytes, config).map_err(|error| error.to_string())?;
    if used == bytes.len() { Ok(value) } else { Err(format!("{} bytes are left over", bytes.len() - used)) }
}
