//! Which records a person means: by partition, stream, run, time, position and kind.

use clap::Args;
use headwater_client::{RunId, StreamName};
use jiff::SignedDuration;
use node::inspect::Wanted;
use types::{PartitionId, Position, Timestamp};

use crate::exit::Failure;

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only of this partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Only of this stream
    #[arg(long, conflicts_with = "run", value_name = "STREAM")]
    stream: Option<String>,
    /// Only of this run; `log cat` and `log tail` show also what its stream does not
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Only of this kind, such as run_started or event; may be given again
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// From this time on: 2026-11-24T04:07:00Z, or 15m, 2h, 1d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct Range {
    /// From this position on; positions are counted in each partition
    #[arg(long, value_name = "POSITION")]
    pub(super) from: Option<u64>,
    /// Before this position
    #[arg(long, value_name = "POSITION")]
    pub(super) until: Option<u64>,
}

impl Range {
    pub(super) fn positions(&self) -> (Option<Position>, Option<Position>) {
        (self.from.map(Position::new), self.until.map(Position::new))
    }
}

impl Filter {
    pub(super) fn partition(&self) -> Option<PartitionId> {
        self.partition.map(PartitionId::new)
    }

    pub(super) fn wanted(&self) -> Result<Wanted, Failure> {
        let stream = match (&self.stream, self.run) {
            (_, Some(run)) => Some(StreamName::of_run(run)),
            (Some(name), None) => Some(StreamName::new(name).map_err(|error| Failure::usage(error.to_string()))?),
            (None, None) => None,
        };
        Ok(Wanted { stream, kinds: self.kinds.clone(), since: self.since, before: self.before })
    }
}

/// An instant, or how long ago.
fn time(text: &str) -> Result<Timestamp, String> {
    time_at(text, node::clock::wall_clock())
}

fn time_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let millis = |millis: i64| u64::try_from(millis).map(Timestamp::from_millis).ok();
    if let Ok(ago) = duration(text) {
        return Ok(Timestamp::from_millis(now.as_millis().saturating_sub(ago)));
    }
    let instant = text.parse::<jiff::Timestamp>().ok().and_then(|instant| millis(instant.as_millisecond()));
    instant
        .ok_or_else(|| format!("{text:?} is no time: write 2026-11-24T04:07:00Z, or 15m for a quarter of an hour ago"))
}

/// Milliseconds of `90s`, `15m`, `2h 30m`, `1d`.
pub(super) fn duration(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is no length of time: write 90s, 15m, 2h or 1d");
    // A day here is 24 hours, whatever the calendar says.
    let (days, rest) = match text.trim().split_once('d') {
        Some((days, rest)) if days.bytes().all(|b| b.is_ascii_digit()) => (days.parse().map_err(|_| refused())?, rest),
        Some(_) | None => (0_u64, text),
    };
    let rest = match rest.trim() {
        "" if rest.len() < text.len() => 0,
        rest => {
            let span: SignedDuration = rest.parse().map_err(|_| refused())?;
            u64::try_from(span.as_millis()).map_err(|_| refused())?
        }
    };
    days.checked_mul(86_400_000).and_then(|days| days.checked_add(rest)).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_how_long_ago() {
        let now = Timestamp::from_millis(1_795_493_220_123);
        let check = |text: &str, expect: u64| assert_eq!(time_at(text, now), Ok(Timestamp::from_millis(expect)));
        check("2026-11-24T04:07:00Z", 1_795_493_220_000);
        check("2026-11-24T05:07:00.5+01:00", 1_795_493_220_500);
        check("15m", 1_795_493_220_123 - 900_000);
        check("1d", 1_795_493_220_123 - 86_400_000);
        check("1d 1h", 1_795_493_220_123 - 90_000_000);
        for bad in ["", "yesterday", "15", "-1h", "d", "2026-11-24", "99999999999999999999d"] {
            assert!(time_at(bad, now).is_err(), "{bad:?}");
        }
    }
}
