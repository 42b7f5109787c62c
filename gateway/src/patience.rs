//! A connection that does not wait for ever for its peer to take something.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::Limits;

/// A TCP stream whose writes fail once the peer has taken nothing for a while, or very little for a longer while. HTTP
/// has no such bound of its own, and the reader of an event stream may be a browser's page that nobody looks at any more.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: TcpStream,
    stuck_time: Duration,
    flush_time: Duration,
    flush_bytes: usize,
    /// Runs while the peer takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
    /// While there is more than the peer takes at once.
    behind: Option<Behind>,
}

/// What a peer has taken since.
#[derive(Debug)]
struct Behind {
    since: Instant,
    bytes: usize,
}

impl Patient {
    pub(crate) const fn new(stream: TcpStream, limits: &Limits) -> Self {
        let Limits { stuck_time, flush_time, flush_bytes, .. } = *limits;
        Self { stream, stuck_time, flush_time, flush_bytes, stuck: None, behind: None }
    }

    /// The stream itself, for whoever keeps time on their own.
    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Passes on what a write came to, unless it has been pending for too long.
    fn within(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.stuck = None;
            return Poll::Ready(written.and_then(|bytes| self.took(bytes)));
        }
        self.behind.get_or_insert_with(|| Behind { since: Instant::now(), bytes: 0 });
        let patience = self.stuck_time;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stuck.as_mut().poll(cx));
        // Should anyone try again, it fails again.
        stuck.as_mut().reset(Instant::now());
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The peer took so much; `Err`: that was too little for too long.
    fn took(&mut self, bytes: usize) -> io::Result<usize> {
        if let Some(behind) = &mut self.behind {
            behind.bytes = behind.bytes.saturating_add(bytes);
            let now = Instant::now();
            if now.duration_since(behind.since) > self.flush_time {
                if behind.bytes < self.flush_bytes {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                *behind = Behind { since: now, bytes: 0 };
            }
        }
        Ok(bytes)
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.within(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for when all there is was written.
        self.behind = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
