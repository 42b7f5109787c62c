//! `/v1/workflows`: definitions, registered once and never changed.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use types::Code;

use super::Shared;
use super::body::{answer, created, media_type, read};
use super::path::Path;
use crate::auth;
use crate::backend::{Backend, RegisterWorkflow, WorkflowInfo, WorkflowRef};
use crate::error::Problem;

/// What a definition may be called on the way in; all of them are read as YAML, of which JSON is a part.
const SOURCES: [&str; 6] = [
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/plain",
    "application/json",
    "application/octet-stream",
];

pub(super) async fn register<B: Backend>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if let Some(media) = media_type(&parts.headers)?
        && !SOURCES.contains(&media.as_str())
    {
        return Err(Problem::new(Code::UnsupportedMediaType, format!("send application/yaml, not {media}")));
    }
    let bytes = read(body, gateway.limits.request_bytes, &gateway.limits).await?;
    let source = String::from_utf8(bytes.into())
        .map_err(|error| Problem::bad_request(format!("the definition is not UTF-8: {error}")))?;
    let request = RegisterWorkflow { source };
    let registered = gateway.backend.register_workflow(&auth::principal().tenant, request).await?;
    let WorkflowInfo { namespace, name, version, .. } = &registered.workflow;
    let path = format!("/v1/workflows/{namespace}/{name}/{version}");
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut body = info_json(&registered.workflow);
    body["created"] = registered.created.into();
    body["warnings"] = registered.warnings.into();
    Ok(created(status, &path, &body))
}

pub(super) async fn list<B: Backend>(State(gateway): Shared<B>) -> Result<Response, Problem> {
    let workflows = gateway.backend.workflows(&auth::principal().tenant).await?;
    let workflows: Vec<_> = workflows.iter().map(info_json).collect();
    Ok(answer(StatusCode::OK, &json!({ "workflows": workflows })))
}

pub(super) async fn latest<B: Backend>(
    State(gateway): Shared<B>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    show(&gateway.backend, &namespace, &name, None).await
}

pub(super) async fn version<B: Backend>(
    State(gateway): Shared<B>,
    Path((namespace, name, version)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    show(&gateway.backend, &namespace, &name, Some(&version)).await
}

async fn show<B: Backend>(
    backend: &B,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<Response, Problem> {
    let workflow = WorkflowRef::new(namespace, name, version)
        .ok_or_else(|| Problem::new(Code::InvalidName, "a workflow's name has letters, digits, and any of -_.+"))?;
    let found = backend.workflow(&auth::principal().tenant, workflow).await?;
    let mut body = info_json(&found.workflow);
    body["source"] = found.source.into();
    Ok(answer(StatusCode::OK, &body))
}

/// A definition as people see it.
pub(super) fn info_json(info: &WorkflowInfo) -> Value {
    let WorkflowInfo { namespace, name, version, hash, registered } = info;
    json!({
        "namespace": namespace,
        "name": name,
        "version": version,
        "hash": hash,
        "registered": registered.to_string(),
    })
}
