//! `headwater worker`: any program as a step worker, in any language, without an SDK.

mod output;
mod process;

use std::sync::Arc;

use clap::Args;
use headwater_client::{Failed, Step};
use serde_json::json;

use self::process::Program;
use super::{Context, interrupted};
use crate::exit::{Exit, Failure};
use crate::render;

/// What the program and the worker promise each other, for people.
const CONTRACT: &str = "\
The program is started once for each step, with the step's input as one line of JSON on standard input.
Each line that it writes is streamed as a chunk: JSON if it is that, else a text.
The last line is the result and must be JSON; no line at all is null.
Another exit code than 0 is a failure, told with the end of standard error.
When the step is cancelled the program gets SIGTERM, and two seconds later SIGKILL.

In its environment: HEADWATER_RUN, HEADWATER_PATH, HEADWATER_ATTEMPT, HEADWATER_TASK, HEADWATER_IDEMPOTENCY_KEY.";

#[derive(Debug, Args)]
#[command(after_help = CONTRACT)]
pub(crate) struct WorkerArguments {
    /// The queue to serve
    #[arg(long, default_value = "default")]
    queue: String,
    /// The task to run, as the workflow names it; may be given again
    #[arg(long = "task", required = true, value_name = "NAME")]
    tasks: Vec<String>,
    /// Steps at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: u32,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) async fn run(arguments: WorkerArguments, context: &Context) -> Result<Exit, Failure> {
    let WorkerArguments { queue, tasks, slots, command } = arguments;
    let program = Arc::new(Program::find(command)?);
    let mut worker = context.client.worker().queue(&queue, slots);
    for task in &tasks {
        let (program, json) = (program.clone(), context.json);
        worker = worker.task(task, move |step: Step| {
            let program = program.clone();
            async move { one(&program, step, json).await }
        });
    }
    let mut running = worker.start().await?;
    render::notice(format!(
        "serving {} on queue {queue} with {slots} slot(s) at {}; ctrl-c finishes what runs and ends",
        tasks.join(", "),
        context.client.server()
    ));
    tokio::select! {
        ended = running.ended() => return ended.map(|()| Exit::Done).map_err(Failure::from),
        () = interrupted() => {}
    }
    render::notice("taking no more steps; ctrl-c again ends at once");
    tokio::select! {
        stopped = running.stop() => stopped.map(|()| Exit::Done).map_err(Failure::from),
        () = interrupted() => Ok(Exit::Interrupted),
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
