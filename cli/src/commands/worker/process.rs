//! One step as one process: started, fed, listened to, and ended with everything it has started.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use headwater_client::{Failed, Step, Unwanted};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncWriteExt, BufReader, duplex};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};

use super::drain::{PIECE_BYTES, drain};
use super::group::Group;
use super::output;
use crate::commands::input::json_or_text;
use crate::exit::{Exit, Failure};

/// The failure of a step whose program was ended because the worker ends.
const STOPPED: &str = "worker_stopped";

#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    /// True when the worker ends and no process may be left. Each process holds a receiver for as long as it is there.
    end: watch::Sender<bool>,
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
        Ok(Self { path, arguments: words.collect(), end: watch::channel(false).0 })
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

    /// Ends all processes, and starts no more; returns when the last is gone.
    pub(super) async fn end(&self) {
        self.end.send_replace(true);
        self.end.closed().await;
    }

    /// Runs the program to its end, or ends it when it is unwanted. Every line but the last goes to `lines`.
    async fn execute(
        &self,
        environment: &[(&str, String)],
        input: &str,
        lines: mpsc::Sender<String>,
        unwanted: impl Future<Output = ()>,
    ) -> Result<Box<RawValue>, Failed> {
        // Declared before the process, so that it is let go of after it.
        let mut end = self.end.subscribe();
        if *end.borrow() {
            return Err(stopped());
        }
        let mut child = self.start(environment)?;
        let mut group = Group::of(&child);
        let ended = tokio::select! {
            ended = talk(&mut child, &mut group, input, lines) => ended,
            () = unwanted => Err(Unwanted.into()),
            _ = end.wait_for(|end| *end) => Err(stopped()),
        };
        group.end(&mut child).await;
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

/// Another worker may do it.
fn stopped() -> Failed {
    Failed::new("the worker was stopped before the program was done").kind(STOPPED)
}

/// Feeds a process and passes on what it says, until it exits or says what cannot be passed on. What it started and left
/// behind is killed then, and not listened to.
async fn talk(
    child: &mut Child,
    group: &mut Group,
    input: &str,
    lines: mpsc::Sender<String>,
) -> Result<Box<RawValue>, Failed> {
    let pipe = "the pipe was asked for when the process was started";
    let stdin = child.stdin.take().expect(pipe);
    let (stdout, stderr) = (child.stdout.take().expect(pipe), child.stderr.take().expect(pipe));
    let (exit, exited) = watch::channel(false);
    let (said, heard) = duplex(PIECE_BYTES);
    let (complained, complaints) = duplex(PIECE_BYTES);
    let wait = async {
        let status = child.wait().await;
        // What it had written is in the pipes, which now close.
        group.kill();
        exit.send_replace(true);
        status.map_err(|error| Failed::new(format!("the program's end is not known: {error}")))
    };
    let listen = async {
        let mut heard = BufReader::new(heard);
        let mut last = None;
        while let Some(line) = output::next_line(&mut heard).await? {
            if let Some(chunk) = last.replace(line) {
                // Nobody takes lines of a step that is no longer wanted.
                lines.send(chunk).await.map_err(|_| Unwanted)?;
            }
        }
        Ok::<_, Failed>(last)
    };
    let sound = async { Ok(output::tail(complaints, std::io::stderr()).await) };
    let feed = async {
        let mut exited = exited.clone();
        tokio::select! {
            () = feed(stdin, input) => {}
            _ = exited.wait_for(|exited| *exited) => {}
        }
        Ok(())
    };
    let (pass, pass_complaints) = (drain(stdout, said, exited.clone()), drain(stderr, complained, exited.clone()));
    let (status, last, complaint, ..) = tokio::try_join!(wait, listen, sound, feed, pass, pass_complaints)?;
    if status.success() { output::result(last) } else { Err(failed(status, &complaint)) }
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
