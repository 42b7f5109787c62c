//! What a user stream's durable events say. Events of the simulation describe themselves: whose they are, of which
//! request, and the how-manieth of how many.

use engine::ProducerStamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use types::{Offset, Payload, ProducerId, StreamName};

/// How far a producer has come.
#[derive(Clone, Debug, Default)]
struct Came {
    epoch: u64,
    sequence: u64,
    /// Events of this request that are there, and how many it has.
    events: (u64, u64),
}

/// One life of a stream.
#[derive(Debug)]
pub(crate) struct StreamTruth {
    pub(crate) name: StreamName,
    pub(crate) events: Vec<Payload>,
    pub(crate) closed: bool,
    pub(crate) deleted: bool,
    /// Where each request's first event stands.
    pub(crate) requests: BTreeMap<(ProducerId, u64, u64), Offset>,
    producers: BTreeMap<ProducerId, Came>,
    nonces: BTreeSet<u64>,
    /// The last sequence that a writer named.
    sequence: Option<String>,
}

impl StreamTruth {
    pub(crate) fn new(name: StreamName) -> Self {
        let (producers, nonces, requests) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { name, events: Vec::new(), closed: false, deleted: false, requests, producers, nonces, sequence: None }
    }

    /// Sequences only grow, also over crashes.
    pub(crate) fn pass(&mut self, sequence: &str) {
        let name = &self.name;
        assert!(self.sequence.as_deref() < Some(sequence), "{name}: {sequence:?} came behind {:?}", self.sequence);
        self.sequence = Some(sequence.to_owned());
    }

    pub(crate) fn head(&self) -> Offset {
        Offset::new(self.events.len() as u64)
    }

    /// The next sequence that a producer may send in an epoch.
    pub(crate) fn expects(&self, producer: &ProducerId) -> Option<(u64, u64)> {
        self.producers.get(producer).map(|came| (came.epoch, came.sequence + 1))
    }

    pub(crate) fn absorb(&mut self, offset: Offset, payload: &Payload, producer: Option<&ProducerStamp>) {
        let name = &self.name;
        assert!(!self.closed && !self.deleted, "{name} takes an event after its end");
        assert_eq!(offset, self.head(), "{name}: offsets are dense");
        let value: Value = serde_json::from_slice(&payload.data).expect("clients send JSON");
        assert_eq!(value["stream"], name.as_str(), "an event stands in its own stream");
        let nonce = value["nonce"].as_u64().expect("an event has a nonce");
        assert!(self.nonces.insert(nonce), "{name}: an event is doubled at {offset}: {value}");
        match producer {
            Some(stamp) => self.produced(offset, &value, stamp),
            None => assert!(value["producer"].is_null(), "an event of a producer came without its stamp: {value}"),
        }
        self.events.push(payload.clone());
    }

    fn produced(&mut self, offset: Offset, value: &Value, stamp: &ProducerStamp) {
        let name = &self.name;
        let ProducerStamp { id, epoch, sequence } = stamp;
        let says = (value["producer"].as_str(), value["epoch"].as_u64(), value["sequence"].as_u64());
        assert_eq!(says, (Some(id.as_str()), Some(*epoch), Some(*sequence)), "an event carries its own stamp");
        let (n, of) = (value["n"].as_u64().expect("numbered"), value["of"].as_u64().expect("counted"));
        let came = self.producers.entry(id.clone()).or_default();
        let first = came.events == (0, 0);
        let follows = if first || *epoch > came.epoch {
            *sequence == 0 && n == 0
        } else if (*epoch, *sequence) == (came.epoch, came.sequence) {
            n == came.events.0 && came.events.1 == of
        } else {
            *epoch == came.epoch && *sequence == came.sequence + 1 && n == 0
        };
        assert!(follows, "{name} at {offset}: after {came:?} comes {value}");
        let whole = n != 0 || came.events.0 == came.events.1;
        assert!(whole, "{name} at {offset}: a request was taken in part: {came:?} before {value}");
        *came = Came { epoch: *epoch, sequence: *sequence, events: (n + 1, of) };
        if n == 0 {
            self.requests.insert((id.clone(), *epoch, *sequence), offset);
        }
    }

    pub(crate) fn close(&mut self) {
        assert!(!self.closed && !self.deleted, "{} is closed twice", self.name);
        self.closed = true;
    }

    pub(crate) fn delete(&mut self) {
        assert!(!self.deleted, "{} is deleted twice", self.name);
        self.deleted = true;
    }
}
