//! The bounds of what is read and written here, each with its reason.

/// What decoding one event may claim, in memory, before it is refused: bytes from disk are not trusted with a length.
/// The largest event is a `for` over 100,000 items at about 80 bytes each.
pub(super) const EVENT_BYTES: usize = 16 * 1024 * 1024;
/// The same for a row. The largest is a run with 64 open scopes that each keep four values of 256 KiB.
pub(super) const ROW_BYTES: usize = 128 * 1024 * 1024;
/// How many failures may cause each other. JSON readers stop at about as many levels; a longer chain would overflow
/// the stack of whoever drops it.
pub(super) const CAUSES: usize = 128;
