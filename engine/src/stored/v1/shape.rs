//! How a value of the kernel becomes a stored shape and back: storing cannot fail, restoring checks names and ids.
//! Two macros turn a list of fields into such a shape, so that a shape reads as the format that it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use types::{
    IdempotencyKey, Incarnation, Offset, Payload, Position, ProducerId, RoutingHash, RunId, StreamName, StreamOrdinal,
    TenantId, Timestamp, WorkflowHash,
};

use crate::scope::Items;
use crate::stored::StoredError;

/// The stored form of a `Value`.
pub(in crate::stored) trait Shape<Value>: Sized {
    fn of(value: &Value) -> Self;
    fn restore(self) -> Result<Value, StoredError>;
}

/// A struct stored field by field, in this order: `Stored for module::Domain { field: Shape }`.
macro_rules! stored_struct {
    ($(#[$doc:meta])* $shape:ident for $module:ident::$domain:ident { $($field:ident: $stored:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(bincode::Encode, bincode::Decode)]
        pub(in crate::stored) struct $shape { $($field: $stored),+ }

        impl Shape<$module::$domain> for $shape {
            fn of(value: &$module::$domain) -> Self {
                Self { $($field: Shape::of(&value.$field)),+ }
            }

            fn restore(self) -> Result<$module::$domain, StoredError> {
                Ok($module::$domain { $($field: self.$field.restore()?),+ })
            }
        }
    };
}

/// An enum stored as the number of the variant in this list, then its fields: new variants go to the end.
macro_rules! stored_enum {
    ($(#[$doc:meta])* $shape:ident for $module:ident::$domain:ident {
        $($variant:ident $({ $($field:ident: $stored:ty),+ })?),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(bincode::Encode, bincode::Decode)]
        pub(super) enum $shape { $($variant $(($($stored),+))?),+ }

        impl Shape<$module::$domain> for $shape {
            fn of(value: &$module::$domain) -> Self {
                match value {
                    $($module::$domain::$variant { $($($field),+)? } => {
                        Self::$variant $(($(Shape::of($field)),+))?
                    })+
                }
            }

            fn restore(self) -> Result<$module::$domain, StoredError> {
                Ok(match self {
                    $(Self::$variant $(($($field),+))? => {
                        $module::$domain::$variant { $($($field: $field.restore()?),+)? }
                    })+
                })
            }
        }
    };
}

macro_rules! stored_as_itself {
    ($($plain:ty),+) => {$(
        impl Shape<$plain> for $plain {
            fn of(value: &$plain) -> Self {
                value.clone()
            }

            fn restore(self) -> Result<$plain, StoredError> {
                Ok(self)
            }
        }
    )+};
}

stored_as_itself!(bool, u16, u32, u64, f64, String, [u8; 32], BTreeSet<String>);

macro_rules! stored_as_number {
    ($($counter:ty, $from:path, $into:path);+) => {$(
        impl Shape<$counter> for u64 {
            fn of(value: &$counter) -> Self {
                $into(*value)
            }

            fn restore(self) -> Result<$counter, StoredError> {
                Ok($from(self))
            }
        }
    )+};
}

stored_as_number!(
    Offset, Offset::new, Offset::value;
    StreamOrdinal, StreamOrdinal::new, StreamOrdinal::value;
    Timestamp, Timestamp::from_millis, Timestamp::as_millis
);

macro_rules! stored_as_name {
    ($($name:ty, $what:literal);+) => {$(
        impl Shape<$name> for String {
            fn of(value: &$name) -> Self {
                value.as_str().to_owned()
            }

            fn restore(self) -> Result<$name, StoredError> {
                <$name>::new(&self).map_err(|error| StoredError::invalid($what, &error))
            }
        }
    )+};
}

stored_as_name!(
    TenantId, "tenant";
    StreamName, "stream name";
    IdempotencyKey, "idempotency key";
    ProducerId, "producer id"
);

impl Shape<Incarnation> for u64 {
    fn of(value: &Incarnation) -> Self {
        value.value()
    }

    fn restore(self) -> Result<Incarnation, StoredError> {
        let incarnation = Incarnation::at(Position::new(self));
        let fits = incarnation.value() == self;
        if fits {
            Ok(incarnation)
        } else {
            Err(StoredError::invalid("incarnation", &format!("{self} has over 40 bits")))
        }
    }
}

/// A run's id: the routing hash, then the ULID, both big-endian.
impl Shape<RunId> for [u8; 20] {
    fn of(value: &RunId) -> Self {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&value.routing_hash().bits().to_be_bytes());
        bytes[4..].copy_from_slice(&value.ulid().to_be_bytes());
        bytes
    }

    fn restore(self) -> Result<RunId, StoredError> {
        let (hash, ulid) = self.split_first_chunk::<4>().expect("20 bytes begin with 4");
        let ulid = <[u8; 16]>::try_from(ulid).expect("16 bytes are left of 20");
        Ok(RunId::new(RoutingHash::from_bits(u32::from_be_bytes(*hash)), u128::from_be_bytes(ulid)))
    }
}

impl Shape<WorkflowHash> for [u8; 32] {
    fn of(value: &WorkflowHash) -> Self {
        *value.as_bytes()
    }

    fn restore(self) -> Result<WorkflowHash, StoredError> {
        Ok(WorkflowHash::from_bytes(self))
    }
}

impl Shape<Arc<str>> for String {
    fn of(value: &Arc<str>) -> Self {
        (**value).to_owned()
    }

    fn restore(self) -> Result<Arc<str>, StoredError> {
        Ok(self.into())
    }
}

impl<V, S: Shape<V>> Shape<Option<V>> for Option<S> {
    fn of(value: &Option<V>) -> Self {
        value.as_ref().map(S::of)
    }

    fn restore(self) -> Result<Option<V>, StoredError> {
        self.map(S::restore).transpose()
    }
}

impl<V, S: Shape<V>> Shape<Box<V>> for Box<S> {
    fn of(value: &Box<V>) -> Self {
        Self::new(S::of(value))
    }

    fn restore(self) -> Result<Box<V>, StoredError> {
        (*self).restore().map(Box::new)
    }
}

impl<V, S: Shape<V>> Shape<Vec<V>> for Vec<S> {
    fn of(value: &Vec<V>) -> Self {
        value.iter().map(S::of).collect()
    }

    fn restore(self) -> Result<Vec<V>, StoredError> {
        self.into_iter().map(S::restore).collect()
    }
}

impl<S: Shape<Payload>> Shape<Items> for Vec<S> {
    fn of(items: &Items) -> Self {
        items.iter().map(S::of).collect()
    }

    fn restore(self) -> Result<Items, StoredError> {
        self.into_iter().map(S::restore).collect()
    }
}

impl<V, S: Shape<V>> Shape<BTreeMap<u32, V>> for BTreeMap<u32, S> {
    fn of(value: &BTreeMap<u32, V>) -> Self {
        value.iter().map(|(&number, inner)| (number, S::of(inner))).collect()
    }

    fn restore(self) -> Result<BTreeMap<u32, V>, StoredError> {
        self.into_iter().map(|(number, inner)| Ok((number, inner.restore()?))).collect()
    }
}

impl<A, B, S: Shape<A>, T: Shape<B>> Shape<(A, B)> for (S, T) {
    fn of((a, b): &(A, B)) -> Self {
        (S::of(a), T::of(b))
    }

    fn restore(self) -> Result<(A, B), StoredError> {
        Ok((self.0.restore()?, self.1.restore()?))
    }
}
