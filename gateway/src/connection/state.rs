//! Everything a socket knows between two messages, and what follows from each. Nothing here waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use protocol::version::VERSION;
use protocol::{ClientFrame, Credit, FrameError, Hello, Ping, ServerFrame};
use tokio::time::{Instant, Sleep, sleep_until};
use types::{Code, Refusal, TenantId};

use super::outcome::{Outcome, Pending};
use super::subscriptions::Subscriptions;
use super::worker::Worker;
use crate::admission::{Close, CloseCode, Due, Liveness};
use crate::backend::Backend;
use crate::frames;
use crate::gateway::Gateway;
use crate::inbox::{Inbox, Left};
use crate::limits::millis;
use crate::subscription::push;

/// A written buffer larger than this is not kept: an idle socket must be cheap.
const KEPT_BYTES: usize = 4 * 1024;

/// What the writer does next.
pub(super) enum Next {
    /// Events of so many bytes wait behind these.
    Write {
        bytes: Vec<u8>,
        behind: usize,
    },
    Close(Close),
}

pub(super) struct State<B: Backend> {
    pub(super) gateway: Arc<Gateway<B>>,
    pub(super) tenant: TenantId,
    pub(super) inbox: Arc<Inbox>,
    /// This connection's name, and that of the worker on it.
    pub(super) session: String,
    /// Frames to be written.
    pub(super) out: Vec<u8>,
    pub(super) pending: Pending,
    /// Commands and worker messages that are not answered yet.
    pub(super) in_flight: usize,
    pub(super) subscriptions: Subscriptions,
    pub(super) worker: Option<Worker>,
    greeted: bool,
    liveness: Liveness,
    closing: Option<Close>,
    /// When the node sends this socket away.
    leave_at: Option<Instant>,
    /// When positions that moved without an event are told.
    mark_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// The reader, while it waits for room.
    reader: Option<Waker>,
}

impl<B: Backend> State<B> {
    pub(super) fn new(gateway: Arc<Gateway<B>>, tenant: TenantId, inbox: Arc<Inbox>) -> Self {
        let liveness = Liveness::new(&gateway.limits, Instant::now());
        Self {
            timer: Box::pin(sleep_until(liveness.next())),
            gateway,
            tenant,
            inbox,
            session: random_name(),
            out: Vec::new(),
            pending: Pending::default(),
            in_flight: 0,
            subscriptions: Subscriptions::default(),
            worker: None,
            greeted: false,
            liveness,
            closing: None,
            leave_at: None,
            mark_at: None,
            reader: None,
        }
    }

    /// The first reason counts.
    pub(super) fn close(&mut self, close: Close) {
        self.closing.get_or_insert(close);
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether the node is about to send this socket away.
    pub(super) const fn is_leaving(&self) -> bool {
        self.leave_at.is_some()
    }

    pub(super) fn say(&mut self, frame: &ServerFrame) {
        push(&mut self.out, frame);
    }

    pub(super) fn heard(&mut self) {
        if self.greeted {
            self.liveness.heard(Instant::now());
        }
    }

    pub(super) fn ping(&mut self, payload: &[u8]) {
        self.heard();
        frames::push_pong(&mut self.out, payload);
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        if self.is_closing() {
            return;
        }
        self.gateway.metrics.messages_received.inc();
        self.gateway.metrics.bytes_received.inc_by(text.len() as u64);
        match (ClientFrame::decode_bytes(text), self.greeted) {
            (Ok(ClientFrame::Hello(hello)), false) => self.greet(hello),
            (Ok(_), false) => self.close(Close::new(CloseCode::BadMessage, "the first frame is `hello`")),
            (Ok(frame), true) => self.frame(frame),
            (Err(error), _) => self.misunderstood(&error),
        }
    }

    fn greet(&mut self, hello: Hello) {
        if hello.v != VERSION {
            let reason = format!("this node speaks version {VERSION}, not {}", hello.v);
            return self.close(Close::new(CloseCode::BadMessage, reason));
        }
        self.greeted = true;
        self.heard();
        let traceparent = hello.traceparent.as_deref();
        tracing::debug!(session = %self.session, client = %hello.client, traceparent, "hello");
        let welcome = ServerFrame::Welcome {
            session: self.session.clone(),
            heartbeat_ms: millis(self.gateway.limits.heartbeat_time),
            limits: self.gateway.limits.told(),
            node: self.gateway.node.clone(),
            durability: self.gateway.durability,
        };
        self.say(&welcome);
        for sub in hello.subs {
            self.subscribe(sub);
        }
    }

    fn frame(&mut self, frame: ClientFrame) {
        self.heard();
        match frame {
            ClientFrame::Hello(_) => self.close(Close::new(CloseCode::BadMessage, "`hello` came twice")),
            ClientFrame::Sub(sub) => self.subscribe(sub),
            ClientFrame::Unsub(unsub) => self.unsubscribe(unsub.id),
            ClientFrame::Credit(credit) => self.credit(&credit),
            ClientFrame::Cmd(command) => self.command(command),
            ClientFrame::Work(work) => self.work(work),
            ClientFrame::Result(result) => self.result(result),
            ClientFrame::Chunk(chunk) => self.chunk(chunk),
            ClientFrame::Beat(beat) => self.beat(beat),
            ClientFrame::Ping(Ping { ts }) => self.say(&ServerFrame::Pong { ts }),
        }
    }

    /// Refuses what the message was about, if that can be told; else nobody knows what was lost, and it ends.
    fn misunderstood(&mut self, error: &FrameError) {
        self.gateway.metrics.refused(error.code);
        let (code, message) = (error.code, error.message.clone());
        match (self.greeted, error.command, error.subscription) {
            (true, Some(n), _) => self.say(&ServerFrame::refused(n, code, message)),
            (true, None, Some(id)) => self.say(&ServerFrame::Err { code, message, id: Some(id), retry_ms: None }),
            (false, _, _) | (true, None, None) => {
                self.close(Close::new(CloseCode::BadMessage, &message));
                self.say(&ServerFrame::Err { code, message, id: None, retry_ms: None });
            }
        }
    }

    fn credit(&mut self, credit: &Credit) {
        if !self.subscriptions.credit(credit) {
            self.object(credit.id, &Refusal::new(Code::NotFound, "no subscription has this id"));
        }
    }

    /// Says what was wrong about a subscription.
    pub(super) fn object(&mut self, id: u32, refusal: &Refusal) {
        self.gateway.metrics.refused(refusal.code);
        let Refusal { code, message, retry_after_ms, .. } = refusal;
        let message = message.clone();
        self.say(&ServerFrame::Err { code: *code, message, id: Some(id), retry_ms: *retry_after_ms });
    }

    /// Resolves when what follows from one more message has room.
    pub(super) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn has_room(&self) -> bool {
        let limits = &self.gateway.limits;
        self.in_flight < limits.commands_in_flight && self.out.len() < limits.unsent_bytes
    }

    /// Takes in whatever has come, and says what the writer does next.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            while let Poll::Ready(outcome) = self.pending.poll(cx) {
                self.outcome(outcome);
            }
            while let Some(left) = self.inbox.take(cx) {
                self.left(left);
            }
            let rang = self.poll_timer(cx);
            self.turn();
            if !rang && !self.pending.is_fresh() {
                break;
            }
        }
        if !self.out.is_empty() {
            let behind = self.subscriptions.backlog_bytes();
            return Poll::Ready(Next::Write { bytes: std::mem::take(&mut self.out), behind });
        }
        if self.has_room()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        match self.closing.take_if(|close| close.code != CloseCode::Draining || self.in_flight == 0) {
            Some(close) => Poll::Ready(Next::Close(close)),
            None => Poll::Pending,
        }
    }

    /// A buffer was written and may be used again.
    pub(super) fn written(&mut self, mut bytes: Vec<u8>) {
        self.gateway.metrics.writes.inc();
        self.gateway.metrics.bytes_sent.inc_by(bytes.len() as u64);
        if self.out.is_empty() && bytes.capacity() <= KEPT_BYTES {
            bytes.clear();
            self.out = bytes;
        }
        if self.has_room()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Appended { n, result } => self.appended(n, result),
            Outcome::Commanded { n, result } => self.commanded(n, result),
            Outcome::Opened { address, start, first, result } => self.opened(address, start, first, result),
            Outcome::Read { address, from, result } => self.read_answered(address, from, result),
            Outcome::OpenAgain { address, start, first } => self.look_up(address, start, first),
            Outcome::ReadAgain { address } => self.subscriptions.retry(address),
            Outcome::PollAgain => self.poll_due(),
            Outcome::Attached { result } => self.attached(result),
            Outcome::Polled { result } => self.polled(result),
            Outcome::Chunk { token, result } => self.chunk_answered(token, result),
            Outcome::Result { token, result } => self.result_answered(token, result),
            Outcome::Beat { token, result } => self.beat_answered(token, result),
        }
    }

    fn left(&mut self, left: Left) {
        for (address, chunk) in left.chunks {
            self.arrived(address, chunk);
        }
        for address in left.lost {
            self.lost(address);
        }
        if let Some(reconnect_in_ms) = left.goaway_ms {
            self.say(&ServerFrame::Goaway { reconnect_in_ms, reason: "the node is going away".to_owned() });
            self.leave_at = Some(Instant::now() + std::time::Duration::from_millis(reconnect_in_ms));
        }
    }

    /// Does what is due, and has the writer woken for the next time. Whether anything was due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_closing() {
            return false;
        }
        let next = self.next_time();
        // A timer that rings too early costs less than setting it anew for every message.
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.tick(Instant::now());
        true
    }

    fn next_time(&self) -> Instant {
        let times = [Some(self.liveness.next()), self.leave_at, self.mark_at];
        times.into_iter().flatten().min().expect("liveness always has a time")
    }

    fn tick(&mut self, now: Instant) {
        match self.liveness.due(now) {
            Due::Nothing => {}
            Due::Ping => frames::push_ping(&mut self.out),
            Due::Close(close) => self.close(close),
        }
        if self.mark_at.take_if(|at| *at <= now).is_some() {
            self.subscriptions.mark(&mut self.out);
        }
        if self.leave_at.take_if(|at| *at <= now).is_some() {
            self.close(Close::new(CloseCode::Draining, "the node is going away"));
        }
    }

    /// Lets subscriptions and the worker do what there is room for.
    fn turn(&mut self) {
        if self.is_closing() {
            return;
        }
        if self.pump() && self.mark_at.is_none() {
            self.mark_at = Some(Instant::now() + self.gateway.limits.mark_time);
        }
        self.poll_work();
    }
}

impl<B: Backend> Drop for State<B> {
    fn drop(&mut self) {
        self.unsubscribe_all();
        self.stop_working();
    }
}

/// A name that no other connection has, of this node or another, now or later.
fn random_name() -> String {
    format!("s-{:016x}", getrandom::u64().expect("the system has random numbers"))
}
