//! Undoing a creation, from what was recorded before it began: after a failure half-way, or after a crash.
//! Only what that creation made is removed, and only as it made it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use laneway_fault::fault_point;

use crate::admin::{self, AdminFolder};
use crate::create::{TreeRecord, UnderLockError};
use crate::judge::{HeadSeen, TreeState, tree_state};
use crate::lock::{FileLock, LockError, RepositoryLock};
use crate::names::CommitId;
use crate::remove::BranchFate;
use crate::repository::{Repository, not_read};
use crate::run::RunError;
use crate::status::StatusEntry;
use crate::trash::{NotUnlinked, Trashed, delete, move_aside};

/// Files that a broken-off checkout may have written in part; more are not looked into.
const MOST_PARTIAL: usize = 64;

/// How an undoing ended.
#[derive(Debug, Default)]
pub struct Undone {
    /// What is still there, and why; empty if all is gone.
    pub left: Vec<Left>,
}

/// Something that a creation made, or may have made, and that was not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Left {
    /// The tree is not as the checkout made it.
    #[error("the tree {} stays: {why}", path.display())]
    Tree {
        /// The tree.
        path: PathBuf,
        /// What is different.
        why: WhyTreeStays,
    },
    /// The tree is in the trash, and could not be deleted there.
    #[error("a part of the tree stays")]
    Trash(#[source] NotUnlinked),
    /// The branch is not as the creation made it.
    #[error("the branch {name:?} stays: {why}")]
    Branch {
        /// The branch.
        name: String,
        /// What is different.
        why: WhyBranchStays,
    },
}

/// Why a tree was not removed by an undo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhyTreeStays {
    /// git's entry for the path says another lane, or none.
    #[error("this creation did not make it")]
    NotMadeHere,
    /// It is a link or a file, or leads to another repository.
    #[error("it is no longer a worktree of this repository")]
    NotAWorktree,
    /// HEAD is elsewhere.
    #[error("its HEAD has moved")]
    HeadMoved,
    /// A file that the checkout did not write, or not like this.
    #[error("{} is not as the checkout made it", path.display())]
    Work {
        /// The first one that was found.
        path: PathBuf,
    },
    /// git could not look at all of it.
    #[error("git could not look at all of it: {said}")]
    NotLookedAt {
        /// In git's words.
        said: String,
    },
}

/// Why a branch was not removed by an undo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhyBranchStays {
    /// Its reflog does not say that this creation made it, or it was moved since.
    #[error("this creation did not make it, or it was moved since")]
    NotMadeHere,
    /// It has other commits by now.
    #[error("it points to {tip}")]
    Moved {
        /// Where it points.
        tip: CommitId,
    },
    /// It is checked out.
    #[error("it is checked out at {}", at.display())]
    CheckedOut {
        /// Where.
        at: PathBuf,
    },
    /// git would not delete it.
    #[error("git would not delete it: {0}")]
    Git(RunError),
}

impl Repository {
    /// Undoes a creation. It can be asked for again, and when nothing was made. A git that an ended daemon
    /// has left behind is waited for, by the locks that it holds.
    pub fn undo(&self, record: &TreeRecord) -> Result<Undone, UnderLockError> {
        let admin = self.registered_at(&record.path).map_err(not_read)?;
        let _checkout_has_ended = match admin {
            Some(admin) => match FileLock::acquire(&admin.lock_file(), self.git().limits().lock) {
                Ok(lock) => Some(lock),
                Err(LockError::Unusable { .. }) if !admin.folder.exists() => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let lock = self.lock()?;
        Ok(self.undo_under(record, &lock)?)
    }

    pub(crate) fn undo_under(&self, record: &TreeRecord, lock: &RepositoryLock) -> Result<Undone, RunError> {
        let mut undone = Undone::default();
        if let Some(admin) = self.registered_at(&record.path).map_err(not_read)? {
            if let Some(why) = self.why_tree_stays(record, &admin)? {
                // Its branch is checked out in it, so it stays too.
                undone.left.push(Left::Tree { path: record.path.clone(), why });
                return Ok(undone);
            }
            // An empty one, as it is made first, needs no room in the trash.
            let is_there =
                std::fs::remove_dir(&record.path).is_err() && record.path.symlink_metadata().is_ok();
            if is_there {
                take_away(&record.path, &trash_id(record))
                    .map_err(|source| RunError::NotRun { what: "moving the tree aside", source })?;
                fault_point!("undo.tree-aside");
            }
            self.remove_entry(&admin, &record.path, lock)?;
            fault_point!("undo.entry-removed");
        }
        // Broken off before git knew of it; a folder with anything in it stays.
        let _ = std::fs::remove_dir(&record.path);
        // Broken off before the path was written; the reason is the first thing that git writes.
        for admin in admin::admin_folders(self.common_dir()).map_err(not_read)? {
            if admin.tree.is_none() && admin.lane_id() == Some(&record.id) {
                self.remove_broken_entry(&admin)?;
            }
        }
        if let Some(trashed) = Trashed::find(&record.path, &trash_id(record))
            && let Err(error) = trashed.unlink()
        {
            undone.left.push(Left::Trash(error));
        }
        fault_point!("undo.tree-deleted");
        if record.branch_is_new
            && let Some(why) = self.undo_branch(record, lock)?
        {
            undone.left.push(Left::Branch { name: record.branch.clone(), why });
        }
        fault_point!("undo.branch-deleted");
        Ok(undone)
    }

    fn undo_branch(
        &self,
        record: &TreeRecord,
        lock: &RepositoryLock,
    ) -> Result<Option<WhyBranchStays>, RunError> {
        let Some(branch) = self.branch(&record.branch)? else { return Ok(None) };
        if branch.tip != record.base_commit {
            return Ok(Some(WhyBranchStays::Moved { tip: branch.tip }));
        }
        if !self.is_as_made(&record.branch, &record.lane, &record.id)? {
            return Ok(Some(WhyBranchStays::NotMadeHere));
        }
        Ok(match self.delete_branch(&record.branch, &branch.tip, lock)? {
            BranchFate::CheckedOut { at } => Some(WhyBranchStays::CheckedOut { at }),
            BranchFate::Kept { source } => Some(WhyBranchStays::Git(source)),
            BranchFate::Deleted { .. } | BranchFate::Gone | BranchFate::NotOurs => None,
        })
    }

    /// `None` if the tree is nothing but what this creation made.
    fn why_tree_stays(
        &self,
        record: &TreeRecord,
        admin: &AdminFolder,
    ) -> Result<Option<WhyTreeStays>, RunError> {
        if admin.lane_id() != Some(&record.id) {
            return Ok(Some(WhyTreeStays::NotMadeHere));
        }
        match look_at_folder(&record.path, admin)? {
            FolderSays::MayGo => return Ok(None),
            FolderSays::Stays(why) => return Ok(Some(why)),
            FolderSays::Nothing => {}
        }
        let HeadSeen { branch, commit } = self.head_of(admin)?;
        let at_base = commit.as_ref() == Some(&record.base_commit) || !record.branch_is_new;
        // A tree of the pool that was just given to the lane is on no branch yet.
        let on_branch =
            branch.as_ref() == Some(&record.branch) || (branch.is_none() && admin.is_just_claimed());
        let (Some(commit), true) = (commit, at_base && on_branch) else {
            return Ok(Some(WhyTreeStays::HeadMoved));
        };
        self.what_checkout_did_not_write(admin, &record.path, &commit)
    }

    /// Compares the tree with the commit by an index of its own: a checkout that was broken off has written
    /// none. Files that are not there yet are as they should be, and so is one that was written in part.
    pub(crate) fn what_checkout_did_not_write(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        commit: &CommitId,
    ) -> Result<Option<WhyTreeStays>, RunError> {
        let index = admin.folder.join("laneway-undo-index");
        self.run_in("git read-tree", &admin.folder, tree)
            .variable("GIT_INDEX_FILE", &index)
            .args(["read-tree", commit.as_str()])
            .succeed()?;
        let mut partial = Vec::new();
        let mut other = None;
        let looked =
            self.each_status_entry(admin, tree, Some(index.clone().into()), &mut |entry| match entry {
                // As the commit has it, whatever HEAD has; or not there yet.
                StatusEntry::Changed(file) if !file.unstaged || file.is_deleted => {}
                StatusEntry::Changed(file) if !file.is_submodule && partial.len() < MOST_PARTIAL => {
                    partial.push(file.path);
                }
                StatusEntry::Changed(file) => drop(other.get_or_insert(file.path)),
                StatusEntry::Untracked(path) | StatusEntry::Ignored(path) => {
                    other.get_or_insert(path);
                }
            });
        // The entry may stay, and this is of no use in it.
        let _ = std::fs::remove_file(&index);
        if let Some(said) = looked? {
            return Ok(Some(WhyTreeStays::NotLookedAt { said }));
        }
        for path in partial {
            if other.is_none() && !self.is_beginning_of(admin, tree, commit, &path)? {
                other = Some(path);
            }
        }
        Ok(other.map(|path| WhyTreeStays::Work { path }))
    }

    /// Whether a file holds only a first part of what the checkout would have written (nothing, after a power
    /// cut): then there is no work in it.
    fn is_beginning_of(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        commit: &CommitId,
        path: &Path,
    ) -> Result<bool, RunError> {
        let file = tree.join(path);
        if !file.symlink_metadata().is_ok_and(|facts| facts.is_file()) {
            return Ok(false);
        }
        let mut there = std::fs::File::open(&file).map_err(not_read)?;
        let mut object = std::ffi::OsString::from(format!("{commit}:"));
        object.push(path);
        let mut is_beginning = true;
        let finished = self
            .run_in("git cat-file", &admin.folder, tree)
            .reads()
            .args(["cat-file", "--filters"])
            .arg(object)
            .carry_out(&mut |expected| {
                // Each piece is compared with as much of the file as there is.
                let mut said = Vec::new();
                let read = there.by_ref().take(expected.len() as u64).read_to_end(&mut said);
                is_beginning &= read.is_ok() && expected.starts_with(&said);
            })?;
        let nothing_more = there.read(&mut [0]).is_ok_and(|n| n == 0);
        Ok(is_beginning && nothing_more && finished.code() == Some(0))
    }
}

/// What the folder of a tree says by itself.
pub(crate) enum FolderSays {
    /// There is nothing in it, or there is none.
    MayGo,
    /// It is something else than what was made.
    Stays(WhyTreeStays),
    /// Look into it.
    Nothing,
}

pub(crate) fn look_at_folder(path: &Path, admin: &AdminFolder) -> Result<FolderSays, RunError> {
    Ok(match tree_state(path, Some(admin)).map_err(not_read)? {
        TreeState::Missing => FolderSays::MayGo,
        TreeState::NotAFolder => FolderSays::Stays(WhyTreeStays::NotAWorktree),
        TreeState::Present | TreeState::NotRegistered if holds_no_files(path) => FolderSays::MayGo,
        TreeState::NotRegistered => FolderSays::Stays(WhyTreeStays::NotAWorktree),
        TreeState::Present => FolderSays::Nothing,
    })
}

/// Moves a tree into the trash beside it, under this id.
pub(crate) fn take_away(path: &Path, id: &str) -> io::Result<()> {
    match move_aside(path, id) {
        // Often the very reason for the undoing: to move it aside takes a folder, to delete it nothing.
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            delete(path).map_err(|error| error.source)
        }
        moved => moved.map(drop),
    }
}

fn trash_id(record: &TreeRecord) -> String {
    let name = record.path.file_name().unwrap_or_default();
    format!("undo-{}", name.to_string_lossy())
}

/// An empty folder, or one with git's own file only.
fn holds_no_files(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .is_ok_and(|entries| entries.iter().all(|entry| entry.file_name() == ".git"))
}
