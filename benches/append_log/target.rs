//! What producers append to: something that takes bytes and answers when they are durable.

use tokio::sync::oneshot;

/// Tells the producer.
pub(crate) type Told = oneshot::Sender<()>;

pub(crate) trait Target: Send + Sync {
    /// The `n`-th append of a producer, who waits for the answer before the next.
    fn append(&self, producer: usize, n: usize, told: Told);
    fn syncs(&self) -> u64;
    /// Ends its threads.
    fn close(&self);
}

/// Text of the kind that models stream, so that compression finds what it usually finds.
pub(crate) fn payload(bytes: usize) -> bytes::Bytes {
    const WORDS: &str = r#"{"type":"token","text":" the","index":17,"model":"m-4","logprob":-0.0312},"#;
    let mut state = 7_u64;
    let mut text: Vec<u8> = WORDS.bytes().cycle().take(bytes).collect();
    for byte in text.iter_mut().step_by(3) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = b'a' + u8::try_from((state >> 33) % 26).expect("26 letters");
    }
    text.into()
}
