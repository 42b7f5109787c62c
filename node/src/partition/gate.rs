//! The one gate: nothing leaves before what justifies it is durable.

use std::collections::VecDeque;

use types::Position;

/// Holds things back until the log is durable up to the position they were derived at, in order. There is no way to
/// get one out early.
#[derive(Debug)]
pub struct Gate<T> {
    durable: Position,
    held: VecDeque<(Position, T)>,
}

impl<T> Gate<T> {
    /// Opens at `durable`: everything below it is on disk.
    pub fn new(durable: Position) -> Self {
        Self { durable, held: VecDeque::new() }
    }

    /// Holds `thing` until all records below `position` are durable. Positions never go backwards.
    pub fn hold(&mut self, position: Position, thing: T) {
        let last = self.held.back().map_or(self.durable, |(last, _)| *last);
        assert!(position >= last, "what is derived later stands at a later position");
        self.held.push_back((position, thing));
    }

    /// Learns that everything below `durable` is on disk.
    pub fn advance(&mut self, durable: Position) {
        assert!(durable >= self.durable, "durability is not taken back");
        self.durable = durable;
    }

    /// The next thing that may leave, oldest first.
    pub fn release(&mut self) -> Option<T> {
        let ready = self.held.front().is_some_and(|(position, _)| *position <= self.durable);
        if ready { self.held.pop_front().map(|(_, thing)| thing) } else { None }
    }

    /// Everything below is on disk.
    pub fn durable_end(&self) -> Position {
        self.durable
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.held.len()
    }

    /// Gives up what waits, when it can no longer be known whether it became durable.
    pub fn abandon(&mut self) -> impl Iterator<Item = T> + '_ {
        self.held.drain(..).map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_before_it_is_durable_and_then_in_order() {
        let at = Position::new;
        let mut gate = Gate::new(at(5));
        gate.hold(at(5), "a read of what is durable");
        gate.hold(at(7), "an answer");
        gate.hold(at(7), "a rejection behind it");
        gate.hold(at(8), "another");
        assert_eq!(gate.release(), Some("a read of what is durable"));
        assert_eq!(gate.release(), None);
        gate.advance(at(7));
        assert_eq!(gate.release(), Some("an answer"));
        assert_eq!(gate.release(), Some("a rejection behind it"));
        assert_eq!(gate.release(), None);
        assert_eq!(gate.waiting(), 1);
    }
}
