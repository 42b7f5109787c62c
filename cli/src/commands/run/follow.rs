//! Follows a run to its end: tokens as they come on standard output, everything else beside it.

use std::time::Duration;

use headwater_client::{Code, Cursor, Delivery, Error, Event, RunId, RunView, StreamName, StreamStart, Subscription};
use serde_json::{Value, json};

use super::super::{Context, interrupted};
use super::list;
use crate::exit::{Exit, Failure};
use crate::render;

/// Between two times that a node which is away is asked.
const AGAIN: Duration = Duration::from_millis(250);

/// What a person wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// Tokens, steps, lost connections, and the outcome.
    Everything,
    /// The outcome.
    Outcome,
}

pub(super) async fn to_the_end(run: RunId, show: Show, context: &Context) -> Result<Exit, Failure> {
    let mut events = context.client.subscribe(StreamName::of_run(run), StreamStart::Begin).await?;
    let mut page = Page { show, json: context.json, in_text: false, text_attempt: None };
    let view = tokio::select! {
        view = async {
            follow(&mut events, &mut page).await?;
            last_view(run, &mut page, context).await
        } => view?,
        () = interrupted() => {
            page.end_text()?;
            render::notice(format!("the run goes on; `headwater run events {run} --follow` picks it up again"));
            return Ok(Exit::Interrupted);
        }
    };
    outcome(&view, show, context)
}

/// The run that has ended, from a node that may just be away.
async fn last_view(run: RunId, page: &mut Page, context: &Context) -> Result<RunView, Failure> {
    let mut told = false;
    loop {
        match context.client.run(run).await {
            Err(error @ (Error::Unreachable { .. } | Error::Unanswered { .. })) => {
                if !std::mem::replace(&mut told, true) {
                    page.say(&format!("the run has ended; its outcome is asked for again ({error})"))?;
                }
                tokio::time::sleep(AGAIN).await;
            }
            view => return Ok(view?),
        }
    }
}

async fn follow(events: &mut Subscription, page: &mut Page) -> Result<(), Failure> {
    while let Some(delivery) = events.next().await {
        match delivery? {
            Delivery::Event(event) => page.event(&event)?,
            Delivery::Gap { from, to, reason } => page.gap(from, to, reason)?,
            Delivery::Lost { reason } => page.say(&format!("connection lost ({reason}); connecting again"))?,
            Delivery::Resumed { cursor } => page.say(&format!("resumed at {cursor}"))?,
            Delivery::End { .. } => return page.end_text(),
            Delivery::Opened { .. } | Delivery::Passed { .. } => {}
        }
    }
    page.end_text()
}

/// What is on the screen.
struct Page {
    show: Show,
    json: bool,
    /// The cursor stands behind a token.
    in_text: bool,
    /// Whose tokens were shown last.
    text_attempt: Option<(u32, u32)>,
}

impl Page {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if self.show == Show::Outcome {
            return Ok(());
        }
        if self.json {
            return render::json(&event_json(event));
        }
        let data: Value = serde_json::from_slice(&event.payload.data).unwrap_or(Value::Null);
        if let Some(source) = event.source {
            let attempt = (source.step, source.attempt);
            if self.text_attempt.replace(attempt).is_some_and(|shown| shown != attempt) {
                self.end_text()?;
            }
            self.in_text = true;
            return render::text_now(&chunk_text(&data));
        }
        match describe(&event.kind, &data) {
            Some(sentence) => self.say(&sentence),
            None => Ok(()),
        }
    }

    /// A line of JSON among the events, or a sentence.
    fn gap(&mut self, from: Option<Cursor>, to: Cursor, reason: Code) -> Result<(), Failure> {
        if self.json && self.show == Show::Everything {
            return render::json(&gap_json(from, to, reason));
        }
        self.say(&format!("events are missing here ({reason})"))
    }

    fn say(&mut self, sentence: &str) -> Result<(), Failure> {
        if self.show == Show::Everything && !self.json {
            self.end_text()?;
            render::notice(sentence);
        }
        Ok(())
    }

    fn end_text(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.in_text) { render::line("") } else { Ok(()) }
    }
}

/// A chunk as text: a string is itself, anything else is a line of JSON.
fn chunk_text(data: &Value) -> String {
    match data {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => format!("{data}\n"),
    }
}

/// The events of a run that a person following it wants to know of.
fn describe(kind: &str, data: &Value) -> Option<String> {
    let text = |name: &str| match data.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let failure = || data.pointer("/failure/message").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
    match kind {
        "step_scheduled" => Some(format!("→ {} ({})", text("path"), text("function"))),
        "attempt_superseded" => Some("another attempt took over: its text begins anew".to_owned()),
        "step_failed" => Some(format!("the step failed: {}", failure())),
        "timer_started" => Some("waiting".to_owned()),
        "signal_received" => Some(format!("signal {:?}", text("name"))),
        "run_cancel_requested" => Some("cancellation was asked for".to_owned()),
        _ => None,
    }
}

/// What stands among events where some are missing.
pub(in crate::commands) fn gap_json(from: Option<Cursor>, to: Cursor, reason: Code) -> Value {
    json!({ "gap": { "from": from, "to": to, "reason": reason } })
}

/// An event as the wire has it.
pub(in crate::commands) fn event_json(event: &Event) -> Value {
    let mut text = Vec::new();
    event.encode_json(&mut text);
    serde_json::from_slice(&text).expect("the wire's events are JSON")
}

fn outcome(view: &RunView, show: Show, context: &Context) -> Result<Exit, Failure> {
    let exit = if view.status == "completed" { Exit::Done } else { Exit::Failed };
    if context.json {
        render::json(view)?;
        return Ok(exit);
    }
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON is JSON");
    match (&view.output, &view.error) {
        (_, Some(error)) => {
            return Err(Failure::new(exit, format!("the run {}: {}", view.status, list::reason(error)))
                .advise(format!("`headwater run show {}` has the whole error", view.run)));
        }
        (Some(output), None) if show == Show::Outcome => render::line(pretty(output))?,
        (Some(output), None) => render::notice(format!("{} with {}", view.status, pretty(output))),
        (None, None) => render::notice(format!("the run {}", view.status)),
    }
    Ok(exit)
}
