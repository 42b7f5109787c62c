//! The configuration as meant: final types, checked. There is no way to one from settings that are not allowed.
//! `config/keys.rs` lists all settings with bounds and defaults; docs/configuration.md is the same for people.

mod environment;
mod error;
mod keys;
mod kind;
mod overrides;
mod reference;
mod settings;
mod suggest;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use gateway::{HostName, WebOrigin};
use types::{Durability, PartitionCount, TenantId};
use workflow::{Growth, Jitter, RetryPolicy};

pub use self::error::{ConfigError, Origin, Problem, ProblemCode};
pub use self::overrides::ConfigOverrides;
pub use self::reference::reference;
use self::settings::Settings;
use crate::config_file::ConfigFile;
use crate::telemetry::{LogFormat, LogLevel};

/// How a node runs. Made by `load` or `for_dev` only.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Everything that is kept lies below it.
    pub data_dir: PathBuf,
    /// Loopback. Port 0 asks for any free port.
    pub listen: SocketAddr,
    /// Loopback. Port 0 asks for any free port.
    pub admin_listen: SocketAddr,
    /// What a new data directory gets; an existing one keeps its number.
    pub partitions: PartitionCount,
    /// At most one per partition.
    pub driver_threads: NonZeroUsize,
    /// From the request to stop until what is still in flight is cut off.
    pub drain_ms: u64,
    /// What open runs may hold in memory before no more are started.
    pub state_memory_bytes: usize,
    pub log_format: LogFormat,
    pub log_level: LogLevel,
    pub storage: StorageSettings,
    pub gateway: GatewaySettings,
    /// How long a worker that vanished may come back for what it holds.
    pub reclaim_ms: u64,
    pub queue: QueueSettings,
    pub idempotency_window_ms: u64,
    /// How long a cancelled run waits for its steps before it is terminated.
    pub cancel_grace_ms: u64,
    /// For functions that say nothing about retries.
    pub default_retry: RetryPolicy,
    not_in_force: Vec<String>,
}

/// How the log keeps what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageSettings {
    /// When an acknowledgement is given.
    pub durability: Durability,
    /// A segment is sealed at this size or this age, whichever comes first.
    pub segment_bytes: u64,
    pub segment_age_ms: u64,
    /// Memory for recent events, for the whole node.
    pub tail_bytes: usize,
    /// Free bytes of the disk at which nothing more is written.
    pub floor_bytes: u64,
    pub retention: RetentionSettings,
    pub scrub: ScrubSettings,
}

/// How segments are read through for damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubSettings {
    /// 0: only where a read met damage.
    pub bytes_per_second: u64,
    /// From the end of one round over all segments to the next.
    pub every_ms: u64,
}

/// How long what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionSettings {
    /// Runs, since they closed.
    pub run_ms: u64,
    /// Events of streams, since they happened, unless a stream says otherwise.
    pub stream_ms: u64,
    /// For streams of these tenants instead.
    pub tenants_ms: BTreeMap<TenantId, u64>,
    /// What streams of these tenants have in sealed segments at most.
    pub tenants_bytes: BTreeMap<TenantId, u64>,
    pub tenants_records: BTreeMap<TenantId, u64>,
    /// Of blocks, over all partitions; `None`: no limit.
    pub run_bytes: Option<u64>,
    pub stream_bytes: Option<u64>,
    pub run_records: Option<u64>,
    pub stream_records: Option<u64>,
    /// From one look at what may go to the next.
    pub check_ms: u64,
}

/// How patient and how generous the gateway is with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewaySettings {
    pub hello_ms: u64,
    pub heartbeat_ms: u64,
    /// Below `heartbeat_ms`.
    pub pong_ms: u64,
    /// A socket that takes nothing for so long is closed.
    pub slow_ms: u64,
    pub max_connections: usize,
    pub max_subscriptions: usize,
    pub max_commands_in_flight: usize,
    pub max_message_bytes: usize,
    /// Sites whose web pages may use the node.
    pub allowed_origins: Vec<WebOrigin>,
    /// Names of the node besides those of the machine itself.
    pub allowed_hosts: Vec<HostName>,
    /// Unsent bytes of a connection from which on nothing more is read for it from the log.
    pub backpressure_threshold_bytes: usize,
}

/// When too many steps of a partition wait for workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// Waiting steps of a partition; above it new ones are refused with a pause.
    pub max_depth: usize,
    /// `None`: producers are not paused before the queue is full.
    pub pause: Option<PauseSettings>,
}

/// Producers pause at one depth and go on at a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PauseSettings {
    /// At least 1.
    pub pause_depth: usize,
    /// Below `pause_depth`.
    pub resume_depth: usize,
}

impl Config {
    /// Later sources are stronger: defaults, `file`, `env` (names that are not settings are passed over), `overrides`.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &ConfigOverrides,
    ) -> Result<Self, ConfigError> {
        let file = file.map(ConfigFile::read).transpose()?.unwrap_or_default();
        Self::from_sources(file, env, overrides)
    }

    /// All defaults but these two; the admin port is the one after `listen`'s, or any free one beside any free one.
    pub fn for_dev(data_dir: PathBuf, listen: SocketAddr) -> Result<Self, ConfigError> {
        let admin_port = if listen.port() == 0 { 0 } else { listen.port().checked_add(1).unwrap_or(listen.port() - 1) };
        let overrides = ConfigOverrides {
            listen: Some(listen.to_string()),
            admin_listen: Some(SocketAddr::new(listen.ip(), admin_port).to_string()),
            ..ConfigOverrides::default()
        };
        let config = Self::from_sources(ConfigFile::default(), std::iter::empty(), &overrides)?;
        Ok(Self { data_dir, ..config })
    }

    /// One sentence for each setting, or group of settings, that was written and that nothing follows from yet.
    pub fn not_in_force(&self) -> &[String] {
        &self.not_in_force
    }

    fn from_sources(
        file: ConfigFile,
        env: impl Iterator<Item = (String, String)>,
        overrides: &ConfigOverrides,
    ) -> Result<Self, ConfigError> {
        let mut settings = Settings::new();
        settings.put_file(file);
        environment::put_into(&mut settings, env);
        overrides.put_into(&mut settings);
        settings.check()?;
        check_together(&mut settings)?;
        Ok(Self::from_checked(&settings))
    }

    fn from_checked(settings: &Settings) -> Self {
        let partitions = partition_count(settings);
        Self {
            data_dir: PathBuf::from(settings.text("node.data_dir")),
            listen: settings.address("node.listen"),
            admin_listen: settings.address("node.admin_listen"),
            partitions,
            driver_threads: driver_threads(settings, partitions),
            drain_ms: settings.whole("node.drain_ms"),
            state_memory_bytes: to_usize(settings.whole("node.state_memory_mib") * 1024 * 1024),
            log_format: if settings.text("node.log_format") == "json" { LogFormat::Json } else { LogFormat::Pretty },
            log_level: settings.log_level("node.log_level"),
            storage: storage(settings),
            gateway: gateway(settings),
            reclaim_ms: settings.whole("workers.reclaim_ms"),
            queue: queue(settings),
            idempotency_window_ms: settings.whole("orchestration_plane.idempotency_window_hours") * 3_600_000,
            cancel_grace_ms: settings.whole("orchestration_plane.cancel_grace_ms"),
            default_retry: default_retry(settings),
            not_in_force: settings.not_in_force(),
        }
    }
}

/// What is allowed by itself may still not fit together.
fn check_together(settings: &mut Settings) -> Result<(), ConfigError> {
    let (admin, listen) = ("node.admin_listen", "node.listen");
    if settings.address(admin) == settings.address(listen) && settings.address(listen).port() != 0 {
        let message = format!("`{admin}` and `{listen}` are the same address; give one of them another port");
        settings.contradiction([admin, listen], &message);
    }
    let (resume, pause) =
        ("event_plane.backpressure.resume_threshold", "event_plane.backpressure.pause_producer_threshold");
    if settings.decimal(resume) >= settings.decimal(pause) {
        let message = format!("`{resume}` must be below `{pause}`, or producers would pause and go on with every step");
        settings.contradiction([resume, pause], &message);
    }
    let (pong, heartbeat) = ("gateway.pong_ms", "gateway.heartbeat_ms");
    if settings.whole(pong) >= settings.whole(heartbeat) {
        let message = format!("`{pong}` must be below `{heartbeat}`: each ping is answered before the next");
        settings.contradiction([pong, heartbeat], &message);
    }
    let (base, cap) =
        ("orchestration_plane.retry_policy.backoff_base_ms", "orchestration_plane.retry_policy.backoff_cap_ms");
    if settings.whole(base) > settings.whole(cap) {
        let message = format!("`{base}` must not be above `{cap}`, the longest delay");
        settings.contradiction([base, cap], &message);
    }
    settings.check()
}

fn partition_count(settings: &Settings) -> PartitionCount {
    let count = u32::try_from(settings.whole("node.partitions")).ok().and_then(PartitionCount::new);
    count.expect("the table of keys allows what a partition count allows")
}

fn driver_threads(settings: &Settings, partitions: PartitionCount) -> NonZeroUsize {
    let asked = match settings.whole_or_auto("node.driver_threads") {
        Some(threads) => to_usize(threads),
        None => available_parallelism().map_or(1, NonZeroUsize::get),
    };
    NonZeroUsize::new(asked.min(partitions.get() as usize)).expect("both are at least 1")
}

fn storage(settings: &Settings) -> StorageSettings {
    StorageSettings {
        durability: settings.durability("storage.durability"),
        segment_bytes: settings.whole("storage.segment_mib") * 1024 * 1024,
        segment_age_ms: settings.whole("storage.segment_age_ms"),
        tail_bytes: to_usize(settings.whole("storage.tail_mib") * 1024 * 1024),
        floor_bytes: settings.whole("storage.floor_mib") * 1024 * 1024,
        retention: retention(settings),
        scrub: ScrubSettings {
            bytes_per_second: settings.whole("storage.scrub.mib_per_second") * 1024 * 1024,
            every_ms: settings.whole("storage.scrub.every_ms"),
        },
    }
}

fn retention(settings: &Settings) -> RetentionSettings {
    const HOUR_MS: u64 = 3_600_000;
    let limit = |path: &str, unit: u64| Some(settings.whole(path)).filter(|limit| *limit > 0).map(|limit| limit * unit);
    let tenants = |path: &str, unit: u64| -> BTreeMap<TenantId, u64> {
        settings.by_tenant(path).iter().map(|(tenant, number)| (tenant.clone(), number * unit)).collect()
    };
    RetentionSettings {
        run_ms: settings.whole("storage.retention.run_hours") * HOUR_MS,
        stream_ms: settings.whole("event_plane.retention_hours") * HOUR_MS,
        tenants_ms: tenants("storage.retention.tenants", HOUR_MS),
        tenants_bytes: tenants("storage.retention.tenants_mib", 1024 * 1024),
        tenants_records: tenants("storage.retention.tenants_records", 1),
        run_bytes: limit("storage.retention.run_mib", 1024 * 1024),
        stream_bytes: limit("storage.retention.stream_mib", 1024 * 1024),
        run_records: limit("storage.retention.run_records", 1),
        stream_records: limit("storage.retention.stream_records", 1),
        check_ms: settings.whole("storage.retention.check_ms"),
    }
}

fn gateway(settings: &Settings) -> GatewaySettings {
    GatewaySettings {
        hello_ms: settings.whole("gateway.hello_ms"),
        heartbeat_ms: settings.whole("gateway.heartbeat_ms"),
        pong_ms: settings.whole("gateway.pong_ms"),
        slow_ms: settings.whole("gateway.slow_ms"),
        max_connections: to_usize(settings.whole("gateway.max_connections")),
        max_subscriptions: to_usize(settings.whole("gateway.max_subscriptions")),
        max_commands_in_flight: to_usize(settings.whole("gateway.max_commands_in_flight")),
        max_message_bytes: to_usize(settings.whole("gateway.max_message_bytes")),
        allowed_origins: settings.origins("gateway.allowed_origins"),
        allowed_hosts: settings.hosts("gateway.allowed_hosts"),
        backpressure_threshold_bytes: to_usize(settings.whole("connection_plane.backpressure_threshold_bytes")),
    }
}

fn queue(settings: &Settings) -> QueueSettings {
    let depth = settings.whole("event_plane.max_queue_depth_per_partition");
    let pause_depth = part(depth, settings.decimal("event_plane.backpressure.pause_producer_threshold")).max(1);
    let resume_depth = part(depth, settings.decimal("event_plane.backpressure.resume_threshold")).min(pause_depth - 1);
    let enabled = settings.flag("event_plane.backpressure.enabled");
    QueueSettings { max_depth: to_usize(depth), pause: enabled.then_some(PauseSettings { pause_depth, resume_depth }) }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the depth is at most a million and the part lies between 0 and 1"
)]
fn part(depth: u64, of_it: f64) -> usize {
    (depth as f64 * of_it).round() as usize
}

fn default_retry(settings: &Settings) -> RetryPolicy {
    let attempts = settings.whole("orchestration_plane.retry_policy.max_attempts");
    RetryPolicy {
        max_attempts: u32::try_from(attempts).expect("the table of keys allows at most 1,000"),
        initial_ms: settings.whole("orchestration_plane.retry_policy.backoff_base_ms"),
        growth: Growth::Exponential(settings.decimal("orchestration_plane.retry_policy.multiplier")),
        cap_ms: settings.whole("orchestration_plane.retry_policy.backoff_cap_ms"),
        jitter: Jitter::Factor(settings.decimal("orchestration_plane.retry_policy.jitter_factor")),
        max_duration_ms: None,
        non_retryable: Vec::new(),
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("the table of keys allows at most 4 GiB, and a node needs 64 bits")
}
