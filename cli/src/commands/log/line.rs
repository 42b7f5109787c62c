//! A record of the log on one line.

use node::inspect::LogRecord;

use crate::render;

/// Characters of what it holds; `--full` and `--json` show all.
const DATA: usize = 100;

/// `3:17  2026-11-24 04:07:00.123  run_started  runs/…#0  {…}`
pub(super) fn line(record: &LogRecord, full: bool) -> String {
    let place = format!("{}:{}", record.partition, record.position);
    let time = record.time.to_string().replace('T', " ").trim_end_matches('Z').to_owned();
    let data = what(record);
    let data = if full { data } else { render::clip(&data, DATA) };
    format!("{place:<10}  {time}  {:<19}  {}  {data}", record.kind, whose(record)).trim_end().to_owned()
}

/// Its stream and number there; `(17)` is a stream whose name is no longer kept.
fn whose(record: &LogRecord) -> String {
    let stream = match (&record.stream, record.ordinal) {
        (Some(stream), _) => stream.to_string(),
        (None, Some(ordinal)) => format!("({ordinal})"),
        (None, None) => "-".to_owned(),
    };
    record.offset.map_or(stream.clone(), |offset| format!("{stream}#{offset}"))
}

fn what(record: &LogRecord) -> String {
    if let Some(problem) = &record.problem {
        return format!("{problem} ({} bytes)", record.bytes);
    }
    match (&record.data, &record.base64) {
        (Some(data), _) => data.to_string(),
        (None, Some(base64)) => {
            format!("{} base64:{base64}", record.content_type.as_deref().unwrap_or("application/octet-stream"))
        }
        (None, None) => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::commands::log) fn record(value: serde_json::Value) -> LogRecord {
        let mut whole = json!({
            "partition": 3, "position": 17, "time": 1_795_493_220_123_u64, "kind": "event", "class": "output",
            "cause": true, "stream": "agent-42/notes", "ordinal": 5, "offset": 2, "tenant": "default", "bytes": 12,
            "data": { "text": "hello" },
        });
        let (whole_map, changes) = (whole.as_object_mut().expect("an object"), value);
        for (name, value) in changes.as_object().expect("an object") {
            whole_map.insert(name.clone(), value.clone());
        }
        serde_json::from_value(whole).expect("a record")
    }

    #[test]
    fn a_record_is_one_line() {
        let lines = [
            record(json!({})),
            record(json!({ "kind": "stream_created", "offset": null, "data": { "content_type": null } })),
            record(json!({ "stream": null, "data": "x".repeat(200) })),
            record(json!({ "data": null, "base64": "AP8=", "content_type": "image/png" })),
            record(json!({ "kind": "unknown", "data": null, "base64": "AA==", "problem": "schema 9 is not known" })),
            record(json!({ "kind": "workflow_registered", "stream": null, "ordinal": null, "offset": null })),
        ];
        let text: Vec<_> = lines.iter().map(|record| line(record, false)).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        3:17        2026-11-24 04:07:00.123  event                agent-42/notes#2  {"text":"hello"}
        3:17        2026-11-24 04:07:00.123  stream_created       agent-42/notes  {"content_type":null}
        3:17        2026-11-24 04:07:00.123  event                (5)#2  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        3:17        2026-11-24 04:07:00.123  event                agent-42/notes#2  image/png base64:AP8=
        3:17        2026-11-24 04:07:00.123  unknown              agent-42/notes#2  schema 9 is not known (12 bytes)
        3:17        2026-11-24 04:07:00.123  workflow_registered  -  {"text":"hello"}
        "#);
    }
}
