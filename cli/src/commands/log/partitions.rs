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
    let head = ["partition", "records", "share", "bytes", "kept", "end", "last record", "history"];
    render::table(head, rows, "no partitions")?;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let (sentence, style) = verdict(&load);
    render::line(render::paint(style, &sentence, terminal))?;
    Ok(Exit::Done)
}

fn rows(load: &Load) -> Vec<[String; 8]> {
    let sum: u64 = load.partitions.iter().map(|partition| partition.recent).sum();
    let row = |partition: &node::inspect::PartitionLoad| {
        let share = partition.recent.saturating_mul(1000).checked_div(sum).unwrap_or(0);
        [
            partition.partition.to_string(),
            partition.recent.to_string(),
            format!("{}.{} %", share / 10, share % 10),
            render::bytes(partition.recent_bytes),
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
    let Some(records) = load.skew_percent else { return (format!("no records in {over}"), Style::Dim) };
    // Of bytes nothing is known before the first checkpoint.
    let bytes = load.skew_bytes_percent;
    let skew = match bytes {
        Some(bytes) => format!("skew {records:.0} % in records and {bytes:.0} % in bytes, in {over}"),
        None => format!("skew {records:.0} % in records, in {over}"),
    };
    if records.max(bytes.unwrap_or(0.0)) <= SKEW_PERCENT {
        return (skew, Style::Green);
    }
    let sentence = format!(
        "{skew}: the busiest partition has that much more than the mean; more than {SKEW_PERCENT:.0} % means that few \
         keys carry much of the work, or that there are too few keys"
    );
    (sentence, Style::Red)
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

    fn load(recent: &[(u64, u64)]) -> Load {
        let last = 1_795_493_220_123_u64;
        let partition = |(partition, (recent, bytes)): (usize, &(u64, u64))| {
            json!({ "partition": partition, "history": 0xab_cdef, "start": 10, "end": 10 + recent * 2,
                    "recent": recent, "recent_bytes": bytes, "last": if *recent == 0 { None } else { Some(last) } })
        };
        let partitions: Vec<_> = recent.iter().enumerate().map(partition).collect();
        let skew = |of: fn(&(u64, u64)) -> u64| node::inspect::skew_percent(&recent.iter().map(of).collect::<Vec<_>>());
        let (records, bytes) = (skew(|(records, _)| *records), skew(|(_, bytes)| *bytes));
        let load = json!({ "until": last, "over_ms": 3_600_000, "partitions": partitions, "skew_percent": records,
                           "skew_bytes_percent": bytes });
        serde_json::from_value(load).expect("a load")
    }

    #[test]
    fn the_work_is_shown_by_partition_with_a_verdict() {
        let shown = |recent: &[(u64, u64)]| {
            let load = load(recent);
            let rows = rows(&load).into_iter().map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n");
            format!("{rows}\n{}", verdict(&load).0)
        };
        insta::assert_snapshot!(shown(&[(100, 5_000), (110, 5_000), (90, 5_000)]), @r"
        0 | 100 | 33.3 % | 5.0 kB | 200 | 210 | 2026-11-24 04:07:00 | abcdef
        1 | 110 | 36.6 % | 5.0 kB | 220 | 230 | 2026-11-24 04:07:00 | abcdef
        2 | 90 | 30.0 % | 5.0 kB | 180 | 190 | 2026-11-24 04:07:00 | abcdef
        skew 10 % in records and 0 % in bytes, in the hour before 2026-11-24 04:07:00
        ");
        insta::assert_snapshot!(shown(&[(300, 0), (0, 0), (60, 0)]), @r"
        0 | 300 | 83.3 % | 0 B | 600 | 610 | 2026-11-24 04:07:00 | abcdef
        1 | 0 | 0.0 % | 0 B | 0 | 10 | never | abcdef
        2 | 60 | 16.6 % | 0 B | 120 | 130 | 2026-11-24 04:07:00 | abcdef
        skew 150 % in records, in the hour before 2026-11-24 04:07:00: the busiest partition has that much more than the mean; more than 20 % means that few keys carry much of the work, or that there are too few keys
        ");
        insta::assert_snapshot!(shown(&[(0, 0), (0, 0)]), @r"
        0 | 0 | 0.0 % | 0 B | 0 | 10 | never | abcdef
        1 | 0 | 0.0 % | 0 B | 0 | 10 | never | abcdef
        no records in the hour before 2026-11-24 04:07:00
        ");
    }

    #[test]
    fn many_bytes_in_few_records_are_skew_too() {
        let verdict = verdict(&load(&[(100, 90_000), (100, 10_000)]));
        assert!(matches!(verdict.1, Style::Red));
        assert!(verdict.0.starts_with("skew 0 % in records and 80 % in bytes"), "{}", verdict.0);
    }
}
