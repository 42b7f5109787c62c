//! Version 1 of everything stored. These shapes never change: what must differ becomes a shape in `v2`, and these
//! turn into today's values for ever. Fields and variants have no names on disk, only their order.

// First, because the others use its macros.
#[macro_use]
pub(super) mod shape;

pub(super) mod event;
mod retention;
pub(super) mod row;
pub(super) mod run;
mod shapes;
