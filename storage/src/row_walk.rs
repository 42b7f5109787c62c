//! Goes through rows without being ended by damage. Each row has a check of its own, so what the store cannot vouch for
//! any more may still be read; a row that fails its check is named, and where not even names can be read the range is.

use bytes::Bytes;
use types::PartitionId;

use crate::catalog::Catalog;
use crate::error::ReadError;
use crate::keys::{Family, row_id, row_kind_end, row_kind_start};
use crate::read::Place;
use crate::row_store::decode_row;
use crate::rows::{Met, Row, RowKind};
use crate::store::{Entry, Scan, Store, StoreError};

/// How many bytes of a key, behind its partition, the search for the end of an unreadable range looks at: more than the
/// kind and the id of a run have.
const SOUGHT: usize = 32;
/// The partition, in a key.
const PREFIX_BYTES: usize = 4;

/// One step of a walk, by key.
#[derive(Debug)]
pub(crate) enum Step {
    Row(Vec<u8>, Row),
    Damaged { key: Vec<u8>, what: String },
    Unreadable { first: Vec<u8>, last: Vec<u8>, what: String },
}

pub(crate) struct RowWalk<'a> {
    store: &'a dyn Store,
    scan: Box<dyn Scan + 'a>,
    /// Whether the store checks what `scan` reads.
    checked: bool,
    /// The smallest key that was not met yet.
    at: Vec<u8>,
    until: Vec<u8>,
}

impl<'a> RowWalk<'a> {
    /// Over rows of one partition from `from` (inclusive) until `until` (exclusive).
    pub(crate) fn new(store: &'a dyn Store, from: Vec<u8>, until: Vec<u8>, expect_bytes: usize) -> Self {
        let scan = store.scan(Family::Rows, &from, &until, expect_bytes);
        Self { store, scan, checked: true, at: from, until }
    }

    /// An error is the disk's: whatever is damaged is a step.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, StoreError> {
        loop {
            match self.scan.next() {
                Ok(Some(entry)) if self.checked || self.is_key(&entry) => return Ok(Some(self.step(entry))),
                Ok(None) => return Ok(None),
                Err(StoreError::Io(what)) => return Err(StoreError::Io(what)),
                Err(StoreError::Corrupt(_)) if self.checked => {
                    self.scan = self.store.scan_unchecked(Family::Rows, &self.at, &self.until);
                    self.checked = false;
                }
                Ok(Some(_)) => {
                    if let Some(step) = self.skip("a row's key is damaged") {
                        return Ok(Some(step));
                    }
                }
                Err(StoreError::Corrupt(what)) => {
                    if let Some(step) = self.skip(&what) {
                        return Ok(Some(step));
                    }
                }
            }
        }
    }

    fn step(&mut self, (key, value): Entry) -> Step {
        self.at = behind(&key);
        match decode_row(&key, &value) {
            Ok(row) => Step::Row(key, row),
            Err(damage) => Step::Damaged { key, what: damage.to_string() },
        }
    }

    /// Whether what was read unchecked may be believed to be a key: it is in order, and its row is good or the store
    /// does not deny that there is one.
    fn is_key(&self, (key, value): &Entry) -> bool {
        let ours = *key >= self.at && *key < self.until;
        ours && (decode_row(key, value).is_ok() || !matches!(self.store.get(Family::Rows, key), Ok(None)))
    }

    /// Goes on where the store can read again. `None`: that is right here.
    fn skip(&mut self, what: &str) -> Option<Step> {
        let first = std::mem::take(&mut self.at);
        let sought = end_of_damage(&first, &self.until, &|key| {
            let read = || self.store.scan(Family::Rows, key, &self.until, 0).next();
            key >= &self.until[..] || !matches!(read(), Err(StoreError::Corrupt(_)))
        });
        self.at.clone_from(&sought.until);
        self.scan = self.store.scan(Family::Rows, &self.at, &self.until, 0);
        self.checked = true;
        (sought.last >= first).then(|| Step::Unreadable { first, last: sought.last, what: what.to_owned() })
    }
}

/// The smallest key behind this one.
pub(crate) fn behind(key: &[u8]) -> Vec<u8> {
    let mut behind = key.to_vec();
    behind.push(0);
    behind
}

/// Where an unreadable range ends: the last key in it, and the one from which on can be read.
struct Sought {
    last: Vec<u8>,
    until: Vec<u8>,
}

/// Looks for it at growing distances from `from`, then in between: some hundred looks at the most.
fn end_of_damage(from: &[u8], until: &[u8], reads: &dyn Fn(&[u8]) -> bool) -> Sought {
    let (prefix, rest) = from.split_at(PREFIX_BYTES);
    let key = |number: &[u8; SOUGHT]| {
        let used = number.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        [prefix, &number[..used]].concat()
    };
    let mut low = [0; SOUGHT];
    let known = rest.len().min(SOUGHT);
    low[..known].copy_from_slice(&rest[..known]);
    let mut high = None;
    for bit in 0..SOUGHT * 8 {
        let Some(next) = plus_bit(&low, bit) else { break };
        if reads(&key(&next)) {
            high = Some(next);
            break;
        }
        low = next;
    }
    let Some(mut high) = high else {
        return Sought { last: [prefix, &[u8::MAX; SOUGHT]].concat(), until: until.to_vec() };
    };
    while plus_bit(&low, 0).is_some_and(|next| next < high) {
        let middle = middle(&low, &high);
        if reads(&key(&middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Sought { last: key(&low), until: key(&high).min(until.to_vec()) }
}

/// `number + 2^bit`, unless it is too large.
fn plus_bit(number: &[u8; SOUGHT], bit: usize) -> Option<[u8; SOUGHT]> {
    let mut sum = *number;
    let mut carry = 1_u16 << (bit % 8);
    for byte in sum[..SOUGHT - bit / 8].iter_mut().rev() {
        let [low, high] = (u16::from(*byte) + carry).to_le_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
    (carry == 0).then_some(sum)
}

/// Half of the way from `low` to `high`, rounded down.
fn middle(low: &[u8; SOUGHT], high: &[u8; SOUGHT]) -> [u8; SOUGHT] {
    let mut sum = [0_u16; SOUGHT];
    let mut carry = 0;
    for at in (0..SOUGHT).rev() {
        let digit = u16::from(low[at]) + u16::from(high[at]) + carry;
        (sum[at], carry) = (digit & 0xff, digit >> 8);
    }
    let mut half = [0; SOUGHT];
    for at in 0..SOUGHT {
        let digit = carry << 8 | sum[at];
        let [low, _] = (digit >> 1).to_le_bytes();
        (half[at], carry) = (low, digit & 1);
    }
    half
}

/// Rows of one kind, as `Rows::scan_past_damage` promises.
pub(crate) fn scan_past_damage(
    catalog: &Catalog,
    partition: PartitionId,
    kind: RowKind,
    after: Option<&Bytes>,
    limit: usize,
) -> Result<Vec<Met>, ReadError> {
    const ROW_BYTES_GUESS: usize = 256;
    let place = Place { partition, position: catalog.view(partition).acknowledged() };
    let mut from = row_kind_start(partition, kind);
    if let Some(after) = after {
        from.extend_from_slice(after);
        from.push(0);
    }
    let until = row_kind_end(partition, kind);
    let mut walk = RowWalk::new(catalog.store.as_ref(), from, until, limit.saturating_mul(ROW_BYTES_GUESS));
    let id = |key: &[u8]| row_id(key).map(Bytes::copy_from_slice).map_err(place.damage());
    let mut met = Vec::new();
    while met.len() < limit {
        let Some(step) = walk.next().map_err(place.store())? else { break };
        met.push(match step {
            Step::Row(key, row) => Met::Row(id(&key)?, row),
            Step::Damaged { key, what } => Met::Damaged { id: id(&key)?, what },
            Step::Unreadable { first, last, what } => Met::Unreadable { first: id(&first)?, last: id(&last)?, what },
        });
    }
    Ok(met)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is unreadable is found to its last key, from wherever one comes to it.
    #[test]
    fn the_end_of_an_unreadable_range_is_found() {
        let prefix = [0, 0, 0, 1, 2];
        let key = |id: &[u8]| [&prefix[..], id].concat();
        let check = |from: &[u8], bad_until: &[u8]| {
            let bad = key(bad_until);
            let sought = end_of_damage(&key(from), &[0, 0, 0, 1, 3], &|at| at >= &bad[..]);
            assert_eq!(sought.until, bad, "from {from:?}");
            assert!(sought.last < bad && sought.last >= key(from), "{:?}", sought.last);
        };
        check(&[1; 20], &[2; 20]);
        check(&[1; 20], &[1, 2]);
        check(&[7, 0, 0], &[7, 0, 1]);
        check(&[0], &[255; 20]);
        let all = end_of_damage(&key(&[9]), &[0, 0, 0, 1, 3], &|at| at >= &[0, 0, 0, 1, 3][..]);
        assert_eq!(all.until, [0, 0, 0, 1, 3]);
    }

    proptest! {
        #[test]
        fn the_middle_lies_between(a: [u8; SOUGHT], b: [u8; SOUGHT]) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let middle = middle(&low, &high);
            prop_assert!(low <= middle && middle <= high);
            prop_assert!(low == high || middle < high);
        }

        #[test]
        fn adding_a_bit_makes_more(number: [u8; SOUGHT], bit in 0..SOUGHT * 8) {
            prop_assert!(plus_bit(&number, bit).is_none_or(|sum| sum > number));
        }
    }
}
