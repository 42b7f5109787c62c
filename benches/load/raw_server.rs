//! The least that any server could do, for comparison in the same run: the same sockets and messages into one plain
//! file with group commit, or prepared bytes sent to whoever connects. It parses frame heads and nothing else.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::on_one_thread;
use super::socket::{content, frame};

const TEXT: u8 = 0x81;
/// As many as the node lets wait.
const BACKLOG: u32 = 4_096;

/// What it does with a connection that has said hello.
#[derive(Clone, Debug)]
enum Duty {
    /// Writes each message to the file and answers once it is synced.
    Keep(Arc<Keeper>),
    /// Sends this.
    Send(Arc<[u8]>),
}

/// Where messages wait for the next write and sync.
#[derive(Debug, Default)]
struct Keeper {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    kept: Vec<oneshot::Sender<()>>,
}

impl Keeper {
    fn keep(&self, bytes: &[u8]) -> oneshot::Receiver<()> {
        let (kept, wait) = oneshot::channel();
        let mut waiting = self.waiting.lock().expect("not poisoned");
        waiting.bytes.extend_from_slice(bytes);
        waiting.kept.push(kept);
        drop(waiting);
        self.filled.notify_one();
        wait
    }

    fn run(&self, mut file: File) {
        loop {
            let mut waiting = self.waiting.lock().expect("not poisoned");
            while waiting.kept.is_empty() {
                waiting = self.filled.wait(waiting).expect("not poisoned");
            }
            let taken = std::mem::take(&mut *waiting);
            drop(waiting);
            file.write_all(&taken.bytes).expect("writable");
            file.sync_data().expect("it syncs");
            // A connection that is gone needs no answer.
            for kept in taken.kept {
                let _ = kept.send(());
            }
        }
    }
}

/// Starts one that keeps messages in this file. Its threads end with the process.
pub(crate) fn keeping(path: &Path) -> SocketAddr {
    let file = File::create(path).expect("writable");
    let keeper = Arc::new(Keeper::default());
    let of_thread = Arc::clone(&keeper);
    thread::spawn(move || of_thread.run(file));
    start(Duty::Keep(keeper))
}

/// Starts one that sends prepared bytes.
pub(crate) fn sending(bytes: Vec<u8>) -> SocketAddr {
    start(Duty::Send(bytes.into()))
}

fn start(duty: Duty) -> SocketAddr {
    let (bound, address) = mpsc::channel();
    thread::spawn(move || {
        on_one_thread(async move {
            let socket = TcpSocket::new_v4().expect("there are free sockets");
            socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("there are free ports");
            let listener = socket.listen(BACKLOG).expect("it is bound");
            bound.send(listener.local_addr().expect("it is bound")).expect("the bench waits for it");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, duty.clone()));
            }
        });
    });
    address.recv().expect("the server's thread binds first")
}

/// Serves one connection until the peer ends it.
async fn serve(mut stream: TcpStream, duty: Duty) {
    let _ = stream.set_nodelay(true);
    let mut inbound = Vec::with_capacity(64 * 1024);
    while !inbound.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut inbound).await, Ok(1..)) {
            return;
        }
    }
    inbound.clear();
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut answer = upgrade.as_bytes().to_vec();
    frame(&mut answer, TEXT, false, br#"{"op":"welcome"}"#);
    if let Duty::Send(bytes) = &duty {
        answer.extend_from_slice(bytes);
    }
    if stream.write_all(&answer).await.is_err() {
        return;
    }
    // The first message is hello, which was answered above.
    let (mut next, mut greeted) = (0_u64, false);
    while matches!(stream.read_buf(&mut inbound).await, Ok(1..)) {
        let (mut until, mut messages) = (0, 0);
        while let Some((_, content)) = content(&inbound[until..]) {
            until += content.end;
            messages += 1;
        }
        let Duty::Keep(keeper) = &duty else { continue };
        let kept = keeper.keep(&inbound[..until]).await;
        inbound.drain(..until);
        answer.clear();
        let first = if greeted { 0 } else { messages.min(1) };
        greeted |= messages > 0;
        for _ in first..messages {
            frame(&mut answer, TEXT, false, format!(r#"{{"op":"done","n":{next}}}"#).as_bytes());
            next += 1;
        }
        if kept.is_err() || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
