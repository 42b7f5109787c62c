//! One file per verb. Here only: which verb, and the runtime that the ones on the wire need.

pub(crate) mod backup;
pub(crate) mod demo;
pub(crate) mod dev;
mod input;
pub(crate) mod log;
mod node_process;
pub(crate) mod repair;
pub(crate) mod repartition;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod serve;
mod stopped;
pub(crate) mod stream;
pub(crate) mod worker;
pub(crate) mod workflow;

use std::ffi::OsString;

use headwater_client::Client;
use tokio::runtime::Builder;

use crate::arguments::{Arguments, Verb};
use crate::exit::{Exit, Failure};

/// What every command on the wire needs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
    /// Talks to the admin port.
    pub(crate) admin: Client,
    pub(crate) json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::local("start the runtime", error))?;
    let name = concat!("headwater-cli/", env!("CARGO_PKG_VERSION"));
    let client = Client::new(&arguments.server)?.named(name);
    let admin = Client::new(&arguments.admin)?.named(name);
    let context = Context { client, admin, json: arguments.json };
    let exit = runtime.block_on(async {
        match arguments.verb {
            Verb::Workflow(verb) => workflow::run(verb, &context).await,
            Verb::Run(verb) => run::run(verb, &context).await,
            Verb::Stream(verb) => stream::run(verb, &context).await,
            Verb::Worker(arguments) => worker::run(arguments, &context).await,
            Verb::Dev(arguments) => dev::run(arguments, context.json).await,
            Verb::Serve(arguments) => serve::run(arguments, context.json).await,
            Verb::Demo(arguments) => demo::run(arguments, context.json).await,
            Verb::Repair(arguments) => repair::run(&arguments, context.json),
            Verb::Backup(verb) => backup::run(verb, &context).await,
            Verb::Log(verb) => log::run(verb, &context).await,
            Verb::Repartition(arguments) => repartition::run(arguments, context.json),
            Verb::Replay(arguments) => replay::run(arguments, context.json),
            Verb::DemoWorker(_) => demo::work(&context.client).await,
        }
    });
    // A read of standard input that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// What is wrong with the settings, each with its place.
fn configuration(error: &impl std::fmt::Display) -> Failure {
    Failure::usage(error.to_string()).coded("invalid_configuration")
}

/// Names of settings in the environment begin with it.
const SETTING: &str = "HEADWATER_";

/// The environment, as far as settings can be in it. A setting that is no text is not passed over.
fn environment() -> Result<Vec<(String, String)>, Failure> {
    settings_of(std::env::vars_os())
}

fn settings_of(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, Failure> {
    let mut settings = Vec::new();
    for (name, value) in variables {
        let shown = name.to_string_lossy().into_owned();
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => settings.push((name, value)),
            (Err(_), _) | (_, Err(_)) if shown.starts_with(SETTING) => {
                let message =
                    format!("the environment variable {shown:?} is not UTF-8, so it cannot be read as a setting");
                return Err(configuration(&message).advise("set it again, or unset it"));
            }
            // Somebody else's.
            (Err(_), _) | (_, Err(_)) => {}
        }
    }
    Ok(settings)
}

/// Returns when the person at the keyboard has had enough.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_setting_that_is_no_text_is_refused_and_other_programs_variables_are_not_ours() {
        let odd = || OsString::from_vec(vec![b'/', 0xff]);
        let variable = |name: &str, value: OsString| (OsString::from(name), value);
        let fine = [variable("PATH", odd()), variable("HEADWATER_NODE__DATA_DIR", "/data".into())];
        let settings = settings_of(fine.into_iter()).expect("all settings are text");
        assert_eq!(settings, [("HEADWATER_NODE__DATA_DIR".to_owned(), "/data".to_owned())]);

        let error = settings_of([variable("HEADWATER_NODE__DATA_DIR", odd())].into_iter()).expect_err("no text");
        assert_eq!(error.exit, Exit::Usage);
        let mut name = b"HEADWATER_".to_vec();
        name.push(0xff);
        let odd_name = (OsString::from_vec(name), OsString::from("x"));
        assert_eq!(settings_of([odd_name].into_iter()).expect_err("no text").exit, Exit::Usage);
    }
}
