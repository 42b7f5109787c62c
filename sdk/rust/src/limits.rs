//! Every bound of the client, with its reason.

use std::time::Duration;

/// A node on the same continent answers a handshake well within this; longer means that it is gone or stuck.
pub(crate) const CONNECT_MS: Duration = Duration::from_secs(5);

/// The node's own bound for a client's pong, taken the other way round.
pub(crate) const PONG_MS: Duration = Duration::from_secs(8);

/// A write that does not get through in this time means a dead peer; the node gives a stuck client 10 s too.
pub(crate) const WRITE_MS: Duration = Duration::from_secs(10);

/// An answer over HTTP; long polls add their own waiting time to it.
pub(crate) const ANSWER_MS: Duration = Duration::from_secs(30);

/// Frames handed to the writer and not yet written. Enough for one flush to carry many, small enough to stay fresh.
pub(crate) const WRITER_FRAMES: usize = 256;

/// The largest message a node sends: an event's 256 KiB of payload, base64 and its envelope, with room to spare.
pub(crate) const MESSAGE_BYTES: usize = 4 << 20;

/// Events that wait for the application, and the credit given to the node: the protocol's defaults.
pub(crate) const CREDIT_EVENTS: u32 = 256;
/// Likewise in bytes.
pub(crate) const CREDIT_BYTES: u32 = 1 << 20;

/// Room beside the credit for notices (lost, resumed, gap), so that they do not displace events.
pub(crate) const NOTICES: usize = 16;

/// Appends that a producer has taken and the node has not acknowledged: the node's own bound of commands in flight.
pub(crate) const APPENDS_IN_FLIGHT: usize = 1024;

/// Chunks of one step that were streamed and not yet taken by the node. They are kept to be offered again.
pub(crate) const CHUNKS_UNTAKEN: usize = 256;

/// What a body is given after `cancel` to end by itself.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// A pause before chunks are offered again after the node reported a gap: long enough for answers to what was already
/// under way to arrive, so that one gap causes one repetition.
pub(crate) const GAP_PAUSE: Duration = Duration::from_millis(20);

/// When the node says "later" without saying when.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(200);
