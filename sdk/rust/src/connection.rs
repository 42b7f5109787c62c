//! One WebSocket to a node: says hello, writes frames, tells frames from events, and notices when the other side is gone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use protocol::version::{SUBPROTOCOL_JSON, VERSION};
use protocol::{ClientFrame, Event, Hello, Limits, Ping, ServerFrame, Sub};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::limits::{CONNECT_MS, MESSAGE_BYTES, PONG_MS, WRITE_MS, WRITER_FRAMES};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An open connection that was welcomed.
#[derive(Debug)]
pub(crate) struct Connection {
    incoming: SplitStream<Socket>,
    outgoing: mpsc::Sender<String>,
    writer: JoinHandle<()>,
    limits: Limits,
    heartbeat: Duration,
    last_heard: Instant,
    pinged: bool,
    /// Messages that are events, after a `batch`.
    events_due: usize,
    /// How long the node asked to stay away, and why.
    goaway: Option<(Duration, String)>,
}

/// What the node said.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(ServerFrame),
    /// An event of the last `batch`, and how long its message was.
    Event(Event, usize),
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Lost {
    /// A fragment that fits "the connection was lost: …".
    pub(crate) reason: String,
    /// The node asked not to come back earlier.
    pub(crate) pause: Option<Duration>,
    /// Coming back would end the same way.
    pub(crate) for_good: bool,
}

impl Lost {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), pause: None, for_good: false }
    }
}

impl Connection {
    /// Connects and says hello with these subscriptions.
    pub(crate) async fn open(endpoint: &Endpoint, client: &str, subs: Vec<Sub>) -> Result<Self, Error> {
        let server = endpoint.as_str();
        let socket = timeout(CONNECT_MS, connect(endpoint))
            .await
            .map_err(|_| Error::unreachable(server, format!("no answer within {} s", CONNECT_MS.as_secs())))?
            .map_err(|error| explain(server, &error))?;
        let (sink, incoming) = socket.split();
        let (outgoing, frames) = mpsc::channel(WRITER_FRAMES);
        let mut connection = Self {
            incoming,
            outgoing,
            writer: tokio::spawn(write(sink, frames)),
            limits: Limits { message_bytes: 0, event_bytes: 0, subscriptions: 0, commands_in_flight: 0 },
            heartbeat: PONG_MS,
            last_heard: Instant::now(),
            pinged: false,
            events_due: 0,
            goaway: None,
        };
        connection.greet(server, client, subs).await?;
        Ok(connection)
    }

    async fn greet(&mut self, server: &str, client: &str, subs: Vec<Sub>) -> Result<(), Error> {
        let hello = Hello { v: VERSION, client: client.to_owned(), subs, traceparent: None };
        // The queue is empty and open, so this neither waits nor fails.
        self.outgoing.try_send(ClientFrame::Hello(hello).encode()).expect("a new queue takes the first frame");
        let answer = timeout(CONNECT_MS, self.next()).await;
        match answer {
            Ok(Ok(Incoming::Frame(ServerFrame::Welcome { heartbeat_ms, limits, .. }))) => {
                self.heartbeat = Duration::from_millis(heartbeat_ms.max(1));
                self.limits = limits;
                Ok(())
            }
            Ok(Ok(_)) => Err(Error::not_understood(server, "its first frame is no welcome")),
            Ok(Err(lost)) if lost.for_good => Err(Error::not_understood(server, lost.reason)),
            Ok(Err(lost)) => Err(Error::unreachable(server, lost.reason)),
            Err(_) => Err(Error::unreachable(server, "it took the connection but sent no welcome")),
        }
    }

    /// What this node takes; a message beyond it would end the connection.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The way out, apart, so that a caller may wait for both directions at once.
    pub(crate) fn outgoing(&self) -> Outgoing {
        Outgoing(self.outgoing.clone())
    }

    /// What the node says next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Lost> {
        loop {
            let patience = if self.pinged { self.heartbeat + PONG_MS } else { self.heartbeat };
            match timeout_at(self.last_heard + patience, self.incoming.next()).await {
                Ok(Some(Ok(message))) => {
                    self.last_heard = Instant::now();
                    self.pinged = false;
                    if let Some(incoming) = self.understand(message)? {
                        return Ok(incoming);
                    }
                }
                Ok(Some(Err(error))) => return Err(self.lost(why_broken(&error))),
                Ok(None) => return Err(self.lost("the node closed it".to_owned())),
                Err(_) if self.pinged => return Err(self.lost("the node does not answer any more".to_owned())),
                Err(_) => self.ping()?,
            }
        }
    }

    fn ping(&mut self) -> Result<(), Lost> {
        self.pinged = true;
        let ts = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let ping = ClientFrame::Ping(Ping { ts: u64::try_from(ts).unwrap_or(u64::MAX) });
        // A full queue is a sign of the same trouble; the pong's time runs either way.
        match self.outgoing.try_send(ping.encode()) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.lost("its writing side is closed".to_owned())),
        }
    }

    fn understand(&mut self, message: Message) -> Result<Option<Incoming>, Lost> {
        match message {
            Message::Text(text) if self.events_due > 0 => {
                self.events_due -= 1;
                let event = Event::decode(&text).map_err(|error| unread("an event", &error))?;
                Ok(Some(Incoming::Event(event, text.len())))
            }
            Message::Text(text) => {
                let frame = ServerFrame::decode(&text).map_err(|error| unread("a frame", &error))?;
                Ok(self.note(frame).map(Incoming::Frame))
            }
            Message::Close(frame) => Err(self.closed(frame)),
            Message::Binary(_) => Err(Lost { for_good: true, ..Lost::because("the node sent a binary message") }),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    /// Keeps what concerns the connection itself and passes on the rest.
    fn note(&mut self, frame: ServerFrame) -> Option<ServerFrame> {
        if let ServerFrame::Goaway { reconnect_in_ms, reason } = frame {
            self.goaway = Some((Duration::from_millis(reconnect_in_ms), reason));
            return None;
        }
        if let ServerFrame::Batch { n, .. } = &frame {
            self.events_due = *n;
        }
        (!matches!(frame, ServerFrame::Pong { .. })).then_some(frame)
    }

    fn closed(&self, frame: Option<CloseFrame>) -> Lost {
        let Some(CloseFrame { code, reason }) = frame else { return self.lost("the node closed it".to_owned()) };
        let code = u16::from(code);
        let lost = self.lost(format!("the node closed it with {code}: {reason}"));
        Lost { for_good: is_final(code), ..lost }
    }

    fn lost(&self, reason: String) -> Lost {
        match &self.goaway {
            Some((pause, why)) => Lost { pause: Some(*pause), ..Lost::because(why.clone()) },
            None => Lost::because(reason),
        }
    }
}

/// Where frames go out.
#[derive(Debug)]
pub(crate) struct Outgoing(mpsc::Sender<String>);

impl Outgoing {
    /// A place for one frame, as soon as the writer has room. Dropping the future gives up nothing.
    pub(crate) async fn reserve(&self) -> Result<mpsc::Permit<'_, String>, Lost> {
        self.0.reserve().await.map_err(|_| Lost::because("its writing side is closed"))
    }
}

/// Ends the writer with the connection, so that the node sees at once that this client is gone.
impl Drop for Connection {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Close codes after which the same client would be closed again: it broke the protocol, or may not do this.
fn is_final(code: u16) -> bool {
    matches!(code, 1002 | 1003 | 1007 | 1009 | 4400 | 4401 | 4403 | 4409)
}

fn unread(what: &str, error: &protocol::FrameError) -> Lost {
    Lost { for_good: true, ..Lost::because(format!("the node sent {what} that cannot be read: {error}")) }
}

/// A process that was killed and a cable that was pulled look the same from here.
fn why_broken(error: &tungstenite::Error) -> String {
    let gone = matches!(
        error,
        tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Io(_)
            | tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
    );
    if gone { "the node went away".to_owned() } else { error.to_string() }
}

async fn connect(endpoint: &Endpoint) -> Result<Socket, tungstenite::Error> {
    let mut request = endpoint.socket().into_client_request()?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL_JSON));
    let config = WebSocketConfig::default()
        .read_buffer_size(32 << 10)
        .write_buffer_size(32 << 10)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    let (socket, _) = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await?;
    Ok(socket)
}

fn explain(server: &str, error: &tungstenite::Error) -> Error {
    if let tungstenite::Error::Http(response) = error {
        let status = response.status();
        // Too many sockets, draining, a proxy whose node is away: all pass.
        let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        let said = format!("its socket answers {status}");
        return if passing { Error::unreachable(server, said) } else { Error::not_understood(server, said) };
    }
    Error::unreachable(server, error.to_string())
}

/// Writes what is queued, as much as there is with one flush, until the queue or the connection closes.
async fn write(mut sink: SplitSink<Socket, Message>, mut frames: mpsc::Receiver<String>) {
    let mut batch = Vec::with_capacity(WRITER_FRAMES);
    while frames.recv_many(&mut batch, WRITER_FRAMES).await > 0 {
        let written = timeout(WRITE_MS, async {
            for frame in batch.drain(..) {
                sink.feed(Message::Text(frame.into())).await?;
            }
            sink.flush().await
        });
        // The reading side finds out why; here there is nothing left to do.
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
    }
}
