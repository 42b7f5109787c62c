//! `headwater log`: looks at the log, of a running node through its admin port or of a data directory.

mod cat;
mod export;
mod import;
mod imported;
mod line;
mod partitions;
mod segments;
mod source;
mod stats;
mod wanted;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use storage::{DamageFound, VerifyReport};

use super::{Context, stopped};
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Read everything and compare everything with everything; changes nothing
    Verify(Verify),
    /// Show how the work is spread over the partitions
    Partitions(partitions::Partitions),
    /// List the segments that partitions are cut into
    Segments(segments::Segments),
    /// Show what the log takes, wrote, and still has to compact
    Stats(stats::Stats),
    /// Print records as they stand in the log
    Cat(cat::Cat),
    /// Print the last records, and those that follow
    Tail(cat::Tail),
    /// Print what streams show, one event a line, for other programs
    Export(export::Export),
    /// Append what an export or another program wrote
    Import(import::Import),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The data directory of a stopped node
    directory: PathBuf,
}

pub(crate) async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Verify(arguments) => verify(&arguments, context.json),
        Verb::Partitions(arguments) => partitions::run(arguments, context).await,
        Verb::Segments(arguments) => segments::run(arguments, context).await,
        Verb::Stats(arguments) => stats::run(arguments, context).await,
        Verb::Cat(arguments) => cat::cat(arguments, context).await,
        Verb::Tail(arguments) => cat::tail(arguments, context).await,
        Verb::Export(arguments) => export::run(arguments, context).await,
        Verb::Import(arguments) => import::run(arguments, context).await,
    }
}

fn verify(Verify { directory }: &Verify, json: bool) -> Result<Exit, Failure> {
    stopped::refuse_running(directory)?;
    let working = ProgressBar::new(0).with_message(format!("reading {}", directory.display()));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left");
    working.set_style(style.expect("the template is a constant that is valid"));
    working.enable_steady_tick(Duration::from_millis(120));
    let report = storage::verify_with(directory, |read, total| {
        working.set_length(total.max(read));
        working.set_position(read);
    });
    working.finish_and_clear();
    // Files that change under the eye look like damage: a node that came meanwhile is not to blame.
    stopped::refuse_running(directory)?;
    let report = report.map_err(|error| stopped::failure(&error))?;
    if json {
        render::json(&as_json(&report))?;
    } else {
        print(&report)?;
    }
    Ok(if report.is_sound() { Exit::Done } else { Exit::LogFailed })
}

fn print(report: &VerifyReport) -> Result<(), Failure> {
    let VerifyReport { partitions, segments, blocks, records, streams, rows, bytes, clean, term, .. } = report;
    let closed = if *clean { "closed in order" } else { "not closed in order" };
    let [records, blocks, segments] = [(*records, "record"), (*blocks, "block"), (*segments, "segment")]
        .map(|(number, what)| render::counted(number, what));
    let [partitions, streams, rows] = [(*partitions, "partition"), (*streams, "stream"), (*rows, "row")]
        .map(|(number, what)| render::counted(number, what));
    let times = render::counted((*term).into(), "time");
    render::line(format!(
        "{records} in {blocks} ({bytes} bytes), {segments}, {partitions}; {streams}, {rows}; {closed}, opened {times}"
    ))?;
    for damage in &report.damages {
        render::line(damage.to_string())?;
    }
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    if report.is_sound() {
        return render::line(render::paint(Style::Green, "sound", terminal));
    }
    let found = match report.damage_count {
        1 => "one place is damaged".to_owned(),
        count if count > report.damages.len() as u64 => format!("{count} places are damaged; the first stand above"),
        count => format!("{count} places are damaged"),
    };
    render::line(render::paint(Style::Red, &found, terminal))?;
    render::notice("nothing damaged is ever served; restore a backup of this directory");
    Ok(())
}

fn as_json(report: &VerifyReport) -> Value {
    let damage = |found: &DamageFound| {
        json!({
            "partition": found.partition, "chain": found.chain.map(|chain| format!("{chain:?}").to_lowercase()),
            "segment": found.segment, "position": found.position, "what": found.what,
        })
    };
    json!({
        "sound": report.is_sound(),
        "partitions": report.partitions,
        "segments": report.segments,
        "blocks": report.blocks,
        "records": report.records,
        "streams": report.streams,
        "index_entries": report.index_entries,
        "rows": report.rows,
        "bytes": report.bytes,
        "clean": report.clean,
        "term": report.term,
        "damage_count": report.damage_count,
        "damages": report.damages.iter().map(damage).collect::<Vec<_>>(),
    })
}
