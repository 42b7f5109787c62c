//! What a scenario expects of a run, and whether the run kept to it.

use serde_json::Value;

use crate::outcome::{End, Outcome};
use crate::scenario::yaml;

#[derive(Debug)]
pub(crate) enum Expectation {
    Completes,
    Output(Value),
    /// Of a standard error only `detail` may be left unsaid.
    Fault(Value),
    Properties(Vec<String>),
    Property {
        path: String,
        value: Value,
    },
    Items {
        path: String,
        count: usize,
    },
    First(String),
    Last(String),
    After {
        task: String,
        earlier: String,
    },
    Times {
        task: String,
        count: usize,
    },
    Streamed(Value),
}

impl Expectation {
    /// `None`: not a phrase of ours.
    pub(crate) fn read(words: &str, text: Option<&str>) -> Option<Self> {
        if let Some(said) = words.strip_prefix("the workflow output should have ") {
            return Self::read_output(said, text);
        }
        match (words, text.map(yaml)) {
            ("the workflow should complete", None) => Some(Self::Completes),
            ("the workflow should complete with output:", Some(output)) => Some(Self::Output(output)),
            ("the workflow should fault with error:", Some(error)) => Some(Self::Fault(error)),
            ("the readers should see:", Some(chunks)) => Some(Self::Streamed(chunks)),
            (_, None) => Self::read_order(words),
            (_, Some(_)) => None,
        }
    }

    fn read_output(said: &str, text: Option<&str>) -> Option<Self> {
        if let Some(list) = said.strip_prefix("properties ") {
            return Some(Self::Properties(list.split(',').map(unquoted).collect::<Option<_>>()?));
        }
        let (path, said) = said.strip_prefix("a ")?.split_once(" property ")?;
        let path = unquoted(path)?;
        match (said, text) {
            ("with value:", Some(text)) => Some(Self::Property { path, value: yaml(text) }),
            (said, None) => {
                let count = said.strip_prefix("containing ")?.strip_suffix(" items")?.parse().ok()?;
                Some(Self::Items { path, count })
            }
            (_, Some(_)) => None,
        }
    }

    fn read_order(words: &str) -> Option<Self> {
        let (task, said) = words.split_once(" should ")?;
        let task = task.to_owned();
        match said {
            "run first" => Some(Self::First(task)),
            "run last" => Some(Self::Last(task)),
            "not run" => Some(Self::Times { task, count: 0 }),
            said => {
                let said = said.strip_prefix("run ")?;
                if let Some(earlier) = said.strip_prefix("after ") {
                    return Some(Self::After { task, earlier: earlier.to_owned() });
                }
                Some(Self::Times { task, count: said.strip_suffix(" times")?.parse().ok()? })
            }
        }
    }

    /// What is wrong, as a sentence.
    pub(crate) fn check(&self, outcome: &Outcome) -> Result<(), String> {
        self.check_end(&outcome.end)?;
        let entered = &outcome.entered;
        let place = |task: &String| entered.iter().position(|name| name == task);
        let kept = match self {
            Self::First(task) => entered.first() == Some(task),
            Self::Last(task) => entered.last() == Some(task),
            Self::After { task, earlier } => place(earlier).is_some_and(|earlier| place(task) > Some(earlier)),
            Self::Times { task, count } => entered.iter().filter(|name| *name == task).count() == *count,
            Self::Streamed(chunks) => *chunks == Value::Array(outcome.streamed.clone()),
            Self::Completes
            | Self::Output(_)
            | Self::Fault(_)
            | Self::Properties(_)
            | Self::Property { .. }
            | Self::Items { .. } => true,
        };
        let seen = || format!("expected {self:?}; tasks ran as {entered:?}, readers saw {:?}", outcome.streamed);
        if kept { Ok(()) } else { Err(seen()) }
    }

    /// The part that does not need the run's history.
    pub(crate) fn check_end(&self, end: &End) -> Result<(), String> {
        let output = match end {
            End::Completed(output) => Some(output),
            End::Faulted(_) => None,
        };
        let property = |path: &String| output.and_then(|output| find(output, path));
        let kept = match self {
            Self::Completes => output.is_some(),
            Self::Output(wanted) => output == Some(wanted),
            Self::Fault(wanted) => match end {
                End::Faulted(error) => same_error(error, wanted),
                End::Completed(_) => false,
            },
            Self::Properties(paths) => paths.iter().all(|path| property(path).is_some()),
            Self::Property { path, value } => property(path) == Some(value),
            Self::Items { path, count } => {
                property(path).and_then(Value::as_array).is_some_and(|items| items.len() == *count)
            }
            Self::First(_) | Self::Last(_) | Self::After { .. } | Self::Times { .. } | Self::Streamed(_) => true,
        };
        if kept { Ok(()) } else { Err(format!("expected {self:?}; the run {end:?}")) }
    }
}

fn same_error(error: &Value, wanted: &Value) -> bool {
    ["type", "status", "title", "instance"].iter().all(|field| error.get(field) == wanted.get(field))
        && wanted.get("detail").is_none_or(|detail| error.get("detail") == Some(detail))
}

/// A property by its names with dots between them.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

fn unquoted(text: &str) -> Option<String> {
    text.trim().strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned)
}

#[test]
fn what_is_not_kept_is_told() {
    let outcome = |end| Outcome { end, entered: vec!["a".into(), "b".into(), "a".into()], streamed: Vec::new() };
    let check = |words: &str, text: Option<&str>, end: &End, kept: bool| {
        let expectation = Expectation::read(words, text).unwrap_or_else(|| panic!("{words} is a phrase"));
        assert_eq!(expectation.check(&outcome(end.clone())).is_ok(), kept, "{words} {text:?} {end:?}");
    };
    let (done, fault) = (End::Completed(yaml("a: { b: [1] }")), End::Faulted(yaml("{type: x, status: 1, detail: d}")));
    for (words, text, of_done, of_fault) in [
        ("the workflow should complete", None, true, false),
        ("the workflow should complete with output:", Some("a: { b: [1] }"), true, false),
        ("the workflow should complete with output:", Some("a: { b: [2] }"), false, false),
        ("the workflow should fault with error:", Some("{type: x, status: 1}"), false, true),
        ("the workflow should fault with error:", Some("{type: x, status: 1, title: t}"), false, false),
        ("the workflow should fault with error:", Some("{type: x, status: 1, detail: e}"), false, false),
        ("the workflow output should have properties 'a', 'a.b'", None, true, false),
        ("the workflow output should have properties 'a', 'b'", None, false, false),
        ("the workflow output should have a 'a.b' property with value:", Some("[1]"), true, false),
        ("the workflow output should have a 'a.b' property containing 1 items", None, true, false),
        ("the workflow output should have a 'a.b' property containing 2 items", None, false, false),
        ("a should run first", None, true, true),
        ("b should run first", None, false, false),
        ("a should run last", None, true, true),
        ("b should run after a", None, true, true),
        ("a should run after b", None, false, false),
        ("a should run 2 times", None, true, true),
        ("b should not run", None, false, false),
        ("the readers should see:", Some("[1]"), false, false),
    ] {
        check(words, text, &done, of_done);
        check(words, text, &fault, of_fault);
    }
}
