//! `headwater log`: looks at the log in a stopped node's data directory.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use storage::{DamageFound, VerifyReport};

use super::stopped;
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Read everything and compare everything with everything; changes nothing
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The data directory of a stopped node
    directory: PathBuf,
}

pub(crate) fn run(verb: Verb, json: bool) -> Result<Exit, Failure> {
    let Verb::Verify(Verify { directory }) = verb;
    stopped::refuse_running(&directory)?;
    let working = ProgressBar::new(0).with_message(format!("reading {}", directory.display()));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left");
    working.set_style(style.expect("the template is a constant that is valid"));
    working.enable_steady_tick(Duration::from_millis(120));
    let report = storage::verify_with(&directory, |read, total| {
        working.set_length(total.max(read));
        working.set_position(read);
    });
    working.finish_and_clear();
    // Files that change under the eye look like damage: a node that came meanwhile is not to blame.
    stopped::refuse_running(&directory)?;
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
    render::line(format!(
        "{records} records in {blocks} blocks ({bytes} bytes), {segments} segments, {partitions} partitions; \
         {streams} streams, {rows} rows; {closed}, opened {term} times"
    ))?;
    for damage in &report.damages {
        render::line(format!("{}: {}", place(damage), damage.what))?;
    }
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    if report.is_sound() {
        return render::line(render::paint(Style::Green, "sound", terminal));
    }
    let found = format!("{} places are damaged", report.damage_count);
    render::line(render::paint(Style::Red, &found, terminal))?;
    render::notice("nothing damaged is ever served; restore a backup of this directory");
    Ok(())
}

fn place(damage: &DamageFound) -> String {
    let mut place = damage.partition.map_or_else(|| "the directory".to_owned(), |id| format!("partition {id}"));
    if let Some(chain) = damage.chain {
        place.push_str(&format!(", {chain:?} chain").to_lowercase());
    }
    if let Some(segment) = damage.segment {
        place = format!("{place}, segment {segment}");
    }
    if let Some(position) = damage.position {
        place = format!("{place}, position {position}");
    }
    place
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
