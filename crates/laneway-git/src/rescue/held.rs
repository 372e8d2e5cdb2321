//! Whether the commits of a rescue hold everything that its tree in the trash has: byte for byte, without filters.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::RescueRef;
use crate::names::CommitId;
use crate::repository::{Repository, not_read};
use crate::run::RunError;
use crate::trash::Trashed;

/// Paths that fit into one command line with room to spare.
const PATHS_AT_ONCE: usize = 200;

/// Something in the trash that no commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHeld {
    /// Where in the tree.
    pub path: PathBuf,
}

struct Held {
    mode: Vec<u8>,
    id: Vec<u8>,
}

impl Repository {
    /// The first thing in the trash that the commits do not hold; `None` if it can be deleted without a loss. File
    /// modes other than the executable bit, and empty folders, are not asked about.
    pub fn not_held(&self, id: &str, trashed: &Trashed) -> Result<Option<NotHeld>, RunError> {
        let tree = trashed.tree();
        if trashed.modules().symlink_metadata().is_ok() {
            return Ok(Some(NotHeld { path: trashed.modules() }));
        }
        if tree.symlink_metadata().is_err() {
            return Ok(None);
        }
        let refs = self.rescue_refs(id)?;
        let held = [RescueRef::Work, RescueRef::Index, RescueRef::Head];
        let Some(commit) = held.iter().find_map(|which| refs.get(which)) else {
            return Ok(first_entry(&tree).map_err(not_read)?.map(|path| NotHeld { path }));
        };
        let held = self.entries_of(commit)?;
        let mut files = Vec::new();
        if let Some(path) = compare_kinds(&tree, &held, &mut files).map_err(not_read)? {
            return Ok(Some(NotHeld { path }));
        }
        if let Some(path) = self.first_unreadable(&tree, &held, &files)? {
            return Ok(Some(NotHeld { path }));
        }
        for some in files.chunks(PATHS_AT_ONCE) {
            let said = self
                .git()
                .run("git hash-object", &tree)
                .reads()
                .in_tree(self.common_dir(), &tree)
                .args(["hash-object", "--no-filters", "--"])
                .args(some)
                .succeed()?;
            let mut ids = said.split(|byte| *byte == b'\n');
            for path in some {
                if ids.next() != held.get(path).map(|held| held.id.as_slice()) {
                    return Ok(Some(NotHeld { path: path.clone() }));
                }
            }
        }
        Ok(None)
    }

    /// The first file whose content is not in the repository after all: a tree names its files, also those that a
    /// power cut has taken.
    fn first_unreadable(
        &self,
        tree: &Path,
        held: &HashMap<PathBuf, Held>,
        files: &[PathBuf],
    ) -> Result<Option<PathBuf>, RunError> {
        let mut asked = Vec::new();
        for path in files {
            asked.extend_from_slice(held.get(path).map_or(b"".as_slice(), |held| &held.id));
            asked.push(b'\n');
        }
        let said = self
            .run("git cat-file --batch-check")
            .reads()
            .args(["cat-file", "--batch-check=%(objecttype) %(objectsize)"])
            .variable("GIT_NO_LAZY_FETCH", "1")
            .input(&asked)?
            .succeed()?;
        let mut lines = said.split(|byte| *byte == b'\n');
        for path in files {
            let length = tree.join(path).symlink_metadata().map_err(not_read)?.len();
            if lines.next() != Some(format!("blob {length}").as_bytes()) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }

    fn entries_of(&self, commit: &CommitId) -> Result<HashMap<PathBuf, Held>, RunError> {
        let mut entries = HashMap::new();
        let mut links = Vec::new();
        let listed = self.run("git ls-tree").reads().args(["ls-tree", "-r", "-z", "--full-tree"]);
        listed
            .arg(commit.as_str())
            .each_record(0, &mut |record| {
                let mut halves = record.splitn(2, |byte| *byte == b'\t');
                let (Some(facts), Some(path)) = (halves.next(), halves.next()) else { return };
                let mut facts = facts.split(|byte| *byte == b' ');
                let (Some(mode), Some(id)) = (facts.next(), facts.nth(1)) else { return };
                let path = PathBuf::from(OsStr::from_bytes(path));
                if mode == b"120000" {
                    links.push((path.clone(), String::from_utf8_lossy(id).into_owned()));
                }
                entries.insert(path, Held { mode: mode.to_owned(), id: id.to_owned() });
            })?
            .or_failed()?;
        // A link's entry is compared by what it says.
        for (path, id) in links {
            let said = self.run("git cat-file").reads().args(["cat-file", "blob", &id]).succeed()?;
            entries.insert(path, Held { mode: b"120000".to_vec(), id: said });
        }
        Ok(entries)
    }
}

/// Compares what needs no hash, and collects the files that do. The first difference ends it.
fn compare_kinds(
    tree: &Path,
    held: &HashMap<PathBuf, Held>,
    files: &mut Vec<PathBuf>,
) -> std::io::Result<Option<PathBuf>> {
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(tree.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let facts = entry.metadata()?;
            if path == Path::new(".git") && facts.is_file() {
                continue;
            }
            if facts.is_dir() {
                waiting.push(path);
                continue;
            }
            let Some(there) = held.get(&path) else { return Ok(Some(path)) };
            let same = if facts.is_symlink() {
                there.mode == b"120000"
                    && std::fs::read_link(entry.path())?.as_os_str().as_bytes() == there.id.as_slice()
            } else {
                let executable = facts.permissions().mode() & 0o100 != 0;
                facts.is_file() && there.mode == if executable { b"100755" } else { b"100644" }
            };
            if !same {
                return Ok(Some(path));
            }
            if !facts.is_symlink() {
                files.push(path);
            }
        }
    }
    Ok(None)
}

fn first_entry(tree: &Path) -> std::io::Result<Option<PathBuf>> {
    Ok(std::fs::read_dir(tree)?.next().transpose()?.map(|entry| entry.path()))
}
