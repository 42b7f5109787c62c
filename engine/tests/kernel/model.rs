//! What the world is owed, the slow way: the sum of all effects that events gave off.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Effect, Event, RunEvent};
use types::RunId;

/// The sum of fresh effects. `Partition::effects` must always say the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Owed {
    /// By run and step: what is offered, or what is being cancelled.
    steps: BTreeMap<(RunId, u32), Effect>,
    continues: BTreeSet<RunId>,
}

impl Owed {
    pub(crate) fn of(effects: Vec<Effect>) -> Self {
        let mut owed = Self::default();
        for effect in effects {
            assert!(!matches!(effect, Effect::Withdraw { .. }), "what is owed now withdraws nothing: {effect:?}");
            owed.add(effect);
        }
        owed
    }

    /// Takes the effects of one event, after what the event itself settles.
    pub(crate) fn observe(&mut self, event: &Event, fresh: Vec<Effect>) {
        if let Event::Run { run, event } = event {
            let settled = matches!(event, RunEvent::Continued | RunEvent::CancelRequested { .. }) || event.closes();
            if settled {
                self.continues.remove(run);
            }
        }
        for effect in fresh {
            self.add(effect);
        }
    }

    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Dispatch(mut offer) => {
                // How far the attempt has streamed moves without a new effect.
                offer.next_sequence = 0;
                let key = (offer.run, offer.step);
                let before = self.steps.insert(key, Effect::Dispatch(offer));
                assert_eq!(before, None, "an attempt is offered once, and only when the one before is withdrawn");
            }
            Effect::Withdraw { run, step, attempt } => {
                let before = self.steps.remove(&(run, step)).expect("only what was owed is withdrawn");
                assert_eq!(attempt_of(&before), attempt, "the attempt that was owed is withdrawn");
            }
            Effect::CancelStep { run, step, attempt } => {
                let before = self.steps.insert((run, step), Effect::CancelStep { run, step, attempt });
                let told = before.is_none_or(|before| attempt_of(&before) == attempt);
                assert!(told, "the current attempt is told to stop");
            }
            Effect::Continue { run } => assert!(self.continues.insert(run), "a continuation is owed once"),
        }
    }
}

fn attempt_of(effect: &Effect) -> u32 {
    match effect {
        Effect::Dispatch(offer) => offer.attempt,
        Effect::Withdraw { attempt, .. } | Effect::CancelStep { attempt, .. } => *attempt,
        Effect::Continue { .. } => unreachable!("a continuation is not kept among steps"),
    }
}
