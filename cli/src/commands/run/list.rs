//! `headwater run list` and `show`.

use clap::Args;
use headwater_client::{DamagedRun, ListRuns, RunId, RunView};

use super::Context;
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

/// As a run's view says it.
const STATUSES: [&str; 8] =
    ["running", "waiting", "completed", "failed", "cancelling", "cancelled", "terminated", "damaged"];

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// Only runs that stand like this
    #[arg(long, value_parser = STATUSES)]
    status: Option<String>,
    /// The page after the one that ended with this run
    #[arg(long, value_name = "RUN")]
    after: Option<RunId>,
    /// How many, 1 to 1,000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

pub(super) async fn run(arguments: List, context: &Context) -> Result<Exit, Failure> {
    let List { workflow, status, after, limit } = arguments;
    let limit = usize::from(limit);
    let mut list = ListRuns { workflow, status, after, limit: Some(limit) };
    let mut page = context.client.runs(&list).await?;
    // The node may give fewer at a time than there are: a page is bounded in bytes and in what is looked at for it.
    while page.runs.len() + page.damaged.len() < limit
        && let Some(next) = page.next
    {
        list = ListRuns { after: Some(next), limit: Some(limit - page.runs.len() - page.damaged.len()), ..list };
        let more = context.client.runs(&list).await?;
        page.runs.extend(more.runs);
        page.damaged.extend(more.damaged);
        page.next = more.next;
    }
    if context.json {
        render::json(&page)?;
        return Ok(Exit::Done);
    }
    let runs = page.runs.iter().map(|view| (view.run, row(view)));
    let damaged = page.damaged.iter().map(|run| (run.run, damaged_row(run)));
    let mut rows: Vec<_> = runs.chain(damaged).collect();
    rows.sort_by_key(|(run, _)| std::cmp::Reverse((run.ulid(), run.routing_hash())));
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    render::table(["run", "workflow", "status", "started", "now"], rows, "no runs")?;
    if let Some(next) = page.next {
        render::notice(format!("more: --after {next}"));
    }
    Ok(Exit::Done)
}

fn row(view: &RunView) -> [String; 5] {
    let now = match (&view.error, &view.closed) {
        (Some(error), _) => reason(error),
        (None, Some(closed)) => format!("closed {}", render::when(closed)),
        (None, None) => view.current.first().cloned().unwrap_or_default(),
    };
    let workflow = format!("{}@{}", view.workflow.name, view.workflow.version);
    [view.run.to_string(), workflow, view.status.clone(), render::when(&view.started), render::clip(&now, 60)]
}

fn damaged_row(damaged: &DamagedRun) -> [String; 5] {
    let what = match damaged.through {
        Some(through) => format!("and others down to {through}: {}", damaged.what),
        None => damaged.what.clone(),
    };
    [damaged.run.to_string(), "?".to_owned(), "damaged".to_owned(), "?".to_owned(), render::clip(&what, 80)]
}

pub(super) fn reason(error: &serde_json::Value) -> String {
    let text = |name: &str| error.get(name).and_then(serde_json::Value::as_str);
    text("detail").or(text("title")).map_or_else(|| error.to_string(), str::to_owned)
}

pub(super) async fn show(run: RunId, context: &Context) -> Result<Exit, Failure> {
    let view = context.client.run(run).await?;
    if context.json {
        render::json(&view)?;
        return Ok(Exit::Done);
    }
    let pretty = |value: &serde_json::Value| serde_json::to_string_pretty(value).expect("JSON is JSON");
    let workflow = &view.workflow;
    let mut lines = vec![
        ("run", view.run.to_string()),
        ("workflow", format!("{}/{}@{}", workflow.namespace, workflow.name, workflow.version)),
        ("status", view.status.clone()),
        ("started", render::when(&view.started)),
    ];
    lines.extend(view.key.clone().map(|key| ("key", key)));
    lines.extend(view.tags.iter().map(|(name, value)| ("tag", format!("{name}={value}"))));
    lines.extend(view.closed.as_deref().map(|closed| ("closed", render::when(closed))));
    lines.push(("events", view.head.to_string()));
    lines.extend(view.current.iter().map(|place| ("now", place.clone())));
    lines.push(("input", pretty(&view.input)));
    lines.extend(view.output.as_ref().map(|output| ("output", pretty(output))));
    lines.extend(view.error.as_ref().map(|error| ("error", pretty(error))));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    for (name, value) in lines {
        let value = value.replace('\n', "\n          ");
        render::line(format!("{} {value}", render::paint(Style::Dim, &format!("{name:<9}"), terminal)))?;
    }
    Ok(Exit::Done)
}
