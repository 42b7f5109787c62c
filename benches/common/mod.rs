//! What every bench shares: one table on the screen, one JSON line a figure in `target/bench-results.jsonl`, and the
//! commit that was measured. The file is `HEADWATER_BENCH_RESULTS` where that is set.

#![allow(dead_code, reason = "each bench uses what it needs of it")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The binary's own, so that the log is measured as it runs there; the limits beside it have it too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One measured number.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "the fields are called as in the results' lines")]
pub(crate) struct Figure {
    pub(crate) case: String,
    pub(crate) figure: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the machine itself gave in the same run.
    pub(crate) limit: Option<f64>,
    /// What docs/benchmarks.md promises.
    pub(crate) goal: Option<f64>,
}

/// The figures of one bench.
#[derive(Debug)]
pub(crate) struct Report {
    bench: &'static str,
    commit: String,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(bench: &'static str) -> Self {
        let commit = commit();
        println!("{bench}: commit {commit}, {} CPUs", std::thread::available_parallelism().map_or(0, usize::from));
        Self { bench, commit, figures: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Prints the table and appends the lines. Says which goals were missed.
    pub(crate) fn finish(self) -> Vec<String> {
        let mut rows = vec![["case", "figure", "value", "unit", "limit", "goal"].map(str::to_owned)];
        for figure in &self.figures {
            rows.push([
                figure.case.clone(),
                figure.figure.clone(),
                number(figure.value),
                figure.unit.to_owned(),
                figure.limit.map_or_else(String::new, number),
                figure.goal.map_or_else(String::new, number),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        for row in &rows {
            let cell = |column: usize| {
                let numeric = matches!(column, 2 | 4 | 5);
                let (text, width) = (&row[column], widths[column]);
                if numeric { format!("{text:>width$}") } else { format!("{text:<width$}") }
            };
            println!("{}", std::array::from_fn::<_, 6, _>(cell).join("  ").trim_end());
        }
        if let Err(error) = self.append_lines() {
            eprintln!("the results could not be kept: {error}");
        }
        self.missed()
    }

    /// A goal in a unit of time, of memory or of cost is a bound from above, any other one from below.
    fn missed(&self) -> Vec<String> {
        let missed = |figure: &&Figure| {
            figure.goal.is_some_and(|goal| {
                let less_is_better = matches!(figure.unit, "µs" | "ms" | "s" | "bytes" | "MB" | "syncs" | "bodies");
                if less_is_better { figure.value > goal } else { figure.value < goal }
            })
        };
        let sentence = |figure: &Figure| {
            let goal = figure.goal.map_or_else(String::new, number);
            format!("{} {}: {} {}, the goal is {goal}", figure.case, figure.figure, number(figure.value), figure.unit)
        };
        self.figures.iter().filter(missed).map(sentence).collect()
    }

    fn append_lines(&self) -> std::io::Result<()> {
        let path = results_path();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        for figure in &self.figures {
            let optional = |value: Option<f64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
            writeln!(
                file,
                r#"{{"bench":{:?},"case":{:?},"figure":{:?},"value":{},"unit":{:?},"limit":{},"goal":{},"commit":{:?}}}"#,
                self.bench,
                figure.case,
                figure.figure,
                figure.value,
                figure.unit,
                optional(figure.limit),
                optional(figure.goal),
                self.commit
            )?;
        }
        Ok(())
    }
}

fn results_path() -> PathBuf {
    if let Some(path) = std::env::var_os("HEADWATER_BENCH_RESULTS") {
        return path.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("bench-results.jsonl")
}

/// The commit that is checked out; `-dirty` where what is measured is not what was committed.
fn commit() -> String {
    if let Ok(commit) = std::env::var("HEADWATER_COMMIT") {
        return commit;
    }
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
    if clean { commit } else { format!("{commit}-dirty") }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Short enough for a table, exact enough to compare.
fn number(value: f64) -> String {
    if value >= 1000.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// How long each case measures: `HEADWATER_BENCH_SECONDS`, else `usual`.
pub(crate) fn seconds(usual: f64) -> Duration {
    let asked = std::env::var("HEADWATER_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(asked.unwrap_or(usual))
}

/// The value below which the share `of` (0 to 1) of `sorted` lies.
pub(crate) fn quantile(sorted: &[f64], of: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = ((last as f64) * of).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(values, 0.5)
}
