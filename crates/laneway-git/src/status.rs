//! What `git status` says of one tree, read as it comes: exact counts, bounded lists.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::admin::AdminFolder;
use crate::repository::Repository;
use crate::run::RunError;

/// The start of a list that may be long, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// At most `Listing::SHOWN` of them.
    pub first: Vec<T>,
    /// How many there are.
    pub count: usize,
}

impl<T> Listing<T> {
    /// The most that a listing shows: enough to recognise what it is about.
    pub const SHOWN: usize = 50;

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn push(&mut self, item: T) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(item);
        }
    }
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

/// A tracked file that is not as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path in the tree.
    pub path: PathBuf,
    /// The index differs from HEAD.
    pub staged: bool,
    /// The tree differs from the index.
    pub unstaged: bool,
    /// A merge has left it in conflict.
    pub conflicted: bool,
    /// It is a submodule: other commits, changes or untracked files in it.
    pub is_submodule: bool,
    /// `git status` does not show the change, because the file is marked assume-unchanged or skip-worktree.
    pub is_hidden: bool,
    /// The file is gone from the tree.
    pub is_deleted: bool,
}

/// One record of `status --porcelain=v2 -z`.
pub(crate) enum StatusEntry {
    Changed(ChangedFile),
    Untracked(PathBuf),
    /// A file, or a whole folder that a pattern ignores (its path ends with `/`).
    Ignored(PathBuf),
}

impl Repository {
    /// Runs `git status` on a tree, with every setting and cache out of the way that could hide something,
    /// and gives what it said on stderr about what it could not look at.
    pub(crate) fn each_status_entry(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        index: Option<OsString>,
        entry: &mut dyn FnMut(StatusEntry),
    ) -> Result<Option<String>, RunError> {
        let what = "git status";
        let mut run = self
            .run_in(what, &admin.folder, tree)
            .reads()
            .setting("core.untrackedCache=false")
            .args(["status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=all"])
            .args(["--ignored=matching", "--ignore-submodules=none"]);
        if let Some(index) = index {
            run = run.variable("GIT_INDEX_FILE", index);
        }
        let mut odd = None;
        let finished = run.each_record(0, &mut |record| match parse(record) {
            Some(parsed) => entry(parsed),
            None => odd = Some(RunError::not_understood(what, record)),
        })?;
        let finished = finished.or_failed()?;
        odd.map_or(Ok(not_looked_at(&finished.stderr)), Err)
    }
}

/// Warnings about what git could not look at: there may be anything. Other warnings (a wrong line in
/// `.gitattributes`) say nothing about the files.
fn not_looked_at(stderr: &str) -> Option<String> {
    const SIGNS: [&str; 5] = ["could not open", "could not read", "unable to", "permission denied", "error:"];
    let about_files = |line: &&str| {
        let line = line.to_ascii_lowercase();
        SIGNS.iter().any(|sign| line.contains(sign))
    };
    let lines: Vec<&str> = stderr.lines().filter(about_files).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

pub(crate) fn parse(record: &[u8]) -> Option<StatusEntry> {
    let path_after = |n_fields: usize| {
        let path = record.splitn(n_fields + 1, |byte| *byte == b' ').nth(n_fields)?;
        Some(PathBuf::from(OsStr::from_bytes(path)))
    };
    let changed = |n_fields, conflicted| {
        let (index, tree) = (*record.get(2)?, *record.get(3)?);
        Some(StatusEntry::Changed(ChangedFile {
            path: path_after(n_fields)?,
            staged: index != b'.',
            unstaged: tree != b'.',
            conflicted,
            is_submodule: *record.get(5)? == b'S',
            is_hidden: false,
            is_deleted: tree == b'D',
        }))
    };
    match record.first()? {
        b'1' => changed(8, false),
        b'u' => changed(10, true),
        b'?' => path_after(1).map(StatusEntry::Untracked),
        b'!' => path_after(1).map(StatusEntry::Ignored),
        _ => None,
    }
}
