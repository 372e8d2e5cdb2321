//! What `git status` does not tell: files marked assume-unchanged or skip-worktree, and submodules that hold
//! commits which exist nowhere else (a linked worktree's submodules live in its administrative folder, and
//! go with it).

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::admin::{AdminFolder, present};
use crate::index::{Index, IndexEntry};
use crate::repository::{Repository, not_read};
use crate::run::RunError;
use crate::status::{ChangedFile, Listing};

/// Paths that fit into one command line with room to spare.
const PATHS_AT_ONCE: usize = 200;

/// What was found.
#[derive(Default)]
pub(crate) struct HiddenFacts {
    pub(crate) changed: Vec<ChangedFile>,
    /// Submodules with commits of their own.
    pub(crate) submodules: Vec<PathBuf>,
}

impl Repository {
    /// What the index hides; it was read before.
    pub(crate) fn hidden_facts(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        index: &Index,
    ) -> Result<HiddenFacts, RunError> {
        let changed = self.changed_of(admin, tree, &index.marked)?;
        let mut facts = HiddenFacts { changed, submodules: Vec::new() };
        for entry in &index.submodules {
            let folder = tree.join(&entry.path);
            // One with a `.git` file lives in the administrative folder, which is looked at as a whole.
            if folder.join(".git").is_dir() && self.has_own_commits(&folder.join(".git")) {
                facts.submodules.push(entry.path.clone());
            }
        }
        Ok(facts)
    }

    /// Those of the entries whose files are there and have other content.
    pub(crate) fn changed_of(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        entries: &[IndexEntry],
    ) -> Result<Vec<ChangedFile>, RunError> {
        let mut changed = Vec::new();
        for some in entries.chunks(PATHS_AT_ONCE) {
            self.compare_marked(admin, tree, some, &mut changed)?;
        }
        Ok(changed)
    }

    /// Compares the content of marked files that are there with what the index says. A marked file that is
    /// not there is what sparse checkouts are made of.
    fn compare_marked(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        entries: &[IndexEntry],
        changed: &mut Vec<ChangedFile>,
    ) -> Result<(), RunError> {
        let mut differs = |entry: &IndexEntry| {
            changed.push(ChangedFile {
                path: entry.path.clone(),
                staged: false,
                unstaged: true,
                conflicted: false,
                is_submodule: false,
                is_hidden: true,
                is_deleted: false,
            });
        };
        let mut to_hash = Vec::new();
        for entry in entries {
            let Some(there) = present(tree.join(&entry.path).symlink_metadata()).map_err(not_read)? else {
                continue;
            };
            let is_executable = there.permissions().mode() & 0o100 != 0;
            let same_kind = if there.is_symlink() {
                entry.mode == 0o120_000
            } else {
                there.is_file() && entry.mode == if is_executable { 0o100_755 } else { 0o100_644 }
            };
            if !same_kind || there.is_symlink() {
                // A marked link is too rare to be worth reading it as git does: it counts as changed.
                differs(entry);
            } else {
                to_hash.push(entry);
            }
        }
        if to_hash.is_empty() {
            return Ok(());
        }
        let (finished, said) = self
            .run_in("git hash-object", &admin.folder, tree)
            .reads()
            .args(["hash-object", "--"])
            .args(to_hash.iter().map(|entry| &entry.path))
            .output()?;
        let mut ids = said.split(|byte| *byte == b'\n');
        for entry in to_hash {
            // One that cannot be read ends the list: it and those after it count as changed.
            if ids.next() != Some(&entry.id) || finished.code() != Some(0) {
                differs(entry);
            }
        }
        Ok(())
    }

    /// Submodules that live in the administrative folder, also of ones that the index no longer names.
    pub(crate) fn look_at_submodule_folders(
        &self,
        admin: &AdminFolder,
        found: &mut Listing<PathBuf>,
    ) -> Result<(), RunError> {
        let modules = admin.folder.join("modules");
        let mut waiting = vec![modules.clone()];
        while let Some(folder) = waiting.pop() {
            let Some(entries) = present(std::fs::read_dir(&folder)).map_err(not_read)? else { continue };
            if folder.join("HEAD").exists() {
                if self.has_own_commits(&folder) {
                    found.push(folder.strip_prefix(&modules).unwrap_or(&folder).to_owned());
                }
                // Submodules of this submodule.
                waiting.push(folder.join("modules"));
                continue;
            }
            for entry in entries {
                let entry = entry.map_err(not_read)?;
                if entry.file_type().map_err(not_read)?.is_dir() {
                    waiting.push(entry.path());
                }
            }
        }
        Ok(())
    }

    /// Whether a submodule's repository has commits or stashes that its remotes do not have. That the tree
    /// around it is committed with one of them does not help: the commit itself would be gone.
    fn has_own_commits(&self, git_dir: &Path) -> bool {
        let mut option = OsString::from("--git-dir=");
        option.push(git_dir);
        let answer = self
            .git()
            .run("git rev-list", git_dir)
            .reads()
            .arg(option)
            .args(["rev-list", "--max-count=1", "--all", "HEAD", "--not", "--remotes", "--"])
            .output();
        // No answer is no proof that nothing is there.
        answer.map_or(true, |(finished, said)| finished.code() != Some(0) || !said.is_empty())
    }
}
