//! One file per verb. Here only: which verb, and the runtime that the ones on the wire need.

pub(crate) mod demo;
pub(crate) mod dev;
mod input;
pub(crate) mod log;
mod node_process;
pub(crate) mod repair;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod serve;
mod stopped;
pub(crate) mod stream;
pub(crate) mod worker;
pub(crate) mod workflow;

use headwater_client::Client;
use tokio::runtime::Builder;

use crate::arguments::{Arguments, Verb};
use crate::exit::{Exit, Failure};

/// What every command on the wire needs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
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
    let context = Context { client, json: arguments.json };
    let exit = runtime.block_on(async {
        match arguments.verb {
            Verb::Workflow(verb) => workflow::run(verb, &context).await,
            Verb::Run(verb) => run::run(verb, &context).await,
            Verb::Stream(verb) => stream::run(verb, &context).await,
            Verb::Worker(arguments) => worker::run(arguments, &context).await,
            Verb::Dev(arguments) => dev::run(arguments, context.json).await,
            Verb::Serve(arguments) => serve::run(arguments, context.json).await,
            Verb::Demo(arguments) => demo::run(arguments, context.json).await,
            Verb::Log(verb) => log::run(verb, context.json),
            Verb::Repair(arguments) => repair::run(&arguments, context.json),
            Verb::Replay(arguments) => replay::run(arguments, context.json),
            Verb::DemoWorker(_) => demo::work(&context.client).await,
        }
    });
    // A read of standard input that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// The environment, as far as it is text: settings are.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Returns when the person at the keyboard has had enough.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
