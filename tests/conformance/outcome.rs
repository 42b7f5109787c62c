//! What came of a scenario, as a client sees it.

use serde_json::Value;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Completed(Value),
    Faulted(Value),
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// The names of the tasks that ran, in the order in which they were entered.
    pub(crate) entered: Vec<String>,
    /// What steps streamed, without what readers were told to cut.
    pub(crate) streamed: Vec<Value>,
}

/// The name of the task at an address such as `/do/2/review/for/3/do/0/call@2`.
pub(crate) fn task_at(address: &str) -> String {
    let last = address.rsplit('/').next().unwrap_or(address);
    let visited = last.rsplit_once('@').filter(|(_, visit)| visit.parse::<u32>().is_ok());
    visited.map_or(last, |(name, _)| name).to_owned()
}

#[test]
fn an_address_names_its_task() {
    for (address, name) in [("/do/0/a", "a"), ("/do/2/b/for/3/do/0/c@2", "c"), ("/do/0/mail@example", "mail@example")] {
        assert_eq!(task_at(address), name);
    }
}
