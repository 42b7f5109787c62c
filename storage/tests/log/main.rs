//! One suite for every implementation of the log, then what only a real directory can meet.

mod appending;
mod damage;
mod directory;
mod harness;
mod kill;
mod model;
mod reading;
mod reopening;
mod rows;
mod simulated;
mod streams;
