//! `headwater stream`: append, read, follow.

use std::collections::VecDeque;
use std::io::BufRead;
use std::time::Duration;

use clap::{Args, Subcommand};
use headwater_client::{
    Code, Cursor, Delivery, EndStatus, Event, Offset, Pending, Producer, ProducerOptions, StreamName, StreamStart,
    SubscribeOptions,
};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::run::{event_json, gap_json};
use super::{Context, input, interrupted};
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Append events; the stream begins with the first one
    Append(Append),
    /// Print what is there
    Read(Read),
    /// Follow it as it grows, across restarts of the node
    Tail(Tail),
    /// Hold back what a reader has still to read from being dropped
    Pin(Pin),
    /// Let go of a pin
    Unpin(Unpin),
}

#[derive(Debug, Args)]
pub(crate) struct Append {
    /// Such as `agent-42/tokens`
    #[arg(value_parser = StreamName::new)]
    stream: StreamName,
    /// Events, each JSON or else a text; without any, one for each line of standard input
    data: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Such as `agent-42/tokens`, or `runs/<run id>`
    #[arg(value_parser = StreamName::new)]
    stream: StreamName,
    /// Where to begin: `begin`, `now`, or a cursor
    #[arg(long, default_value = "begin", value_name = "CURSOR")]
    from: StreamStart,
    /// Only events of this type, such as `step_completed`; may be given again
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// Such as `agent-42/tokens`
    #[arg(value_parser = StreamName::new)]
    stream: StreamName,
    /// Whose pin it is; the same name again moves it
    #[arg(long, value_name = "NAME")]
    reader: String,
    /// The next event that it needs
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    at: Cursor,
    /// So many events behind, it holds nothing back any more
    #[arg(long, value_name = "EVENTS", default_value_t = 1_000_000)]
    max_lag: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Unpin {
    /// Such as `agent-42/tokens`
    #[arg(value_parser = StreamName::new)]
    stream: StreamName,
    /// Whose pin it is
    #[arg(long, value_name = "NAME")]
    reader: String,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Such as `agent-42/tokens`, or `runs/<run id>`
    #[arg(value_parser = StreamName::new)]
    stream: StreamName,
    /// Where to begin: `begin`, `now`, or a cursor
    #[arg(long, default_value = "now", value_name = "CURSOR")]
    from: StreamStart,
    /// Only events of this type, such as `step_completed`; may be given again
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

/// A pin is at a place, so `begin` and `now` are none.
fn cursor(text: &str) -> Result<Cursor, String> {
    let advice = "give one that a reader was given, such as `headwater stream read` prints at its end";
    text.parse().map_err(|_| format!("it is not a cursor: {advice}"))
}

pub(crate) async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Append(arguments) => append(arguments, context).await,
        Verb::Read(Read { stream, from, types }) => {
            print(stream, SubscribeOptions { from, types }, Until::Head, context).await
        }
        Verb::Pin(Pin { stream, reader, at, max_lag }) => {
            context.client.pin(&stream, &reader, at, max_lag).await?;
            Ok(Exit::Done)
        }
        Verb::Unpin(Unpin { stream, reader }) => {
            context.client.unpin(&stream, &reader).await?;
            Ok(Exit::Done)
        }
        Verb::Tail(Tail { stream, from, types }) => {
            print(stream, SubscribeOptions { from, types }, Until::End, context).await
        }
    }
}

async fn append(Append { stream, data }: Append, context: &Context) -> Result<Exit, Failure> {
    let options = ProducerOptions { patience: Some(PATIENCE), ..ProducerOptions::default() };
    let producer = context.client.producer(options).await?;
    let mut answers = Answers { waiting: VecDeque::new(), json: context.json };
    if data.is_empty() {
        let mut lines = standard_input();
        while let Some(line) = lines.recv().await {
            answers.add(&producer, &stream, input::json_or_text(&line?)).await?;
        }
    } else {
        for given in &data {
            answers.add(&producer, &stream, input::json_or_text(given)).await?;
        }
    }
    answers.finish().await?;
    Ok(Exit::Done)
}

/// Lines as they come, read apart so that a slow writer blocks nothing.
fn standard_input() -> mpsc::Receiver<Result<String, Failure>> {
    let (sender, receiver) = mpsc::channel(256);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")));
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Appends under way, answered in order.
struct Answers {
    waiting: VecDeque<Pending>,
    json: bool,
}

/// How long a node that went away in the middle is waited for: longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Enough to hide the way to the node and back.
const IN_FLIGHT: usize = 256;

impl Answers {
    async fn add(&mut self, to: &Producer, stream: &StreamName, data: Box<RawValue>) -> Result<(), Failure> {
        self.waiting.push_back(to.append_raw(stream, data).await?);
        if self.waiting.len() >= IN_FLIGHT { self.next().await } else { Ok(()) }
    }

    async fn next(&mut self) -> Result<(), Failure> {
        let Some(pending) = self.waiting.pop_front() else { return Ok(()) };
        let appended = pending.await?;
        if self.json {
            return render::json(&json!({ "offset": appended.offset, "duplicate": appended.duplicate }));
        }
        render::line(appended.offset.map_or_else(|| "there before".to_owned(), |offset| offset.to_string()))
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        while !self.waiting.is_empty() {
            self.next().await?;
        }
        Ok(())
    }
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// What is there now.
    Head,
    /// The stream's end, if it ever comes.
    End,
}

/// Prints a stream's events, and where to go on.
pub(super) async fn print(
    stream: StreamName,
    options: SubscribeOptions,
    until: Until,
    context: &Context,
) -> Result<Exit, Failure> {
    let from = options.from;
    let mut events = context.client.subscribe_with(stream.clone(), options).await?;
    let (mut head, mut refused, mut ended) = (None, false, false);
    let exit = loop {
        let delivery = tokio::select! {
            delivery = events.next() => delivery,
            () = interrupted() => break Exit::Interrupted,
        };
        let Some(delivery) = delivery else { break Exit::Done };
        match delivery? {
            Delivery::Opened { head: end, .. } => {
                head = Some(end);
                refused = until == Until::Head && is_refused(&stream, from, end, context).await;
            }
            Delivery::Event(event) => show(&event, context)?,
            Delivery::Passed { .. } => {}
            Delivery::Gap { from, to, reason } => {
                refused = false;
                tell(context, &gap_json(from, to, reason), format!("events are missing here ({reason}): on at {to}"))?;
            }
            Delivery::Lost { reason } => render::notice(format!("connection lost ({reason}); connecting again")),
            Delivery::Resumed { cursor } => render::notice(format!("resumed at {cursor}")),
            Delivery::End { status } => {
                let sentence = match status {
                    EndStatus::Closed => "the stream is closed: nothing will follow",
                    EndStatus::Deleted => "the stream was deleted",
                    EndStatus::NotFound => "there is no such stream any more",
                    EndStatus::Unsubscribed => "the node ended it",
                };
                tell(context, &json!({ "end": status }), sentence)?;
                ended = true;
                break Exit::Done;
            }
        }
        let reached = !refused && events.cursor().zip(head).is_some_and(|(cursor, head)| cursor.next >= head);
        if until == Until::Head && reached {
            break Exit::Done;
        }
    };
    if let Some(cursor) = events.cursor().filter(|_| !context.json && !ended) {
        render::notice(format!("to go on: headwater stream tail {stream} --from {cursor}"));
    }
    Ok(exit)
}

/// What is no event: a line of JSON among the events, or a sentence beside them.
fn tell(context: &Context, value: &serde_json::Value, sentence: impl Into<String>) -> Result<(), Failure> {
    if context.json {
        return render::json(value);
    }
    render::notice(sentence.into());
    Ok(())
}

/// Whether a cursor at the head or behind it will be refused with a gap: a good one there is followed by nothing.
async fn is_refused(stream: &StreamName, from: StreamStart, head: Offset, context: &Context) -> bool {
    if !matches!(from, StreamStart::At(cursor) if cursor.next >= head) {
        return false;
    }
    let read = context.client.read_stream(stream, from, false).await;
    let code = read.err().and_then(|error| error.code());
    matches!(code, Some(Code::OtherStream | Code::OtherHistory | Code::LogTruncated))
}

fn show(event: &Event, context: &Context) -> Result<(), Failure> {
    if context.json {
        return render::json(&event_json(event));
    }
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let time = event.time.to_string();
    let head = format!("{:>6}  {}", event.offset, time.get(11..23).unwrap_or(&time));
    let data = String::from_utf8_lossy(&event.payload.data).into_owned();
    let data = if terminal { render::clip(&data, 160) } else { data };
    let kind = render::paint(Style::Cyan, &format!("{:<16}", event.kind), terminal);
    render::line(format!("{}  {kind} {data}", render::paint(Style::Dim, &head, terminal)))
}
