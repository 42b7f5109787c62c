//! Room on the disk: how much is left, when writing has to stop, and a ballast that is given back when even the room
//! that was to stay free is used up. Deciding is a function of numbers; the rest looks, and makes and removes a file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// What is kept back. The defaults are meant for a node; tests make them small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Below this many free bytes nothing more is written than what makes room. It is what RocksDB may need for itself
    /// in the meantime: tables that are flushed and compacted, and all that is in flight.
    pub floor_bytes: u64,
    /// The size of the ballast: what an opening may need to write back a write-ahead log at its largest.
    pub ballast_bytes: u64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self { floor_bytes: crate::limits::FLOOR_BYTES, ballast_bytes: crate::limits::BALLAST_BYTES }
    }
}

/// What changed between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing may be written from now on.
    Stopped { free_bytes: u64 },
    /// Writing goes on.
    Resumed { free_bytes: u64 },
}

/// What is to be done with the ballast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Leave,
    Release,
    Restore,
}

/// How the ballast stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ballast {
    Held,
    Missing,
    /// Some file systems cannot set blocks aside.
    Impossible,
}

/// What a look found, and how it was before.
#[derive(Clone, Copy, Debug)]
struct Situation {
    free_bytes: u64,
    writable: bool,
    ballast: Ballast,
}

impl Reserve {
    /// Writing stops at the floor and goes on an eighth above it, so that it does not flutter. The ballast goes when
    /// three quarters of the floor are used up. Room for it comes before room for writing, else what was given back to
    /// open the log would be written full.
    fn choose(self, now: Situation) -> (bool, Measure) {
        let missing = if now.ballast == Ballast::Missing { self.ballast_bytes } else { 0 };
        let enough = self.floor_bytes.saturating_add(self.floor_bytes / 8).saturating_add(missing);
        let writable = now.free_bytes >= if now.writable { self.floor_bytes } else { enough };
        let measure = match now.ballast {
            Ballast::Held if now.free_bytes < self.floor_bytes / 4 => Measure::Release,
            Ballast::Missing if now.free_bytes >= enough => Measure::Restore,
            Ballast::Held | Ballast::Missing | Ballast::Impossible => Measure::Leave,
        };
        (writable, measure)
    }
}

/// The room of a data directory. Looking is cheap: a node does it several times a second.
#[derive(Debug)]
pub struct Space {
    directory: PathBuf,
    reserve: Reserve,
    writable: AtomicBool,
    free_bytes: AtomicU64,
    /// Only who holds this makes or removes the ballast.
    ballast: Mutex<Ballast>,
    /// Nobody has looked yet.
    fresh: AtomicBool,
}

impl Space {
    pub(crate) fn new(directory: &Path, reserve: Reserve) -> Self {
        let ballast = if directory.join(BALLAST_FILE).exists() { Ballast::Held } else { Ballast::Missing };
        Self {
            directory: directory.to_owned(),
            reserve,
            writable: AtomicBool::new(true),
            free_bytes: AtomicU64::new(0),
            ballast: Mutex::new(ballast),
            fresh: AtomicBool::new(true),
        }
    }

    /// Before a log is opened: gives the ballast back where an opening would not find the room that it may need.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        let mut ballast = self.ballast.lock().unwrap_or_else(PoisonError::into_inner);
        let free_bytes = free_bytes(&self.directory)?;
        if *ballast == Ballast::Held && free_bytes < self.reserve.ballast_bytes {
            tracing::warn!(free_bytes, "the disk is nearly full; the ballast makes room for the log to be opened");
            self.release(&mut ballast)?;
        }
        Ok(())
    }

    /// Looks at the disk, and keeps the ballast as it should be. A ballast that cannot be made is not missed: it is a
    /// help for bad days, which this may be one of.
    pub fn look(&self) -> io::Result<Option<Change>> {
        let mut ballast = self.ballast.lock().unwrap_or_else(PoisonError::into_inner);
        let free_bytes = free_bytes(&self.directory)?;
        let (fresh, before) = (self.fresh.swap(false, Ordering::Relaxed), self.is_writable());
        // At the start nobody knows whether writing had stopped; a ballast that is missing says that it had.
        let writable = before && !(fresh && *ballast == Ballast::Missing);
        let (writable, measure) = self.reserve.choose(Situation { free_bytes, writable, ballast: *ballast });
        match measure {
            Measure::Leave => {}
            Measure::Release => {
                tracing::warn!(free_bytes, "the disk is nearly full; the ballast is given back");
                self.release(&mut ballast)?;
            }
            Measure::Restore => match self.restore() {
                Ok(()) => *ballast = Ballast::Held,
                Err(error) => {
                    tracing::debug!(%error, "no ballast could be made");
                    if error.kind() == io::ErrorKind::Unsupported {
                        *ballast = Ballast::Impossible;
                    }
                }
            },
        }
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.writable.store(writable, Ordering::Relaxed);
        Ok(match (before, writable) {
            (true, false) => Some(Change::Stopped { free_bytes }),
            (false, true) => Some(Change::Resumed { free_bytes }),
            (true, true) | (false, false) => None,
        })
    }

    /// Whether there was room at the last look.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// As of the last look.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    pub fn floor_bytes(&self) -> u64 {
        self.reserve.floor_bytes
    }

    fn release(&self, ballast: &mut Ballast) -> io::Result<()> {
        match fs::remove_file(self.directory.join(BALLAST_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => {
                *ballast = Ballast::Missing;
                Ok(())
            }
        }
    }

    /// Blocks of the disk that nothing was written to: they cost no time.
    fn restore(&self) -> io::Result<()> {
        let path = self.directory.join(BALLAST_FILE);
        let file = File::create(&path)?;
        let made = fallocate(&file, FallocateFlags::empty(), 0, self.reserve.ballast_bytes);
        made.map_err(|error| {
            // What could be had of it is of no use, and is taken from others.
            drop(fs::remove_file(&path));
            io::Error::from(error)
        })
    }
}

/// In the data directory; may be removed at any time.
pub(crate) const BALLAST_FILE: &str = "BALLAST";

/// For those without special rights.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const RESERVE: Reserve = Reserve { floor_bytes: 256 * MIB, ballast_bytes: 64 * MIB };

    fn choose(free_mib: u64, writable: bool, ballast: Ballast) -> (bool, Measure) {
        RESERVE.choose(Situation { free_bytes: free_mib * MIB, writable, ballast })
    }

    #[test]
    fn writing_stops_at_the_floor_and_goes_on_above_it() {
        for ballast in [Ballast::Held, Ballast::Impossible] {
            assert_eq!(choose(256, true, ballast), (true, Measure::Leave));
            assert_eq!(choose(255, true, ballast), (false, Measure::Leave));
            assert_eq!(choose(287, false, ballast), (false, Measure::Leave));
            assert_eq!(choose(288, false, ballast), (true, Measure::Leave));
        }
    }

    #[test]
    fn the_ballast_is_given_back_late_and_made_again_before_writing_goes_on() {
        assert_eq!(choose(64, false, Ballast::Held), (false, Measure::Leave));
        assert_eq!(choose(63, false, Ballast::Held), (false, Measure::Release));
        assert_eq!(choose(63, false, Ballast::Missing), (false, Measure::Leave));
        assert_eq!(choose(351, false, Ballast::Missing), (false, Measure::Leave), "its room is not for writing");
        assert_eq!(choose(352, false, Ballast::Missing), (true, Measure::Restore));
        assert_eq!(choose(0, false, Ballast::Impossible), (false, Measure::Leave));
    }

    #[test]
    fn no_floor_and_no_ballast_are_allowed() {
        let none = Reserve { floor_bytes: 0, ballast_bytes: 0 };
        let now = Situation { free_bytes: 0, writable: true, ballast: Ballast::Held };
        assert_eq!(none.choose(now), (true, Measure::Leave));
    }

    #[test]
    fn a_ballast_takes_its_room_and_gives_it_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = Reserve { floor_bytes: 0, ballast_bytes: MIB };
        let space = Space::new(folder.path(), reserve);
        assert_eq!(space.look().expect("a disk"), None);
        let ballast = folder.path().join(BALLAST_FILE);
        assert_eq!(fs::metadata(&ballast).expect("it is there").len(), MIB);
        assert!(space.is_writable() && space.free_bytes() > 0);
        // A floor that no disk reaches: what is there is given back, and writing stops until somebody makes room.
        let full = Space::new(folder.path(), Reserve { floor_bytes: u64::MAX, ballast_bytes: MIB });
        assert!(matches!(full.look().expect("a disk"), Some(Change::Stopped { .. })));
        assert!(!ballast.exists() && !full.is_writable());
        assert_eq!(full.look().expect("a disk"), None, "a change is told once");
    }

    #[test]
    fn what_an_opening_got_back_is_not_written_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let ballast = folder.path().join(BALLAST_FILE);
        fs::write(&ballast, "x").expect("writable");
        let reserve = Reserve { floor_bytes: 0, ballast_bytes: u64::MAX };
        let space = Space::new(folder.path(), reserve);
        space.make_room().expect("a disk");
        assert!(!ballast.exists());
        assert!(matches!(space.look().expect("a disk"), Some(Change::Stopped { .. })));
        let next = Space::new(folder.path(), reserve);
        assert!(matches!(next.look().expect("a disk"), Some(Change::Stopped { .. })), "nor after another start");
    }
}
