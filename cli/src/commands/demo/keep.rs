//! Leaves the demo's node up, with workers beside it, and five things to try.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use clap::Args;
use headwater_client::{Client, RunStarted};
use serde_json::json;

use super::ledger::Ledger;
use super::node_child::{NodeChild, Place};
use super::{crew, tokens};
use crate::commands::interrupted;
use crate::exit::{Exit, Failure};
use crate::render;

/// The workers of the demo as a process of its own.
#[derive(Debug, Args)]
pub(crate) struct DemoWorker {}

pub(crate) async fn work(client: &Client) -> Result<Exit, Failure> {
    let mut crew = crew::hire(client, Arc::new(tokens::answers()?), Arc::new(Ledger::default())).await?;
    tokio::select! {
        ended = crew.ended() => ended.map(|()| Exit::Done).map_err(Failure::from),
        () = interrupted() => Ok(Exit::Interrupted),
    }
}

/// Both processes live on after this one.
pub(super) fn leave(
    node: NodeChild,
    place: &Place,
    directory: &Path,
    runs: &[RunStarted],
    json: bool,
) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::local("find this program", error))?;
    let mut command = std::process::Command::new(&program);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let workers = command
        .args(["--server", &place.server(), "demo-worker"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Failure::local("start the workers' process", error))?;
    let (node_pid, workers_pid) = (node.pid(), workers.id());
    node.leave();
    if json {
        return render::json(&json!({
            "server": place.server(), "data": place.data, "directory": directory,
            "node": node_pid, "workers": workers_pid, "runs": runs.iter().map(|run| run.run).collect::<Vec<_>>(),
        }));
    }
    let headwater = program.display();
    let run = runs.first().map(|run| run.run.to_string()).unwrap_or_default();
    let cursor =
        runs.first().map(|run| run.cursor.at(headwater_client::Offset::new(40)).to_string()).unwrap_or_default();
    let (server, data, listen) = (place.server(), place.data.display(), place.listen);
    render::line(format!(
        "The node is up at {server} (process {node_pid}), its workers too ({workers_pid}). Five things to try:

  export HEADWATER_URL={server}
  1. {headwater} run list
  2. {headwater} run start support-triage --watch --input '{{\"id\":\"T-1009\",\"subject\":\"It crashes\",\"body\":\"?\"}}'
  3. kill -9 {node_pid}; {headwater} serve --data {data} --listen {listen}     # while 2 is running
  4. {headwater} stream tail runs/{run} --from {cursor}
  5. curl -N '{server}/v1/streams/runs/{run}?offset=-1&live=sse'

To end it: kill {node_pid} {workers_pid}; rm -r {}
",
        directory.display()
    ))
}
