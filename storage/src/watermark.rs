//! The commit watermark: what is known to be durable, kept outside RocksDB so that a log cut short is noticed.
//!
//! File `COMMIT`: two slots, written in turn, each whole and synced by the write itself (`O_DSYNC`). A write torn by a
//! power cut spoils one slot at most; the other is older by one write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use types::{PartitionCount, PartitionId, Position};

use crate::codec::{Damage, Reader};
use crate::error::OpenError;

const MAGIC: [u8; 4] = *b"HwC\x01";
const VERSION: u16 = 1;
const CLEAN: u16 = 1;
const RELAXED: u16 = 2;
const CHECKED_FROM: usize = 8;
/// Room for 1,024 partitions.
const SLOT_BYTES: usize = 16 * 1024;

/// What was durable when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// The node stopped in order: nothing was in flight, and the log ends exactly here.
    pub(crate) clean: bool,
    /// What was acknowledged may lie beyond what is durable: the last opening was not for `commit`.
    pub(crate) relaxed: bool,
    /// How many times the log was opened for writing.
    pub(crate) term: u32,
    /// The store's number of the last durable change.
    pub(crate) sequence: u64,
    /// One past the last durable record of each partition.
    pub(crate) durable: Vec<Position>,
}

impl Watermark {
    /// Of a new log.
    pub(crate) fn initial(partitions: PartitionCount, sequence: u64) -> Self {
        Self {
            clean: true,
            relaxed: false,
            term: 0,
            sequence,
            durable: vec![Position::ZERO; partitions.get() as usize],
        }
    }

    /// Whether something that was acknowledged may be missing without a trace.
    pub(crate) const fn may_lack(&self) -> bool {
        self.relaxed && !self.clean
    }

    /// All partitions it knows.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..).take(self.durable.len()).map(PartitionId::new)
    }

    /// `turn` counts the writes of the file: the slot with the higher one holds.
    pub(crate) fn encode(&self, turn: u64) -> Vec<u8> {
        let count = u32::try_from(self.durable.len()).expect("there are at most 1,024 partitions");
        let mut out = Vec::with_capacity(SLOT_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let flags = if self.clean { CLEAN } else { 0 } | if self.relaxed { RELAXED } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&turn.to_le_bytes());
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        for durable in &self.durable {
            out.extend_from_slice(&durable.value().to_le_bytes());
        }
        let crc = crc32fast::hash(&out[CHECKED_FROM..]);
        out[4..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(slot: &[u8]) -> Result<(u64, Self), Damage> {
        let mut reader = Reader::new(slot);
        if reader.bytes(4)? != MAGIC {
            return Err(Damage::new("it does not begin as it should"));
        }
        let crc = reader.u32()?;
        let (version, flags, count) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let (turn, term, sequence) = (reader.u64()?, reader.u32()?, reader.u64()?);
        let count = PartitionCount::try_from(count).map_err(Damage)?;
        let durable: Vec<_> =
            (0..count.get()).map(|_| reader.u64().map(Position::new)).collect::<Result<_, Damage>>()?;
        let checked = slot.len() - reader.rest().len();
        let found = crc32fast::hash(&slot[CHECKED_FROM..checked]);
        if crc != found {
            return Err(Damage(format!("its check is {crc:#010x} but its bytes give {found:#010x}")));
        }
        if version != VERSION || flags & !(CLEAN | RELAXED) != 0 {
            return Err(Damage(format!("it has the unknown version {version} or flags {flags:#x}")));
        }
        let (clean, relaxed) = (flags & CLEAN != 0, flags & RELAXED != 0);
        Ok((turn, Self { clean, relaxed, term, sequence, durable }))
    }
}

/// A file with both slots written, as bytes.
pub(crate) fn whole_file(watermark: &Watermark) -> Vec<u8> {
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    for turn in [1, 2] {
        let slot = watermark.encode(turn);
        let at = usize::try_from(place(turn)).expect("a slot lies in the file");
        bytes[at..at + slot.len()].copy_from_slice(&slot);
    }
    bytes
}

/// Where the slot of a turn begins.
const fn place(turn: u64) -> u64 {
    if turn.is_multiple_of(2) { 0 } else { SLOT_BYTES as u64 }
}

/// Both slots, from the bytes of the file: the newer good one and its turn, or what is wrong with both.
pub(crate) fn choose(bytes: &[u8]) -> Result<(u64, Watermark), Damage> {
    let slot = |at: usize| Watermark::decode(bytes.get(at..).unwrap_or_default());
    match (slot(0), slot(SLOT_BYTES)) {
        (Ok(one), Ok(other)) => Ok(if one.0 > other.0 { one } else { other }),
        (Ok(good), Err(_)) | (Err(_), Ok(good)) => Ok(good),
        (Err(first), Err(second)) => Err(Damage(format!("its first half: {first}; its second half: {second}"))),
    }
}

/// Reads the file without opening it for writing. That it is not there is damage like any other.
pub(crate) fn read(path: &Path) -> io::Result<Result<Watermark, Damage>> {
    Ok(good_slot(path)?.map(|(_, watermark)| watermark))
}

fn good_slot(path: &Path) -> io::Result<Result<(u64, Watermark), Damage>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(choose(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(Damage::new("the file is not there"))),
        Err(error) => Err(error),
    }
}

/// Why a directory with such a file is not served.
pub(crate) fn unbelievable(path: &Path, damage: &Damage) -> OpenError {
    let what = format!(
        "{damage}, so whether acknowledged data is missing cannot be known (`headwater repair --accept-loss` goes on with \
         what is there, under a new history)"
    );
    OpenError::Damaged { place: path.display().to_string(), what }
}

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct WatermarkFile {
    file: File,
    turn: u64,
}

impl WatermarkFile {
    /// Makes the file with both slots written, so that later writes change no size and allocate nothing.
    pub(crate) fn create(path: &Path, watermark: &Watermark) -> io::Result<Self> {
        let file = open(path, true)?;
        file.write_all_at(&vec![0; 2 * SLOT_BYTES], 0)?;
        let mut new = Self { file, turn: 0 };
        new.write_both(watermark)?;
        Ok(new)
    }

    pub(crate) fn open(path: &Path) -> io::Result<Result<(Self, Watermark), Damage>> {
        Ok(match good_slot(path)? {
            Ok((turn, watermark)) => Ok((Self { file: open(path, false)?, turn }, watermark)),
            Err(damage) => Err(damage),
        })
    }

    /// Durable when it returns.
    pub(crate) fn write(&mut self, watermark: &Watermark) -> io::Result<()> {
        self.turn += 1;
        self.file.write_all_at(&watermark.encode(self.turn), place(self.turn))
    }

    /// So that a spoiled slot cannot bring back an older term.
    pub(crate) fn write_both(&mut self, watermark: &Watermark) -> io::Result<()> {
        self.write(watermark)?;
        self.write(watermark)
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let synced = rustix::fs::OFlags::DSYNC.bits().cast_signed();
    OpenOptions::new().read(true).write(true).create(create).custom_flags(synced).open(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_watermark() -> impl Strategy<Value = Watermark> {
        let durable = prop::collection::vec(any::<u64>().prop_map(Position::new), 1..=1024);
        (any::<[bool; 2]>(), any::<u32>(), any::<u64>(), durable).prop_map(|(flags, term, sequence, durable)| {
            Watermark { clean: flags[0], relaxed: flags[1], term, sequence, durable }
        })
    }

    proptest! {
        #[test]
        fn a_watermark_comes_back(watermark in any_watermark(), turn: u64) {
            let bytes = watermark.encode(turn);
            prop_assert!(bytes.len() <= SLOT_BYTES);
            prop_assert_eq!(Watermark::decode(&bytes), Ok((turn, watermark)));
        }
    }

    fn sample(term: u32) -> Watermark {
        Watermark { clean: false, relaxed: false, term, sequence: 9, durable: vec![Position::new(5), Position::new(6)] }
    }

    #[test]
    fn the_newer_slot_holds_and_a_torn_one_falls_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("COMMIT");
        let mut file = WatermarkFile::create(&path, &sample(1)).expect("made");
        file.write(&sample(2)).expect("written");
        file.write(&sample(3)).expect("written");
        assert_eq!(read(&path).expect("read"), Ok(sample(3)));
        let (mut file, found) = WatermarkFile::open(&path).expect("read").expect("good");
        assert_eq!(found, sample(3));
        file.write(&sample(4)).expect("written");
        assert_eq!(read(&path).expect("read"), Ok(sample(4)));

        let good = std::fs::read(&path).expect("read");
        let mut chosen = [0; 2];
        for half in [0, SLOT_BYTES] {
            let mut torn = good.clone();
            torn[half + 20..half + 60].fill(0xff);
            let (_, found) = choose(&torn).expect("the other half is good");
            chosen[usize::from(half != 0)] = found.term;
        }
        chosen.sort_unstable();
        assert_eq!(chosen, [3, 4]);
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_found() {
        let bytes = sample(1).encode(7);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Watermark::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn two_spoiled_slots_are_damage() {
        assert!(choose(&[]).is_err());
        assert!(choose(&vec![0; 2 * SLOT_BYTES]).is_err());
    }
}
