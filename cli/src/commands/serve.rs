//! `headwater serve`: a node as configured, until it is told to stop.

use clap::Args;
use node::{Config, ConfigOverrides};
use serde_json::json;

use super::node_process::{self, Ready};
use super::{configuration, environment};
use crate::exit::{Exit, Failure};
use crate::render;

const SOURCES: &str = "\
Settings come from the file, then the environment (HEADWATER_NODE__LISTEN …), then these arguments; the later are \
stronger. docs/configuration.md lists them.";

#[derive(Debug, Args)]
#[command(after_help = SOURCES)]
pub(crate) struct Serve {
    /// The configuration, in YAML
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where clients connect; loopback
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where metrics and health are; loopback
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Any setting by its name, such as `node.partitions=32`
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is no setting: write key=value"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) async fn run(arguments: Serve, json: bool) -> Result<Exit, Failure> {
    let Serve { config, data, listen, admin_listen, settings } = arguments;
    let overrides = ConfigOverrides { data_dir: data, listen, admin_listen, set: settings };
    let config = Config::load(config.as_deref(), environment()?.into_iter(), &overrides)
        .map_err(|error| configuration(&error))?;
    for sentence in config.not_in_force() {
        render::notice(sentence);
    }
    node_process::run(config, |ready| tell(ready, json)).await
}

/// One line, when clients can connect. Programs that start a node wait for it.
fn tell(ready: &Ready, json: bool) -> Result<(), Failure> {
    let Ready { address, admin, after, torn_records } = ready;
    let ready_ms = after.as_millis();
    if json {
        let (address, admin) = (format!("http://{address}"), format!("http://{admin}"));
        let line = json!({
            "ready": true, "address": address, "admin": admin, "ready_ms": ready_ms, "torn_records": torn_records,
        });
        return render::json(&line);
    }
    render::line(format!("ready at http://{address} after {ready_ms} ms (metrics at http://{admin}/metrics)"))
}
