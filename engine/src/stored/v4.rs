//! Version 4 of what changed since version 3, and of nothing else: a run of which a task in progress knows when it began,
//! or that holds a value in several places. Such a value is stored once, and shared again when it is read.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use bytes::Bytes;
use types::{Payload, Timestamp};

use super::envelope::{self, Opened};
use super::limits::ROW_BYTES;
use super::row_name::envelope_kind;
use super::v1::run::Run as Plain;
use super::v1::shape::Shape;
use super::{StoredError, kind_name};
use crate::row::RowImage;
use crate::run::Run;
use crate::scope::Activity;

const VERSION: u8 = 4;
/// A shorter value is cheaper written again than named.
const LEAST_BYTES: usize = 64;

#[derive(Encode, Decode)]
struct LeanRun {
    /// What is repeated stands in it as an empty value.
    run: Plain,
    /// Which value is repeated, and what it is the same as.
    repeated: Vec<(Slot, Slot)>,
    /// By scope: when its task in progress began.
    began: BTreeMap<u32, u64>,
}

/// Where a run holds a value. New places go to the end.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
enum Slot {
    Input,
    Output,
    Context,
    Data { scope: u32 },
    TaskInput { scope: u32 },
    Returned { scope: u32 },
    StepInput { step: u32 },
}

/// All values but the items of loops and signals, in an order that the state alone decides.
fn values(run: &mut Run) -> Vec<(Slot, &mut Payload)> {
    let Run { input, output, context, scopes, steps, .. } = run;
    let mut values = vec![(Slot::Input, input)];
    values.extend(output.as_mut().map(|value| (Slot::Output, value)));
    values.extend(context.as_mut().map(|value| (Slot::Context, value)));
    for (&scope, state) in scopes {
        values.push((Slot::Data { scope }, &mut state.data));
        values.extend(state.task_input.as_mut().map(|value| (Slot::TaskInput { scope }, value)));
        if let Activity::Returned { output, .. } = &mut state.activity {
            values.push((Slot::Returned { scope }, output));
        }
    }
    values.extend(steps.iter_mut().map(|(&step, state)| (Slot::StepInput { step }, &mut state.input)));
    values
}

impl LeanRun {
    fn of(run: &Run) -> Self {
        let mut lean = run.clone();
        let (mut met, mut repeated) = (Vec::<(Slot, Payload)>::new(), Vec::new());
        for (place, value) in values(&mut lean).into_iter().filter(|(_, value)| value.len() >= LEAST_BYTES) {
            if let Some((same, _)) = met.iter().find(|(_, before)| before == value) {
                repeated.push((place, *same));
                *value = Payload::default();
            } else {
                met.push((place, value.clone()));
            }
        }
        let began = run.scopes.iter().filter_map(|(&scope, state)| Some((scope, state.began?.as_millis())));
        Self { run: Shape::of(&lean), repeated, began: began.collect() }
    }

    fn restore(self) -> Result<Run, StoredError> {
        let mut run: Run = self.run.restore()?;
        let unknown = |what: &str| StoredError::invalid("repeated value", &what);
        let mut values = values(&mut run);
        for (place, same) in self.repeated {
            let value = values.iter().find(|(found, _)| *found == same).map(|(_, value)| (**value).clone());
            let value = value
                .filter(|value| !value.is_empty())
                .ok_or_else(|| unknown("what it is the same as is not there"))?;
            let empty = values.iter_mut().find(|(found, value)| *found == place && value.is_empty());
            *empty.ok_or_else(|| unknown("its place is not there, or taken"))?.1 = value;
        }
        for (scope, began) in self.began {
            let scope = run.scopes.get_mut(&scope);
            let scope = scope.ok_or_else(|| StoredError::invalid("beginning of a task", &"its scope is not there"))?;
            scope.began = Some(Timestamp::from_millis(began));
        }
        Ok(run)
    }
}

/// Frames a row that earlier versions cannot hold; `None`: they can.
pub(super) fn write(kind: u8, id: &[u8], image: &RowImage) -> Option<Bytes> {
    let RowImage::Run(run) = image else { return None };
    let lean = LeanRun::of(run);
    let needed = !lean.repeated.is_empty() || !lean.began.is_empty();
    needed.then(|| envelope::seal(envelope_kind(kind), VERSION, id, &lean, ROW_BYTES))
}

/// Reads what `write` framed.
pub(super) fn open(opened: &Opened<'_>) -> Result<Run, StoredError> {
    let body = envelope::read::<LeanRun, ROW_BYTES>(opened.body);
    body.map_err(|why| StoredError::Body { kind: kind_name(opened.kind), why })?.restore()
}
