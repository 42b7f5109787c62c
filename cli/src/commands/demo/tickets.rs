//! The tickets of the demo, and the one bit of judgement its workers have.

use serde_json::{Value, json};

const SUBJECTS: [(&str, &str); 8] = [
    ("Charged twice this month", "My card shows two payments for the same invoice. Please refund one."),
    ("The export never finishes", "It stays at 99 % and the log says error 504, since the last update."),
    ("Can I change my plan?", "We are three people now and would like to know what fits."),
    ("Invoice without our VAT number", "Could you send the invoice again with our VAT number on it?"),
    ("App crashes when I open a report", "It crashes at once on two of our phones. The stack trace is attached."),
    ("What are your opening hours?", "And is there somebody on Saturday?"),
    ("Login loops back to the start", "After the second factor I am back at the login page, every time."),
    ("Thank you!", "The new search is wonderful. Just wanted to say that."),
];

const CUSTOMERS: [(&str, &str); 5] =
    [("Amara", "team"), ("Jonas", "free"), ("Mei", "business"), ("Luca", "team"), ("Priya", "business")];

/// The n-th ticket, from 0.
pub(super) fn ticket(n: usize) -> Value {
    let (subject, body) = SUBJECTS[n % SUBJECTS.len()];
    let (name, plan) = CUSTOMERS[n % CUSTOMERS.len()];
    json!({ "id": format!("T-{}", 1001 + n), "subject": subject, "body": body, "customer": { "name": name, "plan": plan } })
}

/// What a ticket is about.
pub(super) fn classify(subject: &str, body: &str) -> Value {
    let text = format!("{subject} {body}").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let kind = if says(&["invoice", "refund", "payment", "charged"]) {
        "billing"
    } else if says(&["crash", "error", "login", "never finishes"]) {
        "technical"
    } else {
        "question"
    };
    let priority = if says(&["crash", "twice", "every time"]) { "high" } else { "normal" };
    json!({ "kind": kind, "priority": priority })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tickets_take_every_branch_of_the_workflow() {
        let kinds: std::collections::BTreeSet<String> = (0..SUBJECTS.len())
            .map(|n| {
                let ticket = ticket(n);
                let text = |name: &str| ticket[name].as_str().unwrap_or_default().to_owned();
                classify(&text("subject"), &text("body"))["kind"].as_str().unwrap_or_default().to_owned()
            })
            .collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["billing", "question", "technical"]);
    }
}
