//! The binary `headwater`: arguments in, a rendering of what the node says out.

fn main() {}
