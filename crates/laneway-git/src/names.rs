//! Commit ids, and what may be the name of a branch.

use std::fmt;
use std::str::FromStr;

/// The full id of a commit: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(String);

/// A text that is not a full commit id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a full commit id (40 or 64 hexadecimal digits)")]
pub struct NotACommitId(String);

impl CommitId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of no commit, in the same hash.
    pub(crate) fn null_like(&self) -> String {
        "0".repeat(self.0.len())
    }

    /// Reads git's output; `None` also for the id of no commit.
    pub(crate) fn from_git(said: &[u8]) -> Option<Self> {
        let id: Self = std::str::from_utf8(said).ok()?.trim_end().parse().ok()?;
        id.0.bytes().any(|digit| digit != b'0').then_some(id)
    }
}

impl FromStr for CommitId {
    type Err = NotACommitId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotACommitId(text.to_owned()))
        }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether git would take this as the name of a branch: the rules of `git check-ref-format --branch`, without
/// its `@{-1}` shorthand.
pub fn is_legal_branch_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    // git keeps `name.lock` beside a ref while it changes it; on every file system in this spelling only.
    let is_lock = |part: &str| part.as_bytes().ends_with(b".lock");
    let component = |part: &str| !part.is_empty() && !part.starts_with('.') && !is_lock(part);
    !name.starts_with('-')
        && name != "HEAD"
        && name != "@"
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
        && name.split('/').all(component)
}

pub(crate) fn branch_ref(name: &str) -> String {
    format!("refs/heads/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_ids_are_commit_ids() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(id.parse::<CommitId>().unwrap().as_str(), id);
        for wrong in ["", "HEAD", "0123", &id.to_uppercase(), &format!("{id}0")] {
            assert!(wrong.parse::<CommitId>().is_err(), "{wrong}");
        }
        assert_eq!(CommitId::from_git("0".repeat(40).as_bytes()), None);
        assert_eq!(CommitId::from_git(format!("{id}\n").as_bytes()).unwrap().as_str(), id);
    }
}
