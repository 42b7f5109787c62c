//! GET with `live=sse`: an event stream that a browser's own `EventSource` resumes, because every frame has an id.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::json;
use types::{Code, Cursor, Refusal, StreamName, StreamStart, TenantId};

use super::messages::Shape;
use super::names;
use super::read::cache_cursor;
use crate::backend::{Backend, Read, ReadReply, StreamInfo};
use crate::gateway::Gateway;
use crate::limits::millis;
use crate::recourse::{Recourse, recourse, resume_at};
use crate::resume::{self, Plan};

/// How long a browser waits before it connects again.
const RETRY: &str = "retry: 1000\n\n";
/// How long it waits after the end of a closed stream, should its page not close the connection: an hour.
const RETRY_AFTER_END: &str = "retry: 3600000\n";

/// An endless answer, or one that ends with the stream.
pub(super) fn stream<B: Backend>(
    gateway: Arc<Gateway<B>>,
    tenant: TenantId,
    stream: StreamName,
    info: &StreamInfo,
    plan: Plan,
    cursor: Option<u64>,
) -> Response {
    let shape = Shape::of(info.content_type.as_deref(), stream.run().is_some());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, names::NO_CACHE);
    if shape.is_encoded() {
        headers.insert(names::SSE_ENCODING, HeaderValue::from_static("base64"));
    }
    let mut tail =
        Tail { gateway, tenant, stream, shape, at: plan.position(), cursor, next: Next::Read { wait: true } };
    let first = tail.first(info, plan);
    let frames = unfold((tail, Some(first)), |(mut tail, first)| async {
        let frames = match first {
            Some(frames) => frames,
            None => tail.frames().await?,
        };
        Some((Ok::<_, Infallible>(frames), (tail, None)))
    });
    (headers, Body::from_stream(frames)).into_response()
}

/// A reader's place in a stream.
struct Tail<B> {
    gateway: Arc<Gateway<B>>,
    tenant: TenantId,
    stream: StreamName,
    shape: Shape,
    at: Cursor,
    cursor: Option<u64>,
    next: Next,
}

enum Next {
    Read { wait: bool },
    Nothing,
}

impl<B: Backend> Tail<B> {
    /// What is said before anything is read: what is missing, and where the reader stands if nothing is there to read.
    fn first(&mut self, info: &StreamInfo, plan: Plan) -> String {
        let mut out = RETRY.to_owned();
        tell_gap(&mut out, plan, info);
        if self.at.next == info.head {
            if info.closed {
                self.end(&mut out, "closed");
            }
            self.control(&mut out, info.closed, true);
        } else {
            self.next = Next::Read { wait: false };
        }
        out
    }

    /// The next frames; `None` when it is over.
    async fn frames(&mut self) -> Option<String> {
        loop {
            let Next::Read { wait } = self.next else { return None };
            let limits = &self.gateway.limits;
            let read = Read {
                stream: self.stream.clone(),
                from: self.at,
                max_events: limits.read_events,
                max_bytes: limits.batch_bytes,
                wait_ms: if wait { millis(limits.comment_time) } else { 0 },
            };
            let answer = tokio::select! {
                biased;
                answer = self.gateway.backend.read(&self.tenant, read) => answer,
                // The browser connects again by itself, to where it is sent then.
                () = self.gateway.drained() => return None,
            };
            match answer {
                Ok(reply) => return Some(self.read(&reply)),
                Err(refusal) => match recourse(&refusal) {
                    Recourse::Retry(pause) => tokio::time::sleep(pause).await,
                    Recourse::LookAgain => return self.look_again(&refusal).await,
                    Recourse::StreamGone => return Some(self.deleted()),
                    Recourse::GiveUp => return Some(self.failed(&refusal)),
                },
            }
        }
    }

    fn read(&mut self, reply: &ReadReply) -> String {
        let mut out = String::new();
        let came = !reply.events.is_empty();
        self.at = self.at.at(self.at.next.after(reply.events.len() as u64));
        let up_to_date = self.at.next == reply.info.head;
        let closed = up_to_date && reply.info.closed;
        self.next = Next::Read { wait: true };
        if came {
            frame(&mut out, "data", Some(self.at), &self.shape.text(&reply.events));
        }
        if closed {
            self.end(&mut out, "closed");
        }
        if came || closed {
            self.control(&mut out, closed, up_to_date);
        } else {
            out.push_str(":\n\n");
        }
        out
    }

    /// After every data, and where there is none: how to go on by hand.
    fn control(&mut self, out: &mut String, closed: bool, up_to_date: bool) {
        let mut control = json!({ "streamNextOffset": self.at });
        if closed {
            control["streamClosed"] = true.into();
        } else {
            let cursor = cache_cursor(self.cursor);
            self.cursor = Some(cursor);
            control["streamCursor"] = cursor.to_string().into();
        }
        if up_to_date {
            control["upToDate"] = true.into();
        }
        frame(out, "control", Some(self.at), &control.to_string());
    }

    /// Nothing will come any more: the page should close its `EventSource`.
    fn end(&mut self, out: &mut String, status: &str) {
        out.push_str(RETRY_AFTER_END);
        frame(out, "end", None, &json!({ "status": status, "cursor": self.at }).to_string());
        self.next = Next::Nothing;
    }

    fn deleted(&mut self) -> String {
        let mut out = String::new();
        self.end(&mut out, "deleted");
        out
    }

    fn failed(&mut self, refusal: &Refusal) -> String {
        let mut out = String::new();
        let data = json!({ "code": refusal.code, "detail": refusal.message });
        frame(&mut out, "failed", None, &data.to_string());
        self.next = Next::Nothing;
        out
    }

    /// The position is gone: says what is missing and goes on.
    async fn look_again(&mut self, refusal: &Refusal) -> Option<String> {
        // Should the stream be gone as well, the browser finds out when it connects again.
        let mut info = self.gateway.backend.stream(&self.tenant, self.stream.clone()).await.ok()?;
        info.low = resume_at(refusal).map_or(info.low, |low| info.low.max(low.min(info.head)));
        let reason = if refusal.code == Code::Damaged { Code::Damaged } else { Code::Trimmed };
        let plan = resume::plan(StreamStart::At(self.at), &info).because(reason);
        self.at = plan.position();
        let mut out = String::new();
        tell_gap(&mut out, plan, &info);
        Some(out)
    }
}

fn tell_gap(out: &mut String, plan: Plan, info: &StreamInfo) {
    if let Plan::Gap { from, to, reason } = plan {
        let data = json!({ "from": from, "to": to, "reason": reason, "low": info.low });
        frame(out, "gap", Some(to), &data.to_string());
    }
}

/// One frame. Data may contain line breaks of any kind; each line is marked as data, so that none ends the frame.
fn frame(out: &mut String, event: &str, id: Option<Cursor>, data: &str) {
    let infallible = "a String takes every character";
    if let Some(id) = id {
        writeln!(out, "id: {id}").expect(infallible);
    }
    writeln!(out, "event: {event}").expect(infallible);
    let unified = data.replace("\r\n", "\n").replace('\r', "\n");
    for line in unified.split('\n') {
        // A reader takes one leading space away.
        let space = if line.starts_with(' ') { " " } else { "" };
        writeln!(out, "data:{space}{line}").expect(infallible);
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_ends_its_frame() {
        let check = |data: &str, expect: &str| {
            let mut out = String::new();
            frame(&mut out, "data", None, data);
            assert_eq!(out, expect);
        };
        check("a", "event: data\ndata:a\n\n");
        check("a\n\nevent: end", "event: data\ndata:a\ndata:\ndata:event: end\n\n");
        check("a\r\nb\rc", "event: data\ndata:a\ndata:b\ndata:c\n\n");
        check("", "event: data\ndata:\n\n");
        check(" a", "event: data\ndata:  a\n\n");
    }
}
