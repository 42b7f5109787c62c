//! GET: catch up, or wait for what comes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use types::{Code, Cursor, Refusal, StreamName, StreamStart};

use super::messages::Shape;
use super::{live, names, stream_name};
use crate::auth;
use crate::backend::{Backend, Read, ReadReply, StreamInfo};
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::http::Shared;
use crate::http::path::Path;
use crate::limits::millis;
use crate::recourse::resume_at;
use crate::resume::{self, Plan};

/// The protocol counts its cache cursors in intervals since 2024-10-09T00:00:00Z.
const CURSOR_EPOCH: Duration = Duration::from_hours(480_120);
const CURSOR_INTERVAL: Duration = Duration::from_secs(20);
/// By how many intervals, at most, a cursor jumps ahead that would not move otherwise: an hour.
const CURSOR_JUMP: u64 = 180;

/// A read as the URL asks for it.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    start: StreamStart,
    live: Live,
    /// The cache cursor given before.
    cursor: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    No,
    LongPoll,
    Sse,
}

pub(super) async fn read<B: Backend>(
    State(gateway): Shared<B>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Problem> {
    let stream = stream_name(&name)?;
    let asked = asked(&query)?;
    let tenant = auth::principal().tenant;
    let headers = request.headers();
    // A browser that connects again says in this header where it stands; the URL is still that of the first time.
    let resumed = headers.get(names::LAST_EVENT_ID).filter(|_| asked.live == Live::Sse);
    let start = match resumed {
        Some(id) => offset(id.to_str().unwrap_or_default())?,
        None => asked.start,
    };
    let info = gateway.backend.stream(&tenant, stream.clone()).await?;
    let plan = resume::plan(start, &info);
    gateway.metrics.resumed(plan.name());
    match (asked.live, plan) {
        (Live::Sse, Plan::Gap { .. }) if resumed.is_none() => Err(gone(plan, &info)),
        (Live::Sse, _) => Ok(live::stream(gateway, tenant, stream, &info, plan, asked.cursor)),
        (Live::No | Live::LongPoll, Plan::Gap { .. }) => Err(gone(plan, &info)),
        (Live::No, Plan::Live { .. } | Plan::Replay { .. }) => {
            catch_up(&gateway, stream, plan.position(), start, headers).await
        }
        (Live::LongPoll, Plan::Live { .. } | Plan::Replay { .. }) => {
            long_poll(&gateway, stream, plan.position(), info, asked.cursor).await
        }
    }
}

fn asked(query: &[(String, String)]) -> Result<Asked, Problem> {
    let one = |name: &str| {
        let mut values = query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Problem::bad_request(format!("{name} is there twice"))),
        }
    };
    let live = match one("live")? {
        None => Live::No,
        Some("long-poll" | "true") => Live::LongPoll,
        Some("sse") => Live::Sse,
        Some(other) => return Err(Problem::bad_request(format!("live is `long-poll` or `sse`, not {other:?}"))),
    };
    let start = match (one("offset")?, live) {
        (Some(text), _) => offset(text)?,
        (None, Live::No) => StreamStart::Begin,
        (None, Live::LongPoll | Live::Sse) => return Err(Problem::bad_request("a live read needs an offset")),
    };
    Ok(Asked { start, live, cursor: one("cursor")?.and_then(|cursor| cursor.parse().ok()) })
}

/// The protocol writes the beginning as `-1`; the socket's `begin` is understood as well.
fn offset(text: &str) -> Result<StreamStart, Problem> {
    match text {
        "-1" => Ok(StreamStart::Begin),
        text => text.parse().map_err(|error| Problem::new(Code::InvalidCursor, format!("{error}"))),
    }
}

/// A position that cannot be served: why, and what can be.
fn gone(plan: Plan, info: &StreamInfo) -> Problem {
    let (reason, from) = match plan {
        Plan::Gap { reason, from, .. } => (reason, from),
        Plan::Live { at } | Plan::Replay { from: at, .. } => (Code::Internal, at),
    };
    let low = resume::cursor(info, info.low);
    let message = format!("nothing can be read at {from}: go on at {low}, the oldest event that is kept");
    Refusal::new(reason, message).detail("low", info.low).detail("head", info.head).detail("resume_at", low).into()
}

async fn catch_up<B: Backend>(
    gateway: &Gateway<B>,
    stream: StreamName,
    from: Cursor,
    start: StreamStart,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let run = stream.run().is_some();
    let reply = ask(gateway, stream, from, 0).await?;
    let mut answer = Answer::new(from, reply, run);
    if start == StreamStart::Now {
        // What came in between belongs to the next request: `now` never carries data.
        answer.forget_events();
        return Ok(answer.response(StatusCode::OK, names::NO_STORE));
    }
    let tag = answer.tag();
    if headers.get(IF_NONE_MATCH).is_some_and(|given| *given == tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let keep = if answer.is_up_to_date() { names::NO_CACHE } else { names::KEEP };
    let mut response = answer.response(StatusCode::OK, keep);
    response.headers_mut().insert(ETAG, tag);
    Ok(response)
}

async fn long_poll<B: Backend>(
    gateway: &Gateway<B>,
    stream: StreamName,
    from: Cursor,
    info: StreamInfo,
    cursor: Option<u64>,
) -> Result<Response, Problem> {
    let run = stream.run().is_some();
    let reply = if info.closed && from.next == info.head {
        ReadReply { events: Vec::new(), info }
    } else {
        tokio::select! {
            biased;
            reply = ask(gateway, stream, from, millis(gateway.limits.poll_time)) => reply?,
            // A drain ends the wait; the client asks again, elsewhere.
            () = gateway.drained() => ReadReply { events: Vec::new(), info },
        }
    };
    let answer = Answer::new(from, reply, run);
    let status = if answer.reply.events.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
    let tag = answer.tag();
    let mut response = answer.response(status, names::NO_STORE);
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(names::CURSOR, cache_cursor(cursor).into());
    Ok(response)
}

async fn ask<B: Backend>(
    gateway: &Gateway<B>,
    stream: StreamName,
    from: Cursor,
    wait_ms: u64,
) -> Result<ReadReply, Problem> {
    let limits = &gateway.limits;
    let (max_events, max_bytes) = (limits.response_events, limits.response_bytes);
    let read = Read { stream, from, max_events, max_bytes, wait_ms };
    let answer = gateway.backend.read(&auth::principal().tenant, read).await;
    // A gap that only the read met: the refusal says where to go on, as it does for one that was known before.
    Ok(answer.map_err(|refusal| match resume_at(&refusal) {
        Some(low) => refusal.detail("resume_at", from.at(low)),
        None => refusal,
    })?)
}

/// What was read, on its way out.
struct Answer {
    from: Cursor,
    reply: ReadReply,
    run: bool,
}

impl Answer {
    const fn new(from: Cursor, reply: ReadReply, run: bool) -> Self {
        Self { from, reply, run }
    }

    fn forget_events(&mut self) {
        self.from = resume::cursor(&self.reply.info, self.reply.info.head);
        self.reply.events.clear();
    }

    fn next(&self) -> Cursor {
        self.from.at(self.from.next.after(self.reply.events.len() as u64))
    }

    fn is_up_to_date(&self) -> bool {
        self.next().next == self.reply.info.head
    }

    fn is_end(&self) -> bool {
        self.is_up_to_date() && self.reply.info.closed
    }

    fn tag(&self) -> HeaderValue {
        let closed = if self.is_end() { ":c" } else { "" };
        let tag = format!("\"{}:{}{closed}\"", self.from, self.next().next);
        HeaderValue::from_str(&tag).expect("a cursor is hex digits")
    }

    fn response(self, status: StatusCode, keep: HeaderValue) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, keep);
        headers.insert(names::NEXT_OFFSET, names::cursor(self.next()));
        if self.is_up_to_date() {
            headers.insert(names::UP_TO_DATE, names::TRUE);
        }
        if self.is_end() {
            headers.insert(names::CLOSED, names::TRUE);
        }
        if status == StatusCode::NO_CONTENT {
            return (status, headers).into_response();
        }
        headers.insert(CONTENT_TYPE, names::content_type(&self.reply.info));
        let shape = Shape::of(self.reply.info.content_type.as_deref(), self.run);
        (status, headers, shape.body(&self.reply.events)).into_response()
    }
}

/// What a live reader sends back next time, so that a cache between us never serves it the same answer for ever.
pub(super) fn cache_cursor(given: Option<u64>) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let interval = now.saturating_sub(CURSOR_EPOCH).as_secs() / CURSOR_INTERVAL.as_secs();
    let jump = u64::from(now.subsec_nanos()) % CURSOR_JUMP + 1;
    advance(given, interval, jump)
}

/// The present interval, or a jump ahead of what was given if that is not behind it.
fn advance(given: Option<u64>, interval: u64, jump: u64) -> u64 {
    match given {
        Some(given) if given >= interval => given.saturating_add(jump),
        Some(_) | None => interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_cursor_always_moves() {
        assert_eq!(advance(None, 1000, 7), 1000);
        assert_eq!(advance(Some(999), 1000, 7), 1000);
        assert_eq!(advance(Some(1000), 1000, 7), 1007);
        assert_eq!(advance(Some(1050), 1000, 7), 1057);
    }

    #[test]
    fn a_query_says_what_is_read() {
        let check = |query: &[(&str, &str)], expect: Option<(StreamStart, Live)>| {
            let query: Vec<_> = query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(asked(&query).ok().map(|asked| (asked.start, asked.live)), expect, "{query:?}");
        };
        check(&[], Some((StreamStart::Begin, Live::No)));
        check(&[("offset", "-1")], Some((StreamStart::Begin, Live::No)));
        check(&[("offset", "now"), ("live", "sse")], Some((StreamStart::Now, Live::Sse)));
        check(&[("offset", "now"), ("live", "long-poll"), ("else", "x")], Some((StreamStart::Now, Live::LongPoll)));
        check(&[("live", "sse")], None);
        check(&[("offset", "")], None);
        check(&[("offset", "now"), ("offset", "now")], None);
        check(&[("offset", "a,b")], None);
        check(&[("offset", "-1"), ("live", "carrier-pigeon")], None);
    }
}
