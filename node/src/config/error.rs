//! Why a configuration is refused: every problem at once, each with its place and what to write instead.

use std::fmt;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file as a whole.
    File { path: String },
    /// A place in a file, both counted from 1.
    Place { path: String, line: u64, column: u64 },
    /// An environment variable.
    Environment { variable: String },
    /// A flag of the command line.
    Flag { flag: String },
    /// Built in.
    Default,
}

impl Origin {
    pub(crate) fn file(path: &str) -> Self {
        Self::File { path: path.to_owned() }
    }

    pub(crate) fn place(path: &str, line: u64, column: u64) -> Self {
        Self::Place { path: path.to_owned(), line, column }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path } => f.write_str(path),
            Self::Place { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Environment { variable } => f.write_str(variable),
            Self::Flag { flag } => f.write_str(flag),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What kind of problem; the text form is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemCode {
    Unreadable,
    TooLarge,
    Syntax,
    UnknownKey,
    NoValue,
    WrongKind,
    OutOfBounds,
    NotLoopback,
    /// Two settings that cannot both hold.
    Contradiction,
}

impl ProblemCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown_key",
            Self::NoValue => "no_value",
            Self::WrongKind => "wrong_kind",
            Self::OutOfBounds => "out_of_bounds",
            Self::NotLoopback => "not_loopback",
            Self::Contradiction => "contradiction",
        }
    }
}

/// One problem: `place: sentence (code)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    pub code: ProblemCode,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.origin, self.message, self.code.as_str())
    }
}

/// The configuration was refused; nothing was started. Correct what it names, then start again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn one(origin: Origin, code: ProblemCode, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { origin, code, message: message.into() }] }
    }

    /// `Err` if there is any problem.
    pub(crate) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// At least one, in the order of the sources: file, environment, flags.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
