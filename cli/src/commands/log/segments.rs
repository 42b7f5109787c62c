//! `headwater log segments`: the parts that a partition's chains are cut into.

use clap::Args;
use node::inspect::SegmentView;
use types::PartitionId;

use super::source::From;
use crate::commands::Context;
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct Segments {
    #[command(flatten)]
    from: From,
    /// Only of this partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
}

pub(super) async fn run(Segments { from, partition }: Segments, context: &Context) -> Result<Exit, Failure> {
    let segments = from.open(context)?.segments(partition.map(PartitionId::new)).await?;
    if context.json {
        segments.iter().try_for_each(render::json)?;
        return Ok(Exit::Done);
    }
    let head = ["partition", "chain", "segment", "state", "positions", "records", "blocks", "bytes", "first", "last"];
    let (shown, empty): (Vec<_>, Vec<_>) = segments.iter().partition(|segment| segment.records > 0);
    render::table(head, shown.into_iter().map(row).collect(), "nothing is in any segment")?;
    if !empty.is_empty() {
        let empty = render::counted(empty.len() as u64, "segment");
        render::notice(format!("{empty} with nothing inside not shown; --json has all"));
    }
    Ok(Exit::Done)
}

fn row(segment: &SegmentView) -> [String; 10] {
    let time =
        |time: Option<types::Timestamp>| time.map_or_else(|| "-".to_owned(), |time| render::when(&time.to_string()));
    [
        segment.partition.to_string(),
        segment.chain.clone(),
        segment.number.to_string(),
        segment.state.clone(),
        format!("{}..{}", segment.base, segment.next),
        segment.records.to_string(),
        segment.blocks.to_string(),
        render::bytes(segment.bytes),
        time(segment.first),
        time(segment.last),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_segment_is_a_row() {
        let mut segment = json!({
            "partition": 3, "chain": "stream", "number": 2, "state": "sealed", "base": 100, "next": 250, "blocks": 3,
            "records": 120, "bytes": 65_536, "first": 1_795_493_220_123_u64, "last": 1_795_493_221_000_u64,
        });
        let shown =
            |segment: &serde_json::Value| row(&serde_json::from_value(segment.clone()).expect("a segment")).join(" | ");
        insta::assert_snapshot!(shown(&segment), @"3 | stream | 2 | sealed | 100..250 | 120 | 3 | 65.5 kB | 2026-11-24 04:07:00 | 2026-11-24 04:07:01");
        (segment["first"], segment["last"]) = (json!(null), json!(null));
        insta::assert_snapshot!(shown(&segment), @"3 | stream | 2 | sealed | 100..250 | 120 | 3 | 65.5 kB | - | -");
    }
}
