//! Taking a judged tree away: under one hold of the repository lock the question "would commits be lost?" is
//! asked again, the tree is renamed aside, git's entry goes, and then the branch.

use std::io;
use std::path::{Path, PathBuf};

use laneway_fault::fault_point;

use crate::admin::{self, AdminFolder, settled_path};
use crate::both::both;
use crate::judge::{Findings, Seen, TreeState, TreeToJudge, UnreachableCommit, tree_state};
use crate::lock::{LockError, RepositoryLock};
use crate::names::{CommitId, branch_ref};
use crate::repository::{Repository, settled};
use crate::rescue::{RescueRef, keep_place};
use crate::run::RunError;
use crate::status::Listing;
use crate::trash::{Trashed, move_aside};

/// What is to be taken away, after a clean judgement. Its files are looked at once more when nobody finds them at
/// their path any longer.
#[derive(Clone, Copy, Debug)]
pub struct TreeToRemove<'a> {
    /// What was judged.
    pub judged: TreeToJudge<'a>,
    /// What the judgement saw: anything else by now is a refusal, but for what is gone.
    pub seen: &'a Seen,
    /// The tree is ours. If not, it and its branch stay.
    pub tree_is_ours: bool,
    /// The name of the tree in the trash: one path component, the lane's id.
    pub id: &'a str,
}

/// What was done.
#[derive(Debug)]
pub struct Removed {
    /// The tree, to be unlinked in the background; also one that a crashed removal had renamed aside.
    pub trashed: Option<Trashed>,
    /// What became of the branch.
    pub branch: BranchFate,
}

/// What became of a branch.
#[derive(Debug)]
#[non_exhaustive]
pub enum BranchFate {
    /// It was ours and is deleted.
    Deleted {
        /// Where it pointed.
        tip: CommitId,
    },
    /// It was gone already.
    Gone,
    /// It is not ours.
    NotOurs,
    /// It is checked out in another worktree, and so stays.
    CheckedOut {
        /// Where.
        at: PathBuf,
    },
    /// git would not delete it; it may have been moved at that moment.
    Kept {
        /// What git said.
        source: RunError,
    },
}

/// Why a tree was not taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It is not the worktree that is registered at the path: a symbolic link, a file, another folder.
    #[error("{} is not a worktree of this repository", path.display())]
    NotOurTree {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: TreeState,
    },
    /// HEAD or the branch is not where the judgement saw it.
    #[error("HEAD or the branch has moved since it was judged")]
    Moved {
        /// Where they are.
        now: Box<Seen>,
    },
    /// Commits would be lost.
    #[error("{} commits would be reachable from nowhere", commits.count)]
    WouldLose {
        /// Which.
        commits: Listing<UnreachableCommit>,
    },
    /// Something was written into the tree since it was judged. It is at its place, as it was.
    #[error("something was written into {} since it was judged", path.display())]
    Written {
        /// The tree.
        path: PathBuf,
        /// What there is now.
        found: Box<Findings>,
    },
    /// The removal failed half-way, and the tree could not be put back.
    #[error("{} is now at {}", path.display(), trash.display())]
    NotPutBack {
        /// Where it was.
        path: PathBuf,
        /// Where it is.
        trash: PathBuf,
        /// Why it was to be put back.
        #[source]
        source: Box<RemoveError>,
    },
    /// The tree could not be renamed aside, or the path cannot be used.
    #[error("{} could not be moved aside", path.display())]
    NotMoved {
        /// The tree.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The lock was not got.
    #[error("the repository lock was not got")]
    Lock(#[from] LockError),
    /// git failed. What was done until then stays done, and the removal can be asked for again.
    #[error("git failed")]
    Git(#[from] RunError),
}

impl Repository {
    /// Takes the tree and, if it is ours, the branch away. Doing it again is fine: what is gone is gone.
    pub fn remove(&self, asked: &TreeToRemove<'_>) -> Result<Removed, RemoveError> {
        let not_moved = |path: &Path, source| RemoveError::NotMoved { path: path.to_owned(), source };
        if !asked.tree_is_ours {
            return Ok(Removed { trashed: None, branch: BranchFate::NotOurs });
        }
        let path = settled_path(asked.judged.path).map_err(|source| not_moved(asked.judged.path, source))?;
        let lock = self.lock()?;
        let admin = self.registered_at(&path).map_err(|source| not_moved(&path, source))?;
        let found = tree_state(&path, admin.as_ref()).map_err(|source| not_moved(&path, source))?;
        if !matches!(found, TreeState::Present | TreeState::Missing) {
            return Err(RemoveError::NotOurTree { path, found });
        }
        let (now, commits) = both(
            || self.seen(admin.as_ref(), asked.judged.recorded_branch),
            || self.unreachable(asked.seen, &asked.judged),
        );
        let now = now?;
        if !is_as_seen(&now, asked.seen) {
            return Err(RemoveError::Moved { now: Box::new(now) });
        }
        // What is gone by now is not asked about.
        let commits = if now == *asked.seen { commits? } else { self.unreachable(&now, &asked.judged)? };
        if !commits.is_empty() {
            return Err(RemoveError::WouldLose { commits });
        }
        let trashed = match &admin {
            Some(admin) => {
                let aside = self.out_of_reach(admin, &path, found, &now, asked)?;
                if let Some(aside) = aside {
                    match self.finish_tree(admin, &path, &aside, &now, asked, &lock) {
                        Ok(()) => Some(aside),
                        Err(error) => return Err(put_back(aside, admin, &path, error)),
                    }
                } else {
                    self.hold_named(admin, &now, asked, &lock)?;
                    fault_point!("remove.named-held-without-tree");
                    self.remove_entry(admin, &path, &lock)?;
                    None
                }
            }
            // One that is kept was rescued before a crash.
            None => Trashed::find(&path, asked.id).filter(|aside| !aside.is_kept()),
        };
        let branch = match (asked.judged.branch_is_ours, &now.branch_tip) {
            (false, _) => BranchFate::NotOurs,
            (true, None) => BranchFate::Gone,
            (true, Some(tip)) => self.delete_branch(asked.judged.recorded_branch, tip, &lock)?,
        };
        fault_point!("remove.branch-deleted");
        Ok(Removed { trashed, branch })
    }

    /// Renames the tree into the trash, marked as kept until it was looked at there; or finds one that a removal or a
    /// rescue which was broken off has left there.
    fn out_of_reach(
        &self,
        admin: &AdminFolder,
        path: &Path,
        found: TreeState,
        now: &Seen,
        asked: &TreeToRemove<'_>,
    ) -> Result<Option<Trashed>, RemoveError> {
        let not_moved = |source| RemoveError::NotMoved { path: path.to_owned(), source };
        if found == TreeState::Present {
            if has_submodules(admin) {
                self.look_again(admin, path, path, now, asked)?;
            }
            drop(keep_place(path, asked.id).map_err(not_moved)?);
            fault_point!("remove.place-made");
            let aside = move_aside(path, asked.id).map_err(not_moved)?;
            fault_point!("remove.aside");
            return Ok(Some(aside));
        }
        let aside = Trashed::find(path, asked.id).filter(|aside| !aside.has_been_emptied());
        if let Some(aside) = &aside
            && (has_submodules(admin) || aside.modules().symlink_metadata().is_ok())
        {
            let why = format!("{} was left there by a close that was broken off", aside.tree().display());
            let found = Findings { not_looked_at: Some(why), ..Findings::none(now.clone()) };
            return Err(RemoveError::Written { path: path.to_owned(), found: Box::new(found) });
        }
        Ok(aside)
    }

    /// What was written or committed until the tree was renamed aside is seen now; only then git's entry goes.
    fn finish_tree(
        &self,
        admin: &AdminFolder,
        path: &Path,
        aside: &Trashed,
        seen: &Seen,
        asked: &TreeToRemove<'_>,
        lock: &RepositoryLock,
    ) -> Result<(), RemoveError> {
        // Submodules find their repositories by relative paths, which do not lead there from the trash: with them
        // the tree was looked at just before it was renamed.
        let look_again = || {
            if has_submodules(admin) {
                return Ok(());
            }
            self.look_again(admin, path, &aside.tree(), seen, asked)
        };
        let (now, looked) = both(|| self.seen(Some(admin), asked.judged.recorded_branch), look_again);
        looked?;
        fault_point!("remove.looked-again");
        let now = now?;
        if now != *seen {
            return Err(RemoveError::Moved { now: Box::new(now) });
        }
        self.hold_named(admin, seen, asked, lock)?;
        fault_point!("remove.named-held");
        aside.keep_no_longer().map_err(|source| RemoveError::NotMoved { path: path.to_owned(), source })?;
        fault_point!("remove.kept-no-longer");
        self.remove_entry(admin, path, lock)?;
        fault_point!("remove.entry-removed");
        Ok(())
    }

    /// Commits that only the reflogs of this tree still name (amended, reset) are held for a while.
    fn hold_named(
        &self,
        admin: &AdminFolder,
        seen: &Seen,
        asked: &TreeToRemove<'_>,
        lock: &RepositoryLock,
    ) -> Result<(), RunError> {
        let of_head = seen.head.iter().filter_map(|head| head.commit.as_ref());
        let held: Vec<&CommitId> = seen.branch_tip.iter().chain(of_head).collect();
        let named = self.named_commits(admin, asked.judged.recorded_branch, &held)?;
        let holder = self.hold(&named, &[], &asked.judged, &format!("commits that {} had", asked.id))?;
        match holder {
            Some(holder) => self.set_rescue_ref(asked.id, RescueRef::Named, &holder, lock),
            None => Ok(()),
        }
    }

    fn look_again(
        &self,
        admin: &AdminFolder,
        path: &Path,
        tree: &Path,
        seen: &Seen,
        asked: &TreeToRemove<'_>,
    ) -> Result<(), RemoveError> {
        let mut found = Findings::none(seen.clone());
        self.look_at_files(admin, tree, asked.judged.before, &mut found)?;
        if found.is_clean() {
            return Ok(());
        }
        Err(RemoveError::Written { path: path.to_owned(), found: Box::new(found) })
    }

    /// Removes git's entry for a tree that is no longer at its path. `git worktree prune` would do it too, but
    /// would also take a person's own worktree whose disk is away just now.
    pub(crate) fn remove_entry(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        lock: &RepositoryLock,
    ) -> Result<(), RunError> {
        let removed = settled(|| {
            self.run("git worktree remove")
                .holding(lock.descriptor()?)
                .args(["worktree", "remove", "--force", "--force"])
                .arg(tree)
                .succeed()
        });
        match removed {
            Err(error) if admin.folder.exists() => {
                // A creation that was broken off leaves entries that git itself cannot read.
                if tree.symlink_metadata().is_ok() || admin::is_readable(admin) {
                    return Err(error);
                }
                self.remove_broken_entry(admin)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn remove_broken_entry(&self, admin: &AdminFolder) -> Result<(), RunError> {
        let what = "removing a broken worktree entry";
        std::fs::remove_dir_all(&admin.folder).map_err(|source| RunError::NotRun { what, source })?;
        // As git does with the last one; fails while there are others.
        let _ = std::fs::remove_dir(self.common_dir().join("worktrees"));
        Ok(())
    }

    /// Deletes a branch of ours if it still points to `tip` and is checked out nowhere.
    pub(crate) fn delete_branch(
        &self,
        name: &str,
        tip: &CommitId,
        lock: &RepositoryLock,
    ) -> Result<BranchFate, RunError> {
        match self.branch(name)? {
            None => return Ok(BranchFate::Gone),
            Some(branch) => {
                if let Some(at) = branch.checked_out_at {
                    return Ok(BranchFate::CheckedOut { at });
                }
                if let Some(at) = self.operation_on(name)? {
                    return Ok(BranchFate::CheckedOut { at });
                }
            }
        }
        let deleted = self
            .run("git update-ref -d")
            .holding(lock.descriptor()?)
            .args(["update-ref", "-d", &branch_ref(name), tip.as_str()])
            .succeed();
        if let Err(source) = deleted {
            return Ok(BranchFate::Kept { source });
        }
        if self.may_be_configured(name) {
            // Whom it followed (`git push -u`); fails where nothing was configured.
            let section = format!("branch.{name}");
            let _ = self
                .run("git config --remove-section")
                .holding(lock.descriptor()?)
                .args(["config", "--local", "--remove-section", &section])
                .succeed();
        }
        Ok(BranchFate::Deleted { tip: tip.clone() })
    }

    /// Whether the configuration names a branch at all: to ask git takes as long as any other step of a removal.
    fn may_be_configured(&self, name: &str) -> bool {
        // Written with a backslash before it.
        let has_quote = name.contains('"');
        let text = std::fs::read(self.common_dir().join("config"));
        has_quote
            || text.map_or(true, |text| text.windows(name.len().max(1)).any(|part| part == name.as_bytes()))
    }
}

/// Whether the tree has submodules whose repositories are in its administrative folder.
fn has_submodules(admin: &AdminFolder) -> bool {
    admin.folder.join("modules").symlink_metadata().is_ok()
}

/// Whatever went wrong, the tree stands where people look for it.
fn put_back(aside: Trashed, admin: &AdminFolder, path: &Path, error: RemoveError) -> RemoveError {
    crate::rescue::give_back(Some(admin), Some(aside), path, error)
}

/// What is gone by now is fine; what is there must be where it was seen.
fn is_as_seen(now: &Seen, seen: &Seen) -> bool {
    let branch = now.branch_tip.is_none() || now.branch_tip == seen.branch_tip;
    let head = now.head.is_none() || now.head == seen.head;
    branch && head
}
