//! One step as one process: started, fed, listened to, and ended with everything it has started.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use headwater_client::{Failed, Step, Unwanted};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::output;
use crate::commands::input::json_or_text;
use crate::exit::{Exit, Failure};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// Looks for the program now, so that a misspelt name is not found out by the first step.
    pub(super) fn find(command: Vec<String>) -> Result<Self, Failure> {
        let mut words = command.into_iter();
        let name = words.next().expect("clap asks for a command");
        let path = which(&name).ok_or_else(|| {
            Failure::new(Exit::Failed, format!("there is no program {name:?} to run"))
                .advise("give its path, or put it where $PATH leads")
        })?;
        Ok(Self { path, arguments: words.collect() })
    }

    pub(super) async fn run(&self, step: Step) -> Result<Box<RawValue>, Failed> {
        let environment = [
            ("HEADWATER_RUN", step.run.clone()),
            ("HEADWATER_PATH", step.path.clone()),
            ("HEADWATER_ATTEMPT", step.attempt.to_string()),
            ("HEADWATER_TASK", step.task.clone()),
            ("HEADWATER_IDEMPOTENCY_KEY", step.idempotency_key.clone()),
        ];
        let (lines, mut written) = mpsc::channel::<String>(1);
        let stream = async {
            while let Some(line) = written.recv().await {
                step.chunks.send_raw(json_or_text(&line)).await?;
            }
            Ok::<_, Failed>(())
        };
        let unwanted = step.chunks.unwanted();
        let (ended, streamed) = tokio::join!(self.execute(&environment, step.input.get(), lines, unwanted), stream);
        ended.and_then(|output| streamed.map(|()| output))
    }

    /// Runs the program to its end, or ends it when it is unwanted. Every line but the last goes to `lines`.
    async fn execute(
        &self,
        environment: &[(&str, String)],
        input: &str,
        lines: mpsc::Sender<String>,
        unwanted: impl Future<Output = ()>,
    ) -> Result<Box<RawValue>, Failed> {
        let mut child = self.start(environment)?;
        let group = Group::of(&child);
        let ended = tokio::select! {
            ended = talk(&mut child, input, lines) => ended,
            () = unwanted => Err(Unwanted.into()),
        };
        if ended.is_err() {
            group.end(&mut child).await;
        }
        ended
    }

    fn start(&self, environment: &[(&str, String)]) -> Result<Child, Failed> {
        Command::new(&self.path)
            .args(&self.arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failed::new(format!("{} cannot be started: {error}", self.path.display())))
    }
}

/// Feeds a process and passes on what it says, to its end.
async fn talk(child: &mut Child, input: &str, lines: mpsc::Sender<String>) -> Result<Box<RawValue>, Failed> {
    let pipe = "the pipe was asked for when the process was started";
    let stdin = child.stdin.take().expect(pipe);
    let mut stdout = BufReader::new(child.stdout.take().expect(pipe));
    let stderr = child.stderr.take().expect(pipe);
    let listen = async {
        let mut last = None;
        while let Some(line) = output::next_line(&mut stdout).await? {
            if let Some(chunk) = last.replace(line) {
                // Nobody takes lines of a step that is no longer wanted.
                lines.send(chunk).await.map_err(|_| Unwanted)?;
            }
        }
        Ok::<_, Failed>(last)
    };
    let (last, complaint, ()) = tokio::join!(listen, output::tail(stderr, std::io::stderr()), feed(stdin, input));
    let status = child.wait().await.map_err(|error| Failed::new(format!("the program's end is not known: {error}")))?;
    if status.success() { output::result(last?) } else { Err(failed(status, &complaint)) }
}

/// A program need not read its input; then there is nothing to wait for.
async fn feed(mut stdin: ChildStdin, input: &str) {
    let _ = stdin.write_all(input.as_bytes()).await;
    let _ = stdin.write_all(b"\n").await;
}

fn failed(status: ExitStatus, complaint: &str) -> Failed {
    let last = complaint.lines().last().unwrap_or("it said nothing on standard error");
    let mut failed = Failed::new(format!("the program ended with {status}: {last}")).kind("program_failed");
    failed.failure.details = Some(json!({ "exit_code": status.code(), "stderr": complaint }));
    failed
}

/// A process and all that it has started.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    async fn end(&self, child: &mut Child) {
        self.signal(Signal::TERM);
        // The process may be gone while others of its group are not.
        let gone = timeout(GRACE, child.wait()).await.is_ok();
        self.signal(Signal::KILL);
        if !gone {
            let _ = child.wait().await;
        }
    }

    /// A group that is gone cannot be told anything, and need not.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Where a program is: a path as it stands, or the first of that name along `$PATH`.
fn which(name: &str) -> Option<PathBuf> {
    let found = |path: &Path| path.is_file().then(|| path.to_owned());
    if name.contains('/') {
        return found(Path::new(name));
    }
    std::env::split_paths(&std::env::var_os("PATH")?).find_map(|directory| found(&directory.join(name)))
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
