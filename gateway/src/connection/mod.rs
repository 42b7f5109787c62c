//! One socket, from upgrade to goodbye: a future that reads and a future that writes, both in one task, both for the
//! socket's whole life. Between them stands a state that is only touched while one of them is polled.

mod commands;
mod outcome;
mod state;
mod subscriptions;
mod worker;

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::upgrade::OnUpgrade;

use self::state::{Next, State};
use crate::admission::{Close, CloseCode};
use crate::auth::Principal;
use crate::backend::Backend;
use crate::frames;
use crate::gateway::{Gateway, Pass};
use crate::inbox::Inbox;
use crate::socket::{self, Broken, Incoming, Message, Outgoing, Stopped};

/// Serves one socket until it ends.
pub(crate) async fn serve<B: Backend>(
    gateway: Arc<Gateway<B>>,
    pass: Pass<B>,
    inbox: Arc<Inbox>,
    upgrade: OnUpgrade,
    principal: Principal,
) {
    let (limits, inbound, outbound) = (&gateway.limits, gateway.inbound.connection(), &gateway.outbound);
    let Some((mut incoming, mut outgoing)) = socket::open(upgrade, limits, &inbound, outbound).await else { return };
    let state = Mutex::new(State::new(Arc::clone(&gateway), principal.tenant, inbox));
    // The reader comes first, so that the writer sees in the same turn what was just read.
    let ended = tokio::select! {
        biased;
        () = read(&mut incoming, &state) => None,
        ended = write(&mut outgoing, &state) => ended,
        () = gateway.over() => None,
    };
    drop(state);
    drop(pass);
    match ended {
        None => {}
        // Nothing was said, so nothing needs to arrive.
        Some(CloseCode::Slow) => gateway.metrics.closed(CloseCode::Slow),
        Some(code) => {
            gateway.metrics.closed(code);
            outgoing.finish().await;
            incoming.exhaust(&gateway.limits).await;
        }
    }
}

fn lock<B: Backend>(state: &Mutex<State<B>>) -> MutexGuard<'_, State<B>> {
    state.lock().expect("a panic ends the whole connection")
}

/// Takes in one message after the other, as long as there is room for what follows from it. Returns when the peer is
/// gone; after a goodbye or a fault it leaves the rest to the writer.
async fn read<B: Backend>(incoming: &mut Incoming, state: &Mutex<State<B>>) {
    loop {
        match incoming.next().await {
            Ok(message) => take(&mut lock(state), message),
            Err(Broken::Refused(close)) => lock(state).close(close),
            Err(Broken::Gone) => return,
        }
        if lock(state).is_closing() {
            return pending().await;
        }
        poll_fn(|cx| lock(state).poll_room(cx)).await;
    }
}

fn take<B: Backend>(state: &mut State<B>, message: Message) {
    match message {
        Message::Text(text) => state.text(&text),
        Message::Binary(bytes) => {
            let reason = format!("{} bytes of binary: this subprotocol has text messages only", bytes.len());
            state.close(Close::new(CloseCode::BadMessage, reason));
        }
        Message::Ping(payload) => state.ping(&payload),
        Message::Pong => state.heard(),
        Message::Close(code) => state.close(Close::new(CloseCode::Echo(code), "")),
    }
}

/// Writes what there is to write, many frames at a time, until the connection is to be closed or cannot be written to.
async fn write<B: Backend>(outgoing: &mut Outgoing, state: &Mutex<State<B>>) -> Option<CloseCode> {
    loop {
        match poll_fn(|cx| lock(state).poll_next(cx)).await {
            Next::Write { bytes, behind } => match outgoing.write(&bytes, behind).await {
                Ok(()) => lock(state).written(bytes),
                Err(Stopped::Gone) => return None,
                // Nothing can be said to a peer that takes nothing.
                Err(Stopped::Stuck) => return Some(CloseCode::Slow),
            },
            Next::Close(close) => {
                let mut frame = Vec::new();
                frames::push_close(&mut frame, &close);
                return outgoing.write(&frame, 0).await.ok().map(|()| close.code);
            }
        }
    }
}
