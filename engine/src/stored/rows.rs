//! Rows as bytes: what each holds, checked against where it stands.

use bytes::Bytes;

use super::error::StoredError;
use super::row_name::{CLOSED_RUN, OPEN_RUN, STREAM, envelope_kind, row_key, row_name};
use super::{envelope, kind_name, v1, v2, v3, v4};
use crate::row::{RowImage, RowName};

/// The row's value. The checksum covers its key, and a `Start` carries its name, which its hashed id does not tell.
/// Panics when the image is not one of this name.
pub fn encode_row(name: &RowName, image: &RowImage) -> Bytes {
    let (kind, id) = row_key(name);
    let newer = v4::write(kind, &id, image).or_else(|| v3::write(kind, &id, image));
    let newer = newer.or_else(|| v2::write(kind, &id, image));
    newer.unwrap_or_else(|| v1::row::write(name, kind, &id, image))
}

/// Reads the row that stands under `name`.
pub fn decode_row(name: &RowName, bytes: &[u8]) -> Result<RowImage, StoredError> {
    let (kind, id) = row_key(name);
    let (found, image) = read_row(kind, &id, bytes)?;
    if found == *name { Ok(image) } else { Err(misplaced(name, &found)) }
}

/// Reads a row that a scan met: its name comes from its key, or from its value where the key is a hash.
pub fn read_row(kind: u8, id: &[u8], bytes: &[u8]) -> Result<(RowName, RowImage), StoredError> {
    let opened = envelope::open(id, bytes)?;
    if opened.kind != envelope_kind(kind) {
        let (wanted, found) = (kind_name(envelope_kind(kind)), kind_name(opened.kind));
        return Err(StoredError::Misplaced { wanted, found });
    }
    let v1::row::Read { image, name } = match opened.version {
        1 => v1::row::open(&opened, kind)?,
        2 => v1::row::Read { image: v2::open(&opened, kind)?, name: None },
        3 if kind == STREAM => v1::row::Read { image: RowImage::Stream(v3::open(&opened)?), name: None },
        4 if matches!(kind, OPEN_RUN | CLOSED_RUN) => v1::row::Read::run(v4::open(&opened)?),
        version => return Err(StoredError::UnknownVersion { kind: kind_name(opened.kind), version }),
    };
    let name = match name {
        Some(name) if row_key(&name) == (kind, id.to_vec()) => name,
        Some(name) => return Err(misplaced(&format_args!("kind {kind} and id {id:02x?}"), &name)),
        None => row_name(kind, id)?,
    };
    Ok((name, image))
}

fn misplaced(wanted: &dyn std::fmt::Debug, found: &RowName) -> StoredError {
    StoredError::Misplaced { wanted: format!("{wanted:?}"), found: format!("{found:?}") }
}
