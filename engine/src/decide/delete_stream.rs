//! Deletes a stream: its name is free again, its cursors are not.

use types::{StreamName, TenantId};

use crate::command::{Answer, Decision, Outcome};
use crate::event::Event;
use crate::partition::Partition;
use crate::rejection::Rejection;
use crate::stream::StreamKey;

pub(super) fn decide(partition: &Partition, tenant: &TenantId, name: &StreamName) -> Outcome {
    if name.is_reserved() {
        return Err(Rejection::Reserved(name.clone()));
    }
    let key = StreamKey { tenant: tenant.clone(), name: name.clone() };
    let stream = partition.streams.get(&key).ok_or_else(|| Rejection::StreamNotFound(name.clone()))?;
    let events = vec![Event::StreamDeleted { stream: stream.ordinal }];
    Ok(Decision { events, answer: Answer::Done })
}
