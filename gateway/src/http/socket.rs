//! Where an HTTP request becomes a socket.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::UPGRADE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use protocol::version::SUBPROTOCOL_JSON;

use super::Shared;
use crate::backend::Backend;
use crate::error::Problem;
use crate::inbox::Inbox;
use crate::socket::{HandshakeError, handshake};
use crate::{auth, connection};

pub(super) async fn open<B: Backend>(State(gateway): Shared<B>, mut request: Request) -> Result<Response, Problem> {
    let principal = auth::principal();
    let (response, upgrade) = handshake(&mut request).map_err(refused)?;
    let inbox = Arc::new(Inbox::new(gateway.limits.feed_bytes));
    let pass = gateway.admit(Arc::clone(&inbox))?;
    tokio::spawn(connection::serve(Arc::clone(&gateway), pass, inbox, upgrade, principal));
    Ok(response)
}

fn refused(error: HandshakeError) -> Problem {
    match error {
        HandshakeError::NotAnUpgrade => Problem::bad_request("this is a WebSocket: ask for an upgrade (RFC 6455)")
            .status(StatusCode::UPGRADE_REQUIRED)
            .header(UPGRADE, HeaderValue::from_static("websocket")),
        HandshakeError::Subprotocol => {
            Problem::bad_request(format!("none of the subprotocols offered is known here: offer {SUBPROTOCOL_JSON}"))
        }
    }
}
