//! The worker on a socket: it is told of tasks as long as it has room for them, and of everything it offers whether
//! that is durable.

use std::time::Duration;

use protocol::{Beat, ChunkFrame, HeldStatus, ResultFrame, ServerFrame, Work};
use types::{Code, Refusal};

use super::outcome::Outcome;
use super::state::State;
use crate::backend::{AttachWorker, Backend, Chunk, ChunkTaken, PollWorker, StepOutcome, StepResult, WorkerPush};
use crate::limits::millis;
use crate::recourse::{Recourse, recourse};
use crate::worker_terms;

/// Tasks that one poll brings at most, whatever a worker says about its slots.
const MOST_TASKS: usize = 1024;

/// A socket that works.
#[derive(Debug)]
pub(super) struct Worker {
    /// How many tasks it has room for in all.
    slots: usize,
    poll: Poll,
}

#[derive(Debug, PartialEq, Eq)]
enum Poll {
    /// Not before the backend knows the worker.
    Unattached,
    Due,
    Waiting,
}

impl<B: Backend> State<B> {
    pub(super) fn work(&mut self, work: Work) {
        if let Err(refusal) = worker_terms::check(&work.queues, &work.holding) {
            return self.complain(refusal);
        }
        let slots = work.queues.iter().map(|queue| queue.slots as usize).sum::<usize>().clamp(1, MOST_TASKS);
        if let Some(worker) = &mut self.worker {
            worker.slots = slots;
        } else {
            self.gateway.metrics.workers.inc();
            self.worker = Some(Worker { slots, poll: Poll::Unattached });
        }
        let request = AttachWorker {
            worker: self.session.clone(),
            queues: work.queues,
            holding: work.holding,
            // The name is as new as the connection, so there is nothing else; said again, tasks may be under way.
            holds_nothing_else: false,
        };
        let answer = self.gateway.backend.attach_worker(&self.tenant, request);
        self.in_flight += 1;
        self.pending.push(async move { Outcome::Attached { result: answer.await } });
    }

    pub(super) fn attached(&mut self, result: Result<Vec<(String, HeldStatus)>, Refusal>) {
        self.in_flight -= 1;
        match result {
            Ok(held) => {
                for (token, status) in held {
                    self.say(&ServerFrame::Held { token, status });
                }
                if let Some(worker) = &mut self.worker
                    && worker.poll == Poll::Unattached
                {
                    worker.poll = Poll::Due;
                }
            }
            Err(refusal) => self.complain(refusal),
        }
    }

    /// A pause after a failed poll is over.
    pub(super) fn poll_due(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.poll = Poll::Due;
        }
    }

    /// Asks for tasks if it is time and there is room to say them. A node that goes away gives out none.
    pub(super) fn poll_work(&mut self) {
        let room = self.gateway.limits.unsent_bytes.saturating_sub(self.out.len());
        let gives = room > 0 && !self.is_leaving();
        let Some(worker) = &mut self.worker else { return };
        if worker.poll != Poll::Due || !gives {
            return;
        }
        worker.poll = Poll::Waiting;
        let wait_ms = millis(self.gateway.limits.poll_time);
        let request = PollWorker { worker: self.session.clone(), max: worker.slots, max_bytes: room, wait_ms };
        let answer = self.gateway.backend.poll_worker(&self.tenant, request);
        self.pending.push(async move { Outcome::Polled { result: answer.await } });
    }

    pub(super) fn polled(&mut self, result: Result<Vec<WorkerPush>, Refusal>) {
        match result {
            Ok(pushes) => {
                for push in pushes {
                    self.say(&match push {
                        WorkerPush::Task(task) => ServerFrame::Task(Box::new(task)),
                        WorkerPush::Cancel { token } => ServerFrame::Cancel { token },
                    });
                }
                self.poll_due();
            }
            Err(refusal) => match recourse(&refusal) {
                Recourse::Retry(pause) => self.pending.push(after(pause, Outcome::PollAgain)),
                Recourse::LookAgain | Recourse::StreamGone | Recourse::GiveUp => self.give_up_working(refusal),
            },
        }
    }

    /// The backend does not know the worker any more: it has to say `work` again.
    fn give_up_working(&mut self, refusal: Refusal) {
        if let Some(worker) = &mut self.worker {
            worker.poll = Poll::Unattached;
        }
        self.complain(refusal);
    }

    fn complain(&mut self, refusal: Refusal) {
        self.gateway.metrics.refused(refusal.code);
        let Refusal { code, message, retry_after_ms, .. } = refusal;
        self.say(&ServerFrame::Err { code, message, id: None, retry_ms: retry_after_ms });
    }

    pub(super) fn chunk(&mut self, frame: ChunkFrame) {
        let ChunkFrame { token, seq, data } = frame;
        let data = match self.payload(data, "the chunk") {
            Ok(data) => data,
            Err(refusal) => return self.untaken(token, refusal),
        };
        let request = Chunk { worker: self.session.clone(), token: token.clone(), seq, data };
        let answer = self.gateway.backend.chunk(&self.tenant, request);
        self.in_flight += 1;
        self.pending.push(async move { Outcome::Chunk { token, result: answer.await } });
    }

    pub(super) fn chunk_answered(&mut self, token: String, result: Result<ChunkTaken, Refusal>) {
        self.in_flight -= 1;
        match result {
            Ok(ChunkTaken { next_seq }) => self.took(token, Some(next_seq)),
            Err(refusal) => self.untaken(token, refusal),
        }
    }

    pub(super) fn result(&mut self, frame: ResultFrame) {
        let token = frame.token.clone();
        let outcome = match self.step_outcome(frame) {
            Ok(outcome) => outcome,
            Err(refusal) => return self.untaken(token, refusal),
        };
        let request = StepResult { worker: self.session.clone(), token: token.clone(), outcome };
        let answer = self.gateway.backend.result(&self.tenant, request);
        self.in_flight += 1;
        self.pending.push(async move { Outcome::Result { token, result: answer.await } });
    }

    fn step_outcome(&self, frame: ResultFrame) -> Result<StepOutcome, Refusal> {
        match (frame.output, frame.failure) {
            (Some(output), None) => self.payload(output, "the output").map(StepOutcome::Output),
            (None, Some(failure)) => Ok(StepOutcome::Failed { failure, retry_after_ms: frame.retry_after_ms }),
            (Some(_), Some(_)) | (None, None) => {
                Err(Refusal::new(Code::BadMessage, "a result has either `output` or `failure`"))
            }
        }
    }

    pub(super) fn result_answered(&mut self, token: String, result: Result<(), Refusal>) {
        self.in_flight -= 1;
        match result {
            Ok(()) => self.took(token, None),
            Err(refusal) => self.untaken(token, refusal),
        }
    }

    /// Chunks below `seq`, or else the result.
    fn took(&mut self, token: String, seq: Option<u64>) {
        let durability = self.gateway.durability;
        self.say(&ServerFrame::Took { token, result: seq.is_none(), seq, durability });
    }

    pub(super) fn beat(&mut self, Beat { token }: Beat) {
        let answer = self.gateway.backend.beat(&self.tenant, self.session.clone(), token.clone());
        self.in_flight += 1;
        self.pending.push(async move { Outcome::Beat { token, result: answer.await } });
    }

    pub(super) fn beat_answered(&mut self, token: String, result: Result<(), Refusal>) {
        self.in_flight -= 1;
        if let Err(refusal) = result {
            self.untaken(token, refusal);
        }
    }

    fn untaken(&mut self, token: String, refusal: Refusal) {
        self.gateway.metrics.refused(refusal.code);
        let Refusal { code, message, retry_after_ms, details } = refusal;
        let expected = details.iter().find(|(name, _)| name == "expected");
        let next_seq = expected.and_then(|(_, value)| value.parse().ok());
        self.say(&ServerFrame::Untaken { token, code, message, next_seq, retry_after_ms });
    }

    /// The socket is gone; what its worker holds is kept for it for a while.
    pub(super) fn stop_working(&mut self) {
        if self.worker.take().is_some() {
            self.gateway.metrics.workers.dec();
            self.gateway.backend.detach_worker(&self.tenant, self.session.clone());
        }
    }
}

/// `outcome`, a while later.
pub(super) async fn after(pause: Duration, outcome: Outcome) -> Outcome {
    tokio::time::sleep(pause).await;
    outcome
}
