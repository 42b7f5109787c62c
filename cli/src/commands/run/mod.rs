//! `headwater run`: start runs, look at them, signal and cancel them.

mod events;
mod follow;
mod list;
mod start;

use clap::{Args, Subcommand};
use headwater_client::RunId;
use serde_json::{Value, json};

pub(super) use self::follow::{event_json, gap_json};
use super::{Context, input};
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a run of a workflow
    Start(start::Start),
    /// List runs, newest first
    List(list::List),
    /// Show how a run stands
    Show(Which),
    /// Print what happened to a run, and follow it
    Events(events::Events),
    /// Send a signal to a run: it is kept with the run and shown by `run events`; no task waits for signals yet
    Signal(Signal),
    /// Ask a run to end
    Cancel(Cancel),
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The run's id
    run: RunId,
}

#[derive(Debug, Args)]
pub(crate) struct Signal {
    /// The run's id
    run: RunId,
    /// The signal's name
    name: String,
    /// JSON, `@file`, or `-` for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// The same id again is the same signal
    #[arg(long)]
    id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The run's id
    run: RunId,
    /// Kept in the run's history
    #[arg(long, default_value = "")]
    reason: String,
}

pub(crate) async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Start(arguments) => start::run(arguments, context).await,
        Verb::List(arguments) => list::run(arguments, context).await,
        Verb::Show(Which { run }) => list::show(run, context).await,
        Verb::Events(arguments) => events::run(arguments, context).await,
        Verb::Signal(arguments) => signal(arguments, context).await,
        Verb::Cancel(Cancel { run, reason }) => cancel(run, &reason, context).await,
    }
}

async fn signal(Signal { run, name, data, id }: Signal, context: &Context) -> Result<Exit, Failure> {
    let data = data.map_or(Ok(Value::Null), |data| input::json(&data, "the signal's data"))?;
    let duplicate = context.client.signal_run(run, &name, id.as_deref(), &data).await?;
    if context.json {
        render::json(&json!({ "run": run, "duplicate": duplicate }))?;
    } else if duplicate {
        render::line("the run had this signal before")?;
    } else {
        render::line("kept with the run; no task waits for signals yet (`listen` is not supported)")?;
    }
    Ok(Exit::Done)
}

async fn cancel(run: RunId, reason: &str, context: &Context) -> Result<Exit, Failure> {
    context.client.cancel_run(run, reason).await?;
    if context.json {
        render::json(&json!({ "run": run }))?;
    } else {
        render::line(format!("asked; `headwater run events {run} --follow` shows it end"))?;
    }
    Ok(Exit::Done)
}
