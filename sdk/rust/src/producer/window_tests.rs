//! A model node that counts as the real one does, and a window that must lose and double nothing against it.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::{Semaphore, oneshot};
use types::Offset;

use super::*;

struct Asked {
    window: Window,
    answers: Vec<oneshot::Receiver<Result<Appended, Error>>>,
    room: Arc<Semaphore>,
}

fn asked(count: i64) -> Asked {
    let window = Window::new(ProducerOptions::default());
    let mut asked = Asked { window, answers: Vec::new(), room: Arc::new(Semaphore::new(10_000)) };
    (0..count).for_each(|n| asked.push("s", n));
    asked
}

impl Asked {
    fn push(&mut self, stream: &str, n: i64) {
        let (sender, answer) = oneshot::channel();
        let room = self.room.clone().try_acquire_owned().expect("there is room");
        let data = serde_json::value::to_raw_value(&n).expect("a number is JSON");
        self.window.push(name(stream), data, Reply { answer: sender, _room: room });
        self.answers.push(answer);
    }

    fn send(&mut self) -> Option<(u64, u64, String)> {
        let frame = self.window.next()?;
        let ClientFrame::Cmd(Cmd { n, command: Command::Append(append) }) = frame else { panic!("{frame:?}") };
        Some((n, append.seq?, append.data.get().to_owned()))
    }

    fn accept(&mut self, n: u64) {
        self.window.done(n, Appended { offset: Some(Offset::new(n)), duplicate: false }, Instant::now());
    }

    fn refuse(&mut self, n: u64, code: Code) {
        self.window.refused(n, Refusal::new(code, "no"), Instant::now());
    }

    fn answer(&mut self, at: usize) -> Option<Result<Appended, Error>> {
        self.answers[at].try_recv().ok()
    }
}

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).expect("a plain name")
}

#[tokio::test]
async fn appends_are_numbered_in_order_and_answered_when_accepted() {
    let mut asked = asked(3);
    for seq in 0..3 {
        assert_eq!(asked.send(), Some((seq, seq, seq.to_string())));
    }
    assert_eq!(asked.send(), None);
    asked.accept(0);
    assert!(asked.answer(0).expect("answered").is_ok());
    assert!(asked.answer(1).is_none());
}

#[tokio::test]
async fn what_a_full_queue_refused_is_sent_again_in_order_after_all_answers() {
    let mut asked = asked(3);
    while asked.send().is_some() {}
    asked.accept(0);
    asked.refuse(1, Code::QueueFull);
    assert_eq!(asked.window.next_wake(), None, "the answer to 2 is still out");
    asked.refuse(2, Code::ProducerGap);
    let due = asked.window.next_wake().expect("a pause");
    assert!(!asked.window.has_more());
    asked.window.wake(due);
    assert_eq!(asked.send(), Some((3, 1, "1".to_owned())));
    assert_eq!(asked.send(), Some((4, 2, "2".to_owned())));
}

#[tokio::test]
async fn after_a_final_refusal_the_rest_moves_up() {
    let mut asked = asked(3);
    while asked.send().is_some() {}
    asked.accept(0);
    asked.refuse(1, Code::TooLarge);
    assert!(asked.answer(1).expect("answered").is_err());
    asked.refuse(2, Code::ProducerGap);
    asked.window.wake(Instant::now());
    assert_eq!(asked.send(), Some((3, 1, "2".to_owned())), "the node is still waiting for number 1");
}

#[tokio::test]
async fn a_node_that_counts_differently_ends_the_stream_and_not_the_others() {
    let mut asked = asked(2);
    asked.push("t", 7);
    while asked.send().is_some() {}
    asked.refuse(0, Code::ProducerGap);
    assert!(asked.answer(0).expect("answered").is_err() && asked.answer(1).expect("answered").is_err());
    asked.push("s", 8);
    assert!(asked.answer(3).expect("refused at once").is_err());
    asked.accept(2);
    assert!(asked.answer(2).expect("answered").is_ok());
    assert!(asked.window.is_empty());
}

#[tokio::test]
async fn unanswered_appends_keep_their_numbers_across_connections() {
    let mut asked = asked(4);
    (0..3).for_each(|_| drop(asked.send()));
    asked.accept(0);
    asked.window.disconnected();
    assert_eq!(asked.send(), Some((0, 1, "1".to_owned())));
    assert_eq!(asked.send(), Some((1, 2, "2".to_owned())));
    assert_eq!(asked.send(), Some((2, 3, "3".to_owned())));
}

#[tokio::test]
async fn a_stream_closed_under_an_append_whose_answer_was_lost_ends_the_count() {
    let mut asked = asked(2);
    while asked.send().is_some() {}
    asked.window.disconnected();
    while asked.send().is_some() {}
    asked.refuse(0, Code::StreamClosed);
    assert!(asked.answer(0).expect("answered").is_err() && asked.answer(1).expect("answered").is_err());
}

/// What the node does with the next frame it has not answered.
#[derive(Clone, Debug)]
enum Step {
    /// `true`: what the node will never take.
    Push(bool),
    Send,
    /// Takes it as its rules say, and the answer arrives.
    Answer,
    /// Refuses it for now, whatever its number.
    Busy,
    /// Takes some of what is under way as its rules say; no answer arrives, the connection ends.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::bool::weighted(0.1).prop_map(Step::Push),
        8 => Just(Step::Send),
        8 => Just(Step::Answer),
        1 => Just(Step::Busy),
        1 => (0_usize..20).prop_map(Step::Crash),
    ]
}

/// How data begins that the node never takes.
const SPOILT: char = '-';

/// The node's rule: the number that is due is appended, a lower one is a repeat, a higher one is a gap.
#[derive(Default)]
struct Node {
    log: Vec<String>,
}

impl Node {
    fn take(&mut self, seq: u64, data: &str) -> Result<Appended, Code> {
        if data.starts_with(SPOILT) {
            return Err(Code::TooLarge);
        }
        let due = self.log.len() as u64;
        if seq > due {
            return Err(Code::ProducerGap);
        }
        if seq == due {
            self.log.push(data.to_owned());
        }
        Ok(Appended { offset: Some(Offset::new(seq)), duplicate: seq < due })
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_doubled_or_reordered(steps in prop::collection::vec(step(), 1..300)) {
        let mut asked = asked(0);
        let (mut node, mut wire) = (Node::default(), VecDeque::new());
        let mut spoilt = 0;
        for step in steps {
            match step {
                Step::Push(bad) => {
                    let n = i64::try_from(asked.answers.len()).expect("few");
                    spoilt += usize::from(bad);
                    asked.push("s", if bad { -1 - n } else { n });
                }
                Step::Send => wire.extend(asked.send()),
                Step::Answer => answer(&mut asked, &mut node, &mut wire),
                Step::Busy => if let Some((n, _, _)) = wire.pop_front() { asked.refuse(n, Code::QueueFull); },
                Step::Crash(taken) => {
                    for (_, seq, data) in wire.drain(..).take(taken) { let _ = node.take(seq, &data); }
                    asked.window.disconnected();
                }
            }
            // Pauses end at once here.
            asked.window.wake(Instant::now() + Duration::from_hours(1));
        }
        while !asked.window.is_empty() {
            asked.window.wake(Instant::now() + Duration::from_hours(1));
            while let Some(frame) = asked.send() { wire.push_back(frame); }
            while !wire.is_empty() { answer(&mut asked, &mut node, &mut wire); }
        }
        let mut kept = Vec::new();
        for n in 0..asked.answers.len() {
            if asked.answer(n).expect("everything is answered in the end").is_ok() { kept.push(n.to_string()); }
        }
        prop_assert_eq!(kept.len() + spoilt, asked.answers.len());
        prop_assert_eq!(kept, node.log);
    }
}

fn answer(asked: &mut Asked, node: &mut Node, wire: &mut VecDeque<(u64, u64, String)>) {
    let Some((n, seq, data)) = wire.pop_front() else { return };
    match node.take(seq, &data) {
        Ok(appended) => asked.window.done(n, appended, Instant::now()),
        Err(code) => asked.refuse(n, code),
    }
}
