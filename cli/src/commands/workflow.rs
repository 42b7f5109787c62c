//! `headwater workflow`: register definitions, look at them, check them without a node.

use clap::{Args, Subcommand};
use headwater_client::{Code, Error, WorkflowView};
use serde_json::json;

use super::{Context, input};
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Register a definition; the same one again changes nothing
    Register(Register),
    /// List what is registered
    List,
    /// Print a definition as it was registered
    Show(Show),
    /// Check a definition without a node: every mistake with line and column
    Validate(Validate),
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// YAML or JSON; `-` reads standard input
    #[arg(required = true)]
    files: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// `name`, `namespace/name`, or either with `@version`
    workflow: String,
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// YAML or JSON; `-` reads standard input
    #[arg(required = true)]
    files: Vec<String>,
}

pub(crate) async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Register(arguments) => register(arguments, context).await,
        Verb::List => list(context).await,
        Verb::Show(arguments) => show(&arguments.workflow, context).await,
        Verb::Validate(arguments) => validate(&arguments, context),
    }
}

async fn register(Register { files }: Register, context: &Context) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for file in files {
        let registered = match context.client.register_workflow(&input::file(&file)?).await {
            Err(Error::Problem(problem)) if problem.code == Some(Code::InvalidDefinition) => {
                exit = Exit::Failed;
                tell_mistakes(&file, &problem.sentences("problem"), context)?;
                continue;
            }
            registered => registered?,
        };
        if context.json {
            render::json(&registered)?;
            continue;
        }
        let verb = if registered.created { "registered" } else { "was registered before:" };
        render::line(format!("{verb} {}", name(&registered.workflow)))?;
        for warning in &registered.warnings {
            render::notice(format!("  {file}:{warning}"));
        }
    }
    Ok(exit)
}

/// As `validate` tells them. The node's are `line:column code sentence`.
fn tell_mistakes(file: &str, problems: &[String], context: &Context) -> Result<(), Failure> {
    let parts = |problem: &String| {
        let (place, rest) = problem.split_once(' ')?;
        let ((line, column), (code, message)) = (place.split_once(':')?, rest.split_once(' ')?);
        Some((line.parse::<u64>().ok()?, column.parse::<u64>().ok()?, code.to_owned(), message.to_owned()))
    };
    if context.json {
        let one = |problem: &String| match parts(problem) {
            Some((line, column, code, message)) => {
                json!({ "code": code, "message": message, "line": line, "column": column })
            }
            None => json!({ "message": problem }),
        };
        return render::json(&json!({ "file": file, "problems": problems.iter().map(one).collect::<Vec<_>>() }));
    }
    for problem in problems {
        match parts(problem) {
            Some((line, column, _, message)) => render::line(format!("{file}:{line}:{column}: {message}"))?,
            None => render::line(format!("{file}: {problem}"))?,
        }
    }
    render::notice(format!("{file} was not registered"));
    Ok(())
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let workflows = context.client.workflows().await?;
    if context.json {
        render::json(&workflows)?;
        return Ok(Exit::Done);
    }
    let row = |view: &WorkflowView| {
        let WorkflowView { namespace, name, version, hash, registered } = view.clone();
        [namespace, name, version, hash.chars().take(12).collect(), render::when(&registered)]
    };
    let rows = workflows.iter().map(row).collect();
    let nothing = "no workflow is registered yet: `headwater workflow register FILE`";
    render::table(["namespace", "name", "version", "hash", "registered"], rows, nothing)?;
    Ok(Exit::Done)
}

async fn show(workflow: &str, context: &Context) -> Result<Exit, Failure> {
    let (path, version) = match workflow.split_once('@') {
        Some((path, version)) => (path, Some(version)),
        None => (workflow, None),
    };
    let (namespace, name) = path.split_once('/').unwrap_or(("default", path));
    let found = context.client.workflow(namespace, name, version).await?;
    if context.json {
        render::json(&found)?;
    } else {
        render::text_now(&found.source)?;
    }
    Ok(Exit::Done)
}

fn name(view: &WorkflowView) -> String {
    format!("{}/{}@{}", view.namespace, view.name, view.version)
}

fn validate(Validate { files }: &Validate, context: &Context) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for file in files {
        let source = input::file(file)?;
        let (problems, warnings) = match workflow::compile_with_warnings(&source) {
            Ok((_, warnings)) => (Vec::new(), warnings),
            Err(problems) => (problems, Vec::new()),
        };
        if !problems.is_empty() {
            exit = Exit::Failed;
        }
        if context.json {
            let texts = |found: &[workflow::Problem]| found.iter().map(problem_json).collect::<Vec<_>>();
            render::json(&json!({ "file": file, "problems": texts(&problems), "warnings": texts(&warnings) }))?;
            continue;
        }
        for problem in &problems {
            render::line(format!("{file}:{problem}"))?;
        }
        for warning in &warnings {
            render::line(format!("{file}:{warning} (warning)"))?;
        }
        if problems.is_empty() {
            render::line(format!("{file} is valid"))?;
        }
    }
    Ok(exit)
}

fn problem_json(problem: &workflow::Problem) -> serde_json::Value {
    let workflow::Problem { code, message, line, column, pointer, suggestion } = problem;
    json!({
        "code": code, "message": message, "line": line, "column": column, "pointer": pointer,
        "suggestion": suggestion,
    })
}
