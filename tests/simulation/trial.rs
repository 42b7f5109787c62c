//! Plays histories and says, of the first that fails, its seed and why.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crate::history;
use crate::machine::Plant;
use crate::tally::{Digest, Tally};

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    seed: u64,
    pub(crate) what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} (HEADWATER_SIM_SEED={} replays it): {}", self.seed, self.seed, self.what)
    }
}

thread_local! {
    /// A panic on this thread is a history's, and is told with its seed.
    static PLAYING: Cell<bool> = const { Cell::new(false) };
}

/// Panics of histories are not printed where they happen: they come back as failures.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !PLAYING.get() {
                before(info);
            }
        }));
    });
}

fn play(seed: u64, plant: Option<Plant>) -> Result<(Digest, Tally), Failure> {
    quieten();
    PLAYING.set(true);
    let played = catch_unwind(AssertUnwindSafe(|| history::play(seed, plant)));
    PLAYING.set(false);
    played.map_err(|panic| Failure { seed, what: message(panic.as_ref()) })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// One history, which must hold.
pub(crate) fn replay(seed: u64) -> (Digest, Tally) {
    play(seed, None).unwrap_or_else(|failure| panic!("{failure}"))
}

/// All histories of these seeds, shared out over the machine's cores; or the failure with the lowest seed met.
pub(crate) fn all(seeds: Range<u64>) -> Result<Tally, Failure> {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let sum = Mutex::new((Tally::default(), None::<Failure>));
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let played = play(seed, None);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            match played {
                Ok((_, tally)) => sum.0.add(&tally),
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    let lower = sum.1.as_ref().is_none_or(|known| failure.seed < known.seed);
                    sum.1 = if lower { Some(failure) } else { sum.1.take() };
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let (tally, failure) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(tally), Err)
}

/// The first of these seeds whose history breaks a promise.
pub(crate) fn first_failure(mut seeds: Range<u64>, plant: Option<Plant>) -> Option<Failure> {
    seeds.find_map(|seed| play(seed, plant).err())
}
