//! `headwater log export`: what streams show, one event a line, as JSON Lines or as CloudEvents 1.0.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};
use node::inspect::{LogRecord, ReadRecords, Wanted};
use serde_json::{Map, Value, json};
use types::{History, PartitionId, StreamOrdinal};

use super::cat::partitions;
use super::source::{From, Source};
use super::wanted::Filter;
use crate::commands::Context;
use crate::exit::{Exit, Failure};
use crate::render;

/// Records asked for at once.
const PAGE: usize = 500;

const FORMATS: &str = "\
Events stand in the order of their stream; lines of different streams are not in order of time. `jsonl` is Headwater's own, \
with all that `log import` needs; `cloudevents` is CloudEvents 1.0 in JSON, one a line: id names the event within this node's \
history, source the stream, type is `headwater.` and the kind, subject the stream's name.";

/// The shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Jsonl,
    Cloudevents,
}

#[derive(Debug, Args)]
#[command(after_help = FORMATS)]
pub(crate) struct Export {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    filter: Filter,
    /// The shape of a line
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

pub(super) async fn run(Export { from, filter, format }: Export, context: &Context) -> Result<Exit, Failure> {
    let mut source = from.open(context)?;
    let histories: BTreeMap<PartitionId, History> =
        source.load(0).await?.partitions.into_iter().map(|load| (load.partition, load.history)).collect();
    let (mut events, mut left_out) = (0_u64, 0_u64);
    for partition in partitions(&source, &filter).await? {
        let history = histories.get(&partition).copied().unwrap_or_default();
        let deleted = deleted(&mut source, partition).await?;
        let mut request = ReadRecords { partition, from: None, until: None, max: PAGE, wanted: filter.wanted()? };
        loop {
            let page = source.read(&request).await?;
            for record in page.records.iter().filter(|record| record.offset.is_some()) {
                let gone = record.ordinal.is_some_and(|ordinal| deleted.contains(&ordinal));
                match export(record, history, format).filter(|_| !gone) {
                    Some(line) => {
                        render::json(&line)?;
                        events += 1;
                    }
                    None => left_out += 1,
                }
            }
            if page.done {
                break;
            }
            request.from = Some(page.next);
        }
    }
    render::notice(format!("{events} events"));
    if left_out > 0 {
        render::notice(format!("{left_out} events of streams that were deleted are left out"));
    }
    Ok(source.exit())
}

/// Streams of a partition that are no more, though their records may still be there.
async fn deleted(source: &mut Source<'_>, partition: PartitionId) -> Result<BTreeSet<StreamOrdinal>, Failure> {
    let wanted = Wanted { kinds: vec!["stream_deleted".to_owned()], ..Wanted::default() };
    let mut request = ReadRecords { partition, from: None, until: None, max: PAGE, wanted };
    let mut deleted = BTreeSet::new();
    loop {
        let page = source.read(&request).await?;
        deleted.extend(page.records.iter().filter_map(|record| record.ordinal));
        if page.done {
            return Ok(deleted);
        }
        request.from = Some(page.next);
    }
}

/// An event that a stream shows, in its shape. `None`: the name of its stream is no longer known.
fn export(record: &LogRecord, history: History, format: Format) -> Option<Value> {
    let stream = record.stream.as_ref()?;
    Some(match format {
        Format::Jsonl => {
            let mut line = json!({
                "stream": stream, "offset": record.offset, "time": record.time.to_string(), "type": record.kind,
            });
            content(record, line.as_object_mut().expect("it was made as one"), "content_type", "base64");
            if let Some(source) = record.source {
                line["source"] = json!({ "step": source.step, "attempt": source.attempt, "seq": source.seq });
            }
            if let Some(producer) = &record.producer {
                line["producer"] = json!({ "id": producer.id, "epoch": producer.epoch, "seq": producer.seq });
            }
            line
        }
        Format::Cloudevents => {
            let tenant = record.tenant.clone().unwrap_or_default();
            let offset = record.offset.unwrap_or_default();
            let mut line = json!({
                "specversion": "1.0",
                // One event of one history: the same whenever it is exported.
                "id": format!("{:06x}-{}-{}", history.value(), record.partition, record.position),
                "source": format!("urn:headwater:stream:{tenant}:{stream}"),
                "type": format!("headwater.{}", record.kind),
                "subject": stream,
                "time": record.time.to_string(),
                // The extension of that name: sorts as text within a source.
                "sequence": format!("{:020}", offset.value()),
            });
            let members = line.as_object_mut().expect("it was made as one");
            content(record, members, "datacontenttype", "data_base64");
            members.entry("datacontenttype").or_insert_with(|| "application/json".into());
            line
        }
    })
}

fn content(record: &LogRecord, line: &mut Map<String, Value>, content_type: &str, base64: &str) {
    if let Some(given) = &record.content_type {
        line.insert(content_type.to_owned(), given.as_str().into());
    }
    match (&record.data, &record.base64) {
        (Some(data), _) => drop(line.insert("data".to_owned(), data.clone())),
        (None, Some(bytes)) => drop(line.insert(base64.to_owned(), bytes.as_str().into())),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::log::line::tests::record;

    #[test]
    fn an_event_has_both_shapes() {
        let shown = |changes: Value| {
            let record = record(changes);
            let line = |format| export(&record, History::new(0xab_cdef), format).expect("it has a stream").to_string();
            format!("{}\n{}", line(Format::Jsonl), line(Format::Cloudevents))
        };
        insta::assert_snapshot!(shown(json!({ "producer": { "id": "p-1", "epoch": 2, "seq": 3 } })), @r#"
        {"stream":"agent-42/notes","offset":2,"time":"2026-11-24T04:07:00.123Z","type":"event","data":{"text":"hello"},"producer":{"id":"p-1","epoch":2,"seq":3}}
        {"specversion":"1.0","id":"abcdef-3-17","source":"urn:headwater:stream:default:agent-42/notes","type":"headwater.event","subject":"agent-42/notes","time":"2026-11-24T04:07:00.123Z","sequence":"00000000000000000002","data":{"text":"hello"},"datacontenttype":"application/json"}
        "#);
        insta::assert_snapshot!(shown(json!({ "data": null, "base64": "AP8=", "content_type": "image/png" })), @r#"
        {"stream":"agent-42/notes","offset":2,"time":"2026-11-24T04:07:00.123Z","type":"event","content_type":"image/png","base64":"AP8="}
        {"specversion":"1.0","id":"abcdef-3-17","source":"urn:headwater:stream:default:agent-42/notes","type":"headwater.event","subject":"agent-42/notes","time":"2026-11-24T04:07:00.123Z","sequence":"00000000000000000002","datacontenttype":"image/png","data_base64":"AP8="}
        "#);
        let chunk = json!({ "kind": "chunk", "source": { "step": 1, "attempt": 2, "seq": 3 }, "data": "tok" });
        insta::assert_snapshot!(shown(chunk), @r#"
        {"stream":"agent-42/notes","offset":2,"time":"2026-11-24T04:07:00.123Z","type":"chunk","data":"tok","source":{"step":1,"attempt":2,"seq":3}}
        {"specversion":"1.0","id":"abcdef-3-17","source":"urn:headwater:stream:default:agent-42/notes","type":"headwater.chunk","subject":"agent-42/notes","time":"2026-11-24T04:07:00.123Z","sequence":"00000000000000000002","data":"tok","datacontenttype":"application/json"}
        "#);
        let nameless = record(json!({ "stream": null }));
        assert_eq!(export(&nameless, History::default(), Format::Jsonl), None);
    }
}
