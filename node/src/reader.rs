//! Reads a stream for one reader: checks its cursor, waits for news, fetches from the log, off the runtime's threads
//! unless all of it is in memory.

use std::sync::Arc;
use std::time::Duration;

use gateway::backend::{Event, Read, StreamInfo};
use storage::{Log, ReadError, StreamRead};
use tokio::sync::Semaphore;
use types::{Code, Cursor, Refusal, RunId};

use crate::fanout::Followed;
use crate::limits;
use crate::translate;

/// What was read, and what of it is still to be looked up.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) events: Vec<Event>,
    pub(crate) info: StreamInfo,
    /// The last event is the end of this run, and its output stands in the run's state.
    pub(crate) output_of: Option<RunId>,
}

pub(crate) async fn read(
    followed: Arc<Followed>,
    request: &Read,
    log: Arc<dyn Log>,
    reads: Arc<Semaphore>,
) -> Result<Found, Refusal> {
    check(&request.from, &followed.info())?;
    wait_for_news(&followed, request).await;
    let info = followed.info();
    if info.head == request.from.next && followed.is_deleted() {
        return Err(Refusal::new(Code::StreamNotFound, format!("stream {} was deleted", request.stream)));
    }
    if info.head == request.from.next {
        return Ok(Found { events: Vec::new(), info, output_of: None });
    }
    let read = StreamRead {
        partition: followed.partition,
        stream: followed.ordinal,
        from: request.from.next,
        until: info.head,
        max_events: request.max_events.max(1),
        max_bytes: request.max_bytes,
    };
    let run = request.stream.run();
    // Whoever follows at the tail is served on the spot: a thread of its own would cost more than the read.
    let short = info.head.since(request.from.next) <= limits::EVENTS_READ_ON_THE_SPOT;
    if short && log.is_recent(&read) {
        let (events, output_of) = fetch(log.as_ref(), read, run)?;
        return Ok(Found { events, info, output_of });
    }
    let _permit = reads.acquire_owned().await;
    let fetched = tokio::task::spawn_blocking(move || fetch(log.as_ref(), read, run));
    let fetched = fetched.await.unwrap_or_else(|_| Err(Refusal::new(Code::Internal, "the log could not be read")));
    let (events, output_of) = fetched?;
    Ok(Found { events, info, output_of })
}

/// The events, and the run whose output the last of them refers to.
fn fetch(log: &dyn Log, read: StreamRead, run: Option<RunId>) -> Result<(Vec<Event>, Option<RunId>), Refusal> {
    let found = log.read_stream(read);
    let found = found.and_then(|records| if records.is_empty() { Err(nothing(log, &read)) } else { Ok(records) });
    let records = found.map_err(|error| translate::read_failed(&error))?;
    let events = records.iter().map(|record| translate::client_event(record, run));
    let events = events.collect::<Result<Vec<_>, String>>().map_err(|what| Refusal::new(Code::Internal, what))?;
    // Only the last event of a run's stream can be its end.
    let output_of = run.filter(|_| records.last().is_some_and(|last| translate::refers_to_the_last_value(last, run)));
    Ok((events, output_of))
}

/// There are durable events before `until`, and none was found: they were dropped, or they are lost.
fn nothing(log: &dyn Log, read: &StreamRead) -> ReadError {
    let bounds = log.bounds(read.partition);
    if bounds.quarantined {
        return ReadError::EventsQuarantined { low: read.until };
    }
    if bounds.trimmed {
        return ReadError::Trimmed { low: read.until };
    }
    let what = format!("events {} to {} of stream {} are missing", read.from, read.until, read.stream);
    ReadError::Corrupt { partition: read.partition, position: bounds.end, what }
}

/// A cursor of another history, another life of the stream, or out of its bounds is never served silently.
pub(crate) fn check(cursor: &Cursor, info: &StreamInfo) -> Result<(), Refusal> {
    let refuse =
        |code, message: &str| Err(Refusal::new(code, message).detail("low", info.low).detail("head", info.head));
    if cursor.history != info.history {
        return refuse(Code::OtherHistory, "the cursor belongs to another history of this node's data: begin again");
    }
    if cursor.incarnation != info.incarnation {
        return refuse(Code::OtherStream, "the cursor belongs to another stream, or to an earlier one of this name");
    }
    if cursor.next < info.low {
        return refuse(Code::Trimmed, "the events at the cursor are no longer kept");
    }
    if cursor.next > info.head {
        return refuse(Code::LogTruncated, "the cursor lies beyond the end of the stream");
    }
    Ok(())
}

async fn wait_for_news(followed: &Followed, request: &Read) {
    let mut news = followed.watch();
    let next = request.from.next;
    let moved = news.wait_for(|state| state.head > next || state.closed || state.deleted);
    // A reader that waited in vain gets an empty answer.
    drop(tokio::time::timeout(Duration::from_millis(request.wait_ms), moved).await);
}
