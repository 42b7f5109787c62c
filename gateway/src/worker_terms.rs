//! What a worker may say about itself. It is kept for as long as the worker is there, and its name goes into the log.

use std::collections::BTreeSet;

use protocol::{Holding, QueueSlots};
use types::{Code, Refusal};

/// A worker's, a queue's or a task's name, in bytes.
const NAME_BYTES: usize = 256;
/// Queues of one worker.
const QUEUES: usize = 64;
/// Tasks of one worker, over all its queues: each is a place where steps may wait for it.
const TASKS: usize = 256;
/// Tasks at a time, of one queue; none: a worker that is stopping takes no more.
const SLOTS: u32 = 1024;
/// Attempts that it says it holds: its slots, and as many results again that were not taken yet.
const HOLDING: usize = 2048;

/// A name of a worker; over HTTP it chooses its own.
pub(crate) fn check_name(worker: &str) -> Result<(), Refusal> {
    name("the worker's name", worker)
}

pub(crate) fn check(queues: &[QueueSlots], holding: &[Holding]) -> Result<(), Refusal> {
    let tasks = queues.iter().map(|queue| queue.tasks.len()).sum();
    at_most("queues", queues.len(), QUEUES)?;
    at_most("tasks", tasks, TASKS)?;
    at_most("attempts held", holding.len(), HOLDING)?;
    let mut seen = BTreeSet::new();
    for queue in queues {
        name("a queue's name", &queue.name)?;
        queue.tasks.iter().try_for_each(|task| name("a task's name", task))?;
        if !seen.insert(&queue.name) {
            return refuse(Code::BadRequest, format!("queue {:?} is listed twice: put its tasks together", queue.name));
        }
        if queue.slots > SLOTS {
            let message = format!("queue {:?} has {} slots: give it at most {SLOTS}", queue.name, queue.slots);
            return refuse(Code::BadRequest, message);
        }
    }
    Ok(())
}

fn name(what: &str, name: &str) -> Result<(), Refusal> {
    let len = name.len();
    match len {
        0 => refuse(Code::InvalidName, format!("{what} is empty")),
        1..=NAME_BYTES if !name.contains(char::is_control) => Ok(()),
        1..=NAME_BYTES => refuse(Code::InvalidName, format!("{what} has control characters: {name:?}")),
        _ => refuse(Code::InvalidName, format!("{what} has {len} bytes, the limit is {NAME_BYTES}")),
    }
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count > most {
        return refuse(Code::TooLarge, format!("a worker has at most {most} {what}, not {count}"));
    }
    Ok(())
}

fn refuse(code: Code, message: String) -> Result<(), Refusal> {
    Err(Refusal::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, tasks: usize, slots: u32) -> QueueSlots {
        QueueSlots { name: name.into(), tasks: (0..tasks).map(|n| format!("task-{n}")).collect(), slots }
    }

    fn refused(queues: &[QueueSlots], code: Code, word: &str) {
        let refusal = check(queues, &[]).expect_err(word);
        assert_eq!(refusal.code, code, "{refusal:?}");
        assert!(refusal.message.contains(word), "{refusal:?}");
    }

    #[test]
    fn what_passes_a_bound_is_refused_by_name() {
        check(&[queue("a", 255, 1), queue("b", 1, 1024)], &[]).expect("within all bounds");
        check(&[], &[]).expect("a worker may serve nothing for a while");
        check(&[queue("a", 1, 0)], &[]).expect("a worker that stops takes no more");
        refused(&[queue("", 1, 1)], Code::InvalidName, "empty");
        refused(&[queue("a\n", 1, 1)], Code::InvalidName, "control characters");
        refused(&[queue(&"q".repeat(257), 1, 1)], Code::InvalidName, "257 bytes");
        refused(&[queue("a", 1, 1), queue("a", 2, 1)], Code::BadRequest, "listed twice");
        refused(&[queue("a", 1, 1025)], Code::BadRequest, "1025 slots");
        refused(&[queue("a", 257, 1)], Code::TooLarge, "256 tasks");
        refused(&vec![queue("a", 0, 1); 65], Code::TooLarge, "64 queues");
    }

    #[test]
    fn a_worker_has_a_name() {
        assert_eq!(check_name("").expect_err("no name").code, Code::InvalidName);
        assert_eq!(check_name(&"w".repeat(300_000)).expect_err("too long").code, Code::InvalidName);
        check_name("worker 1 of Zoë").expect("people's names");
    }
}
