//! Follows a run to its end: tokens as they come on standard output, everything else beside it.

use headwater_client::{Delivery, Event, RunId, StreamName, StreamStart, Subscription};
use serde_json::{Value, json};

use super::super::{Context, interrupted};
use super::list;
use crate::exit::{Exit, Failure};
use crate::render;

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
    tokio::select! {
        followed = follow(&mut events, &mut page) => followed?,
        () = interrupted() => {
            page.end_text()?;
            render::notice(format!("the run goes on; `headwater run events {run} --follow` picks it up again"));
            return Ok(Exit::Interrupted);
        }
    }
    outcome(run, show, context).await
}

async fn follow(events: &mut Subscription, page: &mut Page) -> Result<(), Failure> {
    while let Some(delivery) = events.next().await {
        match delivery? {
            Delivery::Event(event) => page.event(&event)?,
            Delivery::Gap { reason, .. } => page.say(&format!("events are missing here ({reason})"))?,
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
        "attempt_failed" => Some(format!("attempt {} failed: {}; it is tried again", text("attempt"), failure())),
        "attempt_superseded" => Some("another attempt took over: its text begins anew".to_owned()),
        "step_failed" => Some(format!("the step failed: {}", failure())),
        "timer_started" => Some("waiting".to_owned()),
        "signal_received" => Some(format!("signal {:?}", text("name"))),
        "run_cancel_requested" => Some("cancellation was asked for".to_owned()),
        _ => None,
    }
}

/// An event as the wire has it.
pub(in crate::commands) fn event_json(event: &Event) -> Value {
    let mut out = json!({ "offset": event.offset, "time": event.time, "type": event.kind });
    if let Some(source) = event.source {
        out["step"] = source.step.into();
        out["attempt"] = source.attempt.into();
        out["seq"] = source.seq.into();
    }
    match &event.payload.content_type {
        None => out["data"] = serde_json::from_slice(&event.payload.data).unwrap_or(Value::Null),
        Some(content_type) => {
            out["content_type"] = content_type.as_str().into();
            out["text"] = String::from_utf8_lossy(&event.payload.data).into();
        }
    }
    out
}

async fn outcome(run: RunId, show: Show, context: &Context) -> Result<Exit, Failure> {
    let view = context.client.run(run).await?;
    let exit = if view.status == "completed" { Exit::Done } else { Exit::Failed };
    if context.json {
        render::json(&view)?;
        return Ok(exit);
    }
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON is JSON");
    match (&view.output, &view.error) {
        (_, Some(error)) => {
            return Err(Failure::new(exit, format!("the run {}: {}", view.status, list::reason(error)))
                .advise(format!("`headwater run show {run}` has the whole error")));
        }
        (Some(output), None) if show == Show::Outcome => render::line(pretty(output))?,
        (Some(output), None) => render::notice(format!("{} with {}", view.status, pretty(output))),
        (None, None) => render::notice(format!("the run {}", view.status)),
    }
    Ok(exit)
}
