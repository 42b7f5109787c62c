//! The binary `headwater`: arguments in, a rendering of what the node says out. Decides nothing that another crate could.

mod arguments;
mod commands;
mod exit;
mod mistake;
mod render;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

/// Threads free what others allocated: a third of a step's CPU with the C library's allocator. See docs/benchmarks.md.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return mistake::tell(&error, mistake::asks_for_json(std::env::args_os())),
    };
    let json = arguments.json;
    match commands::run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.tell(json);
            failure.exit.into()
        }
    }
}
