//! What the benches over the wire share: the node in its own process, and a client so lean that what is measured is
//! the node, though both use the same cores.

#![allow(dead_code, reason = "each bench uses what it needs of it")]

pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod raw_server;
pub(crate) mod socket;
pub(crate) mod steps;

/// Text of the kind that models stream, as JSON of exactly so many bytes.
pub(crate) fn event(bytes: usize, seed: u64) -> String {
    const OPEN: &str = r#"{"type":"token","text":""#;
    const CLOSE: &str = r#""}"#;
    let mut state = seed;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let drawn = u8::try_from((state >> 33) % 32).expect("less than 32");
        if drawn < 26 { char::from(b'a' + drawn) } else { ' ' }
    };
    let text: String = (0..bytes.saturating_sub(OPEN.len() + CLOSE.len())).map(|_| letter()).collect();
    format!("{OPEN}{text}{CLOSE}")
}

/// Runs a bench's client on one thread, so that the node keeps what is left of the machine.
pub(crate) fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs a few descriptors only");
    runtime.block_on(tokio::task::LocalSet::new().run_until(work))
}

/// A number of things as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts of a few minutes")]
pub(crate) const fn figure(count: u64) -> f64 {
    count as f64
}

/// Where a node's data stands during a bench: on the disk that the build uses, not in memory.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's own folder is writable")
}
