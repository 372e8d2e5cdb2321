//! Which repository a path is in, found without starting git: cheap enough for every command.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where a path stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The folder that all worktrees of the repository share; a workspace is known by it.
    pub common_dir: PathBuf,
    /// The folder of this worktree's own index and HEAD; the common folder for the main worktree.
    pub git_dir: PathBuf,
    /// The root of the worktree; `None` in a bare repository or inside a `.git` folder.
    pub worktree_root: Option<PathBuf>,
}

/// Why a path is in no repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoRepository {
    /// The path is not there.
    #[error("{} is not there", path.display())]
    Missing {
        /// The path that was asked about.
        path: PathBuf,
    },
    /// Neither it nor a folder above it is a repository.
    #[error("{} is not in a git repository", path.display())]
    NotFound {
        /// The path that was asked about.
        path: PathBuf,
    },
    /// There is a `.git`, but it leads nowhere.
    #[error("{} does not lead to a git repository", path.display())]
    Broken {
        /// The `.git` file or folder.
        path: PathBuf,
    },
    /// Something on the way could not be read.
    #[error("{} could not be read", path.display())]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Finds the repository that a path is in: the path itself or the nearest folder above it that has a `.git`
/// folder, a `.git` file (linked worktree, submodule), or is a bare repository. All results are canonical.
pub fn discover(path: &Path) -> Result<Location, NoRepository> {
    let start = path.canonicalize().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            NoRepository::Missing { path: path.to_owned() }
        }
        _ => NoRepository::Unreadable { path: path.to_owned(), source },
    })?;
    for folder in start.ancestors() {
        let dot_git = folder.join(".git");
        if dot_git.is_dir() && is_git_folder(&dot_git) {
            return location(&dot_git, Some(folder), &dot_git);
        }
        if dot_git.is_file() {
            let git_dir = folder.join(linked_folder(&dot_git)?);
            return location(&git_dir, Some(folder), &dot_git);
        }
        if is_git_folder(folder) {
            return location(folder, None, folder);
        }
    }
    Err(NoRepository::NotFound { path: path.to_owned() })
}

fn location(git_dir: &Path, root: Option<&Path>, evidence: &Path) -> Result<Location, NoRepository> {
    let broken = |_| NoRepository::Broken { path: evidence.to_owned() };
    let git_dir = git_dir.canonicalize().map_err(broken)?;
    let common_dir = match std::fs::read(git_dir.join("commondir")) {
        Ok(said) => git_dir.join(path_line(&said)).canonicalize().map_err(broken)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => git_dir.clone(),
        Err(source) => return Err(NoRepository::Unreadable { path: git_dir.join("commondir"), source }),
    };
    if !is_git_folder(&common_dir) {
        return Err(NoRepository::Broken { path: evidence.to_owned() });
    }
    Ok(Location { common_dir, git_dir, worktree_root: root.map(Path::to_owned) })
}

/// What git itself asks of a repository: a HEAD, `objects` and `refs`.
fn is_git_folder(folder: &Path) -> bool {
    let head = folder.join("HEAD").symlink_metadata().is_ok();
    head && (folder.join("commondir").is_file()
        || (folder.join("objects").is_dir() && folder.join("refs").is_dir()))
}

/// Where a `.git` file points (`gitdir: PATH`, relative to the file's folder or absolute).
pub(crate) fn linked_folder(dot_git: &Path) -> Result<PathBuf, NoRepository> {
    let said = std::fs::read(dot_git)
        .map_err(|source| NoRepository::Unreadable { path: dot_git.to_owned(), source })?;
    let path = said.strip_prefix(b"gitdir: ");
    path.map(path_line).ok_or_else(|| NoRepository::Broken { path: dot_git.to_owned() })
}

/// A path as git writes it into a file: bytes, and one newline at the end.
pub(crate) fn path_line(said: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(said.strip_suffix(b"\n").unwrap_or(said)))
}
