//! Stories of the real binary over the real wire, told from outside: what people rely on, and what they may do wrong.
//! A seed is printed by every story that draws; `STORY_SEED` repeats it.

mod command_line;
mod data_directory;
mod definitions;
mod demo;
mod kills;
mod requests;
mod restarts;
mod support;
mod verification;
mod worker_answers;
