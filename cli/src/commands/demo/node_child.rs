//! The node of the demo as a process of its own, so that it can really be killed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::exit::{Exit, Failure};

/// Where the node is and where it keeps things; the same before and after it is killed.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) listen: SocketAddr,
    admin: SocketAddr,
    pub(super) data: PathBuf,
    log: PathBuf,
}

#[derive(Debug)]
pub(super) struct NodeChild {
    child: Child,
    /// From starting the process to clients being able to connect.
    pub(super) ready_after: Duration,
    pub(super) started: Instant,
}

const READY_WITHIN: Duration = Duration::from_secs(30);

impl Place {
    pub(super) fn find(directory: &Path) -> Result<Self, Failure> {
        let (listen, admin) = free_ports()?;
        Ok(Self { listen, admin, data: directory.join("data"), log: directory.join("node.log") })
    }

    pub(super) fn server(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Starts a node here and waits until it is ready.
    pub(super) async fn start(&self) -> Result<NodeChild, Failure> {
        let started = Instant::now();
        let mut child = self.command()?.spawn().map_err(|error| Failure::local("start the node's process", error))?;
        let stdout = child.stdout.take().expect("the pipe was asked for");
        let mut lines = BufReader::new(stdout).lines();
        let ready = timeout(READY_WITHIN, lines.next_line()).await;
        let line = ready.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let says: Value = serde_json::from_str(&line).unwrap_or_default();
        if says["ready"] != true {
            return Err(Failure::new(Exit::Failed, format!("the node did not get ready: {}", self.last_words())));
        }
        Ok(NodeChild { child, ready_after: started.elapsed(), started })
    }

    /// What the node said last: an error as JSON, or a line of its log.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing").to_owned();
        let error: Value = serde_json::from_str(&last).unwrap_or_default();
        error.pointer("/error/message").and_then(Value::as_str).map_or(last, str::to_owned)
    }

    fn command(&self) -> Result<Command, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::local("find this program", error))?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| Failure::local(format!("write {}", self.log.display()), error))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--json", "--data"])
            .arg(&self.data)
            .args(["--listen", &self.listen.to_string(), "--admin-listen", &self.admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Of its own, so that ctrl-c in the terminal reaches the demo only.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }
}

impl NodeChild {
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// SIGKILL: the process gets no chance to do anything.
    pub(super) async fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(|error| Failure::local("kill the node", error))
    }

    /// Leaves the process alone from here on.
    pub(super) fn leave(self) {
        // Dropping the child would kill it; what it holds is closed when this program ends.
        std::mem::forget(self.child);
    }
}

/// Two free ports outside of the range from which the system gives ports to clients. Inside of it a client that
/// connects again and again to a dead node may be given the node's own port, and meet itself.
fn free_ports() -> Result<(SocketAddr, SocketAddr), Failure> {
    let first = 17_400 + u16::try_from(std::process::id() % 1_000).expect("below a thousand") * 4;
    let free = |port: u16| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        TcpListener::bind(address).is_ok().then_some(address)
    };
    let mut pairs = (first..30_000).step_by(2).chain((17_400..first).step_by(2));
    pairs
        .find_map(|port| Some((free(port)?, free(port + 1)?)))
        .ok_or_else(|| Failure::local("find free ports", "none between 17400 and 30000"))
}
