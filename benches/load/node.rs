//! The node under test: the real binary in its own process, watched from outside.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http;

/// The kernel's unit in `/proc/PID/stat`: 100 a second on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A node at work; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    process: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// From the start of the process to its word that it is ready.
    pub(crate) ready_after: Duration,
}

/// What a node has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// Sent to the disk by the kernel on the node's behalf.
    pub(crate) written_bytes: f64,
    pub(crate) syncs: f64,
    /// Writes of the `COMMIT` file, each of which is synced as well.
    pub(crate) watermarks: f64,
}

impl Node {
    /// Starts on any free port.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_at(data, 0)
    }

    /// Starts on this port.
    pub(crate) fn start_at(data: &Path, port: u16) -> Self {
        let began = Instant::now();
        let binary = binary();
        let mut process = Command::new(&binary)
            .args(["dev", "--json", "--port", &port.to_string(), "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a pipe can be read");
        let ready_after = began.elapsed();
        let ready: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the node said {line:?} instead of being ready; its own words stand above"));
        let address = |name: &str| {
            let text = ready[name].as_str().and_then(|text| text.strip_prefix("http://"));
            text.and_then(|text| text.parse().ok()).expect("the ready line names addresses")
        };
        Self { address: address("address"), admin: address("admin"), process, ready_after }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it was killed");
    }

    pub(crate) fn usage(&self) -> Usage {
        let metrics = http::get(self.admin, "/metrics");
        let metric = |name: &str| {
            let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            lines.next().and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no metric {name}"))
        };
        let stat = self.proc("stat");
        // The name in parentheses may hold spaces; user and system time are the 14th and 15th fields.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("times are numbers");
        Usage {
            cpu_seconds: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
            written_bytes: number(&self.proc("io"), "write_bytes:"),
            syncs: metric("headwater_log_sync_seconds_count"),
            watermarks: metric("headwater_log_watermarks_total"),
        }
    }

    /// The most memory it has held since the last call of `forget_peak`.
    pub(crate) fn peak_bytes(&self) -> f64 {
        number(&self.proc("status"), "VmHWM:") * 1024.0
    }

    pub(crate) fn forget_peak(&self) {
        // Where that is not allowed the peak is that of the whole life.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5");
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process.id());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Usage {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written_bytes: self.written_bytes - before.written_bytes,
            syncs: self.syncs - before.syncs,
            watermarks: self.watermarks - before.watermarks,
        }
    }
}

/// A port for clients whose next one, for metrics, is free too.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
        let port = listener.local_addr().expect("it is bound").port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return port;
        }
    }
}

/// The binary beside this bench, or the one that `HEADWATER_BIN` names.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HEADWATER_BIN") {
        return path.into();
    }
    let bench = std::env::current_exe().expect("a process has an executable");
    let binary = bench.parent().and_then(Path::parent).expect("benches stand in target/release/deps").join("headwater");
    if !binary.exists() {
        eprintln!("{} is not built: run `make bench`, or first `cargo build --release -p cli`", binary.display());
        std::process::exit(1);
    }
    binary
}

fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    let value = line.split_whitespace().next().and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{name} is no number"))
}
