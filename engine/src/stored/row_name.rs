//! The names of rows as bytes. Ids sort as bytes, so they decide what a scan meets first.

use types::{ProducerId, RoutingHash, RunId, StreamName, StreamOrdinal, TenantId, WorkflowHash};

use super::error::StoredError;
use crate::definition::DefinitionName;
use crate::row::{RowName, StartKey};
use crate::stream::StreamKey;

// Numbers of row kinds, stable on disk; storage knows the same ones.
pub(super) const PARTITION: u8 = 1;
pub(super) const OPEN_RUN: u8 = 2;
pub(super) const CLOSED_RUN: u8 = 3;
pub(super) const STREAM: u8 = 4;
pub(super) const STREAM_NAME: u8 = 5;
pub(super) const PRODUCER: u8 = 6;
pub(super) const START: u8 = 7;
pub(super) const DEFINITION: u8 = 8;
pub(super) const RUN_OF_STREAM: u8 = 10;

/// Every kind of row, for messages and for the test that wants a golden fixture of each.
pub(super) const KINDS: &[(u8, &str)] = &[
    (PARTITION, "Partition"),
    (OPEN_RUN, "OpenRun"),
    (CLOSED_RUN, "ClosedRun"),
    (STREAM, "Stream"),
    (STREAM_NAME, "StreamName"),
    (PRODUCER, "Producer"),
    (START, "Start"),
    (DEFINITION, "Definition"),
    (RUN_OF_STREAM, "RunOfStream"),
];

/// Rows and events share one space of numbers in envelopes, so that neither is ever taken for the other.
pub(super) const fn envelope_kind(row: u8) -> u8 {
    row | 0x80
}

/// Where a row stands: the number of its kind and its id, at most 1 KiB.
pub fn row_key(name: &RowName) -> (u8, Vec<u8>) {
    match name {
        RowName::Partition => (PARTITION, Vec::new()),
        RowName::OpenRun(run) => (OPEN_RUN, run_id(*run)),
        RowName::ClosedRun(run) => (CLOSED_RUN, run_id(*run)),
        RowName::Stream(stream) => (STREAM, joined(&[stream.tenant.as_str(), stream.name.as_str()])),
        RowName::StreamName(ordinal) => (STREAM_NAME, ordinal.value().to_be_bytes().to_vec()),
        RowName::RunOfStream(ordinal) => (RUN_OF_STREAM, ordinal.value().to_be_bytes().to_vec()),
        RowName::Producer(stream, producer) => {
            (PRODUCER, joined(&[stream.tenant.as_str(), stream.name.as_str(), producer.as_str()]))
        }
        RowName::Start(start) => (START, start_id(start)),
        RowName::Definition(hash, tenant, name) => (DEFINITION, definition_id(hash, tenant, name)),
    }
}

/// Where the rows of all producers of a stream stand: their kind, and what their ids begin with, which no other row's does.
pub fn producers_of(stream: &StreamKey) -> (u8, Vec<u8>) {
    (PRODUCER, joined(&[stream.tenant.as_str(), stream.name.as_str(), ""]))
}

/// The row's name, where the id alone tells it. That of a `Start` is a hash: `read_row` takes its name from its value.
pub fn row_name(kind: u8, id: &[u8]) -> Result<RowName, StoredError> {
    let refused = |why: String| StoredError::RowId { kind, id: id.to_vec(), why };
    let name = match kind {
        PARTITION if id.is_empty() => Ok(RowName::Partition),
        PARTITION => Err("a partition has one row, without an id".to_owned()),
        OPEN_RUN => run_of(id).map(RowName::OpenRun),
        CLOSED_RUN => run_of(id).map(RowName::ClosedRun),
        STREAM => stream_of(id).map(RowName::Stream),
        STREAM_NAME => ordinal_of(id).map(RowName::StreamName),
        RUN_OF_STREAM => ordinal_of(id).map(RowName::RunOfStream),
        PRODUCER => producer_of(id),
        START => Err("it is a hash, the row's value carries the name".to_owned()),
        DEFINITION => definition_of(id),
        unknown => return Err(StoredError::UnknownKind(envelope_kind(unknown))),
    };
    name.map_err(refused)
}

/// The ULID upside down, so that an ascending scan meets the newest run first, then the routing hash.
fn run_id(run: RunId) -> Vec<u8> {
    let mut id = (!run.ulid()).to_be_bytes().to_vec();
    id.extend_from_slice(&run.routing_hash().bits().to_be_bytes());
    id
}

fn run_of(id: &[u8]) -> Result<RunId, String> {
    let whole = <&[u8; 20]>::try_from(id).map_err(|_| "a run's id has 20 bytes".to_owned())?;
    let (ulid, hash) = whole.split_first_chunk::<16>().expect("20 bytes begin with 16");
    let hash = <[u8; 4]>::try_from(hash).expect("4 bytes are left of 20");
    Ok(RunId::new(RoutingHash::from_bits(u32::from_be_bytes(hash)), !u128::from_be_bytes(*ulid)))
}

/// Names parted by a zero byte, which no name contains.
fn joined(names: &[&str]) -> Vec<u8> {
    names.join("\0").into_bytes()
}

fn parted<const N: usize>(id: &[u8]) -> Result<[&str; N], String> {
    let text = std::str::from_utf8(id).map_err(|error| error.to_string())?;
    let names: Vec<&str> = text.split('\0').collect();
    names.try_into().map_err(|names: Vec<_>| format!("it has {} names instead of {N}", names.len()))
}

fn stream_key(tenant: &str, name: &str) -> Result<StreamKey, String> {
    let tenant = TenantId::new(tenant).map_err(|error| error.to_string())?;
    let name = StreamName::new(name).map_err(|error| error.to_string())?;
    Ok(StreamKey { tenant, name })
}

fn stream_of(id: &[u8]) -> Result<StreamKey, String> {
    let [tenant, name] = parted(id)?;
    stream_key(tenant, name)
}

fn ordinal_of(id: &[u8]) -> Result<StreamOrdinal, String> {
    let ordinal = <[u8; 8]>::try_from(id).map_err(|_| "an ordinal has 8 bytes".to_owned())?;
    Ok(StreamOrdinal::new(u64::from_be_bytes(ordinal)))
}

fn producer_of(id: &[u8]) -> Result<RowName, String> {
    let [tenant, name, producer] = parted(id)?;
    Ok(RowName::Producer(stream_key(tenant, name)?, ProducerId::new(producer)?))
}

/// A hash, because the parts together may be longer than an id. Each part goes in with its length, so that no two
/// keys give the same bytes.
fn start_id(start: &StartKey) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    let (namespace, name) = &start.workflow;
    let parts = [start.tenant.as_str(), namespace, name, start.idempotency_key.as_str()];
    for part in parts.into_iter().chain(start.key.as_deref()) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().as_bytes().to_vec()
}

fn definition_id(hash: &WorkflowHash, tenant: &TenantId, name: &DefinitionName) -> Vec<u8> {
    let mut id = hash.as_bytes().to_vec();
    id.extend(joined(&[tenant.as_str(), &name.namespace, &name.name, &name.version]));
    id
}

fn definition_of(id: &[u8]) -> Result<RowName, String> {
    let (hash, rest) = id.split_first_chunk().ok_or_else(|| "a definition's id begins with 32 bytes".to_owned())?;
    let [tenant, namespace, name, version] = parted(rest)?;
    let tenant = TenantId::new(tenant).map_err(|error| error.to_string())?;
    let name = DefinitionName { namespace: namespace.into(), name: name.into(), version: version.into() };
    Ok(RowName::Definition(WorkflowHash::from_bytes(*hash), tenant, name))
}
