//! Who may stay: close codes, and the clock by which a silent peer is told from a dead one.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;

/// Why a socket is closed. 1000 to 1013 are the standard's, 4400 to 4508 mirror HTTP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CloseCode {
    /// The peer said goodbye with this code, and is told the same.
    Echo(u16),
    ProtocolError,
    NotUtf8,
    TooBig,
    Draining,
    /// There is no memory for it now.
    Overloaded,
    BadMessage,
    Late,
    Slow,
}

impl CloseCode {
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Echo(code) => code,
            Self::ProtocolError => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Draining => 1012,
            Self::Overloaded => 1013,
            Self::BadMessage => 4400,
            Self::Late => 4408,
            Self::Slow => 4508,
        }
    }
}

/// The peer's own codes are one kind: nobody else chooses how many kinds there are.
impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo(_) => f.write_str("by_peer"),
            Self::ProtocolError
            | Self::NotUtf8
            | Self::TooBig
            | Self::Draining
            | Self::Overloaded
            | Self::BadMessage
            | Self::Late
            | Self::Slow => self.number().fmt(f),
        }
    }
}

/// A close frame to be sent: the code, and a sentence for the client's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl Close {
    pub(crate) fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// What is due on a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    Close(Close),
}

/// When a peer was last heard, and what it owes: `hello` first, later a sign of life after each ping.
#[derive(Debug)]
pub(crate) struct Liveness {
    owes: Owes,
    heartbeat: Duration,
    pong: Duration,
}

#[derive(Debug)]
enum Owes {
    Hello { until: Instant },
    Nothing { heard: Instant },
    Pong { until: Instant },
}

impl Liveness {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        let owes = Owes::Hello { until: now + limits.hello_time };
        Self { owes, heartbeat: limits.heartbeat_time, pong: limits.pong_time }
    }

    /// `hello` came, or anything after it. Only whole messages count: a byte now and then is no sign of life.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.owes = Owes::Nothing { heard: now };
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Instant {
        match self.owes {
            Owes::Hello { until } | Owes::Pong { until } => until,
            Owes::Nothing { heard } => heard + self.heartbeat,
        }
    }

    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if now < self.next() {
            return Due::Nothing;
        }
        match self.owes {
            Owes::Hello { .. } => Due::Close(Close::new(CloseCode::Late, "hello did not come in time")),
            Owes::Pong { .. } => Due::Close(Close::new(CloseCode::Late, "no sign of life after a ping")),
            Owes::Nothing { .. } => {
                self.owes = Owes::Pong { until: now + self.pong };
                Due::Ping
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_peer_is_pinged_and_then_let_go() {
        let start = Instant::now();
        let mut liveness = Liveness::new(&Limits::default(), start);
        liveness.heard(start);
        assert_eq!(liveness.due(start + seconds(19)), Due::Nothing);
        assert_eq!(liveness.due(start + seconds(20)), Due::Ping);
        assert_eq!(liveness.due(start + seconds(27)), Due::Nothing);
        assert!(matches!(liveness.due(start + seconds(28)), Due::Close(Close { code: CloseCode::Late, .. })));
    }

    #[test]
    fn any_message_is_a_sign_of_life() {
        let start = Instant::now();
        let mut liveness = Liveness::new(&Limits::default(), start);
        liveness.heard(start);
        assert_eq!(liveness.due(start + seconds(20)), Due::Ping);
        liveness.heard(start + seconds(21));
        assert_eq!(liveness.due(start + seconds(30)), Due::Nothing);
        assert_eq!(liveness.next(), start + seconds(41));
    }

    #[test]
    fn a_peer_that_never_says_hello_is_let_go() {
        let start = Instant::now();
        let mut liveness = Liveness::new(&Limits::default(), start);
        assert_eq!(liveness.due(start + seconds(4)), Due::Nothing);
        assert!(matches!(liveness.due(start + seconds(5)), Due::Close(Close { code: CloseCode::Late, .. })));
    }
}
