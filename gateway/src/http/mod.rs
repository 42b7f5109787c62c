//! The HTTP side: which path leads where, and what all answers have in common.

mod answers;
mod body;
mod cross_origin;
mod delivery;
mod health;
mod operator;
mod path;
mod pins;
mod runs;
mod socket;
mod streams;
mod workers;
mod workflows;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use protocol::version::SOCKET_PATH;
use types::Code;

use crate::backend::Backend;
use crate::budget::Budget;
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::inbound::{self, Connection};
use crate::metrics::Registry;
use crate::operator::Operator;

type Shared<B> = State<Arc<Gateway<B>>>;

/// What the acknowledgement that an answer gives promises.
const DURABILITY: HeaderName = HeaderName::from_static("headwater-durability");

/// What clients reach.
pub(crate) fn router<B: Backend>(gateway: &Arc<Gateway<B>>) -> Router {
    let parameterless = Router::new()
        .route("/v1/workflows", get(workflows::list::<B>).post(workflows::register::<B>))
        .route("/v1/workflows/{namespace}/{name}", get(workflows::latest::<B>))
        .route("/v1/workflows/{namespace}/{name}/{version}", get(workflows::version::<B>))
        .route("/v1/pins/{reader}/{*stream}", put(pins::pin::<B>).delete(pins::unpin::<B>))
        .route("/v1/runs/{id}", get(runs::get::<B>))
        .route("/v1/runs/{id}/cancel", post(runs::cancel::<B>))
        .route("/v1/runs/{id}/signals/{name}", post(runs::signal::<B>))
        .route("/v1/workers/poll", post(workers::poll::<B>))
        .route("/v1/workers/heartbeat", post(workers::heartbeat::<B>))
        .route("/v1/workers/chunk", post(workers::chunk::<B>))
        .route("/v1/workers/complete", post(workers::complete::<B>))
        .route("/v1/workers/fail", post(workers::fail::<B>))
        .route_layer(middleware::from_fn(refuse_parameters));
    let router = Router::new()
        .route(SOCKET_PATH, get(socket::open::<B>))
        .route("/v1/streams/{*name}", streams::methods::<B>())
        // Where the protocol's own tools and test suite look for it.
        .route("/v1/stream/{*name}", streams::methods::<B>())
        .route("/v1/runs", get(runs::list::<B>).post(runs::start::<B>))
        .merge(parameterless)
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), count_answers::<B>));
    finish(health::add(router), gateway)
}

/// What a request asks for and does not get is a mistake that its author wants to know of. Streams are another matter:
/// their protocol says that what is not understood is passed over.
async fn refuse_parameters(request: Request, next: Next) -> Response {
    match request.uri().query() {
        None | Some("") => next.run(request).await,
        Some(query) => {
            let detail = format!("{} takes no parameters: leave out {query:?}", request.uri().path());
            Problem::bad_request(detail).into_response()
        }
    }
}

/// What operators ask is not counted with it: they want to know why clients are refused.
async fn count_answers<B: Backend>(State(gateway): Shared<B>, request: Request, next: Next) -> Response {
    let reads = is_read(&request);
    let part = request.extensions().get::<Arc<Budget>>().map(Arc::clone);
    answers::count(next.run(request).await, reads, &part.unwrap_or_else(|| Arc::clone(&gateway.outbound)))
}

fn is_read(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What operators reach.
pub(crate) fn admin_router<B: Backend + Operator>(gateway: &Arc<Gateway<B>>, registry: Registry) -> Router {
    let metrics = move || std::future::ready(health::metrics(&registry));
    finish(operator::add(health::add(Router::new()).route("/metrics", get(metrics))), gateway)
}

fn finish<B: Backend>(router: Router<Arc<Gateway<B>>>, gateway: &Arc<Gateway<B>>) -> Router {
    router
        .fallback(|request: Request| async move {
            Problem::new(Code::NotFound, format!("nothing is at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let (method, path) = (request.method(), request.uri().path());
            Problem::new(Code::BadRequest, format!("{path} does not take {method}"))
                .status(axum::http::StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), cross_origin::admit::<B>))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), account::<B>))
        .with_state(Arc::clone(gateway))
}

/// Counts a request, and adds what browsers need to treat every answer as data.
async fn account<B: Backend>(State(gateway): Shared<B>, request: Request, next: Next) -> Response {
    let reads = is_read(&request);
    let connection = request.extensions().get::<Connection>().cloned();
    let connection = connection.unwrap_or_else(|| gateway.inbound.connection());
    let mut response = inbound::during(&connection, next.run(request)).await;
    gateway.metrics.http_requests.with_label_values(&[response.status().as_str()]).inc();
    if let Some(code) = response.extensions().get::<Code>() {
        gateway.metrics.refused(*code);
    }
    let acknowledges = !reads && response.status().is_success();
    let headers = response.headers_mut();
    if acknowledges {
        let level = gateway.durability.to_string();
        headers.insert(DURABILITY, HeaderValue::from_str(&level).expect("a level is ASCII"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
