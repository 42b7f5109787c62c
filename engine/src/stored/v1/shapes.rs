//! What events and rows have in common: values, failures, policies, timers, scopes.

use bincode::de::Decoder;
use bincode::de::read::Reader;
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use bytes::Bytes;
use types::Payload;

use super::shape::Shape;
use crate::stored::StoredError;
use crate::stored::limits::CAUSES;
use crate::{definition, event, scope, step, timer};

/// Bytes with their length, laid out as a `Vec<u8>`. A length beyond the end allocates nothing.
pub(super) struct Raw(Bytes);

impl Encode for Raw {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        encoder.writer().write(&self.0)
    }
}

impl<Context> Decode<Context> for Raw {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let length = u64::decode(decoder)?;
        let length = usize::try_from(length).map_err(|_| DecodeError::OutsideUsizeRange(length))?;
        decoder.claim_bytes_read(length)?;
        let end = DecodeError::UnexpectedEnd { additional: length };
        let bytes = Bytes::copy_from_slice(decoder.reader().peek_read(length).ok_or(end)?);
        decoder.reader().consume(length);
        Ok(Self(bytes))
    }
}

bincode::impl_borrow_decode!(Raw);

/// A payload: one byte more than its text and its length where it is plain JSON.
#[derive(Encode, Decode)]
pub(super) enum Value {
    Json(Raw),
    Typed(Typed),
}

/// A payload that may be absent.
#[derive(Encode, Decode)]
pub(super) enum MaybeValue {
    Absent,
    Json(Raw),
    Typed(Typed),
}

#[derive(Encode, Decode)]
pub(super) struct Typed {
    data: Raw,
    content_type: Option<String>,
    meta: Vec<(String, String)>,
}

impl Shape<Payload> for Value {
    fn of(value: &Payload) -> Self {
        let data = Raw(value.data.clone());
        if value.content_type.is_none() && value.meta.is_empty() {
            return Self::Json(data);
        }
        Self::Typed(Typed { data, content_type: value.content_type.clone(), meta: value.meta.clone() })
    }

    fn restore(self) -> Result<Payload, StoredError> {
        Ok(match self {
            Self::Json(Raw(data)) => Payload::json(data),
            Self::Typed(Typed { data: Raw(data), content_type, meta }) => Payload { data, content_type, meta },
        })
    }
}

impl Shape<Option<Payload>> for MaybeValue {
    fn of(value: &Option<Payload>) -> Self {
        match value.as_ref().map(Value::of) {
            None => Self::Absent,
            Some(Value::Json(data)) => Self::Json(data),
            Some(Value::Typed(typed)) => Self::Typed(typed),
        }
    }

    fn restore(self) -> Result<Option<Payload>, StoredError> {
        match self {
            Self::Absent => Ok(None),
            Self::Json(data) => Value::Json(data).restore().map(Some),
            Self::Typed(typed) => Value::Typed(typed).restore().map(Some),
        }
    }
}

/// A failure and its causes, outermost first: flat, so that no stored bytes can drive a reader into deep recursion.
#[derive(Encode, Decode)]
pub(super) struct Failure(Vec<Cause>);

#[derive(Encode, Decode)]
struct Cause {
    message: String,
    kind: String,
    source: Option<String>,
    stack: Option<String>,
    non_retryable: bool,
    details: MaybeValue,
}

impl Shape<step::Failure> for Failure {
    /// Keeps the outermost causes of a chain longer than the limit.
    fn of(value: &step::Failure) -> Self {
        let chain = std::iter::successors(Some(value), |failure| failure.cause.as_deref());
        let cause = |failure: &step::Failure| Cause {
            message: failure.message.clone(),
            kind: failure.kind.clone(),
            source: failure.source.clone(),
            stack: failure.stack.clone(),
            non_retryable: failure.non_retryable,
            details: MaybeValue::of(&failure.details),
        };
        Self(chain.take(CAUSES).map(cause).collect())
    }

    fn restore(self) -> Result<step::Failure, StoredError> {
        if self.0.len() > CAUSES {
            return Err(StoredError::invalid("failure", &format!("it has more than {CAUSES} causes")));
        }
        let mut whole = None;
        for Cause { message, kind, source, stack, non_retryable, details } in self.0.into_iter().rev() {
            let (details, cause) = (details.restore()?, whole.map(Box::new));
            whole = Some(step::Failure { message, kind, source, stack, non_retryable, details, cause });
        }
        whole.ok_or_else(|| StoredError::invalid("failure", &"it is empty"))
    }
}

stored_struct! {
    DefinitionName for definition::DefinitionName { namespace: String, name: String, version: String }
}

stored_struct! {
    WorkflowError for workflow::WorkflowError {
        type_: String,
        status: u16,
        title: Option<String>,
        detail: Option<String>,
        instance: Option<String>,
    }
}

stored_struct! {
    Function for step::Function {
        name: String,
        task: String,
        queue: String,
        stream: bool,
        retry: RetryPolicy,
        start_to_close_ms: u64,
        schedule_to_start_ms: Option<u64>,
        heartbeat_ms: Option<u64>,
    }
}

stored_struct! {
    RetryPolicy for workflow::RetryPolicy {
        max_attempts: u32,
        initial_ms: u64,
        growth: Growth,
        cap_ms: u64,
        jitter: Jitter,
        max_duration_ms: Option<u64>,
        non_retryable: Vec<String>,
    }
}

#[derive(Encode, Decode)]
enum Growth {
    Constant,
    Linear,
    Exponential(f64),
}

impl Shape<workflow::Growth> for Growth {
    fn of(value: &workflow::Growth) -> Self {
        match value {
            workflow::Growth::Constant => Self::Constant,
            workflow::Growth::Linear => Self::Linear,
            workflow::Growth::Exponential(multiplier) => Self::Exponential(*multiplier),
        }
    }

    fn restore(self) -> Result<workflow::Growth, StoredError> {
        Ok(match self {
            Self::Constant => workflow::Growth::Constant,
            Self::Linear => workflow::Growth::Linear,
            Self::Exponential(multiplier) => workflow::Growth::Exponential(multiplier),
        })
    }
}

#[derive(Encode, Decode)]
enum Jitter {
    None,
    Factor(f64),
    Between { from_ms: u64, to_ms: u64 },
}

impl Shape<workflow::Jitter> for Jitter {
    fn of(value: &workflow::Jitter) -> Self {
        match *value {
            workflow::Jitter::None => Self::None,
            workflow::Jitter::Factor(factor) => Self::Factor(factor),
            workflow::Jitter::Between { from_ms, to_ms } => Self::Between { from_ms, to_ms },
        }
    }

    fn restore(self) -> Result<workflow::Jitter, StoredError> {
        Ok(match self {
            Self::None => workflow::Jitter::None,
            Self::Factor(factor) => workflow::Jitter::Factor(factor),
            Self::Between { from_ms, to_ms } => workflow::Jitter::Between { from_ms, to_ms },
        })
    }
}

stored_struct! {
    TimerSet for event::TimerSet { timer: u32, due: u64 }
}

stored_enum! {
    Purpose for timer::Purpose {
        Wait { scope: u32 },
        Retry { step: u32 },
        TryAgain { scope: u32 },
        CancelGrace,
    }
}

stored_enum! {
    ScopeKind for scope::ScopeKind {
        Root,
        Do,
        For { items: Vec<Value>, iteration: u32 },
        Try { attempt: u32, first: u64 },
        Catch { error: Box<WorkflowError> },
    }
}

#[derive(Encode, Decode)]
pub(super) enum Next {
    Index(u32),
    Exit,
    End,
}

impl Shape<event::Next> for Next {
    fn of(value: &event::Next) -> Self {
        match *value {
            event::Next::Index(index) => Self::Index(index),
            event::Next::Exit => Self::Exit,
            event::Next::End => Self::End,
        }
    }

    fn restore(self) -> Result<event::Next, StoredError> {
        Ok(match self {
            Self::Index(index) => event::Next::Index(index),
            Self::Exit => event::Next::Exit,
            Self::End => event::Next::End,
        })
    }
}
