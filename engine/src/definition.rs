//! Workflow definitions as the system partition keeps them: immutable per name and version.

use std::fmt;
use std::sync::Arc;

use types::{TenantId, Timestamp, WorkflowHash};

/// Namespace, name and version: what a person calls a definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionName {
    pub namespace: String,
    pub name: String,
    pub version: String,
}

impl fmt::Display for DefinitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.namespace, self.name, self.version)
    }
}

/// A registered definition with its source, compiled anew by whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub tenant: TenantId,
    pub name: DefinitionName,
    pub hash: WorkflowHash,
    pub source: Arc<str>,
    pub registered: Timestamp,
}
