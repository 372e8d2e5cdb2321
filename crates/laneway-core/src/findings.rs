//! What a look at a lane's worktree found, and what of it a close would lose.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attachment::{Attachment, Role};
use crate::id::WorkerId;
use crate::name::Name;
use crate::os_text::OsText;

/// The first few of something, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Listed<T> {
    /// The first of them.
    pub first: Vec<T>,
    /// How many there are.
    pub count: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Listed<T> {
    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A commit, as it is shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CommitLine {
    /// The full id.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
}

/// A file and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LargeFile {
    /// Its path in the worktree.
    pub path: OsText,
    /// Its length.
    pub bytes: u64,
}

/// A process, as it is shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProcessLine {
    /// Its number.
    pub pid: u32,
    /// Its command line, cut.
    pub command: String,
}

/// Somebody's use of a lane, as it is shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AttachmentLine {
    /// Who.
    pub who: Name,
    /// The worker, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// What he is in it.
    pub role: Role,
    /// When his lease ends, as RFC 3339 in UTC.
    pub until: String,
}

impl From<&Attachment> for AttachmentLine {
    fn from(attachment: &Attachment) -> Self {
        let Attachment { user, role, until, .. } = attachment;
        Self { who: user.name.clone(), worker: user.worker, role: *role, until: until.in_utc() }
    }
}

/// What a look at a worktree found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What would be lost if the lane went now.
    pub losses: Losses,
    /// Stashes of the repository; told, never a reason to refuse.
    pub stashes: u32,
}

/// Work that would be lost: the reason a close is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Losses {
    /// Files with changes that are not committed.
    pub changed: Listed<OsText>,
    /// Files that git does not know.
    pub untracked: Listed<OsText>,
    /// Ignored files outside the folders that can be made again (`target`, `node_modules` …).
    pub ignored: Listed<OsText>,
    /// Those of them that are too large for a commit: what is rescued of them is in the trash only.
    #[serde(default)]
    pub large: Listed<LargeFile>,
    /// Submodules with changes or commits of their own.
    pub submodules: Listed<OsText>,
    /// Commits that nothing else reaches.
    pub commits: Listed<CommitLine>,
    /// What git is in the middle of.
    pub operation: Option<String>,
    /// Programs of others that stand in the worktree: what they write there would go with it.
    #[serde(default)]
    pub processes: Listed<ProcessLine>,
    /// Others who use the lane: it is not taken from under them, whatever else is said.
    #[serde(default)]
    pub attachments: Listed<AttachmentLine>,
    /// What could not be looked at, and why; never taken for nothing.
    pub not_looked_at: Option<String>,
}

impl Losses {
    /// Whether all that would be lost are commits, which a merge would hold.
    pub fn are_commits_only(&self) -> bool {
        let without = Losses { commits: Listed::default(), ..self.clone() };
        !self.commits.is_empty() && without.is_empty()
    }

    /// The same, but for others who use the lane.
    #[must_use]
    pub fn without_attachments(&self) -> Self {
        Self { attachments: Listed::default(), ..self.clone() }
    }

    /// Nothing would be lost.
    pub const fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.untracked.is_empty()
            && self.ignored.is_empty()
            && self.submodules.is_empty()
            && self.commits.is_empty()
            && self.operation.is_none()
            && self.processes.is_empty()
            && self.attachments.is_empty()
            && self.not_looked_at.is_none()
    }
}

/// One line: `2 changed files, 1 untracked file, 3 commits`.
impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (count, one, many) in [
            (self.changed.count, "changed file", "changed files"),
            (self.untracked.count, "untracked file", "untracked files"),
            (self.ignored.count, "ignored file", "ignored files"),
            (self.submodules.count, "changed submodule", "changed submodules"),
            (self.commits.count, "commit that nothing else holds", "commits that nothing else holds"),
        ] {
            match count {
                0 => {}
                1 => parts.push(format!("1 {one}")),
                n => parts.push(format!("{n} {many}")),
            }
        }
        if let Some(operation) = &self.operation {
            parts.push(format!("an unfinished {operation}"));
        }
        match self.processes.count {
            0 => {}
            1 => parts.push("1 program of somebody else in it".to_owned()),
            n => parts.push(format!("{n} programs of somebody else in it")),
        }
        match self.attachments.count {
            0 => {}
            1 => parts.push("1 other who uses it".to_owned()),
            n => parts.push(format!("{n} others who use it")),
        }
        if self.not_looked_at.is_some() {
            parts.push("something that could not be looked at".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stash_is_no_loss_and_everything_else_is() {
        let clean = Findings { stashes: 2, ..Findings::default() };
        assert!(clean.losses.is_empty());
        let dirty = Losses {
            changed: Listed { first: vec!["a".into()], count: 1 },
            commits: Listed { first: vec![], count: 3 },
            operation: Some("rebase".into()),
            ..Losses::default()
        };
        assert!(!dirty.is_empty());
        assert_eq!(
            dirty.to_string(),
            "1 changed file, 3 commits that nothing else holds, an unfinished rebase"
        );
    }
}
