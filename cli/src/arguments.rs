//! The command line as a whole. Each verb's own arguments stand beside the verb.

use clap::{Parser, Subcommand};

use crate::commands::{backup, demo, dev, log, repair, repartition, replay, run, serve, stream, worker, workflow};
use crate::exit::EXIT_CODES;

/// Durable workflows and streams that resume, on one log.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, about, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Arguments {
    /// Answer in JSON: one value, or one a line for what goes on
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The node to talk to
    #[arg(long, global = true, env = "HEADWATER_URL", value_name = "URL", default_value = "http://127.0.0.1:7400")]
    pub(crate) server: String,

    /// Its admin port, for backups and looks inside
    #[arg(
        long,
        global = true,
        env = "HEADWATER_ADMIN_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7401"
    )]
    pub(crate) admin: String,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a node to try things on
    Dev(dev::Dev),
    /// Start a node as configured
    Serve(serve::Serve),
    /// Register and look at workflow definitions
    #[command(subcommand)]
    Workflow(workflow::Verb),
    /// Start runs, look at them, signal and cancel them
    #[command(subcommand)]
    Run(run::Verb),
    /// Append to streams, read and follow them
    #[command(subcommand)]
    Stream(stream::Verb),
    /// Run steps with a program of your own
    Worker(worker::WorkerArguments),
    /// Look inside the log
    #[command(subcommand)]
    Log(log::Verb),
    /// Open a directory again that was refused because acknowledged data is missing, without that data
    Repair(repair::Arguments),
    /// Make, verify and restore backups
    #[command(subcommand)]
    Backup(backup::Verb),
    /// Give a stopped node's directory another number of partitions
    Repartition(repartition::Repartition),
    /// Fold a stopped node's log again, and verify what follows from what
    Replay(replay::Replay),
    /// Kill a node in mid-stream and see that nothing is lost
    Demo(demo::Demo),
    #[command(hide = true)]
    DemoWorker(demo::DemoWorker),
}
