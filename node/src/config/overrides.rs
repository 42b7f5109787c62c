//! What the command line says: the strongest of the sources.

use super::Origin;
use super::settings::Settings;

/// Texts as they were given; they are checked together with the other sources.
#[derive(Clone, Debug, Default)]
pub struct ConfigOverrides {
    /// `--data`
    pub data_dir: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--admin-listen`
    pub admin_listen: Option<String>,
    /// `--set key=value`, for any key, in the order given; weaker than a flag of its own.
    pub set: Vec<(String, String)>,
}

impl ConfigOverrides {
    pub(crate) fn put_into(&self, settings: &mut Settings) {
        for (path, text) in &self.set {
            settings.put_named(path, text, Origin::Flag { flag: format!("--set {path}") });
        }
        let named = [
            ("node.data_dir", "--data", &self.data_dir),
            ("node.listen", "--listen", &self.listen),
            ("node.admin_listen", "--admin-listen", &self.admin_listen),
        ];
        for (path, flag, text) in named {
            if let Some(text) = text {
                settings.put_named(path, text, Origin::Flag { flag: flag.to_owned() });
            }
        }
    }
}
