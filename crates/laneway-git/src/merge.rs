//! Merging a commit into a branch, without a checkout where that is possible.
//!
//! The merge is made as objects first (`merge-tree`); only when it is whole, the branch moves, by one
//! compare-and-set. A branch that is checked out moves with its files, and only while nothing there is changed. A
//! conflict leaves everything as it was.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use laneway_fault::fault_point;

use crate::admin::present;
use crate::complaint::Complaint;
use crate::lock::LockError;
use crate::names::{CommitId, branch_ref};
use crate::repository::{Repository, not_read};
use crate::run::RunError;
use crate::status::{Listing, StatusEntry};

/// How a merge ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The branch had it already.
    AlreadyThere,
    /// The branch stands at this commit now.
    Moved {
        /// Which.
        to: CommitId,
        /// The merged commit itself, without one of two parents.
        fast_forward: bool,
    },
}

/// Why nothing was merged. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There is no local branch of that name to merge into.
    #[error("{into:?} is no local branch")]
    NoSuchBranch {
        /// What was to be merged into.
        into: String,
    },
    /// Both sides changed the same.
    #[error("{} in conflict", if files.count == 1 { "1 file".to_owned() } else { format!("{} files", files.count) })]
    Conflict {
        /// Which.
        files: Listing<PathBuf>,
    },
    /// The branch is checked out, with changes in it.
    #[error("branch {into:?} is checked out at {} with changes that are not committed", at.display())]
    ChangedThere {
        /// The branch.
        into: String,
        /// Where.
        at: PathBuf,
        /// What is changed.
        files: Listing<PathBuf>,
    },
    /// The branch no longer has the commit that this started from, or was moved meanwhile.
    #[error("branch {into:?} is not the one that this was made from any more")]
    Remade {
        /// The branch.
        into: String,
    },
    /// A rebase or a bisection of the branch is under way.
    #[error("branch {into:?} is being rebased or bisected at {}", at.display())]
    InUse {
        /// The branch.
        into: String,
        /// Where.
        at: PathBuf,
    },
    /// git does not know whose commit a merge would be.
    #[error("git does not know who you are")]
    NoIdentity(#[source] RunError),
    /// The lock was not got.
    #[error("the repository lock was not got")]
    Lock(#[from] LockError),
    /// git failed.
    #[error("git failed")]
    Git(#[from] RunError),
}

impl Repository {
    /// Merges `commit`, which goes back to `base`, into the local branch `into`. Doing it again is fine.
    pub fn merge(
        &self,
        into: &str,
        commit: &CommitId,
        base: &CommitId,
        message: &str,
    ) -> Result<Merged, MergeError> {
        let target = self.branch(into)?.ok_or_else(|| MergeError::NoSuchBranch { into: into.to_owned() })?;
        if self.is_ancestor(commit, &target.tip)? {
            return Ok(Merged::AlreadyThere);
        }
        if !self.is_ancestor(base, &target.tip)? {
            return Err(MergeError::Remade { into: into.to_owned() });
        }
        if let Some(at) = self.operation_on(into)? {
            return Err(MergeError::InUse { into: into.to_owned(), at });
        }
        let fast_forward = self.is_ancestor(&target.tip, commit)?;
        let to = if fast_forward { commit.clone() } else { self.merge_commit(&target.tip, commit, message)? };
        fault_point!("merge.committed");
        match &target.checked_out_at {
            None => {
                let lock = self.lock()?;
                self.run("git update-ref")
                    .holding(lock.descriptor()?)
                    .args(["update-ref", "-m", message, &branch_ref(into), to.as_str(), target.tip.as_str()])
                    .succeed()?;
            }
            Some(at) => self.move_with_files(into, at, &to)?,
        }
        fault_point!("merge.moved");
        if self.branch(into)?.is_none_or(|now| now.tip != to) {
            return Err(MergeError::Remade { into: into.to_owned() });
        }
        Ok(Merged::Moved { to, fast_forward })
    }

    /// The worktree in which a rebase or a bisection of this branch is under way; git does not list it as checked out
    /// there, and goes back to it in the end.
    pub(crate) fn operation_on(&self, branch: &str) -> Result<Option<PathBuf>, RunError> {
        let mut folders = vec![(self.common_dir().to_owned(), Some(self.root().to_owned()))];
        let linked = crate::admin::admin_folders(self.common_dir()).map_err(not_read)?;
        folders.extend(linked.into_iter().map(|admin| (admin.folder, admin.tree)));
        let full = branch_ref(branch);
        for (folder, tree) in folders {
            for (file, name) in [
                ("rebase-merge/head-name", full.as_str()),
                ("rebase-apply/head-name", full.as_str()),
                ("BISECT_START", branch),
            ] {
                let said = present(std::fs::read(folder.join(file))).map_err(not_read)?.unwrap_or_default();
                if said.trim_ascii_end() == name.as_bytes() {
                    return Ok(Some(tree.unwrap_or(folder)));
                }
            }
        }
        Ok(None)
    }

    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, RunError> {
        let (finished, _) = self
            .run("git merge-base --is-ancestor")
            .reads()
            .args(["merge-base", "--is-ancestor", ancestor.as_str(), of.as_str()])
            .output()?;
        match finished.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => finished.or_failed().map(|_| false),
        }
    }

    fn merge_commit(
        &self,
        ours: &CommitId,
        theirs: &CommitId,
        message: &str,
    ) -> Result<CommitId, MergeError> {
        let what = "git merge-tree";
        let (finished, said) = self
            .run(what)
            .args(["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z"])
            .args([ours.as_str(), theirs.as_str()])
            .limit(self.git().limits().checkout)
            .output()?;
        let mut parts = said.split(|byte| *byte == 0);
        let tree = parts.next().unwrap_or_default();
        match finished.code() {
            Some(0) => {}
            Some(1) => {
                let mut files = Listing::default();
                parts
                    .filter(|path| !path.is_empty())
                    .for_each(|path| files.push(PathBuf::from(OsStr::from_bytes(path))));
                return Err(MergeError::Conflict { files });
            }
            _ => drop(finished.or_failed()?),
        }
        let tree = CommitId::from_git(tree).ok_or_else(|| RunError::not_understood(what, &said))?;
        let what = "git commit-tree";
        let made = self
            .run(what)
            .args(["commit-tree", tree.as_str(), "-p", ours.as_str(), "-p", theirs.as_str(), "-m", message])
            .succeed();
        match made {
            Ok(said) => Ok(CommitId::from_git(&said).ok_or_else(|| RunError::not_understood(what, &said))?),
            Err(error) if error.complaint() == Some(Complaint::NoIdentity) => {
                Err(MergeError::NoIdentity(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// git moves the branch, the index and the files together, and refuses where a file is in its way.
    fn move_with_files(&self, into: &str, at: &Path, to: &CommitId) -> Result<(), MergeError> {
        let mut files = Listing::default();
        let git_dir = if at == self.root() {
            self.common_dir().to_owned()
        } else {
            let admin = self.registered_at(at).map_err(not_read)?;
            admin.map_or_else(|| at.join(".git"), |admin| admin.folder)
        };
        self.each_changed(&git_dir, at, &mut |path| files.push(path))?;
        if !files.is_empty() {
            return Err(MergeError::ChangedThere { into: into.to_owned(), at: at.to_owned(), files });
        }
        self.run_in("git merge --ff-only", &git_dir, at)
            .args(["merge", "--ff-only", "--no-squash", "--quiet", "--no-overwrite-ignore", to.as_str()])
            .limit(self.git().limits().checkout)
            .succeed_with_words()?;
        Ok(())
    }

    /// Tracked files that are not as they were committed.
    fn each_changed(
        &self,
        git_dir: &Path,
        tree: &Path,
        changed: &mut dyn FnMut(PathBuf),
    ) -> Result<(), RunError> {
        let what = "git status";
        let mut odd = None;
        self.run_in(what, git_dir, tree)
            .reads()
            .args(["status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=no"])
            .each_record(0, &mut |record| match crate::status::parse(record) {
                Some(StatusEntry::Changed(file)) => changed(file.path),
                Some(StatusEntry::Untracked(_) | StatusEntry::Ignored(_)) => {}
                None => odd = Some(RunError::not_understood(what, record)),
            })?
            .or_failed()?;
        odd.map_or(Ok(()), Err)
    }
}
