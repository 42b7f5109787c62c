//! Bytes are for ever: round trips, golden fixtures, hostile bytes, and how little a step costs.

mod corpus;
mod golden;
mod hostile;
mod round_trip;
mod samples;
mod size;
mod strategies;

use types::{RoutingHash, RunId, StreamOrdinal};

use super::{Encoded, StoredError, decode};
use crate::event::Event;

/// The only run that these tests know, and its stream.
const RUN: RunId = RunId::new(RoutingHash::from_bits(0x1f0c_9a3e), 0x0192_abcd_ef01_2345_6789_abcd_ef01_2345);
const STREAM: StreamOrdinal = StreamOrdinal::new(77);

fn read(encoded: &Encoded) -> Result<Event, StoredError> {
    decode(encoded, |stream| (stream == STREAM).then_some(RUN))
}
