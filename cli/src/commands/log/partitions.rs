//! `headwater log partitions`: how the work is spread.

use clap::Args;
use node::inspect::Load;

use super::source::From;
use super::wanted::duration;
use crate::commands::Context;
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

/// Above this much skew some partitions wait while others rest.
const SKEW_PERCENT: f64 = 20.0;

#[derive(Debug, Args)]
pub(crate) struct Partitions {
    #[command(flatten)]
    from: From,
    /// Of a running node: until now; of a directory: until its newest record
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    over: u64,
}

pub(super) async fn run(Partitions { from, over }: Partitions, context: &Context) -> Result<Exit, Failure> {
    let load = from.open(context)?.load(over).await?;
    if context.json {
        render::json(&load)?;
        return Ok(Exit::Done);
    }
    let rows = rows(&load);
    render::table(["partition", "records", "share", "kept", "end", "last record", "history"], rows, "no partitions")?;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let (sentence, style) = verdict(&load);
    render::line(render::paint(style, &sentence, terminal))?;
    Ok(Exit::Done)
}

fn rows(load: &Load) -> Vec<[String; 7]> {
    let sum: u64 = load.partitions.iter().map(|partition| partition.recent).sum();
    let row = |partition: &node::inspect::PartitionLoad| {
        let share = partition.recent.saturating_mul(1000).checked_div(sum).unwrap_or(0);
        [
            partition.partition.to_string(),
            partition.recent.to_string(),
            format!("{}.{} %", share / 10, share % 10),
            partition.end.since(partition.start).to_string(),
            partition.end.to_string(),
            partition.last.map_or_else(|| "never".to_owned(), |last| render::when(&last.to_string())),
            format!("{:06x}", partition.history.value()),
        ]
    };
    load.partitions.iter().map(row).collect()
}

fn verdict(load: &Load) -> (String, Style) {
    let over = format!("the {} before {}", span(load.over_ms), render::when(&load.until.to_string()));
    match load.skew_percent {
        None => (format!("no records in {over}"), Style::Dim),
        Some(skew) if skew > SKEW_PERCENT => (
            format!(
                "skew {skew:.0} % in {over}: the busiest partition has that much more than the mean; more than \
                 {SKEW_PERCENT:.0} % means that few keys carry much of the work, or that there are too few keys"
            ),
            Style::Red,
        ),
        Some(skew) => (format!("skew {skew:.0} % in {over}"), Style::Green),
    }
}

fn span(millis: u64) -> String {
    match (millis / 60_000, millis % 60_000) {
        (0, _) => format!("{} seconds", millis / 1000),
        (60, 0) => "hour".to_owned(),
        (minutes, _) if minutes % 60 == 0 => format!("{} hours", minutes / 60),
        (minutes, _) => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn load(recent: &[u64]) -> Load {
        let last = 1_795_493_220_123_u64;
        let partition = |(partition, recent): (usize, &u64)| {
            json!({ "partition": partition, "history": 0xab_cdef, "start": 10, "end": 10 + recent * 2,
                    "recent": recent, "last": if *recent == 0 { None } else { Some(last) } })
        };
        let partitions: Vec<_> = recent.iter().enumerate().map(partition).collect();
        let skew = node::inspect::skew_percent(recent);
        let load = json!({ "until": last, "over_ms": 3_600_000, "partitions": partitions, "skew_percent": skew });
        serde_json::from_value(load).expect("a load")
    }

    #[test]
    fn the_work_is_shown_by_partition_with_a_verdict() {
        let shown = |recent: &[u64]| {
            let load = load(recent);
            let rows = rows(&load).into_iter().map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n");
            format!("{rows}\n{}", verdict(&load).0)
        };
        insta::assert_snapshot!(shown(&[100, 110, 90]), @r"
        0 | 100 | 33.3 % | 200 | 210 | 2026-11-24 04:07:00 | abcdef
        1 | 110 | 36.6 % | 220 | 230 | 2026-11-24 04:07:00 | abcdef
        2 | 90 | 30.0 % | 180 | 190 | 2026-11-24 04:07:00 | abcdef
        skew 10 % in the hour before 2026-11-24 04:07:00
        ");
        insta::assert_snapshot!(shown(&[300, 0, 60]), @r"
        0 | 300 | 83.3 % | 600 | 610 | 2026-11-24 04:07:00 | abcdef
        1 | 0 | 0.0 % | 0 | 10 | never | abcdef
        2 | 60 | 16.6 % | 120 | 130 | 2026-11-24 04:07:00 | abcdef
        skew 150 % in the hour before 2026-11-24 04:07:00: the busiest partition has that much more than the mean; more than 20 % means that few keys carry much of the work, or that there are too few keys
        ");
        insta::assert_snapshot!(shown(&[0, 0]), @r"
        0 | 0 | 0.0 % | 0 | 10 | never | abcdef
        1 | 0 | 0.0 % | 0 | 10 | never | abcdef
        no records in the hour before 2026-11-24 04:07:00
        ");
    }
}
