//! A gateway over a node in memory, for test suites of others: `in_memory 127.0.0.1:7400`. Forgets everything.
#![expect(dead_code, reason = "the fake can do more than this needs")]

#[path = "../tests/common/fake.rs"]
mod fake;

use gateway::Options;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7400".to_owned());
    let listener = TcpListener::bind(&address).await.expect("the address is free");
    let forever = std::future::pending();
    gateway::serve(listener, fake::Fake::default(), Options::default(), forever).await.expect("serves");
}
