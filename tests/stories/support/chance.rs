//! Chance that can be repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SplitMix64: every seed is a good one, and one seed gives many independent sources.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    pub(crate) seed: u64,
    state: u64,
}

impl Chance {
    /// From `STORY_SEED`, else fresh. Says which, so that a failure shows it.
    pub(crate) fn from_environment() -> Self {
        let given = std::env::var("STORY_SEED").ok();
        let seed = given.map(|seed| seed.parse().expect("STORY_SEED is a whole number"));
        let seed = seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
            now.as_secs() << 20 | u64::from(now.subsec_micros())
        });
        println!("STORY_SEED={seed} repeats what was drawn");
        Self { seed, state: seed }
    }

    /// Another source, the same for the same seed and name.
    pub(crate) fn named(&self, name: &str) -> Self {
        let state = name.bytes().fold(self.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { seed: self.seed, state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }
}
