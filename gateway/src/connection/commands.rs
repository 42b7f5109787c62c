//! Commands of a socket: each becomes one request, taken by the backend in the order of the messages, and one answer.

use protocol::{AppendCommand, CancelCommand, Cmd, Command, ServerFrame, SignalCommand, StartCommand};
use serde_json::Map;
use serde_json::value::RawValue;
use types::{Code, Payload, Refusal};

use super::outcome::{Done, Outcome};
use super::state::State;
use crate::backend::{Append, Appended, Backend, CancelRun, Producer, SignalRun, StartRun, WorkflowRef};
use crate::details;

impl<B: Backend> State<B> {
    pub(super) fn command(&mut self, Cmd { n, command }: Cmd) {
        self.gateway.metrics.commands.inc();
        let taken = match command {
            Command::Append(command) => self.append(n, command),
            Command::Start(command) => self.start(n, command),
            Command::Signal(command) => self.signal(n, command),
            Command::Cancel(command) => {
                self.cancel(n, command);
                Ok(())
            }
        };
        match taken {
            Ok(()) => self.in_flight += 1,
            Err(refusal) => self.refuse(n, refusal),
        }
    }

    fn append(&mut self, n: u64, command: AppendCommand) -> Result<(), Refusal> {
        let AppendCommand { stream, data, producer, epoch, seq } = command;
        if stream.is_reserved() {
            let message = format!("{stream} belongs to the node: use another first segment than `runs` and `system`");
            return Err(Refusal::new(Code::ReservedName, message));
        }
        let producer = match (producer, seq) {
            (Some(id), Some(seq)) => Some(Producer { id, epoch, seq }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let message = "an append has both `producer` and `seq`, or neither";
                return Err(Refusal::new(Code::BadMessage, message));
            }
        };
        let request = Append {
            stream,
            events: vec![self.payload(data, "the event")?],
            producer,
            expected: None,
            sequence: None,
            create: true,
            close: false,
        };
        let answer = self.gateway.backend.append(&self.tenant, request);
        self.pending.push(async move { Outcome::Appended { n, result: answer.await } });
        Ok(())
    }

    fn start(&mut self, n: u64, command: StartCommand) -> Result<(), Refusal> {
        let StartCommand { workflow, input, key, idempotency_key } = command;
        let input = input.map_or_else(|| Ok(Payload::null()), |input| self.payload(input, "the input"))?;
        let workflow = WorkflowRef::parse(&workflow)?;
        let request = StartRun { workflow, input, key, idempotency_key, tags: Vec::new() };
        let answer = self.gateway.backend.start_run(&self.tenant, request);
        self.pending.push(async move {
            let result = answer.await.map(|accepted| Done {
                run: Some(accepted.run),
                cursor: Some(accepted.cursor),
                dup: accepted.duplicate,
            });
            Outcome::Commanded { n, result }
        });
        Ok(())
    }

    fn signal(&mut self, n: u64, command: SignalCommand) -> Result<(), Refusal> {
        let SignalCommand { run, name, id, data } = command;
        let payload = data.map_or_else(|| Ok(Payload::null()), |data| self.payload(data, "the signal"))?;
        let answer = self.gateway.backend.signal_run(&self.tenant, SignalRun { run, name, id, payload });
        self.pending.push(async move {
            let result = answer.await.map(|accepted| Done { dup: accepted.duplicate, ..Done::default() });
            Outcome::Commanded { n, result }
        });
        Ok(())
    }

    fn cancel(&mut self, n: u64, command: CancelCommand) {
        let CancelCommand { run, reason } = command;
        let answer = self.gateway.backend.cancel_run(&self.tenant, CancelRun { run, reason });
        self.pending.push(async move {
            let result = answer.await.map(|()| Done::default());
            Outcome::Commanded { n, result }
        });
    }

    pub(super) fn appended(&mut self, n: u64, result: Result<Appended, Refusal>) {
        self.in_flight -= 1;
        match result {
            Ok(Appended { offset, cursor, duplicate, .. }) => {
                let durability = self.gateway.durability;
                let cursor = Some(cursor);
                self.say(&ServerFrame::Done { n, offset, run: None, cursor, dup: duplicate, durability });
            }
            Err(refusal) => self.refuse(n, refusal),
        }
    }

    pub(super) fn commanded(&mut self, n: u64, result: Result<Done, Refusal>) {
        self.in_flight -= 1;
        match result {
            Ok(Done { run, cursor, dup }) => {
                let durability = self.gateway.durability;
                self.say(&ServerFrame::Done { n, offset: None, run, cursor, dup, durability });
            }
            Err(refusal) => self.refuse(n, refusal),
        }
    }

    fn refuse(&mut self, n: u64, refusal: Refusal) {
        self.gateway.metrics.refused(refusal.code);
        let Refusal { code, message, retry_after_ms, details } = refusal;
        let mut members = Map::new();
        details::add(&details, &mut members);
        self.say(&ServerFrame::Refused { n, code, message, retry_after_ms, details: members });
    }

    /// The text as it came, without another copy.
    pub(super) fn payload(&self, json: Box<RawValue>, what: &str) -> Result<Payload, Refusal> {
        let limit = self.gateway.limits.event_bytes;
        let text: Box<str> = json.into();
        if text.len() > limit {
            let message = format!("{what} has {} bytes, the limit is {limit}", text.len());
            return Err(Refusal::new(Code::TooLarge, message));
        }
        Ok(Payload::json(String::from(text)))
    }
}
