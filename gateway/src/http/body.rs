//! Reads request bodies within their bounds, and writes JSON answers.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use protocol::json::{MAX_NESTING, is_too_nested};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use types::{Code, Payload, Refusal};

use crate::error::Problem;
use crate::inbound::{self, NoRoom, Pace};
use crate::limits::Limits;

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// How much of a body that is too large is taken in and thrown away, in bodies of the largest size: whoever still sends
/// does not read, and would never learn why the connection broke.
const THROWN_AWAY: usize = 4;
/// What a client waits for whose body found no room.
const PAUSE_MS: u64 = 1000;

/// All of a body, if it is small enough and comes in time.
pub(super) async fn read(body: Body, most: usize, limits: &Limits) -> Result<Bytes, Problem> {
    match take(body, most, limits).await {
        Ok(Taken::All(body)) => Ok(body),
        Ok(Taken::TooLarge) => Err(too_large("the body", most)),
        Ok(Taken::NoRoom(why)) => Err(no_room(why)),
        Ok(Taken::Late) => {
            Err(Problem::bad_request("the body did not arrive in time").status(StatusCode::REQUEST_TIMEOUT))
        }
        Err(error) => Err(Problem::bad_request(format!("the body did not arrive: {error}"))),
    }
}

/// What became of a body.
enum Taken {
    All(Bytes),
    TooLarge,
    NoRoom(NoRoom),
    /// Nothing came for too long, or all together took too long to come.
    Late,
}

/// A body on its way. The time in which the node has no room for more is not the client's.
struct Coming<'a> {
    body: Body,
    limits: &'a Limits,
    left: Duration,
    pace: Option<Pace>,
}

/// What comes next of it.
enum Next {
    Part(Bytes),
    End,
    Late,
    /// Others wait for what it holds, and too little comes.
    Slow,
}

impl<'a> Coming<'a> {
    fn new(body: Body, limits: &'a Limits) -> Self {
        Self { body, limits, left: limits.body_time, pace: inbound::body_pace() }
    }

    async fn next(&mut self) -> Result<Next, axum::Error> {
        let began = Instant::now();
        let late = began + self.limits.progress_time.min(self.left);
        let next = loop {
            let look = self.pace.map_or(late, |pace| pace.over().min(late));
            let now = match timeout_at(look, self.body.frame()).await {
                Ok(None) => break Next::End,
                Ok(Some(frame)) => match frame?.into_data() {
                    Ok(part) => break Next::Part(part),
                    Err(_) => continue,
                },
                Err(_) => Instant::now(),
            };
            if now >= late {
                break Next::Late;
            }
            if self.pace.as_mut().is_some_and(|pace| pace.look(now)) && inbound::body_is_in_the_way() {
                break Next::Slow;
            }
        };
        self.left = self.left.saturating_sub(began.elapsed());
        Ok(next)
    }

    /// Has room for a part that came; waits for it.
    async fn keep(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let asked = Instant::now();
        let grown = inbound::body_grew(bytes).await;
        if let Some(pace) = &mut self.pace {
            pace.brought(bytes);
            pace.paused(asked.elapsed());
        }
        grown
    }
}

async fn take(body: Body, most: usize, limits: &Limits) -> Result<Taken, axum::Error> {
    let (mut parts, mut bytes, mut refused) = (Vec::new(), 0_usize, None);
    let mut coming = Coming::new(body, limits);
    loop {
        match coming.next().await? {
            Next::Part(part) => {
                bytes = bytes.saturating_add(part.len());
                if bytes <= most && refused.is_none() {
                    match coming.keep(part.len()).await {
                        Ok(()) => {
                            parts.push(part);
                            continue;
                        }
                        Err(no_room) => refused = Some(no_room),
                    }
                }
            }
            Next::Slow => refused = Some(NoRoom::Slow),
            Next::Late => return Ok(refused.map_or(Taken::Late, Taken::NoRoom)),
            Next::End => break,
        }
        parts.clear();
        inbound::body_dropped();
        if bytes > most.saturating_mul(THROWN_AWAY) {
            break;
        }
    }
    Ok(match (refused, parts.as_slice()) {
        _ if bytes > most => Taken::TooLarge,
        (Some(no_room), _) => Taken::NoRoom(no_room),
        (None, [one]) => Taken::All(one.clone()),
        (None, parts) => Taken::All(parts.concat().into()),
    })
}

fn no_room(why: NoRoom) -> Problem {
    let message = match why {
        NoRoom::Node => {
            "other requests on their way in take all the memory there is for them: send it again in a moment"
        }
        NoRoom::Connection => {
            "this connection has as much on its way in as one may: send it again when some is answered"
        }
        NoRoom::Slow => {
            "others waited for the memory that this body held, and it came too slowly: send it again in smaller parts, \
             or on a faster connection"
        }
    };
    Refusal::new(Code::Unavailable, message).retry_after_ms(PAUSE_MS).into()
}

pub(super) fn too_large(what: &str, most: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("{what} is over the limit of {most} bytes"))
}

/// The media type, in lower case and without parameters; `None` when none is given.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::bad_request("the content type is not ASCII"))?;
    let media = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(Some(media)),
        _ => Err(Problem::bad_request(format!("{text:?} is not a content type: write it as type/subtype"))),
    }
}

/// A JSON request.
pub(super) async fn json<T: DeserializeOwned>(request: Request, most: usize, limits: &Limits) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    match media_type(&parts.headers)?.as_deref() {
        None | Some(JSON) => {}
        Some(other) => {
            return Err(Problem::new(Code::UnsupportedMediaType, format!("send {JSON}, not {other}")));
        }
    }
    let bytes = read(body, most, limits).await?;
    if is_too_nested(&bytes) {
        return Err(Problem::bad_request(format!("the body nests deeper than {MAX_NESTING} levels")));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}

/// A raw JSON value as a payload, if it is no larger than an event.
pub(super) fn payload(json: Box<RawValue>, what: &str, limits: &Limits) -> Result<Payload, Problem> {
    let text: Box<str> = json.into();
    if text.len() > limits.event_bytes {
        return Err(too_large(what, limits.event_bytes));
    }
    Ok(Payload::json(String::from(text)))
}

/// An answer in JSON.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_string(body).expect("answers have string keys");
    (status, [(CONTENT_TYPE, HeaderValue::from_static(JSON))], text).into_response()
}

/// The same for something that was made, with the path where it now is.
pub(super) fn created(status: StatusCode, path: &str, body: &impl Serialize) -> Response {
    let mut response = answer(status, body);
    let path = HeaderValue::from_str(path).expect("our paths are ASCII");
    response.headers_mut().insert(LOCATION, path);
    response
}

/// How a payload looks inside of an answer: as it is when it is JSON, else wrapped.
pub(super) fn payload_json(payload: &Payload) -> Box<RawValue> {
    use base64::Engine as _;
    let text = match &payload.content_type {
        None => String::from_utf8_lossy(&payload.data).into_owned(),
        Some(content_type) => {
            let base64 = base64::engine::general_purpose::STANDARD.encode(&payload.data);
            serde_json::json!({ "content_type": content_type, "base64": base64 }).to_string()
        }
    };
    // What calls itself JSON was checked where it came in; a reader must not fail for it.
    RawValue::from_string(text).unwrap_or_default()
}
