//! Random numbers from the operating system: names that collide with nobody's, and spread reconnects.

/// 64 random bits.
pub(crate) fn bits() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u64::from_le_bytes(bytes)
}

/// A name of 32 hex digits that nobody else has drawn.
pub(crate) fn name() -> String {
    format!("{:016x}{:016x}", bits(), bits())
}
