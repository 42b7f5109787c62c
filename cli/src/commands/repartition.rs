//! `headwater repartition`: another number of partitions for a stopped node's directory.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use node::repartition::{Repartition as Request, RepartitionError, Repartitioned, Step, repartition};
use serde_json::json;
use types::PartitionCount;

use super::stopped;
use crate::exit::{Exit, Failure};
use crate::render;

const PROMISE: &str = "\
A second directory is written beside the first, verified by itself and against the first, and then exchanged with it in one \
step; the first stays beside it until you delete it. Killed at any moment, the same command goes on or begins anew. Everything \
that happened is kept, with its offsets and times, and workers keep what they hold. A new history begins: readers' cursors are \
refused with `other_history`, and they begin again.";

#[derive(Debug, Args)]
#[command(after_help = PROMISE)]
pub(crate) struct Repartition {
    /// How many partitions it shall have, 1 to 1,024
    #[arg(long, value_name = "N", value_parser = count)]
    partitions: PartitionCount,
    /// The data directory of a stopped node
    directory: PathBuf,
}

fn count(text: &str) -> Result<PartitionCount, String> {
    let number: u32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    PartitionCount::try_from(number)
}

pub(crate) fn run(Repartition { partitions, directory }: Repartition, json: bool) -> Result<Exit, Failure> {
    let request = Request { partitions, history_seed: node::inspect::random_seed() };
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}").expect("the template is written above");
    let bar = ProgressBar::new(0).with_style(style);
    let done = repartition(&directory, request, &mut |step| match step {
        Step::Check => bar.set_message("verifying the directory"),
        Step::Records { done, of } => {
            bar.set_message("writing records");
            bar.set_length(of);
            bar.set_position(done);
        }
        Step::Rows => bar.set_message("writing state"),
        Step::Verify => bar.set_message("verifying the new directory"),
        Step::Compare => bar.set_message("comparing both"),
        Step::Exchange | Step::Settle => bar.set_message("exchanging both"),
    });
    bar.finish_and_clear();
    let done = done.map_err(|error| failure(&error))?;
    let Repartitioned { before, after, records, streams, runs, original, resumed } = done;
    let (before, after, original) = (before.get(), after.get(), original.display().to_string());
    if json {
        render::json(&json!({
            "before": before, "after": after, "records": records, "streams": streams, "runs": runs,
            "original": original, "resumed": resumed,
        }))?;
        return Ok(Exit::Done);
    }
    if resumed {
        render::notice("an earlier attempt had written and verified it; only the exchange was missing");
    }
    render::line(format!("{before} partitions are {after} now: {records} records, {streams} streams, {runs} runs"))?;
    render::notice(format!("the directory of before is kept as {original}; delete it when the node serves"));
    render::notice("a new history begins: readers' cursors of before are refused, and they begin again");
    Ok(Exit::Done)
}

fn failure(error: &RepartitionError) -> Failure {
    let exit = match error {
        RepartitionError::Open(open) => return stopped::failure(open),
        RepartitionError::AlreadySo { .. } | RepartitionError::Trimmed { .. } | RepartitionError::InTheWay { .. } => {
            Exit::Refused
        }
        RepartitionError::Read(_)
        | RepartitionError::Fold(_)
        | RepartitionError::Damaged { .. }
        | RepartitionError::Record { .. }
        | RepartitionError::Row { .. } => Exit::LogFailed,
        RepartitionError::Write { .. } | RepartitionError::NotTheSame { .. } | RepartitionError::Io { .. } => {
            Exit::Failed
        }
    };
    Failure::new(exit, format!("failed to repartition: {error}"))
}
