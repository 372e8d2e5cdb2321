//! Trees that are kept ready for lanes to come: made in the background, with a detached HEAD, and given to a lane by
//! renaming them.
//!
//! ```text
//! make ─► (a second passes) ─► settle ─► (a tick passes) ─► look: ready ─► claim
//!    └───────────────────────────────────┴──────────────────────┴───► remove, if it is as it was made
//! ```
//!
//! git takes the files of an index for unchanged by their times, down to the second: a tree whose index was written in
//! the same second as its files is read again by the first `git status` in it. So it is settled a second later.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use laneway_fault::fault_point;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use crate::admin::{AdminFolder, admin_folders, lock_reason, pool_reason, present};
use crate::both::both;
use crate::create::{
    CreateError, CreateRefusal, CreateWarning, Created, StepError, TreeRecord, UnderLockError, room_at,
};
use crate::judge::{Findings, Seen};
use crate::label;
use crate::lock::{FileLock, LockError, RepositoryLock};
use crate::names::{CommitId, branch_ref};
use crate::repository::{Repository, not_read, settled};
use crate::run::RunError;
use crate::stamp::TreeStamp;
use crate::status::{ChangedFile, StatusEntry};
use crate::trash::{FOLDER_OF_LANES, Trashed};
use crate::undo::{FolderSays, Left, Undone, WhyTreeStays, look_at_folder, take_away};
use crate::writing;

/// Why a tree is not used that is as it was made.
const WRITTEN_OTHERWISE: &str = "git would write its files otherwise now";

/// A tree of the pool, as it is recorded before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PooledTree {
    /// Its id: it stands in the reason that git's entry is locked with.
    pub id: String,
    /// Where it is: directly in the pool's folder.
    pub path: PathBuf,
    /// The commit that its files are of.
    pub commit: CommitId,
}

/// Why a tree of the pool is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// git cannot move trees with submodules.
    #[error("the repository has submodules, and git cannot move trees with them")]
    Submodules,
    /// There is too little room.
    #[error("{} MiB are free, and a lane needs at least {} MiB", free >> 20, needed >> 20)]
    NoRoom {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to be.
        needed: u64,
    },
    /// It is not as it was made.
    #[error("{} is not as it was made: {what}", path.display())]
    NotAsMade {
        /// The tree.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// Changes in it would not show for sure, on this filesystem or at this moment.
    #[error("whether {} stays as it is could not be told", path.display())]
    NoStamp {
        /// The tree.
        path: PathBuf,
    },
    /// A step failed.
    #[error("the tree could not be made ready")]
    Step(#[from] StepError),
    /// The lock was not got.
    #[error("the repository lock was not got")]
    Lock(#[from] LockError),
}

impl From<RunError> for PoolError {
    fn from(error: RunError) -> Self {
        Self::Step(error.into())
    }
}

/// Why a lane did not get a tree of the pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It was not used, and nothing was made: the lane's tree is to be made as any other.
    #[error("a tree of the pool was not used: {why}")]
    NotUsed {
        /// Why.
        why: String,
    },
    /// The lane's tree cannot be made, whatever it is made from; or the rest of its making failed.
    #[error(transparent)]
    Create(#[from] CreateError),
}

impl Repository {
    /// Makes a tree of the pool: git's entry, locked for nobody to prune, and its files, at the lowest priority.
    pub fn make_pooled(&self, tree: &PooledTree) -> Result<(), PoolError> {
        if self.has_submodules_at(&tree.commit)? {
            return Err(PoolError::Submodules);
        }
        let needed = self.rules().least_room;
        if let Some(free) = room_at(&tree.path).filter(|free| *free < needed) {
            return Err(PoolError::NoRoom { free, needed });
        }
        let folder = tree.path.parent().unwrap_or(&tree.path);
        let lock = self.lock()?;
        // Hidden as the lanes are that it stands among.
        self.make_parent(folder)?;
        match std::fs::create_dir(folder) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StepError::File { path: folder.to_owned(), source }.into());
            }
            Ok(()) | Err(_) => {}
        }
        let way = self.way_of_writing()?;
        settled(|| {
            self.run("git worktree add")
                .in_background()
                .holding(lock.descriptor()?)
                .args(["worktree", "add", "--quiet", "--lock", "--reason", &pool_reason(&tree.id)])
                .args(["--no-checkout", "--detach"])
                .args([tree.path.as_os_str(), OsStr::new(tree.commit.as_str())])
                .succeed()
        })?;
        fault_point!("pool.entered");
        drop(lock);
        let admin = self.admin_of_pooled(tree)?;
        writing::note(&admin, &way)
            .map_err(|source| StepError::File { path: admin.folder.clone(), source })?;
        let limits = self.git().limits();
        let lock = FileLock::acquire(&admin.lock_file(), limits.lock)?;
        let held = lock.descriptor().map_err(|source| RunError::NotRun { what: "git reset", source })?;
        self.run_in("git reset --hard", &admin.folder, &tree.path)
            .in_background()
            .args(["reset", "--hard", "--quiet", "--no-recurse-submodules"])
            .holding(held)
            .limit(limits.checkout)
            .succeed()?;
        fault_point!("pool.checked-out");
        Ok(())
    }

    /// Reads its files once more, and has its index count as written now.
    pub fn settle_pooled(&self, tree: &PooledTree) -> Result<(), PoolError> {
        let admin = self.admin_of_pooled(tree)?;
        self.refuse_unless_as_made(&admin, tree)?;
        let index = admin.folder.join("index");
        let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let settled = File::options().write(true).open(&index).and_then(|index| {
            Ok(futimens(&index, &Timestamps { last_access: now(), last_modification: now() })?)
        });
        settled.map_err(|source| StepError::File { path: index, source })?;
        fault_point!("pool.settled");
        Ok(())
    }

    /// Looks whether it is exactly as it was made; gives how it looks, so that a claim need not read it.
    pub fn look_at_pooled(&self, tree: &PooledTree) -> Result<TreeStamp, PoolError> {
        let admin = self.admin_of_pooled(tree)?;
        if !self.is_written_as_now(&admin)? {
            let (path, what) = (tree.path.clone(), WRITTEN_OTHERWISE.to_owned());
            return Err(PoolError::NotAsMade { path, what });
        }
        self.stamp_as_made(&admin, tree)
    }

    /// Gives a tree of the pool to a lane: it is renamed to the lane's place, and its HEAD is put on the lane's new
    /// branch. It must look as it did when it was looked at last, and be of the commit that the lane starts at.
    ///
    /// From the first change on git's entry names the lane, so that [`Repository::undo`] undoes all of it once the
    /// tree has moved, and [`Repository::remove_pooled`] before.
    pub fn claim(
        &self,
        record: &TreeRecord,
        tree: &PooledTree,
        stamp: &TreeStamp,
    ) -> Result<Created, ClaimError> {
        let not_used = |why: &dyn std::fmt::Display| ClaimError::NotUsed { why: why.to_string() };
        if !record.branch_is_new || record.upstream_remote.is_some() || record.base_commit != tree.commit {
            return Err(not_used(&"it is for another kind of lane"));
        }
        let lock = self.lock().map_err(CreateError::from)?;
        if present(record.path.symlink_metadata()).ok().flatten().is_some() {
            return Err(CreateError::from(CreateRefusal::PathExists { path: record.path.clone() }).into());
        }
        let admin = self.admin_of_pooled(tree).map_err(|error| not_used(&error))?;
        let head = std::fs::read(admin.folder.join("HEAD")).unwrap_or_default();
        if CommitId::from_git(head.trim_ascii_end()).as_ref() != Some(&tree.commit) {
            return Err(not_used(&"it is not as it was made"));
        }
        // The walk takes the longer the more files there are, and git a start.
        let ((is_written_as_now, hook), is_as_made) = both(
            || both(|| self.is_written_as_now(&admin), || self.post_checkout_hook(&tree.path)),
            || stamp.still_holds(self.common_dir(), &admin, &tree.path, Some(&tree.commit)),
        );
        if !is_as_made {
            return Err(not_used(&"it is not as it was made"));
        }
        match is_written_as_now {
            Ok(true) => {}
            Ok(false) => return Err(not_used(&WRITTEN_OTHERWISE)),
            Err(error) => return Err(not_used(&error)),
        }
        self.make_parent(&record.path).map_err(|error| not_used(&error))?;
        self.make_branch(record, &lock)?;
        fault_point!("claim.branch-made");
        let moved = self.move_to_lane(record, tree, &admin, &lock);
        if let Err(error) = moved {
            drop(lock);
            return Err(match self.broken_off(record, error) {
                CreateError::Failed { source, undone: Ok(undone) } if undone.left.is_empty() => {
                    not_used(&source)
                }
                error => error.into(),
            });
        }
        writing::forget(&admin);
        tree.remove_empty_folder();
        drop(lock);
        let mut warnings = Vec::new();
        // One of the tree's own files has moved with it.
        let moved = |hook: PathBuf| match hook.strip_prefix(&tree.path) {
            Ok(inside) => record.path.join(inside),
            Err(_) => hook,
        };
        if let Err(error) = hook.and_then(|hook| self.run_hook(moved(hook), record)) {
            warnings.push(CreateWarning::Hook(error));
        }
        fault_point!("claim.hook-run");
        Ok(Created { warnings })
    }

    /// Removes a tree of the pool, also one that was half made, or half given to the lane of this id; only if it is
    /// exactly as it was made, else it stays and is told. Gone already is fine.
    pub fn remove_pooled(&self, tree: &PooledTree, lane: Option<&str>) -> Result<Undone, UnderLockError> {
        let mut undone = Undone::default();
        let admin = self.registered_at(&tree.path).map_err(not_read)?;
        // A git that an ended daemon has left behind is waited for.
        let _checkout_has_ended = match &admin {
            Some(admin) => match FileLock::acquire(&admin.lock_file(), self.git().limits().lock) {
                Ok(lock) => Some(lock),
                Err(LockError::Unusable { .. }) if !admin.folder.exists() => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let lock = self.lock()?;
        if let Some(admin) = self.registered_at(&tree.path).map_err(not_read)? {
            if let Some(why) = self.why_pooled_stays(&admin, tree, lane)? {
                undone.left.push(Left::Tree { path: tree.path.clone(), why });
                return Ok(undone);
            }
            if tree.path.symlink_metadata().is_ok() {
                take_away(&tree.path, &tree.id)
                    .map_err(|source| RunError::NotRun { what: "moving the tree aside", source })?;
                fault_point!("pool.tree-aside");
            }
            self.remove_entry(&admin, &tree.path, &lock)?;
            fault_point!("pool.entry-removed");
        }
        for admin in admin_folders(self.common_dir()).map_err(not_read)? {
            if admin.tree.is_none() && admin.locked.as_ref() == Some(&pool_reason(&tree.id)) {
                self.remove_broken_entry(&admin)?;
            }
        }
        drop(lock);
        // Also what a removal that was broken off was just deleting: one tree of a pool is removed at a time.
        let aside = Trashed::find(&tree.path, &tree.id);
        for trashed in aside.into_iter().chain(Trashed::being_deleted(&tree.path)) {
            if let Err(error) = trashed.unlink() {
                undone.left.push(Left::Trash(error));
            }
        }
        Trashed::remove_empty(&tree.path);
        fault_point!("pool.tree-deleted");
        tree.remove_empty_folder();
        Ok(undone)
    }

    /// With the branch there: git's entry is marked and names the lane, the tree is at its place, and then HEAD is on the branch.
    fn move_to_lane(
        &self,
        record: &TreeRecord,
        tree: &PooledTree,
        admin: &AdminFolder,
        lock: &RepositoryLock,
    ) -> Result<(), StepError> {
        let reason = lock_reason(&record.lane, &record.id);
        let failed = |source| StepError::File { path: admin.folder.clone(), source };
        File::create(admin.claim_mark()).map_err(failed)?;
        fault_point!("claim.marked");
        label::write(&admin.folder, &reason).map_err(failed)?;
        settled(|| {
            self.run("git worktree move")
                .holding(lock.descriptor()?)
                // Twice, as the tree is locked.
                .args(["worktree", "move", "--force", "--force"])
                .args([&tree.path, &record.path])
                .succeed()
        })?;
        fault_point!("claim.moved");
        self.run_in("git symbolic-ref", &admin.folder, &record.path)
            .args(["symbolic-ref", "-m", &reason, "HEAD", &branch_ref(&record.branch)])
            .succeed()?;
        fault_point!("claim.head-set");
        std::fs::remove_file(admin.claim_mark()).map_err(failed)?;
        fault_point!("claim.unmarked");
        Ok(())
    }

    /// `None` if the tree is nothing but what the pool made.
    fn why_pooled_stays(
        &self,
        admin: &AdminFolder,
        tree: &PooledTree,
        lane: Option<&str>,
    ) -> Result<Option<WhyTreeStays>, RunError> {
        let is_of_the_pool = admin.locked.as_deref() == Some(&pool_reason(&tree.id));
        if !is_of_the_pool && (lane.is_none() || admin.lane_id() != lane) {
            return Ok(Some(WhyTreeStays::NotMadeHere));
        }
        match look_at_folder(&tree.path, admin)? {
            FolderSays::MayGo => return Ok(None),
            FolderSays::Stays(why) => return Ok(Some(why)),
            FolderSays::Nothing => {}
        }
        if !self.is_detached_at(admin, &tree.commit)? {
            return Ok(Some(WhyTreeStays::HeadMoved));
        }
        let found = self.what_checkout_did_not_write(admin, &tree.path, &tree.commit)?;
        // To an index that was just read, files look changed that git would write otherwise now. The tree's own index
        // knows them from when they were written.
        if matches!(found, Some(WhyTreeStays::Work { .. }))
            && !self.is_written_as_now(admin)?
            && self.stamp_as_made(admin, tree).is_ok()
        {
            return Ok(None);
        }
        Ok(found)
    }

    fn stamp_as_made(&self, admin: &AdminFolder, tree: &PooledTree) -> Result<TreeStamp, PoolError> {
        self.refuse_unless_as_made(admin, tree)?;
        let head = Some(self.head_of(admin)?);
        let mut found = Findings::none(Seen { head, branch_tip: None });
        self.look_at_files(admin, &tree.path, None, &mut found)?;
        found.stamp.ok_or_else(|| PoolError::NoStamp { path: tree.path.clone() })
    }

    fn is_detached_at(&self, admin: &AdminFolder, commit: &CommitId) -> Result<bool, RunError> {
        let head = self.head_of(admin)?;
        Ok(head.branch.is_none() && head.commit.as_ref() == Some(commit))
    }

    fn admin_of_pooled(&self, tree: &PooledTree) -> Result<AdminFolder, PoolError> {
        let failed = |source| StepError::File { path: self.common_dir().join("worktrees"), source };
        let not_as_made =
            |what: &str| PoolError::NotAsMade { path: tree.path.clone(), what: what.to_owned() };
        let admin = self.registered_at(&tree.path).map_err(failed)?;
        let admin = admin.ok_or_else(|| not_as_made("git has no entry for it"))?;
        if admin.locked.as_deref() != Some(&pool_reason(&tree.id)) {
            return Err(not_as_made("git's entry for it names something else"));
        }
        Ok(admin)
    }

    fn has_submodules_at(&self, commit: &CommitId) -> Result<bool, RunError> {
        let run = self.run("git ls-tree").reads();
        let said =
            run.args(["ls-tree", "-z", "--name-only", commit.as_str(), "--", ".gitmodules"]).succeed()?;
        Ok(!said.is_empty())
    }

    /// Whether there is anything in it but what the checkout wrote, and all of that; ignored files count, too.
    fn refuse_unless_as_made(&self, admin: &AdminFolder, tree: &PooledTree) -> Result<(), PoolError> {
        let not_as_made = |what| PoolError::NotAsMade { path: tree.path.clone(), what };
        if !self.is_detached_at(admin, &tree.commit)? {
            return Err(not_as_made("its HEAD has moved".to_owned()));
        }
        let mut odd = None;
        let not_looked_at = self.each_status_entry(admin, &tree.path, None, &mut |entry| {
            let (StatusEntry::Changed(ChangedFile { path, .. })
            | StatusEntry::Untracked(path)
            | StatusEntry::Ignored(path)) = entry;
            odd.get_or_insert(path);
        })?;
        match odd.map(|path| path.display().to_string()).or(not_looked_at) {
            Some(what) => Err(not_as_made(what)),
            None => Ok(()),
        }
    }
}

impl PooledTree {
    /// The folder of the pool among lanes whose trees are in this folder. No lane can have this name.
    pub fn folder(of_trees: &Path) -> PathBuf {
        // In a folder that others use, too, a plain `.pool` may be somebody's.
        let is_of_lanes = of_trees.file_name().is_some_and(|name| name == FOLDER_OF_LANES);
        of_trees.join(if is_of_lanes { ".pool" } else { ".laneway-pool" })
    }

    /// The last one takes the folder along.
    fn remove_empty_folder(&self) {
        if let Some(folder) = self.path.parent() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}
