//! The only place where the planes meet: drivers, dispatcher, alarm, fan-out, recovery, configuration, telemetry.
//! Knows neither how a frame is encoded nor what an event means.

mod backend;
mod catalogue;
pub mod clock;
pub mod config;
pub mod config_file;
mod data_dir;
mod disk;
mod dispatcher;
mod fanout;
mod functions;
pub mod inspect;
pub mod limits;
mod metrics;
mod node;
mod open_files;
mod operator;
pub mod partition;
mod polling;
mod reader;
mod recovery;
mod registration;
pub mod repartition;
mod retention;
mod router;
mod run_list;
mod scrub;
pub mod telemetry;
mod translate;

pub use backend::NodeBackend;
pub use config::{Config, ConfigError, ConfigOverrides};
pub use node::{Node, NodeError, RunningNode};
pub use router::random_u32;
