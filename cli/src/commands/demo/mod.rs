//! `headwater demo`: the whole promise in one sitting. A node is killed with SIGKILL while answers stream from it, and
//! nobody who follows them notices more than a pause.

mod crew;
mod keep;
mod ledger;
mod node_child;
mod report;
mod screen;
mod tickets;
mod tokens;
mod watcher;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use headwater_client::{Client, RunStarted, RunningWorker, StartRun};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) use self::keep::{DemoWorker, work};
use self::ledger::Ledger;
use self::node_child::{NodeChild, Place};
use self::report::{Report, grouped};
use self::screen::Screen;
use self::tokens::Answer;
use self::watcher::{Seen, Watched};
use crate::exit::{Exit, Failure};
use crate::render::Style;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the node and its workers up afterwards, with five things to try
    #[arg(long)]
    keep: bool,
    /// How many tickets come in
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=64))]
    runs: u16,
}

/// The workflow that it runs, part of the program so that it runs from anywhere.
const WORKFLOW: &str = include_str!("../../../../fixtures/workflows/support-triage.yaml");

/// The node is killed when so much of the answer on the screen has arrived.
const KILL_AT: f64 = 0.4;

/// How long the node stays dead: long enough for workers and clients to notice.
const DEAD: Duration = Duration::from_millis(300);

/// The whole story takes a quarter of this.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) async fn run(Demo { keep, runs }: Demo, json: bool) -> Result<Exit, Failure> {
    let directory = tempfile::Builder::new().prefix("headwater-demo-").tempdir();
    let directory = directory.map_err(|error| Failure::local("make a temporary directory", error))?;
    let stage = Stage::set(directory.path(), json)?;
    let (report, node, runs) = stage.play(usize::from(runs)).await?;
    report.print(json)?;
    if keep {
        keep::leave(node, &stage.place, &directory.keep(), &runs, json)?;
    }
    if report.holds() {
        stage.screen.done("every claim above was checked, and is true");
        Ok(Exit::Done)
    } else {
        Err(Failure::new(Exit::Failed, "the demo does not hold: see the lines marked ✗"))
    }
}

/// All that takes part.
struct Stage {
    place: Place,
    client: Client,
    screen: Arc<Screen>,
    answers: Arc<Vec<Answer>>,
    ledger: Arc<Ledger>,
    seen: Arc<Seen>,
}

impl Stage {
    fn set(directory: &Path, quiet: bool) -> Result<Self, Failure> {
        let place = Place::find(directory)?;
        let client = Client::new(&place.server())?.named("headwater-demo");
        let answers = Arc::new(tokens::answers()?);
        let screen = Arc::new(Screen::new(quiet));
        Ok(Self { place, client, screen, answers, ledger: Arc::default(), seen: Arc::default() })
    }

    async fn play(&self, count: usize) -> Result<(Report, NodeChild, Vec<RunStarted>), Failure> {
        let first = self.place.start().await?;
        let first_ready_ms = first.ready_after.as_millis();
        self.screen
            .done(&format!("a node on an empty directory, ready in {first_ready_ms} ms at {}", self.place.server()));
        let registered = self.client.register_workflow(WORKFLOW).await?;
        let workflow = registered.workflow;
        self.screen.done(&format!("workflow {}@{} registered", workflow.name, workflow.version));
        let crew = crew::hire(&self.client, self.answers.clone(), self.ledger.clone()).await?;
        self.screen.done("workers for both its queues, in a process that will live on");
        let runs = self.start(count).await?;
        let watchers = self.watch(&runs);
        self.screen.done(&format!(
            "{count} tickets came in; answers are real model streams ({} recordings); the first one:",
            self.answers.len()
        ));
        self.reach_mid_stream().await?;
        let in_flight = self.drafts_open(&runs).await;
        let node = self.kill_and_restart(first, in_flight).await?;
        let watched = self.finish(watchers).await;
        self.screen.done(&format!("all {count} runs have ended"));
        let report = self.judge(first_ready_ms, in_flight, &node, &runs, watched).await;
        self.dismiss(crew).await;
        Ok((report, node, runs))
    }

    async fn start(&self, count: usize) -> Result<Vec<RunStarted>, Failure> {
        let mut runs = Vec::new();
        for n in 0..count {
            let start = StartRun::new("support-triage").input(tickets::ticket(n)).tag("demo", "true");
            runs.push(self.client.start_run(&start).await?);
        }
        Ok(runs)
    }

    /// One client for each run; the first one's tokens are shown.
    fn watch(&self, runs: &[RunStarted]) -> Vec<JoinHandle<Watched>> {
        let watch = |(n, run): (usize, &RunStarted)| {
            let screen = (n == 0).then(|| self.screen.clone());
            tokio::spawn(watcher::watch(self.client.clone(), *run, self.seen.clone(), screen))
        };
        runs.iter().enumerate().map(watch).collect()
    }

    async fn reach_mid_stream(&self) -> Result<(), Failure> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let tokens = (self.answers[0].pieces.len() as f64 * KILL_AT) as u64;
        let reached = async {
            while self.seen.shown.load(Ordering::Relaxed) < tokens {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached)
            .await
            .map_err(|_| Failure::new(Exit::Failed, "no tokens came: the node or its workers are stuck"))
    }

    /// Runs that have begun to stream and have not ended.
    async fn drafts_open(&self, runs: &[RunStarted]) -> usize {
        let mut open = 0;
        for run in runs {
            let streaming = !self.ledger.produced(&run.run.to_string()).is_empty();
            let closed = self.client.run(run.run).await.is_ok_and(|view| view.is_closed());
            open += usize::from(streaming && !closed);
        }
        open
    }

    async fn kill_and_restart(&self, first: NodeChild, in_flight: usize) -> Result<NodeChild, Failure> {
        let (pid, events) = (first.pid(), self.seen.events.load(Ordering::Relaxed));
        first.kill().await?;
        let sentence =
            format!("kill -9 {pid}: after {} events, with {in_flight} answers half written", grouped(events));
        self.screen.step("✗", Style::Red, &sentence);
        sleep(DEAD).await;
        let second = self.place.start().await?;
        let ready = second.ready_after.as_millis();
        self.screen.done(&format!("started again on the same directory, ready in {ready} ms; the same clients go on:"));
        Ok(second)
    }

    async fn finish(&self, watchers: Vec<JoinHandle<Watched>>) -> Vec<Watched> {
        let mut watched = Vec::new();
        for mut watcher in watchers {
            watched.push(match timeout(PATIENCE, &mut watcher).await {
                Ok(Ok(one)) => one,
                Ok(Err(error)) => Watched::given_up(error.to_string()),
                Err(_) => {
                    watcher.abort();
                    Watched::given_up("its run did not end".to_owned())
                }
            });
        }
        watched
    }

    async fn judge(
        &self,
        first_ready_ms: u128,
        in_flight_at_kill: usize,
        node: &NodeChild,
        runs: &[RunStarted],
        watched: Vec<Watched>,
    ) -> Report {
        let bodies = self.ledger.bodies();
        let mut report = Report {
            runs: runs.len(),
            in_flight_at_kill,
            steps: bodies.steps,
            repeated_bodies: bodies.repeated,
            first_ready_ms,
            ready_ms: node.ready_after.as_millis(),
            ..Report::default()
        };
        let first = watched.iter().filter_map(|one| one.first_resumed).min();
        report.first_resumed_ms = first.map(|at| at.saturating_duration_since(node.started).as_millis());
        for (run, one) in runs.iter().zip(watched) {
            self.add(&mut report, *run, one).await;
        }
        report
    }

    /// Adds what the client of one run saw, held against what its workers produced and what the run came to.
    async fn add(&self, report: &mut Report, run: RunStarted, one: Watched) {
        report.events_before += one.before;
        report.events_after += one.after;
        report.resumed_clients += usize::from(one.reconnects > 0);
        report.gaps += one.missing;
        report.duplicates += one.repeated;
        report.broken_chains += one.broken_chains;
        report.repeats_dropped += one.repeats_dropped;
        let produced = self.ledger.produced(&run.run.to_string());
        let received = one.texts();
        report.text_bytes += received.values().map(String::len).sum::<usize>();
        report.trouble.extend(one.error.map(|error| format!("the client of run {}: {error}", run.run)));
        match self.client.run(run.run).await {
            Ok(view) => {
                report.completed += usize::from(view.status == "completed");
                let answer = view.output.as_ref().and_then(|output| output["answer"].as_str());
                let output_is_text = answer.is_some_and(|answer| produced.values().any(|text| text == answer));
                report.texts_equal += usize::from(produced == received && output_is_text);
            }
            Err(error) => report.trouble.push(format!("run {}: {error}", run.run)),
        }
    }

    async fn dismiss(&self, crew: RunningWorker) {
        // All runs have ended, so this only waits for the last words.
        let _ = timeout(Duration::from_secs(2), crew.stop()).await;
    }
}
