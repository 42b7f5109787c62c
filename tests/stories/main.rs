//! Stories of the real binary over the real wire, told from outside: what people rely on, and what they may do wrong.
//! A seed is printed by every story that draws; `STORY_SEED` repeats it.

mod back_pressure;
mod backups;
mod cancellation;
mod command_line;
mod damage;
mod damaged_end;
mod damaged_rows;
mod data_directory;
mod definitions;
mod deleted_streams;
mod demo;
mod disk;
mod durability;
mod forgery;
mod http_workers;
mod inspection;
mod kills;
mod open_files;
mod programs;
mod queued_steps;
mod repartition;
mod requests;
mod restarts;
mod retention;
mod sockets;
mod stalled_reader;
mod support;
mod timers;
mod verification;
mod waiting_runs;
mod watching;
mod worker_answers;
