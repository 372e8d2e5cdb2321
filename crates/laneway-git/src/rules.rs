//! What a repository's owner has set, as far as it decides how its lanes are made and taken away.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Folders whose ignored content can be made again, unless the owner says otherwise: build output, installed
/// packages, caches. Only what git ignores is looked at with this list; an untracked `build/` that no pattern ignores
/// is work.
pub const DISPOSABLE_FOLDERS: &[&str] = &[
    "target",
    "node_modules",
    "dist",
    "build",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    ".gradle",
    ".cache",
    ".next",
    ".nuxt",
    ".turbo",
    ".parcel-cache",
    ".svelte-kit",
];

/// A file of more bytes is kept in the trash only, not in the commit, unless the owner says otherwise: 64 MiB.
pub const MOST_IN_COMMIT: u64 = 64 << 20;

/// Bytes that are to be free where a tree is made, unless the owner says otherwise: it is not checked out into the last
/// of a disk, on which others work too.
pub const LEAST_ROOM: u64 = 512 << 20;

/// What a repository's owner has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Names of folders whose ignored content can be made again.
    pub disposable: Vec<String>,
    /// The largest file, in bytes, that the commit of a rescue holds.
    pub most_in_commit: u64,
    /// Bytes that are to be free where a tree is made.
    pub least_room: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            disposable: DISPOSABLE_FOLDERS.iter().map(|name| (*name).to_owned()).collect(),
            most_in_commit: MOST_IN_COMMIT,
            least_room: LEAST_ROOM,
        }
    }
}

impl Rules {
    pub(crate) fn is_name_of_disposable(&self, name: &OsStr) -> bool {
        name.to_str().is_some_and(|name| self.disposable.iter().any(|disposable| disposable == name))
    }

    /// The folders of such a name that a path is in; it itself is one of them if a `/` ends it.
    pub(crate) fn disposable_folders<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Path> {
        let is_folder = path.as_os_str().as_bytes().ends_with(b"/");
        let folders = path.ancestors().skip(usize::from(!is_folder));
        folders.filter(|folder| folder.file_name().is_some_and(|name| self.is_name_of_disposable(name)))
    }

    /// A whole folder that git ignores and that is made again.
    pub(crate) fn is_made_again(&self, path: &Path) -> bool {
        path.as_os_str().as_bytes().ends_with(b"/")
            && path.file_name().is_some_and(|name| self.is_name_of_disposable(name))
    }
}
