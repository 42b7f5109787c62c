//! Decides where a subscription goes on. Pure: a cursor and the stream's bounds in, a plan out.

use types::{Code, Cursor, Offset, StreamStart};

use crate::backend::StreamInfo;

/// What a subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It stands at the end: only what comes.
    Live { at: Cursor },
    /// What it missed, then what comes.
    Replay { from: Cursor, to: Offset },
    /// What it asks for cannot be given; it goes on at the oldest event kept, and is told why.
    Gap { from: Cursor, to: Cursor, reason: Code },
}

impl Plan {
    /// Where delivery starts.
    pub(crate) const fn position(&self) -> Cursor {
        match *self {
            Self::Live { at } => at,
            Self::Replay { from, .. } => from,
            Self::Gap { to, .. } => to,
        }
    }

    /// A gap of events that are no longer there, for the reason that a read gave.
    pub(crate) const fn because(self, code: Code) -> Self {
        match self {
            Self::Gap { from, to, reason: Code::Trimmed } => Self::Gap { from, to, reason: code },
            Self::Gap { .. } | Self::Live { .. } | Self::Replay { .. } => self,
        }
    }

    /// For the metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Live { .. } => "live",
            Self::Replay { .. } => "replay",
            Self::Gap { reason, .. } => reason.as_str(),
        }
    }
}

/// The cursor of an offset in the stream's present life.
pub(crate) const fn cursor(info: &StreamInfo, next: Offset) -> Cursor {
    Cursor { history: info.history, incarnation: info.incarnation, next }
}

/// Where to start, and whether anything is missing before that.
pub(crate) fn plan(start: StreamStart, info: &StreamInfo) -> Plan {
    match start {
        StreamStart::Begin => from_good(cursor(info, info.low), info),
        StreamStart::Now => Plan::Live { at: cursor(info, info.head) },
        StreamStart::At(from) => match fault(from, info) {
            None => from_good(from, info),
            Some(reason) => Plan::Gap { from, to: cursor(info, info.low), reason },
        },
    }
}

fn from_good(from: Cursor, info: &StreamInfo) -> Plan {
    if from.next == info.head { Plan::Live { at: from } } else { Plan::Replay { from, to: info.head } }
}

/// Why nothing can be served at this cursor.
fn fault(from: Cursor, info: &StreamInfo) -> Option<Code> {
    if from.history != info.history {
        Some(Code::OtherHistory)
    } else if from.incarnation != info.incarnation {
        Some(Code::OtherStream)
    } else if from.next < info.low {
        Some(Code::Trimmed)
    } else if from.next > info.head {
        Some(Code::LogTruncated)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use types::{History, Incarnation, Position};

    use super::*;

    const LOW: u64 = 3;
    const HEAD: u64 = 20;

    fn info() -> StreamInfo {
        StreamInfo {
            history: History::new(7),
            incarnation: Incarnation::at(Position::new(42)),
            low: Offset::new(LOW),
            head: Offset::new(HEAD),
            closed: false,
            content_type: None,
        }
    }

    fn at(next: u64) -> Cursor {
        cursor(&info(), Offset::new(next))
    }

    fn check(start: StreamStart, expect: Plan) {
        assert_eq!(plan(start, &info()), expect, "{start}");
    }

    fn check_gap(from: Cursor, reason: Code) {
        check(StreamStart::At(from), Plan::Gap { from, to: at(LOW), reason });
    }

    #[test]
    fn a_good_cursor_is_replayed_to_the_end() {
        for next in [LOW, LOW + 1, HEAD - 1] {
            check(StreamStart::At(at(next)), Plan::Replay { from: at(next), to: Offset::new(HEAD) });
        }
    }

    #[test]
    fn a_cursor_at_the_end_is_live() {
        check(StreamStart::At(at(HEAD)), Plan::Live { at: at(HEAD) });
    }

    #[test]
    fn the_beginning_is_the_oldest_event_kept_and_no_gap() {
        check(StreamStart::Begin, Plan::Replay { from: at(LOW), to: Offset::new(HEAD) });
        let empty = StreamInfo { low: Offset::ZERO, head: Offset::ZERO, ..info() };
        assert_eq!(plan(StreamStart::Begin, &empty), Plan::Live { at: at(0) });
    }

    #[test]
    fn now_is_the_end() {
        check(StreamStart::Now, Plan::Live { at: at(HEAD) });
    }

    #[test]
    fn a_trimmed_cursor_goes_on_where_the_stream_begins() {
        check_gap(at(LOW - 1), Code::Trimmed);
        check_gap(at(0), Code::Trimmed);
    }

    #[test]
    fn a_cursor_beyond_the_end_is_never_served_as_if_nothing_were_missing() {
        check_gap(at(HEAD + 1), Code::LogTruncated);
        check_gap(at(u64::MAX), Code::LogTruncated);
    }

    #[test]
    fn a_cursor_of_another_history_is_refused_even_where_its_offset_exists() {
        check_gap(Cursor { history: History::new(8), ..at(10) }, Code::OtherHistory);
    }

    #[test]
    fn a_cursor_of_another_life_of_the_stream_is_refused_even_where_its_offset_exists() {
        check_gap(Cursor { incarnation: Incarnation::at(Position::new(41)), ..at(10) }, Code::OtherStream);
    }

    #[test]
    fn garbage_is_no_cursor() {
        for text in ["", "17", "latest", "-1", "0000000700000000_000000000000000a "] {
            assert!(text.parse::<StreamStart>().is_err(), "{text:?}");
        }
    }
}
