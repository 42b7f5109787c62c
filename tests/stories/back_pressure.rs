//! More runs than workers can take: what is over the limit is refused with a pause, what was taken is done.

use headwater_client::{Client, Code, Error, Failed, RunId, StartRun, Step};
use serde_json::{Value, json};

use crate::support::{Home, ended};

const DEPTH: usize = 10;

const DEFINITION: &str = r"
document: { dsl: '1.0.3', namespace: default, name: errand, version: '1.0.0' }
do:
  - go:
      call: worker
      with: { task: go, queue: errands, input: { number: '${ .number }' } }
";

/// Starts runs until one is refused.
async fn fill(client: &Client) -> (Vec<RunId>, Error) {
    let mut runs = Vec::new();
    loop {
        let start = StartRun::new("errand").input(json!({ "number": runs.len() }));
        match client.start_run(&start).await {
            Ok(started) => runs.push(started.run),
            Err(error) => return (runs, error),
        }
        assert!(runs.len() <= 2 * DEPTH, "nothing is ever refused");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_with_a_pause_and_loses_nothing_that_it_took() {
    let home = Home::new()
        .set("node.partitions", "1")
        .set("event_plane.max_queue_depth_per_partition", &DEPTH.to_string())
        .set("event_plane.backpressure.enabled", "false");
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");

    let (runs, refused) = fill(&client).await;
    let Error::Problem(problem) = refused else { panic!("{refused:?}") };
    assert_eq!((problem.status, problem.code), (429, Some(Code::QueueFull)), "{problem:?}");
    assert!(problem.retry_after_ms > Some(0), "{problem:?}");
    assert!(problem.detail.contains("workers"), "{problem:?}");
    assert_eq!(runs.len(), DEPTH);

    let work = |step: Step| async move { step.input::<Value>().map(|input| input["number"].clone()) };
    let worker = client.worker().queue("errands", 4).task("go", work).start().await.expect("a worker");
    for (number, run) in runs.iter().enumerate() {
        assert_eq!(ended(&client, *run).await.output, Some(json!(number)));
    }
    let again = client.start_run(&StartRun::new("errand").input(json!({ "number": 99 }))).await.expect("there is room");
    assert_eq!(ended(&client, again.run).await.output, Some(json!(99)));
    worker.stop().await.expect("stopped");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_always_fails_is_tried_as_often_as_it_may_and_then_fails_its_run() {
    let home = Home::new()
        .set("orchestration_plane.retry_policy.max_attempts", "3")
        .set("orchestration_plane.retry_policy.backoff_base_ms", "5");
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");
    let fail =
        |step: Step| async move { Err::<Value, _>(Failed::new(format!("attempt {}", step.attempt)).kind("busy")) };
    let worker = client.worker().queue("errands", 1).task("go", fail).start().await.expect("a worker");
    let started = client.start_run(&StartRun::new("errand").input(json!({ "number": 1 }))).await.expect("started");
    let view = ended(&client, started.run).await;
    assert_eq!(view.status, "failed");
    let error = view.error.expect("a failed run has an error");
    assert!(error.to_string().contains("attempt 3"), "{error}");
    assert_eq!(error["instance"], "/do/0/go", "{error}");
    assert_eq!(worker.stats().bodies, 3);
    worker.stop().await.expect("stopped");
    assert!(node.stop().await.success(), "{}", home.log());
}
