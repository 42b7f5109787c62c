//! One record of a partition: the header that recovery reads, and the bytes that it does not.

use std::ops::Range;

use bytes::Bytes;
use types::{Offset, Position, StreamOrdinal, Timestamp};

use crate::codec::{Damage, Reader, counted, put_bytes, put_varint, unzigzag, zigzag};

/// What a record is for. Decides whether recovery folds it and which retention class keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventClass {
    /// Folded by recovery, shown in history. Kept in the `Run` chain.
    Fact,
    /// Folded by recovery, not shown: it has no stream offset. Kept in the `Run` chain.
    Attempt,
    /// Recovery reads only its header. Kept in the `Stream` chain.
    Output,
}

/// A chain of segments with a retention of its own. Both share the partition's positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RetentionClass {
    Run,
    Stream,
}

/// How many chains a partition has.
pub(crate) const CHAINS: usize = 2;

impl EventClass {
    pub const fn retention(self) -> RetentionClass {
        match self {
            Self::Fact | Self::Attempt => RetentionClass::Run,
            Self::Output => RetentionClass::Stream,
        }
    }
}

/// Which attempt of which step streamed an output, and the how-manieth it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputHeader {
    /// The step's number in its run.
    pub step: u32,
    pub attempt: u32,
    /// Dense from 0 within the attempt.
    pub sequence: u64,
}

/// A record as the kernel hands it over: storage adds the position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which codec made `payload`. Storage keeps it and does not look inside.
    pub schema: u16,
    pub class: EventClass,
    /// The first record of a command: the cause of those that follow until the next cause.
    pub cause: bool,
    pub time: Timestamp,
    /// `StreamOrdinal::NONE` for a record that no stream shows.
    pub stream: StreamOrdinal,
    /// Its number in that stream; meaningless without one (it comes back as 0).
    pub offset: Offset,
    pub output: Option<OutputHeader>,
    pub key: Bytes,
    pub headers: Vec<(Bytes, Bytes)>,
    pub payload: Bytes,
}

/// A record that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub position: Position,
    pub record: Record,
}

// The first byte of a stored record: its class in two bits, then what it has.
const CLASS_BITS: u8 = 0b11;
const CAUSE: u8 = 0b100;
const HAS_STREAM: u8 = 0b1000;
const HAS_OUTPUT: u8 = 0b1_0000;
const KNOWN_BITS: u8 = CLASS_BITS | CAUSE | HAS_STREAM | HAS_OUTPUT;

impl EventClass {
    const fn code(self) -> u8 {
        match self {
            Self::Fact => 1,
            Self::Attempt => 2,
            Self::Output => 3,
        }
    }

    fn from_code(code: u8) -> Result<Self, Damage> {
        match code {
            1 => Ok(Self::Fact),
            2 => Ok(Self::Attempt),
            3 => Ok(Self::Output),
            other => Err(Damage(format!("a record of the unknown class {other}"))),
        }
    }
}

impl Record {
    /// What it counts in a block and in a limit.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + headers + self.payload.len()
    }
}

impl StoredRecord {
    /// The bytes of `record` in a block that begins at `base` and at `first_time`.
    pub(crate) fn encode(
        record: &Record,
        position: Position,
        base: Position,
        first_time: Timestamp,
        out: &mut Vec<u8>,
    ) {
        let has_stream = if record.stream.is_none() { 0 } else { HAS_STREAM };
        let has_output = if record.output.is_some() { HAS_OUTPUT } else { 0 };
        let cause = if record.cause { CAUSE } else { 0 };
        out.push(record.class.code() | cause | has_stream | has_output);
        put_varint(out, position.since(base));
        put_varint(out, u64::from(record.schema));
        let delta = record.time.as_millis().wrapping_sub(first_time.as_millis());
        put_varint(out, zigzag(delta.cast_signed()));
        if has_stream != 0 {
            put_varint(out, record.stream.value());
            put_varint(out, record.offset.value());
        }
        if let Some(output) = record.output {
            put_varint(out, u64::from(output.step));
            put_varint(out, u64::from(output.attempt));
            put_varint(out, output.sequence);
        }
        put_bytes(out, &record.key);
        put_varint(out, record.headers.len() as u64);
        for (name, value) in &record.headers {
            put_bytes(out, name);
            put_bytes(out, value);
        }
        out.extend_from_slice(&record.payload);
    }

    /// Reads the record back that lies at `place` in `bytes`; key, headers and payload share them.
    pub(crate) fn decode(
        bytes: &Bytes,
        place: Range<usize>,
        base: Position,
        first_time: Timestamp,
    ) -> Result<Self, Damage> {
        let mut reader = Reader::new(&bytes[place]);
        let (flags, position) = flags_and_position(&mut reader, base)?;
        let schema = reader.number()?;
        let delta = unzigzag(reader.varint()?);
        let time = Timestamp::from_millis(first_time.as_millis().wrapping_add_signed(delta));
        let (stream, offset) =
            if flags & HAS_STREAM == 0 { (StreamOrdinal::NONE, Offset::ZERO) } else { stream_and_offset(&mut reader)? };
        let output = if flags & HAS_OUTPUT == 0 {
            None
        } else {
            Some(OutputHeader { step: reader.number()?, attempt: reader.number()?, sequence: reader.varint()? })
        };
        let key = bytes.slice_ref(reader.prefixed()?);
        let count = reader.number::<usize>()?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((bytes.slice_ref(reader.prefixed()?), bytes.slice_ref(reader.prefixed()?)));
        }
        let payload = bytes.slice_ref(reader.rest());
        let class = EventClass::from_code(flags & CLASS_BITS)?;
        let cause = flags & CAUSE != 0;
        let record = Record { schema, class, cause, time, stream, offset, output, key, headers, payload };
        Ok(Self { position, record })
    }

    /// Only the position: enough to search a block.
    pub(crate) fn decode_position(bytes: &[u8], base: Position) -> Result<Position, Damage> {
        flags_and_position(&mut Reader::new(bytes), base).map(|(_, position)| position)
    }

    /// Only the stream and the offset in it: enough to skip other streams' records.
    pub(crate) fn decode_stream(bytes: &[u8], base: Position) -> Result<(StreamOrdinal, Offset), Damage> {
        let mut reader = Reader::new(bytes);
        let (flags, _) = flags_and_position(&mut reader, base)?;
        reader.varint()?;
        reader.varint()?;
        if flags & HAS_STREAM == 0 {
            return Ok((StreamOrdinal::NONE, Offset::ZERO));
        }
        stream_and_offset(&mut reader)
    }
}

/// Of a record whose flags say that it has a stream.
fn stream_and_offset(reader: &mut Reader<'_>) -> Result<(StreamOrdinal, Offset), Damage> {
    let stream = StreamOrdinal::new(reader.varint()?);
    if stream.is_none() {
        return Err(Damage::new("a record of a stream that does not say which"));
    }
    Ok((stream, Offset::new(counted(reader.varint()?)?)))
}

fn flags_and_position(reader: &mut Reader<'_>, base: Position) -> Result<(u8, Position), Damage> {
    let flags = reader.u8()?;
    if flags & !KNOWN_BITS != 0 {
        return Err(Damage(format!("a record with the unknown flags {flags:#010b}")));
    }
    let delta = reader.varint()?;
    let position = base.value().checked_add(delta).ok_or_else(|| Damage::new("a position beyond 64 bits"))?;
    Ok((flags, Position::new(counted(position)?)))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::LAST_COUNTED;

    pub(crate) fn any_bytes(max: usize) -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
    }

    pub(crate) fn any_record() -> impl Strategy<Value = Record> {
        let class = prop_oneof![Just(EventClass::Fact), Just(EventClass::Attempt), Just(EventClass::Output)];
        let output = (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(step, attempt, sequence)| OutputHeader {
            step,
            attempt,
            sequence,
        });
        let stream = prop_oneof![
            Just((StreamOrdinal::NONE, Offset::ZERO)),
            (1_u64.., 0..=LAST_COUNTED).prop_map(|(stream, offset)| (StreamOrdinal::new(stream), Offset::new(offset))),
        ];
        let header = (any::<u16>(), class, any::<bool>(), any::<u64>());
        let headers = prop::collection::vec((any_bytes(20), any_bytes(20)), 0..4);
        (header, stream, prop::option::of(output), any_bytes(40), headers, any_bytes(300)).prop_map(
            |((schema, class, cause, time), (stream, offset), output, key, headers, payload)| Record {
                schema,
                class,
                cause,
                time: Timestamp::from_millis(time),
                stream,
                offset,
                output,
                key,
                headers,
                payload,
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_comes_back(record in any_record(), base in 0..u64::MAX / 2, delta: u32, first_time: u64) {
            let (base, first_time) = (Position::new(base), Timestamp::from_millis(first_time));
            let position = base.after(u64::from(delta));
            let mut bytes = Vec::new();
            StoredRecord::encode(&record, position, base, first_time, &mut bytes);
            let stream = (record.stream, record.offset);
            prop_assert_eq!(StoredRecord::decode_position(&bytes, base), Ok(position));
            prop_assert_eq!(StoredRecord::decode_stream(&bytes, base), Ok(stream));
            let len = bytes.len();
            let stored = StoredRecord::decode(&Bytes::from(bytes), 0..len, base, first_time);
            prop_assert_eq!(stored, Ok(StoredRecord { position, record }));
        }

        #[test]
        fn no_bytes_bring_the_decoder_down(bytes in any_bytes(200)) {
            let _ = StoredRecord::decode(&bytes, 0..bytes.len(), Position::ZERO, Timestamp::ZERO);
            let _ = StoredRecord::decode_stream(&bytes, Position::ZERO);
        }
    }

    #[test]
    fn a_small_record_costs_few_bytes_beside_its_payload() {
        let record = Record {
            schema: 1,
            class: EventClass::Output,
            cause: true,
            time: Timestamp::from_millis(1_000),
            stream: StreamOrdinal::new(17),
            offset: Offset::new(100),
            output: None,
            key: Bytes::new(),
            headers: Vec::new(),
            payload: Bytes::from_static(b"hello"),
        };
        let mut bytes = Vec::new();
        StoredRecord::encode(&record, Position::new(5), Position::ZERO, Timestamp::from_millis(990), &mut bytes);
        assert_eq!(bytes.len() - record.payload.len(), 8);
    }
}
