//! `headwater backup`: makes backups of a running node or a stopped one, verifies them, restores them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use node::inspect::{BackUp, BackupMade};
use serde_json::json;
use storage::{BackupError, BackupOptions, Step};

use super::{Context, stopped};
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

const CREATE: &str = "\
TARGET is a folder, which gets one more backup named after its time, or a new file that ends in .tar. In a folder, files \
that the newest backup of the same log has are hard links to it, so a further backup costs only what is new; on the disk \
of the log itself the others are links as well (--copy makes copies). Put TARGET on another disk: a link does not outlive \
the disk.";

const RESTORE: &str = "\
Everything is verified before the directory gets its name, and nothing is ever overwritten. A restored directory begins a \
new history: cursors that readers kept are refused with `other_history`, and they begin again.";

/// A backup of a terabyte over a slow network takes hours; the node goes on with it whether or not somebody waits.
const PATIENCE: Duration = Duration::from_hours(24);

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a backup of a running node's log, or of a stopped node's directory
    Create(Create),
    /// Read all of a backup and compare it with what was written
    Verify(Verify),
    /// Make a data directory from a backup
    Restore(Restore),
}

#[derive(Debug, Args)]
#[command(after_help = CREATE)]
pub(crate) struct Create {
    /// A folder of backups, or a file that ends in .tar
    target: PathBuf,
    /// The data directory of a stopped node, instead of asking a running one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Copy every file, also where a hard link would do
    #[arg(long)]
    copy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A backup, a folder of backups (then the newest), or a .tar file
    backup: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = RESTORE)]
pub(crate) struct Restore {
    /// A backup, a folder of backups (then the newest), or a .tar file
    backup: PathBuf,
    /// The new data directory; nothing may be there
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

pub(crate) async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Create(arguments) => create(arguments, context).await,
        Verb::Verify(Verify { backup }) => verify(&backup, context.json),
        Verb::Restore(arguments) => restore(&arguments, context.json),
    }
}

async fn create(Create { target, data, copy }: Create, context: &Context) -> Result<Exit, Failure> {
    let made = match data {
        Some(directory) => of_stopped(&directory, &target, copy)?,
        None => of_running(&target, copy, context).await?,
    };
    if context.json {
        render::json(&made)?;
        return Ok(Exit::Done);
    }
    let BackupMade { path, positions, files, bytes, copied_bytes, quarantined, elapsed_ms, .. } = &made;
    let (size, copied) = (render::bytes(*bytes), render::bytes(*copied_bytes));
    render::line(path)?;
    render::notice(format!(
        "a log of {positions} positions in {files} files, {size}, {copied} of it new; {elapsed_ms} ms"
    ));
    warn(warning(*quarantined));
    Ok(Exit::Done)
}

fn warn(warning: Option<String>) {
    if let Some(warning) = warning {
        render::notice(warning);
    }
}

/// Which state a backup cannot bring back. `places`: rows, or ranges of them.
fn warning_of_rows(places: u64) -> Option<String> {
    let rows = match places {
        0 => return None,
        1 => "rows of state cannot be read in 1 place".to_owned(),
        more => format!("rows of state cannot be read in {more} places"),
    };
    let advice =
        "a node makes them again from the log or says `damaged` to who asks for one; `headwater log verify` lists them";
    Some(format!("warning: {rows}, in this backup too: {advice}"))
}

/// What a backup cannot bring back.
fn warning(quarantined: u64) -> Option<String> {
    let segments = match quarantined {
        0 => return None,
        1 => "1 segment is".to_owned(),
        more => format!("{more} segments are"),
    };
    let advice = "keep an older backup that has them whole, and see `headwater log segments`";
    Some(format!("warning: {segments} damaged and quarantined, in this backup too: all else is restored; {advice}"))
}

async fn of_running(target: &Path, copy: bool, context: &Context) -> Result<BackupMade, Failure> {
    let absolute = std::path::absolute(target).map_err(|error| Failure::local("find the target", error))?;
    let text = absolute.to_str().ok_or_else(|| Failure::usage("the target's path is not text"))?;
    let request = BackUp { target: text.to_owned(), copy };
    let working = ProgressBar::new_spinner().with_message("the node makes the backup");
    working.enable_steady_tick(Duration::from_millis(120));
    let made = context.admin.operate(&["backups"], &request, PATIENCE).await;
    working.finish_and_clear();
    Ok(made?)
}

fn of_stopped(directory: &Path, target: &Path, copy: bool) -> Result<BackupMade, Failure> {
    let options = BackupOptions { now: node::clock::wall_clock(), copy };
    let made = watched(|on_step| storage::back_up_stopped(directory, target, options, on_step));
    let made = made.map_err(|error| failure(&error))?;
    Ok(BackupMade {
        path: made.path.display().to_string(),
        made: options.now,
        partitions: made.partitions,
        positions: made.positions,
        files: made.files,
        bytes: made.bytes,
        copied_bytes: made.copied_bytes,
        quarantined: made.quarantined,
        elapsed_ms: u64::try_from(made.elapsed.as_millis()).unwrap_or(u64::MAX),
    })
}

fn verify(backup: &Path, json: bool) -> Result<Exit, Failure> {
    let verified = watched(|on_step| storage::verify_backup(backup, on_step)).map_err(|error| failure(&error))?;
    let storage::BackupVerified { path, made, files, bytes, log } = verified;
    if json {
        render::json(&json!({
            "sound": true, "path": path.display().to_string(), "made": made, "files": files, "bytes": bytes,
            "partitions": log.partitions, "records": log.records, "quarantined": log.quarantined,
            "damaged_rows": log.of_rows,
        }))?;
        return Ok(Exit::Done);
    }
    let (size, records) = (render::bytes(bytes), log.records);
    render::line(format!("{}: {records} records in {files} files, {size}, made {made}", path.display()))?;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    render::line(render::paint(Style::Green, "sound", terminal))?;
    warn(warning(log.quarantined));
    warn(warning_of_rows(log.of_rows));
    Ok(Exit::Done)
}

fn restore(Restore { backup, into }: &Restore, json: bool) -> Result<Exit, Failure> {
    let seed = node::inspect::random_seed();
    let restored = watched(|on_step| storage::restore(backup, into, seed, on_step)).map_err(|error| failure(&error))?;
    let storage::Restored { backup, directory, made, positions, bytes, quarantined, damaged_rows, .. } = restored;
    let (backup, directory) = (backup.display().to_string(), directory.display().to_string());
    if json {
        let answer = json!({
            "directory": directory, "backup": backup, "made": made, "positions": positions, "bytes": bytes,
            "quarantined": quarantined, "damaged_rows": damaged_rows,
        });
        render::json(&answer)?;
        return Ok(Exit::Done);
    }
    render::line(&directory)?;
    render::notice(format!("a log of {positions} positions as of {made}, from {backup}; a new history begins"));
    warn(warning(quarantined));
    warn(warning_of_rows(damaged_rows));
    render::notice(format!("start it with `headwater serve --data {directory}`"));
    Ok(Exit::Done)
}

/// Shows on a terminal how far it is.
fn watched<T>(work: impl FnOnce(storage::OnStep<'_>) -> T) -> T {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}").expect("the template is written above");
    let bar = ProgressBar::new(0).with_style(style);
    let done = work(&mut |step| match step {
        Step::Freeze => bar.set_message("holding the log still"),
        Step::File { number, of, name } => {
            bar.set_message(name.to_owned());
            bar.set_length(of.max(number));
            bar.set_position(number);
        }
        Step::Verify => bar.set_message("verifying the log"),
        Step::Finish => bar.set_message("finishing"),
    });
    bar.finish_and_clear();
    done
}

fn failure(error: &BackupError) -> Failure {
    let (exit, code) = match error {
        BackupError::Log(open) => return stopped::failure(open),
        BackupError::Busy { .. } => (Exit::Unreachable, "backup_under_way"),
        BackupError::Exists { .. } => (Exit::Refused, "exists"),
        BackupError::NewerFormat { .. } => (Exit::Refused, "newer_format"),
        BackupError::Refused { .. } => (Exit::Refused, "unsafe_backup"),
        BackupError::NotABackup { .. } => (Exit::Usage, "not_a_backup"),
        BackupError::Damaged { .. } => (Exit::LogFailed, "damaged_backup"),
        BackupError::NoSpace { .. } => (Exit::Failed, "no_space"),
        BackupError::Io { .. } => (Exit::Failed, "disk_failed"),
    };
    let failure = Failure::new(exit, error.to_string()).coded(code);
    match error {
        BackupError::Damaged { .. } => failure.advise("an earlier backup may be whole: verify it"),
        BackupError::Refused { .. } => failure.advise("only what `headwater backup create` made is restored"),
        BackupError::Log(_)
        | BackupError::Busy { .. }
        | BackupError::Exists { .. }
        | BackupError::NewerFormat { .. }
        | BackupError::NotABackup { .. }
        | BackupError::NoSpace { .. }
        | BackupError::Io { .. } => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_with_damaged_segments_is_made_with_a_warning() {
        assert_eq!(warning(0), None);
        insta::assert_snapshot!(warning(1).expect("a warning"), @"warning: 1 segment is damaged and quarantined, in this backup too: all else is restored; keep an older backup that has them whole, and see `headwater log segments`");
        insta::assert_snapshot!(warning(2).expect("a warning"), @"warning: 2 segments are damaged and quarantined, in this backup too: all else is restored; keep an older backup that has them whole, and see `headwater log segments`");
    }
}
