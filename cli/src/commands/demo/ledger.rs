//! What the workers did, written down by themselves: which bodies ran, and every byte that was produced.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use headwater_client::Step;

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    /// How often a body began, by its step's idempotency key: the same for every attempt.
    bodies: BTreeMap<String, u32>,
    /// What was produced, by run and the step's path.
    produced: BTreeMap<(String, String), String>,
}

/// What it all comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bodies {
    pub(super) steps: usize,
    pub(super) repeated: u32,
}

impl Ledger {
    pub(super) fn begin(&self, step: &Step) {
        *self.pages().bodies.entry(step.idempotency_key.clone()).or_default() += 1;
    }

    /// Before the piece is handed over: whatever is received later was produced.
    pub(super) fn produce(&self, step: &Step, piece: &str) {
        let place = (step.run.clone(), step.path.clone());
        self.pages().produced.entry(place).or_default().push_str(piece);
    }

    pub(super) fn bodies(&self) -> Bodies {
        let pages = self.pages();
        Bodies { steps: pages.bodies.len(), repeated: pages.bodies.values().map(|count| count - 1).sum() }
    }

    /// What the steps of a run produced, by path.
    pub(super) fn produced(&self, run: &str) -> BTreeMap<String, String> {
        let pages = self.pages();
        let of_run = pages.produced.iter().filter(|((of, _), _)| of == run);
        of_run.map(|((_, path), text)| (path.clone(), text.clone())).collect()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("nothing panics while it holds the ledger")
    }
}
