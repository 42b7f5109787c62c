//! `headwater worker`: any program as a step worker, in any language, without an SDK.

mod drain;
mod group;
mod output;
mod process;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use headwater_client::{Failed, RunningWorker, Step};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use self::process::Program;
use super::Context;
use crate::exit::{Exit, Failure};
use crate::render;

/// What the program and the worker promise each other, for people.
const CONTRACT: &str = "\
The program is started once for each step, with the step's input as one line of JSON on standard input.
Each line that it writes is streamed as a chunk: JSON if it is that, else a text.
The last line is the result and must be JSON; no line at all is null.
Another exit code than 0 is a failure, told with the end of standard error.
The program's exit ends the step: processes that it leaves behind in its process group are killed.
When the step is cancelled, or a line is over 256 KiB, the whole group gets SIGTERM, and two seconds later SIGKILL.

SIGTERM or ctrl-c stops the worker: it takes no more steps, and programs have --grace seconds to end. After that, or at a \
second signal, they are ended as above, the node is told that their steps failed (worker_stopped, which may be tried \
again), and the exit code is 130. No program is left running.

In its environment: HEADWATER_RUN, HEADWATER_PATH, HEADWATER_ATTEMPT, HEADWATER_TASK, HEADWATER_IDEMPOTENCY_KEY.";

/// How long the node may take to hear of steps that were cut short.
const FAREWELL: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = CONTRACT)]
pub(crate) struct WorkerArguments {
    /// The queue to serve
    #[arg(long, default_value = "default", value_parser = NonEmptyStringValueParser::new())]
    queue: String,
    /// The task to run, as the workflow names it; may be given again
    #[arg(long = "task", required = true, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    tasks: Vec<String>,
    /// Steps at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: u32,
    /// Seconds that programs have to end when the worker is stopped
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    grace: u32,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) async fn run(arguments: WorkerArguments, context: &Context) -> Result<Exit, Failure> {
    let WorkerArguments { queue, tasks, slots, grace, command } = arguments;
    if let Some(twice) = tasks.iter().enumerate().find_map(|(at, task)| tasks[..at].contains(task).then_some(task)) {
        return Err(Failure::usage(format!("task {twice:?} is named twice")));
    }
    let program = Arc::new(Program::find(command)?);
    let mut worker = context.client.worker().queue(&queue, slots);
    for task in &tasks {
        let (program, json) = (program.clone(), context.json);
        worker = worker.task(task, move |step: Step| {
            let program = program.clone();
            async move { one(&program, step, json).await }
        });
    }
    let mut signals = Signals::watch()?;
    let mut running = worker.start().await?;
    render::notice(format!(
        "serving {} on queue {queue}, {} at a time, at {}; ctrl-c finishes what runs and ends",
        tasks.join(", "),
        if slots == 1 { "one step".to_owned() } else { format!("{slots} steps") },
        context.client.server()
    ));
    let ended = tokio::select! {
        ended = running.ended() => Some(ended),
        () = signals.next() => None,
    };
    if let Some(refused) = ended {
        program.end().await;
        return refused.map(|()| Exit::Done).map_err(Failure::from);
    }
    stop(running, &program, Duration::from_secs(grace.into()), &mut signals).await
}

/// Takes no more steps; ends when programs have ended, or ends them.
async fn stop(
    running: RunningWorker,
    program: &Program,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let seconds = grace.as_secs();
    render::notice(format!("taking no more steps; what runs has {seconds} s, and ctrl-c again ends it at once"));
    let mut stopped = pin!(running.stop());
    tokio::select! {
        // First, so that the node is told before anything is ended, also without any grace.
        biased;
        stopped = &mut stopped => return stopped.map(|()| Exit::Done).map_err(Failure::from),
        () = signals.next() => {}
        () = sleep(grace) => {}
    }
    render::notice("ending what runs");
    program.end().await;
    // The node learns of it at once, if it is there; else it misses the worker by itself.
    tokio::select! {
        stopped = &mut stopped => stopped.map_err(Failure::from)?,
        () = signals.next() => {}
        () = sleep(FAREWELL) => {}
    }
    Ok(Exit::Interrupted)
}

/// SIGTERM and SIGINT, from the moment on at which they are watched.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn watch() -> Result<Self, Failure> {
        let watch = |kind| signal(kind).map_err(|error| Failure::local("watch for signals", error));
        Ok(Self { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Runs one step and says so.
async fn one(program: &Program, step: Step, json: bool) -> Result<Box<serde_json::value::RawValue>, Failed> {
    let about = json!({ "run": step.run, "path": step.path, "attempt": step.attempt, "task": step.task });
    tell(&about, "started", None, json);
    let result = program.run(step).await;
    let failure = result.as_ref().err().map(|failed| failed.failure.message.clone());
    tell(&about, if failure.is_some() { "failed" } else { "completed" }, failure.as_deref(), json);
    result
}

fn tell(about: &serde_json::Value, what: &str, failure: Option<&str>, json: bool) {
    if json {
        let mut line = about.clone();
        line["event"] = what.into();
        if let Some(failure) = failure {
            line["failure"] = failure.into();
        }
        // Should nobody read these lines, the steps matter more.
        let _ = render::json(&line);
        return;
    }
    let text = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
    let reason = failure.map(|failure| format!(": {failure}")).unwrap_or_default();
    render::notice(format!("{what} {} of run {}, attempt {}{reason}", text("path"), text("run"), about["attempt"]));
}
