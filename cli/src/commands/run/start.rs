//! `headwater run start`: start a run, and if asked follow it to its end.

use clap::Args;
use headwater_client::{IdempotencyKey, RunStarted, StartRun};

use super::follow::{self, Show};
use super::{Context, input};
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// `name`, `namespace/name`, or either with `@version`
    workflow: String,
    /// JSON, `@file`, or `-` for standard input
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// Runs and streams of one key live and change together
    #[arg(long)]
    key: Option<String>,
    /// The same key again is the same run
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    idempotency_key: Option<IdempotencyKey>,
    /// A label for lists, such as `team=support`
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Follow it to its end: its tokens as they come, also across restarts of the node
    #[arg(long)]
    watch: bool,
    /// Wait for its end and print its output
    #[arg(long, conflicts_with = "watch")]
    wait: bool,
}

fn idempotency_key(text: &str) -> Result<IdempotencyKey, String> {
    IdempotencyKey::new(text)
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is no tag: write name=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(arguments: Start, context: &Context) -> Result<Exit, Failure> {
    let mut start = StartRun::new(&arguments.workflow);
    if let Some(given) = &arguments.input {
        start = start.input(input::json(given, "the input")?);
    }
    if let Some(key) = &arguments.key {
        start = start.key(key);
    }
    if let Some(key) = arguments.idempotency_key {
        start = start.idempotency_key(key);
    }
    for (name, value) in &arguments.tags {
        start = start.tag(name, value);
    }
    let started = context.client.start_run(&start).await?;
    tell(&started, arguments.watch || arguments.wait, context)?;
    match (arguments.watch, arguments.wait) {
        (true, _) => follow::to_the_end(started.run, Show::Everything, context).await,
        (false, true) => follow::to_the_end(started.run, Show::Outcome, context).await,
        (false, false) => Ok(Exit::Done),
    }
}

/// The run's id is the answer, unless its end is.
fn tell(started: &RunStarted, followed: bool, context: &Context) -> Result<(), Failure> {
    if context.json {
        return if followed { Ok(()) } else { render::json(started) };
    }
    if started.duplicate {
        render::notice("this key had started it before");
    }
    if followed {
        render::notice(format!("run {}", started.run));
        return Ok(());
    }
    render::line(started.run.to_string())
}
