//! `headwater log stats`: what the log takes, what it wrote for that, and what it still has to rewrite.

use clap::Args;
use node::inspect::{LogStats, Written};

use super::source::From;
use crate::commands::Context;
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    from: From,
}

pub(super) async fn run(Stats { from }: Stats, context: &Context) -> Result<Exit, Failure> {
    let stats = from.open(context)?.stats().await?;
    if context.json {
        render::json(&stats)?;
        return Ok(Exit::Done);
    }
    let rows = stats.families.iter().map(|family| {
        let [bytes, memory, debt] = [family.bytes, family.memtable_bytes, family.debt_bytes].map(render::bytes);
        [family.name.clone(), bytes, memory, debt, family.level0_files.to_string(), family.keys.to_string()]
    });
    render::table(["family", "on disk", "in memory", "to compact", "new files", "keys"], rows.collect(), "nothing")?;
    sentences(&stats).iter().try_for_each(render::line)?;
    Ok(Exit::Done)
}

fn sentences(stats: &LogStats) -> Vec<String> {
    let LogStats { segments, records, block_bytes, wal_files, wal_bytes, .. } = stats;
    let tables: u64 = stats.families.iter().map(|family| family.bytes).sum();
    let mut lines = vec![
        format!(
            "{} in {}, {} of blocks as of the last checkpoints",
            render::counted(*records, "record"),
            render::counted(*segments, "segment"),
            render::bytes(*block_bytes)
        ),
        format!(
            "{} in tables, {} in {} of the write-ahead log",
            render::bytes(tables),
            render::bytes(*wal_bytes),
            render::counted(*wal_files, "file")
        ),
    ];
    if let Some(Written { block_bytes, disk_bytes }) = stats.written {
        let times = disk_bytes.saturating_mul(10).checked_div(block_bytes);
        let amplified =
            times.map_or_else(String::new, |times| format!(", {}.{} times as much", times / 10, times % 10));
        lines.push(format!(
            "since the start of the node: {} of blocks taken, {} written to the disk{amplified}",
            render::bytes(block_bytes),
            render::bytes(disk_bytes)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_is_told_beside_what_was_taken() {
        let stats = |written| -> LogStats {
            let family = json!({ "name": "log", "bytes": 1_500_000, "memtable_bytes": 2000, "debt_bytes": 0,
                                 "level0_files": 2, "keys": 90 });
            let stats = json!({ "families": [family], "wal_files": 2, "wal_bytes": 48_000_000, "segments": 33,
                                "records": 12_000, "block_bytes": 1_400_000, "written": written });
            serde_json::from_value(stats).expect("stats")
        };
        let shown = |written| sentences(&stats(written)).join("\n");
        insta::assert_snapshot!(shown(json!({ "block_bytes": 1_000_000, "disk_bytes": 3_450_000 })), @r"
        12000 records in 33 segments, 1.4 MB of blocks as of the last checkpoints
        1.5 MB in tables, 48.0 MB in 2 files of the write-ahead log
        since the start of the node: 1.0 MB of blocks taken, 3.4 MB written to the disk, 3.4 times as much
        ");
        let idle = shown(json!({ "block_bytes": 0, "disk_bytes": 5 }));
        assert!(idle.ends_with("0 B of blocks taken, 5 B written to the disk"), "{idle}");
        assert_eq!(shown(json!(null)).lines().count(), 2);
    }
}
