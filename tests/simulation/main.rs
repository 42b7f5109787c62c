//! The node in simulation: the real kernel, the real verbs of its drivers and the real gate over a simulated disk, on
//! one thread, from one seed. A model that is slow and obvious looks after every step. `HEADWATER_SIM_SEED=n` replays
//! one history, `HEADWATER_SIM_HISTORIES=n` says how many are played.

mod chance;
mod claims;
mod clients;
mod clock;
mod definitions;
mod history;
mod machine;
mod rows;
mod tally;
mod trial;
mod truth;
mod unfoldable;
mod workers;

use machine::Plant;
use tally::Tally;

/// Without being asked for another number.
const HISTORIES: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn no_history_breaks_a_promise() {
    if let Some(seed) = number("HEADWATER_SIM_SEED") {
        let (digest, tally) = trial::replay(seed);
        println!("seed {seed}: digest {digest:?}, {tally:?}");
        return;
    }
    let histories = number("HEADWATER_SIM_HISTORIES").unwrap_or(HISTORIES);
    let tally = trial::all(0..histories).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{histories} histories: {tally:?}");
    expect_something_of_everything(&tally, histories);
}

/// A history in which nothing happens breaks no promise.
fn expect_something_of_everything(tally: &Tally, histories: u64) {
    if histories >= HISTORIES {
        let missing: Vec<_> = tally.counts().into_iter().filter(|(_, count)| *count < histories / 20).collect();
        assert!(missing.is_empty(), "these hardly happened in {histories} histories: {missing:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 5_000_000..5_000_040 {
        let (first, second) = (trial::replay(seed).0, trial::replay(seed).0);
        assert_eq!(first, second, "seed {seed}");
    }
    let (one, other) = (trial::replay(5_000_000).0, trial::replay(5_000_001).0);
    assert_ne!(one, other, "another seed is another history");
}

/// Plays histories of a node that is wrong on purpose until one is caught.
fn expect_caught(plant: Plant, within: u64, says: &[&str]) {
    let failure = trial::first_failure(0..within, Some(plant));
    let failure = failure.unwrap_or_else(|| panic!("{plant:?} was not noticed in {within} histories"));
    let named = says.iter().any(|word| failure.what.contains(word));
    assert!(named, "{plant:?} was caught for another reason: {failure}");
    println!("{plant:?} was caught by {failure}");
}

#[test]
fn an_answer_before_the_sync_is_caught() {
    expect_caught(Plant::AnswerBeforeSync, 20, &["lost: ", "an answer left early: "]);
}

#[test]
fn a_rejection_that_leaves_early_is_caught() {
    expect_caught(Plant::EarlyRejection, 100, &["a rejection claims what is not durable: ", "an answer left early: "]);
}

#[test]
fn a_forgotten_producer_is_caught() {
    expect_caught(Plant::ForgottenProducer, 20, &["doubled"]);
}

#[test]
fn a_forgotten_start_is_caught() {
    expect_caught(Plant::ForgottenStart, 50, &[" ms later, "]);
}
