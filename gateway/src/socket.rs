//! A WebSocket as this node speaks it: nothing oversized, unmasked, endless or half-dead gets through.
//!
//! The library answers the handshake; frames are read by ourselves, because it takes unmasked ones from clients, long
//! control frames and messages without end, and keeps the room of the largest message as long as the socket lives. A
//! connection has one future that reads and one that writes, for its whole life: a read that is dropped half-way loses
//! bytes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use fastwebsockets::upgrade;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use protocol::version::SUBPROTOCOL_JSON;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, timeout, timeout_at};

use crate::admission::CloseCode;
use crate::budget::{Budget, Full, Share, unusual};
use crate::frame_reader::{Frame, FrameReader, Opcode, too_large};
use crate::inbound::Connection;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::patience::Patient;

pub(crate) use crate::frame_reader::Broken;

/// What a goodbye without a code is answered with: all is well.
const NO_CODE: u16 = 1000;

/// Why a request does not become a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeError {
    NotAnUpgrade,
    /// The client speaks only subprotocols that this node does not.
    Subprotocol,
}

/// The answer to an upgrade request, and the future of its connection.
pub(crate) fn handshake(request: &mut Request) -> Result<(Response, OnUpgrade), HandshakeError> {
    if !upgrade::is_upgrade_request(request) {
        return Err(HandshakeError::NotAnUpgrade);
    }
    let offered = offers_subprotocol(request.headers())?;
    let connection = hyper::upgrade::on(&mut *request);
    let (response, _) = upgrade::upgrade(request).map_err(|_| HandshakeError::NotAnUpgrade)?;
    let mut response = response.map(axum::body::Body::new);
    if offered {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL_JSON));
    }
    Ok((response, connection))
}

/// Whether ours is among those offered; a client that offers none gets JSON as well.
fn offers_subprotocol(headers: &HeaderMap) -> Result<bool, HandshakeError> {
    let mut offered = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .peekable();
    match (offered.peek().is_none(), offered.any(|name| name == SUBPROTOCOL_JSON)) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        (false, false) => Err(HandshakeError::Subprotocol),
    }
}

/// Waits for the upgrade and takes the connection out of the HTTP server, with what that had read too far. What comes in
/// is counted in `inbound`, what the peer has still to take in `outbound`.
pub(crate) async fn open(
    connection: OnUpgrade,
    limits: &Limits,
    inbound: &Connection,
    outbound: &Arc<Budget>,
) -> Option<(Incoming, Outgoing)> {
    let upgraded = timeout(limits.header_time, connection).await.ok()?.ok()?;
    let parts = auto::upgrade::downcast::<TokioIo<Patient>>(upgraded).ok()?;
    let (read, write) = parts.io.into_inner().into_inner().into_split();
    let partial = Partial::new(inbound.clone(), limits);
    let frames = FrameReader::new(parts.read_buf, read, partial.clone(), limits.message_bytes);
    let assembler = Assembler::new(limits.message_bytes, limits.fragments);
    Some((Incoming { frames, assembler, partial }, Outgoing::new(write, limits, outbound.share())))
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Message {
    Text(Bytes),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    /// The peer says goodbye, with this code.
    Close(u16),
}

/// The reading half. [`Incoming::next`] must be polled to its end: dropping it half-way loses bytes.
pub(crate) struct Incoming {
    frames: FrameReader,
    assembler: Assembler,
    partial: Partial,
}

impl Incoming {
    /// The next whole message.
    pub(crate) async fn next(&mut self) -> Result<Message, Broken> {
        loop {
            let frame = match self.frames.next(self.assembler.bytes()).await {
                Ok(frame) => frame,
                // Reading may have been ended on our side.
                Err(Broken::Gone) => return Err(self.partial.broken().unwrap_or(Broken::Gone)),
                Err(refused @ Broken::Refused(_)) => return Err(refused),
            };
            let message = match frame.opcode {
                Opcode::Ping | Opcode::Pong | Opcode::Close => Some(control(frame.opcode, frame.payload.freeze())?),
                Opcode::Text | Opcode::Binary | Opcode::Continuation => self.assembler.add(frame)?,
            };
            if self.assembler.started.is_none() {
                self.partial.clear();
            }
            if let Some(message) = message {
                return Ok(message);
            }
        }
    }

    /// Reads and forgets until the peer ends, so that its last bytes do not reset the connection under our close frame.
    /// A peer that goes on and on is not worth it.
    pub(crate) async fn exhaust(mut self, limits: &Limits) {
        let mut sink = vec![0_u8; 4096];
        let until = Instant::now() + limits.linger_time;
        let mut left = limits.message_bytes.saturating_mul(8);
        while left > 0 {
            match timeout_at(until, self.frames.read(&mut sink)).await {
                Ok(Ok(count @ 1..)) => left = left.saturating_sub(count),
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    }
}

fn control(opcode: Opcode, payload: Bytes) -> Result<Message, Broken> {
    match opcode {
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Close => goodbye(&payload),
        Opcode::Pong | Opcode::Text | Opcode::Binary | Opcode::Continuation => Ok(Message::Pong),
    }
}

/// A close frame is empty, or a code that may be sent and a reason in UTF-8.
fn goodbye(payload: &[u8]) -> Result<Message, Broken> {
    match payload {
        [] => Ok(Message::Close(NO_CODE)),
        [_] => Err(Broken::refused(CloseCode::ProtocolError, "half a close code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Broken::refused(CloseCode::ProtocolError, "a close code that may not be sent"));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(Broken::refused(CloseCode::NotUtf8, "a close reason is not UTF-8"));
            }
            Ok(Message::Close(code))
        }
    }
}

/// Puts fragments together, within bounds.
#[derive(Debug)]
struct Assembler {
    most_bytes: usize,
    most_fragments: usize,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    text: bool,
    fragments: usize,
    bytes: BytesMut,
}

impl Assembler {
    const fn new(most_bytes: usize, most_fragments: usize) -> Self {
        Self { most_bytes, most_fragments, started: None }
    }

    /// What has come of a message that is not whole.
    fn bytes(&self) -> usize {
        self.started.as_ref().map_or(0, |started| started.bytes.len())
    }

    fn add(&mut self, frame: Frame) -> Result<Option<Message>, Broken> {
        let Frame { opcode, last, payload } = frame;
        match (self.started.take(), opcode == Opcode::Continuation) {
            (None, false) if last => message(opcode == Opcode::Text, payload.freeze()).map(Some),
            (None, false) => {
                // A copy: a piece of the reader's buffer would keep all of that.
                self.started = Some(Started { text: opcode == Opcode::Text, fragments: 1, bytes: payload[..].into() });
                Ok(None)
            }
            (Some(started), true) => self.grow(started, &payload, last),
            (None, true) => Err(Broken::refused(CloseCode::ProtocolError, "a fragment continues nothing")),
            (Some(_), false) => Err(Broken::refused(CloseCode::ProtocolError, "a message inside of another")),
        }
    }

    fn grow(&mut self, mut started: Started, piece: &[u8], last: bool) -> Result<Option<Message>, Broken> {
        started.fragments += 1;
        if started.fragments > self.most_fragments {
            let reason = format!("a message has at most {} fragments", self.most_fragments);
            return Err(Broken::refused(CloseCode::TooBig, reason));
        }
        if started.bytes.len() + piece.len() > self.most_bytes {
            return Err(too_large(self.most_bytes));
        }
        started.bytes.extend_from_slice(piece);
        if last {
            return message(started.text, started.bytes.freeze()).map(Some);
        }
        self.started = Some(started);
        Ok(None)
    }
}

fn message(text: bool, bytes: Bytes) -> Result<Message, Broken> {
    match (text, std::str::from_utf8(&bytes)) {
        (true, Ok(_)) => Ok(Message::Text(bytes)),
        (true, Err(_)) => Err(Broken::refused(CloseCode::NotUtf8, "text is not UTF-8")),
        (false, _) => Ok(Message::Binary(bytes)),
    }
}

/// Why nothing more goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Gone,
    /// The peer does not take what it asked for.
    Stuck,
}

/// The writing half: whole buffers of frames, one system call for many.
#[derive(Debug)]
pub(crate) struct Outgoing {
    half: OwnedWriteHalf,
    stuck: Duration,
    flush: Duration,
    pressed: Duration,
    /// What the peer has still to take.
    share: Share,
}

impl Outgoing {
    const fn new(half: OwnedWriteHalf, limits: &Limits, share: Share) -> Self {
        let Limits { stuck_time, flush_time, pressed_time, .. } = *limits;
        Self { half, stuck: stuck_time, flush: flush_time, pressed: pressed_time, share }
    }

    /// Writes all of it, or says why not. A peer that takes a little now and then has `flush` for a buffer; one that
    /// the node has no memory for has to take it at once, or nearly. `behind` it the connection holds so many bytes
    /// more, which wait for this.
    pub(crate) async fn write(&mut self, mut bytes: &[u8], behind: usize) -> Result<(), Stopped> {
        let (stuck, flush) = match self.share.set(unusual(bytes.len() + behind)) {
            Ok(()) => (self.stuck, self.flush),
            Err(Full) => (self.pressed.min(self.stuck), self.pressed.min(self.flush)),
        };
        let until = Instant::now() + flush;
        while !bytes.is_empty() {
            let deadline = until.min(Instant::now() + stuck);
            match timeout_at(deadline, self.half.write(bytes)).await {
                Ok(Ok(0) | Err(_)) => return Err(Stopped::Gone),
                Ok(Ok(taken)) => bytes = &bytes[taken..],
                Err(_) => return Err(Stopped::Stuck),
            }
        }
        self.share.clear();
        Ok(())
    }

    /// Nothing more will be written.
    pub(crate) async fn finish(&mut self) {
        // A peer that is gone already is as finished as can be.
        let _ = self.half.shutdown().await;
    }
}
