//! What lanes leave in a repository, all of it: for comparing it with what is recorded.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admin::{admin_folders, lock_reason, present};
use crate::lock::RepositoryLock;
use crate::names::branch_ref;
use crate::pool::PooledTree;
use crate::repository::{Repository, not_read};
use crate::run::RunError;
use crate::trash::Trashed;

/// How long nobody has touched a lock of git that may be a dead one's. A git that works holds most of them for
/// milliseconds; that of a commit message's editor is not in the repository.
const LOCK_AGE: Duration = Duration::from_mins(1);

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// The worktrees whose entries name a lane.
    pub trees: Vec<LaneTree>,
    /// The worktrees whose entries name a tree of the pool.
    pub pool: Vec<PoolEntry>,
    /// The local branches.
    pub branches: BTreeSet<String>,
    /// What is in the trash folders that were asked about.
    pub trash: Vec<PathBuf>,
    /// Trees of pools beside those that are being deleted, or could not be, by their ids.
    pub pool_trash: Vec<(String, PathBuf)>,
    /// The rescues that refs hold, by their ids.
    pub rescues: Vec<String>,
    /// Lock files of git that were not touched for a minute.
    pub locks: Vec<PathBuf>,
}

/// A worktree whose entry names a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneTree {
    /// Where it is registered.
    pub path: PathBuf,
    /// The name in the entry.
    pub lane: String,
    /// There is a folder.
    pub is_there: bool,
}

/// A worktree whose entry names a tree of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolEntry {
    /// Where it is registered.
    pub path: PathBuf,
    /// The id in the entry.
    pub id: String,
    /// There is a folder.
    pub is_there: bool,
}

impl Repository {
    /// Looks for all that lanes leave. `tree_paths`: where lanes are or were, for the trash beside them.
    pub fn traces(&self, tree_paths: &[&Path]) -> Result<Traces, RunError> {
        let entries = admin_folders(self.common_dir()).map_err(not_read)?;
        let is_there = |path: &Path| path.symlink_metadata().is_ok_and(|facts| facts.is_dir());
        let trees = entries.iter().filter_map(|admin| {
            let path = admin.tree.clone()?;
            let lane = admin.lane()?.to_owned();
            Some(LaneTree { is_there: is_there(&path), path, lane })
        });
        let pool = entries.iter().filter_map(|admin| {
            let path = admin.tree.clone()?;
            let id = admin.pool_tree()?.to_owned();
            Some(PoolEntry { is_there: is_there(&path), path, id })
        });
        let beside: BTreeSet<PathBuf> = tree_paths.iter().filter_map(|path| Trashed::beside(path)).collect();
        let mut trash = Vec::new();
        for folder in &beside {
            trash.extend(Trashed::all_in(folder).map_err(not_read)?);
        }
        let folders: BTreeSet<PathBuf> =
            tree_paths.iter().filter_map(|path| path.parent()).map(PooledTree::folder).collect();
        let pool_trash = folders.iter().flat_map(|folder| {
            let one = folder.join("any");
            let trash =
                Trashed::beside(&one).and_then(|trash| Trashed::all_in(&trash).ok()).unwrap_or_default();
            let going = Trashed::being_deleted(&one).into_iter().map(|going| going.folder().to_owned());
            trash.into_iter().chain(going)
        });
        let id_of = |path: &Path| Some(path.file_name()?.to_str()?.split('.').next()?.to_owned());
        let pool_trash = pool_trash.filter_map(|path| Some((id_of(&path)?, path)));
        let mut locks = Vec::new();
        let folders = entries.iter().map(|admin| admin.folder.as_path());
        for folder in folders.chain([self.common_dir()]) {
            old_locks(folder, &mut locks).map_err(not_read)?;
        }
        Ok(Traces {
            trees: trees.collect(),
            pool: pool.collect(),
            branches: self.branches_at(&["refs/heads".to_owned()])?.into_keys().collect(),
            pool_trash: pool_trash.collect(),
            trash,
            rescues: self.rescues()?.into_keys().collect(),
            locks,
        })
    }
}

impl Repository {
    /// Whether a branch is as the creation of this lane made it: nothing has been done with it since.
    pub fn is_as_made(&self, branch: &str, lane: &str, id: &str) -> Result<bool, RunError> {
        let reference = branch_ref(branch);
        let args = ["reflog", "show", "--format=%gs", &reference, "--"];
        let said = self.run("git reflog").reads().args(args).succeed()?;
        Ok(String::from_utf8_lossy(&said).trim_end() == lock_reason(lane, id))
    }
}

fn old_locks(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in present(std::fs::read_dir(folder))?.into_iter().flatten() {
        let path = entry?.path();
        let is_gits = path.extension().is_some_and(|end| end == "lock")
            && path.file_name().is_some_and(|name| name != RepositoryLock::FILE);
        let age = || present(path.metadata()).ok()??.modified().ok()?.elapsed().ok();
        if is_gits && age().is_some_and(|age| age >= LOCK_AGE) {
            into.push(path);
        }
    }
    Ok(())
}
