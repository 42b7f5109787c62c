//! A scenario by its phrases: what is given, and what is to come of it.

use std::fmt;

use serde_json::Value;

use crate::expectation::Expectation;
use crate::features::{Phrase, Written};
use crate::script::{Script, TurnEnd};

#[derive(Debug)]
pub(crate) struct Scenario {
    file: String,
    name: String,
    pub(crate) definition: String,
    pub(crate) input: Option<Value>,
    pub(crate) script: Script,
    pub(crate) expectations: Vec<Expectation>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, \"{}\"", self.file, self.name)
    }
}

impl Scenario {
    /// Panics on a phrase that it does not know: a scenario that is not understood must not count as passed.
    pub(crate) fn read(written: &Written) -> Self {
        let (file, name) = (written.file.clone(), written.name.clone());
        let script = Script::default();
        let mut scenario =
            Self { file, name, definition: String::new(), input: None, script, expectations: Vec::new() };
        for phrase in &written.phrases {
            let known = scenario.take(phrase);
            assert!(known.is_some(), "{scenario} says {:?}, which is no phrase of ours", phrase.words);
        }
        assert!(!scenario.definition.is_empty(), "{scenario} has no definition");
        assert!(!scenario.expectations.is_empty(), "{scenario} expects nothing");
        scenario
    }

    fn take(&mut self, phrase: &Phrase) -> Option<()> {
        match (phrase.words.as_str(), &phrase.text) {
            ("a workflow with definition:", Some(text)) => self.definition.clone_from(text),
            ("given the workflow input is:", Some(text)) => self.input = Some(yaml(text)),
            ("the workflow is executed", None) => {}
            (words, text) => match words.strip_prefix("the worker task ") {
                Some(words) => self.take_script(words, text.as_deref())?,
                None => self.expectations.push(Expectation::read(words, text.as_deref())?),
            },
        }
        Some(())
    }

    fn take_script(&mut self, words: &str, text: Option<&str>) -> Option<()> {
        let (task, does) = words.split_once(' ')?;
        match (does, text.map(yaml)) {
            ("answers:", Some(answer)) => self.script.add(task, TurnEnd::Answer(answer)),
            ("answers with its input", None) => self.script.add(task, TurnEnd::Echo),
            ("streams:", Some(Value::Array(chunks))) => self.script.stream(task, chunks),
            (does, None) => {
                let (kind, for_good) = match does.strip_prefix("fails for good with ") {
                    Some(kind) => (kind, true),
                    None => (does.strip_prefix("fails with ")?, false),
                };
                self.script.add(task, TurnEnd::Fail { kind: kind.to_owned(), for_good });
            }
            (_, Some(_)) => return None,
        }
        Some(())
    }
}

/// A text as JSON.
pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
