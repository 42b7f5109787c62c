//! Why not, in the wire's words: every rejection of the kernel and every error of the log as a code and a sentence.

use engine::Rejection;
use storage::ReadError;
use types::{Code, Refusal};

use crate::partition::LaneError;

pub(crate) fn refusal(rejection: &Rejection) -> Refusal {
    let refusal = Refusal::new(code(rejection), rejection.to_string());
    match rejection {
        Rejection::ChunkGap { expected, .. } => refusal.detail("expected", expected),
        Rejection::ProducerGap { expected, got } => refusal.detail("expected", expected).detail("received", got),
        Rejection::ProducerFenced { current, .. } => refusal.detail("epoch", current),
        Rejection::SequenceConflict { actual, .. } => refusal.detail("head", actual),
        Rejection::SequencePassed { last, .. } => refusal.detail("last", last),
        Rejection::StreamClosed { end, .. } => refusal.detail("head", end),
        Rejection::IdempotencyConflict { run, .. } => refusal.detail("run", run),
        Rejection::Trimmed { low } => refusal.detail("low", low),
        Rejection::BeyondEnd { head } => refusal.detail("head", head),
        Rejection::WorkflowExists(_)
        | Rejection::TooManyDefinitions(_)
        | Rejection::RunNotFound(_)
        | Rejection::RunClosed(_)
        | Rejection::RunDamaged { .. }
        | Rejection::RunExists(_)
        | Rejection::TooLarge { .. }
        | Rejection::TooMany { .. }
        | Rejection::NotJson { .. }
        | Rejection::TooManySignals { .. }
        | Rejection::ForgedToken
        | Rejection::StaleAttempt
        | Rejection::NotStreaming { .. }
        | Rejection::NotDue
        | Rejection::StreamNotFound(_)
        | Rejection::StreamExists(_)
        | Rejection::Reserved(_)
        | Rejection::TooManyPins { .. }
        | Rejection::ContentType { .. }
        | Rejection::Invalid(_) => refusal,
    }
}

const fn code(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::WorkflowExists(_) => Code::WorkflowExists,
        Rejection::TooManyDefinitions(_) | Rejection::TooManySignals { .. } | Rejection::TooManyPins { .. } => {
            Code::TooManyRequests
        }
        Rejection::Trimmed { .. } => Code::Trimmed,
        Rejection::BeyondEnd { .. } => Code::LogTruncated,
        Rejection::RunNotFound(_) => Code::RunNotFound,
        Rejection::RunClosed(_) => Code::RunClosed,
        Rejection::RunDamaged { .. } => Code::RunDamaged,
        Rejection::RunExists(_) | Rejection::IdempotencyConflict { .. } => Code::IdempotencyConflict,
        Rejection::TooLarge { .. } | Rejection::TooMany { .. } => Code::TooLarge,
        Rejection::NotJson { .. } | Rejection::Invalid(_) | Rejection::NotStreaming { .. } => Code::InvalidInput,
        Rejection::ForgedToken => Code::ForgedToken,
        Rejection::StaleAttempt | Rejection::NotDue => Code::StaleAttempt,
        Rejection::ChunkGap { .. } => Code::ChunkGap,
        Rejection::StreamNotFound(_) => Code::StreamNotFound,
        Rejection::StreamExists(_) => Code::StreamExists,
        Rejection::StreamClosed { .. } => Code::StreamClosed,
        Rejection::Reserved(_) => Code::ReservedName,
        Rejection::ContentType { .. } => Code::UnsupportedMediaType,
        Rejection::SequenceConflict { .. } | Rejection::SequencePassed { .. } => Code::SequenceConflict,
        Rejection::ProducerFenced { .. } => Code::ProducerFenced,
        Rejection::ProducerGap { .. } => Code::ProducerGap,
    }
}

/// What stands in the way of one asker stops nobody else.
pub(crate) fn unreadable(error: &LaneError) -> Refusal {
    match error {
        LaneError::Read { source, .. } => read_failed(source),
        LaneError::Row { .. } => Refusal::new(
            Code::Damaged,
            format!("{error}; `headwater log verify` lists all damage, and a backup restores it"),
        ),
        // Its row was damaged and could not be made again.
        LaneError::Program { .. } => Refusal::new(Code::Damaged, format!("{error}; register it again")),
        LaneError::Newer { .. } | LaneError::Fold { .. } => Refusal::new(Code::Internal, error.to_string()),
    }
}

pub(crate) fn read_failed(error: &ReadError) -> Refusal {
    match error {
        ReadError::Trimmed { low } => Refusal::new(Code::Trimmed, error.to_string()).detail("low", low),
        ReadError::Dropped { .. } => Refusal::new(Code::Trimmed, error.to_string()),
        ReadError::EventsQuarantined { low } => Refusal::new(Code::Damaged, error.to_string()).detail("low", low),
        ReadError::Quarantined { .. } | ReadError::Corrupt { .. } => Refusal::new(Code::Damaged, error.to_string()),
        ReadError::Io { .. } => Refusal::new(Code::Unavailable, error.to_string()).retry_after_ms(1_000),
    }
}
