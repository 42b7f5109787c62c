//! The workspace root: holds the stories under `tests/` and the measurements under `benches/`, no code of its own.
