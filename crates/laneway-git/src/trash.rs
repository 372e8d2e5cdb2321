//! Trees that were renamed aside and wait to be unlinked. The rename is quick for the one who waits; the
//! unlinking can be done in the background, and again after a crash.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use laneway_fault::fault_point;

use crate::admin::present;

/// The trash in a folder that only lanes are in; no lane can have this name.
const FOLDER: &str = ".trash";

/// The trash in any other folder that has a lane's tree, where `.trash` may be somebody's.
const FOLDER_AMONG_OTHERS: &str = ".laneway-trash";

/// The name of a folder that only lanes are in.
pub(crate) const FOLDER_OF_LANES: &str = ".lanes";

/// The tree itself, in the folder of its id.
const TREE: &str = "tree";

/// The copy of git's administrative folder, for a tree that is kept. What has one is never deleted in passing.
const ADMIN: &str = "git";

/// The repositories of its submodules, for a tree that is kept.
const MODULES: &str = "modules";

/// Ends the name of what is being deleted: nobody finds it any more.
const GOING: &str = ".going";

/// What makes the trash look like a repository of its own: `git clean -fdx` in the main worktree passes those by.
const MARKER: &str = ".git";

/// A tree that is out of the way, with what belongs to it. Dropping it changes nothing; `unlink` deletes it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the tree stays in the trash until it is unlinked"]
pub struct Trashed {
    folder: PathBuf,
}

/// A tree in the trash that could not be deleted whole, for one because a container left files of root in it.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be deleted", path.display())]
pub struct NotUnlinked {
    /// What is still in the trash.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl Trashed {
    /// What is in the trash under this id, for a tree that was at `tree_path`.
    pub fn find(tree_path: &Path, id: &str) -> Option<Self> {
        let folder = place(tree_path, id).ok()?;
        folder.symlink_metadata().is_ok_and(|facts| facts.is_dir()).then_some(Self { folder })
    }

    /// Sees whether a tree could be renamed aside now: its filesystem can be written to and has room for that. Nothing
    /// is left of the try.
    pub fn try_place(tree_path: &Path, id: &str) -> io::Result<()> {
        let made = make_place(tree_path, id);
        // Not if something is in it that was left there.
        let emptied = place(tree_path, id).and_then(std::fs::remove_dir);
        if emptied.is_ok() || made.is_err() {
            Self::remove_empty(tree_path);
        }
        made.map(drop)
    }

    /// The folder of it in the trash: the tree, and for one that is kept what git knew of it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the tree is.
    pub fn tree(&self) -> PathBuf {
        self.folder.join(TREE)
    }

    /// Where the copy of git's administrative folder is, for a tree that is kept.
    pub fn admin_copy(&self) -> PathBuf {
        self.folder.join(ADMIN)
    }

    /// Where the repositories of its submodules are, for a tree that is kept.
    pub fn modules(&self) -> PathBuf {
        self.folder.join(MODULES)
    }

    /// Whether neither its files nor its submodules' repositories are in it any more.
    pub fn has_been_emptied(&self) -> bool {
        self.tree().symlink_metadata().is_err() && self.modules().symlink_metadata().is_err()
    }

    /// What is in the trash under this id and kept by nobody: its deletion was never begun.
    pub fn to_finish(tree_path: &Path, id: &str) -> Option<Self> {
        Self::find(tree_path, id).filter(|trashed| !trashed.is_kept())
    }

    /// Removes the trash beside a tree if nothing is in it: a deletion that was broken off may have left it.
    pub fn remove_empty(tree_path: &Path) {
        if let Some(parent) = tree_path.parent() {
            remove_if_empty(&trash_in(parent));
        }
    }

    /// The trash of trees that are beside this one.
    pub(crate) fn beside(tree_path: &Path) -> Option<PathBuf> {
        Some(trash_in(tree_path.parent()?))
    }

    /// Everything in a trash, but for what is just being deleted.
    pub(crate) fn all_in(trash: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = present(std::fs::read_dir(trash))?.into_iter().flatten();
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        let is_kept = |name: &std::ffi::OsString| {
            name != MARKER && !name.as_encoded_bytes().ends_with(GOING.as_bytes())
        };
        Ok(names.filter(is_kept).map(|name| trash.join(name)).collect())
    }

    /// What is just being deleted from the trash beside this tree, or was when that was broken off.
    pub fn being_deleted(tree_path: &Path) -> Vec<Self> {
        let Some(parent) = tree_path.parent() else { return Vec::new() };
        let entries = std::fs::read_dir(trash_in(parent)).into_iter().flatten().flatten();
        let going = entries.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(GOING.as_bytes()));
        going.map(|entry| Self { folder: entry.path() }).collect()
    }

    /// Whether it is kept for a restore, and so deleted only when that is asked for.
    pub fn is_kept(&self) -> bool {
        self.admin_copy().symlink_metadata().is_ok()
    }

    /// It was looked at: from now on it is deleted in passing.
    pub(crate) fn keep_no_longer(&self) -> io::Result<()> {
        present(std::fs::remove_dir_all(self.admin_copy())).map(drop)
    }

    /// Deletes it. Symbolic links are deleted, never followed; folders without write permission (as package
    /// managers leave them) are made writable. Gone already is fine.
    ///
    /// It is renamed first, so that nobody finds half of it, and nobody takes out of it what is just being deleted.
    pub fn unlink(self) -> Result<(), NotUnlinked> {
        let not_unlinked = |source| NotUnlinked { path: self.folder.clone(), source };
        let is_going = self.folder.as_os_str().as_encoded_bytes().ends_with(GOING.as_bytes());
        let going = if is_going {
            self.folder.clone()
        } else {
            let going = self.folder.with_added_extension(GOING.trim_start_matches('.'));
            delete(&going)?;
            match present(std::fs::rename(&self.folder, &going)).map_err(not_unlinked)? {
                Some(()) => going,
                None => return Ok(()),
            }
        };
        fault_point!("trash.renamed");
        delete(&going)?;
        fault_point!("trash.deleted");
        if let Some(trash) = going.parent() {
            remove_if_empty(trash);
        }
        Ok(())
    }

    /// Deletes folders and files of the tree that can be made again. `paths` are relative to it.
    pub fn drop_disposable(&self, paths: &[PathBuf]) -> Result<(), NotUnlinked> {
        let tree = self.tree();
        paths.iter().try_for_each(|path| delete(&tree.join(path)))
    }
}

/// Who makes the trash, and who removes it when it is empty, would each be in the middle of the other's steps. Of another
/// process that works in the same repository it does not tell: what is missing then is made again.
static TRASH_COMES_AND_GOES: Mutex<()> = Mutex::new(());

/// Removes the trash after the last one in it.
fn remove_if_empty(trash: &Path) {
    let _others_wait = TRASH_COMES_AND_GOES.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(mut entries) = std::fs::read_dir(trash) else { return };
    if entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == MARKER)) {
        let _ = std::fs::remove_dir_all(trash.join(MARKER));
        if std::fs::remove_dir(trash).is_err() && trash.is_dir() {
            // Something else has come meanwhile.
            let _ = mark(trash);
        }
    }
}

/// Makes the trash look like a repository.
fn mark(trash: &Path) -> io::Result<()> {
    let marker = trash.join(MARKER);
    std::fs::create_dir_all(marker.join("objects"))?;
    std::fs::create_dir_all(marker.join("refs"))?;
    std::fs::write(marker.join("HEAD"), "ref: refs/heads/none\n")
}

/// Deletes a file or a folder with all in it, where it is.
pub(crate) fn delete(path: &Path) -> Result<(), NotUnlinked> {
    let remove = || match path.symlink_metadata() {
        Ok(facts) if facts.is_dir() => present(std::fs::remove_dir_all(path)),
        Ok(_) => present(std::fs::remove_file(path)),
        Err(error) => present(Err(error)),
    };
    let mut result = remove();
    if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        make_writable(path);
        result = remove();
    }
    result.map(drop).map_err(|source| NotUnlinked { path: path.to_owned(), source })
}

/// Renames a tree into the trash beside it: the same file system, and nothing is followed or copied.
pub(crate) fn move_aside(tree: &Path, id: &str) -> io::Result<Trashed> {
    let trashed = make_place(tree, id)?;
    loop {
        match std::fs::rename(tree, trashed.tree()) {
            // Another unlinking may just have removed the empty trash.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tree.symlink_metadata().is_ok() => {
                drop(make_place(tree, id)?);
            }
            result => return result.map(|()| trashed),
        }
    }
}

/// Makes the folder of an id in the trash.
pub(crate) fn make_place(tree: &Path, id: &str) -> io::Result<Trashed> {
    let folder = place(tree, id)?;
    let trash = folder.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    make_folder(&trash, folder).inspect_err(|_| remove_if_empty(&trash))
}

fn make_folder(trash: &Path, folder: PathBuf) -> io::Result<Trashed> {
    let _others_wait = TRASH_COMES_AND_GOES.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        for made in [trash, folder.as_path()] {
            match std::fs::create_dir(made) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !made.symlink_metadata()?.is_dir() {
                        return Err(io::Error::new(io::ErrorKind::NotADirectory, "the trash is no folder"));
                    }
                }
                // Another unlinking may just have removed the empty trash.
                Err(error) if error.kind() == io::ErrorKind::NotFound && made != trash => break,
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        // Marked last: an unlinking that removes an empty trash may just have taken the mark away.
        if folder.symlink_metadata().is_ok() && present(mark(trash))?.is_some() {
            return Ok(Trashed { folder });
        }
    }
}

/// Where the trash keeps what belongs to an id, which is one plain component.
fn place(tree: &Path, id: &str) -> io::Result<PathBuf> {
    let mut parts = Path::new(id).components();
    let is_plain =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == id);
    let parent = tree.parent().filter(|_| is_plain && tree.is_absolute());
    let parent =
        parent.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an id for the trash"))?;
    Ok(trash_in(parent).join(id))
}

/// The trash of the trees in a folder.
fn trash_in(parent: &Path) -> PathBuf {
    let is_of_lanes = parent.file_name().is_some_and(|name| name == FOLDER_OF_LANES);
    parent.join(if is_of_lanes { FOLDER } else { FOLDER_AMONG_OTHERS })
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
    fn a_try_leaves_nothing_and_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join(".lanes/a");
        std::fs::create_dir_all(&tree).unwrap();
        Trashed::try_place(&tree, "id").unwrap();
        assert!(!folder.path().join(".lanes/.trash").exists());
        // What a removal that was broken off has left there stays, and so does the trash of others.
        let kept = make_place(&tree, "id").unwrap();
        std::fs::create_dir(kept.tree()).unwrap();
        Trashed::try_place(&tree, "id").unwrap();
        Trashed::try_place(&tree, "other").unwrap();
        assert!(kept.tree().exists() && !folder.path().join(".lanes/.trash/other").exists());
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(Trashed::try_place(&folder.path().join("file/a"), "id").is_err());
    }

    #[test]
    fn an_id_is_one_plain_component() {
        for wrong in ["", ".", "..", "a/b", "/a", "../a"] {
            assert!(place(Path::new("/lanes/x"), wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(place(Path::new("/lanes/x"), "ln_1").unwrap(), Path::new("/lanes/.laneway-trash/ln_1"));
        assert_eq!(place(Path::new("/r/.lanes/x"), "ln_1").unwrap(), Path::new("/r/.lanes/.trash/ln_1"));
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
        assert!(!tree.exists() && !folder.path().join(FOLDER_AMONG_OTHERS).exists());
        // As one that was broken off at the very end leaves it.
        mark(&folder.path().join(FOLDER_AMONG_OTHERS)).unwrap();
        Trashed::remove_empty(&tree);
        assert!(!folder.path().join(FOLDER_AMONG_OTHERS).exists());
        assert_eq!(Trashed::find(&tree, "id"), None);
    }
}
