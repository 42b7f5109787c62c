//! Goes through values that have a check of their own (rows, blocks) without being ended by damage: what the store cannot
//! vouch for any more may still be read; a value that fails its check is named, and where not even keys can be read the
//! range is.

use bytes::Bytes;

use crate::codec::Damage;
use crate::keys::Family;
use crate::store::{Entry, Scan, Store, StoreError};

/// How many bytes of a key, behind its partition, the search for the end of an unreadable range looks at: more than a
/// block's key has, or the kind and the id of a run.
const SOUGHT: usize = 32;
/// The partition, in a key.
const PREFIX_BYTES: usize = 4;
/// Of a key that is shown as the last one before another: longer than ids that the kernel makes.
const FILL: usize = 64;

/// One step of a walk, by key.
#[derive(Debug)]
pub(crate) enum Step<T> {
    Good(Vec<u8>, T),
    Damaged { key: Vec<u8>, what: String },
    Unreadable { first: Vec<u8>, last: Vec<u8>, what: String },
}

/// A value from its bytes, held against its own check and its key.
pub(crate) type Decode<T> = fn(&[u8], &Bytes) -> Result<T, Damage>;

pub(crate) struct DamageWalk<'a, T> {
    store: &'a dyn Store,
    family: Family,
    decode: Decode<T>,
    scan: Box<dyn Scan + 'a>,
    /// Whether the store checks what `scan` reads.
    checked: bool,
    /// The first thing that the store could not vouch for.
    pub(crate) refused: Option<String>,
    /// The smallest key that was not met yet.
    at: Vec<u8>,
    until: Vec<u8>,
}

impl<'a, T> DamageWalk<'a, T> {
    /// Over keys of one partition from `from` (inclusive) until `until` (exclusive).
    pub(crate) fn new(
        store: &'a dyn Store,
        (family, decode): (Family, Decode<T>),
        (from, until): (Vec<u8>, Vec<u8>),
        expect_bytes: usize,
    ) -> Self {
        let scan = store.scan(family, &from, &until, expect_bytes);
        Self { store, family, decode, scan, checked: true, refused: None, at: from, until }
    }

    /// Whether the store vouches for what it read last, and for there being no more.
    pub(crate) const fn is_vouched_for(&self) -> bool {
        self.checked
    }

    /// An error is the disk's: whatever is damaged is a step.
    pub(crate) fn next(&mut self) -> Result<Option<Step<T>>, StoreError> {
        // Where nothing of a table can be read a scan fails also behind its end.
        while self.at < self.until {
            match self.scan.next() {
                Ok(Some(entry)) if self.checked || self.is_key(&entry) => return Ok(Some(self.step(entry))),
                Ok(None) => return Ok(None),
                Err(StoreError::Io(what)) => return Err(StoreError::Io(what)),
                Err(StoreError::Corrupt(what)) if self.checked => {
                    self.refused.get_or_insert(what);
                    self.scan = self.store.scan_unchecked(self.family, &self.at, &self.until);
                    self.checked = false;
                }
                Ok(Some(_)) => {
                    if let Some(step) = self.skip("a key is damaged") {
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
        Ok(None)
    }

    fn step(&mut self, (key, value): Entry) -> Step<T> {
        self.at = behind(&key);
        match (self.decode)(&key, &value) {
            Ok(value) => Step::Good(key, value),
            Err(damage) => Step::Damaged { key, what: damage.to_string() },
        }
    }

    /// Whether what was read unchecked may be believed to be a key: it is in order, and its value is good or the store
    /// does not deny that there is one.
    fn is_key(&self, (key, value): &Entry) -> bool {
        let ours = *key >= self.at && *key < self.until;
        ours && ((self.decode)(key, value).is_ok() || !matches!(self.store.get(self.family, key), Ok(None)))
    }

    /// Goes on where the store can read again. `None`: that is right here.
    fn skip(&mut self, what: &str) -> Option<Step<T>> {
        let first = std::mem::take(&mut self.at);
        let sought = end_of_damage(&first, &self.until, &|key| {
            let read = || self.store.scan(self.family, key, &self.until, 0).next();
            key >= &self.until[..] || !matches!(read(), Err(StoreError::Corrupt(_)))
        });
        self.at.clone_from(&sought.until);
        self.scan = self.store.scan(self.family, &self.at, &self.until, 0);
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

/// A key before this one, behind all that are ever made.
fn before(key: &[u8]) -> Vec<u8> {
    let mut before = key.to_vec();
    match before.pop() {
        Some(0) | None => before,
        Some(last) => {
            before.push(last - 1);
            before.extend([u8::MAX; FILL]);
            before
        }
    }
}

/// Where an unreadable range ends: a key behind the last one in it, and the one from which on can be read.
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
        return Sought { last: before(until), until: until.to_vec() };
    };
    while plus_bit(&low, 0).is_some_and(|next| next < high) {
        let middle = middle(&low, &high);
        if reads(&key(&middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    let until = key(&high).min(until.to_vec());
    Sought { last: before(&until), until }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_of_keys_that_are_longer_than_what_is_looked_at_ends_behind_all_of_them() {
        let key = |last: u8| [&[0, 0, 0, 1, 2][..], &[7; 2 * SOUGHT], &[last]].concat();
        let sought = end_of_damage(&key(1), &[0, 0, 0, 1, 3], &|at| at >= &key(5)[..]);
        assert!(sought.last > key(200) && sought.last < sought.until, "{:?}", sought.last);
    }

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
