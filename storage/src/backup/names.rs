//! Which files a backup may hold. Everything else is refused, so no name can lead out of the folder it is written to.

pub(super) const MANIFEST: &str = "MANIFEST";
pub(super) const FORMAT: &str = "FORMAT";
pub(super) const COMMIT: &str = "COMMIT";
/// Without these a backup is no log.
pub(super) const REQUIRED: [&str; 3] = [FORMAT, COMMIT, "log/CURRENT"];
/// The folder of the store's files.
const STORE: &str = "log/";

/// Whether a file of this name belongs into a backup.
pub(super) fn is_known(name: &str) -> bool {
    name == FORMAT || name == COMMIT || name.strip_prefix(STORE).is_some_and(is_store_file)
}

/// Whether a file of the store belongs into a backup; its lock and its diary do not.
pub(super) fn is_store_file(name: &str) -> bool {
    let numbered = |prefix: &str, suffix: &str| {
        let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        number.is_some_and(|number| (1..=20).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(name, "CURRENT" | "IDENTITY")
        || numbered("MANIFEST-", "")
        || numbered("OPTIONS-", "")
        || numbered("", ".sst")
        || numbered("", ".log")
}

/// A table: written once and never changed, so a hard link to it is as good as a copy.
pub(super) fn is_table(name: &str) -> bool {
    name.strip_suffix(".sst").is_some()
}

pub(super) fn of_store_file(name: &str) -> String {
    format!("{STORE}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_log_is_made_of_has_a_place() {
        for good in ["FORMAT", "COMMIT", "log/CURRENT", "log/MANIFEST-000017", "log/000012.sst", "log/000013.log"] {
            assert!(is_known(good), "{good}");
        }
        for bad in [
            "",
            "MANIFEST",
            "LOCK",
            "token.key",
            "/etc/passwd",
            "../FORMAT",
            "log/../FORMAT",
            "log//000012.sst",
            "log/./CURRENT",
            "log/LOCK",
            "log/LOG",
            "log/.sst",
            "log/12/3.sst",
            "log/x.sst",
            "log/MANIFEST-",
            "log/000000000000000000001.sst",
            "log",
            "log/",
            "FORMAT\0",
        ] {
            assert!(!is_known(bad), "{bad}");
        }
    }
}
