//! A node from start to stop: opens the log, brings partitions back, starts drivers and doors, drains.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::{KeepConfig, Partition, PartitionConfig};
use storage::retention::{Keep, Policy};
use storage::{Log, OpenError, OpenReport, RocksLog, Rows};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use types::{PartitionId, TenantId, Timestamp};

use crate::backend::NodeBackend;
use crate::catalogue::Catalogue;
use crate::clock::LogClock;
use crate::config::Config;
use crate::data_dir;
use crate::disk;
use crate::dispatcher::{Attempt, Dispatcher, Handed, Settings};
use crate::fanout::Fanout;
use crate::limits;
use crate::metrics::{Metrics, Registry};
use crate::open_files::OpenFiles;
use crate::partition::{
    Capacity, Driver, Host, Lane, LaneError, LaneLimits, Mailbox, Notice, Release, Request, StateMemory,
};
use crate::retention::{Retention, RetentionSettings};
use crate::router;
use crate::scrub::{Scrub, ScrubSettings};

/// Why a node did not start, or stopped.
#[derive(Debug, Error)]
pub enum NodeError {
    #[error("failed to open the data directory: {0}")]
    Open(#[from] OpenError),
    #[error("failed to bring the partitions back: {0}")]
    Recover(#[from] LaneError),
    #[error("failed to listen on {address}: {what}")]
    Listen { address: SocketAddr, what: String },
    #[error("{what}")]
    Setup { what: String },
    /// Exit 74: what was in flight may or may not be durable; nothing acknowledged is lost.
    #[error("the node stopped itself: {0}; nothing that was acknowledged is lost: check the disk, then start it again")]
    Log(String),
}

/// The door to starting one.
#[derive(Debug)]
pub struct Node;

/// A node at work.
#[derive(Debug)]
pub struct RunningNode {
    backend: NodeBackend,
    address: SocketAddr,
    admin_address: SocketAddr,
    report: OpenReport,
    ready_after: Duration,
    stop: watch::Sender<bool>,
    doors: tokio::task::JoinHandle<Result<(), gateway::ServeError>>,
    alarm: tokio::task::JoinHandle<()>,
    watch: tokio::task::JoinHandle<()>,
    retention: Retention,
    scrub: Scrub,
    drivers: Vec<JoinHandle<Result<(), LaneError>>>,
    fatal: watch::Receiver<Option<String>>,
    host: Arc<Host>,
}

impl Node {
    /// Opens the data directory and is ready when this returns. Must be called on a tokio runtime.
    pub async fn start(config: Config) -> Result<RunningNode, NodeError> {
        let began = Instant::now();
        let files = OpenFiles::claim(config.gateway.max_connections)
            .map_err(|error| NodeError::Setup { what: error.to_string() })?;
        if files.sockets < config.gateway.max_connections {
            let (limit, asked, sockets) = (files.limit, config.gateway.max_connections, files.sockets);
            tracing::warn!(
                limit,
                asked,
                sockets,
                "the limit of open files (`ulimit -n`) allows fewer sockets than asked"
            );
        }
        // A door that is taken is found out before the log is touched.
        let listener = listen(config.listen)?;
        let admin = listen(config.admin_listen)?;
        let (address, admin_address) = (local(&listener)?, local(&admin)?);
        let (fatal_sender, fatal) = watch::channel(None);
        let registry = Registry::new();
        let settings = config.clone();
        let metrics_registry = registry.clone();
        let opened = tokio::task::spawn_blocking(move || open(&settings, files, &metrics_registry, fatal_sender)).await;
        let opened = opened.map_err(|error| NodeError::Setup { what: error.to_string() })??;
        let Opened { host, lanes, handed, report } = opened;
        let drivers = start_drivers(&host, lanes, handed.as_ref(), config.driver_threads.get())?;
        let retention = Retention::start(host.clone(), retention_settings(&config))
            .map_err(|error| NodeError::Setup { what: format!("failed to start the retention: {error}") })?;
        let scrub = Scrub::start(host.clone(), scrub_settings(&config))
            .map_err(|error| NodeError::Setup { what: format!("failed to start the scrub: {error}") })?;
        let backend = NodeBackend::new(host.clone());
        let alarm = tokio::spawn(ring_alarms(host.clone()));
        let watch = tokio::spawn(disk::watch(host.space.clone(), host.metrics.clone()));
        let (stop, stopped) = watch::channel(false);
        let options = gateway_options(&config, files, admin, registry);
        let doors = tokio::spawn(gateway::serve(listener, backend.clone(), options, until(stopped)));
        let ready_after = began.elapsed();
        host.metrics.ready_ms.set(i64::try_from(ready_after.as_millis()).unwrap_or(i64::MAX));
        Ok(RunningNode {
            backend,
            address,
            admin_address,
            report,
            ready_after,
            stop,
            doors,
            alarm,
            watch,
            retention,
            scrub,
            drivers,
            fatal,
            host,
        })
    }
}

impl RunningNode {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// What opening the data directory found.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// From the call of `start` to ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub fn backend(&self) -> &NodeBackend {
        &self.backend
    }

    /// Resolves when the log has failed: the node must be stopped, exit 74.
    pub async fn failed(&self) -> NodeError {
        let mut fatal = self.fatal.clone();
        let what = match fatal.wait_for(Option::is_some).await {
            Ok(what) => what.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        };
        NodeError::Log(what)
    }

    /// Drains: not ready, goodbye to clients, all that was taken durable, a checkpoint, the log closed.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.backend.begin_draining();
        self.stop.send_replace(true);
        // The doors end with the drain's own deadline.
        drop(self.doors.await);
        self.alarm.abort();
        let (host, retention, scrub) = (self.host.clone(), self.retention, self.scrub);
        let (drivers, log, fatal) = (self.drivers, self.host.log.clone(), self.fatal);
        let closed = within(limits::SETTLE, move || {
            // They ask the drivers, so they end before those do.
            retention.stop();
            scrub.stop();
            host.mailboxes.get().into_iter().flatten().for_each(|mailbox| mailbox.stop());
            settle(drivers, log.as_ref())
        })
        .await?;
        self.watch.abort();
        match fatal.borrow().clone() {
            Some(what) => Err(NodeError::Log(what)),
            None => closed,
        }
    }
}

/// What was taken becomes durable, then the log is closed.
fn settle(drivers: Vec<JoinHandle<Result<(), LaneError>>>, log: &dyn Log) -> Result<(), NodeError> {
    for driver in drivers {
        driver.join().map_err(|_| NodeError::Setup { what: "a partition's driver broke a belief".to_owned() })??;
    }
    log.close().map_err(|error| NodeError::Log(error.to_string()))
}

/// Waits for work that cannot be cut off, at most so long. Its thread is nobody's: the end of the process ends it.
async fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NodeError> {
    let (done, waiting) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("settle".to_owned())
        .spawn(move || drop(done.send(work())))
        .map_err(|error| NodeError::Setup { what: format!("failed to stop in order: {error}") })?;
    match tokio::time::timeout(patience, waiting).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(NodeError::Setup { what: "stopping broke a belief; its message stands above".to_owned() }),
        Err(_) => {
            let seconds = patience.as_secs();
            let what =
                format!("the log was not closed within {seconds} s of the stop; nothing that was acknowledged is lost");
            Err(NodeError::Setup { what })
        }
    }
}

struct Opened {
    host: Arc<Host>,
    lanes: BTreeMap<PartitionId, Lane<Release>>,
    /// What workers may hold of what is owed; `None`: anything.
    handed: Option<BTreeSet<Attempt>>,
    report: OpenReport,
}

fn open(
    config: &Config,
    files: OpenFiles,
    registry: &Registry,
    fatal: watch::Sender<Option<String>>,
) -> Result<Opened, NodeError> {
    let tell = fatal.clone();
    let on_fatal = Arc::new(move |what: &str| drop(tell.send_replace(Some(what.to_owned()))));
    let options = storage_options(config, files, on_fatal);
    let (log, report) = RocksLog::open(&config.data_dir, &options)?;
    log.register(registry).map_err(|what| NodeError::Setup { what })?;
    let token_key = data_dir::token_key(&config.data_dir)
        .map_err(|error| NodeError::Setup { what: format!("failed to read the key of workers' tokens: {error}") })?;
    let partition_config = PartitionConfig {
        default_retry: config.default_retry.clone(),
        idempotency_window_ms: config.idempotency_window_ms,
        cancel_grace_ms: config.cancel_grace_ms,
        keep: KeepConfig {
            stream_ms: config.storage.retention.stream_ms,
            run_ms: config.storage.retention.run_ms,
            tenants: config.storage.retention.tenants_ms.clone(),
        },
        ..PartitionConfig::new(token_key)
    };
    let partitions = log.partitions().partitions().count();
    let open_bytes = StateMemory::share(config.state_memory_bytes, partitions);
    let rows_kept = (limits::ROWS_KEPT / partitions).max(limits::ROWS_KEPT_LEAST);
    let lane_limits = LaneLimits { rows_kept, open_bytes, ..LaneLimits::default() };
    let lanes = recover(log.as_ref(), log.as_ref(), &partition_config, lane_limits, config.driver_threads.get())?;
    let last = lanes.values().map(|lane| lane.partition().log_time(Timestamp::ZERO)).max().unwrap_or_default();
    let (metrics, space) = (Metrics::register(registry), log.space().clone());
    let (file, handed) = Handed::open(&config.data_dir);
    // Before anything is taken it is known whether there is room for it.
    disk::look(&space, &metrics);
    let state = StateMemory::new(config.state_memory_bytes, lanes.len());
    for (&id, lane) in &lanes {
        state.set(id, lane.partition().open_bytes());
    }
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let aside = lanes.values().map(|lane| lane.partition().all_set_aside().len()).sum();
    metrics.runs_set_aside.set(count(aside));
    let unknown: BTreeSet<String> = lanes.values().flat_map(|lane| lane.lost_definitions().iter().cloned()).collect();
    metrics.definitions_lost.set(count(unknown.len()));
    let host = Arc::new(Host {
        log: log.clone(),
        rows: log.clone(),
        storage: log,
        durability: config.storage.durability,
        clock: LogClock::new(last),
        catalogue: Catalogue::default(),
        fanout: Fanout::default(),
        dispatcher: Dispatcher::new(dispatcher_settings(config), file),
        metrics,
        space,
        mailboxes: OnceLock::new(),
        suspicions: OnceLock::new(),
        state,
        lost_definitions: Mutex::new(unknown),
        fatal,
    });
    if host.partitions() != config.partitions {
        let (kept, asked) = (host.partitions().get(), config.partitions.get());
        tracing::warn!(kept, asked, "the data directory keeps the number of partitions that it was made with");
    }
    if let Some(before) = report.upgraded_from {
        tracing::info!(
            before,
            "the data directory was upgraded in place; a headwater before this one no longer opens it"
        );
    }
    if report.new_history {
        tracing::warn!(
            "the last stop was not in order, and acknowledgements had not waited for the disk: the last of what was \
                acknowledged may be missing; a new history begins, and cursors of the old one are refused"
        );
    }
    host.metrics.torn_records.set(i64::try_from(report.torn_records).unwrap_or(i64::MAX));
    Ok(Opened { host, lanes, handed, report })
}

/// Partitions are independent, so each thread brings its share back.
fn recover(
    log: &dyn Log,
    rows: &dyn Rows,
    config: &PartitionConfig,
    limits: LaneLimits,
    threads: usize,
) -> Result<BTreeMap<PartitionId, Lane<Release>>, LaneError> {
    let partitions: Vec<PartitionId> = log.partitions().partitions().collect();
    let share = partitions.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let recovering: Vec<_> = partitions
            .chunks(share)
            .map(|share| {
                scope.spawn(move || {
                    let one = |&id: &PartitionId| {
                        let lane = Lane::recover(id, Partition::new(config.clone()), log, rows, limits)?;
                        Ok((id, lane))
                    };
                    share.iter().map(one).collect::<Result<Vec<_>, LaneError>>()
                })
            })
            .collect();
        let mut lanes = BTreeMap::new();
        for share in recovering {
            lanes.extend(share.join().expect("a recovery reports what it cannot do")?);
        }
        Ok(lanes)
    })
}

/// Starts the drivers with what is owed handed out first; then the door may open.
fn start_drivers(
    host: &Arc<Host>,
    mut lanes: BTreeMap<PartitionId, Lane<Release>>,
    handed: Option<&BTreeSet<Attempt>>,
    threads: usize,
) -> Result<Vec<JoinHandle<Result<(), LaneError>>>, NodeError> {
    let threads = threads.clamp(1, lanes.len().max(1));
    let mut shares: Vec<BTreeMap<PartitionId, Lane<Release>>> = Vec::new();
    for driver in 0..threads {
        let ours: Vec<_> = lanes.keys().copied().filter(|id| id.value() as usize % threads == driver).collect();
        shares.push(ours.into_iter().filter_map(|id| lanes.remove_entry(&id)).collect());
    }
    let mailboxes = shares.iter().map(|share| {
        let partitions: Vec<_> = share.keys().copied().collect();
        let capacity = Capacity { requests: limits::MAILBOX, bytes: limits::MAILBOX_BYTES };
        Arc::new(Mailbox::new(&partitions, capacity))
    });
    host.mailboxes.set(mailboxes.collect()).expect("drivers are started once");
    for lane in shares.iter().flat_map(BTreeMap::values) {
        lane.partition().definitions().for_each(|definition| host.catalogue.publish(definition));
        host.dispatcher.recover(lane.id(), lane.partition().effects(), handed, host.now());
    }
    host.send(host.dispatcher.tick(host.now()));
    let spawn = |(driver, share): (usize, BTreeMap<PartitionId, Lane<Release>>)| {
        let mailbox = host.mailboxes.get().expect("set above")[driver].clone();
        let host = host.clone();
        std::thread::Builder::new()
            .name(format!("driver-{driver}"))
            .stack_size(limits::DRIVER_STACK_BYTES)
            .spawn(move || drive(&host, mailbox, share))
            .map_err(|error| NodeError::Setup { what: format!("failed to start a driver: {error}") })
    };
    shares.into_iter().enumerate().map(spawn).collect()
}

/// A driver that cannot go on, or that found a belief broken, stops the node: no partition is left behind in silence.
fn drive(
    host: &Arc<Host>,
    mailbox: Arc<Mailbox<Request, Notice>>,
    share: BTreeMap<PartitionId, Lane<Release>>,
) -> Result<(), LaneError> {
    let driven = std::panic::catch_unwind(AssertUnwindSafe(|| Driver::new(host.clone(), mailbox, share).run()));
    match driven {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            host.fatal.send_replace(Some(error.to_string()));
            Err(error)
        }
        Err(panic) => {
            host.fatal
                .send_replace(Some("a partition's driver found a belief broken; its message stands above".to_owned()));
            std::panic::resume_unwind(panic)
        }
    }
}

/// Acts when the dispatcher's deadlines pass.
async fn ring_alarms(host: Arc<Host>) {
    loop {
        host.dispatcher.wait_for_deadline(host.now()).await;
        host.send(host.dispatcher.tick(host.now()));
        host.metrics.state_bytes.set(i64::try_from(host.state.held()).unwrap_or(i64::MAX));
        host.metrics.steps_waiting.set(i64::try_from(host.dispatcher.waiting()).unwrap_or(i64::MAX));
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // A node that is gone has stopped as well.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

fn listen(address: SocketAddr) -> Result<TcpListener, NodeError> {
    bind(address).map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
            "the port is in use: stop what uses it, or choose another"
        } else {
            "choose another address"
        };
        NodeError::Listen { address, what: format!("{error}; {hint}") }
    })
}

/// The library's own way to listen lets 128 connections wait; the rest of a herd that comes back would lose a second.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A node that comes back must not wait for its last connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::CONNECTIONS_NOT_ACCEPTED)
}

fn local(listener: &TcpListener) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|error| NodeError::Setup { what: format!("a listener has no address: {error}") })
}

fn dispatcher_settings(config: &Config) -> Settings {
    let (pause_at, resume_at) = match config.queue.pause {
        Some(pause) => (pause.pause_depth, pause.resume_depth),
        None => (config.queue.max_depth, config.queue.max_depth.saturating_sub(1)),
    };
    Settings {
        reclaim_ms: config.reclaim_ms,
        silence_ms: limits::WORKER_SILENCE_MS,
        workers_bytes: limits::WORKERS_BYTES,
        pause_at,
        resume_at,
    }
}

fn retention_settings(config: &Config) -> RetentionSettings {
    let settings = &config.storage.retention;
    // A run's age counts from its close, so a segment of runs may go when all of them are forgotten.
    let run = Keep { age_ms: Some(settings.run_ms), bytes: settings.run_bytes, records: settings.run_records };
    let stream =
        Keep { age_ms: Some(settings.stream_ms), bytes: settings.stream_bytes, records: settings.stream_records };
    RetentionSettings {
        policy: Policy { run, stream },
        tenants: tenants_keep(settings),
        run_ms: settings.run_ms,
        every: Duration::from_millis(settings.check_ms),
    }
}

fn tenants_keep(settings: &crate::config::RetentionSettings) -> BTreeMap<TenantId, Keep> {
    let mut tenants: BTreeMap<TenantId, Keep> = BTreeMap::new();
    for (tenant, bytes) in &settings.tenants_bytes {
        tenants.entry(tenant.clone()).or_default().bytes = Some(*bytes);
    }
    for (tenant, records) in &settings.tenants_records {
        tenants.entry(tenant.clone()).or_default().records = Some(*records);
    }
    tenants
}

fn scrub_settings(config: &Config) -> ScrubSettings {
    let settings = &config.storage.scrub;
    ScrubSettings { bytes_per_second: settings.bytes_per_second, every: Duration::from_millis(settings.every_ms) }
}

fn storage_options(config: &Config, files: OpenFiles, on_fatal: storage::OnFatal) -> storage::Options {
    storage::Options {
        partitions: config.partitions,
        history_seed: router::random_u32(),
        durability: config.storage.durability,
        segment_bytes: config.storage.segment_bytes,
        segment_ms: config.storage.segment_age_ms,
        tail_bytes: config.storage.tail_bytes,
        reserve: storage::Reserve { floor_bytes: config.storage.floor_bytes, ..storage::Reserve::default() },
        open_files: files.log,
        on_fatal: Some(on_fatal),
        ..storage::Options::default()
    }
}

fn gateway_options(config: &Config, files: OpenFiles, admin: TcpListener, registry: Registry) -> gateway::Options {
    let (settings, limits) = (&config.gateway, gateway::Limits::default());
    let drain = Duration::from_millis(config.drain_ms);
    let limits = gateway::Limits {
        connections: files.connections,
        sockets: files.sockets,
        subscriptions: settings.max_subscriptions,
        commands_in_flight: settings.max_commands_in_flight,
        message_bytes: settings.max_message_bytes,
        unsent_bytes: settings.backpressure_threshold_bytes,
        hello_time: Duration::from_millis(settings.hello_ms),
        heartbeat_time: Duration::from_millis(settings.heartbeat_ms),
        pong_time: Duration::from_millis(settings.pong_ms),
        stuck_time: Duration::from_millis(settings.slow_ms),
        drain_window: drain.min(limits.drain_window),
        drain_deadline: drain,
        ..limits
    };
    let web = gateway::WebAccess { origins: settings.allowed_origins.clone(), hosts: settings.allowed_hosts.clone() };
    gateway::Options { admin: Some(admin), registry, limits, web, ..gateway::Options::default() }
}
