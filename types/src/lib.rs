//! The nouns that every plane shares: ids, offsets, cursors, time, payloads.
//! Knows no clock, no I/O and no plane.

mod cursor;
mod durability;
mod idempotency;
mod ids;
mod offset;
mod partition;
mod payload;
mod refusal;
mod stream;
mod time;

pub use cursor::{Cursor, CursorError, History, Incarnation, StreamStart};
pub use durability::{Durability, DurabilityError};
pub use idempotency::{IdempotencyKey, ProducerId};
pub use ids::{NameError, RunId, RunIdError, TenantId, WorkflowHash};
pub use offset::{Offset, Position, StreamOrdinal};
pub use partition::{PartitionCount, PartitionId, RoutingHash};
pub use payload::Payload;
pub use refusal::{Code, Refusal};
pub use stream::{StreamName, StreamNameError};
pub use time::Timestamp;
