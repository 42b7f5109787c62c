//! `headwater run events`: what happened to a run, and what happens.

use clap::Args;
use headwater_client::{RunId, StreamName, StreamStart, SubscribeOptions};

use super::super::stream::{self, Until};
use super::Context;
use crate::exit::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// The run's id
    run: RunId,
    /// Where to begin: `begin`, `now`, or a cursor
    #[arg(long, default_value = "begin", value_name = "CURSOR")]
    from: StreamStart,
    /// Only events of this type, such as `step_completed`; may be given again
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Go on until the run ends
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn run(arguments: Events, context: &Context) -> Result<Exit, Failure> {
    let Events { run, from, types, follow } = arguments;
    let until = if follow { Until::End } else { Until::Head };
    stream::print(StreamName::of_run(run), SubscribeOptions { from, types }, until, context).await
}
