//! Limits of a worker: how long a run of it may take, and how long it may be idle.
//!
//! They are held by the run's holder, which is there also while no daemon is. What it ends at a limit has failed.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What each run of a worker is limited to; what is not said is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RunLimits {
    /// Milliseconds from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 1))]
    pub wall_ms: Option<NonZeroU64>,
    /// Milliseconds without output, and without a message over its channel; answers to pings are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 1))]
    pub idle_ms: Option<NonZeroU64>,
}

impl RunLimits {
    /// Nothing is limited.
    pub const NONE: Self = Self { wall_ms: None, idle_ms: None };

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// These, and where they say nothing what `others` say.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self { wall_ms: self.wall_ms.or(others.wall_ms), idle_ms: self.idle_ms.or(others.idle_ms) }
    }
}

/// The limit that a run was ended at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// It took too long.
    Wall,
    /// It was idle for too long.
    Idle,
}

impl LimitKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Wall, Self::Idle];

    /// The word for it, which is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            LimitKind::Wall => "wall",
            LimitKind::Idle => "idle",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit; they are wall, idle")]
pub struct NotALimit(pub String);

impl FromStr for LimitKind {
    type Err = NotALimit;
    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| NotALimit(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_one_word_wherever_it_is_written() {
        for kind in LimitKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("time".parse::<LimitKind>().is_err());
    }

    #[test]
    fn what_is_asked_goes_before_what_is_configured_and_nothing_is_no_limit() {
        let limits = |text: &str| serde_json::from_str::<RunLimits>(text);
        let asked = limits(r#"{"wall_ms": 5}"#).unwrap();
        let configured = limits(r#"{"wall_ms": 9, "idle_ms": 7}"#).unwrap();
        assert_eq!(asked.or(configured), limits(r#"{"wall_ms": 5, "idle_ms": 7}"#).unwrap());
        assert!(limits("{}").unwrap().is_none() && !asked.is_none());
        assert!(limits(r#"{"wall_ms": 0}"#).is_err(), "a limit of nothing is a mistake");
    }
}
