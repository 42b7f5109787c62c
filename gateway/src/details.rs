//! What a program needs of a refusal to go on, as members of its JSON: the same over HTTP and over the socket.

use serde_json::{Map, Value};

/// Those that are counts are numbers.
const COUNTS: [&str; 8] = ["epoch", "expected", "free_mib", "head", "last", "low", "partition", "received"];
/// Those of which there may be several are lists, also when there is one.
const LISTS: [&str; 1] = ["problem"];

/// Adds them to what is there already, which none of them hides.
pub(crate) fn add(details: &[(String, String)], members: &mut Map<String, Value>) {
    let standard: Vec<String> = members.keys().cloned().collect();
    for (name, text) in details.iter().filter(|(name, _)| !standard.contains(name)) {
        let count = text.parse::<u64>().ok().filter(|_| COUNTS.contains(&name.as_str()));
        let value = count.map_or_else(|| Value::from(text.as_str()), Value::from);
        match members.get_mut(name) {
            Some(Value::Array(values)) => values.push(value),
            None if LISTS.contains(&name.as_str()) => drop(members.insert(name.clone(), Value::Array(vec![value]))),
            None => drop(members.insert(name.clone(), value)),
            // Said again.
            Some(first) => *first = value,
        }
    }
}
