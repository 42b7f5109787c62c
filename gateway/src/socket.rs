//! A WebSocket as this node speaks it: nothing oversized, unmasked, endless or half-dead gets through.
//!
//! The library below parses frames and takes off their masks; the rest is ours, because measurement showed that it
//! takes unmasked frames from clients, long control frames and messages without end, and that its futures lose bytes
//! when they are dropped. So a connection has one future that reads and one that writes, for its whole life.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{Buf, Bytes, BytesMut};
use fastwebsockets::{OpCode, Payload, Role, WebSocket, WebSocketError, upgrade};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use protocol::version::SUBPROTOCOL_JSON;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::admission::{Close, CloseCode};
use crate::inbound::Inbound;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::patience::Patient;

/// RFC 6455, 5.5.
const CONTROL_BYTES: usize = 125;
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

/// Waits for the upgrade and takes the connection out of the HTTP server, with what that had read too far.
pub(crate) async fn open(connection: OnUpgrade, limits: &Limits, inbound: &Inbound) -> Option<(Incoming, Outgoing)> {
    let upgraded = timeout(limits.header_time, connection).await.ok()?.ok()?;
    let parts = auto::upgrade::downcast::<TokioIo<Patient>>(upgraded).ok()?;
    let (read, write) = parts.io.into_inner().into_inner().into_split();
    let partial = Partial::new(inbound.hold(), limits.message_time);
    Some((Incoming::new(ReadSide::new(parts.read_buf, read, partial), limits), Outgoing::new(write, limits)))
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

/// Why nothing more comes in.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The peer is gone without a goodbye.
    Gone,
    /// The peer broke the rules.
    Refused(Close),
}

impl Broken {
    pub(crate) fn refused(code: CloseCode, reason: &str) -> Self {
        Self::Refused(Close::new(code, reason))
    }
}

/// The reading half. [`Incoming::next`] must be polled to its end: dropping it half-way loses bytes.
pub(crate) struct Incoming {
    frames: WebSocket<ReadSide>,
    assembler: Assembler,
    partial: Partial,
}

impl Incoming {
    fn new(side: ReadSide, limits: &Limits) -> Self {
        let partial = side.partial.clone();
        let mut frames = WebSocket::after_handshake(side, Role::Server);
        // Answers are the writing half's affair.
        frames.set_auto_close(false);
        frames.set_auto_pong(false);
        frames.set_max_message_size(limits.message_bytes + 1);
        Self { frames, assembler: Assembler::new(limits.message_bytes, limits.fragments), partial }
    }

    /// The next whole message.
    pub(crate) async fn next(&mut self) -> Result<Message, Broken> {
        loop {
            let read = self.frames.read_frame().await;
            let mut frame = read.map_err(|error| self.partial.broken().unwrap_or_else(|| broken(&error)))?;
            if !is_masked(&mut frame) {
                return Err(Broken::refused(CloseCode::ProtocolError, "a client's frames must be masked"));
            }
            let payload = shared(frame.payload);
            let message = match frame.opcode {
                OpCode::Ping | OpCode::Pong | OpCode::Close => Some(control(frame.opcode, payload)?),
                OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                    self.assembler.add(Piece { opcode: frame.opcode, last: frame.fin, payload })?
                }
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
    pub(crate) async fn exhaust(self, limits: &Limits) {
        let mut side = self.frames.into_inner();
        let mut sink = vec![0_u8; 4096];
        let until = Instant::now() + limits.linger_time;
        let mut left = limits.message_bytes.saturating_mul(8);
        while left > 0 {
            match timeout_at(until, side.read(&mut sink)).await {
                Ok(Ok(count @ 1..)) => left = left.saturating_sub(count),
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    }
}

fn broken(error: &WebSocketError) -> Broken {
    match error {
        WebSocketError::ReservedBitsNotZero => Broken::refused(CloseCode::ProtocolError, "a reserved bit is set"),
        WebSocketError::InvalidValue => Broken::refused(CloseCode::ProtocolError, "unknown opcode"),
        WebSocketError::ControlFrameFragmented => Broken::refused(CloseCode::ProtocolError, "a control frame in parts"),
        WebSocketError::PingFrameTooLarge => Broken::refused(CloseCode::ProtocolError, "a ping over 125 bytes"),
        WebSocketError::FrameTooLarge => Broken::refused(CloseCode::TooBig, "the message is too large"),
        WebSocketError::InvalidUTF8 => Broken::refused(CloseCode::NotUtf8, "text is not UTF-8"),
        // The others come from parts of the library that are not used here, or mean that the connection is gone.
        WebSocketError::InvalidFragment
        | WebSocketError::InvalidContinuationFrame
        | WebSocketError::InvalidStatusCode(_)
        | WebSocketError::InvalidUpgradeHeader
        | WebSocketError::InvalidConnectionHeader
        | WebSocketError::ConnectionClosed
        | WebSocketError::InvalidCloseFrame
        | WebSocketError::InvalidCloseCode
        | WebSocketError::UnexpectedEOF
        | WebSocketError::InvalidSecWebsocketVersion
        | WebSocketError::MissingSecWebSocketKey
        | WebSocketError::IoError(_)
        | WebSocketError::HTTPError(_) => Broken::Gone,
    }
}

/// The library keeps a frame's mask to itself, except in the head it would write again.
fn is_masked(frame: &mut fastwebsockets::Frame<'_>) -> bool {
    let mut head = [0; 16];
    frame.fmt_head(&mut head);
    head[1] & 0x80 != 0
}

fn shared(payload: Payload<'_>) -> Bytes {
    match payload {
        Payload::Bytes(bytes) => bytes.freeze(),
        Payload::Owned(bytes) => bytes.into(),
        Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        Payload::BorrowedMut(bytes) => Bytes::copy_from_slice(bytes),
    }
}

fn control(opcode: OpCode, payload: Bytes) -> Result<Message, Broken> {
    if payload.len() > CONTROL_BYTES {
        return Err(Broken::refused(CloseCode::ProtocolError, "a control frame over 125 bytes"));
    }
    match opcode {
        OpCode::Ping => Ok(Message::Ping(payload)),
        OpCode::Close => goodbye(&payload),
        OpCode::Pong | OpCode::Text | OpCode::Binary | OpCode::Continuation => Ok(Message::Pong),
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

/// A data frame on its way into a message.
struct Piece {
    opcode: OpCode,
    last: bool,
    payload: Bytes,
}

/// Puts fragments together, within bounds.
#[derive(Debug)]
struct Assembler {
    max_bytes: usize,
    max_fragments: usize,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    text: bool,
    fragments: usize,
    bytes: BytesMut,
}

impl Assembler {
    const fn new(max_bytes: usize, max_fragments: usize) -> Self {
        Self { max_bytes, max_fragments, started: None }
    }

    fn add(&mut self, piece: Piece) -> Result<Option<Message>, Broken> {
        match (self.started.take(), piece.opcode == OpCode::Continuation) {
            (None, false) if piece.last => message(piece.opcode == OpCode::Text, piece.payload).map(Some),
            (None, false) => {
                let bytes = BytesMut::from(piece.payload);
                self.started = Some(Started { text: piece.opcode == OpCode::Text, fragments: 1, bytes });
                Ok(None)
            }
            (Some(started), true) => self.grow(started, &piece),
            (None, true) => Err(Broken::refused(CloseCode::ProtocolError, "a fragment continues nothing")),
            (Some(_), false) => Err(Broken::refused(CloseCode::ProtocolError, "a message inside of another")),
        }
    }

    fn grow(&mut self, mut started: Started, piece: &Piece) -> Result<Option<Message>, Broken> {
        started.fragments += 1;
        if started.fragments > self.max_fragments || started.bytes.len() + piece.payload.len() > self.max_bytes {
            return Err(Broken::refused(CloseCode::TooBig, "the message is too large or in too many fragments"));
        }
        started.bytes.extend_from_slice(&piece.payload);
        if piece.last {
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
}

impl Outgoing {
    fn new(half: OwnedWriteHalf, limits: &Limits) -> Self {
        Self { half, stuck: limits.stuck_time, flush: limits.flush_time }
    }

    /// Writes all of it, or says why not. A peer that takes a little now and then has `flush` for a buffer.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        let until = Instant::now() + self.flush;
        while !bytes.is_empty() {
            let deadline = until.min(Instant::now() + self.stuck);
            match timeout_at(deadline, self.half.write(bytes)).await {
                Ok(Ok(0) | Err(_)) => return Err(Stopped::Gone),
                Ok(Ok(taken)) => bytes = &bytes[taken..],
                Err(_) => return Err(Stopped::Stuck),
            }
        }
        Ok(())
    }

    /// Nothing more will be written.
    pub(crate) async fn finish(&mut self) {
        // A peer that is gone already is as finished as can be.
        let _ = self.half.shutdown().await;
    }
}

/// What the library reads from: first what the HTTP server had read too far, then the connection.
struct ReadSide {
    early: Bytes,
    half: OwnedReadHalf,
    partial: Partial,
}

impl ReadSide {
    fn new(early: Bytes, half: OwnedReadHalf, partial: Partial) -> Self {
        let mut side = Self { early, half, partial };
        side.let_go();
        side
    }

    /// Nothing of the HTTP server's buffer still keeps all of it, which is more than an idle socket should cost.
    fn let_go(&mut self) {
        if self.early.is_empty() {
            self.early = Bytes::new();
        }
    }
}

impl AsyncRead for ReadSide {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let before = buf.filled().len();
            return match Pin::new(&mut self.half).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => Poll::Ready(self.partial.grew(buf.filled().len() - before)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => self.partial.poll_late(cx).map(Err),
            };
        }
        let count = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..count]);
        self.early.advance(count);
        self.let_go();
        Poll::Ready(Ok(()))
    }
}

/// The library wants one stream for both directions, but is told never to write.
impl AsyncWrite for ReadSide {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
