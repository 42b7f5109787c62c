//! What clients of a gateway live through, over real sockets, with a node in memory behind it.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; all else is a failure")]

#[path = "../common/mod.rs"]
mod common;

mod browsers;
mod commands;
mod drain;
mod event_streams;
mod hostile;
mod memory;
mod operator;
mod rest;
mod shares;
mod streams;
mod subscriptions;
mod workers;
