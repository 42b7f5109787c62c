//! The program as people call it: a command line in, an exit code and text out.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::{Signal, soon, tell};

/// The binary, talking to one node.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    server: String,
    admin: String,
}

/// What it said and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Printed {
    /// `None`: a signal ended it.
    pub(crate) exit: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    pub(crate) fn at(server: &str, admin: &str) -> Self {
        Self { server: server.to_owned(), admin: admin.to_owned() }
    }

    pub(crate) async fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Printed {
        self.run_with(arguments, "").await
    }

    /// With something on standard input.
    pub(crate) async fn run_with<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Printed {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("the pipe was asked for");
        stdin.write_all(input.as_bytes()).await.expect("a short input fits into the pipe");
        drop(stdin);
        let output = soon("the program to end", child.wait_with_output()).await.expect("its output can be read");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
        Printed::new(output.status, text(output.stdout), text(output.stderr))
    }

    /// Starts what goes on: a worker, a tail.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Child {
        let mut command = command();
        command.args(["--server", &self.server, "--admin", &self.admin]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().expect("the binary starts")
    }
}

/// Sends a signal and waits for the end; `None`: the signal itself ended it.
pub(crate) async fn end(mut child: Child, signal: Signal) -> Option<i32> {
    tell(child.id().expect("it runs"), signal).expect("it was not gone before");
    soon("it to end", child.wait()).await.expect("a child ends once").code()
}

impl Printed {
    pub(crate) fn new(status: ExitStatus, out: String, err: String) -> Self {
        Self { exit: status.code(), out, err }
    }

    /// It must have ended like this.
    #[track_caller]
    pub(crate) fn exits(self, exit: i32) -> Self {
        assert_eq!(self.exit, Some(exit), "{self}");
        self
    }

    /// It must have said all of this, on whichever side.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "{word:?} is missing: {self}");
        }
        self
    }

    /// Its whole output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Its output as one JSON value a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"));
        self.out.lines().map(read).collect()
    }

    /// What failed, as programs are told: the last line of standard error.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let line: Option<Value> = self.err.lines().last().and_then(|line| serde_json::from_str(line).ok());
        let error = line.map(|mut line| line["error"].take()).filter(Value::is_object);
        error.unwrap_or_else(|| panic!("no error in JSON: {self}"))
    }

    pub(crate) fn word(&self) -> String {
        self.out.trim().to_owned()
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {:?}\n--- standard output\n{}\n--- standard error\n{}", self.exit, self.out, self.err)
    }
}

/// The binary with an environment that no story depends on.
pub(crate) fn command() -> Command {
    command_under(&[])
}

/// The same, run by another program.
pub(crate) fn command_under(program: &[String]) -> Command {
    let mut command = match program {
        [] => Command::new(binary()),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary());
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HEADWATER_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// `headwater` beside this test's own executable: `target/<profile>/deps/stories-…` belongs to `target/<profile>`.
pub(crate) fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows where it is");
    let folder = this.parent().and_then(Path::parent).expect("tests are built two folders below the target");
    let binary = folder.join("headwater");
    assert!(
        binary.is_file(),
        "the stories drive the real binary, and {} is not there: build it first, in the same profile, with \
         `cargo build --release -p cli` (`make test` does)",
        binary.display()
    );
    binary
}
