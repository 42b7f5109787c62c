//! What leaves the node, held against what is durable at that moment: an answer is a claim, and so is a rejection.

use engine::{Answer, AppendEvents, Command, Effect, Rejection, Token};
use node::partition::{Leaving, Moved};
use serde_json::Value;
use types::{Offset, PartitionId, Position};

use crate::machine::{Ask, Heard, Reply, StreamView};
use crate::truth::{PartitionTruth, StepTruth, Truth};
use crate::workers::LIAR;

/// Checks everything that left at once. `durable` is the partition's durable end.
pub(crate) fn check(truth: &Truth, partition: PartitionId, durable: Position, leaving: &Leaving<Reply>) {
    for effect in &leaving.effects {
        check_effect(truth, effect);
    }
    for moved in &leaving.moved {
        check_moved(truth.of(partition), moved);
    }
    if let Some(reply) = &leaving.answer {
        check_reply(truth, durable, reply);
    }
}

fn check_reply(truth: &Truth, durable: Position, reply: &Reply) {
    let partition = truth.of(reply.partition);
    match (&reply.request.ask, &reply.heard) {
        (Ask::Command(command), Heard::Outcome(Ok(answer))) => check_answer(partition, command, answer),
        (Ask::Command(command), Heard::Outcome(Err(rejection))) => check_rejection(partition, command, rejection),
        (Ask::Stream(_), Heard::Stream(Some(view))) => check_view(partition, view),
        (Ask::Run(run), Heard::Run(Some((closed, _)))) => {
            assert_eq!(partition.runs.get(run).map(|run| run.closed || !closed), Some(true), "{run}: {reply:?}");
        }
        (_, _) => {}
    }
    let early = reply.derived_at > durable;
    assert!(!early, "an answer left early: derived at {}, durable to {durable}: {reply:?}", reply.derived_at);
}

fn check_answer(partition: &PartitionTruth, command: &Command, answer: &Answer) {
    match (command, answer) {
        (Command::StartRun(start), Answer::Started { run, duplicate }) => {
            let found = partition.runs.get(run).unwrap_or_else(|| panic!("lost: {run} was acknowledged, not kept"));
            assert!(*duplicate || *run == start.run, "a fresh start has its own id: {answer:?}");
            assert_eq!((&found.key, &found.input), (&start.idempotency_key, &start.input), "{run} is another start");
        }
        (Command::AppendEvents(append), Answer::Appended { offset, end, duplicate, .. }) => {
            check_appended(partition, append, *offset, *end, *duplicate);
        }
        (Command::SignalRun { run, id: Some(id), .. }, Answer::Signalled { .. }) => {
            assert!(partition.runs[run].signals.contains(id), "lost: signal {id} of {run}");
        }
        (Command::CancelRun { run, .. }, Answer::Done) => assert!(partition.runs[run].cancelled, "lost: {command:?}"),
        (Command::CompleteStep { token, .. } | Command::FailStep { token, .. }, Answer::Done) => {
            assert!(!is_current(partition, token), "lost: an answered step is open: {command:?}");
        }
        (Command::AppendChunk { token, .. }, Answer::ChunkTaken { next_sequence }) => {
            let step = step(partition, token).expect("a step that streams was scheduled");
            let kept = step.attempt > token.attempt || step.chunks >= *next_sequence;
            assert!(kept, "lost: chunks below {next_sequence} were taken: {step:?}");
        }
        (_, _) => {}
    }
}

fn check_appended(partition: &PartitionTruth, append: &AppendEvents, offset: Option<Offset>, end: Offset, again: bool) {
    if let (Some(expected), false) = (append.expected, again) {
        let at = offset.unwrap_or(end);
        assert_eq!(at, expected, "{} was appended to at another place than expected", append.name);
    }
    let lives = partition.streams.values().filter(|stream| stream.name == append.name);
    let nonce = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("clients send JSON")["nonce"].clone();
    let wanted: Vec<Value> = append.events.iter().map(|event| nonce(&event.data)).collect();
    let holds = |from: Offset, events: &[types::Payload]| {
        let from = usize::try_from(from.value()).expect("small");
        let there = events.iter().skip(from).take(wanted.len()).map(|event| nonce(&event.data));
        there.eq(wanted.iter().cloned())
    };
    let mut lives = lives.filter(|stream| stream.head() >= end);
    let kept = match (offset, &append.producer) {
        (Some(offset), _) => lives.any(|stream| holds(offset, &stream.events)),
        (None, Some(stamp)) => lives.any(|stream| {
            let at = stream.requests.get(&(stamp.id.clone(), stamp.epoch, stamp.sequence));
            at.is_some_and(|at| holds(*at, &stream.events))
        }),
        (None, None) => append.events.is_empty(),
    };
    assert!(kept, "lost: {} (duplicate: {again}) was acknowledged at {offset:?}, not kept: {append:?}", append.name);
}

/// A rejection tells of a state. Only what cannot have changed since is looked at.
fn check_rejection(partition: &PartitionTruth, command: &Command, rejection: &Rejection) {
    let claim = |holds: bool| {
        assert!(holds, "a rejection claims what is not durable: {rejection} ({rejection:?} of {command:?})");
    };
    let lives_of = |append: &AppendEvents| {
        let name = append.name.clone();
        partition.streams.values().filter(move |stream| stream.name == name)
    };
    match (command, rejection) {
        (_, Rejection::RunClosed(run)) => claim(partition.runs.get(run).is_some_and(|run| run.closed)),
        (_, Rejection::IdempotencyConflict { run, .. } | Rejection::RunExists(run)) => {
            claim(partition.runs.contains_key(run));
        }
        // A made-up token may name a step that is yet to come.
        (Command::CompleteStep { worker, .. }, Rejection::StaleAttempt) if worker == LIAR => {}
        (Command::FailStep { failure, .. }, Rejection::StaleAttempt) if failure.kind == LIAR => {}
        (Command::CompleteStep { token, .. } | Command::FailStep { token, .. }, Rejection::StaleAttempt) => {
            claim(!is_current(partition, token));
        }
        (Command::AppendChunk { token, .. }, Rejection::ChunkGap { expected, .. }) => {
            let step = step(partition, token).expect("a step that streams was scheduled");
            claim(step.attempt > token.attempt || step.chunks >= *expected);
        }
        (Command::AppendEvents(append), Rejection::ProducerGap { expected, .. }) if *expected > 0 => {
            let stamp = append.producer.as_ref().expect("a gap is a producer's");
            let expects = (stamp.epoch, *expected);
            claim(lives_of(append).any(|stream| stream.expects(&stamp.id).is_some_and(|next| next >= expects)));
        }
        (Command::AppendEvents(append), Rejection::ProducerFenced { current, .. }) => {
            let stamp = append.producer.as_ref().expect("a fence is a producer's");
            claim(lives_of(append).any(|stream| stream.expects(&stamp.id).is_some_and(|(epoch, _)| epoch >= *current)));
        }
        (_, Rejection::StreamClosed { name, end }) => {
            let mut lives = partition.streams.values().filter(|stream| stream.name == *name);
            claim(lives.any(|stream| stream.closed && stream.head() == *end));
        }
        (Command::AppendEvents(append), Rejection::SequenceConflict { actual, .. }) if *actual > Offset::ZERO => {
            claim(lives_of(append).any(|stream| stream.head() >= *actual));
        }
        (_, _) => {}
    }
}

fn check_view(partition: &PartitionTruth, view: &StreamView) {
    let stream = partition.streams.get(&view.ordinal).unwrap_or_else(|| panic!("{view:?} was shown, not kept"));
    assert!(stream.head() >= view.head, "{view:?} was shown, it ends at {}", stream.head());
    assert!(stream.closed || !view.closed, "{view:?} was shown, it is open");
}

/// News of a stream must be readable.
fn check_moved(partition: &PartitionTruth, moved: &Moved) {
    let of_user = partition.streams.get(&moved.stream);
    if let Some(stream) = of_user {
        assert!(stream.head() >= moved.head, "{moved:?} is told of, the stream ends at {}", stream.head());
        assert!(stream.deleted || !moved.deleted, "{moved:?} is told of, the stream is there");
    }
    let head = partition.head(moved.stream);
    assert!(head >= moved.head, "{moved:?} is told of, the stream ends at {head}");
}

fn check_effect(truth: &Truth, effect: &Effect) {
    match effect {
        Effect::Dispatch(offer) => {
            let run = truth.run(offer.run).expect("the run of an offer is durable");
            let step = run.steps.get(&offer.step).expect("the step of an offer is durable");
            assert_eq!(step.path, offer.path);
            assert!(step.attempt >= offer.attempt, "an attempt is offered before it is durable: {offer:?}");
        }
        Effect::Withdraw { run, step, attempt } => {
            let holds =
                truth.run(*run).and_then(|run| run.steps.get(step)).is_some_and(|step| step.is_current(*attempt));
            assert!(!holds, "an attempt is withdrawn though it holds: {effect:?}");
        }
        Effect::CancelStep { run, step, .. } => {
            let told = truth.run(*run).and_then(|run| run.steps.get(step)).is_some_and(|step| step.cancelling);
            assert!(told, "a step is told to stop, though nobody asked: {effect:?}");
        }
        Effect::Continue { run } => assert!(truth.run(*run).is_some(), "{effect:?} of an unknown run"),
    }
}

fn step<'t>(partition: &'t PartitionTruth, token: &Token) -> Option<&'t StepTruth> {
    partition.runs.get(&token.run)?.steps.get(&token.step)
}

/// Whether this attempt may still be answered.
pub(crate) fn is_current(partition: &PartitionTruth, token: &Token) -> bool {
    let open = partition.runs.get(&token.run).is_some_and(|run| !run.closed);
    open && step(partition, token).is_some_and(|step| step.is_current(token.attempt))
}
