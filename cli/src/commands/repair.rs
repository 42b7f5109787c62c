//! `headwater repair`: opens a directory again that was refused because acknowledged data is missing, without it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use storage::Repair;

use super::stopped;
use crate::exit::{Exit, Failure};
use crate::render::{self, Style};

const NOT_HERE: &str = "\
Runs that are damaged and set aside are not repaired or dropped here. Start the node: `headwater run list --status damaged` \
names them, and `headwater run cancel RUN` gives one up.";

#[derive(Debug, Args)]
#[command(after_help = NOT_HERE)]
pub(crate) struct Arguments {
    /// The data directory of a stopped node
    directory: PathBuf,

    /// Go on without what is missing; without this, only say what that is
    #[arg(long)]
    accept_loss: bool,

    /// Do not ask
    #[arg(long, requires = "accept_loss")]
    yes: bool,
}

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<Exit, Failure> {
    stopped::refuse_running(&arguments.directory)?;
    let repair = Repair::plan(&arguments.directory).map_err(|error| stopped::failure(&error))?;
    tell(&repair, json)?;
    if !repair.is_needed() {
        return Ok(Exit::Done);
    }
    if !arguments.accept_loss {
        render::notice("nothing was changed; restore a backup, or accept this loss with --accept-loss");
        return Ok(Exit::LogFailed);
    }
    if !arguments.yes && !confirmed()? {
        return Err(Failure::new(Exit::Refused, "nothing was changed"));
    }
    let copy = repair.accept(node::random_u32()).map_err(|error| stopped::failure(&error))?;
    if json {
        render::json(&json!({ "repaired": true, "copy": copy }))?;
    } else {
        render::line("repaired: the log opens, under a new history for what was cut")?;
        render::line(format!("what was there before is kept in {}; remove it when you are sure", copy.display()))?;
    }
    Ok(Exit::Done)
}

fn tell(repair: &Repair, json: bool) -> Result<(), Failure> {
    if json {
        let losses = repair.losses.iter().map(|loss| {
            json!({ "partition": loss.partition, "kept": loss.kept, "durable": loss.durable, "what": loss.what })
        });
        let writes = repair.writes.map(|(durable, found)| json!({ "durable": durable, "found": found }));
        return render::json(&json!({
            "needed": repair.is_needed(), "losses": losses.collect::<Vec<_>>(), "writes": writes, "commit": repair.commit,
            "may_lack": repair.may_lack,
        }));
    }
    if !repair.is_needed() && repair.may_lack {
        render::line("nothing that is known to have been durable is missing: there is nothing to accept")?;
        return render::line(
            "the node acknowledged before its syncs (`storage.durability`) and did not stop in order: the last records that \
             it acknowledged may be missing, nobody knows how many; it opens as it is, under a new history",
        );
    }
    if !repair.is_needed() {
        return render::line("nothing that was acknowledged is missing: there is nothing to accept");
    }
    if let Some(why) = &repair.commit {
        render::line(format!(
            "COMMIT cannot be believed ({why}): whether records at the ends are missing is not known"
        ))?;
    }
    for loss in &repair.losses {
        let (partition, kept, durable) = (loss.partition, loss.kept, loss.durable);
        let last = durable.value().saturating_sub(1);
        let records = match durable.since(kept) {
            0 => format!("whether records from position {kept} on are lost is not known"),
            1 => format!("the record of position {kept} is lost"),
            count => format!("the {count} records of positions {kept} to {last} are lost"),
        };
        render::line(format!("partition {partition}: {records} ({})", loss.what))?;
    }
    if let Some((durable, found)) = repair.writes {
        render::line(format!("the last {} writes are lost, rows of state among them", durable - found))?;
    }
    let warning = "runs and streams go back to where they stood before that; clients are told `other_history`";
    render::line(render::paint(Style::Red, warning, std::io::stdout().is_terminal()))
}

/// Asks at a terminal; without one nobody can answer.
fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Refused, "nobody is there to confirm the loss").advise("give --yes as well"));
    }
    eprint!("type `lose it` to go on: ");
    let told = std::io::stderr().flush().and_then(|()| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    Ok(told.map_err(|error| Failure::local("read the answer", error))?.trim() == "lose it")
}
