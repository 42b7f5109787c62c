//! Streams over HTTP, in the Durable Streams protocol: create, append, look at, read. To follow one, subscribe.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use types::{Cursor, ProducerId, StreamName, StreamStart};

use super::request::{Answer, with_wait};
use crate::client::Client;
use crate::error::Error;

const JSON: &str = "application/json";

/// A stream as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// Behind its last event.
    pub end: Cursor,
    /// Nothing can be appended any more.
    pub closed: bool,
    pub content_type: String,
}

/// What to append over HTTP, in one request: all or nothing.
#[derive(Clone, Debug)]
pub struct Appending {
    pub body: Bytes,
    /// As the stream was created with; of JSON an array is one event for each of its elements.
    pub content_type: String,
    /// Close the stream behind it.
    pub close: bool,
    /// Numbers the request, so that a repeat of it is recognised.
    pub producer: Option<Stamp>,
}

/// A request's place among those of one producer on one stream: `seq` is dense from 0 within an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub id: ProducerId,
    pub epoch: u64,
    pub seq: u64,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedAt {
    /// The cursor behind it; of a repeat, the stream's end.
    pub end: Cursor,
    /// The request had been taken before.
    pub duplicate: bool,
}

/// Events of a stream, as much as the node gives at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// A JSON array; of another content type the bytes, one event after the other.
    pub body: Bytes,
    /// Read on from here.
    pub next: Cursor,
    /// `next` was the stream's end.
    pub up_to_date: bool,
    /// And nothing will follow.
    pub closed: bool,
}

impl Appending {
    /// JSON as it stands.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), content_type: JSON.to_owned(), close: false, producer: None }
    }
}

impl Client {
    /// Creates a stream; `true`: it was not there before. Of `content_type: None` its events are JSON.
    pub async fn create_stream(&self, stream: &StreamName, content_type: Option<&str>) -> Result<bool, Error> {
        let request = self.ask(Method::PUT, path(stream)).header(CONTENT_TYPE, content_type.unwrap_or(JSON));
        self.answer(request).await.map(|answer| answer.status == StatusCode::CREATED)
    }

    /// Appends in one request and returns the cursor behind it. After [`Error::Unanswered`] ask before trying again; a
    /// producer does that by itself.
    pub async fn append(&self, stream: &StreamName, appending: Appending) -> Result<Cursor, Error> {
        self.append_once(stream, appending).await.map(|appended| appended.end)
    }

    /// The same, and says whether it was a repeat.
    pub async fn append_once(&self, stream: &StreamName, appending: Appending) -> Result<AppendedAt, Error> {
        let mut request = self.ask(Method::POST, path(stream)).header(CONTENT_TYPE, appending.content_type);
        if appending.close {
            request = request.header("stream-closed", "true");
        }
        let numbered = appending.producer.is_some();
        if let Some(Stamp { id, epoch, seq }) = appending.producer {
            request = request.header("producer-id", id.as_str());
            request = request.header("producer-epoch", epoch.to_string()).header("producer-seq", seq.to_string());
        }
        let answer = self.answer(request.body(appending.body)).await?;
        // With a number the protocol answers 200 to what is new and 204 to a repeat.
        let duplicate = numbered && answer.status == StatusCode::NO_CONTENT;
        Ok(AppendedAt { end: answer.header("stream-next-offset")?, duplicate })
    }

    pub async fn stream(&self, stream: &StreamName) -> Result<StreamState, Error> {
        let answer = self.answer(self.ask(Method::HEAD, path(stream))).await?;
        let content_type = answer.header("content-type")?;
        Ok(StreamState {
            end: answer.header("stream-next-offset")?,
            closed: answer.says("stream-closed"),
            content_type,
        })
    }

    /// Reads what is there from `from` on; `wait`: waits for the first event when there is none yet.
    pub async fn read_stream(&self, stream: &StreamName, from: StreamStart, wait: bool) -> Result<Page, Error> {
        let mut url = self.endpoint.resource(path(stream));
        url.query_pairs_mut().append_pair("offset", &from.to_string());
        if wait {
            url.query_pairs_mut().append_pair("live", "long-poll");
        }
        page(&self.answer(with_wait(self.http.get(url), LONG_POLL)).await?)
    }

    /// Holds the stream's events from `at` on back from being dropped, while `reader` is at most `max_lag` events behind.
    /// Pin again to move on. [`Code::Trimmed`](crate::Code): it was too late, or too far behind.
    pub async fn pin(&self, stream: &StreamName, reader: &str, at: Cursor, max_lag: u64) -> Result<(), Error> {
        let body = serde_json::json!({ "cursor": at, "max_lag": max_lag }).to_string();
        let request = self.ask(Method::PUT, pin_path(stream, reader)).header(CONTENT_TYPE, JSON);
        self.answer(request.body(body)).await.map(drop)
    }

    /// Lets go of a pin.
    pub async fn unpin(&self, stream: &StreamName, reader: &str) -> Result<(), Error> {
        self.answer(self.ask(Method::DELETE, pin_path(stream, reader))).await.map(drop)
    }

    pub async fn delete_stream(&self, stream: &StreamName) -> Result<(), Error> {
        self.answer(self.ask(Method::DELETE, path(stream))).await.map(drop)
    }
}

/// The node's own bound for a long poll.
const LONG_POLL: Duration = Duration::from_secs(20);

fn pin_path<'a>(stream: &'a StreamName, reader: &'a str) -> impl Iterator<Item = &'a str> {
    ["pins", reader].into_iter().chain(stream.as_str().split('/'))
}

fn path(stream: &StreamName) -> impl Iterator<Item = &str> {
    std::iter::once("streams").chain(stream.as_str().split('/'))
}

fn page(answer: &Answer) -> Result<Page, Error> {
    Ok(Page {
        body: answer.body.clone(),
        next: answer.header("stream-next-offset")?,
        up_to_date: answer.says("stream-up-to-date"),
        closed: answer.says("stream-closed"),
    })
}
