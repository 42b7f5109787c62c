//! What happened in histories, so that nobody believes in tests where nothing does; and one number for all of it.

use std::fmt;

use engine::Rejection;
use storage::StoredRecord;

use crate::machine::Heard;

/// FNV-1a over all that became durable and all that was answered: the same on every machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Digest {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn record(&mut self, stored: &StoredRecord) {
        let record = &stored.record;
        let numbers = [stored.position.value(), record.time.as_millis(), record.stream.value(), record.offset.value()];
        for number in numbers {
            self.bytes(&number.to_le_bytes());
        }
        self.bytes(&[u8::from(record.cause)]);
        self.bytes(&record.key);
        self.bytes(&record.payload);
    }
}

macro_rules! tally {
    ($($what:ident),*) => {
        /// How often each thing happened.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $what: u64,)*
        }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$what += other.$what;)*
            }

            /// By name.
            pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($what), self.$what),)*]
            }
        }
    };
}

tally!(
    events,
    causes,
    runs,
    answers,
    duplicates,
    rejections,
    stale,
    forged,
    gaps,
    conflicts,
    effects,
    reads,
    crashes,
    lost_batches,
    clean_restarts,
    idle,
    failed_syncs,
    full_disks,
    flips
);

impl Tally {
    pub(crate) fn answer(&mut self, heard: &Heard) {
        self.answers += 1;
        match heard {
            Heard::Outcome(Ok(answer)) => {
                self.duplicates += u64::from(format!("{answer:?}").contains("duplicate: true"));
            }
            Heard::Outcome(Err(rejection)) => self.rejection(rejection),
            Heard::Stream(_) | Heard::Run(_) | Heard::Attempt(_) => {}
        }
    }

    fn rejection(&mut self, rejection: &Rejection) {
        self.rejections += 1;
        self.stale += u64::from(*rejection == Rejection::StaleAttempt);
        self.forged += u64::from(*rejection == Rejection::ForgedToken);
        self.gaps += u64::from(matches!(rejection, Rejection::ProducerGap { .. } | Rejection::ChunkGap { .. }));
        self.conflicts +=
            u64::from(matches!(rejection, Rejection::IdempotencyConflict { .. } | Rejection::SequenceConflict { .. }));
    }
}
