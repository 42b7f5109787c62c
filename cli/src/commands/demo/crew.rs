//! The workers of the demo. Their answers are recordings; everything else about them is as in earnest.

use std::sync::Arc;
use std::time::Duration;

use headwater_client::{Client, Error, Failed, RunningWorker, Step};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::ledger::Ledger;
use super::tickets;
use super::tokens::Answer;

/// Drafts at a time: as many as there are runs in the demo.
const DRAFTS: u32 = 64;

/// How long an answer takes to write, whatever its length.
const ANSWER_MS: u64 = 6_000;

#[derive(Deserialize)]
struct Classify {
    subject: String,
    body: String,
}

#[derive(Deserialize)]
struct Draft {
    ticket: Value,
}

#[derive(Deserialize)]
struct Publish {
    ticket: String,
}

/// Serves both queues of the workflow.
pub(super) async fn hire(
    client: &Client,
    answers: Arc<Vec<Answer>>,
    ledger: Arc<Ledger>,
) -> Result<RunningWorker, Error> {
    let (classify, draft, check, publish) = (ledger.clone(), ledger.clone(), ledger.clone(), ledger);
    let worker = client.worker().queue("llm", DRAFTS).task("classify-ticket", move |step: Step| {
        let ledger = classify.clone();
        async move {
            ledger.begin(&step);
            let Classify { subject, body } = step.input()?;
            think(80).await;
            Ok(tickets::classify(&subject, &body))
        }
    });
    let worker = worker.task("draft-answer", move |step: Step| {
        let (ledger, answers) = (draft.clone(), answers.clone());
        async move { write(&step, &answers, &ledger).await }
    });
    let worker = worker.queue("default", 16).task("check-answer", move |step: Step| {
        let ledger = check.clone();
        async move {
            ledger.begin(&step);
            think(40).await;
            Ok(json!({ "verdict": "ok", "reason": null }))
        }
    });
    let worker = worker.task("publish-answer", move |step: Step| {
        let ledger = publish.clone();
        async move {
            ledger.begin(&step);
            let Publish { ticket } = step.input()?;
            think(20).await;
            Ok(json!({ "url": format!("https://support.example/{ticket}") }))
        }
    });
    worker.start().await
}

/// Streams an answer token by token, at the pace of a model.
async fn write(step: &Step, answers: &[Answer], ledger: &Ledger) -> Result<Value, Failed> {
    ledger.begin(step);
    let Draft { ticket } = step.input()?;
    let answer = &answers[number(&ticket) % answers.len()];
    let count = answer.pieces.len();
    let pause = (ANSWER_MS / count.max(1) as u64).clamp(2, 80);
    for piece in &answer.pieces {
        ledger.produce(step, piece);
        step.chunks.send(piece).await?;
        think(pause).await;
    }
    Ok(json!({ "text": answer.text(), "usage": { "output_tokens": count } }))
}

/// `T-1007` is the seventh.
fn number(ticket: &Value) -> usize {
    let digits = ticket["id"].as_str().and_then(|id| id.rsplit('-').next()?.parse::<usize>().ok());
    digits.unwrap_or_default().saturating_sub(1001)
}

async fn think(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}
