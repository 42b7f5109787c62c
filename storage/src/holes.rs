//! Where records of a partition are missing and may be: in segments that were dropped, or that are quarantined. All
//! else that is missing is damage that nobody has met yet.

use types::Position;

use crate::catalog::SegmentStart;
use crate::record::CHAINS;

/// Ranges of positions in which at least one chain keeps nothing, in order, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holes(Vec<(Position, Position)>);

impl Holes {
    /// Of chains that begin at `start`, each with its segments, oldest first, the last one kept.
    pub(crate) fn of(start: [Position; CHAINS], segments: &[Vec<SegmentStart>; CHAINS]) -> Self {
        let mut ranges: Vec<_> = start.into_iter().map(|start| (Position::ZERO, start)).collect();
        for chain in segments {
            for pair in chain.windows(2).filter(|pair| !pair[0].kept) {
                ranges.push((pair[0].base, pair[1].base));
            }
        }
        Self::joined(ranges)
    }

    /// Positions of segments that are kept and not read.
    pub(crate) fn quarantined(segments: &[Vec<SegmentStart>; CHAINS]) -> Self {
        let pairs = segments.iter().flat_map(|chain| chain.windows(2));
        Self::joined(
            pairs.filter(|pair| pair[0].quarantined && pair[0].kept).map(|pair| (pair[0].base, pair[1].base)).collect(),
        )
    }

    fn joined(mut ranges: Vec<(Position, Position)>) -> Self {
        ranges.retain(|(from, until)| from < until);
        ranges.sort_unstable();
        let mut holes: Vec<(Position, Position)> = Vec::new();
        for (from, until) in ranges {
            match holes.last_mut().filter(|last| last.1 >= from) {
                Some(last) => last.1 = last.1.max(until),
                None => holes.push((from, until)),
            }
        }
        Self(holes)
    }

    /// The same, and `from..until` as well.
    pub(crate) fn and(self, from: Position, until: Position) -> Self {
        let mut ranges = self.0;
        ranges.push((from, until));
        Self::joined(ranges)
    }

    /// Whether every position of `from..until` may be missing.
    pub(crate) fn cover(&self, from: Position, until: Position) -> bool {
        from >= until || self.0.iter().any(|hole| hole.0 <= from && until <= hole.1)
    }

    /// The end of the hole that some position of `from..until` is in.
    pub(crate) fn end(&self, from: Position, until: Position) -> Option<Position> {
        let hole = self.0.iter().find(|hole| hole.0 < until && from < hole.1);
        hole.map(|hole| hole.1)
    }

    /// Whether some position of `from..until` may be missing.
    pub(crate) fn touch(&self, from: Position, until: Position) -> bool {
        from < until && self.0.iter().any(|hole| hole.0 < until && from < hole.1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u32, base: u64, kept: bool) -> SegmentStart {
        SegmentStart { number, base: Position::new(base), kept, quarantined: false }
    }

    #[test]
    fn dropped_segments_of_either_chain_are_holes() {
        let run = vec![segment(2, 10, true), segment(3, 20, false), segment(4, 30, true)];
        let stream = vec![segment(1, 0, true), segment(2, 25, false), segment(3, 40, true)];
        let holes = Holes::of([Position::new(10), Position::ZERO], &[run, stream]);
        let cover = |from, until| holes.cover(Position::new(from), Position::new(until));
        let touch = |from, until| holes.touch(Position::new(from), Position::new(until));
        assert!(cover(0, 10) && cover(20, 40) && cover(24, 26) && cover(15, 15));
        assert!(!cover(0, 11) && !cover(10, 12) && !cover(9, 21) && !cover(39, 41));
        assert!(touch(9, 11) && touch(0, 100) && touch(39, 41));
        assert!(!touch(10, 20) && !touch(40, 100) && !touch(25, 25));
    }

    #[test]
    fn a_range_that_is_added_joins_those_it_touches() {
        let [zero, five, nine, twelve] = [0, 5, 9, 12].map(Position::new);
        let holes = Holes::default().and(five, nine).and(zero, five).and(twelve, twelve);
        assert!(holes.cover(zero, nine) && !holes.touch(nine, twelve.next()));
    }
}
