//! Makes the ids that route by themselves. Chance enters the node here and nowhere else.

use types::{IdempotencyKey, RoutingHash, RunId, TenantId, Timestamp};

/// A fresh run id: its partition key is the start's `key`, else its idempotency key, else fresh as well.
pub(crate) fn new_run(
    tenant: &TenantId,
    key: Option<&str>,
    idempotency: Option<&IdempotencyKey>,
    now: Timestamp,
) -> RunId {
    let random = u128::from(random_u64()) << 64 | u128::from(random_u64());
    let ulid = ulid::Ulid::from_parts(now.as_millis(), random);
    let text = ulid.to_string();
    let key = key.or(idempotency.map(IdempotencyKey::as_str)).unwrap_or(&text);
    RunId::new(RoutingHash::of(tenant, key), ulid.into())
}

/// From the operating system.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().expect("the operating system gives random numbers")
}

/// From the operating system.
pub fn random_u32() -> u32 {
    getrandom::u32().expect("the operating system gives random numbers")
}
