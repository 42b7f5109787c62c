//! What is wrong with a definition: a code for programs, a sentence with a place for people.

use std::fmt;

use crate::limits;

/// One thing to mend. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable; docs/workflows.md lists them.
    pub code: &'static str,
    pub message: String,
    pub line: u32,
    pub column: u32,
    /// A JSON pointer to the node it is about.
    pub pointer: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// As `12:7: message (did you mean `with`?)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " (did you mean `{suggestion}`?)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// Collects problems, up to the limit.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        if self.found.len() < limits::MAX_PROBLEMS && !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, in the order of the document.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }
}
