//! Taking a tree away with whatever is in it, so that nothing of it is lost: the tree itself goes to the trash
//! with a copy of what git knew of it, and refs under `refs/laneway/rescue/<id>/` hold its commits.
//!
//! ```text
//! under the lock: rename the tree aside, marked as kept
//! without it:     write the commits (they may take long)
//! under the lock: copy the administrative folder, set the refs, move the submodules' repositories,
//!                 remove git's entry, delete the branch
//! ```
//!
//! Each step can be done again after a crash. A commit alone would be no rescue: it holds no conflict stages, no
//! modes, no empty folders, nothing of nested repositories. So the tree is what is kept, and the commit is what is
//! left of it when the trash is emptied.

mod commits;
mod held;
mod named;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use laneway_fault::fault_point;

use crate::admin::{AdminFolder, present, settled_path};
use crate::judge::{TreeState, TreeToJudge, tree_state};
use crate::lock::RepositoryLock;
use crate::names::CommitId;
use crate::remove::{BranchFate, RemoveError};
use crate::repository::{Repository, settled};
use crate::run::RunError;
use crate::trash::{Trashed, make_place, move_aside};

pub use held::NotHeld;

/// Where the refs are; git's own clean-up leaves them alone, and branches, tags and remotes are elsewhere.
const REFS: &str = "refs/laneway/rescue";

/// Where submodules of a linked worktree have their repositories, in its administrative folder.
pub(crate) const MODULES: &str = "modules";

/// What is to be taken away.
#[derive(Clone, Copy, Debug)]
pub struct TreeToRescue<'a> {
    /// The worktree.
    pub path: &'a Path,
    /// The branch that was recorded for it.
    pub recorded_branch: &'a str,
    /// The branch goes too: it is ours, and nobody asked to keep it.
    pub delete_branch: bool,
    /// The name of the rescue: one path component, the lane's id.
    pub id: &'a str,
}

/// What a rescue ref holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RescueRef {
    /// The tip of the branch.
    Branch,
    /// The commit that was checked out.
    Head,
    /// What was staged, as a commit on top of it; conflicts under `.laneway-conflicts/`.
    Index,
    /// The files as they were, as a commit on top of it.
    Work,
    /// Commits that reflogs and unfinished operations named, as parents of an empty commit.
    Named,
}

impl RescueRef {
    const ALL: [Self; 5] = [Self::Branch, Self::Head, Self::Index, Self::Work, Self::Named];

    /// The last part of the ref.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Head => "head",
            Self::Index => "index",
            Self::Work => "work",
            Self::Named => "named",
        }
    }

    fn full(self, id: &str) -> String {
        format!("{REFS}/{id}/{}", self.as_str())
    }
}

/// The refs of one rescue.
pub type RescueRefs = BTreeMap<RescueRef, CommitId>;

/// A tree that was taken away, and where everything of it is.
#[derive(Debug)]
pub struct Rescued {
    /// The tree in the trash; none if there was none any more.
    pub trashed: Option<Trashed>,
    /// Files and folders in it that can be made again, relative to the tree: to be dropped at once.
    pub disposable: Vec<PathBuf>,
    /// The refs.
    pub refs: RescueRefs,
    /// What the commit does not hold, for people; empty if the trash could go without a loss.
    pub only_in_trash: Vec<String>,
    /// What became of the branch.
    pub branch: BranchFate,
}

impl Repository {
    /// Takes the tree away and keeps it. Doing it again after a crash goes on where it was.
    pub fn rescue(&self, asked: &TreeToRescue<'_>) -> Result<Rescued, RemoveError> {
        let not_moved = |path: &Path, source| RemoveError::NotMoved { path: path.to_owned(), source };
        let path = settled_path(asked.path).map_err(|source| not_moved(asked.path, source))?;
        let (admin, aside) = self.set_aside(&path, asked.id)?;
        let mut kept = Kept::default();
        if let (Some(there), Some(trashed)) = (&admin, &aside)
            && let Err(error) = self.keep_content(there, trashed, &mut kept)
        {
            // The tree itself is what is kept: a commit that cannot be written is told, and not in the way.
            kept.only_in_trash.push(error.to_string());
        }
        fault_point!("rescue.content-kept");
        let lock = self.lock()?;
        let tip = self.branch(asked.recorded_branch)?.map(|facts| facts.tip);
        if let Some(tip) = tip.as_ref().filter(|_| asked.delete_branch) {
            kept.refs.insert(RescueRef::Branch, tip.clone());
        }
        let let_go = match (&admin, &aside) {
            (Some(admin), Some(aside)) => self.let_go(admin, aside, &path, asked, &mut kept, &lock),
            // What git knew of the tree is gone, by an attempt before this one: the refs that it set are all there is.
            _ => self.set_refs(asked.id, &kept.refs, &lock).map_err(Into::into),
        };
        if let Err(error) = let_go {
            return Err(give_back(admin.as_ref(), aside, &path, error));
        }
        let branch = match (asked.delete_branch, &tip) {
            (false, _) => BranchFate::NotOurs,
            (true, None) => BranchFate::Gone,
            (true, Some(tip)) => self.delete_branch(asked.recorded_branch, tip, &lock)?,
        };
        fault_point!("rescue.branch-deleted");
        drop(lock);
        let refs = self.rescue_refs(asked.id)?;
        Ok(Rescued {
            trashed: aside,
            disposable: kept.disposable,
            refs,
            only_in_trash: kept.only_in_trash,
            branch,
        })
    }

    /// Renames the tree into the trash, or finds it there.
    fn set_aside(
        &self,
        path: &Path,
        id: &str,
    ) -> Result<(Option<AdminFolder>, Option<Trashed>), RemoveError> {
        let not_moved = |source| RemoveError::NotMoved { path: path.to_owned(), source };
        let _lock = self.lock()?;
        let admin = self.registered_at(path).map_err(not_moved)?;
        let found = tree_state(path, admin.as_ref()).map_err(not_moved)?;
        let aside = match found {
            TreeState::Present => {
                // Kept from the first moment on: nobody may take it for one that was looked at and found clean.
                drop(keep_place(path, id).map_err(not_moved)?);
                fault_point!("rescue.place-made");
                let aside = move_aside(path, id).map_err(not_moved)?;
                fault_point!("rescue.aside");
                Some(aside)
            }
            TreeState::Missing if admin.is_some() => Some(keep_place(path, id).map_err(not_moved)?),
            TreeState::Missing => Trashed::find(path, id),
            TreeState::NotAFolder | TreeState::NotRegistered => {
                return Err(RemoveError::NotOurTree { path: path.to_owned(), found });
            }
        };
        Ok((admin, aside))
    }

    /// The last steps before git forgets the tree; all of them can be taken back. What git knows of the tree is taken
    /// now, since it may have gone on while the commits were written.
    fn let_go(
        &self,
        admin: &AdminFolder,
        aside: &Trashed,
        path: &Path,
        asked: &TreeToRescue<'_>,
        kept: &mut Kept,
        lock: &RepositoryLock,
    ) -> Result<(), RemoveError> {
        let not_moved = |source| RemoveError::NotMoved { path: admin.folder.clone(), source };
        copy_admin(&admin.folder, &aside.admin_copy()).map_err(not_moved)?;
        fault_point!("rescue.admin-copied");
        if let Some(commit) = self.head_of(admin)?.commit {
            kept.refs.insert(RescueRef::Head, commit);
        }
        let in_refs: Vec<&CommitId> = kept.refs.values().collect();
        let named = self.named_commits(admin, asked.recorded_branch, &in_refs)?;
        let judged = TreeToJudge {
            path: asked.path,
            recorded_branch: asked.recorded_branch,
            branch_is_ours: asked.delete_branch,
            not_vouching: &[],
            before: None,
        };
        if let Some(holder) =
            self.hold(&named, &in_refs, &judged, &format!("commits that {} had", asked.id))?
        {
            kept.refs.insert(RescueRef::Named, holder);
        }
        self.set_refs(asked.id, &kept.refs, lock)?;
        self.delete_other_refs(asked.id, &kept.refs, lock)?;
        fault_point!("rescue.refs-set");
        move_modules(&admin.folder.join(MODULES), &aside.modules()).map_err(not_moved)?;
        fault_point!("rescue.modules-moved");
        // On the disk before what it copies goes.
        let folder = std::fs::File::open(aside.folder()).map_err(not_moved)?;
        rustix::fs::syncfs(&folder).map_err(|errno| not_moved(errno.into()))?;
        fault_point!("rescue.synced");
        self.remove_entry(admin, path, lock)?;
        fault_point!("rescue.entry-removed");
        Ok(())
    }

    fn set_refs(&self, id: &str, refs: &RescueRefs, lock: &RepositoryLock) -> Result<(), RunError> {
        refs.iter().try_for_each(|(which, commit)| self.set_rescue_ref(id, *which, commit, lock))
    }

    /// Deletes the refs of an attempt before this one, which this one does not have.
    fn delete_other_refs(&self, id: &str, refs: &RescueRefs, lock: &RepositoryLock) -> Result<(), RunError> {
        for (which, commit) in self.rescue_refs(id)? {
            if !refs.is_empty() && !refs.contains_key(&which) {
                self.delete_rescue_ref(id, which, &commit, lock)?;
            }
        }
        Ok(())
    }

    fn delete_rescue_ref(
        &self,
        id: &str,
        which: RescueRef,
        commit: &CommitId,
        lock: &RepositoryLock,
    ) -> Result<(), RunError> {
        self.update_ref(&["-d", &which.full(id), commit.as_str()], lock)
    }

    pub(crate) fn set_rescue_ref(
        &self,
        id: &str,
        which: RescueRef,
        commit: &CommitId,
        lock: &RepositoryLock,
    ) -> Result<(), RunError> {
        self.update_ref(&[&which.full(id), commit.as_str()], lock)
    }

    fn update_ref(&self, arguments: &[&str], lock: &RepositoryLock) -> Result<(), RunError> {
        let run = self.run("git update-ref").holding(lock.descriptor()?);
        run.arg("update-ref").args(arguments).succeed().map(drop)
    }

    /// The refs of one rescue; empty if there are none.
    pub fn rescue_refs(&self, id: &str) -> Result<RescueRefs, RunError> {
        Ok(self.rescues_at(&format!("{REFS}/{id}"))?.remove(id).unwrap_or_default())
    }

    /// The refs of every rescue in the repository, by its id.
    pub fn rescues(&self) -> Result<BTreeMap<String, RescueRefs>, RunError> {
        self.rescues_at(REFS)
    }

    fn rescues_at(&self, pattern: &str) -> Result<BTreeMap<String, RescueRefs>, RunError> {
        let said = settled(|| {
            let run = self.run("git for-each-ref").reads();
            run.args(["for-each-ref", "--format=%(objectname) %(refname)", pattern]).succeed()
        })?;
        let mut found: BTreeMap<String, RescueRefs> = BTreeMap::new();
        for line in said.split(|byte| *byte == b'\n') {
            let Some((commit, name)) = String::from_utf8_lossy(line).split_once(' ').map(|(commit, name)| {
                (CommitId::from_git(commit.as_bytes()), name.trim_start_matches(REFS).to_owned())
            }) else {
                continue;
            };
            let mut parts = name.trim_start_matches('/').splitn(2, '/');
            if let (Some(commit), Some(id), Some(which)) = (commit, parts.next(), parts.next())
                && let Some(which) = RescueRef::ALL.into_iter().find(|known| known.as_str() == which)
            {
                found.entry(id.to_owned()).or_default().insert(which, commit);
            }
        }
        Ok(found)
    }

    /// Deletes the refs of a rescue: what only they held goes with git's next clean-up.
    pub fn forget_rescue(&self, id: &str) -> Result<(), RemoveError> {
        let lock = self.lock()?;
        for (which, commit) in self.rescue_refs(id)? {
            self.delete_rescue_ref(id, which, &commit, &lock)?;
        }
        Ok(())
    }
}

/// What was kept so far.
#[derive(Default)]
struct Kept {
    refs: RescueRefs,
    disposable: Vec<PathBuf>,
    only_in_trash: Vec<String>,
}

/// The folder of an id in the trash, marked as kept.
pub(crate) fn keep_place(path: &Path, id: &str) -> std::io::Result<Trashed> {
    let place = make_place(path, id)?;
    std::fs::create_dir_all(place.admin_copy())?;
    Ok(place)
}

/// Copies the administrative folder, whole or not at all: under another name first. The repositories of submodules
/// are moved later, locks are not of use to anybody.
fn copy_admin(admin: &Path, copy: &Path) -> std::io::Result<()> {
    let half = copy.with_extension("half");
    present(std::fs::remove_dir_all(&half))?;
    // Locks come and go while a person's git does housekeeping, also those of reflogs in `logs`.
    let is_lock = |path: &Path| path.extension() == Some(OsStr::new("lock"));
    copy_folder(admin, &half, &|path| path == Path::new(MODULES) || is_lock(path))?;
    present(std::fs::remove_dir_all(copy))?;
    std::fs::rename(&half, copy)
}

/// Copies a folder with the times of its files: git compares its index's with those of the tree's. `leave_out` is
/// asked about every path below it, relative to it.
pub(crate) fn copy_folder(from: &Path, to: &Path, leave_out: &dyn Fn(&Path) -> bool) -> std::io::Result<()> {
    copy_below(from, Path::new(""), to, leave_out)
}

fn copy_below(
    from: &Path,
    below: &Path,
    to: &Path,
    leave_out: &dyn Fn(&Path) -> bool,
) -> std::io::Result<()> {
    std::fs::create_dir_all(to.join(below))?;
    for entry in std::fs::read_dir(from.join(below))? {
        let entry = entry?;
        let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
        if leave_out(&path) {
            continue;
        }
        let target = to.join(&path);
        if kind.is_dir() {
            copy_below(from, &path, to, leave_out)?;
        } else if kind.is_symlink() {
            present(std::fs::remove_file(&target))?;
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Copies a file with its times; one that is there is replaced, also a read-only one.
pub(crate) fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    present(std::fs::remove_file(to))?;
    std::fs::copy(from, to)?;
    let facts = from.metadata()?;
    let times = std::fs::FileTimes::new().set_accessed(facts.accessed()?).set_modified(facts.modified()?);
    // Opened for reading: the copy of a read-only file is one.
    std::fs::File::open(to)?.set_times(times)
}

/// Moves the submodules' repositories; across file systems they are copied, whole or not at all.
pub(crate) fn move_modules(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.symlink_metadata().is_err() {
        return Ok(());
    }
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let half = to.with_extension("half");
            present(std::fs::remove_dir_all(&half))?;
            copy_folder(from, &half, &|_| false)?;
            std::fs::rename(&half, to)?;
            std::fs::remove_dir_all(from)
        }
        result => result,
    }
}

/// Whatever went wrong while git still has its entry, the tree stands where people look for it.
pub(crate) fn give_back(
    admin: Option<&AdminFolder>,
    aside: Option<Trashed>,
    path: &Path,
    error: RemoveError,
) -> RemoveError {
    let Some((aside, admin)) = aside.zip(admin) else { return error };
    let trash = aside.tree();
    if !admin.folder.exists() || trash.symlink_metadata().is_err() {
        return error;
    }
    let put_back = move_modules(&aside.modules(), &admin.folder.join(MODULES));
    match put_back.and_then(|()| std::fs::rename(&trash, path)) {
        Ok(()) => {
            if crate::admin::is_readable(admin) {
                // What is left are copies.
                let _ = std::fs::remove_dir_all(aside.folder());
            }
            error
        }
        Err(_) => RemoveError::NotPutBack { path: path.to_owned(), trash, source: Box::new(error) },
    }
}
