//! How the program ends: a code for scripts, a sentence for people, and what to do next.

use std::fmt::Display;
use std::process::ExitCode;

use headwater_client::{Code, Error};
use serde_json::json;

/// The end of `headwater help`. docs/operations.md has the same table.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  it failed: the run failed, a program cannot start, a definition has mistakes,
      a proof does not hold
   2  the command line, or what it was given, is wrong
   3  there is no such workflow, run or stream
   4  refused: a conflict, or something is closed or over a limit
   5  the node cannot be reached, or takes no work just now: try again
   6  the answer was lost: it may have happened; ask, or repeat with the same key
  74  the log failed or is damaged; nothing acknowledged is served wrongly
 130  interrupted";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    NotFound,
    Refused,
    Unreachable,
    OutcomeUnknown,
    LogFailed,
    Interrupted,
}

impl Exit {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::OutcomeUnknown => 6,
            Self::LogFailed => 74,
            Self::Interrupted => 130,
        }
    }

    /// The stable name of a failure that has none of its own.
    const fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::LogFailed => "log_failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// What a node's refusal means for a script.
    const fn of(code: Code) -> Self {
        match code {
            Code::BadRequest
            | Code::BadMessage
            | Code::InvalidName
            | Code::InvalidCursor
            | Code::InvalidInput
            | Code::UnsupportedMediaType
            | Code::ReservedName
            | Code::HostNotAllowed => Self::Usage,
            Code::WorkflowNotFound | Code::RunNotFound | Code::StreamNotFound | Code::NotFound => Self::NotFound,
            Code::TooLarge
            | Code::OriginNotAllowed
            | Code::StreamExists
            | Code::StreamClosed
            | Code::WorkflowExists
            | Code::RunClosed
            | Code::IdempotencyConflict
            | Code::OtherHistory
            | Code::OtherStream
            | Code::Trimmed
            | Code::LogTruncated
            | Code::ProducerFenced
            | Code::ProducerGap
            | Code::SequenceConflict
            | Code::StaleAttempt
            | Code::ForgedToken
            | Code::ChunkGap => Self::Refused,
            Code::Damaged | Code::RunDamaged => Self::LogFailed,
            Code::QueueFull | Code::TooManyRequests | Code::Draining | Code::Unavailable | Code::DiskFull => {
                Self::Unreachable
            }
            Code::OutcomeUnknown => Self::OutcomeUnknown,
            Code::InvalidDefinition | Code::Internal => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// A sentence without a full stop.
    message: String,
    /// Stable, for programs: the node's, where it gave one.
    code: &'static str,
    /// What to do now.
    advice: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), code: exit.code(), advice: None }
    }

    #[must_use]
    pub(crate) const fn coded(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something of this machine did not work, such as reading a file.
    pub(crate) fn local(doing: impl Display, error: impl Display) -> Self {
        Self::new(Exit::Failed, format!("failed to {doing}: {error}"))
    }

    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn as_json(&self) -> serde_json::Value {
        let advice = self.advice.as_ref().filter(|advice| !advice.is_empty());
        let (message, code) = (&self.message, self.code);
        json!({ "error": { "message": message, "code": code, "advice": advice, "exit": self.exit.number() } })
    }

    /// On standard error, so that standard output holds answers only.
    pub(crate) fn tell(&self, json: bool) {
        if json {
            eprintln!("{}", self.as_json());
            return;
        }
        eprintln!("headwater: {}", self.message);
        if let Some(advice) = &self.advice {
            eprintln!("  {advice}");
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match (&error, error.code()) {
            (_, Some(code)) => Exit::of(code),
            (Error::Unreachable { .. } | Error::NotUnderstood { .. }, None) => Exit::Unreachable,
            (Error::Unanswered { .. }, None) => Exit::OutcomeUnknown,
            (Error::Unusable(_), None) => Exit::Usage,
            (Error::Refused(_) | Error::Problem(_), None) => Exit::Refused,
        };
        let advice = match &error {
            Error::Unreachable { .. } => Some("start one with `headwater dev`, or name another with --server"),
            Error::NotUnderstood { .. } => Some("is that the port of a Headwater node, of the same version as this?"),
            Error::Refused(_) | Error::Problem(_) | Error::Unanswered { .. } | Error::Unusable(_) => {
                error.code().and_then(advice)
            }
        };
        // The node's own words may say it already.
        let message = error.to_string();
        let advice = advice.filter(|advice| !message.contains(advice));
        let code = match (&error, error.code()) {
            (_, Some(code)) => code.as_str(),
            (Error::NotUnderstood { .. }, None) => "not_understood",
            (_, None) => exit.code(),
        };
        Self { exit, message, code, advice: advice.map(str::to_owned) }
    }
}

/// What helps with refusals that people meet often.
fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::WorkflowNotFound => Some("`headwater workflow list` shows what is registered"),
        Code::RunNotFound => Some("`headwater run list` shows the latest runs"),
        Code::StreamNotFound => Some("a stream begins with the first `headwater stream append`"),
        Code::WorkflowExists => Some("definitions never change: raise `document.version` and register again"),
        Code::InvalidCursor | Code::OtherHistory | Code::OtherStream | Code::Trimmed | Code::LogTruncated => {
            Some("`--from begin` reads what is kept, `--from now` what comes")
        }
        Code::Damaged => Some(
            "a later `--from` reads what is behind it; `headwater log verify` names all damage, and a backup restores it",
        ),
        Code::QueueFull | Code::TooManyRequests | Code::Draining | Code::Unavailable => Some("try again in a moment"),
        Code::DiskFull => Some("free space on the node's disk: it goes on by itself"),
        Code::BadRequest
        | Code::BadMessage
        | Code::InvalidName
        | Code::InvalidDefinition
        | Code::InvalidInput
        | Code::UnsupportedMediaType
        | Code::TooLarge
        | Code::NotFound
        | Code::ReservedName
        | Code::OriginNotAllowed
        | Code::HostNotAllowed
        | Code::StreamExists
        | Code::StreamClosed
        | Code::RunClosed
        | Code::RunDamaged
        | Code::IdempotencyConflict
        | Code::ProducerFenced
        | Code::ProducerGap
        | Code::SequenceConflict
        | Code::StaleAttempt
        | Code::ForgedToken
        | Code::ChunkGap
        | Code::OutcomeUnknown
        | Code::Internal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_client::Refusal;

    #[test]
    fn a_script_can_tell_failures_apart() {
        let refused = |code| Error::Refused(Refusal::new(code, "no"));
        let check = |error: Error, exit: Exit| assert_eq!(Failure::from(error).exit, exit);
        check(refused(Code::RunNotFound), Exit::NotFound);
        check(refused(Code::WorkflowExists), Exit::Refused);
        check(refused(Code::InvalidDefinition), Exit::Failed);
        check(refused(Code::QueueFull), Exit::Unreachable);
        check(Error::Unreachable { server: "x".into(), cause: "refused".into() }, Exit::Unreachable);
        check(Error::Unanswered { server: "x".into(), cause: "reset".into() }, Exit::OutcomeUnknown);
    }

    #[test]
    fn a_program_gets_a_code_whatever_failed() {
        let code = |error: Error| Failure::from(error).code;
        assert_eq!(code(Error::Refused(Refusal::new(Code::RunNotFound, "no"))), "run_not_found");
        assert_eq!(code(Error::Unreachable { server: "x".into(), cause: "refused".into() }), "unreachable");
        assert_eq!(code(Error::Unanswered { server: "x".into(), cause: "reset".into() }), "outcome_unknown");
        assert_eq!(code(Error::NotUnderstood { server: "x".into(), cause: "?".into() }), "not_understood");
        assert_eq!(code(Error::Unusable("no address".into())), "usage");
        assert_eq!(Failure::new(Exit::Refused, "no").code, "refused");
    }

    #[test]
    fn the_help_names_every_exit_code() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Refused,
            Exit::Unreachable,
            Exit::OutcomeUnknown,
            Exit::LogFailed,
            Exit::Interrupted,
        ];
        for exit in all {
            let number = exit.number().to_string();
            assert!(EXIT_CODES.lines().any(|line| line.split_whitespace().next() == Some(&number)), "{exit:?}");
        }
    }
}
