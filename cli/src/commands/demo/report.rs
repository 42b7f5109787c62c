//! What the demo comes to: figures, and claims that are true or not.

use serde_json::{Value, json};

use crate::exit::Failure;
use crate::render::{self, Style};

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) runs: usize,
    pub(super) completed: usize,
    pub(super) events_before: u64,
    pub(super) events_after: u64,
    /// Clients whose connection broke and was made again.
    pub(super) resumed_clients: usize,
    pub(super) in_flight_at_kill: usize,
    pub(super) gaps: u64,
    pub(super) duplicates: u64,
    /// Gaps and repeats that the client library mended before anybody saw them: the node sent them all the same.
    pub(super) broken_chains: u64,
    pub(super) repeats_dropped: u64,
    pub(super) steps: usize,
    pub(super) repeated_bodies: u32,
    /// Runs whose text arrived as it was produced, and is the run's output.
    pub(super) texts_equal: usize,
    pub(super) text_bytes: usize,
    pub(super) first_ready_ms: u128,
    pub(super) ready_ms: u128,
    /// From the start of the second node to the first event that a client got from it.
    pub(super) first_resumed_ms: Option<u128>,
    /// What else went wrong, as sentences.
    pub(super) trouble: Vec<String>,
}

/// A sentence, and whether it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    name: &'static str,
    shown: String,
    pub(super) holds: bool,
}

impl Report {
    pub(super) fn claims(&self) -> Vec<Claim> {
        let claim = |name, shown: String, holds| Claim { name, shown, holds };
        vec![
            claim("runs completed", format!("{} of {}", self.completed, self.runs), self.completed == self.runs),
            claim(
                "killed in mid-stream",
                format!("{} answers half written", self.in_flight_at_kill),
                self.in_flight_at_kill > 0,
            ),
            claim(
                "resumed by cursor",
                format!("{} of {} clients", self.resumed_clients, self.runs),
                self.resumed_clients > 0 && self.events_after > 0,
            ),
            claim("gaps", with_mended(self.gaps, self.broken_chains), self.gaps + self.broken_chains == 0),
            claim(
                "duplicates",
                with_mended(self.duplicates, self.repeats_dropped),
                self.duplicates + self.repeats_dropped == 0,
            ),
            claim(
                "repeated step bodies",
                format!("{} of {} steps", self.repeated_bodies, self.steps),
                self.repeated_bodies == 0,
            ),
            claim(
                "text received = produced",
                format!("{} of {} runs, {} bytes", self.texts_equal, self.runs, grouped(self.text_bytes as u64)),
                self.texts_equal == self.runs && self.text_bytes > 0,
            ),
        ]
    }

    pub(super) fn holds(&self) -> bool {
        self.trouble.is_empty() && self.claims().iter().all(|claim| claim.holds)
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        let first = self.first_resumed_ms.map_or_else(|| "none came".to_owned(), |ms| format!("{ms} ms"));
        vec![
            ("events before the kill", grouped(self.events_before)),
            ("events after the kill", grouped(self.events_after)),
            ("ready, new directory", format!("{} ms", self.first_ready_ms)),
            ("ready, after kill -9", format!("{} ms", self.ready_ms)),
            ("first resumed event", format!("{first} after the restart")),
        ]
    }

    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return render::json(&self.as_json());
        }
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        render::line("")?;
        for (name, shown) in self.figures() {
            render::line(format!("    {name:<26}{shown}"))?;
        }
        for Claim { name, shown, holds } in self.claims() {
            let sign = if holds { ("✓", Style::Green) } else { ("✗", Style::Red) };
            render::line(format!("  {} {name:<26}{shown}", render::paint(sign.1, sign.0, terminal)))?;
        }
        for sentence in &self.trouble {
            render::line(format!("  {} {sentence}", render::paint(Style::Red, "✗", terminal)))?;
        }
        render::line("")
    }

    fn as_json(&self) -> Value {
        json!({
            "holds": self.holds(),
            "runs": self.runs,
            "completed": self.completed,
            "events_before": self.events_before,
            "events_after": self.events_after,
            "resumed_clients": self.resumed_clients,
            "in_flight_at_kill": self.in_flight_at_kill,
            "gaps": self.gaps,
            "duplicates": self.duplicates,
            "broken_chains": self.broken_chains,
            "repeats_dropped": self.repeats_dropped,
            "steps": self.steps,
            "repeated_bodies": self.repeated_bodies,
            "texts_equal": self.texts_equal,
            "text_bytes": self.text_bytes,
            "first_ready_ms": self.first_ready_ms,
            "ready_ms": self.ready_ms,
            "first_resumed_ms": self.first_resumed_ms,
            "trouble": self.trouble,
        })
    }
}

/// What was seen, and what the client library kept from being seen.
fn with_mended(seen: u64, mended: u64) -> String {
    if mended == 0 { seen.to_string() } else { format!("{seen}, and {mended} that the client library mended") }
}

/// `12345` as people read it: `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            runs: 2,
            completed: 2,
            events_before: 10,
            events_after: 20,
            resumed_clients: 2,
            in_flight_at_kill: 1,
            steps: 8,
            texts_equal: 2,
            text_bytes: 1234,
            first_resumed_ms: Some(3),
            ..Report::default()
        }
    }

    #[test]
    fn the_demo_fails_when_any_claim_is_untrue() {
        assert!(good().holds());
        let spoil: [fn(&mut Report); 10] = [
            |report| report.completed = 1,
            |report| report.gaps = 1,
            |report| report.duplicates = 1,
            |report| report.broken_chains = 1,
            |report| report.repeats_dropped = 1,
            |report| report.repeated_bodies = 1,
            |report| report.texts_equal = 1,
            |report| report.in_flight_at_kill = 0,
            |report| report.events_after = 0,
            |report| report.trouble.push("a client gave up".to_owned()),
        ];
        for (at, spoil) in spoil.iter().enumerate() {
            let mut report = good();
            spoil(&mut report);
            assert!(!report.holds(), "{at}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
