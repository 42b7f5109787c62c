//! Reads sealed segments over and over, slowly, so that damage is met before somebody needs what is damaged. A segment
//! in which something is damaged is quarantined, loudly; the rest is served. One that takes records is looked through when a
//! read met damage, and sealed before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use storage::{Checked, DropError, Quarantined, SegmentId};
use types::PartitionId;

use crate::partition::Host;

/// How much, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScrubSettings {
    /// Read from the disk; 0: only what is suspected.
    pub(crate) bytes_per_second: u64,
    /// From the end of one round over all segments to the next.
    pub(crate) every: Duration,
}

/// What the thread is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A read met damage in this partition: look there now.
    Suspect(PartitionId),
    Stop,
}

/// The thread that does it.
#[derive(Debug)]
pub(crate) struct Scrub {
    words: Sender<Word>,
    thread: JoinHandle<()>,
}

impl Scrub {
    pub(crate) fn start(host: Arc<Host>, settings: ScrubSettings) -> std::io::Result<Self> {
        let (words, heard) = channel();
        host.suspicions.set(words.clone()).expect("a node starts one scrub");
        let round = Rounds { host, settings, heard, suspected: BTreeSet::new() };
        let thread = std::thread::Builder::new().name("scrub".to_owned()).spawn(move || round.run())?;
        Ok(Self { words, thread })
    }

    /// Ends it after the block it is reading; waits for that.
    pub(crate) fn stop(self) {
        // It may have ended by itself, when a belief was broken; that was said then.
        let _ = self.words.send(Word::Stop);
        let _ = self.thread.join();
    }
}

struct Rounds {
    host: Arc<Host>,
    settings: ScrubSettings,
    heard: Receiver<Word>,
    suspected: BTreeSet<PartitionId>,
}

impl Rounds {
    fn run(mut self) {
        let off = self.settings.bytes_per_second == 0;
        let mut next = Instant::now();
        loop {
            while let Some(partition) = self.suspected.pop_first() {
                self.seal_damaged(partition);
                if !self.partition(partition, u64::MAX) {
                    return;
                }
            }
            let patience = if off { Duration::MAX } else { next.saturating_duration_since(Instant::now()) };
            match self.heard.recv_timeout(patience) {
                Ok(Word::Suspect(partition)) => {
                    self.suspected.insert(partition);
                }
                Ok(Word::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    for partition in self.host.partitions().partitions() {
                        if !self.partition(partition, self.settings.bytes_per_second) {
                            return;
                        }
                    }
                    self.host.metrics.scrub_rounds.inc();
                    next = Instant::now() + self.settings.every;
                }
            }
        }
    }

    /// Damage in a segment that takes records would end its readers until it is sealed by itself.
    fn seal_damaged(&self, partition: PartitionId) {
        if let Err(error) = self.host.log.seal_damaged(partition) {
            tracing::error!(%partition, %error, "segments that take records could not be looked through");
        }
    }

    /// All sealed segments of one partition. `false`: stop.
    fn partition(&mut self, partition: PartitionId, bytes_per_second: u64) -> bool {
        let segments = match self.host.log.segments(partition) {
            Ok(segments) => segments,
            Err(error) => {
                tracing::error!(%partition, %error, "what is known of the segments could not be read");
                return true;
            }
        };
        let sound = segments.into_iter().filter(|segment| segment.sealed && !segment.quarantined);
        sound.map(|segment| segment.id).all(|segment| self.segment(segment, bytes_per_second))
    }

    fn segment(&mut self, segment: SegmentId, bytes_per_second: u64) -> bool {
        let mut goes_on = true;
        let (host, heard, suspected) = (&self.host, &self.heard, &mut self.suspected);
        let mut pace = |bytes: usize| {
            host.metrics.scrubbed_bytes.inc_by(bytes as u64);
            goes_on = rest(heard, suspected, pause(bytes, bytes_per_second));
            goes_on
        };
        match host.log.check_segment(segment, &mut pace) {
            Ok(Checked::Sound { .. } | Checked::Stopped) => {}
            Ok(Checked::Damaged { position, what }) => quarantine(host, &Quarantined { segment, position, what }),
            Ok(Checked::IndexDamaged { what }) => rebuild_index(host, segment, &what),
            Err(error) => tracing::error!(?segment, %error, "a segment could not be read through"),
        }
        goes_on
    }
}

/// How long so many bytes take at this rate.
fn pause(bytes: usize, bytes_per_second: u64) -> Duration {
    Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / bytes_per_second.max(1))
}

/// Waits and listens. `false`: stop.
fn rest(heard: &Receiver<Word>, suspected: &mut BTreeSet<PartitionId>, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    loop {
        match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Word::Suspect(partition)) => {
                suspected.insert(partition);
            }
            Ok(Word::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

/// Nothing is lost: the index is made anew from the blocks, which are intact.
fn rebuild_index(host: &Host, segment: SegmentId, what: &str) {
    let SegmentId { partition, class, number } = segment;
    match host.log.rebuild_index(segment) {
        Ok(true) => {
            tracing::warn!(%partition, ?class, segment = number, what,
                "the stream index of a segment was damaged, and is made anew from its blocks: nothing is lost");
        }
        Ok(false) => {
            tracing::error!(%partition, ?class, segment = number, what,
                "the stream index of a segment is damaged and its blocks are intact: the next start makes it anew, restart the node");
        }
        Err(DropError::Refused { .. }) => tracing::info!("it was dropped meanwhile"),
        Err(error @ (DropError::Read(_) | DropError::Failed { .. } | DropError::ReadOnly)) => {
            tracing::error!(%partition, ?class, segment = number, what, %error,
                "the stream index of a segment is damaged, and could not be made anew");
        }
    }
}

fn quarantine(host: &Host, found: &Quarantined) {
    let Quarantined { segment: SegmentId { partition, class, number }, position, what } = found;
    tracing::error!(
        %partition, ?class, segment = number, %position, what,
        "a segment is damaged and is quarantined: its records are not served, the rest is; restore a backup"
    );
    match host.log.quarantine(found) {
        Ok(()) => {}
        // Retention was faster.
        Err(DropError::Refused { .. }) => tracing::info!("it was dropped meanwhile"),
        Err(error @ (DropError::Read(_) | DropError::Failed { .. } | DropError::ReadOnly)) => {
            tracing::error!(%error, "it could not be marked");
        }
    }
}
