//! The workflows that simulated clients start, compiled once.

use std::sync::{Arc, OnceLock};

use engine::{Command, DefinitionName};
use types::{TenantId, WorkflowHash};
use workflow::Program;

const BODIES: [(&str, &str); 5] = [
    (
        "agent",
        "do:
  - think:
      call: worker
      with: { task: think, stream: true, startToClose: { seconds: 20 }, retry: { delay: { seconds: 1 }, backoff: { exponential: {} }, jitter: { from: { seconds: 0 }, to: { seconds: 2 } }, limit: { attempt: { count: 8 } } } }
      output: { as: '${ $input + { turns: ($input.turns + 1), last: .nonce } }' }
  - more: { switch: [ { again: { when: '.turns < .wanted', then: think } } ] }",
    ),
    (
        "research",
        "do:
  - t:
      try:
        - each:
            for: { each: source, in: '${ [1, 2, 3] }' }
            do: [ { look: { call: worker, with: { task: look, scheduleToStart: { seconds: 90 }, retry: { delay: { seconds: 2 }, limit: { attempt: { count: 1 } } } } } } ]
      catch:
        retry: { delay: { seconds: 3 }, limit: { attempt: { count: 1 } } }
        do: [ { give: { set: { gave: up } } } ]
  - write: { call: worker, with: { task: write, stream: true, retry: { delay: { seconds: 1 }, limit: { attempt: { count: 6 } } } } }",
    ),
    (
        "patient",
        "do:
  - first: { wait: { seconds: 40 } }
  - ask: { call: worker, with: { task: ask, heartbeat: { seconds: 15 } } }
  - second: { wait: { seconds: 5 } }",
    ),
    (
        "busy",
        "do:
  - count: { set: { n: '${ (.n // 0) + 1 }' } }
  - again: { switch: [ { more: { when: '.n < 160', then: count } } ] }
  - ask: { call: worker, with: { task: ask } }",
    ),
    ("short", "do:\n  - a: { set: { done: true }, export: { as: '${ . }' } }"),
];

/// A definition with its program.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: DefinitionName,
    pub(crate) hash: WorkflowHash,
    pub(crate) source: Arc<str>,
    pub(crate) program: Arc<Program>,
}

pub(crate) fn all() -> &'static [Known] {
    static KNOWN: OnceLock<Vec<Known>> = OnceLock::new();
    KNOWN.get_or_init(|| BODIES.iter().map(|(name, body)| compile(name, body)).collect())
}

fn compile(name: &str, body: &str) -> Known {
    let head = "document:\n  dsl: '1.0.3'\n  namespace: simulated\n";
    let source: Arc<str> = format!("{head}  name: {name}\n  version: '1.0.0'\n{body}").into();
    let program = workflow::compile(&source).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
    let name = DefinitionName { namespace: "simulated".into(), name: name.into(), version: "1.0.0".into() };
    Known { name, hash: WorkflowHash::of(&source), source, program: Arc::new(program) }
}

pub(crate) fn register(known: &Known) -> Command {
    let (tenant, name) = (TenantId::default(), known.name.clone());
    Command::RegisterWorkflow { tenant, name, hash: known.hash, source: known.source.clone() }
}
