//! Checks that what arrives follows on what is here. Knows no sockets: frames in, verdicts out.

use protocol::Event;
use types::{Cursor, Offset, StreamStart};

/// Where a subscription stands, and the batch it is in.
#[derive(Debug)]
pub(super) struct Chain {
    start: StreamStart,
    /// Known from the first `subbed` on.
    position: Option<Cursor>,
    /// A filter skips offsets inside a batch.
    filtered: bool,
    /// The end of the batch that is arriving and how many of its events are still to come.
    batch: Option<(Cursor, usize)>,
}

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one; the cursor stands behind it.
    Deliver(Cursor),
    /// It is here already.
    Repeat,
}

/// What arrived does not follow on what is here: subscribe again from the own position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

impl Chain {
    pub(super) fn new(start: StreamStart, filtered: bool) -> Self {
        let position = if let StreamStart::At(cursor) = start { Some(cursor) } else { None };
        Self { start, position, filtered, batch: None }
    }

    /// Where to subscribe from.
    pub(super) fn from(&self) -> StreamStart {
        self.position.map_or(self.start, StreamStart::At)
    }

    pub(super) fn position(&self) -> Option<Cursor> {
        self.position
    }

    /// A new connection: the batch that was arriving is void.
    pub(super) fn disconnected(&mut self) {
        self.batch = None;
    }

    /// The node says where it stands. Not resumed: a gap follows and moves the position.
    pub(super) fn subbed(&mut self, cursor: Cursor, resumed: bool) -> Result<(), Broken> {
        match self.position {
            None => self.position = Some(cursor),
            Some(own) if resumed && own != cursor => {
                return Err(Broken(format!("the node resumed at {cursor}, not at {own}")));
            }
            Some(_) => {}
        }
        Ok(())
    }

    pub(super) fn moved(&mut self, to: Cursor) {
        self.position = Some(to);
    }

    pub(super) fn batch(&mut self, prev: Option<Offset>, cursor: Cursor, n: usize) -> Result<(), Broken> {
        let own = self.own()?;
        // `None` sorts before every offset: a batch may begin earlier than what is missing here, never later.
        if prev > own.next.previous() {
            return Err(Broken(format!("a batch follows on {prev:?}, but {} is the next one missing", own.next)));
        }
        self.batch = Some((cursor, n));
        if n == 0 { self.finish_batch() } else { Ok(()) }
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<Verdict, Broken> {
        let own = self.own()?;
        let Some((_, left)) = &mut self.batch else { return Err(Broken("an event came outside a batch".to_owned())) };
        *left -= 1;
        let last = *left == 0;
        let verdict = if event.offset < own.next {
            Verdict::Repeat
        } else if event.offset > own.next && !self.filtered {
            return Err(Broken(format!("event {} came where {} was due", event.offset, own.next)));
        } else {
            let behind = own.at(event.offset.next());
            self.position = Some(behind);
            Verdict::Deliver(behind)
        };
        if last {
            self.finish_batch()?;
        }
        Ok(verdict)
    }

    /// Behind a batch the position is the node's word: a filter may have skipped further.
    fn finish_batch(&mut self) -> Result<(), Broken> {
        let Some((cursor, _)) = self.batch.take() else { return Ok(()) };
        self.mark(cursor)
    }

    /// The position moves without an event.
    pub(super) fn mark(&mut self, cursor: Cursor) -> Result<(), Broken> {
        let own = self.own()?;
        let same_life = own.at(Offset::ZERO) == cursor.at(Offset::ZERO);
        if !same_life || (!self.filtered && cursor.next > own.next) {
            return Err(Broken(format!("the node stands at {cursor} and this client at {own}")));
        }
        if cursor.next > own.next {
            self.position = Some(cursor);
        }
        Ok(())
    }

    fn own(&self) -> Result<Cursor, Broken> {
        self.position.ok_or_else(|| Broken("events came before `subbed`".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::EVENT;
    use types::{History, Incarnation, Payload, Position, Timestamp};

    fn at(next: u64) -> Cursor {
        let incarnation = Incarnation::at(Position::new(9));
        Cursor { history: History::new(1), incarnation, next: Offset::new(next) }
    }

    fn event(offset: u64) -> Event {
        let kind = EVENT.into();
        Event { offset: Offset::new(offset), time: Timestamp::ZERO, kind, source: None, payload: Payload::null() }
    }

    fn open(filtered: bool) -> Chain {
        let mut chain = Chain::new(StreamStart::Begin, filtered);
        chain.subbed(at(5), true).expect("the first position is taken as it is");
        chain
    }

    #[test]
    fn dense_events_are_delivered_and_the_position_follows() {
        let mut chain = open(false);
        chain.batch(Some(Offset::new(4)), at(7), 2).expect("it follows");
        assert_eq!(chain.event(&event(5)), Ok(Verdict::Deliver(at(6))));
        assert_eq!(chain.event(&event(6)), Ok(Verdict::Deliver(at(7))));
        assert_eq!(chain.from(), StreamStart::At(at(7)));
    }

    #[test]
    fn what_is_here_already_is_dropped() {
        let mut chain = open(false);
        chain.batch(Some(Offset::new(2)), at(6), 3).expect("it overlaps");
        assert_eq!(chain.event(&event(3)), Ok(Verdict::Repeat));
        assert_eq!(chain.event(&event(4)), Ok(Verdict::Repeat));
        assert_eq!(chain.event(&event(5)), Ok(Verdict::Deliver(at(6))));
    }

    #[test]
    fn a_hole_breaks_the_chain_and_leaves_the_position() {
        let mut chain = open(false);
        assert!(chain.batch(Some(Offset::new(5)), at(8), 2).is_err(), "5 itself never came");
        chain.batch(Some(Offset::new(4)), at(8), 2).expect("it follows");
        assert!(chain.event(&event(6)).is_err(), "5 was due");
        assert_eq!(chain.position(), Some(at(5)));
        assert!(open(false).event(&event(5)).is_err(), "an event outside a batch");
        assert!(open(false).mark(at(6)).is_err(), "without a filter nothing is skipped");
    }

    #[test]
    fn a_filter_skips_inside_and_behind_a_batch() {
        let mut chain = open(true);
        chain.batch(Some(Offset::new(4)), at(20), 2).expect("it follows");
        assert_eq!(chain.event(&event(8)), Ok(Verdict::Deliver(at(9))));
        assert_eq!(chain.event(&event(12)), Ok(Verdict::Deliver(at(13))));
        assert_eq!(chain.position(), Some(at(20)));
        chain.mark(at(30)).expect("a mark moves on");
        assert_eq!(chain.position(), Some(at(30)));
        assert!(chain.batch(Some(Offset::new(40)), at(50), 1).is_err());
    }

    #[test]
    fn a_batch_cut_by_a_disconnect_comes_again_from_the_own_position() {
        let mut chain = open(false);
        chain.batch(Some(Offset::new(4)), at(8), 3).expect("it follows");
        chain.event(&event(5)).expect("the first of three");
        chain.disconnected();
        assert_eq!(chain.from(), StreamStart::At(at(6)));
        chain.subbed(at(6), true).expect("the node resumes there");
        assert!(chain.subbed(at(7), true).is_err(), "elsewhere is no resume");
        chain.batch(Some(Offset::new(5)), at(8), 2).expect("it follows");
        assert_eq!(chain.event(&event(6)), Ok(Verdict::Deliver(at(7))));
    }

    #[test]
    fn a_gap_moves_the_position_to_another_life() {
        let mut chain = Chain::new(StreamStart::At(at(3)), false);
        let other = Cursor { history: History::new(2), ..at(0) };
        chain.subbed(other, false).expect("a gap will follow");
        assert_eq!(chain.position(), Some(at(3)));
        chain.moved(other);
        chain.batch(None, other.at(Offset::new(1)), 1).expect("it follows");
        assert_eq!(chain.event(&event(0)), Ok(Verdict::Deliver(other.at(Offset::new(1)))));
    }
}
