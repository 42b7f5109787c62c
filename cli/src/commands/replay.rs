//! `headwater replay`: folds a stopped node's log from its beginning, and holds it against what the kernel derives.

use std::path::PathBuf;

use clap::Args;
use engine::PartitionConfig;
use indicatif::{ProgressBar, ProgressStyle};
use node::inspect::{self, PartitionReplay, ReplayError};
use node::{Config, ConfigOverrides};
use serde_json::json;

use super::{configuration, environment, stopped};
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

const PROMISE: &str = "\
Every event of the log is folded again, as a recovery without checkpoints would. With --verify the consequences of every \
cause are derived again and compared with what is logged: a log that was tampered with, or written by a kernel that \
decides otherwise, is named by partition and position.";

#[derive(Debug, Args)]
#[command(after_help = PROMISE)]
pub(crate) struct Replay {
    /// Derive again and compare
    #[arg(long)]
    verify: bool,
    /// The configuration that the node ran with, where it has one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory of a stopped node
    directory: PathBuf,
}

pub(crate) fn run(Replay { verify, config, directory }: Replay, json: bool) -> Result<Exit, Failure> {
    let config = Config::load(config.as_deref(), environment()?.into_iter(), &ConfigOverrides::default())
        .map_err(|error| configuration(&error))?;
    // Nothing that is logged depends on the key of workers' tokens.
    let config = PartitionConfig {
        default_retry: config.default_retry,
        idempotency_window_ms: config.idempotency_window_ms,
        cancel_grace_ms: config.cancel_grace_ms,
        ..PartitionConfig::new([0; 32])
    };
    let log = stopped::open(&directory)?;
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}").expect("the template is written above"));
    let replayed = inspect::replay(&log, &config, verify, |partition, at, end| {
        bar.set_message(format!("partition {partition}"));
        bar.set_length(end.value());
        bar.set_position(at.value());
    });
    bar.finish_and_clear();
    let report = replayed.map_err(|error| failure(&error))?;
    let unverified: u64 = report.partitions.iter().map(|replay| replay.unverified).sum();
    if json {
        render::json(&json!({
            "verified": verify && unverified == 0,
            "unverified": unverified,
            "definitions_not_compiled": report.uncompiled,
            "partitions": report.partitions.iter().map(as_json).collect::<Vec<_>>(),
        }))?;
    } else {
        print(&report.partitions, verify, unverified)?;
    }
    if unverified == 0 { Ok(Exit::Done) } else { Err(not_verified(unverified, &report.uncompiled)) }
}

/// A proof with holes is no proof.
fn not_verified(causes: u64, uncompiled: &[String]) -> Failure {
    let what =
        format!("nothing could be derived from {causes} causes: the definitions of their runs are not in this log");
    let message = match uncompiled {
        [] => what,
        names => format!("{what}, or this version does not compile them: {}", names.join("; ")),
    };
    Failure::new(Exit::Failed, message)
        .coded("not_verified")
        .advise("replay it with the version of headwater that wrote it")
}

fn print(partitions: &[PartitionReplay], verify: bool, unverified: u64) -> Result<(), Failure> {
    let row = |replay: &PartitionReplay| {
        let PartitionReplay { partition, events, digest, open_runs, causes, compared, unverified, .. } = replay;
        let numbers = [*events, *open_runs, *causes, *compared, *unverified];
        let [events, open_runs, causes, compared, unverified] = numbers.map(|number| number.to_string());
        [partition.to_string(), events, open_runs, causes, compared, unverified, digest.to_string()]
    };
    let shown = partitions.iter().filter(|replay| replay.events > 0).map(row).collect();
    let head = ["partition", "events", "open runs", "causes", "compared", "unverified", "digest"];
    render::table(head, shown, "the log is empty")?;
    let trimmed: Vec<_> =
        partitions.iter().filter(|replay| replay.trimmed).map(|it| it.partition.to_string()).collect();
    if !trimmed.is_empty() {
        let partitions = trimmed.join(", ");
        render::notice(format!("not replayed, because retention dropped their beginning: partitions {partitions}"));
    }
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let total: u64 = partitions.iter().map(|replay| replay.events).sum();
    let verdict = if unverified > 0 {
        format!("{total} events replayed; {unverified} causes could not be verified")
    } else if verify {
        format!("{total} events replayed; what follows from every cause is what is logged")
    } else {
        format!("{total} events replayed; --verify also derives and compares them")
    };
    let style = if unverified > 0 { Style::Red } else { Style::Green };
    render::line(render::paint(style, &verdict, terminal))
}

fn as_json(replay: &PartitionReplay) -> serde_json::Value {
    let PartitionReplay { partition, events, trimmed, digest, open_runs, causes, compared, unverified } = replay;
    json!({
        "partition": partition, "trimmed": trimmed, "events": events, "open_runs": open_runs, "causes": causes,
        "compared": compared, "unverified": unverified,
        "digest": digest.to_string(),
    })
}

fn failure(error: &ReplayError) -> Failure {
    let code = match error {
        ReplayError::Lane(_) => "damaged",
        ReplayError::Definition { .. } | ReplayError::Diverged { .. } => "not_derivable",
    };
    Failure::new(Exit::LogFailed, error.to_string()).coded(code)
}
