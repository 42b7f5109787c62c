//! A user stream and its producers, as the kernel knows them.

use std::collections::BTreeMap;

use types::{Incarnation, Offset, StreamName, StreamOrdinal, TenantId};

use crate::command::ProducerStamp;
use crate::event::Event;
use crate::partition::{Partition, Placed};
use crate::retention::{Keep, Pin};
use crate::row::RowName;

/// Whose stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    pub tenant: TenantId,
    pub name: StreamName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub ordinal: StreamOrdinal,
    pub incarnation: Incarnation,
    /// The first offset that is kept.
    pub low: Offset,
    /// The next offset to be given.
    pub head: Offset,
    pub closed: bool,
    /// `None`: JSON.
    pub content_type: Option<String>,
    /// The last sequence that a writer named; sequences compare byte by byte.
    pub sequence: Option<String>,
    /// What it says itself of how long it is kept.
    pub keep: Keep,
    /// Readers that hold events back, by name.
    pub pins: BTreeMap<String, Pin>,
}

/// The last request of a producer on one life of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerWindow {
    pub ordinal: StreamOrdinal,
    pub epoch: u64,
    pub sequence: u64,
    /// Where the first event of that request stands.
    pub offset: Offset,
}

impl Partition {
    /// Moves a user stream by one of its events.
    pub(crate) fn apply_to_stream(&mut self, event: &Event, placed: Placed) {
        match event {
            Event::StreamCreated { tenant, name, ordinal, content_type } => {
                let key = StreamKey { tenant: tenant.clone(), name: name.clone() };
                let stream = Stream {
                    ordinal: *ordinal,
                    incarnation: Incarnation::at(placed.position),
                    low: Offset::ZERO,
                    head: Offset::ZERO,
                    closed: false,
                    content_type: content_type.clone(),
                    sequence: None,
                    keep: Keep::default(),
                    pins: BTreeMap::new(),
                };
                self.next_ordinal = ordinal.next();
                self.dirty.insert(RowName::StreamName(*ordinal));
                self.dirty.insert(RowName::Stream(key.clone()));
                self.gone.remove(&RowName::Stream(key.clone()));
                self.stream_names.insert(*ordinal, key.clone());
                self.streams.insert(key, stream);
            }
            Event::EventAppended { stream, offset, producer, .. } => {
                let (key, stream) = self.stream_mut(*stream);
                assert_eq!(*offset, stream.head, "offsets are dense");
                stream.head = offset.next();
                let ordinal = stream.ordinal;
                if let Some(stamp) = producer {
                    self.remember_producer(key, ordinal, stamp, *offset);
                }
            }
            Event::StreamSequenced { stream, sequence } => self.stream_mut(*stream).1.sequence = Some(sequence.clone()),
            Event::StreamClosed { stream } => self.stream_mut(*stream).1.closed = true,
            Event::StreamDeleted { stream } => {
                let key = self.stream_names.remove(stream).expect("a deleted stream is in memory");
                self.streams.remove(&key);
                self.producers.retain(|(stream, _), _| *stream != key);
                self.ended.insert(key.clone());
                for name in [RowName::StreamName(*stream), RowName::Stream(key)] {
                    self.dirty.insert(name.clone());
                    self.gone.insert(name);
                }
            }
            Event::WorkflowRegistered(_) | Event::Retention(_) | Event::Run { .. } => {
                unreachable!("`apply` sends stream events only")
            }
        }
    }

    pub(crate) fn stream_mut(&mut self, ordinal: StreamOrdinal) -> (StreamKey, &mut Stream) {
        let key = self.stream_names.get(&ordinal).expect("the stream of an event is in memory").clone();
        self.dirty.insert(RowName::Stream(key.clone()));
        let stream = self.streams.get_mut(&key).expect("the stream of an event is in memory");
        (key, stream)
    }

    fn remember_producer(&mut self, key: StreamKey, ordinal: StreamOrdinal, stamp: &ProducerStamp, offset: Offset) {
        let key = (key, stamp.id.clone());
        let name = RowName::Producer(key.0.clone(), key.1.clone());
        self.gone.remove(&name);
        self.dirty.insert(name);
        let fresh = ProducerWindow { ordinal, epoch: stamp.epoch, sequence: stamp.sequence, offset };
        let window = self.producers.entry(key).or_insert_with(|| fresh.clone());
        // The further events of one request carry the same sequence: its offset is that of the first.
        if (window.ordinal, window.epoch, window.sequence) != (ordinal, stamp.epoch, stamp.sequence) {
            *window = fresh;
        }
    }
}
