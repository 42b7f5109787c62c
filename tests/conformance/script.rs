//! What the workers of a scenario do, turn by turn: the same whoever plays them.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

/// The message of every failure that a script asks for.
pub(crate) const MESSAGE: &str = "the script says so";

/// One attempt of a step: what is streamed, then how it ends.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) chunks: Vec<Value>,
    pub(crate) end: TurnEnd,
}

#[derive(Clone, Debug)]
pub(crate) enum TurnEnd {
    Answer(Value),
    /// The step's own input.
    Echo,
    Fail {
        kind: String,
        for_good: bool,
    },
}

/// The turns of each task, in the order in which its attempts take them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    turns: BTreeMap<String, VecDeque<Turn>>,
    /// What the next turn of a task streams.
    streams: BTreeMap<String, Vec<Value>>,
}

impl Script {
    /// Says what the next turn of a task streams before it ends.
    pub(crate) fn stream(&mut self, task: &str, chunks: Vec<Value>) {
        self.streams.insert(task.to_owned(), chunks);
    }

    pub(crate) fn add(&mut self, task: &str, end: TurnEnd) {
        let chunks = self.streams.remove(task).unwrap_or_default();
        self.turns.entry(task.to_owned()).or_default().push_back(Turn { chunks, end });
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &str> {
        self.turns.keys().map(String::as_str)
    }

    /// The next attempt's turn. One too many ends the run in a way that no scenario expects.
    pub(crate) fn next(&mut self, task: &str) -> Turn {
        let exhausted = || {
            let kind = format!("the script has no further turn for {task}");
            Turn { chunks: Vec::new(), end: TurnEnd::Fail { kind, for_good: true } }
        };
        self.turns.get_mut(task).and_then(VecDeque::pop_front).unwrap_or_else(exhausted)
    }

    /// A worker died before its turn had an end that counts: the next attempt takes it.
    pub(crate) fn put_back(&mut self, task: &str, turn: Turn) {
        self.turns.entry(task.to_owned()).or_default().push_front(turn);
    }

    /// Turns that nobody took: the scenario says more than happens.
    pub(crate) fn left_over(&self) -> usize {
        self.turns.values().map(VecDeque::len).sum()
    }
}
