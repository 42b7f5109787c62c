//! Sends a producer's window in the background, over as many connections as it takes.

use std::time::Duration;

use protocol::ServerFrame;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use types::{Code, Refusal};

use super::window::Window;
use super::{Appended, ProducerOptions, Request};
use crate::connection::{Connection, Incoming, Lost};
use crate::dialer::{Dialer, as_lost};
use crate::error::Error;

pub(super) struct Sender {
    dialer: Dialer,
    window: Window,
    requests: mpsc::Receiver<Request>,
    /// The last `Producer` is gone: what it left is still sent.
    closing: bool,
    patience: Option<Duration>,
    /// Since when the node has not answered, though connections were lost.
    silent_since: Option<Instant>,
}

impl Sender {
    pub(super) fn new(dialer: Dialer, options: ProducerOptions, requests: mpsc::Receiver<Request>) -> Self {
        let patience = options.patience;
        Self { dialer, window: Window::new(options), requests, closing: false, patience, silent_since: None }
    }

    pub(super) async fn run(mut self, first: Connection) {
        let mut connection = first;
        loop {
            let connected = Instant::now();
            let Err(lost) = self.serve(connection).await else { return };
            // A connection that held for so long was of use, also when there was nothing to answer.
            if self.patience.is_some_and(|patience| connected.elapsed() > patience) {
                self.silent_since = None;
            }
            self.silent_since.get_or_insert_with(Instant::now);
            self.window.disconnected();
            connection = match self.reconnect(lost).await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::error!(%error, "a producer has stopped");
                    return self.window.give_up(self.dialer.server(), &error);
                }
            };
        }
    }

    async fn reconnect(&mut self, mut lost: Lost) -> Result<Connection, Error> {
        loop {
            self.dialer.pause(&lost).await?;
            if self.is_out_of_patience() {
                return Err(Error::unreachable(self.dialer.server(), lost.reason));
            }
            match self.dialer.once(Vec::new()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => lost = as_lost(&error),
            }
        }
    }

    fn is_out_of_patience(&self) -> bool {
        let silent = self.silent_since.map(|since| since.elapsed());
        self.patience.zip(silent).is_some_and(|(patience, silent)| silent >= patience)
    }

    /// Ends with `Ok` when everything is answered and nobody can append any more.
    async fn serve(&mut self, mut connection: Connection) -> Result<(), Lost> {
        let (outgoing, event_bytes) = (connection.outgoing(), connection.limits().event_bytes);
        while !(self.closing && self.window.is_empty()) {
            let wake = self.window.next_wake();
            tokio::select! {
                incoming = connection.next() => self.take(incoming?),
                request = self.requests.recv(), if !self.closing => match request {
                    Some(request) => self.queue(request, event_bytes),
                    None => self.closing = true,
                },
                permit = outgoing.reserve(), if self.window.has_more() => {
                    if let (permit, Some(frame)) = (permit?, self.window.next()) {
                        permit.send(frame.encode());
                    }
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.window.wake(Instant::now());
                }
            }
        }
        Ok(())
    }

    /// An event that the node would close the connection for is refused here.
    fn queue(&mut self, Request { stream, data, reply }: Request, event_bytes: usize) {
        let bytes = data.get().len();
        if bytes > event_bytes {
            let message = format!("the event has {bytes} bytes, the node takes {event_bytes}");
            return reply.give(Err(Error::Refused(Refusal::new(Code::TooLarge, message))));
        }
        self.window.push(stream, data, reply);
    }

    fn take(&mut self, incoming: Incoming) {
        if matches!(incoming, Incoming::Frame(ServerFrame::Done { .. } | ServerFrame::Refused { .. })) {
            self.silent_since = None;
        }
        match incoming {
            Incoming::Frame(ServerFrame::Done { n, offset, dup, .. }) => {
                self.dialer.settled();
                self.window.done(n, Appended { offset, duplicate: dup }, Instant::now());
            }
            Incoming::Frame(ServerFrame::Refused { n, code, message, retry_after_ms, details }) => {
                let refusal = Refusal { retry_after_ms, ..Refusal::new(code, message) };
                let refusal = details.iter().fold(refusal, |refusal, (name, value)| refusal.detail(name, value));
                self.window.refused(n, refusal, Instant::now());
            }
            Incoming::Frame(ServerFrame::Err { code, message, .. }) => {
                tracing::warn!(%code, message, "the node complains about a producer");
            }
            Incoming::Frame(_) | Incoming::Event(..) => tracing::warn!("the node sent what no producer asked for"),
        }
    }
}
