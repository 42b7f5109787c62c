//! Keeps a definition, for ever, under its name and version.

use std::sync::Arc;

use types::{TenantId, Timestamp, WorkflowHash};

use crate::command::{Answer, Decision, Outcome};
use crate::definition::{Definition, DefinitionName};
use crate::event::Event;
use crate::limits;
use crate::partition::Partition;
use crate::rejection::Rejection;

pub(super) fn decide(
    partition: &Partition,
    tenant: &TenantId,
    name: &DefinitionName,
    hash: WorkflowHash,
    source: &Arc<str>,
    now: Timestamp,
) -> Outcome {
    if let Some(known) = partition.definitions.get(&(tenant.clone(), name.clone())) {
        return if known.hash == hash {
            Ok(Decision { events: Vec::new(), answer: Answer::Registered { created: false } })
        } else {
            Err(Rejection::WorkflowExists(name.clone()))
        };
    }
    let (bytes, limit) = (source.len(), limits::DEFINITION_BYTES);
    if bytes > limit {
        return Err(Rejection::TooLarge { what: "the definition", bytes, limit });
    }
    if partition.definitions.len() >= limits::DEFINITIONS {
        return Err(Rejection::TooManyDefinitions(limits::DEFINITIONS));
    }
    let bytes = bytes + partition.definitions.values().map(|definition| definition.source.len()).sum::<usize>();
    if bytes > limits::DEFINITIONS_BYTES {
        let (what, limit) = ("all definitions together", limits::DEFINITIONS_BYTES);
        return Err(Rejection::TooLarge { what, bytes, limit });
    }
    let (tenant, name, source) = (tenant.clone(), name.clone(), source.clone());
    let event = Event::WorkflowRegistered(Definition { tenant, name, hash, source, registered: now });
    Ok(Decision { events: vec![event], answer: Answer::Registered { created: true } })
}
