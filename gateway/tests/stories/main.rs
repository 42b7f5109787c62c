//! What clients of a gateway live through, over real sockets, with a node in memory behind it.
#![allow(clippy::unwrap_used, reason = "tests may")]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod drain;
mod event_streams;
mod hostile;
mod rest;
mod streams;
mod subscriptions;
mod workers;
