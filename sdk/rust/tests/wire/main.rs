//! The client against a node that does as it is told: connections that break at the worst moment, answers that are lost.

mod producers;
mod scripted;
mod subscriptions;
mod workers;
