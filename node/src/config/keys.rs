//! Every setting there is, on one screen: its place in the tree, what is allowed, its default, what it does.

use super::kind::Kind;

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its place in the tree, such as `node.listen`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    /// What follows from it, in a sentence or two; empty where nothing does yet.
    pub(crate) about: &'static str,
}

/// Whether a setting does something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// In force; this text is the default.
    InForce { default: &'static str },
    /// Read and checked, but nothing follows from it yet. Whoever writes it is told so: once for all settings that
    /// are `named` the same, with what is the case instead.
    NotYet { named: &'static str, instead: &'static str },
}

impl Key {
    /// The last part of its path.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().expect("splitting gives at least one part")
    }

    /// Its environment variable: `HEADWATER_NODE__LISTEN`.
    pub(crate) fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.path.to_uppercase().replace('.', "__"))
    }
}

pub(crate) const ENVIRONMENT_PREFIX: &str = "HEADWATER_";

pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether some setting lies below `path`.
pub(crate) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

const fn whole(path: &'static str, default: &'static str, min: u64, max: u64, about: &'static str) -> Key {
    Key { path, kind: Kind::Whole { min, max }, state: State::InForce { default }, about }
}

const fn decimal(path: &'static str, default: &'static str, min: f64, max: f64, about: &'static str) -> Key {
    Key { path, kind: Kind::Decimal { min, max }, state: State::InForce { default }, about }
}

const fn other(path: &'static str, default: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { path, kind, state: State::InForce { default }, about }
}

const fn not_yet(path: &'static str, kind: Kind, named: &'static str, instead: &'static str) -> Key {
    Key { path, kind, state: State::NotYet { named, instead }, about: "" }
}

const HOUR_MS: u64 = 3_600_000;
const GIB: u64 = 1024 * 1024 * 1024;
/// A petabyte.
const MANY_MIB: u64 = 1024 * 1024 * 1024;
/// Ten years.
const MANY_HOURS: u64 = 87_600;
const MANY_RECORDS: u64 = 1_000_000_000_000_000;
const ANY_COUNT: Kind = Kind::Whole { min: 1, max: 1_000_000 };
const ONE_GATEWAY: &str = "a node runs one gateway inside itself, whatever the number of connections";
const NO_DEAD_LETTERS: &str =
    "a step whose attempts are used up fails, and its run with it unless the workflow catches it";

pub(crate) static KEYS: &[Key] = &[
    other(
        "node.data_dir",
        "headwater-data",
        Kind::Directory,
        "Where everything is kept. Relative to the working directory.",
    ),
    other(
        "node.listen",
        "127.0.0.1:7400",
        Kind::LoopbackAddress,
        "Where clients and workers connect. Port 0: any free one.",
    ),
    other("node.admin_listen", "127.0.0.1:7401", Kind::LoopbackAddress, "Where operators and metrics connect."),
    whole(
        "node.partitions",
        "16",
        1,
        1024,
        "How many partitions a new data directory gets; an existing one keeps its number.",
    ),
    other(
        "node.driver_threads",
        "auto",
        Kind::WholeOrAuto { min: 1, max: 256 },
        "Threads that decide, each for its share of the partitions. `auto`: one per core, at most one per partition.",
    ),
    whole("node.drain_ms", "30000", 0, HOUR_MS, "How long a stop waits for what is in flight before it cuts it off."),
    whole(
        "node.state_memory_mib",
        "64",
        1,
        65_536,
        "Memory that open runs may hold. From half of it on, runs that wait for a timer or a signal are left to the disk; when it is used up, new runs are refused with a pause.",
    ),
    other("node.log_format", "pretty", Kind::Choice(&["pretty", "json"]), "Lines for people or for machines."),
    other("node.log_level", "info", Kind::LogLevel, "What is logged; by module too: `info,node::dispatcher=debug`."),
    other(
        "storage.durability",
        "commit",
        Kind::Durability,
        "When an acknowledgement is given: `commit`, after the sync to disk. `interval=<ms>` and `os` do not wait for \
            it: a crash of the machine may take back what was acknowledged, and any stop but one in order begins a new \
            history.",
    ),
    whole("storage.segment_mib", "256", 1, 4096, "A segment is sealed at this size: the unit that retention drops."),
    whole("storage.segment_age_ms", "3600000", 60_000, 720 * HOUR_MS, "A segment is sealed at this age at the latest."),
    whole(
        "storage.retention.run_hours",
        "168",
        1,
        MANY_HOURS,
        "How long a run and its events are kept after it closed.",
    ),
    whole(
        "storage.retention.run_mib",
        "0",
        0,
        MANY_MIB,
        "Beyond so much the oldest closed runs' events go, whatever their age. 0: no limit.",
    ),
    whole("storage.retention.run_records", "0", 0, MANY_RECORDS, "The same, counted in records. 0: no limit."),
    whole(
        "storage.retention.stream_mib",
        "0",
        0,
        MANY_MIB,
        "Beyond so much the oldest events of streams go, whatever their age. 0: no limit.",
    ),
    whole("storage.retention.stream_records", "0", 0, MANY_RECORDS, "The same, counted in records. 0: no limit."),
    other(
        "storage.retention.tenants",
        "none",
        Kind::ByTenant { max: MANY_HOURS, unit: "hours" },
        "Tenants whose streams are kept for another time than `event_plane.retention_hours`: `acme=72, beta=12`.",
    ),
    other(
        "storage.retention.tenants_mib",
        "none",
        Kind::ByTenant { max: MANY_MIB, unit: "MiB" },
        "Tenants of whose streams the oldest events go beyond so much, whatever their age: `acme=1024`. Counted in \
            sealed segments, of each in proportion to the tenant's events in it.",
    ),
    other(
        "storage.retention.tenants_records",
        "none",
        Kind::ByTenant { max: MANY_RECORDS, unit: "records" },
        "The same, counted in records.",
    ),
    whole("storage.retention.check_ms", "60000", 50, HOUR_MS, "How long after a look at what may go comes the next."),
    whole(
        "storage.scrub.mib_per_second",
        "4",
        0,
        65_536,
        "How fast sealed segments are read through in the background to find damage early. 0: only where a read met some.",
    ),
    whole(
        "storage.scrub.every_ms",
        "86400000",
        50,
        720 * HOUR_MS,
        "How long after one round over all sealed segments comes the next.",
    ),
    whole("storage.tail_mib", "16", 1, 4096, "Memory for recent events, shared by all who follow live."),
    whole(
        "storage.floor_mib",
        "256",
        0,
        1024 * 1024,
        "Free space of the disk at which nothing more is written; reads go on. Writing goes on by itself once there is \
         an eighth more.",
    ),
    whole("gateway.hello_ms", "5000", 100, 60_000, "How long a new socket may take to say hello."),
    whole("gateway.heartbeat_ms", "20000", 1_000, HOUR_MS, "How often a quiet socket is pinged."),
    whole("gateway.pong_ms", "8000", 100, 600_000, "How long the answer to a ping may take."),
    whole(
        "gateway.slow_ms",
        "10000",
        100,
        600_000,
        "How long a socket may take nothing before it is closed as too slow.",
    ),
    whole("gateway.max_connections", "50000", 1, 1_000_000, "Open sockets of this node."),
    whole("gateway.max_subscriptions", "128", 1, 10_000, "Subscriptions of one socket."),
    whole("gateway.max_commands_in_flight", "1024", 1, 65_536, "Commands of one socket that wait for their answer."),
    whole("gateway.max_message_bytes", "524288", 1024, 64 * 1024 * 1024, "The largest message a socket may send."),
    other(
        "gateway.allowed_origins",
        "none",
        Kind::Origins,
        "Sites whose web pages may use this node from a browser, as a list. Pages of all others are refused.",
    ),
    other(
        "gateway.allowed_hosts",
        "none",
        Kind::Hosts,
        "Names by which clients may reach this node besides `localhost` and loopback addresses, as a list: those of \
         proxies before it.",
    ),
    whole(
        "workers.reclaim_ms",
        "10000",
        0,
        HOUR_MS,
        "How long a worker that vanished may come back for the steps it holds.",
    ),
    whole(
        "connection_plane.backpressure_threshold_bytes",
        "65536",
        1024,
        GIB,
        "Unsent bytes of a connection from which on nothing more is read for it from the log.",
    ),
    not_yet("connection_plane.gateway_instances", ANY_COUNT, "connection_plane.gateway_instances", ONE_GATEWAY),
    not_yet(
        "connection_plane.session_ttl_seconds",
        Kind::Whole { min: 1, max: 31_536_000 },
        "connection_plane.session_ttl_seconds",
        "no session is kept after a disconnect; a client resumes with its cursors, at any time",
    ),
    not_yet(
        "connection_plane.autoscaling.metric",
        Kind::Choice(&["active_connections"]),
        "connection_plane.autoscaling",
        ONE_GATEWAY,
    ),
    not_yet("connection_plane.autoscaling.target", ANY_COUNT, "connection_plane.autoscaling", ONE_GATEWAY),
    not_yet("connection_plane.autoscaling.min", ANY_COUNT, "connection_plane.autoscaling", ONE_GATEWAY),
    not_yet("connection_plane.autoscaling.max", ANY_COUNT, "connection_plane.autoscaling", ONE_GATEWAY),
    other(
        "event_plane.partition_strategy",
        "tenant_agent_hash",
        Kind::Choice(&["tenant_agent_hash"]),
        "What decides the partition: the tenant with the agent, which is a stream's first segment or a run's key.",
    ),
    whole(
        "event_plane.retention_hours",
        "24",
        1,
        87_600,
        "How long the events of streams and the output of runs are kept, unless a stream says otherwise.",
    ),
    whole(
        "event_plane.max_queue_depth_per_partition",
        "5000",
        1,
        1_000_000,
        "Steps of a partition that may wait for a worker; above it new runs are refused with a pause.",
    ),
    other(
        "event_plane.backpressure.enabled",
        "true",
        Kind::Flag,
        "Whether producers are paused before a queue is full.",
    ),
    decimal(
        "event_plane.backpressure.pause_producer_threshold",
        "0.8",
        0.01,
        1.0,
        "The part of the queue depth at which producers are paused.",
    ),
    decimal(
        "event_plane.backpressure.resume_threshold",
        "0.5",
        0.0,
        0.99,
        "The part of the queue depth at which they go on; below the pause.",
    ),
    whole(
        "orchestration_plane.idempotency_window_hours",
        "48",
        1,
        8760,
        "How long the idempotency key of a start is remembered.",
    ),
    whole(
        "orchestration_plane.cancel_grace_ms",
        "30000",
        0,
        24 * HOUR_MS,
        "How long a cancelled run waits for its steps.",
    ),
    whole(
        "orchestration_plane.retry_policy.max_attempts",
        "3",
        1,
        1000,
        "Attempts of a step whose function says nothing, the first included: 1 means no retry.",
    ),
    whole("orchestration_plane.retry_policy.backoff_base_ms", "1000", 1, HOUR_MS, "The delay before the first retry."),
    decimal("orchestration_plane.retry_policy.multiplier", "2", 1.0, 100.0, "How each further delay grows."),
    whole("orchestration_plane.retry_policy.backoff_cap_ms", "30000", 1, 24 * HOUR_MS, "The longest delay."),
    decimal(
        "orchestration_plane.retry_policy.jitter_factor",
        "0.3",
        0.0,
        1.0,
        "Delays vary by ± this part of themselves.",
    ),
    not_yet("orchestration_plane.dead_letter.enabled", Kind::Flag, "orchestration_plane.dead_letter", NO_DEAD_LETTERS),
    not_yet(
        "orchestration_plane.dead_letter.alert_on_overflow",
        Kind::Flag,
        "orchestration_plane.dead_letter",
        NO_DEAD_LETTERS,
    ),
];
