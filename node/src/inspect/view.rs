//! A record of the log as people and programs see it: what it is, whose, and what it holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Event, ProducerStamp, RetentionEvent, RunEvent, StreamKey, stored};
use gateway::backend::{CHUNK, ChunkSource, EVENT};
use gateway::operator::{LogRecord, Producer};
use serde_json::{Value, json};
use storage::{EventClass, StoredRecord};
use types::{PartitionId, Payload, StreamName, StreamOrdinal};

use crate::translate;

/// What a record of a schema or kind that this version does not know is called.
const UNKNOWN: &str = "unknown";

/// The stream that a record belongs to: its own, or the one that its run's event names in its key.
pub(crate) fn ordinal_of(stored: &StoredRecord) -> Option<StreamOrdinal> {
    let record = &stored.record;
    if !record.stream.is_none() {
        return Some(record.stream);
    }
    let named = <[u8; 8]>::try_from(&record.key[..]).ok().map(u64::from_be_bytes).map(StreamOrdinal::new);
    named.filter(|_| record.schema == stored::KERNEL_EVENT)
}

/// Decodes a record; `owner` is whose `ordinal_of` names, where that is known.
pub(super) fn view(partition: PartitionId, stored: &StoredRecord, owner: Option<&StreamKey>) -> LogRecord {
    let record = &stored.record;
    let ordinal = ordinal_of(stored);
    let run = owner.and_then(|key| key.name.run()).unwrap_or(super::names::NOBODY);
    let mut view = LogRecord {
        partition,
        position: stored.position,
        time: record.time,
        kind: UNKNOWN.to_owned(),
        class: class_name(record.class).to_owned(),
        cause: record.cause,
        stream: owner.map(|key| key.name.clone()),
        ordinal,
        offset: (!record.stream.is_none()).then_some(record.offset),
        tenant: owner.map(|key| key.tenant.clone()),
        source: record.output.map(|output| ChunkSource {
            step: output.step,
            attempt: output.attempt,
            seq: output.sequence,
        }),
        producer: None,
        content_type: None,
        data: None,
        base64: None,
        bytes: record.bytes() as u64,
        problem: None,
    };
    match stored::decode(&translate::encoded(record), |_| Some(run)) {
        Ok(event) => fill(&mut view, event),
        Err(error) => {
            view.base64 = Some(STANDARD.encode(&record.payload));
            view.problem = Some(error.to_string());
        }
    }
    view
}

fn class_name(class: EventClass) -> &'static str {
    match class {
        EventClass::Fact => "fact",
        EventClass::Attempt => "attempt",
        EventClass::Output => "output",
    }
}

fn fill(view: &mut LogRecord, event: Event) {
    match event {
        Event::EventAppended { payload, producer, .. } => {
            view.kind = String::from(EVENT);
            view.producer = producer.map(producer_view);
            put(view, &payload);
        }
        Event::Run { event: RunEvent::ChunkAppended { data, .. }, .. } => {
            view.kind = String::from(CHUNK);
            put(view, &data);
        }
        Event::Run { run, event } => {
            if let RunEvent::Started(started) = &event {
                view.stream = Some(StreamName::of_run(run));
                view.tenant = Some(started.tenant.clone());
            }
            let (kind, data) = translate::describe(&event);
            (view.kind, view.data) = (kind.to_owned(), Some(data));
        }
        Event::StreamCreated { tenant, name, ordinal, content_type } => {
            view.kind = String::from("stream_created");
            view.data = Some(json!({ "content_type": content_type }));
            (view.stream, view.tenant, view.ordinal) = (Some(name), Some(tenant), Some(ordinal));
        }
        Event::StreamSequenced { stream, sequence } => {
            view.kind = String::from("stream_sequenced");
            (view.ordinal, view.data) = (Some(stream), Some(json!({ "sequence": sequence })));
        }
        Event::Retention(event) => fill_retention(view, event),
        Event::StreamClosed { stream } => (view.kind, view.ordinal) = ("stream_closed".to_owned(), Some(stream)),
        Event::StreamDeleted { stream } => (view.kind, view.ordinal) = ("stream_deleted".to_owned(), Some(stream)),
        Event::WorkflowRegistered(definition) => {
            view.kind = String::from("workflow_registered");
            view.tenant = Some(definition.tenant);
            let name = definition.name;
            view.data = Some(json!({
                "namespace": name.namespace, "name": name.name, "version": name.version,
                "hash": definition.hash.to_string(),
            }));
        }
    }
}

fn fill_retention(view: &mut LogRecord, event: RetentionEvent) {
    let (kind, stream, data) = match event {
        RetentionEvent::StreamTrimmed { stream, low } => ("stream_trimmed", stream, json!({ "low": low })),
        RetentionEvent::ProducersForgotten { stream, producers } => {
            ("producers_forgotten", stream, json!({ "producers": producers }))
        }
        RetentionEvent::KeepSet { stream, keep } => {
            ("keep_set", stream, json!({ "age_ms": keep.age_ms, "events": keep.events }))
        }
        RetentionEvent::ReaderPinned { stream, reader, pin } => {
            ("reader_pinned", stream, json!({ "reader": reader, "at": pin.at, "max_lag": pin.max_lag }))
        }
        RetentionEvent::ReaderUnpinned { stream, reader } => ("reader_unpinned", stream, json!({ "reader": reader })),
        RetentionEvent::RunForgotten { run, stream, .. } => {
            view.stream = Some(StreamName::of_run(run));
            ("run_forgotten", stream, json!({}))
        }
    };
    (view.kind, view.ordinal, view.data) = (kind.to_owned(), Some(stream), Some(data));
}

fn producer_view(stamp: ProducerStamp) -> Producer {
    Producer { id: stamp.id, epoch: stamp.epoch, seq: stamp.sequence }
}

/// JSON as it is; what is something else, or was never JSON, as base64.
fn put(view: &mut LogRecord, payload: &Payload) {
    view.content_type.clone_from(&payload.content_type);
    let json = payload.is_json().then(|| serde_json::from_slice::<Value>(&payload.data).ok()).flatten();
    match json {
        Some(data) => view.data = Some(data),
        None => view.base64 = Some(STANDARD.encode(&payload.data)),
    }
}
