//! Where a lane's worktree is, and what its branch is called: patterns with `{lane}` in them.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use laneway_git::is_legal_branch_name;
use serde::Deserialize;

/// Stands for the lane's name.
const LANE: &str = "{lane}";

/// Stands for the main worktree; for a bare repository for the folder that it is in.
const ROOT: &str = "{root}";

/// Where worktrees are: `{root}/.lanes/{lane}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WorktreePattern(String);

/// What branches are called: `lane/{lane}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BranchPattern(String);

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPattern {
    /// Every lane would be in the same place.
    #[error("{0:?} has no {{lane}} in its last part, which stands for the lane's name")]
    NoLane(String),
    /// Braces around something else.
    #[error("{0:?} has braces around something else than {{lane}} or {{root}}")]
    UnknownPlaceholder(String),
    /// A shell would read it so, and nobody else does.
    #[error("{0:?} begins with ~, which stands for nothing here; write the whole path")]
    Tilde(String),
    /// Not a possible path.
    #[error("{0:?} cannot be a path")]
    NoPath(String),
    /// Not a possible name of a branch.
    #[error("{0:?} cannot be the name of a branch")]
    NoBranch(String),
}

impl Default for WorktreePattern {
    fn default() -> Self {
        Self("{root}/.lanes/{lane}".to_owned())
    }
}

impl Default for BranchPattern {
    fn default() -> Self {
        Self("lane/{lane}".to_owned())
    }
}

impl TryFrom<String> for WorktreePattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        if text.starts_with('~') {
            return Err(NotAPattern::Tilde(text));
        }
        if text.contains(char::is_control) {
            return Err(NotAPattern::NoPath(text));
        }
        let last = text.rsplit('/').next().unwrap_or_default();
        if last.matches(LANE).count() != 1 || text.matches(LANE).count() != 1 || last.contains(ROOT) {
            return Err(NotAPattern::NoLane(text));
        }
        let without = text.replacen(ROOT, "", 1).replacen(LANE, "", 1);
        if without.contains(['{', '}']) || text.find(ROOT).is_some_and(|at| at > 0) {
            return Err(NotAPattern::UnknownPlaceholder(text));
        }
        Ok(Self(text))
    }
}

impl TryFrom<String> for BranchPattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        match text.split_once(LANE) {
            None => Err(NotAPattern::NoLane(text)),
            Some((before, after)) if before.contains(['{', '}']) || after.contains(['{', '}']) => {
                Err(NotAPattern::UnknownPlaceholder(text))
            }
            Some((before, after))
                if is_legal_branch_name(&format!("{before}x{after}")) && !before.starts_with("refs/") =>
            {
                Ok(Self(text))
            }
            Some(_) => Err(NotAPattern::NoBranch(text)),
        }
    }
}

impl fmt::Display for WorktreePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl WorktreePattern {
    /// Where the worktree of a lane of this name is. What is not absolute is seen from the main worktree.
    pub fn place(&self, root: &Path, lane: &str) -> PathBuf {
        let path = match self.0.strip_prefix(ROOT) {
            Some(rest) => {
                let mut path = OsString::from(root);
                path.push(rest.replace(LANE, lane));
                PathBuf::from(path)
            }
            None => root.join(self.0.replace(LANE, lane)),
        };
        let mut plain = PathBuf::new();
        for part in path.components() {
            match part {
                Component::ParentDir => drop(plain.pop()),
                Component::CurDir => {}
                part => plain.push(part),
            }
        }
        plain
    }

    /// Whether worktrees are elsewhere than below the main worktree.
    pub fn is_elsewhere(&self, root: &Path) -> bool {
        !self.place(root, "x").starts_with(root)
    }
}

impl BranchPattern {
    /// The branch of a lane of this name.
    pub fn branch(&self, lane: &str) -> String {
        self.0.replace(LANE, lane)
    }

    /// What of a branch would be the lane's name: all of it if it is called otherwise.
    pub fn lane_of<'a>(&self, branch: &'a str) -> &'a str {
        let of_pattern = self.0.split_once(LANE).and_then(|(before, after)| {
            branch.strip_prefix(before).and_then(|rest| rest.strip_suffix(after))
        });
        of_pattern.filter(|lane| !lane.is_empty()).unwrap_or(branch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_says_where_the_worktree_of_a_lane_is() {
        let place = |pattern: &str| {
            WorktreePattern::try_from(pattern.to_owned()).map(|pattern| {
                let (place, root) = (pattern.place(Path::new("/r/app"), "a"), Path::new("/r/app"));
                (place.to_str().unwrap().to_owned(), pattern.is_elsewhere(root))
            })
        };
        for (pattern, at, is_elsewhere) in [
            ("{root}/.lanes/{lane}", "/r/app/.lanes/a", false),
            ("{root}-lanes/{lane}", "/r/app-lanes/a", true),
            ("{root}/../lanes/{lane}-x", "/r/lanes/a-x", true),
            ("trees/{lane}", "/r/app/trees/a", false),
            ("../{lane}", "/r/a", true),
            ("/srv/./lanes/{lane}", "/srv/lanes/a", true),
        ] {
            assert_eq!(place(pattern), Ok((at.to_owned(), is_elsewhere)), "{pattern}");
        }
        for wrong in [
            "",
            "{root}/.lanes",
            "{lane}/tree",
            "{lane}{lane}",
            "~/lanes/{lane}",
            "x/{root}/{lane}",
            "{name}/{lane}",
            "{root}{lane}{",
            "a\0/{lane}",
            "{lane}/",
        ] {
            assert!(place(wrong).is_err(), "{wrong}: {:?}", place(wrong));
        }
    }

    #[test]
    fn a_pattern_says_what_the_branch_of_a_lane_is_called_and_which_lane_a_branch_is_of() {
        let pattern = |text: &str| BranchPattern::try_from(text.to_owned());
        let own = pattern("me/{lane}-wip").unwrap();
        assert_eq!(own.branch("a"), "me/a-wip");
        assert_eq!((own.lane_of("me/a-wip"), own.lane_of("feature")), ("a", "feature"));
        assert_eq!(BranchPattern::default().lane_of("lane/a"), "a");
        for wrong in [
            "",
            "lane",
            "{lane}.lock",
            "-{lane}",
            "a b/{lane}",
            "{root}/{lane}",
            "{lane}/{lane}",
            "a..{lane}",
        ] {
            assert!(pattern(wrong).is_err(), "{wrong}");
        }
    }
}
