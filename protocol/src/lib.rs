//! The frames between client and node. Knows neither sockets nor what is inside a partition.

mod client_frame;
mod event;
mod server_frame;
mod worker;

pub use client_frame::*;
pub use event::*;
pub use server_frame::*;
pub use worker::*;
