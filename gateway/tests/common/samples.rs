//! Names, tasks and ids as tests need them.

use protocol::Task;
use types::{RoutingHash, RunId, StreamName};

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("valid")
}

pub(crate) fn task(token: &str) -> Task {
    Task {
        token: token.into(),
        run: run_id(1).to_string(),
        path: "/do/0/draft@1".into(),
        step: 1,
        attempt: 1,
        queue: "default".into(),
        task: "draft".into(),
        input: serde_json::value::RawValue::from_string("{}".into()).expect("JSON"),
        idempotency_key: "k".into(),
        stream: true,
        heartbeat_ms: None,
        deadline_ms: None,
    }
}

pub(crate) fn run_id(number: u128) -> RunId {
    RunId::new(RoutingHash::from_bits(0xab), number)
}
