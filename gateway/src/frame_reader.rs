//! Frames as they come in (RFC 6455, 5.2): bounded and unmasked. Knows no messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

use crate::admission::{Close, CloseCode};
use crate::partial::Partial;

/// RFC 6455, 5.5.
const CONTROL_BYTES: u64 = 125;
/// What is read at a time where nothing larger was announced: some dozens of usual frames.
const BUFFER_BYTES: usize = 8 * 1024;
/// Room for a large frame grows by this at least, with what has come and not with what was promised.
const STEP_BYTES: usize = 16 * 1024;

/// Why nothing more comes in.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The peer is gone without a goodbye.
    Gone,
    /// The peer broke the rules, or asks for more than there is.
    Refused(Close),
}

impl Broken {
    pub(crate) fn refused(code: CloseCode, reason: impl Into<String>) -> Self {
        Self::Refused(Close::new(code, reason))
    }
}

/// How a connection that ended, in whatever way, looks from here.
impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    /// The last fragment of its message.
    pub(crate) last: bool,
    pub(crate) payload: BytesMut,
}

/// What stands before a frame's payload.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    opcode: Opcode,
    last: bool,
    length: u64,
    mask: [u8; 4],
}

impl Head {
    /// A head and how long it is; `None`: more of it has to come.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Broken> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let broken = |reason: &str| Err(Broken::refused(CloseCode::ProtocolError, reason));
        if first & 0x70 != 0 {
            return broken("a reserved bit is set");
        }
        let opcode = match first & 0x0f {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return broken("unknown opcode"),
        };
        let last = first & 0x80 != 0;
        if opcode.is_control() && !last {
            return broken("a control frame in parts");
        }
        if second & 0x80 == 0 {
            return broken("a client's frames must be masked");
        }
        let (length, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        if opcode.is_control() && length > CONTROL_BYTES {
            return broken("a control frame over 125 bytes");
        }
        let Some((&mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some((Self { opcode, last, length, mask }, bytes.len() - rest.len())))
    }
}

/// The reading half of a connection.
pub(crate) struct FrameReader {
    side: ReadSide,
    /// What was read and belongs to no frame yet.
    buffer: BytesMut,
    /// Of a message.
    most_bytes: usize,
}

impl FrameReader {
    /// `early` is what the HTTP server had read too far; `partial` counts what comes.
    pub(crate) fn new(early: Bytes, half: OwnedReadHalf, partial: Partial, most_bytes: usize) -> Self {
        Self { side: ReadSide::new(early, half, partial), buffer: BytesMut::with_capacity(BUFFER_BYTES), most_bytes }
    }

    /// The next frame, of a message that has so many bytes already. Must be polled to its end: dropping it half-way
    /// loses bytes.
    pub(crate) async fn next(&mut self, before: usize) -> Result<Frame, Broken> {
        let Head { opcode, last, length, mask } = self.head().await?;
        let most = if opcode.is_control() { self.most_bytes } else { self.most_bytes.saturating_sub(before) };
        let length = usize::try_from(length).ok().filter(|length| *length <= most);
        let length = length.ok_or_else(|| too_large(self.most_bytes))?;
        let mut payload = if length > self.buffer.len() {
            self.rest(length, before).await?
        } else {
            if before > 0 && !opcode.is_control() {
                self.side.partial.room(before + length).await?;
            }
            self.buffer.split_to(length)
        };
        unmask(&mut payload, mask);
        Ok(Frame { opcode, last, payload })
    }

    async fn head(&mut self) -> Result<Head, Broken> {
        loop {
            if let Some((head, bytes)) = Head::parse(&self.buffer)? {
                self.buffer.advance(bytes);
                return Ok(head);
            }
            // A piece of a head at most is left, so this is a new start for what was read before.
            self.buffer.reserve(BUFFER_BYTES - self.buffer.len());
            if self.side.read_buf(&mut self.buffer).await? == 0 {
                return Err(Broken::Gone);
            }
        }
    }

    /// A payload that is not here yet, in memory of its own, so that nothing of it stays when it is gone. While the node
    /// has no memory for more of it nothing is read.
    async fn rest(&mut self, length: usize, before: usize) -> Result<BytesMut, Broken> {
        let mut room = length.min(self.buffer.len().max(STEP_BYTES));
        self.side.partial.room(before + room).await?;
        let mut payload = BytesMut::with_capacity(room);
        payload.extend_from_slice(&self.buffer);
        self.buffer.clear();
        while payload.len() < length {
            if payload.len() == room {
                let more = room.min(length - room);
                self.side.partial.room(before + room + more).await?;
                payload.reserve(more);
                room += more;
            }
            let left = room - payload.len();
            if self.side.read_buf(&mut (&mut payload).limit(left)).await? == 0 {
                return Err(Broken::Gone);
            }
        }
        Ok(payload)
    }

    /// What is still to come, as it comes.
    pub(crate) async fn read(&mut self, sink: &mut [u8]) -> io::Result<usize> {
        self.side.read(sink).await
    }
}

pub(crate) fn too_large(most_bytes: usize) -> Broken {
    Broken::refused(CloseCode::TooBig, format!("a message has at most {most_bytes} bytes"))
}

/// RFC 6455, 5.3, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let once = u32::from_ne_bytes(mask);
    let wide = u64::from(once) << 32 | u64::from(once);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// First what the HTTP server had read too far, then the connection.
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
                Poll::Ready(Ok(())) => {
                    let came = buf.filled().len() - before;
                    if came > 0 {
                        self.partial.grew(came);
                    }
                    Poll::Ready(Ok(()))
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Option<(Head, usize)> {
        Head::parse(bytes).expect("within the rules")
    }

    fn text(length: u64) -> Head {
        Head { opcode: Opcode::Text, last: true, length, mask: [1, 2, 3, 4] }
    }

    #[test]
    fn a_head_is_understood_once_all_of_it_has_come() {
        let heads: [(&[u8], u64); 4] = [
            (&[0x81, 0x85, 1, 2, 3, 4], 5),
            (&[0x81, 0xfe, 1, 0, 1, 2, 3, 4], 256),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 65_536),
            (&[0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4], u64::MAX),
        ];
        for (bytes, length) in heads {
            (0..bytes.len()).for_each(|part| assert_eq!(parse(&bytes[..part]), None, "{part} of {bytes:?}"));
            let followed = [bytes, b"payload"].concat();
            assert_eq!(parse(&followed), Some((text(length), bytes.len())));
        }
    }

    #[test]
    fn every_byte_is_unmasked_with_its_own_byte_of_the_mask() {
        for length in 0..40 {
            let mut payload: Vec<u8> = (0..length).collect();
            unmask(&mut payload, [1, 2, 4, 8]);
            let expect: Vec<_> = (0..length).map(|at| at ^ [1, 2, 4, 8][usize::from(at % 4)]).collect();
            assert_eq!(payload, expect);
        }
    }
}
