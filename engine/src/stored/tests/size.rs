//! How little a step costs: what is written of it beside its values.

use types::{Offset, Payload};

use super::{RUN, STREAM};
use crate::event::{Event, RunEvent};
use crate::stored::{Place, encode};

fn size(event: RunEvent) -> usize {
    let encoded = encode(&Event::Run { run: RUN, event }, Place { stream: STREAM, offset: Offset::new(3) });
    encoded.key.len() + encoded.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() + encoded.payload.len()
}

#[test]
fn a_step_costs_tens_of_bytes_and_its_values() {
    let path = "/do/4/callModel".to_owned();
    let values = |step| (step, 0, path.clone(), 0);
    let (step, scope, path, function) = values(4);
    let scheduled = RunEvent::StepScheduled { step, scope, path, function, input: None, task_input: None };
    assert_eq!(size(scheduled), 31);
    let output = Payload::json("{\"text\":\"hi\"}");
    let worker = "worker-1".to_owned();
    assert_eq!(size(RunEvent::StepCompleted { step, attempt: 1, output: output.clone(), worker }), 23 + output.len());
    assert_eq!(size(RunEvent::ChunkAppended { step, attempt: 1, sequence: 9, data: output.clone() }), output.len());
}
