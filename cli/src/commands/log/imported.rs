//! One line of an import: which stream it is for and what is appended. Decides; sends nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headwater_client::StreamName;
use serde_json::{Map, Value};

use super::export::Format;

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Imported {
    pub(super) stream: StreamName,
    /// `None`: JSON.
    pub(super) content_type: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What a line comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Event(Imported),
    /// History of a run, which another node cannot go on with.
    OfRun,
}

/// What the person asked for beside the lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    /// Where events go that name no stream, and, if given, all of them.
    pub(super) stream: Option<StreamName>,
    /// Streams of runs go to plain streams below this name instead of being left out.
    pub(super) runs_under: Option<String>,
    /// Of a CloudEvent the whole event is appended, not only its data.
    pub(super) envelope: bool,
}

/// Reads a line; the error is a fragment that fits "line 7: …".
pub(super) fn read(text: &str, format: Format, choices: &Choices) -> Result<Line, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let Value::Object(members) = value else { return Err("it is no JSON object".to_owned()) };
    match format {
        Format::Jsonl => of_ours(&members, choices),
        Format::Cloudevents => of_cloud_event(&members, choices),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("`{name}` is {other}, but it is a text")),
    }
}

fn of_ours(members: &Map<String, Value>, choices: &Choices) -> Result<Line, String> {
    let known = ["stream", "offset", "time", "type", "data", "content_type", "base64", "source", "producer"];
    if let Some(odd) = members.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("`{odd}` is no member of an exported event; is this another format?"));
    }
    let named = text(members, "stream")?;
    let body = body(members, "base64")?;
    let content_type = text(members, "content_type")?.map(str::to_owned);
    place(named, content_type, body, choices)
}

/// CloudEvents 1.0, JSON format: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
fn of_cloud_event(members: &Map<String, Value>, choices: &Choices) -> Result<Line, String> {
    let required = |name: &str| match text(members, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) | None => Err(format!("the required attribute `{name}` is missing or empty")),
    };
    let version = required("specversion")?;
    if version != "1.0" {
        return Err(format!("`specversion` is {version:?}, but 1.0 is read"));
    }
    let source = required("source")?;
    if source.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c)) {
        return Err(format!("`source` is {source:?}, which is no URI reference"));
    }
    required("id")?;
    let kind = required("type")?;
    for name in members.keys().filter(|name| *name != "data" && *name != "data_base64") {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(format!("`{name}` is no attribute's name: lower-case letters and digits"));
        }
    }
    if let Some(time) = text(members, "time")?
        && time.parse::<jiff::Timestamp>().is_err()
    {
        return Err(format!("`time` is {time:?}, but RFC 3339 writes 2026-11-24T04:07:00Z"));
    }
    let content_type = text(members, "datacontenttype")?;
    let subject = text(members, "subject")?;
    let ours = kind.starts_with("headwater.") && source.starts_with("urn:headwater:stream:");
    let named = if ours || choices.stream.is_none() { subject } else { None };
    if choices.envelope {
        let whole = serde_json::to_vec(members).map_err(|error| error.to_string())?;
        return place(named, None, whole, choices);
    }
    let is_json = content_type.is_none_or(|given| {
        let media = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        media == "application/json" || media.ends_with("+json")
    });
    let content_type = content_type.filter(|_| !is_json).map(str::to_owned);
    let body = body(members, "data_base64")?;
    let body = match (members.get("data"), &content_type) {
        // Data of another type that is text is written as a JSON string.
        (Some(Value::String(text)), Some(_)) => text.clone().into_bytes(),
        (Some(_) | None, _) => body,
    };
    place(named, content_type, body, choices)
}

fn body(members: &Map<String, Value>, base64: &str) -> Result<Vec<u8>, String> {
    match (members.get("data"), text(members, base64)?) {
        (Some(_), Some(_)) => Err(format!("it has both `data` and `{base64}`")),
        (Some(data), None) => serde_json::to_vec(data).map_err(|error| error.to_string()),
        (None, Some(bytes)) => STANDARD.decode(bytes).map_err(|error| format!("`{base64}` is no base64: {error}")),
        (None, None) => Ok(b"null".to_vec()),
    }
}

fn place(named: Option<&str>, content_type: Option<String>, body: Vec<u8>, choices: &Choices) -> Result<Line, String> {
    let stream = match (&choices.stream, named) {
        (Some(stream), _) => stream.clone(),
        (None, Some(name)) => StreamName::new(name).map_err(|error| error.to_string())?,
        (None, None) => return Err("it names no stream: say where it goes with --stream".to_owned()),
    };
    let Some(run) = stream.run() else { return Ok(Line::Event(Imported { stream, content_type, body })) };
    let Some(under) = &choices.runs_under else { return Ok(Line::OfRun) };
    let stream = StreamName::new(&format!("{under}/{run}")).map_err(|error| error.to_string())?;
    Ok(Line::Event(Imported { stream, content_type, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "1f0c9a3e-01JD2V6J6Q0Z8X4M7K3T5R9W1Y";

    fn ours(text: &str) -> Result<Line, String> {
        read(text, Format::Jsonl, &Choices::default())
    }

    fn cloud(text: &str, choices: &Choices) -> Result<Line, String> {
        read(text, Format::Cloudevents, choices)
    }

    fn event(stream: &str, content_type: Option<&str>, body: &str) -> Line {
        let stream = StreamName::new(stream).expect("a name");
        Line::Event(Imported { stream, content_type: content_type.map(str::to_owned), body: body.into() })
    }

    #[test]
    fn an_exported_event_is_read_back() {
        let line = r#"{"stream":"a/b","offset":3,"time":"2026-11-24T04:07:00.123Z","type":"event","data":{"x":[1]}}"#;
        assert_eq!(ours(line), Ok(event("a/b", None, r#"{"x":[1]}"#)));
        let line = r#"{"stream":"a/b","type":"event","content_type":"text/plain","base64":"aGk="}"#;
        assert_eq!(ours(line), Ok(event("a/b", Some("text/plain"), "hi")));
    }

    #[test]
    fn history_of_runs_is_told_apart() {
        let line = format!(r#"{{"stream":"runs/{RUN}","type":"run_started","data":{{}}}}"#);
        assert_eq!(ours(&line), Ok(Line::OfRun));
        let choices = Choices { runs_under: Some("old".to_owned()), ..Choices::default() };
        assert_eq!(read(&line, Format::Jsonl, &choices), Ok(event(&format!("old/{RUN}"), None, "{}")));
    }

    #[test]
    fn a_cloud_event_is_held_to_the_standard() {
        let line =
            |rest: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/x","type":"t","subject":"a/b"{rest}}}"#);
        let read = |rest: &str| cloud(&line(rest), &Choices::default());
        assert_eq!(read(r#","data":{"x":1}"#), Ok(event("a/b", None, r#"{"x":1}"#)));
        assert_eq!(read(r#","data":"hi","datacontenttype":"text/plain""#), Ok(event("a/b", Some("text/plain"), "hi")));
        assert_eq!(read(r#","data":"hi","datacontenttype":"application/ld+json""#), Ok(event("a/b", None, r#""hi""#)));
        assert_eq!(read(r#","data_base64":"AP8=","datacontenttype":"image/png""#).map(|_| ()), Ok(()));
        assert_eq!(read(""), Ok(event("a/b", None, "null")));
        let whole = Choices { envelope: true, ..Choices::default() };
        assert_eq!(cloud(&line(""), &whole), Ok(event("a/b", None, &line(""))));
        let elsewhere = Choices { stream: StreamName::new("all").ok(), ..Choices::default() };
        assert_eq!(cloud(&line(""), &elsewhere), Ok(event("all", None, "null")));

        let check = |text: &str, expect: &str| {
            let error = cloud(text, &Choices::default()).expect_err(expect);
            assert!(error.contains(expect), "{text}: {error}");
        };
        check(r#"{"id":"1","source":"/x","type":"t"}"#, "`specversion` is missing");
        check(r#"{"specversion":"1.0","source":"/x","type":"t"}"#, "`id` is missing");
        check(r#"{"specversion":"1.0","id":"","source":"/x","type":"t"}"#, "`id` is missing or empty");
        check(r#"{"specversion":"1.0","id":"1","type":"t"}"#, "`source` is missing");
        check(r#"{"specversion":"1.0","id":"1","source":"/x"}"#, "`type` is missing");
        check(r#"{"specversion":"0.3","id":"1","source":"/x","type":"t"}"#, "but 1.0 is read");
        check(r#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#, "no URI reference");
        check(r#"{"specversion":"1.0","id":"1","source":"/x","type":"t"}"#, "names no stream");
        check(&line(r#","Bad":1"#), "`Bad` is no attribute's name");
        check(&line(r#","time":"now""#), "RFC 3339");
        check(&line(r#","data":1,"data_base64":"AA==""#), "both");
        check(&line(r#","data_base64":"%""#), "no base64");
        check("[1]", "no JSON object");
    }
}
