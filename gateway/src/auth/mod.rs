//! Who is asking. Every request has a principal before it reaches a handler, and a tenant comes from nowhere else.

use types::TenantId;

/// Someone who may ask. Until credentials arrive there is one, and it owns the tenant `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) tenant: TenantId,
}

/// The principal of a request. No header is looked at yet: a node without credentials has one tenant, whoever asks.
pub(crate) fn principal() -> Principal {
    Principal { tenant: TenantId::default() }
}
