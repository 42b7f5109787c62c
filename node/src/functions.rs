//! What a run calls its functions. Its events name them by number, since a name is kept once a run; readers get names.

use std::sync::{PoisonError, RwLock};

use gateway::backend::Event;
use serde_json::Value;
use types::Payload;

/// Of the events that name a function.
const SCHEDULED: &str = "step_scheduled";

/// A function as a reader is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
    pub(crate) task: String,
    pub(crate) queue: String,
}

/// Those of one run that are known so far: functions are only added to a run.
#[derive(Debug, Default)]
pub(crate) struct Functions(RwLock<Vec<FunctionName>>);

impl Functions {
    /// More of them may be known now.
    pub(crate) fn learn(&self, functions: Vec<FunctionName>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if functions.len() > known.len() {
            *known = functions;
        }
    }

    /// Whether events name a function that is not known.
    pub(crate) fn lacks(&self, events: &[Event]) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).len();
        events.iter().filter_map(number).any(|number| number >= known)
    }

    /// Puts names in the place of numbers. A number without a name stays: it says at least which steps are alike.
    pub(crate) fn name(&self, events: &mut [Event]) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let Some(function) = number(event).and_then(|number| known.get(number)) else { continue };
            let Ok(Value::Object(mut data)) = serde_json::from_slice(&event.payload.data) else { continue };
            for (name, text) in [("function", &function.name), ("task", &function.task), ("queue", &function.queue)] {
                data.insert(name.to_owned(), text.as_str().into());
            }
            event.payload = Payload::json(Value::Object(data).to_string());
        }
    }
}

/// The function that an event names by number.
fn number(event: &Event) -> Option<usize> {
    if event.kind != SCHEDULED {
        return None;
    }
    let data: Value = serde_json::from_slice(&event.payload.data).ok()?;
    usize::try_from(data.get("function")?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use types::{Offset, Timestamp};

    use super::*;

    fn event(kind: &'static str, data: &'static str) -> Event {
        let (offset, time) = (Offset::ZERO, Timestamp::ZERO);
        Event { offset, time, kind: kind.into(), source: None, payload: Payload::json(data) }
    }

    #[test]
    fn names_take_the_place_of_numbers_once_they_are_known() {
        let functions = Functions::default();
        let mut events = [
            event("step_scheduled", r#"{"step":4,"path":"/do/0/say","function":1,"input":null}"#),
            event("task_exited", r#"{"function":1}"#),
            event("event", r#"{"function":0}"#),
        ];
        assert!(functions.lacks(&events) && !functions.lacks(&events[1..]));
        let function = |name: &str| FunctionName { name: name.into(), task: "tell".into(), queue: "default".into() };
        functions.learn(vec![function("first"), function("say")]);
        functions.learn(vec![function("first")]);
        assert!(!functions.lacks(&events));
        functions.name(&mut events);
        let texts = events.map(|event| String::from_utf8(event.payload.data.to_vec()).expect("text"));
        assert_eq!(
            texts,
            [
                r#"{"step":4,"path":"/do/0/say","function":"say","input":null,"task":"tell","queue":"default"}"#,
                r#"{"function":1}"#,
                r#"{"function":0}"#,
            ]
        );
    }
}
