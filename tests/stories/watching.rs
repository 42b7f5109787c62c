//! A person watches a run from a shell, its steps are done by a shell, and the node is killed in the middle: the text on
//! the screen is whole.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::support::{Home, soon};

const DEFINITION: &str = r"
document: { dsl: '1.0.3', namespace: default, name: recite, version: '1.0.0' }
do:
  - count:
      call: worker
      with: { task: count, stream: true }
";

/// Counts to forty, a little later each time; tells how often it was begun.
const COUNT: &str = r#"
echo begun >> "$1"
n=0
while [ $n -lt 40 ]; do
  n=$((n+1)); printf '"%s\\n"\n' "$n"; sleep 0.05
done
echo '"counted"'
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_watched_goes_on_where_it_stopped() {
    let home = Home::new();
    let node = home.start().await;
    let program = home.program();
    program.run_with(["workflow", "register", "-"], DEFINITION).await.exits(0);
    let begun = home.file("begun", "");
    let place = begun.to_str().expect("text");
    let _worker = program.start(["worker", "--task", "count", "--", "sh", "-c", COUNT, "sh", place]);
    let mut watching = program.start(["run", "start", "recite", "--watch"]);
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    let mut seen = Vec::new();
    while seen.len() < 10 {
        seen.push(soon("a token", lines.next_line()).await.expect("text").expect("it goes on"));
    }
    node.kill().await;
    let node = home.start().await;
    while let Some(line) = soon("a token", lines.next_line()).await.expect("text") {
        seen.push(line);
    }
    let expected: Vec<_> = (1..=40).map(|n| n.to_string()).collect();
    let said: Vec<_> = seen.into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(said, expected);
    let status = soon("the watcher to end", watching.wait()).await.expect("a child ends once");
    let mut aside = String::new();
    watching.stderr.take().expect("a pipe").read_to_string(&mut aside).await.expect("text");
    assert!(status.success(), "{aside}");
    assert!(aside.contains("connection lost") && aside.contains("resumed at"), "{aside}");
    assert!(aside.contains("completed with \"counted\""), "{aside}");
    assert_eq!(std::fs::read_to_string(&begun).expect("text"), "begun\n", "the program was run once");
    assert!(node.stop().await.success(), "{}", home.log());
}
