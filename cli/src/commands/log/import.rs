//! `headwater log import`: appends what an export wrote, or CloudEvents of others, to streams of a running node.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use clap::Args;
use headwater_client::{Appending, Client, Code, Error, ProducerId, Stamp, StreamName};
use serde_json::json;

use super::export::Format;
use super::imported::{self, Choices, Imported, Line};
use crate::commands::Context;
use crate::exit::{Exit, Failure};
use crate::render;

/// Lines read before what they hold is sent, grouped by stream. Fixed: a repeated import groups the same way.
const WINDOW: usize = 4_096;
/// Events and bytes of one request; the node allows more.
const REQUEST_EVENTS: usize = 512;
const REQUEST_BYTES: usize = 1024 * 1024;

const REPEATS: &str = "\
Events of one stream keep their order. Offsets and times are the node's own: an import is an append. With --producer NAME an \
import that was interrupted can be started again with the same file and name: what is there already is not appended twice.
The history of runs (streams `runs/…`) is no run for another node; it is left out unless --runs-under says where to keep it.";

#[derive(Debug, Args)]
#[command(after_help = REPEATS)]
pub(crate) struct Import {
    /// The file; without one, standard input
    file: Option<PathBuf>,
    /// The shape of a line
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Append everything to this stream, whatever the lines say
    #[arg(long, value_name = "STREAM", value_parser = stream_name)]
    stream: Option<StreamName>,
    /// Keep the history of runs in plain streams below this name
    #[arg(long, value_name = "NAME")]
    runs_under: Option<String>,
    /// Of a CloudEvent append the whole event, not only its data
    #[arg(long)]
    envelope: bool,
    /// A name for this import, so that it can be repeated without doubling anything
    #[arg(long, value_name = "NAME", value_parser = producer_id)]
    producer: Option<ProducerId>,
}

fn stream_name(text: &str) -> Result<StreamName, String> {
    StreamName::new(text).map_err(|error| error.to_string())
}

fn producer_id(text: &str) -> Result<ProducerId, String> {
    ProducerId::new(text)
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    appended: u64,
    there_before: u64,
    of_runs: u64,
}

pub(super) async fn run(arguments: Import, context: &Context) -> Result<Exit, Failure> {
    let Import { file, format, stream, runs_under, envelope, producer } = arguments;
    let choices = Choices { stream, runs_under, envelope };
    let reader: Box<dyn BufRead> = match &file {
        Some(path) => {
            let opened = File::open(path).map_err(|error| Failure::local(format!("read {}", path.display()), error))?;
            Box::new(BufReader::new(opened))
        }
        None => Box::new(BufReader::new(std::io::stdin())),
    };
    let mut sender = Sender { client: &context.client, producer, next: BTreeMap::new(), tally: Tally::default() };
    let mut window = Vec::new();
    for (number, line) in (1_u64..).zip(reader.lines()) {
        let line = line.map_err(|error| Failure::usage(format!("line {number} cannot be read: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        match imported::read(&line, format, &choices) {
            Ok(Line::Event(event)) => window.push(event),
            Ok(Line::OfRun) => sender.tally.of_runs += 1,
            Err(what) => {
                // What stands before the mistake was meant.
                sender.send(std::mem::take(&mut window)).await?;
                return Err(Failure::usage(format!("line {number}: {what}"))
                    .advise(format!("the {} events before it are appended", sender.tally.appended)));
            }
        }
        if window.len() >= WINDOW {
            sender.send(std::mem::take(&mut window)).await?;
        }
    }
    sender.send(window).await?;
    let Tally { appended, there_before, of_runs } = sender.tally;
    if context.json {
        render::json(&json!({ "appended": appended, "there_before": there_before, "of_runs": of_runs }))?;
        return Ok(Exit::Done);
    }
    render::line(format!("{appended} events appended"))?;
    if there_before > 0 {
        render::notice(format!("{there_before} were there before"));
    }
    if of_runs > 0 {
        render::notice(format!("{of_runs} lines are history of runs and are left out; --runs-under NAME keeps them"));
    }
    Ok(Exit::Done)
}

struct Sender<'a> {
    client: &'a Client,
    producer: Option<ProducerId>,
    /// The next request's number for each stream that was met.
    next: BTreeMap<StreamName, u64>,
    tally: Tally,
}

impl Sender<'_> {
    /// Appends a window of events, stream by stream.
    async fn send(&mut self, window: Vec<Imported>) -> Result<(), Failure> {
        for (stream, content_type, bodies) in requests(window) {
            let count = bodies.len() as u64;
            if !self.next.contains_key(&stream) {
                self.create(&stream, content_type.as_deref()).await?;
            }
            let seq = self.next.entry(stream.clone()).or_default();
            let stamp = self.producer.as_ref().map(|id| Stamp { id: id.clone(), epoch: 0, seq: *seq });
            *seq += 1;
            let mut appending = match content_type {
                None => Appending::json(array(&bodies)),
                Some(content_type) => Appending { content_type, ..Appending::json(bodies.concat()) },
            };
            appending.producer = stamp;
            let appended = self.client.append_once(&stream, appending).await.map_err(|error| self.broken_off(error))?;
            if appended.duplicate {
                self.tally.there_before += count;
            } else {
                self.tally.appended += count;
            }
        }
        Ok(())
    }

    async fn create(&self, stream: &StreamName, content_type: Option<&str>) -> Result<(), Failure> {
        match self.client.create_stream(stream, content_type).await {
            Ok(_) => Ok(()),
            // It is there, perhaps closed or of another type: the append says what is wrong with that.
            Err(error) if error.code() == Some(Code::StreamExists) => Ok(()),
            Err(error) => Err(self.broken_off(error)),
        }
    }

    fn broken_off(&self, error: Error) -> Failure {
        let advice = match &self.producer {
            Some(id) => format!("start it again with the same file and --producer {}", id.as_str()),
            None => format!("{} events are appended already", self.tally.appended),
        };
        Failure::from(error).advise(advice)
    }
}

/// One request: the stream, its content type, and the events in order.
type Request = (StreamName, Option<String>, Vec<Vec<u8>>);

/// Groups by stream in the order of the first event of each. JSON goes many to a request, other types one by one,
/// because a body of theirs is one event.
fn requests(window: Vec<Imported>) -> Vec<Request> {
    let mut by_stream: BTreeMap<StreamName, Vec<Request>> = BTreeMap::new();
    for Imported { stream, content_type, body } in window {
        let requests = by_stream.entry(stream.clone()).or_default();
        let room = |(_, last_type, bodies): &&mut Request| {
            let bytes: usize = bodies.iter().map(Vec::len).sum();
            last_type.is_none()
                && content_type.is_none()
                && bodies.len() < REQUEST_EVENTS
                && bytes + body.len() <= REQUEST_BYTES
        };
        match requests.last_mut().filter(room) {
            Some((.., bodies)) => bodies.push(body),
            None => requests.push((stream, content_type, vec![body])),
        }
    }
    by_stream.into_values().flatten().collect()
}

fn array(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut array = vec![b'['];
    array.extend(bodies.join(&b','));
    array.push(b']');
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_grouped_by_stream_and_keep_their_order() {
        let event = |stream: &str, content_type: Option<&str>, body: &str| Imported {
            stream: StreamName::new(stream).expect("a name"),
            content_type: content_type.map(str::to_owned),
            body: body.into(),
        };
        let window = vec![
            event("b", None, "1"),
            event("a", None, "2"),
            event("b", None, "3"),
            event("b", Some("text/plain"), "x"),
            event("b", Some("text/plain"), "y"),
        ];
        let shown: Vec<_> = requests(window)
            .into_iter()
            .map(|(stream, content_type, bodies)| {
                format!("{stream} {content_type:?} {}", String::from_utf8_lossy(&array(&bodies)))
            })
            .collect();
        assert_eq!(shown, ["a None [2]", "b None [1,3]", r#"b Some("text/plain") [x]"#, r#"b Some("text/plain") [y]"#]);
    }

    #[test]
    fn a_request_has_a_bound() {
        let event =
            |_| Imported { stream: StreamName::new("a").expect("a name"), content_type: None, body: b"1".into() };
        let sizes: Vec<_> = requests((0..=REQUEST_EVENTS).map(event).collect()).iter().map(|r| r.2.len()).collect();
        assert_eq!(sizes, [REQUEST_EVENTS, 1]);
    }
}
