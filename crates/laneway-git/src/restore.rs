//! Bringing back what a rescue has kept: the tree from the trash as it was, byte for byte, with what git knew of it
//! (index, HEAD, reflog, an unfinished merge or rebase); once the trash is emptied, from the refs.
//!
//! ```text
//! branch (if it is gone) ─► git's entry, from the copy ─► the tree, renamed back ─► HEAD and submodules' paths
//! ```
//!
//! Each step finds out whether it was done, so that a restore that was broken off goes on when it is asked again.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use laneway_fault::fault_point;

use crate::admin::{AdminFolder, lock_reason, present, settled_path};
use crate::create::{CreateError, CreateRefusal, StepError, TreeRecord, UnderLockError};
use crate::lock::{FileLock, LockError, RepositoryLock};
use crate::names::{CommitId, branch_ref};
use crate::repository::{Repository, Worktree, branch_of};
use crate::rescue::{MODULES, RescueRef, copy_folder, move_modules};
use crate::run::RunError;
use crate::trash::Trashed;
use crate::undo::WhyTreeStays;

/// What is to be brought back.
#[derive(Clone, Copy, Debug)]
pub struct Rescue<'a> {
    /// Its id.
    pub id: &'a str,
    /// Where the tree was: the trash is beside it.
    pub was_at: &'a Path,
    /// The branch that was recorded for it.
    pub was_on: &'a str,
}

/// Where a restored tree comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestoredFrom {
    /// The trash: everything is as it was.
    Trash,
    /// The refs: what the commits hold.
    Refs,
}

/// Why a rescue was not brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is nothing to stand on: no commit is held for it.
    #[error("no commit of {id} is held under refs/laneway/rescue")]
    NothingHeld {
        /// The rescue.
        id: String,
    },
    /// It cannot be made.
    #[error("the tree cannot be made")]
    Refused(#[from] CreateRefusal),
    /// The tree could not be made from the refs.
    #[error("the tree could not be made from the refs")]
    NotMade(#[from] CreateError),
    /// A file or folder could not be made or moved. What was done so far stays; the restore can be asked again.
    #[error("{} could not be made", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// What an attempt before this one has made is not what it was to be: somebody works there.
    #[error("what was begun at {} stays as it is: {why}", path.display())]
    Begun {
        /// Where.
        path: PathBuf,
        /// What is different.
        why: WhyTreeStays,
    },
    /// The lock was not got.
    #[error("the repository lock was not got")]
    Lock(#[from] LockError),
    /// git failed.
    #[error("git failed")]
    Git(#[from] RunError),
}

impl From<UnderLockError> for RestoreError {
    fn from(error: UnderLockError) -> Self {
        match error {
            UnderLockError::Lock(error) => Self::Lock(error),
            UnderLockError::Git(error) => Self::Git(error),
        }
    }
}

impl From<StepError> for RestoreError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Git(error) => Self::Git(error),
            StepError::File { path, source } => Self::File { path, source },
            StepError::Lock(error) => Self::Lock(error),
        }
    }
}

/// In the trash: where the tree is being brought back to.
const GOAL: &str = "restored-to";

/// Whether a restore to this place was begun before.
fn is_going_to(trashed: &Trashed, record: &TreeRecord) -> bool {
    std::fs::read(trashed.folder().join(GOAL)).is_ok_and(|goal| goal == record.path.as_os_str().as_bytes())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    |source| RestoreError::File { path: path.to_owned(), source }
}

impl Repository {
    /// Looks whether a rescue can be brought back as a lane at a path, and says what will be made: on the branch that
    /// it was on, if that is gone or free and where it was; else on a new one, `spare_branch`.
    pub fn preflight_restore(
        &self,
        rescue: &Rescue<'_>,
        (lane, id): (&str, &str),
        path: &Path,
        spare_branch: &str,
    ) -> Result<TreeRecord, RestoreError> {
        let refs = self.rescue_refs(rescue.id)?;
        let tip = refs.get(&RescueRef::Branch).or_else(|| refs.get(&RescueRef::Head)).cloned();
        let base_commit = tip.ok_or_else(|| RestoreError::NothingHeld { id: rescue.id.to_owned() })?;
        let path = settled_path(path).map_err(at(path))?;
        if present(path.symlink_metadata()).map_err(at(&path))?.is_some() {
            return Err(CreateRefusal::PathExists { path }.into());
        }
        if self.registered_at(&path).map_err(at(&path))?.is_some() {
            return Err(CreateRefusal::PathRegistered { path }.into());
        }
        let (branch, branch_is_new) = match self.branch(rescue.was_on)? {
            None => (rescue.was_on, true),
            Some(facts) if facts.tip == base_commit && facts.checked_out_at.is_none() => {
                (rescue.was_on, false)
            }
            Some(_) => (spare_branch, true),
        };
        self.check_branch(branch, branch_is_new)?;
        Ok(TreeRecord {
            lane: lane.to_owned(),
            id: id.to_owned(),
            path,
            branch: branch.to_owned(),
            branch_is_new,
            base_commit,
            upstream_remote: None,
        })
    }

    /// Brings it back. Doing it again after a crash goes on where it was; a failure takes back what was done. The refs
    /// stay, and so does the trash but for the tree and the submodules' repositories.
    pub fn restore(&self, rescue: &Rescue<'_>, record: &TreeRecord) -> Result<RestoredFrom, RestoreError> {
        let lock = self.lock()?;
        let kept = Trashed::find(rescue.was_at, rescue.id).filter(Trashed::is_kept);
        let Some(trashed) = kept.filter(|trashed| trashed.tree().exists() || is_going_to(trashed, record))
        else {
            drop(lock);
            self.restore_from_refs(rescue, record)?;
            return Ok(RestoredFrom::Refs);
        };
        let had_branch = self.branch(&record.branch)?.is_some();
        let done = self.restore_from_trash(&trashed, rescue, record, &lock);
        if let Err(error) = done {
            self.take_back(&trashed, record, had_branch, &lock);
            return Err(error);
        }
        Ok(RestoredFrom::Trash)
    }

    fn restore_from_trash(
        &self,
        trashed: &Trashed,
        rescue: &Rescue<'_>,
        record: &TreeRecord,
        lock: &RepositoryLock,
    ) -> Result<(), RestoreError> {
        // From here on a redo knows that a tree which is no longer in the trash is at its new place.
        let goal = trashed.folder().join(GOAL);
        std::fs::write(&goal, record.path.as_os_str().as_bytes()).map_err(at(&goal))?;
        fault_point!("restore.goal-written");
        if record.branch_is_new {
            self.bring_branch_back(record, lock)?;
        }
        fault_point!("restore.branch-made");
        let admin = match self.registered_at(&record.path).map_err(at(&record.path))? {
            Some(admin) if admin.lane_id() == Some(&record.id) => admin,
            Some(_) => return Err(CreateRefusal::PathRegistered { path: record.path.clone() }.into()),
            None => self.enter_again(&trashed.admin_copy(), record)?,
        };
        fault_point!("restore.entered");
        let tree = trashed.tree();
        if tree.symlink_metadata().is_ok() {
            link_tree(&tree, &admin.folder).map_err(at(&tree))?;
            self.make_parent(&record.path)?;
            fault_point!("restore.tree-linked");
            std::fs::rename(&tree, &record.path).map_err(at(&record.path))?;
        }
        fault_point!("restore.tree-back");
        let target = admin.folder.join(MODULES);
        move_modules(&trashed.modules(), &target).map_err(at(&target))?;
        fault_point!("restore.modules-back");
        self.relink_submodules(&target, rescue.was_at, &record.path)?;
        self.settle_head(&admin, rescue, record)?;
        fault_point!("restore.head-settled");
        Ok(())
    }

    /// Everything of it is in the trash again. Best effort: what cannot be moved back is where it is, and a redo or a
    /// look at the trash finds it.
    fn take_back(&self, trashed: &Trashed, record: &TreeRecord, had_branch: bool, lock: &RepositoryLock) {
        let admin = self.registered_at(&record.path).ok().flatten();
        let own = admin.filter(|admin| admin.lane_id() == Some(&record.id));
        if let Some(admin) = own {
            let modules_are_back = move_modules(&admin.folder.join(MODULES), &trashed.modules()).is_ok();
            let tree_is_back = trashed.tree().symlink_metadata().is_ok()
                || std::fs::rename(&record.path, trashed.tree()).is_ok();
            if !modules_are_back || !tree_is_back {
                return;
            }
            // A copy of what is still in the trash.
            let _ = self.remove_broken_entry(&admin);
        }
        if record.branch_is_new && !had_branch {
            let _ = self.delete_branch(&record.branch, &record.base_commit, lock);
        }
        let _ = std::fs::remove_file(trashed.folder().join(GOAL));
    }

    fn bring_branch_back(&self, record: &TreeRecord, lock: &RepositoryLock) -> Result<(), RestoreError> {
        if self.branch(&record.branch)?.is_some_and(|facts| facts.tip == record.base_commit) {
            // By this restore, before it was broken off.
            return Ok(());
        }
        self.run("git update-ref")
            .holding(lock.descriptor()?)
            .args(["update-ref", "--create-reflog", "-m", &lock_reason(&record.lane, &record.id)])
            .args([&branch_ref(&record.branch), record.base_commit.as_str(), &record.base_commit.null_like()])
            .succeed()?;
        Ok(())
    }

    /// Makes git's entry from the copy. The lock against pruning is the first thing in it, the path the last, as git
    /// itself does it: half an entry is none.
    fn enter_again(&self, copy: &Path, record: &TreeRecord) -> Result<AdminFolder, RestoreError> {
        let entries = self.common_dir().join("worktrees");
        std::fs::create_dir_all(&entries).map_err(at(&entries))?;
        // Half an entry of this very restore, from before a crash.
        for admin in crate::admin::admin_folders(self.common_dir()).map_err(at(&entries))? {
            if admin.tree.is_none() && admin.lane_id() == Some(&record.id) {
                self.remove_broken_entry(&admin)?;
            }
        }
        let name = record.path.file_name().unwrap_or_default();
        let mut folder = entries.join(name);
        let mut number = 0;
        while let Err(source) = std::fs::create_dir(&folder) {
            if source.kind() != io::ErrorKind::AlreadyExists {
                return Err(RestoreError::File { path: folder, source });
            }
            number += 1;
            let mut numbered = OsString::from(name);
            numbered.push(number.to_string());
            folder = entries.join(numbered);
        }
        let write = |file: &str, content: &OsStr| {
            let path = folder.join(file);
            std::fs::write(&path, content.as_bytes()).map_err(at(&path))
        };
        write("locked", OsStr::new(&lock_reason(&record.lane, &record.id)))?;
        let left_out = |path: &Path| matches!(path.to_str(), Some(MODULES | "locked" | "gitdir"));
        copy_folder(copy, &folder, &left_out).map_err(at(&folder))?;
        let mut line = record.path.join(".git").into_os_string();
        line.push("\n");
        write("gitdir", &line)?;
        let admin = self.registered_at(&record.path).map_err(at(&folder))?;
        admin.ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::InvalidData, "git would not find it");
            RestoreError::File { path: folder.clone(), source }
        })
    }

    /// HEAD stands where it stood. If it was on the lane's branch, it is on the branch of the new lane; if it was on
    /// one that is elsewhere by now, it is detached at its commit.
    fn settle_head(
        &self,
        admin: &AdminFolder,
        rescue: &Rescue<'_>,
        record: &TreeRecord,
    ) -> Result<(), RestoreError> {
        let run = |what| self.git().run(what, self.common_dir()).in_tree(&admin.folder, self.common_dir());
        let (finished, said) =
            run("git symbolic-ref HEAD").reads().args(["symbolic-ref", "--quiet", "HEAD"]).output()?;
        let name = said.strip_suffix(b"\n").unwrap_or(&said);
        let new = branch_ref(&record.branch);
        if finished.code() != Some(0) || name == new.as_bytes() {
            return Ok(());
        }
        if name == branch_ref(rescue.was_on).as_bytes() {
            let reason = lock_reason(&record.lane, &record.id);
            run("git symbolic-ref HEAD").args(["symbolic-ref", "-m", &reason, "HEAD", &new]).succeed()?;
            return Ok(());
        }
        let Some(head) = self.rescue_refs(rescue.id)?.remove(&RescueRef::Head) else { return Ok(()) };
        let elsewhere = |worktree: &Worktree| {
            worktree.path != record.path && worktree.branch.as_deref() == Some(&branch_of(name))
        };
        let is_as_it_was = self.branch(&branch_of(name))?.is_some_and(|facts| facts.tip == head)
            && !self.worktrees()?.iter().any(elsewhere);
        if !is_as_it_was {
            let what = "git update-ref --no-deref HEAD";
            run(what).args(["update-ref", "--no-deref", "HEAD", head.as_str()]).succeed()?;
        }
        Ok(())
    }

    /// Submodules and their repositories find each other by relative paths, which another place makes wrong.
    fn relink_submodules(&self, modules: &Path, was_at: &Path, tree: &Path) -> Result<(), RestoreError> {
        let was_at = settled_path(was_at).unwrap_or_else(|_| was_at.to_owned());
        let mut waiting = vec![modules.to_owned()];
        while let Some(folder) = waiting.pop() {
            let Some(entries) = present(std::fs::read_dir(&folder)).map_err(at(&folder))? else { continue };
            if !folder.join("HEAD").exists() {
                waiting.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
                continue;
            }
            waiting.push(folder.join(MODULES));
            let config = |arguments: &[&OsStr]| {
                let run = self.git().run("git config core.worktree", self.common_dir());
                run.args(["config", "--file"]).arg(folder.join("config")).args(arguments).output()
            };
            let (_, said) = config(&["--null", "--get", "core.worktree"].map(OsStr::new))?;
            let said = said.strip_suffix(b"\0").unwrap_or(&said);
            let Some(inside) = inside_tree(Path::new(OsStr::from_bytes(said)), &was_at) else { continue };
            let place = tree.join(inside);
            if place.symlink_metadata().is_ok() {
                config(&[OsStr::new("core.worktree"), place.as_os_str()])?.0.or_failed()?;
                link_tree(&place, &folder).map_err(at(&place))?;
            }
        }
        Ok(())
    }

    /// Whether an attempt before this one has made the tree with all files in it; one that is as the checkout left it is
    /// undone, and made anew.
    fn is_made_from_refs(
        &self,
        refs: &BTreeMap<RescueRef, CommitId>,
        record: &TreeRecord,
    ) -> Result<bool, RestoreError> {
        let admin = self.registered_at(&record.path).map_err(at(&record.path))?;
        let own = |admin: &AdminFolder| admin.lane_id() == Some(&record.id);
        let Some(admin) = admin.filter(own) else {
            // Broken off before git knew of it; a folder with anything in it stays.
            let _ = std::fs::remove_dir(&record.path);
            return Ok(false);
        };
        // The branch is found again, and used.
        let undone = self.undo(&TreeRecord { branch_is_new: false, ..record.clone() })?;
        if undone.left.is_empty() {
            return Ok(false);
        }
        let content = [RescueRef::Work, RescueRef::Index, RescueRef::Head, RescueRef::Branch];
        let Some(content) = content.iter().find_map(|which| refs.get(which)) else { return Ok(false) };
        match self.what_checkout_did_not_write(&admin, &record.path, content)? {
            None => Ok(true),
            Some(why) => Err(RestoreError::Begun { path: record.path.clone(), why }),
        }
    }

    fn restore_from_refs(&self, rescue: &Rescue<'_>, record: &TreeRecord) -> Result<(), RestoreError> {
        let refs = self.rescue_refs(rescue.id)?;
        if refs.is_empty() {
            return Err(RestoreError::NothingHeld { id: rescue.id.to_owned() });
        }
        if !self.is_made_from_refs(&refs, record)? {
            self.create(record)?;
        }
        fault_point!("restore.made-from-refs");
        let admin = self.registered_at(&record.path).map_err(at(&record.path))?;
        let admin = admin.ok_or_else(|| RestoreError::File {
            path: record.path.clone(),
            source: io::ErrorKind::NotFound.into(),
        })?;
        // git holds it, so that a redo waits for the git of a daemon that was killed.
        let lock = FileLock::acquire(&admin.lock_file(), self.git().limits().lock)?;
        let what = "passing on the lock of the tree";
        let held = lock.descriptor().map_err(|source| RunError::NotRun { what, source })?;
        let run = |what| {
            let held = held.try_clone().map_err(|source| RunError::NotRun { what, source })?;
            let run = self.run_in(what, &admin.folder, &record.path).holding(held);
            Ok::<_, RunError>(run.limit(self.git().limits().checkout))
        };
        if let Some(head) = refs.get(&RescueRef::Head).filter(|head| **head != record.base_commit) {
            let what = "git checkout --detach";
            run(what)?.args(["checkout", "--quiet", "--detach", head.as_str()]).succeed()?;
        }
        let staged = refs.get(&RescueRef::Index);
        if let Some(files) = refs.get(&RescueRef::Work).or(staged) {
            let raw = self.as_it_is(run("git read-tree")?, &self.empty_tree()?);
            raw.args(["read-tree", "--reset", "-u", files.as_str()]).succeed()?;
            let staged = staged.map_or("HEAD", CommitId::as_str);
            run("git read-tree")?.args(["read-tree", staged]).succeed()?;
        }
        fault_point!("restore.files-written");
        Ok(())
    }
}

/// Writes the file that leads from a tree to its repository.
fn link_tree(tree: &Path, repository: &Path) -> io::Result<()> {
    let mut line = OsString::from("gitdir: ");
    line.push(repository);
    line.push("\n");
    std::fs::write(tree.join(".git"), line.as_bytes())
}

/// The part of a submodule's recorded place that is inside the tree it belonged to: relative as `git submodule`
/// writes it (from the repository in the administrative folder), or absolute.
fn inside_tree(said: &Path, was_at: &Path) -> Option<PathBuf> {
    if let Ok(inside) = said.strip_prefix(was_at) {
        return Some(inside.to_owned());
    }
    // `../../../../.lanes/x/libs/one`: the longest end of the tree's path that follows the steps upwards.
    let steps: PathBuf = said.components().skip_while(|part| matches!(part, Component::ParentDir)).collect();
    let parts: Vec<_> = was_at.components().collect();
    (0..parts.len()).find_map(|from| {
        let end: PathBuf = parts[from..].iter().collect();
        steps.strip_prefix(&end).ok().map(Path::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submodules_place_in_its_tree_is_found_from_a_relative_or_an_absolute_path() {
        let was_at = Path::new("/home/me/repo/.lanes/x");
        for (said, expected) in [
            ("../../../../../.lanes/x/libs/one", Some("libs/one")),
            ("/home/me/repo/.lanes/x/one", Some("one")),
            ("../../../../../.lanes/y/one", None),
        ] {
            assert_eq!(inside_tree(Path::new(said), was_at).as_deref(), expected.map(Path::new), "{said}");
        }
    }
}
