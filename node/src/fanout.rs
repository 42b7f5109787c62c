//! Tells readers that a stream moved. Holds no events: the log is the send buffer, a reader is a cursor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Partition, StreamKey};
use gateway::backend::StreamInfo;
use tokio::sync::watch;
use types::{History, Offset, PartitionId, StreamOrdinal};

use crate::functions::Functions;
use crate::limits;
use crate::partition::Moved;
use crate::translate;

/// A stream that somebody reads or read lately, as far as it is durable.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) partition: PartitionId,
    pub(crate) ordinal: StreamOrdinal,
    info: StreamInfo,
    state: watch::Sender<State>,
    /// Of a run's stream.
    pub(crate) functions: Functions,
}

/// What moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) head: Offset,
    pub(crate) low: Offset,
    pub(crate) closed: bool,
    pub(crate) deleted: bool,
}

/// All followed streams of the node.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    by_name: HashMap<StreamKey, Arc<Followed>>,
    by_ordinal: HashMap<(PartitionId, StreamOrdinal), StreamKey>,
}

impl Followed {
    /// The stream as it stands on disk.
    pub(crate) fn info(&self) -> StreamInfo {
        let state = *self.state.borrow();
        StreamInfo { head: state.head, low: state.low, closed: state.closed, ..self.info.clone() }
    }

    /// No events come any more, and nobody finds it by its name.
    pub(crate) fn is_deleted(&self) -> bool {
        self.state.borrow().deleted
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }
}

impl Fanout {
    /// The stream, if it is followed already.
    pub(crate) fn find(&self, key: &StreamKey) -> Option<Arc<Followed>> {
        self.lock().by_name.get(key).cloned()
    }

    /// Follows a stream from this state on. Called at the gate, on the driver's thread, so that no news is missed.
    pub(crate) fn follow(
        &self,
        partition: PartitionId,
        key: &StreamKey,
        ordinal: StreamOrdinal,
        info: StreamInfo,
    ) -> Arc<Followed> {
        let mut streams = self.lock();
        if let Some(followed) = streams.by_name.get(key).filter(|followed| followed.ordinal == ordinal) {
            return followed.clone();
        }
        if streams.by_name.len() >= limits::FOLLOWED_STREAMS {
            streams.forget_unread();
        }
        let state = State { head: info.head, low: info.low, closed: info.closed, deleted: false };
        let followed = Arc::new(Followed {
            partition,
            ordinal,
            info,
            state: watch::Sender::new(state),
            functions: Functions::default(),
        });
        streams.by_name.insert(key.clone(), followed.clone());
        streams.by_ordinal.insert((partition, ordinal), key.clone());
        followed
    }

    /// Streams of a partition moved, durably.
    pub(crate) fn publish(&self, partition: PartitionId, moved: &[Moved]) {
        if moved.is_empty() {
            return;
        }
        let mut streams = self.lock();
        for change in moved {
            let Some(key) = streams.by_ordinal.get(&(partition, change.stream)) else { continue };
            let Some(followed) = streams.by_name.get(key) else { continue };
            followed.state.send_modify(|state| {
                state.head = state.head.max(change.head);
                state.low = state.low.max(change.low);
                state.closed |= change.closed;
                state.deleted |= change.deleted;
            });
            if change.deleted {
                let key = key.clone();
                streams.by_name.remove(&key);
                streams.by_ordinal.remove(&(partition, change.stream));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn forget_unread(&mut self) {
        // One owner is this map; another is a reader.
        self.by_name.retain(|_, followed| Arc::strong_count(followed) > 1);
        let kept = &self.by_name;
        self.by_ordinal.retain(|_, key| kept.contains_key(key));
    }
}

/// A stream or a run's stream as a partition's state has it.
pub(crate) fn view(partition: &Partition, key: &StreamKey, history: History) -> Option<(StreamOrdinal, StreamInfo)> {
    if let Some(id) = key.name.run() {
        let run = partition.run(id).filter(|run| run.tenant == key.tenant)?;
        return Some((run.ordinal, translate::stream_info_of_run(run, history)));
    }
    let stream = partition.stream(key)?;
    Some((stream.ordinal, translate::stream_info_of_stream(stream, history)))
}
