//! One suite for every implementation of the log, then what only a real directory can meet.

mod appending;
mod backup;
mod backup_archives;
mod corpus;
mod damage;
mod damaged_end;
mod damaged_rows;
mod damaged_state;
mod damaged_tables;
mod directory;
mod dropping;
mod faults;
mod harness;
mod kill;
mod mending;
mod model;
mod quarantine;
mod reading;
mod relaxed;
mod reopening;
mod repair;
mod retention;
mod rows;
mod simulated;
mod streams;
mod upgrade;
