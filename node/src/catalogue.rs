//! The node's definitions, as far as they are durable: by name, by hash, and compiled.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use engine::{Definition, DefinitionName};
use gateway::backend::{WorkflowInfo, WorkflowRef, WorkflowSource};
use types::{Code, Refusal, TenantId, Timestamp, WorkflowHash};
use workflow::Program;

use crate::partition::Programs;

#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<(TenantId, DefinitionName), Definition>,
    sources: HashMap<WorkflowHash, Arc<str>>,
    programs: HashMap<WorkflowHash, Arc<Program>>,
}

impl Catalogue {
    /// Makes a definition known that is durable by now.
    pub(crate) fn publish(&self, definition: &Definition) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.sources.insert(definition.hash, definition.source.clone());
        inner.names.insert((definition.tenant.clone(), definition.name.clone()), definition.clone());
    }

    /// The definition that a caller means; without a version, the highest.
    pub(crate) fn find(&self, tenant: &TenantId, wanted: &WorkflowRef) -> Result<Definition, Refusal> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let named = |(owner, name): &(TenantId, DefinitionName)| {
            owner == tenant && name.namespace == wanted.namespace && name.name == wanted.name
        };
        let mut known = inner.names.iter().filter(|(key, _)| named(key)).map(|(_, definition)| definition);
        let found = match &wanted.version {
            Some(version) => known.rfind(|definition| definition.name.version == *version),
            None => known.max_by_key(|definition| semver::Version::parse(&definition.name.version).ok()),
        };
        found.cloned().ok_or_else(|| unknown(wanted, &inner, tenant))
    }

    /// When a definition was registered. The system partition has it before any run of it can be started.
    pub(crate) fn registered(&self, tenant: &TenantId, name: &DefinitionName) -> Timestamp {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let known = inner.names.get(&(tenant.clone(), name.clone()));
        known.map_or(Timestamp::ZERO, |definition| definition.registered)
    }

    pub(crate) fn list(&self, tenant: &TenantId) -> Vec<WorkflowInfo> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let theirs = inner.names.iter().filter(|((owner, _), _)| owner == tenant);
        theirs.map(|(_, definition)| info(definition)).collect()
    }
}

impl Programs for Catalogue {
    fn program(&self, hash: WorkflowHash) -> Option<Arc<Program>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = inner.programs.get(&hash) {
            return Some(program.clone());
        }
        let source = inner.sources.get(&hash)?.clone();
        drop(inner);
        // It compiled when it was registered; a version that refuses it now must not be served as another program.
        let program = Arc::new(workflow::compile(&source).ok()?);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        Some(inner.programs.entry(hash).or_insert(program).clone())
    }
}

pub(crate) fn info(definition: &Definition) -> WorkflowInfo {
    WorkflowInfo {
        namespace: definition.name.namespace.clone(),
        name: definition.name.name.clone(),
        version: definition.name.version.clone(),
        hash: definition.hash.to_string(),
        registered: definition.registered,
    }
}

pub(crate) fn source(definition: &Definition) -> WorkflowSource {
    WorkflowSource { workflow: info(definition), source: definition.source.to_string() }
}

fn unknown(wanted: &WorkflowRef, inner: &Inner, tenant: &TenantId) -> Refusal {
    let WorkflowRef { namespace, name, version } = wanted;
    let version = version.as_ref().map_or_else(String::new, |version| format!("@{version}"));
    let theirs = || inner.names.keys().filter(|(owner, _)| owner == tenant).map(|(_, known)| known);
    let mut versions: Vec<_> = theirs()
        .filter(|known| known.namespace == *namespace && known.name == *name)
        .filter_map(|known| semver::Version::parse(&known.version).ok())
        .collect();
    versions.sort_unstable();
    if let Some(highest) = versions.last() {
        let message = format!(
            "workflow {namespace}/{name} has no version {}: the highest of its {} is {highest}",
            version.trim_start_matches('@'),
            versions.len()
        );
        return Refusal::new(Code::WorkflowNotFound, message);
    }
    let names = theirs().map(|known| known.name.as_str());
    let near = names.map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    let hint = near.filter(|(score, _)| *score > 0.8).map_or_else(
        || "`headwater workflow list` shows what is registered".to_owned(),
        |(_, known)| format!("did you mean `{known}`?"),
    );
    Refusal::new(Code::WorkflowNotFound, format!("workflow {namespace}/{name}{version} is not registered: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let catalogue = Catalogue::default();
        for version in ["1.9.0", "1.10.0"] {
            catalogue.publish(&Definition {
                tenant: TenantId::default(),
                name: DefinitionName { namespace: "default".into(), name: "tell".into(), version: version.into() },
                hash: WorkflowHash::from_bytes([0; 32]),
                source: "".into(),
                registered: Timestamp::ZERO,
            });
        }
        catalogue
    }

    #[test]
    fn what_is_not_registered_is_told_from_what_nearly_is() {
        let check = |wanted: &str, expect: &str| {
            let wanted = WorkflowRef::parse(wanted).expect("a name");
            let refusal = catalogue().find(&TenantId::default(), &wanted).expect_err("it is not there");
            assert_eq!(refusal.code, Code::WorkflowNotFound);
            assert!(refusal.message.contains(expect), "{}", refusal.message);
            refusal.message
        };
        let message = check("tell@9.9.9", "default/tell has no version 9.9.9: the highest of its 2 is 1.10.0");
        assert!(!message.contains("did you mean"), "{message}");
        check("tel", "default/tel is not registered: did you mean `tell`?");
        check("unlike", "`headwater workflow list`");
    }
}
