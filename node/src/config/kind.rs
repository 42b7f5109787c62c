//! What a setting's text may be, and what it means. The same rules for a file, the environment and a flag.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use gateway::{HostName, WebOrigin};
use types::{Durability, DurabilityError, TenantId};

use super::ProblemCode;
use crate::telemetry::LogLevel;

/// What is allowed for a setting, bounds included.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Whole {
        min: u64,
        max: u64,
    },
    /// A whole number, or `auto`.
    WholeOrAuto {
        min: u64,
        max: u64,
    },
    Decimal {
        min: f64,
        max: f64,
    },
    Flag,
    Directory,
    /// An address and port of this machine itself.
    LoopbackAddress,
    LogLevel,
    /// Sites of web pages, or `none`.
    Origins,
    /// Names of this node, or `none`.
    Hosts,
    /// `none`, or pairs such as `tenant=hours` with commas between.
    ByTenant {
        max: u64,
        unit: &'static str,
    },
    Durability,
    Choice(&'static [&'static str]),
}

/// What a text was read as.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Whole(u64),
    Auto,
    Decimal(f64),
    Flag(bool),
    Text(String),
    Address(SocketAddr),
    LogLevel(LogLevel),
    Origins(Vec<WebOrigin>),
    Hosts(Vec<HostName>),
    ByTenant(BTreeMap<TenantId, u64>),
    Durability(Durability),
}

/// Why a text is not taken; the message continues "`key` is `text`, but …".
pub(crate) struct Fault {
    pub(crate) code: ProblemCode,
    pub(crate) message: String,
}

/// An empty list, which an empty text is not.
pub(crate) const NONE: &str = "none";

const NO_REMOTE: &str = "this version has neither authentication nor TLS, so it listens only on this machine itself: \
    127.0.0.1 or [::1]; let a proxy that has both stand before it";

impl Kind {
    pub(crate) fn read(self, text: &str) -> Result<Value, Fault> {
        match self {
            Self::WholeOrAuto { .. } if text == "auto" => Ok(Value::Auto),
            Self::Whole { min, max } | Self::WholeOrAuto { min, max } => self.whole(text, min, max),
            Self::Decimal { min, max } => self.decimal(text, min, max),
            Self::Flag => match text {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                _ => Err(self.wrong_kind()),
            },
            Self::Directory if text.contains('\0') => Err(self.wrong_kind()),
            Self::Directory => Ok(Value::Text(text.to_owned())),
            Self::LoopbackAddress => self.loopback(text),
            Self::LogLevel => text.parse().map(Value::LogLevel).map_err(|error| Fault {
                code: ProblemCode::WrongKind,
                message: format!("{error}; {self} is expected"),
            }),
            Self::Origins => list(text).map(Value::Origins),
            Self::Hosts => list(text).map(Value::Hosts),
            Self::ByTenant { max, .. } => self.by_tenant(text, max),
            Self::Durability => text.parse().map(Value::Durability).map_err(|_: DurabilityError| self.out_of_bounds()),
            Self::Choice(allowed) if allowed.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::Choice(_) => Err(self.out_of_bounds()),
        }
    }

    /// Whether a file may say it as a list.
    pub(crate) const fn is_list(self) -> bool {
        matches!(self, Self::Origins | Self::Hosts)
    }

    fn by_tenant(self, text: &str, max: u64) -> Result<Value, Fault> {
        let mut numbers = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|_| text != "none") {
            let (tenant, number) = pair.split_once('=').ok_or_else(|| self.wrong_kind())?;
            let tenant = TenantId::new(tenant.trim()).map_err(|_| self.wrong_kind())?;
            let number: u64 = number.trim().parse().map_err(|_| self.wrong_kind())?;
            if !(1..=max).contains(&number) || numbers.insert(tenant, number).is_some() {
                return Err(self.out_of_bounds());
            }
        }
        Ok(Value::ByTenant(numbers))
    }

    fn whole(self, text: &str, min: u64, max: u64) -> Result<Value, Fault> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong_kind());
        }
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Whole(number)),
            Ok(_) | Err(_) => Err(self.out_of_bounds()),
        }
    }

    fn decimal(self, text: &str, min: f64, max: f64) -> Result<Value, Fault> {
        let number: f64 = text.parse().map_err(|_| self.wrong_kind())?;
        if (min..=max).contains(&number) { Ok(Value::Decimal(number)) } else { Err(self.out_of_bounds()) }
    }

    fn loopback(self, text: &str) -> Result<Value, Fault> {
        let address: SocketAddr = text.parse().map_err(|_| self.wrong_kind())?;
        if address.ip().is_loopback() {
            Ok(Value::Address(address))
        } else {
            Err(Fault { code: ProblemCode::NotLoopback, message: NO_REMOTE.to_owned() })
        }
    }

    fn wrong_kind(self) -> Fault {
        Fault { code: ProblemCode::WrongKind, message: format!("{self} is expected") }
    }

    fn out_of_bounds(self) -> Fault {
        Fault { code: ProblemCode::OutOfBounds, message: format!("only {self} is allowed") }
    }
}

/// Each part of the text by itself.
fn list<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<Vec<T>, Fault> {
    if text == NONE {
        return Ok(Vec::new());
    }
    let read = |part: &str| {
        let wrong = |error| Fault { code: ProblemCode::WrongKind, message: format!("{error}") };
        part.trim().parse::<T>().map_err(wrong)
    };
    text.split(',').map(read).collect()
}

/// What is allowed, as a noun: "a whole number from 1 to 1024".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::WholeOrAuto { min, max } => write!(f, "`auto` or a whole number from {min} to {max}"),
            Self::Decimal { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Flag => f.write_str("`true` or `false`"),
            Self::Directory => f.write_str("a directory"),
            Self::LoopbackAddress => {
                f.write_str("an address of this machine itself with a port, such as 127.0.0.1:7400")
            }
            Self::Origins => f.write_str("`none` or sites such as https://app.example.com"),
            Self::Hosts => f.write_str("`none` or names such as node.example.com"),
            Self::ByTenant { max, unit } => {
                write!(f, "`none` or tenants with {unit} from 1 to {max}, each once, such as `acme=72, beta=12`")
            }
            Self::LogLevel => f.write_str("a level (off, error, warn, info, debug, trace) or levels by module"),
            Self::Durability => write!(
                f,
                "`commit`, `os` or `interval=` and a whole number of milliseconds from 1 to {}",
                Durability::INTERVAL_MS_MAX
            ),
            Self::Choice(allowed) => {
                for (n, word) in allowed.iter().enumerate() {
                    let separator = if n == 0 { "" } else { " or " };
                    write!(f, "{separator}`{word}`")?;
                }
                Ok(())
            }
        }
    }
}
