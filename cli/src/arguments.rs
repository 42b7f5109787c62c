//! The command line as a whole. Each verb's own arguments stand beside the verb.

use clap::{Parser, Subcommand};

use crate::commands::{backup, demo, dev, log, repair, repartition, replay, run, serve, stream, worker, workflow};
use crate::exit::EXIT_CODES;

/// Where the help shows what every command takes: behind what is a command's own.
const EVERYWHERE: &str = "Options of every command";

/// Durable workflows and streams that resume, on one log.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, about, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Arguments {
    /// Answer in JSON: one value, or one a line for what goes on
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    /// The node to talk to
    #[arg(
        long,
        global = true,
        env = "HEADWATER_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7400",
        help_heading = EVERYWHERE
    )]
    pub(crate) server: String,

    /// Its admin port, for backups and looks inside
    #[arg(
        long,
        global = true,
        env = "HEADWATER_ADMIN_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7401",
        help_heading = EVERYWHERE
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

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    fn commands(command: &Command) -> Vec<Command> {
        let below = command.get_subcommands().flat_map(commands);
        std::iter::once(command.clone()).chain(below).filter(|command| !command.is_hide_set()).collect()
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is_for() {
        let mut all = Arguments::command();
        all.build();
        all.clone().debug_assert();
        for command in commands(&all) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} of {}", argument.get_id(), command.get_name());
            }
        }
    }

    #[test]
    fn what_stands_below_the_options_is_broken_by_the_terminal_and_not_by_us() {
        for command in commands(&Arguments::command()) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                let ends = line.is_empty() || line.ends_with(['.', ':']) || command.get_name() == "headwater";
                assert!(ends || lines.peek().is_none_or(|next| next.is_empty()), "{}: {line}", command.get_name());
            }
        }
    }
}
