//! Cancelling reaches the body that runs, also when the node was killed in between; a reader that leaves reaches nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use headwater_client::{Client, RunId, RunningWorker, StartRun, Step, StreamStart, Unwanted};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{Home, ended, insist, soon};

const DEFINITION: &str = r"
document: { dsl: '1.0.3', namespace: default, name: patience, version: '1.0.0' }
do:
  - hold:
      call: worker
      with: { task: hold, queue: patience }
";

/// A worker whose body ends when it is told to, and how often it was.
#[derive(Clone, Default)]
struct Body {
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
    cancelled: Arc<AtomicU32>,
}

impl Body {
    async fn hire(&self, client: &Client) -> RunningWorker {
        let body = self.clone();
        let worker = client.worker().queue("patience", 1).task("hold", move |step: Step| {
            let body = body.clone();
            async move {
                body.begun.notify_one();
                tokio::select! {
                    () = body.go_on.notified() => Ok(json!("done")),
                    () = step.chunks.unwanted() => {
                        body.cancelled.fetch_add(1, Ordering::Relaxed);
                        Err::<Value, _>(Unwanted.into())
                    }
                }
            }
        });
        worker.start().await.expect("a worker")
    }
}

async fn start(client: &Client) -> RunId {
    client.register_workflow(DEFINITION).await.expect("registered");
    client.start_run(&StartRun::new("patience").input(json!({}))).await.expect("started").run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_run_reaches_its_body() {
    let home = Home::new();
    let node = home.start().await;
    let (client, body) = (home.client(), Body::default());
    let worker = body.hire(&client).await;
    let run = start(&client).await;
    soon("the body to begin", body.begun.notified()).await;
    client.cancel_run(run, "enough").await.expect("asked");
    assert_eq!(ended(&client, run).await.status, "cancelled");
    soon("the worker to stop", worker.stop()).await.expect("stopped");
    assert_eq!(body.cancelled.load(Ordering::Relaxed), 1);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_was_asked_for_before_a_kill_reaches_the_body_after_it() {
    let home = Home::new();
    let node = home.start().await;
    let (client, body) = (home.client(), Body::default());
    let worker = body.hire(&client).await;
    let run = start(&client).await;
    soon("the body to begin", body.begun.notified()).await;
    node.kill().await;
    let node = home.start().await;
    // The body is still held, by the same worker; nobody began it again.
    insist("cancelling", || client.cancel_run(run, "enough")).await;
    node.kill().await;
    let node = home.start().await;
    assert_eq!(ended(&client, run).await.status, "cancelled");
    soon("the worker to stop", worker.stop()).await.expect("stopped");
    assert_eq!(body.cancelled.load(Ordering::Relaxed), 1);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_cancels_nothing() {
    let home = Home::new();
    let node = home.start().await;
    let (client, body) = (home.client(), Body::default());
    let worker = body.hire(&client).await;
    let run = start(&client).await;
    soon("the body to begin", body.begun.notified()).await;
    let stream = headwater_client::StreamName::of_run(run);
    let mut events = client.subscribe(stream, StreamStart::Begin).await.expect("subscribed");
    soon("the first word", events.next()).await.expect("not over").expect("no error");
    drop(events);
    body.go_on.notify_one();
    let view = ended(&client, run).await;
    assert_eq!((view.status.as_str(), view.output), ("completed", Some(json!("done"))));
    soon("the worker to stop", worker.stop()).await.expect("stopped");
    assert_eq!(body.cancelled.load(Ordering::Relaxed), 0);
    assert!(node.stop().await.success(), "{}", home.log());
}
