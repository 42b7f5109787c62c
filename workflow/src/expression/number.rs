//! Numbers of expressions: exact integers where possible, else 64-bit floats.

use std::cmp::Ordering;
use std::fmt;

/// A JSON number, or (while an expression runs) NaN or an infinity.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i64),
    /// Beyond `i64`; only from data, so that an id passes through unchanged.
    Large(u64),
    Float(f64),
}

/// Up to here every integer is a float and back.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// The result of a calculation: whole numbers become integers, as jq prints them.
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, so it fits exactly")]
    pub(crate) fn of(value: f64) -> Self {
        if value.fract() == 0.0 && value.abs() <= EXACT { Self::Int(value as i64) } else { Self::Float(value) }
    }

    pub(crate) fn count(value: usize) -> Self {
        i64::try_from(value).map_or(Self::Large(value as u64), Self::Int)
    }

    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 numbers are floats, as in jq")]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Large(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// Rounded towards zero and kept within range, as an index is. NaN is 0.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what an index wants")]
    pub(crate) fn as_i64(self) -> i64 {
        match self {
            Self::Int(value) => value,
            Self::Large(_) => i64::MAX,
            Self::Float(value) => value as i64,
        }
    }

    pub(crate) fn is_finite(self) -> bool {
        match self {
            Self::Int(_) | Self::Large(_) => true,
            Self::Float(value) => value.is_finite(),
        }
    }

    pub(crate) fn add(self, other: Self) -> Self {
        self.exact_or(other, i64::checked_add, |a, b| a + b)
    }

    pub(crate) fn subtract(self, other: Self) -> Self {
        self.exact_or(other, i64::checked_sub, |a, b| a - b)
    }

    pub(crate) fn multiply(self, other: Self) -> Self {
        self.exact_or(other, i64::checked_mul, |a, b| a * b)
    }

    pub(crate) fn negate(self) -> Self {
        Self::Int(0).exact_or(self, i64::checked_sub, |_, b| -b)
    }

    pub(crate) fn absolute(self) -> Self {
        if self.as_f64() < 0.0 { self.negate() } else { self }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.as_f64() == 0.0
    }

    /// `None` for a division by zero. Whole where it comes out even.
    pub(crate) fn divide(self, other: Self) -> Option<Self> {
        match (self, other) {
            (_, zero) if zero.is_zero() => None,
            (Self::Int(a), Self::Int(b)) if a.checked_rem(b) == Some(0) => Some(Self::Int(a / b)),
            (a, b) => Some(Self::of(a.as_f64() / b.as_f64())),
        }
    }

    /// The remainder of the whole parts, with the sign of `self`, as jq has it; `None` for a division by zero.
    pub(crate) fn remainder(self, other: Self) -> Option<Self> {
        if self.as_f64().is_nan() || other.as_f64().is_nan() {
            return Some(Self::Float(f64::NAN));
        }
        let divisor = other.as_i64().unsigned_abs();
        let whole = self.as_i64();
        let rest = whole.unsigned_abs().checked_rem(divisor)?;
        let rest = i64::try_from(rest).unwrap_or(i64::MAX);
        Some(Self::Int(if whole < 0 { -rest } else { rest }))
    }

    fn exact_or(self, other: Self, exact: fn(i64, i64) -> Option<i64>, float: fn(f64, f64) -> f64) -> Self {
        let both = match (self, other) {
            (Self::Int(a), Self::Int(b)) => exact(a, b),
            (Self::Int(_) | Self::Large(_) | Self::Float(_), _) => None,
        };
        both.map_or_else(|| Self::of(float(self.as_f64(), other.as_f64())), Self::Int)
    }

    /// jq's order: NaN is below every number.
    pub(crate) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Large(a), Self::Large(b)) => a.cmp(&b),
            (Self::Int(_), Self::Large(_)) => Ordering::Less,
            (Self::Large(_), Self::Int(_)) => Ordering::Greater,
            (a, b) => match a.as_f64().partial_cmp(&b.as_f64()) {
                Some(order) => order,
                None if a.as_f64().is_nan() => Ordering::Less,
                None => Ordering::Greater,
            },
        }
    }

    pub(crate) fn from_json(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Self::Int(value),
            (None, Some(value)) => Self::Large(value),
            (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    /// `None` for NaN and infinities, which JSON does not have.
    pub(crate) fn to_json(self) -> Option<serde_json::Number> {
        match self {
            Self::Int(value) => Some(value.into()),
            Self::Large(value) => Some(value.into()),
            Self::Float(value) => serde_json::Number::from_f64(value),
        }
    }
}

/// As JSON; NaN is `null` and infinities are the largest floats, as jq writes them.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Large(value) => value.fmt(f),
            Self::Float(value) if value.is_nan() => f.write_str("null"),
            Self::Float(value) => {
                let finite = value.clamp(f64::MIN, f64::MAX);
                serde_json::Number::from_f64(finite).expect("clamped to the finite").fmt(f)
            }
        }
    }
}
