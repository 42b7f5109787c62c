//! Goes through values that have a check of their own (rows, blocks) without being ended by damage: what the store cannot
//! vouch for any more may still be read; a value that fails its check is named, and where not even keys can be read the
//! range is.
//!
//! A block of a table that fails its checksum is taken apart, and its neighbourhood is gone through key by key: what the
//! store finds under a key without coming to that block is good, be it newer or of another table; what it does not find
//! is what the block says, if that is good by its own check. A key under which nothing good stands is named.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::codec::Damage;
use crate::keys::Family;
use crate::store::{DoubtedBlock, DoubtedEntry, Entry, Scan, Store, StoreError};

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

impl<T> Step<T> {
    pub(crate) fn first(&self) -> &[u8] {
        match self {
            Self::Good(key, _) | Self::Damaged { key, .. } => key,
            Self::Unreadable { first, .. } => first,
        }
    }

    pub(crate) fn last(&self) -> &[u8] {
        match self {
            Self::Good(key, _) | Self::Damaged { key, .. } => key,
            Self::Unreadable { last, .. } => last,
        }
    }
}

/// A value from its bytes, held against its own check and its key.
pub(crate) type Decode<T> = fn(&[u8], &Bytes) -> Result<T, Damage>;

pub(crate) struct DamageWalk<'a, T> {
    store: &'a dyn Store,
    family: Family,
    decode: Decode<T>,
    scan: Box<dyn Scan + 'a>,
    /// Where the store cannot vouch for what `scan` reads.
    doubted: Option<Doubted>,
    /// The first thing that the store could not vouch for.
    pub(crate) refused: Option<String>,
    /// The smallest key that was not met yet.
    at: Vec<u8>,
    until: Vec<u8>,
}

/// A damaged block, and the keys around it.
struct Doubted {
    what: String,
    until: Vec<u8>,
    block: VecDeque<InBlock>,
    /// One value in it fails its check: so that is the damage, and its deletions are as they were written.
    is_found: bool,
    /// Met by the scan, and behind the block's next.
    ahead: Option<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum InBlock {
    Entry(DoubtedEntry),
    /// A damaged key was another one, somewhere in here.
    Gap {
        first: Vec<u8>,
        last: Vec<u8>,
    },
}

impl InBlock {
    fn first(&self) -> &[u8] {
        match self {
            Self::Entry(entry) => &entry.key,
            Self::Gap { first, .. } => first,
        }
    }

    fn last(&self) -> &[u8] {
        match self {
            Self::Entry(entry) => &entry.key,
            Self::Gap { last, .. } => last,
        }
    }
}

/// What is to be thought of an entry of a damaged block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// Its value, or the deletion, may be damaged.
    Doubtful,
    /// Its key may be another one.
    OfAnotherKey,
}

/// A damaged block from `at` until `until`. Damage in a value spoils one entry. In a key, it may spoil those that share its
/// beginning, and where they stood nobody knows but between two that are good.
fn laid_out(entries: Vec<(Standing, DoubtedEntry)>, at: &[u8], until: &[u8]) -> VecDeque<InBlock> {
    let (mut block, mut from, mut doubtful) = (VecDeque::new(), at.to_vec(), Vec::new());
    let mut is_gap = false;
    for (standing, entry) in entries {
        let is_within = &entry.key[..] < until;
        match standing {
            Standing::Good if !is_within => break,
            Standing::Good => {
                close(&mut block, (&from, &entry.key), &mut doubtful, std::mem::take(&mut is_gap));
                from = behind(&entry.key);
                block.push_back(InBlock::Entry(entry));
            }
            Standing::Doubtful | Standing::OfAnotherKey => {
                is_gap |= standing == Standing::OfAnotherKey;
                if is_within {
                    doubtful.push(entry);
                }
            }
        }
    }
    close(&mut block, (&from, until), &mut doubtful, is_gap);
    block
}

/// Adds what stands between two good entries: a gap, or what it is.
fn close(block: &mut VecDeque<InBlock>, (from, next): (&[u8], &[u8]), doubtful: &mut Vec<DoubtedEntry>, is_gap: bool) {
    if is_gap {
        doubtful.clear();
        block.push_back(InBlock::Gap { first: from.to_vec(), last: before(next) });
    }
    block.extend(doubtful.drain(..).map(InBlock::Entry));
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
        Self { store, family, decode, scan, doubted: None, refused: None, at: from, until }
    }

    /// Whether the store vouches for what it read last, and for there being no more.
    pub(crate) const fn is_vouched_for(&self) -> bool {
        self.doubted.is_none()
    }

    /// An error is the disk's: whatever is damaged is a step.
    pub(crate) fn next(&mut self) -> Result<Option<Step<T>>, StoreError> {
        // Where nothing of a table can be read a scan fails also behind its end.
        while self.at < self.until {
            let step = match self.doubted.take() {
                Some(doubted) => self.doubted_step(doubted)?,
                None => match self.scan.next() {
                    Ok(Some((key, value))) => Some(self.step(key, &value)),
                    Ok(None) => return Ok(None),
                    Err(StoreError::Io(what)) => return Err(StoreError::Io(what)),
                    Err(StoreError::Corrupt(what)) => {
                        self.refused.get_or_insert_with(|| what.clone());
                        if self.doubts(&what) { None } else { self.skip(&what) }
                    }
                },
            };
            if step.is_some() {
                return Ok(step);
            }
        }
        Ok(None)
    }

    fn step(&mut self, key: Vec<u8>, value: &Bytes) -> Step<T> {
        self.at = behind(&key);
        match (self.decode)(&key, value) {
            Ok(value) => Step::Good(key, value),
            Err(damage) => Step::Damaged { key, what: damage.to_string() },
        }
    }

    /// Looks into the block that the store refuses; `false` where that says nothing.
    fn doubts(&mut self, what: &str) -> bool {
        let Some(DoubtedBlock { entries, is_plain }) = self.store.doubted_block(what) else { return false };
        let Some(until) = entries.last().and_then(|last| self.doubted_until(&last.key, what)) else { return false };
        let bad = entries.iter().filter(|entry| self.is_bad(entry)).count();
        let is_found = is_plain && bad == 1;
        let standing = |entry| (self.standing(&entry, (bad, is_found), what), entry);
        let block = laid_out(entries.into_iter().map(standing).collect(), &self.at, &until);
        self.scan = self.store.scan_unchecked(self.family, &self.at, &until);
        self.doubted = Some(Doubted { what: what.to_owned(), until, block, is_found, ahead: None });
        true
    }

    /// Where a damaged block ends whose last key this is; `None` where the walk is past it, and it is not what the store refuses.
    /// The store comes to a block also between its keys and the next one's. If there is no other damage, that goes with it.
    fn doubted_until(&self, last: &[u8], what: &str) -> Option<Vec<u8>> {
        let sought = self.end_of_damage();
        let at_its_end = self.store.scan(self.family, &sought.bad, &self.until, 0).next();
        let is_alone =
            &sought.until[..] > last && matches!(at_its_end, Err(StoreError::Corrupt(other)) if other == what);
        if is_alone {
            return Some(sought.until);
        }
        (last >= &self.at[..]).then(|| behind(last).min(self.until.clone()))
    }

    /// What is to be thought of an entry of a block with so many bad values.
    fn standing(&self, entry: &DoubtedEntry, (bad, is_found): (usize, bool), what: &str) -> Standing {
        let is_of_another_key = match &entry.value {
            Some(_) if !self.is_bad(entry) => return Standing::Good,
            Some(_) => bad > 1 || self.is_of_another_key(entry, what),
            None => !is_found && self.store.get(self.family, &entry.key) == Ok(None),
        };
        if is_of_another_key { Standing::OfAnotherKey } else { Standing::Doubtful }
    }

    fn is_bad(&self, entry: &DoubtedEntry) -> bool {
        entry.value.as_ref().is_some_and(|value| (self.decode)(&entry.key, value).is_err())
    }

    /// Whether the damage is in the key: the store does not look for it there, or with another bit it fits its value.
    fn is_of_another_key(&self, entry: &DoubtedEntry, what: &str) -> bool {
        let Some(value) = &entry.value else { return false };
        let mut key = entry.key.clone();
        let fits = (0..key.len() * 8).any(|bit| {
            key[bit / 8] ^= 1 << (bit % 8);
            let fits = (self.decode)(&key, value).is_ok();
            key[bit / 8] ^= 1 << (bit % 8);
            fits
        });
        let sought = self.store.get(self.family, &entry.key);
        fits || !matches!(sought, Err(StoreError::Corrupt(other)) if other == what)
    }

    /// The next key of a doubted place, be it the block's or another table's. `None`: nothing stands there, or it ends.
    fn doubted_step(&mut self, mut doubted: Doubted) -> Result<Option<Step<T>>, StoreError> {
        while doubted.ahead.as_ref().is_none_or(|(key, _)| *key < self.at) {
            doubted.ahead = match self.scan.next() {
                Ok(found) => found.filter(|(key, _)| *key < doubted.until),
                Err(StoreError::Io(what)) => return Err(StoreError::Io(what)),
                Err(StoreError::Corrupt(what)) => return Ok(self.skip(&what)),
            };
            if doubted.ahead.is_none() {
                break;
            }
        }
        while doubted.block.front().is_some_and(|next| next.last() < &self.at[..]) {
            doubted.block.pop_front();
        }
        let scanned = doubted.ahead.as_ref().map(|(key, _)| key.clone());
        let Some(first) = doubted.block.front().map(|next| next.first().to_vec().max(self.at.clone())) else {
            let Some(key) = scanned else {
                self.at.clone_from(&doubted.until);
                self.scan = self.store.scan(self.family, &self.at, &self.until, 0);
                return Ok(None);
            };
            doubted.ahead = None;
            let step = self.judge(&doubted, key, None)?;
            self.doubted = Some(doubted);
            return Ok(step);
        };
        let key = match scanned {
            Some(key) if key <= first => {
                doubted.ahead = None;
                key
            }
            Some(_) | None => first.clone(),
        };
        let of_block = if key == first { doubted.block.pop_front() } else { None };
        let step = match of_block {
            Some(InBlock::Gap { last, .. }) => {
                let what = "a key is damaged".to_owned();
                self.at = behind(&last);
                Some(Step::Unreadable { first, last, what })
            }
            Some(InBlock::Entry(entry)) => self.judge(&doubted, key, Some(entry))?,
            None => self.judge(&doubted, key, None)?,
        };
        self.doubted = Some(doubted);
        Ok(step)
    }

    /// What stands under a key of a doubted place; `entry` is what the block has there.
    fn judge(
        &mut self,
        doubted: &Doubted,
        key: Vec<u8>,
        entry: Option<DoubtedEntry>,
    ) -> Result<Option<Step<T>>, StoreError> {
        self.at = behind(&key);
        match self.store.get(self.family, &key) {
            Ok(Some(value)) => Ok(Some(self.step(key, &value))),
            Ok(None) => Ok(None),
            Err(StoreError::Io(what)) => Err(StoreError::Io(what)),
            Err(StoreError::Corrupt(what)) => match entry {
                Some(DoubtedEntry { value: Some(value), .. }) if what == doubted.what => {
                    Ok(Some(self.step(key, &value)))
                }
                Some(DoubtedEntry { value: None, .. }) if what == doubted.what && doubted.is_found => Ok(None),
                Some(_) | None => Ok(Some(Step::Damaged { key, what })),
            },
        }
    }

    /// From where on can be read again.
    fn end_of_damage(&self) -> Sought {
        end_of_damage(&self.at, &self.until, &|key| {
            let read = || self.store.scan(self.family, key, &self.until, 0).next();
            key >= &self.until[..] || !matches!(read(), Err(StoreError::Corrupt(_)))
        })
    }

    /// Goes on where the store can read again. `None`: that is right here.
    fn skip(&mut self, what: &str) -> Option<Step<T>> {
        let sought = self.end_of_damage();
        let first = std::mem::replace(&mut self.at, sought.until);
        self.scan = self.store.scan(self.family, &self.at, &self.until, 0);
        self.doubted = None;
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
pub(crate) fn before(key: &[u8]) -> Vec<u8> {
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
    /// The furthest key at which it was tried in vain, if it was tried.
    bad: Vec<u8>,
    last: Vec<u8>,
    until: Vec<u8>,
}

/// Looks for it at growing distances from `from`, then in between: some hundred looks at the most.
fn end_of_damage(from: &[u8], until: &[u8], reads: &dyn Fn(&[u8]) -> bool) -> Sought {
    let (prefix, rest) = from.split_at(from.len().min(PREFIX_BYTES));
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
        return Sought { bad: key(&low), last: before(until), until: until.to_vec() };
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
    Sought { bad: key(&low), last: before(&until), until }
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

    #[test]
    fn a_key_that_may_be_another_one_leaves_a_gap_between_two_that_are_good() {
        use Standing::{Doubtful, Good, OfAnotherKey};
        let entry = |key: &str| DoubtedEntry { key: key.into(), value: Some(Bytes::new()) };
        let check = |block: &[(Standing, &str)], expect: &[InBlock]| {
            let block = block.iter().map(|(standing, key)| (*standing, entry(key))).collect();
            assert_eq!(laid_out(block, b"a", b"g"), expect);
        };
        let is = |key: &str| InBlock::Entry(entry(key));
        let gap = |first: &[u8], next: &[u8]| InBlock::Gap { first: first.to_vec(), last: before(next) };
        check(&[(Good, "b"), (Doubtful, "c"), (Good, "d")], &[is("b"), is("c"), is("d")]);
        check(
            &[(Good, "b"), (Doubtful, "bb"), (OfAnotherKey, "c"), (Good, "d")],
            &[is("b"), gap(b"b\0", b"d"), is("d")],
        );
        check(&[(OfAnotherKey, "b"), (Good, "c")], &[gap(b"a", b"c"), is("c")]);
        check(&[(Good, "b"), (OfAnotherKey, "c")], &[is("b"), gap(b"b\0", b"g")]);
        check(&[(Good, "b"), (Doubtful, "h"), (Good, "i")], &[is("b")]);
        check(&[(Good, "b"), (OfAnotherKey, "h")], &[is("b"), gap(b"b\0", b"g")]);
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
