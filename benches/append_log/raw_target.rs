//! The limit: one plain file. A thread writes all that waits in one call, syncs it, and answers the same producers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use crate::target::{Target, Told, payload};

/// What the file is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It grows, as any file does to which one appends: each sync writes its new length too.
    Growing,
    /// It was written once before, and is written over from the front again and again: a sync writes nothing but the
    /// data. What a log comes to that uses its files again.
    WrittenOver,
}

/// Of a file that is written over.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

pub(crate) struct RawTarget {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    syncs: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    told: Vec<Told>,
    closed: bool,
}

impl RawTarget {
    pub(crate) fn new(path: &Path, bytes: usize, kind: Kind) -> Self {
        let file = File::create(path).expect("writable");
        if kind == Kind::WrittenOver {
            let zeros = vec![0; 1024 * 1024];
            (0..FILE_BYTES).step_by(zeros.len()).for_each(|at| file.write_all_at(&zeros, at).expect("writable"));
            file.sync_all().expect("it syncs");
        }
        let shared = Arc::new(Shared::default());
        let (of_thread, payload) = (Arc::clone(&shared), payload(bytes));
        let thread = thread::spawn(move || of_thread.run(&file, &payload, kind));
        Self { shared, thread: Mutex::new(Some(thread)) }
    }
}

impl Shared {
    fn run(&self, file: &File, payload: &[u8], kind: Kind) {
        let (mut buffer, mut at) = (Vec::new(), 0);
        loop {
            let mut waiting = self.waiting.lock().expect("not poisoned");
            while waiting.told.is_empty() && !waiting.closed {
                waiting = self.filled.wait(waiting).expect("not poisoned");
            }
            let taken = std::mem::take(&mut waiting.told);
            drop(waiting);
            if taken.is_empty() {
                return;
            }
            buffer.clear();
            for _ in &taken {
                buffer.extend_from_slice(payload);
            }
            if kind == Kind::WrittenOver && at + buffer.len() as u64 > FILE_BYTES {
                at = 0;
            }
            file.write_all_at(&buffer, at).expect("writable");
            at += buffer.len() as u64;
            file.sync_data().expect("it syncs");
            self.syncs.fetch_add(1, Ordering::Relaxed);
            for told in taken {
                told.send(()).expect("the producer waits");
            }
        }
    }
}

impl Target for RawTarget {
    fn append(&self, _producer: usize, _n: usize, told: Told) {
        self.shared.waiting.lock().expect("not poisoned").told.push(told);
        self.shared.filled.notify_one();
    }

    fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed) as u64
    }

    fn close(&self) {
        self.shared.waiting.lock().expect("not poisoned").closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.lock().expect("not poisoned").take() {
            thread.join().expect("it ends");
        }
    }
}
