//! A node as a process of its own, so that it can really be killed, on a place that outlives it.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use headwater_client::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::program::{self, Printed, Program};
use super::{Signal, soon, tell};

/// Where a node is and where it keeps things; the same before and after it is killed.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    settings: Vec<String>,
    /// A program that runs the node's, with its arguments.
    under: Vec<String>,
}

/// A node that is ready. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    child: Child,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("headwater-story-").tempdir().expect("a temporary directory");
        let (listen, admin) = (free_address(), free_address());
        // No story waits for clients to leave by themselves.
        let data = folder.path().join("data");
        Self { folder, data, listen, admin, settings: Vec::new(), under: Vec::new() }.set("node.drain_ms", "200")
    }

    /// With its data directory elsewhere.
    pub(crate) fn at(data: &Path) -> Self {
        Self { data: data.to_owned(), ..Self::new() }
    }

    /// The same data directory and settings for a node that another program runs.
    pub(crate) fn under(&self, program: &[String]) -> Self {
        Self { under: program.to_vec(), settings: self.settings.clone(), ..Self::at(&self.data) }
    }

    /// Another node's place with the same data directory.
    pub(crate) fn sharing(other: &Self) -> Self {
        Self::at(&other.data)
    }

    #[must_use]
    pub(crate) fn set(mut self, setting: &str, value: &str) -> Self {
        self.settings.push(format!("{setting}={value}"));
        self
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// A place for files of the story.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("the temporary directory can be written");
        path
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.server()).expect("an address").named("story/1")
    }

    pub(crate) fn server(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// The program, talking to this node.
    pub(crate) fn program(&self) -> Program {
        Program::at(&self.server(), &format!("http://{}", self.admin))
    }

    /// Starts a node here and waits until it is ready.
    pub(crate) async fn start(&self) -> NodeProcess {
        match self.try_start().await {
            Ok(node) => node,
            Err(printed) => panic!("the node did not get ready: {printed}"),
        }
    }

    /// Starts a node that must not come up, and gives what it said.
    pub(crate) async fn refused(&self) -> Printed {
        match self.try_start().await {
            Ok(node) => panic!("the node came up: {}", node.ready),
            Err(printed) => printed,
        }
    }

    /// Starts a node that may come up or not.
    pub(crate) async fn try_start(&self) -> Result<NodeProcess, Printed> {
        let mut child = self.command().spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("the pipe was asked for");
        let mut lines = BufReader::new(stdout).lines();
        let line = soon("the node to be ready", lines.next_line()).await.expect("its output is text");
        let ready: Value = serde_json::from_str(line.as_deref().unwrap_or_default()).unwrap_or_default();
        if ready["ready"] == true {
            return Ok(NodeProcess { child, ready });
        }
        let status = soon("the node to end", child.wait()).await.expect("a child ends once");
        Err(Printed::new(status, line.unwrap_or_default(), self.log()))
    }

    fn command(&self) -> Command {
        let log = std::fs::File::create(self.log_file()).expect("the temporary directory can be written");
        let mut command = program::command_under(&self.under);
        command.args(["serve", "--json", "--data"]).arg(&self.data);
        command.args(["--listen", &self.listen.to_string(), "--admin-listen", &self.admin.to_string()]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        command
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("node.log")
    }

    /// What the last node here said on standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl NodeProcess {
    /// SIGKILL: the process gets no chance to do anything.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the process was there");
    }

    /// SIGTERM: it drains and ends.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        tell(self.pid(), Signal::TERM).expect("the node is not gone before it is told to stop");
        soon("the node to stop", self.child.wait()).await.expect("a child ends once")
    }

    /// It ends by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        soon("the node to end", self.child.wait()).await.expect("a child ends once")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// It has not ended.
    pub(crate) fn is_up(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }
}

/// A free address outside of the range from which the system gives ports to clients. Inside of it a client that
/// connects again and again to a dead node may be given the node's own port, and meet itself.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: u32 = 12_000;
    let first = first_client_port().clamp(PORTS + 2_000, 32_000) - PORTS;
    let offset = std::process::id() % 10_000;
    loop {
        let port = first + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("below 32,000")));
        // Not bound to find out: a process that another story starts at this moment holds a copy of the listener
        // until it runs its own program, and the address would be taken for that long.
        if TcpStream::connect(address).is_err() {
            return address;
        }
    }
}

/// The lowest port that the system gives to clients.
fn first_client_port() -> u32 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|lowest| lowest.parse().ok()).unwrap_or(32_768)
}
