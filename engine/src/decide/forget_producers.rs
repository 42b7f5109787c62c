//! Forgets producers of a stream none of whose events is kept.

use types::{ProducerId, StreamOrdinal};

use crate::command::{Answer, Decision};
use crate::event::Event;
use crate::partition::Partition;
use crate::retention::RetentionEvent;

pub(super) fn decide(partition: &Partition, ordinal: StreamOrdinal, candidates: &[ProducerId]) -> Decision {
    let nothing = Decision { events: Vec::new(), answer: Answer::Done };
    let Some((key, stream)) = partition.stream_of(ordinal) else { return nothing };
    let is_over = |producer: &&ProducerId| {
        let window = partition.producers.get(&(key.clone(), (*producer).clone()));
        window.is_some_and(|window| window.ordinal != ordinal || window.offset < stream.low)
    };
    let producers: Vec<_> = candidates.iter().filter(is_over).cloned().collect();
    if producers.is_empty() {
        return nothing;
    }
    let event = RetentionEvent::ProducersForgotten { stream: ordinal, producers };
    Decision { events: vec![Event::Retention(event)], answer: Answer::Done }
}
