//! The kernel, held to its contract: commands go in, events, effects and answers come out, and every test's log is
//! afterwards replayed from bytes, verified and compared with the state that made it.

mod budgets;
mod cancellation;
mod chunks;
mod data;
mod definitions;
mod errors;
mod flow;
mod harness;
mod limits;
mod model;
mod producers;
mod random;
mod rebuild;
mod replay;
mod retention;
mod retries;
mod rows;
mod runs;
mod signals;
mod starts;
mod steps;
mod streams;
mod timers;
