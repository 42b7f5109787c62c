//! How little a step costs, and that the largest things the kernel allows can be read again.

use std::collections::BTreeMap;

use types::{Offset, Payload};

use super::samples::{self, RowSample};
use super::{RUN, STREAM, read};
use crate::event::{Event, RunEvent};
use crate::limits::{FOR_ITEMS, SCOPE_DEPTH, VALUE_BYTES};
use crate::row::RowImage;
use crate::scope::{Activity, Scope, ScopeKind};
use crate::stored::{Encoded, Place, check, decode_row, encode, encode_row};

fn encoded(event: &RunEvent) -> Encoded {
    let event = Event::Run { run: RUN, event: event.clone() };
    encode(&event, Place { stream: STREAM, offset: Offset::new(3) })
}

/// What a record holds beside what storage needs for each.
fn size(event: &RunEvent) -> usize {
    let Encoded { key, headers, payload, .. } = encoded(event);
    key.len() + headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + payload.len()
}

#[test]
fn a_step_costs_tens_of_bytes_and_its_values() {
    let (step, scope, function, attempt, sequence) = (4, 0, 0, 1, 9);
    let path = "/do/4/callModel".to_owned();
    let scheduled = RunEvent::StepScheduled { step, scope, path, function, input: None, task_input: None };
    assert_eq!(size(&scheduled), 31);
    let output = Payload::json("{\"text\":\"hi\"}");
    let worker = "worker-1".to_owned();
    let completed = RunEvent::StepCompleted { step, attempt, output: output.clone(), worker };
    assert_eq!(size(&completed), 23 + output.len());
    let chunk = RunEvent::ChunkAppended { step, attempt, sequence, data: output.clone() };
    assert_eq!(size(&chunk), output.len());
}

#[test]
fn the_longest_loop_can_be_read_again() {
    let items = vec![Payload::json("1"); FOR_ITEMS].into_iter().collect();
    let kind = ScopeKind::For { items, iteration: 0 };
    let opened = RunEvent::ScopeOpened { scope: 1, parent: 0, path: "/do/0/each".to_owned(), kind, data: None };
    assert_eq!(read(&encoded(&opened)), Ok(Event::Run { run: RUN, event: opened }));
}

#[test]
fn the_largest_run_can_be_read_again() {
    let value = Payload::json(vec![b'1'; VALUE_BYTES]);
    let scope = |depth| Scope {
        parent: (depth > 0).then(|| depth - 1),
        kind: ScopeKind::For { items: [value.clone()].into_iter().collect(), iteration: 0 },
        path: "/do/0/each".to_owned(),
        index: 0,
        visits: BTreeMap::new(),
        data: value.clone(),
        began: None,
        task_input: Some(value.clone()),
        activity: Activity::Returned { output: value.clone(), caught: false },
    };
    let open = samples::rows().into_iter().find(|row| row.label == "OpenRun").expect("a sample");
    let RowSample { name, image: RowImage::Run(mut run), .. } = open else { panic!("a run") };
    run.scopes = (0..=u32::try_from(SCOPE_DEPTH).expect("small")).map(|depth| (depth, scope(depth))).collect();
    let image = RowImage::Run(run);
    assert!(decode_row(&name, &encode_row(&name, &image)) == Ok(image), "read as it was written");
}

/// Its bytes fit, but a reader would have to claim three times what an event may.
#[test]
fn what_could_not_be_read_back_is_known_before_it_is_written() {
    let started = samples::events().into_iter().find_map(|sample| {
        if let Event::Run { event: RunEvent::Started(started), .. } = sample.event { Some(started) } else { None }
    });
    let mut started = started.expect("a sample");
    let event =
        |started: &crate::event::Started| Event::Run { run: RUN, event: RunEvent::Started(Box::new(started.clone())) };
    assert_eq!(check(&event(&started)), Ok(()));
    started.tags = vec![(String::new(), String::new()); 390_000];
    assert!(check(&event(&started)).is_err());
    started.tags.truncate(200_000);
    assert_eq!(check(&event(&started)), Ok(()), "long, and still readable");
}

/// How large a run is counted to be bounds its row, with room for what a reader claims beside.
#[test]
fn a_run_holds_no_less_than_its_row() {
    for RowSample { name, image, label } in samples::rows() {
        if let RowImage::Run(run) = &image {
            assert!(encode_row(&name, &image).len() <= run.state_bytes(), "{label}");
        }
    }
}

/// Who shares memory depends on whether a run was read from its row; what is decided by its size must not.
#[test]
fn a_run_is_as_large_whether_its_values_share_memory_or_not() {
    let lean = samples::rows().into_iter().find(|row| row.label == "OpenRun-lean").expect("a sample");
    let read = decode_row(&lean.name, &encode_row(&lean.name, &lean.image)).expect("it can be read");
    let (RowImage::Run(apart), RowImage::Run(shared)) = (lean.image, read) else { panic!("runs") };
    assert_eq!(apart, shared);
    assert!(shared.held_bytes() < apart.held_bytes(), "a row is read into shared values");
    assert_eq!(shared.state_bytes(), apart.state_bytes());
}
