//! What a reader can do about a refusal. One place, and no code without an answer.

use std::time::Duration;

use types::{Code, Offset, Refusal};

/// What to do about a read that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recourse {
    /// It may succeed after a pause.
    Retry(Duration),
    /// The position is no longer good: look at the stream again, and say what is missing.
    LookAgain,
    /// There is no such stream, or no longer.
    StreamGone,
    /// It will not succeed, and somebody has to be told.
    GiveUp,
}

/// Where the events after a gap begin, if the refusal of a read says so. A stream may have gaps behind its beginning:
/// a run keeps what happened to it longer than what its steps streamed.
pub(crate) fn resume_at(refusal: &Refusal) -> Option<Offset> {
    let (_, low) = refusal.details.iter().find(|(name, _)| name == "low")?;
    low.parse().ok().map(Offset::new)
}

/// When nobody says how long to wait.
const PAUSE_MS: u64 = 250;

pub(crate) fn recourse(refusal: &Refusal) -> Recourse {
    match refusal.code {
        Code::QueueFull | Code::TooManyRequests | Code::Draining | Code::Unavailable | Code::DiskFull => {
            let millis = refusal.retry_after_ms.unwrap_or(PAUSE_MS).clamp(10, 10_000);
            Recourse::Retry(Duration::from_millis(millis))
        }
        Code::OtherHistory | Code::OtherStream | Code::Trimmed | Code::LogTruncated => Recourse::LookAgain,
        // With a place to go on, it is a gap.
        Code::Damaged if resume_at(refusal).is_some() => Recourse::LookAgain,
        Code::StreamNotFound => Recourse::StreamGone,
        Code::BadRequest
        | Code::BadMessage
        | Code::InvalidName
        | Code::InvalidCursor
        | Code::InvalidDefinition
        | Code::InvalidInput
        | Code::UnsupportedMediaType
        | Code::TooLarge
        | Code::WorkflowNotFound
        | Code::RunNotFound
        | Code::NotFound
        | Code::ReservedName
        | Code::OriginNotAllowed
        | Code::HostNotAllowed
        | Code::StreamExists
        | Code::StreamClosed
        | Code::WorkflowExists
        | Code::RunClosed
        | Code::IdempotencyConflict
        | Code::ProducerFenced
        | Code::ProducerGap
        | Code::SequenceConflict
        | Code::StaleAttempt
        | Code::ForgedToken
        | Code::ChunkGap
        | Code::OutcomeUnknown
        | Code::Damaged
        | Code::RunDamaged
        | Code::Internal => Recourse::GiveUp,
    }
}
