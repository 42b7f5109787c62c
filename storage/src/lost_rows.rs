//! Where rows were lost: keys of which not even the names could be read when the table that held them was taken out. Who asks
//! for a row there that is not there is told, as if the damaged table were still asked. The mark outlives a restart.

use std::fmt;

use bytes::Bytes;
use types::PartitionId;

use crate::checked::{seal, unseal};
use crate::codec::Damage;
use crate::damage_walk::{before, behind};
use crate::keys::{Family, MetaKey};
use crate::limits::LOST_ROWS;
use crate::store::{Batch, Entry, Store, StoreError};

const VERSION: u8 = 1;

/// Nothing is known of the rows from `first` up to `last`, both included, but of those that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostRows {
    pub(crate) first: Vec<u8>,
    pub(crate) last: Vec<u8>,
    /// A sentence.
    pub(crate) what: String,
}

/// `rows from key … to … cannot be read: …`
impl fmt::Display for LostRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, what } = self;
        write!(f, "rows from {first:02x?} to {last:02x?} cannot be read: {what}")
    }
}

impl LostRows {
    fn key(&self) -> Vec<u8> {
        MetaKey::lost_rows(&self.first)
    }

    fn value(&self) -> Bytes {
        let len = u32::try_from(self.last.len()).expect("a row's id has at most 1 KiB");
        let body = [&len.to_le_bytes()[..], &self.last, self.what.as_bytes()].concat();
        seal(&self.key(), VERSION, &body)
    }

    pub(crate) fn from_value(first: &[u8], value: &[u8]) -> Result<Self, Damage> {
        let mut reader = unseal(&MetaKey::lost_rows(first), VERSION, value)?;
        let len = reader.u32()? as usize;
        let (last, what) = reader.rest().split_at_checked(len).ok_or_else(|| Damage::new("a key is too short"))?;
        Ok(Self { first: first.to_vec(), last: last.to_vec(), what: String::from_utf8_lossy(what).into_owned() })
    }
}

/// All of a partition, in the order of their keys; none touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllLost(Vec<LostRows>);

impl AllLost {
    /// As kept in the store. A mark that cannot be read is an error: nobody knows how far it reaches.
    pub(crate) fn of_partition(store: &dyn Store, partition: PartitionId) -> Result<Self, StoreError> {
        let (from, until) = MetaKey::all_lost_rows(partition);
        let mut scan = store.scan(Family::Meta, &from, &until, 0);
        let mut all = Vec::new();
        while let Some((key, value)) = scan.next()? {
            // The kind goes before what is a row's key.
            let lost = LostRows::from_value(&key[1..], &value);
            all.push(lost.map_err(|damage| StoreError::Corrupt(format!("which rows were lost is damaged: {damage}")))?);
        }
        Ok(Self(all))
    }

    /// Adds what comes behind all that is there. Beyond the bound the last one reaches over the rows in between.
    pub(crate) fn add(&mut self, lost: LostRows) {
        let is_full = self.0.len() >= LOST_ROWS;
        match self.0.last_mut() {
            Some(before) if is_full || behind(&before.last) >= lost.first => {
                before.last = lost.last.max(std::mem::take(&mut before.last));
            }
            Some(_) | None => self.0.push(lost),
        }
    }

    /// Both, in order.
    pub(crate) fn with(self, other: Self) -> Self {
        let mut both: Vec<_> = self.0.into_iter().chain(other.0).collect();
        both.sort_by(|one, other| one.first.cmp(&other.first));
        let mut all = Self::default();
        for lost in both {
            all.add(lost);
        }
        all
    }

    /// Writes them in the place of all that the partition has.
    pub(crate) fn write(&self, partition: PartitionId, batch: &mut Batch) {
        let (from, until) = MetaKey::all_lost_rows(partition);
        batch.delete_range(Family::Meta, &from, &until);
        self.entries().for_each(|(key, value)| batch.put(Family::Meta, &key, value));
    }

    /// As they are kept.
    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().map(|lost| (lost.key(), lost.value()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LostRows> {
        self.0.iter()
    }

    /// Why nothing is known of a row that is not there.
    pub(crate) fn at(&self, key: &[u8]) -> Option<&str> {
        let found = self.0.iter().find(|lost| lost.first[..] <= *key && *key <= lost.last[..]);
        found.map(|lost| &lost.what[..])
    }

    /// What is lost of the keys from `from` until `next`, none of which is there: it ends a little before `next`, and who goes
    /// on behind its end is not told again.
    pub(crate) fn between(&self, from: &[u8], next: &[u8]) -> Vec<LostRows> {
        let end = before(next);
        let cut = |lost: &LostRows| LostRows {
            first: from.max(&lost.first).to_vec(),
            last: end.clone().min(lost.last.clone()),
            what: lost.what.clone(),
        };
        self.0.iter().map(cut).filter(|lost| lost.first <= lost.last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(first: &[u8], last: &[u8]) -> LostRows {
        let key = |id: &[u8]| [&[0, 0, 0, 1, 2][..], id].concat();
        LostRows { first: key(first), last: key(last), what: "a table was damaged".to_owned() }
    }

    fn all(lost: &[LostRows]) -> AllLost {
        let mut all = AllLost::default();
        for lost in lost {
            all.add(lost.clone());
        }
        all
    }

    #[test]
    fn a_mark_comes_back_in_its_place_only() {
        let mark = lost(b"b", b"dd");
        assert_eq!(LostRows::from_value(&mark.first, &mark.value()), Ok(mark.clone()));
        assert!(LostRows::from_value(&mark.last, &mark.value()).is_err());
    }

    #[test]
    fn a_row_that_is_not_there_is_known_to_be_lost() {
        let all = all(&[lost(b"b", b"d"), lost(b"f", b"f")]);
        let told = |id: &[u8]| all.at(&lost(id, id).first).is_some();
        let found: Vec<_> = [&b"a"[..], b"b", b"cc", b"d", b"d0", b"f", b"f0"].map(told).into();
        assert_eq!(found, [false, true, true, true, false, true, false]);
    }

    #[test]
    fn what_is_lost_is_told_once_around_what_is_there() {
        let all = all(&[lost(b"b", b"d")]);
        let key = |id: &[u8]| lost(id, id).first;
        let (mut at, mut told) = (key(b"a"), 0);
        for next in [key(b"c"), key(b"c0"), key(b"z")] {
            for lost in all.between(&at, &next) {
                assert!(lost.last < next && lost.first >= at && lost.first <= lost.last, "{lost:?}");
                told += 1;
                assert_eq!(all.between(&behind(&lost.last), &next), [], "it is told again");
            }
            at = behind(&next);
        }
        assert_eq!(told, 3, "before c, between c and c0, and behind c0");
    }

    #[test]
    fn there_are_not_too_many_and_none_is_forgotten() {
        let number = |number: usize| u16::try_from(number).expect("small").to_be_bytes();
        let many: Vec<_> = (0..LOST_ROWS * 2).map(|n| lost(&number(n * 3), &number(n * 3 + 1))).collect();
        let all = all(&many);
        assert_eq!(all.0.len(), LOST_ROWS);
        assert!(many.iter().all(|lost| all.at(&lost.first).is_some() && all.at(&lost.last).is_some()));
    }
}
