//! Every bound of the plane, with its reason. All are counts, sizes or depths, never wall time: the same definition and
//! the same data meet the same limit on every machine.

/// A definition's text. The largest known real definitions have some 100 KiB.
pub const MAX_SOURCE_BYTES: usize = 1024 * 1024;

/// How deep maps, lists and flow collections may nest in a definition: recursion over it is bounded by this.
pub const MAX_DOCUMENT_DEPTH: usize = 64;

/// Nodes of a definition after its YAML aliases are expanded, so that an alias bomb is refused early.
pub const MAX_DOCUMENT_NODES: usize = 250_000;

/// Bytes of a definition's texts and names after its aliases are expanded: a few nodes can hold much.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// Failure types that a retry policy calls final: each run that uses the policy keeps them.
pub const MAX_NON_RETRYABLE: usize = 64;

/// Tasks of one definition. A task costs some kilobytes in memory.
pub const MAX_TASKS: usize = 10_000;

/// Problems that one validation reports. Nobody reads more, and what follows is often a consequence.
pub const MAX_PROBLEMS: usize = 50;

/// A name of a task, a function, a variable.
pub const MAX_NAME_BYTES: usize = 256;

/// A version. It is part of names and keys, and semantic versions set no bound themselves.
pub const MAX_VERSION_BYTES: usize = 128;

/// The longest duration that may be written, ten years of 365.25 days.
pub const MAX_DURATION_MS: u64 = 315_576_000_000;

/// The text of one expression.
pub const MAX_EXPRESSION_BYTES: usize = 32 * 1024;

/// Tokens of one expression. Bounds the parser's work and the tree's size.
pub const MAX_EXPRESSION_TOKENS: usize = 8_192;

/// How deep brackets and prefix words (`if`, `try`, `def`, `-` …) may nest: the parser recurses over them.
pub const MAX_EXPRESSION_NESTING: usize = 128;

/// How deep a parsed expression's tree may be: resolving it recurses.
pub const MAX_EXPRESSION_DEPTH: usize = 256;

/// Steps of work of one evaluation: a term entered, an element copied, 64 bytes allocated. About 0.1 s at worst, and
/// two hundred times what the largest expression of the specification's examples needs.
pub const MAX_FUEL: u64 = 1_000_000;

/// Bytes of memory that one step of work pays for. With `MAX_FUEL` this bounds all that one evaluation can allocate
/// (64 MB), whatever it keeps alive.
pub const BYTES_PER_STEP: u64 = 64;

/// Terms that may be entered at once. Each costs up to 1.5 KiB of stack in release, so that all of them fit into
/// three quarters of the smallest thread that a program has by default (2 MiB); a test runs the deepest expressions
/// on that much.
pub const MAX_EVALUATION_DEPTH: u32 = 800;

/// One value: the bytes of its texts and names, and 24 for each of its parts, shared parts counted as often as they
/// occur (so `[., .]` again and again is seen for what it would be as JSON).
pub const MAX_VALUE_BYTES: u64 = 8 * 1024 * 1024;

/// How deep a value may nest: what every JSON reader with default settings can read back.
pub const MAX_VALUE_DEPTH: u32 = 120;

/// The compiled form of a regular expression.
pub const MAX_REGEX_BYTES: usize = 256 * 1024;
