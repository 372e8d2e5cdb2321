//! Trees that were renamed aside and wait to be unlinked. The rename is quick for the one who waits; the
//! unlinking can be done in the background, and again after a crash.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use crate::admin::present;

/// The folder beside the lanes' trees; no lane can have this name.
const FOLDER: &str = ".trash";

/// A tree that is out of the way. Dropping it changes nothing; `unlink` deletes it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the tree stays in the trash until it is unlinked"]
pub struct Trashed {
    path: PathBuf,
}

/// A tree in the trash that could not be deleted whole, for one because a container left files of root in it.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be deleted", path.display())]
pub struct NotUnlinked {
    /// The tree in the trash.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl Trashed {
    /// What a crash has left in the trash under this id, for a tree that was at `tree_path`.
    pub fn left_over(tree_path: &Path, id: &str) -> Option<Self> {
        let path = place(tree_path, id).ok()?;
        path.symlink_metadata().is_ok().then_some(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it back to where it was.
    pub(crate) fn put_back(self, tree: &Path) -> io::Result<()> {
        // `rename` only replaces an empty folder that somebody may have made there meanwhile; that loses nothing.
        std::fs::rename(&self.path, tree)
    }

    /// Deletes it. Symbolic links are deleted, never followed; folders without write permission (as package
    /// managers leave them) are made writable. Gone already is fine.
    pub fn unlink(self) -> Result<(), NotUnlinked> {
        let mut result = present(std::fs::remove_dir_all(&self.path));
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            make_writable(&self.path);
            result = present(std::fs::remove_dir_all(&self.path));
        }
        result.map_err(|source| NotUnlinked { path: self.path.clone(), source })?;
        if let Some(folder) = self.path.parent() {
            // Succeeds for the last one only.
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// Renames a tree into the trash beside it: the same file system, and nothing is followed or copied.
pub(crate) fn move_aside(tree: &Path, id: &str) -> io::Result<Trashed> {
    let path = place(tree, id)?;
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ if folder.symlink_metadata().is_ok_and(|facts| facts.is_symlink()) => {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "the trash is a symbolic link"));
            }
            _ => {}
        }
        match std::fs::rename(tree, &path) {
            // Another unlinking may just have removed the empty trash.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tree.symlink_metadata().is_ok() => {}
            result => return result.map(|()| Trashed { path }),
        }
    }
}

/// Where the trash keeps a tree; an id is one plain component.
fn place(tree: &Path, id: &str) -> io::Result<PathBuf> {
    let mut parts = Path::new(id).components();
    let is_plain =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == id);
    let parent = tree.parent().filter(|_| is_plain && tree.is_absolute());
    let parent =
        parent.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an id for the trash"))?;
    Ok(parent.join(FOLDER).join(id))
}

fn make_writable(folder: &Path) {
    // Best effort: what is still not writable is what `unlink` reports.
    let _ = std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_plain_component() {
        for wrong in ["", ".", "..", "a/b", "/a", "../a"] {
            assert!(place(Path::new("/lanes/x"), wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(place(Path::new("/lanes/x"), "ln_1").unwrap(), Path::new("/lanes/.trash/ln_1"));
    }

    #[test]
    fn unlinking_follows_no_link_and_gets_past_read_only_folders() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir_all(outside.join("kept")).unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("locked/inner")).unwrap();
        std::fs::write(tree.join("locked/inner/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        std::fs::set_permissions(tree.join("locked/inner"), PermissionsExt::from_mode(0o500)).unwrap();
        move_aside(&tree, "id").unwrap().unlink().unwrap();
        assert!(outside.join("kept").is_dir());
        assert!(!tree.exists() && !folder.path().join(FOLDER).exists());
        assert_eq!(Trashed::left_over(&tree, "id"), None);
    }
}
