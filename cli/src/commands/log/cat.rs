//! `headwater log cat` and `tail`: records as they stand in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use node::inspect::{LogRecord, ReadRecords};
use types::{PartitionId, Position};

use super::line::line;
use super::source::{From, Source};
use super::wanted::{Filter, Range};
use crate::commands::{Context, interrupted};
use crate::exit::{Exit, Failure};
use crate::render;

/// Records asked for at once.
const PAGE: usize = 500;
/// Between two looks at the end of the log. For people: what clients follow is pushed to them.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(crate) struct Cat {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    range: Range,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show all of what a record holds
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    filter: Filter,
    /// How many of the last records of each partition are looked at first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: u64,
    /// Go on with what is appended
    #[arg(short, long)]
    follow: bool,
    /// Show all of what a record holds
    #[arg(long)]
    full: bool,
}

pub(super) async fn cat(arguments: Cat, context: &Context) -> Result<Exit, Failure> {
    let Cat { from, filter, range, limit, full } = arguments;
    let mut source = from.open(context)?;
    let mut left = limit.unwrap_or(u64::MAX);
    let (first, until) = range.positions();
    for partition in partitions(&source, &filter).await? {
        let wanted = filter.wanted()?;
        let mut request = ReadRecords { partition, from: first, until, max: PAGE, wanted };
        loop {
            let page = source.read(&request).await?;
            for record in page.records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                print(record, full, context.json)?;
                left -= 1;
            }
            if left == 0 {
                return Ok(source.exit());
            }
            if page.done {
                break;
            }
            request.from = Some(page.next);
        }
    }
    Ok(source.exit())
}

pub(super) async fn tail(arguments: Tail, context: &Context) -> Result<Exit, Failure> {
    let Tail { from, filter, lines, follow, full } = arguments;
    let mut source = from.open(context)?;
    if follow && source.is_directory() {
        return Err(Failure::usage("a directory does not grow under the eye: --follow asks a running node")
            .advise("leave --data out, and name the node's admin port with --admin"));
    }
    let asked = partitions(&source, &filter).await?;
    let mut next: BTreeMap<PartitionId, Position> = BTreeMap::new();
    for load in source.load(0).await?.partitions {
        if asked.contains(&load.partition) {
            let back = Position::new(load.end.value().saturating_sub(lines));
            next.insert(load.partition, back.max(load.start));
        }
    }
    loop {
        let (mut records, grown) = page(&mut source, &filter, &mut next).await?;
        // Together they are in order of time; each partition's are in order anyway.
        records.sort_by_key(|record| (record.time, record.partition, record.position));
        records.iter().try_for_each(|record| print(record, full, context.json))?;
        if grown {
            continue;
        }
        if !follow {
            return Ok(source.exit());
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = interrupted() => return Ok(Exit::Done),
        }
    }
}

/// The next page of each partition, and whether there is more already.
async fn page(
    source: &mut Source<'_>,
    filter: &Filter,
    next: &mut BTreeMap<PartitionId, Position>,
) -> Result<(Vec<LogRecord>, bool), Failure> {
    let (mut records, mut more) = (Vec::new(), false);
    let ends: BTreeMap<_, _> = source.load(0).await?.partitions.iter().map(|load| (load.partition, load.end)).collect();
    for (&partition, next) in next.iter_mut().filter(|(partition, next)| ends.get(partition) > Some(next)) {
        let request = ReadRecords { partition, from: Some(*next), until: None, max: PAGE, wanted: filter.wanted()? };
        let page = source.read(&request).await?;
        *next = page.next;
        more |= !page.done;
        records.extend(page.records);
    }
    Ok((records, more))
}

pub(super) async fn partitions(source: &Source<'_>, filter: &Filter) -> Result<Vec<PartitionId>, Failure> {
    match filter.partition() {
        Some(partition) => Ok(vec![partition]),
        None => source.partitions(&filter.wanted()?).await,
    }
}

fn print(record: &LogRecord, full: bool, json: bool) -> Result<(), Failure> {
    if json { render::json(record) } else { render::line(line(record, full)) }
}
