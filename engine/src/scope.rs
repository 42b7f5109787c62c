//! A list of tasks in progress: where it stands and what it waits for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use types::{Payload, Timestamp};
use workflow::WorkflowError;

use crate::event::Next;

/// An open scope. A closed one folds: only its result stays, in the scope that opened it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// `None` for the root.
    pub parent: Option<u32>,
    pub kind: ScopeKind,
    /// The address of the task that opened it; empty for the root.
    pub path: String,
    /// The index of the task that is next or in progress.
    pub index: u32,
    /// How often each task was entered in this scope (since the iteration began).
    pub visits: BTreeMap<u32, u32>,
    /// What flows from task to task.
    pub data: Payload,
    /// When the task in progress was entered; `None` before that, and of one that a version entered which did not say so.
    pub began: Option<Timestamp>,
    /// The current task's input, where `input.from` made it differ from `data`.
    pub task_input: Option<Payload>,
    pub activity: Activity,
}

/// What a `for` goes over: as many values as a loop may have turns, so what they weigh is counted once, not once an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    values: Arc<[Payload]>,
    held_bytes: usize,
}

impl Items {
    /// In memory.
    pub(crate) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

impl FromIterator<Payload> for Items {
    fn from_iter<I: IntoIterator<Item = Payload>>(values: I) -> Self {
        let values: Arc<[Payload]> = values.into_iter().collect();
        let held_bytes = values.iter().map(|value| size_of_val(value) + value.len()).sum();
        Self { values, held_bytes }
    }
}

impl Deref for Items {
    type Target = [Payload];

    fn deref(&self) -> &[Payload] {
        &self.values
    }
}

/// What opened a scope.
#[derive(Clone, Debug, PartialEq)]
pub enum ScopeKind {
    Root,
    Do,
    For {
        items: Items,
        iteration: u32,
    },
    Try {
        attempt: u32,
        first: Timestamp,
    },
    /// A `try` that caught this and runs the tasks of its `catch`.
    Catch {
        error: Box<WorkflowError>,
    },
}

/// What a scope is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Activity {
    /// About to enter the task at `index`, or to close when there is none.
    Ready,
    Step {
        step: u32,
    },
    Timer {
        timer: u32,
    },
    Child {
        scope: u32,
    },
    /// The current task's raw output is there. `caught`: through the `catch` of a `try`.
    Returned {
        output: Payload,
        caught: bool,
    },
    Raised {
        error: Box<WorkflowError>,
    },
    /// A task said `exit`.
    Exiting,
    /// A task said `end`.
    Ending,
}

impl ScopeKind {
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Self::For { items, .. } => items.iter().map(Payload::len).sum(),
            Self::Root | Self::Do | Self::Try { .. } | Self::Catch { .. } => 0,
        }
    }
}

impl Scope {
    pub(crate) fn root(data: Payload) -> Self {
        Self::new(None, ScopeKind::Root, String::new(), data)
    }

    pub(crate) fn new(parent: Option<u32>, kind: ScopeKind, path: String, data: Payload) -> Self {
        let (visits, activity) = (BTreeMap::new(), Activity::Ready);
        Self { parent, kind, path, index: 0, visits, data, began: None, task_input: None, activity }
    }

    /// The current task's input.
    pub fn input(&self) -> &Payload {
        self.task_input.as_ref().unwrap_or(&self.data)
    }

    /// The address of the task called `name` at the current index, on its next visit or on the visit in progress.
    pub(crate) fn address(&self, name: &str, entered: bool) -> String {
        let list = match &self.kind {
            ScopeKind::Root | ScopeKind::Do => "do".to_owned(),
            ScopeKind::For { iteration, .. } => format!("for/{iteration}/do"),
            ScopeKind::Try { .. } => "try".to_owned(),
            ScopeKind::Catch { .. } => "catch/do".to_owned(),
        };
        let before = self.visits.get(&self.index).copied().unwrap_or(0);
        let visit = if entered { before } else { before + 1 };
        let suffix = if visit > 1 { format!("@{visit}") } else { String::new() };
        // As in a JSON pointer (RFC 6901), so that a name with a slash stays one segment.
        let name = if name.contains(['~', '/']) {
            Cow::Owned(name.replace('~', "~0").replace('/', "~1"))
        } else {
            Cow::Borrowed(name)
        };
        format!("{}/{list}/{}/{name}{suffix}", self.path, self.index)
    }

    pub(crate) fn enter(&mut self, time: Timestamp) {
        self.count_visit();
        self.began = Some(time);
    }

    fn count_visit(&mut self) {
        *self.visits.entry(self.index).or_default() += 1;
    }

    pub(crate) fn begin_iteration(&mut self, next: u32) {
        if let ScopeKind::For { iteration, .. } = &mut self.kind {
            *iteration = next;
        }
        (self.index, self.began, self.activity) = (0, None, Activity::Ready);
        self.visits.clear();
    }

    /// `at_once`: the task began and ended in one event.
    pub(crate) fn exit_task(&mut self, at_once: bool, output: Option<Payload>, next: Next) {
        if at_once {
            self.count_visit();
        }
        let before = std::mem::replace(&mut self.activity, Activity::Ready);
        let raw = if let Activity::Returned { output, .. } = before { Some(output) } else { None };
        if let Some(data) = output.or(raw) {
            self.data = data;
        }
        (self.began, self.task_input) = (None, None);
        match next {
            Next::Index(index) => self.index = index,
            Next::Exit => self.activity = Activity::Exiting,
            Next::End => self.activity = Activity::Ending,
        }
    }

    pub(crate) fn raise(&mut self, error: &WorkflowError) {
        self.activity = Activity::Raised { error: Box::new(error.clone()) };
    }

    /// Back to the beginning: of the same tasks once `timer` fires, or of the `catch` at once.
    pub(crate) fn catch(&mut self, error: &WorkflowError, initial: Payload, timer: Option<u32>) {
        (self.index, self.data, self.began, self.task_input) = (0, initial, None, None);
        match (timer, &mut self.kind) {
            (Some(timer), ScopeKind::Try { attempt, .. }) => {
                *attempt += 1;
                self.activity = Activity::Timer { timer };
            }
            (Some(_) | None, kind) => {
                *kind = ScopeKind::Catch { error: Box::new(error.clone()) };
                self.visits.clear();
                self.activity = Activity::Ready;
            }
        }
    }
}
