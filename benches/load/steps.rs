//! Workflows of plain steps, workers that answer at once, and clients that start a run and wait for its end.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::http;
use super::socket::{Socket, number, string};

pub(crate) const QUEUE: &str = "bench";
pub(crate) const TASK: &str = "answer";

/// A definition of so many steps, one after the other, without an expression.
pub(crate) fn register(node: SocketAddr, steps: usize) -> String {
    let name = format!("steps-{steps}");
    let mut source =
        format!("document:\n  dsl: '1.0.3'\n  namespace: default\n  name: {name}\n  version: '1.0.0'\ndo:\n");
    for step in 1..=steps {
        let line = format!("  - step{step}: {{ call: worker, with: {{ task: {TASK}, queue: {QUEUE} }} }}\n");
        source.push_str(&line);
    }
    http::send(node, "POST", "/v1/workflows", "application/yaml", &source);
    name
}

/// A worker on one socket. Every task is answered at once with a constant, all that came together in one write.
pub(crate) async fn work(node: SocketAddr, slots: usize) {
    let mut socket = Socket::connect(node).await;
    let queues = format!(r#"[{{"name":"{QUEUE}","tasks":["{TASK}"],"slots":{slots}}}]"#);
    socket.push(&format!(r#"{{"op":"work","queues":{queues}}}"#));
    let mut answers: Vec<String> = Vec::new();
    loop {
        socket.flush().await;
        socket.fill().await;
        while let Some(frame) = socket.next() {
            if frame.starts_with(r#"{"op":"task""#) {
                let token = string(frame, r#""token":""#).expect("a task has a token");
                answers.push(format!(r#"{{"op":"result","token":"{token}","output":{{"ok":true}}}}"#));
            } else {
                assert!(frame.starts_with(r#"{"op":"took""#), "a worker hears of {frame}");
            }
        }
        answers.drain(..).for_each(|answer| socket.push(&answer));
    }
}

/// What all clients of one case share.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) measuring: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    /// Milliseconds from the start of a run to the end of its stream.
    pub(crate) runs: RefCell<Vec<f64>>,
    /// Runs that ended otherwise than completed.
    pub(crate) failed: Cell<u64>,
}

/// One client: starts a run, follows it to its end, starts the next.
pub(crate) async fn run_after_run(node: SocketAddr, workflow: String, clients: Rc<Clients>) {
    let mut socket = Socket::connect(node).await;
    let mut n = 0_u64;
    while !clients.stopping.get() {
        n += 1;
        let started = Instant::now();
        let completed = one_run(&mut socket, &workflow, n).await;
        if clients.measuring.get() {
            clients.runs.borrow_mut().push(started.elapsed().as_secs_f64() * 1e3);
            clients.failed.set(clients.failed.get() + u64::from(!completed));
        }
    }
}

/// Whether the run completed. Its client asks for its closing events only, and knows the end when the stream ends.
async fn one_run(socket: &mut Socket, workflow: &str, n: u64) -> bool {
    socket.push(&format!(r#"{{"op":"cmd","n":{n},"type":"start","workflow":"{workflow}","input":{{"n":{n}}}}}"#));
    let mut completed = false;
    loop {
        let frame = socket.message().await;
        if frame.starts_with(r#"{"op":"done""#) {
            assert_eq!(number(&frame, r#""n":"#), Some(n), "one command is in flight");
            let run = string(&frame, r#""run":""#).expect("a start is answered with its run");
            follow(socket, run);
        } else if frame.starts_with(r#"{"op":"end""#) {
            return completed;
        } else if frame.starts_with(r#"{"op":"refused""#) || frame.starts_with(r#"{"op":"err""#) {
            panic!("the node refuses: {frame}");
        } else {
            completed |= frame.contains(r#""type":"run_completed""#);
        }
    }
}

/// Follows a run until it closes; its other events are not sent.
fn follow(socket: &mut Socket, run: &str) {
    let types = r#"["run_completed","run_failed","run_cancelled","run_terminated"]"#;
    let stream = format!(r#""stream":"runs/{run}","from":"begin","filter":{{"types":{types}}}"#);
    socket.push(&format!(r#"{{"op":"sub","id":1,{stream}}}"#));
}
