//! Supervision: whether a worker whose run has ended is started again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether a worker is started again when its run has ended by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It is not: what a person typed, and tasks.
    #[default]
    Never,
    /// It is if the run failed.
    OnFailure,
    /// It is, however the run ended.
    Always,
}

impl RestartPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Never, Self::OnFailure, Self::Always];

    /// The word for it, which is typed, stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            RestartPolicy::Never => "never",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Always => "always",
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no restart policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no restart policy; they are never, on-failure, always")]
pub struct NotARestartPolicy(pub String);

impl FromStr for RestartPolicy {
    type Err = NotARestartPolicy;
    fn from_str(text: &str) -> Result<Self, NotARestartPolicy> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| NotARestartPolicy(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_one_word_wherever_it_is_written() {
        for policy in RestartPolicy::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
        }
        assert!("on_failure".parse::<RestartPolicy>().is_err());
    }
}
