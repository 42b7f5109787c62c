//! Every bound of the connection plane, with its reason. Passing one is answered with a code, never with silence.

use std::time::Duration;

/// The largest integer that JavaScript can count to.
pub(crate) const LARGEST_NUMBER: u64 = (1 << 53) - 1;

/// The bounds of one node's gateway. The defaults are the documented contract; tests make them small.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of every kind at a time: each costs a file of the process.
    pub connections: usize,
    /// How many of them may be sockets. At 10 KiB each this is 500 MB, a node's fair share.
    pub sockets: usize,
    /// Connections of operators: a scraper, a probe, a person.
    pub admin_connections: usize,
    /// Subscriptions of one socket: a page shows a handful, an agent follows a few dozen.
    pub subscriptions: usize,
    /// Commands and worker answers a socket may have in flight; further ones are not read until some are answered.
    pub commands_in_flight: usize,
    /// Backend reads of one socket at a time: what a reconnecting client with many subscriptions can hold in memory.
    pub reads_in_flight: usize,

    /// One inbound message, over all its fragments: twice an event, so that every event fits with its envelope.
    pub message_bytes: usize,
    /// What all connections together may have on their way in, messages and bodies, beyond the first 16 KiB of each.
    pub inbound_bytes: usize,
    /// Answers and frames that clients have still to take, over all connections: a node has to live with 200 MB.
    pub outbound_bytes: usize,
    /// Live events that wait in sockets, each counted once however many of them it is for, over all connections.
    pub live_bytes: usize,
    /// Fragments of one message: no client needs more, and each costs the node a header and a look.
    pub fragments: usize,
    /// One event, input or output. Larger things belong into a blob store, with a link in the event.
    pub event_bytes: usize,
    /// One HTTP request's body: some full events.
    pub request_bytes: usize,
    /// Events in one HTTP append: they become one record batch.
    pub request_events: usize,
    /// The events, and the bytes of events, of one `batch`: the grain at which subscriptions of a socket take turns.
    pub batch_events: usize,
    pub batch_bytes: usize,
    /// Unsent bytes of a socket at which reading for it stops: the log is the send buffer, not our memory.
    pub unsent_bytes: usize,
    /// What the backend is asked for at a time.
    pub read_events: usize,
    /// Events read from the log that wait for their turn in a socket; beyond that no further read is begun.
    pub backlog_bytes: usize,
    /// Live events kept for a socket that is busy writing; beyond that it reads them from the log again.
    pub feed_bytes: usize,
    /// The body of one catch-up answer over HTTP.
    pub response_bytes: usize,
    pub response_events: usize,

    /// The request head: what proxies allow, and no more.
    pub header_bytes: usize,
    /// For the first and every further request head to arrive.
    pub header_time: Duration,
    /// For a request's body to arrive.
    pub body_time: Duration,
    /// For a message to arrive, from its first byte to its last.
    pub message_time: Duration,
    /// For more of a message or a body to arrive, once it has begun: half of what a phone may lose in a tunnel costs
    /// others nothing, more does.
    pub progress_time: Duration,
    /// What holds memory that others wait for has to bring so much in that time: as fast as the largest body has to come
    /// anyway, and others wait for a moment and not for `body_time`.
    pub pace_bytes: usize,
    pub pace_time: Duration,
    /// For memory to come free for a message or a body, of which nothing is read meanwhile: well below the heartbeat.
    pub room_time: Duration,
    /// For `hello` to arrive after the upgrade.
    pub hello_time: Duration,
    /// Silence after which the node pings. Below the 30 s at which common proxies cut idle connections.
    pub heartbeat_time: Duration,
    /// For any sign of life after a ping.
    pub pong_time: Duration,
    /// For a stuck socket to take more bytes while there is something to send.
    pub stuck_time: Duration,
    /// For one buffer to be taken in all, so that a byte now and then does not hold it for ever.
    pub flush_time: Duration,
    /// What an HTTP client has to take in that time at least, while there is more for it: 9 KB/s.
    pub flush_bytes: usize,
    /// The two times, when clients have `outbound_bytes` to take already.
    pub pressed_time: Duration,
    /// How long a filtered-out position may wait before a `mark` tells it.
    pub mark_time: Duration,
    /// For the peer to finish after our close frame.
    pub linger_time: Duration,
    /// The wait of one long poll, of a stream's follower and of a worker's poll.
    pub poll_time: Duration,
    /// Between two comments on a quiet event stream: half of what common proxies allow.
    pub comment_time: Duration,
    /// How long `Prefer: wait` may ask for.
    pub prefer_wait_time: Duration,
    /// Over this window a draining node sends its sockets away, each at another moment.
    pub drain_window: Duration,
    /// When a draining node stops waiting for anyone.
    pub drain_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 51_024,
            sockets: 50_000,
            admin_connections: 64,
            subscriptions: 128,
            commands_in_flight: 1024,
            reads_in_flight: 4,
            message_bytes: 512 * 1024,
            inbound_bytes: 64 * 1024 * 1024,
            outbound_bytes: 24 * 1024 * 1024,
            live_bytes: 16 * 1024 * 1024,
            fragments: 128,
            event_bytes: 256 * 1024,
            request_bytes: 4 * 1024 * 1024,
            request_events: 1024,
            batch_events: 64,
            batch_bytes: 64 * 1024,
            unsent_bytes: 64 * 1024,
            read_events: 512,
            backlog_bytes: 256 * 1024,
            feed_bytes: 256 * 1024,
            response_bytes: 1024 * 1024,
            response_events: 4096,
            header_bytes: 16 * 1024,
            header_time: Duration::from_secs(5),
            body_time: Duration::from_secs(30),
            message_time: Duration::from_secs(30),
            progress_time: Duration::from_secs(10),
            pace_bytes: 64 * 1024,
            pace_time: Duration::from_millis(500),
            room_time: Duration::from_secs(10),
            hello_time: Duration::from_secs(5),
            heartbeat_time: Duration::from_secs(20),
            pong_time: Duration::from_secs(8),
            stuck_time: Duration::from_secs(10),
            flush_time: Duration::from_mins(1),
            flush_bytes: 512 * 1024,
            pressed_time: Duration::from_millis(250),
            mark_time: Duration::from_secs(1),
            linger_time: Duration::from_secs(1),
            poll_time: Duration::from_secs(20),
            comment_time: Duration::from_secs(15),
            prefer_wait_time: Duration::from_mins(1),
            drain_window: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// What `welcome` tells a client.
    pub(crate) fn told(&self) -> protocol::Limits {
        protocol::Limits {
            message_bytes: self.message_bytes,
            event_bytes: self.event_bytes,
            subscriptions: self.subscriptions,
            commands_in_flight: self.commands_in_flight,
        }
    }
}

/// A duration as the wire carries it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
