//! `headwater dev`: a node to try things on, in a directory that is gone afterwards unless one is named.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use node::Config;
use serde_json::json;

use super::configuration;
use super::node_process::{self, Ready};
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Keep everything here; without it a temporary directory is used and removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The port for clients; metrics and health get the next one. 0 takes any free ones
    #[arg(long, default_value_t = 7400)]
    port: u16,
}

pub(crate) async fn run(Dev { data, port }: Dev, json: bool) -> Result<Exit, Failure> {
    let temporary = match data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("headwater-dev-").tempdir()),
    };
    let temporary = temporary.transpose().map_err(|error| Failure::local("make a temporary directory", error))?;
    let directory = match (&data, &temporary) {
        (Some(given), _) => given.clone(),
        (None, Some(made)) => made.path().to_owned(),
        (None, None) => unreachable!("without a given directory one was made"),
    };
    let shown = directory.display().to_string();
    let kept = data.is_some();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let config = Config::for_dev(directory, listen).map_err(|error| configuration(&error))?;
    node_process::run(config, |ready| welcome(ready, &shown, kept, json)).await
}

fn welcome(ready: &Ready, directory: &str, kept: bool, json: bool) -> Result<(), Failure> {
    let Ready { address, admin, after, torn_records } = ready;
    let ready_ms = after.as_millis();
    if json {
        return render::json(&json!({
            "ready": true, "address": format!("http://{address}"), "admin": format!("http://{admin}"),
            "ready_ms": ready_ms, "torn_records": torn_records, "data": directory,
        }));
    }
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let bold = |text: &str| render::paint(Style::Bold, text, terminal);
    let dim = |text: &str| render::paint(Style::Dim, text, terminal);
    let fate = if kept { "kept" } else { "temporary: gone when this ends" };
    let server = if address.port() == 7400 { String::new() } else { format!(" --server http://{address}") };
    render::line(format!(
        "{} {}\n\n  clients   http://{address}\n  metrics   http://{admin}/metrics\n  data      {directory} {}\n\n\
         In another terminal, for example:\n\n  \
         headwater{server} workflow register fixtures/workflows/tell.yaml\n  \
         headwater{server} worker --task tell -- sh -c 'for word in Hello there; do echo $word; sleep 1; done; echo 1' &\n  \
         headwater{server} run start tell --watch\n  \
         headwater{server} stream append notes '{{\"text\":\"hello\"}}'\n  \
         headwater{server} stream tail notes --from begin\n\n{}",
        bold("Headwater is ready"),
        dim(&format!("after {ready_ms} ms")),
        dim(&format!("({fate})")),
        dim("ctrl-c stops it"),
    ))
}
