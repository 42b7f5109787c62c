//! The bounds of what a client gives: each text, tag and value that goes into an event has one, so that no event
//! becomes too large for its readers or for the log.

use types::Payload;

use crate::limits;
use crate::rejection::Rejection;
use crate::step::Failure;

/// Refuses what is larger than a message of the wire may be.
pub(super) fn fits(what: &'static str, payload: &Payload) -> Result<(), Rejection> {
    size(what, payload.len(), limits::VALUE_BYTES)?;
    size("the content type", payload.content_type.as_ref().map_or(0, String::len), limits::CONTENT_TYPE_BYTES)?;
    count("attributes of a value", payload.meta.len(), limits::ATTRIBUTES)
}

/// Refuses what later tasks and readers could not read.
pub(super) fn json(what: &'static str, payload: &Payload) -> Result<(), Rejection> {
    json_within(what, payload, limits::VALUE_DEPTH)
}

fn json_within(what: &'static str, payload: &Payload, depth: usize) -> Result<(), Rejection> {
    fits(what, payload)?;
    crate::json::check(&payload.data, depth).map_err(|why| Rejection::NotJson { what, why })
}

/// What a start says beside its input.
pub(super) fn names(key: Option<&String>, tags: &[(String, String)]) -> Result<(), Rejection> {
    size("the key", key.map_or(0, String::len), limits::KEY_BYTES)?;
    count("tags", tags.len(), limits::TAGS)?;
    let bytes = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
    size("all tags together", bytes, limits::TAG_BYTES)
}

/// Refuses what would not fit an event, or could not be read back from one.
pub(super) fn failure(failure: &Failure) -> Result<(), Rejection> {
    let (mut bytes, mut chain, mut next) = (0, 0, Some(failure));
    while let Some(one) = next {
        let texts = [Some(&one.message), Some(&one.kind), one.source.as_ref(), one.stack.as_ref()];
        bytes += texts.into_iter().flatten().map(|text| json_bytes(text)).sum::<usize>();
        if let Some(details) = &one.details {
            // Readers see each cause inside the failure that it caused.
            json_within("the failure's details", details, limits::VALUE_DEPTH.saturating_sub(chain))?;
            bytes += details.len();
        }
        (chain, next) = (chain + 1, one.cause.as_deref());
    }
    size("the failure", bytes, limits::FAILURE_BYTES)?;
    count("causes of a failure", chain - 1, limits::FAILURE_CAUSES)
}

/// A step must not wait for ever because a worker counts wrong.
pub(super) fn retry_after(asked_ms: Option<u64>) -> Result<(), Rejection> {
    let (limit, Some(asked)) = (limits::RETRY_AFTER_MS, asked_ms) else { return Ok(()) };
    let why = || format!("a worker may ask for a pause of {limit} ms at most (`retry_after_ms`), not of {asked}");
    if asked > limit { Err(Rejection::Invalid(why())) } else { Ok(()) }
}

/// What a text takes up in JSON, without its quotes.
pub(crate) fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 8 | 9 | 10 | 12 | 13 => 2,
        0..=31 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

fn size(what: &'static str, bytes: usize, limit: usize) -> Result<(), Rejection> {
    if bytes > limit { Err(Rejection::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

fn count(what: &'static str, count: usize, limit: usize) -> Result<(), Rejection> {
    if count > limit { Err(Rejection::TooMany { what, count, limit }) } else { Ok(()) }
}
