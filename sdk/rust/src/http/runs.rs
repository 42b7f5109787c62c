//! Runs: start, look at, list, signal, cancel.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::{Cursor, IdempotencyKey, Offset, RunId, StreamName};

use super::WorkflowView;
use super::request::with_wait;
use crate::chance;
use crate::client::Client;
use crate::error::Error;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A run to start.
#[derive(Clone, Debug, Serialize)]
pub struct StartRun {
    workflow: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(skip)]
    idempotency_key: Option<IdempotencyKey>,
}

/// A run that was started, now or by the same idempotency key before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    pub run: RunId,
    pub duplicate: bool,
    /// The beginning of the run's stream.
    pub cursor: Cursor,
}

/// A run as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    pub run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub workflow: WorkflowView,
    /// `pending running waiting completed failed cancelling cancelled terminated`
    pub status: String,
    pub input: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// As RFC 7807 describes errors, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// Open steps and waits, for people.
    #[serde(default)]
    pub current: Vec<String>,
    /// ISO 8601, UTC.
    pub started: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// The next offset of its stream.
    pub head: Offset,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Which runs to list: newest first.
#[derive(Clone, Debug, Default)]
pub struct ListRuns {
    pub workflow: Option<String>,
    pub status: Option<String>,
    /// The `next` of the page before.
    pub after: Option<RunId>,
    /// 1 to 1,000; the node gives 50 when nothing is said.
    pub limit: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPage {
    pub runs: Vec<RunView>,
    /// Runs that the node can only name, in the same order: what is asked for may be among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedRun>,
    pub next: Option<RunId>,
}

/// A run that is damaged on the node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRun {
    pub run: RunId,
    /// Where not even names can be read: all runs from `run` to this one, in the order of the listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<RunId>,
    /// Always true: it tells such an entry from a run.
    pub damaged: bool,
    /// `run_damaged`: it was open and is set aside until it is given up, by cancelling it. `damaged`: it was closed.
    pub code: String,
    pub what: String,
}

#[derive(Deserialize)]
struct Duplicate {
    duplicate: bool,
}

impl StartRun {
    /// `name`, `namespace/name`, or either with `@version`.
    pub fn new(workflow: &str) -> Self {
        let workflow = workflow.to_owned();
        Self { workflow, input: None, key: None, tags: BTreeMap::new(), idempotency_key: None }
    }

    #[must_use]
    pub fn input(mut self, input: Value) -> Self {
        self.input = Some(input);
        self
    }

    /// Runs and streams of one key live and change together.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The same key again is the same run. Without one a fresh key is drawn for each call.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.idempotency_key = Some(key);
        self
    }

    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl RunStarted {
    /// The stream that carries all that happens to the run.
    pub fn stream(&self) -> StreamName {
        StreamName::of_run(self.run)
    }
}

impl RunView {
    /// Nothing will happen to it any more.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }
}

impl Client {
    pub async fn start_run(&self, start: &StartRun) -> Result<RunStarted, Error> {
        self.answer(self.start_request(start)).await?.json()
    }

    /// Starts a run and waits for its end, at most for `wait` (the node allows a minute). `None`: it goes on; look at
    /// it later, or follow its stream.
    pub async fn run_to_end(&self, start: &StartRun, wait: Duration) -> Result<Option<RunView>, Error> {
        let request = with_wait(self.start_request(start), wait).header("prefer", format!("wait={}", wait.as_secs()));
        let answer = self.answer(request).await?;
        if answer.status == StatusCode::OK { answer.json().map(Some) } else { Ok(None) }
    }

    fn start_request(&self, start: &StartRun) -> reqwest::RequestBuilder {
        let key = start.idempotency_key.as_ref().map_or_else(chance::name, |key| key.as_str().to_owned());
        self.ask(Method::POST, ["runs"]).header(IDEMPOTENCY_KEY, key).json(start)
    }

    pub async fn run(&self, run: RunId) -> Result<RunView, Error> {
        self.answer(self.ask(Method::GET, ["runs", &run.to_string()])).await?.json()
    }

    pub async fn runs(&self, list: &ListRuns) -> Result<RunPage, Error> {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(list.workflow.clone().map(|workflow| ("workflow", workflow)));
        query.extend(list.status.clone().map(|status| ("status", status)));
        query.extend(list.after.map(|after| ("after", after.to_string())));
        query.extend(list.limit.map(|limit| ("limit", limit.to_string())));
        let mut url = self.endpoint.resource(["runs"]);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.http.get(url).timeout(crate::limits::ANSWER_MS)).await?.json()
    }

    /// Sends a signal. The same `id` again is a duplicate (`true`) and changes nothing.
    pub async fn signal_run(&self, run: RunId, name: &str, id: Option<&str>, data: &Value) -> Result<bool, Error> {
        let id = id.map_or_else(chance::name, str::to_owned);
        let path = ["runs", &run.to_string(), "signals", name];
        let request = self.ask(Method::POST, path).header(IDEMPOTENCY_KEY, id).json(data);
        self.answer(request).await?.json().map(|Duplicate { duplicate }| duplicate)
    }

    /// Asks a run to end; its stream says when it has.
    pub async fn cancel_run(&self, run: RunId, reason: &str) -> Result<(), Error> {
        let request = self.ask(Method::POST, ["runs", &run.to_string(), "cancel"]);
        let body = serde_json::json!({ "reason": reason }).to_string();
        self.answer(request.header(CONTENT_TYPE, "application/json").body(body)).await.map(drop)
    }
}
