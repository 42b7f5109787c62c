//! Checks a definition before it is kept: it compiles, and its problems are told with line and column.

use std::sync::Arc;

use engine::DefinitionName;
use types::{Code, Refusal, WorkflowHash};

/// A definition that may be registered.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) name: DefinitionName,
    pub(crate) hash: WorkflowHash,
    pub(crate) source: Arc<str>,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn check(source: String) -> Result<Checked, Refusal> {
    let program = workflow::compile(&source).map_err(|problems| invalid(&problems))?;
    let document = program.document;
    let name = DefinitionName { namespace: document.namespace, name: document.name, version: document.version };
    let warnings = workflow::warnings(&source).iter().map(ToString::to_string).collect();
    Ok(Checked { name, hash: WorkflowHash::of(&source), source: source.into(), warnings })
}

fn invalid(problems: &[workflow::Problem]) -> Refusal {
    let listed: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let refusal = Refusal::new(Code::InvalidDefinition, format!("the definition has problems:\n{}", listed.join("\n")));
    problems.iter().fold(refusal, |refusal, problem| {
        refusal.detail("problem", format!("{}:{} {} {}", problem.line, problem.column, problem.code, problem.message))
    })
}
