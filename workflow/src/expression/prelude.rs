//! The functions that are written in the language itself, resolved once.

use std::sync::OnceLock;

use super::resolve::{self, Prelude};
use super::term::Definition;

const SOURCE: &str = include_str!("prelude.jq");

pub(crate) fn prelude() -> &'static Prelude {
    static PRELUDE: OnceLock<Prelude> = OnceLock::new();
    PRELUDE.get_or_init(|| resolve::prelude(SOURCE))
}

pub(crate) fn definition(at: usize) -> &'static Definition {
    &prelude().definitions[at]
}
