//! Which variables an expression may use where it stands, and what to say of those that it may not.

/// The variables that exist at one place of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    place: &'static str,
    names: Vec<String>,
}

impl Scope {
    /// `place` completes "`$x` is not available in …".
    pub fn new(place: &'static str, names: &[&str]) -> Self {
        Self { place, names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// The same place with one more variable, named without `$`.
    #[must_use]
    pub fn with(&self, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Self { place: self.place, names }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Why there is no such variable here.
    pub(crate) fn refusal(&self, name: &str) -> String {
        let place = self.place;
        match name {
            "context" => format!("`$context` is not available in {place}: it exists once the first task has begun"),
            "input" => format!("`$input` is not available in {place}: there the input is `.`"),
            "output" => format!("`$output` is not available in {place}: it exists only in `export.as`"),
            "task" => format!("`$task` is not available in {place}: it exists only inside tasks"),
            "workflow" | "runtime" => format!("`${name}` is not available in {place}"),
            "secrets" => "`$secrets` is not supported: let the worker that needs a secret read it itself".to_owned(),
            "authorization" => {
                "`$authorization` is not supported: the node authenticates no calls of a workflow".to_owned()
            }
            "ENV" | "__prog_args" => {
                format!("`${name}` is not available: expressions see data, never the node's environment")
            }
            "__loc__" => "`$__loc__` is not available".to_owned(),
            _ => format!("there is no variable `${name}` in {place}"),
        }
    }
}
