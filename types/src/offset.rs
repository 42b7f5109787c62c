//! Where a record stands: in its stream (`Offset`) and in its partition (`Position`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of an event in its stream: dense, from 0, assigned by the kernel. What clients see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(u64);

/// The number of a record in its partition: dense, from 0, assigned by storage. Never leaves the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

/// The number of a stream in its partition, given once by `StreamCreated`, never reused. 0 means "no stream".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamOrdinal(u64);

macro_rules! counter {
    ($name:ident) => {
        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            pub const fn value(self) -> u64 {
                self.0
            }

            /// The one that follows. A counter of 64 bits does not run out: 10⁹ a second last 584 years.
            #[must_use]
            pub const fn next(self) -> Self {
                self.after(1)
            }

            /// The one `count` places on.
            #[must_use]
            pub const fn after(self, count: u64) -> Self {
                Self(self.0.checked_add(count).expect("a 64-bit counter does not run out"))
            }

            /// The one before, or `None` for the first.
            #[must_use]
            pub const fn previous(self) -> Option<Self> {
                match self.0.checked_sub(1) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// How many lie between `earlier` (inclusive) and `self` (exclusive); 0 when `earlier` is not earlier.
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(Offset);
counter!(Position);
counter!(StreamOrdinal);

impl StreamOrdinal {
    /// The mark of a record that belongs to no stream.
    pub const NONE: Self = Self(0);
    /// The ordinal of the first stream of a partition.
    pub const FIRST: Self = Self(1);

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}
