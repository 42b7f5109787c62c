//! Workflow definitions: register, list, show.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Error;

/// A registered definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowView {
    pub namespace: String,
    pub name: String,
    pub version: String,
    /// Hex of the content hash: runs are pinned to it.
    pub hash: String,
    /// ISO 8601, UTC.
    pub registered: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRegistered {
    #[serde(flatten)]
    pub workflow: WorkflowView,
    /// False: the same definition was registered before.
    pub created: bool,
    /// What is allowed but probably not meant.
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowSource {
    #[serde(flatten)]
    pub workflow: WorkflowView,
    pub source: String,
}

#[derive(Deserialize)]
struct Workflows {
    workflows: Vec<WorkflowView>,
}

impl Client {
    /// Registers a definition in YAML or JSON. The same one again changes nothing.
    pub async fn register_workflow(&self, source: &str) -> Result<WorkflowRegistered, Error> {
        let request = self.ask(Method::POST, ["workflows"]).header(CONTENT_TYPE, "application/yaml");
        self.answer(request.body(source.to_owned())).await?.json()
    }

    pub async fn workflows(&self) -> Result<Vec<WorkflowView>, Error> {
        let answer = self.answer(self.ask(Method::GET, ["workflows"])).await?;
        answer.json().map(|Workflows { workflows }| workflows)
    }

    /// `version: None` is the highest by semantic version.
    pub async fn workflow(&self, namespace: &str, name: &str, version: Option<&str>) -> Result<WorkflowSource, Error> {
        let path = ["workflows", namespace, name].into_iter().chain(version);
        self.answer(self.ask(Method::GET, path)).await?.json()
    }
}
