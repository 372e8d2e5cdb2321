//! git's administrative folders of linked worktrees (`<common>/worktrees/<id>`), read as files: this works
//! also for worktrees whose folder is gone or whose creation was broken off, where git commands refuse.

use std::io;
use std::path::{Path, PathBuf};

use crate::discover::path_line;
use crate::names::branch_ref;

/// The start of the reason that our worktrees are locked with; the lane's name and id follow.
const REASON: &str = "laneway lane ";

/// The reason that a lane's worktree is locked with, so that nobody's `git worktree prune` takes it. The name is for
/// people; the id tells a lane from another one of its name, which may be of another home or of a later day.
pub(crate) fn lock_reason(lane: &str, id: &str) -> String {
    format!("{REASON}{lane} {id}")
}

/// The start of the reason that the trees of a pool are locked with; the tree's id follows.
const POOL_REASON: &str = "laneway pool ";

/// The reason that a tree of the pool is locked with.
pub(crate) fn pool_reason(id: &str) -> String {
    format!("{POOL_REASON}{id}")
}

/// One administrative folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminFolder {
    pub(crate) folder: PathBuf,
    /// The worktree it belongs to; `None` if its creation was broken off before that was written.
    pub(crate) tree: Option<PathBuf>,
    pub(crate) locked: Option<String>,
}

impl AdminFolder {
    pub(crate) fn read(folder: PathBuf) -> io::Result<Self> {
        let dot_git = present(std::fs::read(folder.join("gitdir")))?.map(|said| {
            // Relative since git 2.48 where the user has asked for that.
            lexically_normal(&folder.join(path_line(&said)))
        });
        let tree = dot_git.and_then(|path| path.parent().map(Path::to_owned));
        let locked = present(std::fs::read(folder.join("locked")))?
            .map(|reason| String::from_utf8_lossy(&reason).trim_end().to_owned());
        Ok(Self { folder, tree, locked })
    }

    pub(crate) fn is_of_a_lane(&self) -> bool {
        self.lane().is_some()
    }

    /// The name of the lane that it says it is of.
    pub(crate) fn lane(&self) -> Option<&str> {
        self.locked.as_ref()?.strip_prefix(REASON)?.split(' ').next()
    }

    /// The id of the lane that it says it is of.
    pub(crate) fn lane_id(&self) -> Option<&str> {
        self.locked.as_ref()?.strip_prefix(REASON)?.split(' ').nth(1)
    }

    /// The id of the tree of the pool that it says it is of.
    pub(crate) fn pool_tree(&self) -> Option<&str> {
        self.locked.as_ref()?.strip_prefix(POOL_REASON)
    }

    /// The lock that a checkout in this worktree holds, git included.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.folder.join("laneway.lock")
    }

    /// Is there while a tree of the pool is being given to a lane, before its HEAD is on the lane's branch.
    pub(crate) fn claim_mark(&self) -> PathBuf {
        self.folder.join("laneway-claim")
    }

    pub(crate) fn is_just_claimed(&self) -> bool {
        self.claim_mark().exists()
    }

    /// Whether its HEAD is certainly on this branch. Where refs are no files of their own, git has to be asked.
    pub(crate) fn has_head_at(&self, branch: &str) -> bool {
        let file = self.folder.join("HEAD");
        let is_file = file.symlink_metadata().is_ok_and(|facts| facts.is_file());
        let said = std::fs::read(file).unwrap_or_default();
        let on = said.strip_prefix(b"ref: ").and_then(|name| name.strip_suffix(b"\n"));
        is_file && !branch.is_empty() && on == Some(branch_ref(branch).as_bytes())
    }

    /// Whether the tree's `.git` file leads back here.
    pub(crate) fn is_led_to_by(&self, tree: &Path) -> bool {
        let Ok(linked) = crate::discover::linked_folder(&tree.join(".git")) else { return false };
        match (tree.join(linked).canonicalize(), self.folder.canonicalize()) {
            (Ok(linked), Ok(folder)) => linked == folder,
            _ => false,
        }
    }
}

/// Every administrative folder of the repository.
pub(crate) fn admin_folders(common_dir: &Path) -> io::Result<Vec<AdminFolder>> {
    let Some(entries) = present(std::fs::read_dir(common_dir.join("worktrees")))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(AdminFolder::read(entry.path())?);
        }
    }
    Ok(found)
}

/// The administrative folder that is registered for the worktree at this path.
pub(crate) fn registered_at(common_dir: &Path, tree: &Path) -> io::Result<Option<AdminFolder>> {
    let is_its = |admin: &AdminFolder| admin.tree.as_deref() == Some(tree);
    if let Some(admin) = led_to_from(common_dir, tree).filter(is_its) {
        return Ok(Some(admin));
    }
    Ok(admin_folders(common_dir)?.into_iter().find(is_its))
}

/// Where the worktree's own `.git` file leads, if that is one of the repository's administrative folders: with many
/// worktrees much sooner found than by a look at all of them.
fn led_to_from(common_dir: &Path, tree: &Path) -> Option<AdminFolder> {
    let linked = tree.join(crate::discover::linked_folder(&tree.join(".git")).ok()?);
    let all = common_dir.join("worktrees");
    if linked.parent()?.canonicalize().ok()? != all.canonicalize().ok()? {
        return None;
    }
    AdminFolder::read(all.join(linked.file_name()?)).ok()
}

/// Whether git can read it: a creation that was broken off has not written all of it.
pub(crate) fn is_readable(admin: &AdminFolder) -> bool {
    let is_written = |file| admin.folder.join(file).metadata().is_ok_and(|facts| facts.len() > 0);
    is_written("HEAD") && is_written("commondir")
}

/// What was read, or `None` if it is not there.
pub(crate) fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The path as git would register it: the deepest folder that exists is made canonical, and what is yet to be
/// made follows it. The last component is never followed if it is a symbolic link.
pub(crate) fn settled_path(path: &Path) -> io::Result<PathBuf> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "a path must be absolute and name a folder");
    let name = path.file_name().filter(|_| path.is_absolute()).ok_or_else(invalid)?;
    let parent = path.parent().ok_or_else(invalid)?;
    let mut missing = vec![name];
    for folder in parent.ancestors() {
        match folder.canonicalize() {
            Ok(there) if !there.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            Ok(there) => {
                return Ok(missing.iter().rev().fold(there, |path, component| path.join(component)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(folder.file_name().ok_or_else(invalid)?);
            }
            Err(error) => return Err(error),
        }
    }
    Err(invalid())
}

fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => drop(normal.pop()),
            std::path::Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_path_follows_parents_but_not_its_last_component() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("real")).unwrap();
        std::os::unix::fs::symlink(real.join("real"), real.join("link")).unwrap();
        assert_eq!(settled_path(&real.join("link/a/b")).unwrap(), real.join("real/a/b"));
        assert_eq!(settled_path(&real.join("link")).unwrap(), real.join("link"));
        assert!(settled_path(&real.join("a/..")).is_err());
        assert!(settled_path(Path::new("relative")).is_err());
    }
}
