//! The frames between client and node. Knows neither sockets nor what is inside a partition.

mod client_frame;
mod event;
pub mod json;
mod server_frame;
pub mod version;
mod worker;

pub use client_frame::*;
pub use event::*;
pub use json::FrameError;
pub use server_frame::*;
pub use worker::*;
