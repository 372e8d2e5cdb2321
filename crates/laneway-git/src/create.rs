//! Making a lane's worktree: refusals before anything is made, then the branch and git's entry under the
//! repository lock, then the files outside it, then the repository's own `post-checkout` hook.
//!
//! The branch is made first, by one compare-and-set with our message in its reflog: whoever made it is then
//! never in doubt, neither when two want the same name nor when a broken creation is undone later.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use laneway_fault::fault_point;

use crate::admin::{AdminFolder, admin_folders, lock_reason, present, settled_path};
use crate::base::{Base, BaseError, NewBranch};
use crate::both::both;
use crate::complaint::Complaint;
use crate::lock::{LockError, RepositoryLock};
use crate::names::{CommitId, branch_ref, is_legal_branch_name};
use crate::repository::{Repository, settled};
use crate::run::RunError;
use crate::undo::Undone;

/// The folder below the main worktree that lanes are in unless the owner says otherwise.
const USUAL_HOLDER: &str = ".lanes";

/// What is wanted of a new lane's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTree {
    /// The lane's name: it stands in the reason that git's entry is locked with.
    pub lane: String,
    /// The lane's id, which stands there too: what is undone is told by it.
    pub id: String,
    /// Where the worktree is to be; absolute.
    pub path: PathBuf,
    /// Its branch.
    pub branch: NewBranch,
}

/// The same for a new branch at a base that is yet to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTreeAtBase {
    /// The lane's name.
    pub lane: String,
    /// The lane's id.
    pub id: String,
    /// Where the worktree is to be; absolute.
    pub path: PathBuf,
    /// The branch that is to be made.
    pub branch: String,
}

/// What a creation makes, to be recorded before it starts: `undo` needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeRecord {
    /// The lane's name.
    pub lane: String,
    /// The lane's id: nothing that was made for another lane is taken for this one's.
    pub id: String,
    /// Where the worktree is made, with symbolic links in the folders above it resolved.
    pub path: PathBuf,
    /// The local branch.
    pub branch: String,
    /// The branch is made with the tree (from a base, or from a remote's branch), and is ours.
    pub branch_is_new: bool,
    /// The commit that the tree starts at.
    pub base_commit: CommitId,
    /// The remote whose branch of that name it follows.
    pub upstream_remote: Option<String>,
}

/// A tree that was made.
#[derive(Debug)]
pub struct Created {
    /// What did not stop it but should be told.
    pub warnings: Vec<CreateWarning>,
}

/// What went wrong beside the making of a tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateWarning {
    /// The repository's `post-checkout` hook failed, or took too long and was ended.
    #[error("the post-checkout hook did not succeed")]
    Hook(#[source] RunError),
    /// The branch could not be set to follow the remote's.
    #[error("the branch could not be set to follow the remote's")]
    Upstream(#[source] UnderLockError),
}

/// A change of metadata that did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnderLockError {
    /// The lock was not got.
    #[error("the repository lock was not got")]
    Lock(#[from] LockError),
    /// git failed.
    #[error("git failed")]
    Git(#[from] RunError),
}

/// Why a tree is not begun: nothing was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateRefusal {
    /// Not a possible name for a branch.
    #[error("{name:?} cannot be the name of a branch")]
    IllegalBranchName {
        /// The name.
        name: String,
    },
    /// The branch that should be new is there already.
    #[error("branch {name:?} exists already{}", checked_out(checked_out_at.as_deref()))]
    BranchTaken {
        /// The branch.
        name: String,
        /// Where it is checked out.
        checked_out_at: Option<PathBuf>,
    },
    /// The existing branch is checked out (or being rebased or bisected) in another worktree.
    #[error("branch {name:?} is in use{}", checked_out(at.as_deref()))]
    BranchInUse {
        /// The branch.
        name: String,
        /// The worktree, if git says which.
        at: Option<PathBuf>,
    },
    /// The branch that should be there is not.
    #[error("there is no branch {name:?}")]
    NoSuchBranch {
        /// The branch.
        name: String,
    },
    /// A branch that makes this one impossible: git keeps `a` and `a/b` in the same place.
    #[error("branch {name:?} is impossible while there is a branch {blocked_by:?}")]
    BranchBlocked {
        /// The branch that was wanted.
        name: String,
        /// The one in its way.
        blocked_by: String,
    },
    /// The commit is not in the repository.
    #[error("{commit} is not a commit of this repository")]
    UnknownCommit {
        /// The commit.
        commit: CommitId,
    },
    /// Something is at the path already.
    #[error("{} exists already", path.display())]
    PathExists {
        /// The path.
        path: PathBuf,
    },
    /// git still has an entry for a worktree at the path, whose folder is gone.
    #[error("git still has a worktree registered at {}, which is gone", path.display())]
    PathRegistered {
        /// The path.
        path: PathBuf,
    },
    /// The path cannot be used.
    #[error("{} cannot be a worktree", path.display())]
    BadPath {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The place is not one for worktrees.
    #[error("{} cannot be the place of a worktree: {why}", path.display())]
    BadPlace {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: BadPlace,
    },
    /// There is too little room where it would be.
    #[error("{} MiB are free for {}, and a lane needs at least {} MiB", free >> 20, path.display(), needed >> 20)]
    NoRoom {
        /// The path.
        path: PathBuf,
        /// Bytes that are free there.
        free: u64,
        /// Bytes that are to be.
        needed: u64,
    },
    /// git could not answer.
    #[error("whether the tree can be made could not be found out")]
    Git(#[from] RunError),
}

/// What is wrong with a place for a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// git's own files are there.
    #[error("it is in git's own folder")]
    InGitFolder,
    /// The main worktree is in it, or it is that.
    #[error("the main worktree is there")]
    AtMainWorktree,
    /// It is directly in the main worktree, which is hidden from git as a whole or not at all.
    #[error("below the main worktree, lanes are in a folder of their own")]
    DirectlyInMainWorktree,
    /// The folder that holds it has files of the project; it would be hidden from git.
    #[error("the project has files in the folder around it, and lanes need one of their own")]
    AmongProjectFiles,
    /// Another worktree of the repository is there: one of the two would go with the other.
    #[error("it is inside of another worktree, or around one")]
    AmongWorktrees,
}

/// Why a tree at a base is not begun: nothing was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotBegun {
    /// The base cannot be used.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The tree cannot be made.
    #[error(transparent)]
    Refused(#[from] CreateRefusal),
}

/// Why a tree was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Nothing was made.
    #[error("the tree cannot be made")]
    Refused(#[from] CreateRefusal),
    /// The lock was not got; nothing was made.
    #[error("the repository lock was not got")]
    Lock(#[from] LockError),
    /// It failed half-way; what it had made is gone again but for what `undone` names.
    #[error("the tree could not be made")]
    Failed {
        /// What failed.
        #[source]
        source: StepError,
        /// How the undoing went.
        undone: Result<Undone, UnderLockError>,
    },
}

/// A step of a creation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// git failed.
    #[error("git failed")]
    Git(#[from] RunError),
    /// A file or folder could not be made.
    #[error("{} could not be made", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The tree's own lock was not got.
    #[error("the lock of the new tree was not got")]
    Lock(#[from] LockError),
}

fn checked_out(at: Option<&Path>) -> String {
    at.map_or_else(String::new, |path| format!(", checked out at {}", path.display()))
}

/// What hides all that is in a folder from git.
const IGNORE_ALL: &[u8] = b"*\n";

impl Repository {
    /// Looks whether the tree can be made, and says what will be recorded. Nothing is changed.
    pub fn preflight(&self, wanted: &NewTree) -> Result<TreeRecord, CreateRefusal> {
        let branch_is_new = !matches!(wanted.branch, NewBranch::Existing { .. });
        let path = self.look_at_place(&wanted.path, wanted.branch.name(), branch_is_new)?;
        let upstream_remote = match &wanted.branch {
            NewBranch::Remote { remote, .. } => Some(remote.clone()),
            NewBranch::New { .. } | NewBranch::Existing { .. } => None,
        };
        Ok(TreeRecord {
            lane: wanted.lane.clone(),
            id: wanted.id.clone(),
            path,
            branch: wanted.branch.name().to_owned(),
            branch_is_new,
            base_commit: wanted.branch.commit().clone(),
            upstream_remote,
        })
    }

    /// The same for a new branch, while its base is resolved as by [`Repository::resolve_base`]: neither needs
    /// the other, and each waits for a git of its own.
    pub fn preflight_at_base(
        &self,
        wanted: NewTreeAtBase,
        resolve: impl FnOnce() -> Result<Base, BaseError> + Send,
    ) -> Result<(Base, TreeRecord), NotBegun> {
        let (base, path) = both(resolve, || self.look_at_place(&wanted.path, &wanted.branch, true));
        let (base, path) = (base?, path?);
        let record = TreeRecord {
            lane: wanted.lane,
            id: wanted.id,
            path,
            branch: wanted.branch,
            branch_is_new: true,
            base_commit: base.commit.clone(),
            upstream_remote: None,
        };
        Ok((base, record))
    }

    /// Whether there can be a worktree on this branch at this path; gives the path as git would register it.
    fn look_at_place(
        &self,
        wanted: &Path,
        branch: &str,
        branch_is_new: bool,
    ) -> Result<PathBuf, CreateRefusal> {
        let bad_path = |source| CreateRefusal::BadPath { path: wanted.to_owned(), source };
        let path = settled_path(wanted).map_err(bad_path)?;
        if present(path.symlink_metadata()).map_err(bad_path)?.is_some() {
            return Err(CreateRefusal::PathExists { path });
        }
        let trees = admin_folders(self.common_dir()).map_err(bad_path)?.into_iter().filter_map(|it| it.tree);
        for tree in trees {
            if tree == path {
                return Err(CreateRefusal::PathRegistered { path });
            }
            if path.starts_with(&tree) || tree.starts_with(&path) {
                return Err(CreateRefusal::BadPlace { path, why: BadPlace::AmongWorktrees });
            }
        }
        if let Some(why) = self.bad_place(&path)? {
            return Err(CreateRefusal::BadPlace { path, why });
        }
        let needed = self.rules().least_room;
        if let Some(free) = room_at(&path).filter(|free| *free < needed) {
            return Err(CreateRefusal::NoRoom { path, free, needed });
        }
        if !is_legal_branch_name(branch) {
            return Err(CreateRefusal::IllegalBranchName { name: branch.to_owned() });
        }
        self.check_branch(branch, branch_is_new)?;
        Ok(path)
    }

    /// What is wrong with a place that is not the usual one.
    fn bad_place(&self, path: &Path) -> Result<Option<BadPlace>, CreateRefusal> {
        let bad_path = |source| CreateRefusal::BadPath { path: path.to_owned(), source };
        if path.starts_with(self.common_dir().canonicalize().map_err(bad_path)?) {
            return Ok(Some(BadPlace::InGitFolder));
        }
        if self.is_bare() {
            return Ok(None);
        }
        let root = self.root().canonicalize().map_err(bad_path)?;
        if root.starts_with(path) {
            return Ok(Some(BadPlace::AtMainWorktree));
        }
        let Some(holder) = path.strip_prefix(&root).ok().and_then(Path::parent) else { return Ok(None) };
        if holder.as_os_str().is_empty() {
            return Ok(Some(BadPlace::DirectlyInMainWorktree));
        }
        if holder == Path::new(USUAL_HOLDER) {
            return Ok(None);
        }
        let tracked =
            self.run("git ls-files").reads().global("--literal-pathspecs").args(["ls-files", "-z", "--"]);
        let said = tracked.arg(holder).succeed()?;
        let is_taken = !said.is_empty() || has_files_of_others(&root.join(holder)).map_err(bad_path)?;
        Ok(is_taken.then_some(BadPlace::AmongProjectFiles))
    }

    pub(crate) fn check_branch(&self, name: &str, must_be_new: bool) -> Result<(), CreateRefusal> {
        let above: Vec<&str> = name.match_indices('/').map(|(at, _)| &name[..at]).collect();
        let patterns: Vec<String> = above.iter().chain([&name]).map(|name| branch_ref(name)).collect();
        let found = self.branch_names_at(&patterns)?;
        let name = name.to_owned();
        if found.contains(&name) {
            let checked_out_at = self.branch(&name)?.and_then(|there| there.checked_out_at);
            return match (must_be_new, checked_out_at) {
                (true, checked_out_at) => Err(CreateRefusal::BranchTaken { name, checked_out_at }),
                (false, at @ Some(_)) => Err(CreateRefusal::BranchInUse { name, at }),
                (false, None) => Ok(()),
            };
        }
        if !must_be_new {
            return Err(CreateRefusal::NoSuchBranch { name });
        }
        let below = format!("{name}/");
        let blocks = |other: &&String| above.contains(&other.as_str()) || other.starts_with(&below);
        match found.iter().find(blocks) {
            Some(other) => Err(CreateRefusal::BranchBlocked { blocked_by: other.clone(), name }),
            None => Ok(()),
        }
    }

    /// Makes the tree that `preflight` looked at. A failure half-way undoes exactly what was made.
    pub fn create(&self, record: &TreeRecord) -> Result<Created, CreateError> {
        let lock = self.lock()?;
        if present(record.path.symlink_metadata()).ok().flatten().is_some() {
            return Err(CreateRefusal::PathExists { path: record.path.clone() }.into());
        }
        let not_made = |source| StepError::File { path: record.path.clone(), source };
        let own = self.make_parent(&record.path).and_then(|()| {
            fault_point!("create.parent-made");
            match std::fs::create_dir(&record.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                other => other.map(|()| true).map_err(not_made),
            }
        });
        match own {
            Ok(true) => {}
            // Somebody without this repository's lock was quicker: another repository may have its lanes here too.
            Ok(false) => return Err(CreateRefusal::PathExists { path: record.path.clone() }.into()),
            Err(source) => return Err(CreateError::Failed { source, undone: Ok(Undone::default()) }),
        }
        fault_point!("create.folder-made");
        if record.branch_is_new {
            if let Err(error) = self.make_branch(record, &lock) {
                // Still empty.
                let _ = std::fs::remove_dir(&record.path);
                return Err(error);
            }
            fault_point!("create.branch-made");
        }
        let entered = self.enter_tree(record, &lock);
        drop(lock);
        // Where the hook is does not depend on the files: it is asked for while they are written.
        let made = entered.and_then(|admin| {
            let (hook, made) =
                both(|| self.post_checkout_hook(&record.path), || self.check_out(record, &admin));
            made.map(|()| hook)
        });
        let hook = match made {
            Ok(hook) => hook,
            Err(source) => return Err(self.broken_off(record, source)),
        };
        fault_point!("create.checked-out");
        let mut warnings = Vec::new();
        if let Some(remote) = &record.upstream_remote
            && let Err(error) = self.follow(&record.branch, remote)
        {
            warnings.push(CreateWarning::Upstream(error));
        }
        fault_point!("create.followed");
        if let Err(error) = hook.and_then(|hook| self.run_hook(hook, record)) {
            warnings.push(CreateWarning::Hook(error));
        }
        fault_point!("create.hook-run");
        Ok(Created { warnings })
    }

    pub(crate) fn broken_off(&self, record: &TreeRecord, source: StepError) -> CreateError {
        let undone = self.undo(record);
        let complaint = if let StepError::Git(error) = &source { error.complaint() } else { None };
        if undone.as_ref().is_ok_and(|undone| undone.left.is_empty()) {
            // What `preflight` could not see, or what came after it: nothing was made.
            if complaint == Some(Complaint::BranchInUse) {
                return CreateRefusal::BranchInUse { name: record.branch.clone(), at: None }.into();
            }
            if complaint == Some(Complaint::PathExists) {
                return CreateRefusal::PathExists { path: record.path.clone() }.into();
            }
        }
        CreateError::Failed { source, undone }
    }

    /// Compare-and-set from nothing: it fails if somebody else has made the branch meanwhile.
    pub(crate) fn make_branch(&self, record: &TreeRecord, lock: &RepositoryLock) -> Result<(), CreateError> {
        let (name, commit) = (&record.branch, &record.base_commit);
        let made = self
            .run("git update-ref")
            .holding(lock.descriptor().map_err(CreateRefusal::Git)?)
            .args(["update-ref", "--create-reflog", "-m", &lock_reason(&record.lane, &record.id)])
            .args([&branch_ref(name), commit.as_str(), &commit.null_like()])
            .succeed();
        let Err(error) = made else { return Ok(()) };
        let name = name.clone();
        Err(match error.complaint() {
            Some(Complaint::BranchExists | Complaint::RefMoved) => {
                CreateRefusal::BranchTaken { name, checked_out_at: None }.into()
            }
            Some(Complaint::BranchBlocked) => match self.check_branch(&name, true) {
                Err(refusal) => refusal.into(),
                Ok(()) => CreateRefusal::Git(error).into(),
            },
            Some(Complaint::UnknownRevision) => {
                CreateRefusal::UnknownCommit { commit: commit.clone() }.into()
            }
            // It may have been made all the same, for one if it was ended by its limit.
            _ => CreateError::Failed {
                source: error.into(),
                undone: self.undo_under(record, lock).map_err(Into::into),
            },
        })
    }

    /// git's entry and the empty tree. Others may change worktrees at the same moment without our lock (a
    /// person's `git worktree prune`), which git itself does not stand; then it is asked again.
    fn enter_tree(&self, record: &TreeRecord, lock: &RepositoryLock) -> Result<AdminFolder, StepError> {
        settled(|| {
            self.run("git worktree add")
                .holding(lock.descriptor()?)
                .args([
                    "worktree",
                    "add",
                    "--quiet",
                    "--lock",
                    "--reason",
                    &lock_reason(&record.lane, &record.id),
                ])
                .arg("--no-checkout")
                .args([record.path.as_os_str(), OsStr::new(&record.branch)])
                .succeed()
        })?;
        fault_point!("create.entered");
        let admin = self
            .registered_at(&record.path)
            .map_err(|source| StepError::File { path: self.common_dir().join("worktrees"), source })?;
        let said = record.path.as_os_str().as_bytes();
        admin.ok_or_else(|| RunError::not_understood("git worktree add", said).into())
    }

    /// The folder that lanes are in. Below the main worktree it is hidden from git and from tools that walk
    /// it, twice: `git clean -fdx` deletes the `.gitignore`, and `git add -A` would then add the lanes.
    pub(crate) fn make_parent(&self, path: &Path) -> Result<(), StepError> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let failed = |path: &Path, source| StepError::File { path: path.to_owned(), source };
        std::fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
        let (false, Ok(root)) = (self.is_bare(), self.root().canonicalize()) else { return Ok(()) };
        let Ok(inside) = path.strip_prefix(&root) else { return Ok(()) };
        // A tree directly in the root is hidden by its own name, else the folder that holds the trees is.
        let hidden = inside.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(inside);
        let info = self.common_dir().join("info");
        exclude(&info, hidden).map_err(|source| failed(&info.join("exclude"), source))?;
        let ignore = parent.join(".gitignore");
        if parent != root {
            match File::create_new(&ignore) {
                Ok(mut file) => file.write_all(IGNORE_ALL).map_err(|source| failed(&ignore, source))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(failed(&ignore, source)),
            }
        }
        Ok(())
    }

    fn follow(&self, branch: &str, remote: &str) -> Result<(), UnderLockError> {
        let lock = self.lock()?;
        for (key, value) in [("remote", remote), ("merge", &branch_ref(branch))] {
            self.run("git config")
                .holding(lock.descriptor()?)
                .args(["config", "--local", &format!("branch.{branch}.{key}"), value])
                .succeed()?;
        }
        Ok(())
    }
}

/// Whether there is anything in a folder for lanes that is not hidden as such a folder yet.
fn has_files_of_others(holder: &Path) -> io::Result<bool> {
    if present(std::fs::read(holder.join(".gitignore")))?.is_some_and(|said| said == IGNORE_ALL) {
        return Ok(false);
    }
    Ok(present(std::fs::read_dir(holder))?.is_some_and(|mut entries| entries.next().is_some()))
}

/// Bytes that are free for this user in the deepest folder of a path that is there; `None` if nobody can say.
pub(crate) fn room_at(path: &Path) -> Option<u64> {
    let facts = path.ancestors().skip(1).find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Adds a folder of the main worktree to `info/exclude`, once. Written anew and renamed, so that git never
/// reads half of it; the caller has the repository lock.
fn exclude(info: &Path, folder: &Path) -> io::Result<()> {
    let mut line = b"/".to_vec();
    for byte in folder.as_os_str().as_bytes() {
        if b"\\*?[ ".contains(byte) {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.push(b'/');
    if line.contains(&b'\n') {
        // Cannot be written as a pattern; the `.gitignore` in the folder still hides it.
        return Ok(());
    }
    std::fs::create_dir_all(info)?;
    let file = info.join("exclude");
    // A link to somebody's own list is followed, not replaced.
    let file = present(file.canonicalize())?.unwrap_or(file);
    let mut content = present(std::fs::read(&file))?.unwrap_or_default();
    if content.split(|byte| *byte == b'\n').any(|there| there == line) {
        return Ok(());
    }
    if content.last().is_some_and(|last| *last != b'\n') {
        content.push(b'\n');
    }
    content.extend_from_slice(&line);
    content.push(b'\n');
    let new = file.with_extension("laneway-new");
    std::fs::write(&new, content)?;
    if let Some(facts) = present(file.metadata())? {
        std::fs::set_permissions(&new, facts.permissions())?;
    }
    std::fs::rename(&new, &file)
}
