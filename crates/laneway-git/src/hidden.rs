//! What `git status` does not tell: files marked assume-unchanged or skip-worktree, and submodules that hold
//! commits which exist nowhere else (a linked worktree's submodules live in its administrative folder, and
//! go with it).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::admin::{AdminFolder, present};
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
    /// Folders of a disposable name with tracked files in them: what is ignored there is not made again by a build.
    pub(crate) project_folders: HashSet<PathBuf>,
    /// The index names submodules.
    pub(crate) has_submodules: bool,
}

/// One line of `git ls-files -s -v -z`.
struct IndexEntry {
    mark: u8,
    mode: u32,
    id: Vec<u8>,
    path: PathBuf,
}

impl IndexEntry {
    fn parse(record: &[u8]) -> Option<Self> {
        let (facts, path) = record.split_at(record.iter().position(|byte| *byte == b'\t')?);
        let mut facts = facts.split(|byte| *byte == b' ');
        let mark = *facts.next()?.first()?;
        let mode = u32::from_str_radix(std::str::from_utf8(facts.next()?).ok()?, 8).ok()?;
        let id = facts.next()?.to_owned();
        Some(Self { mark, mode, id, path: OsStr::from_bytes(&path[1..]).into() })
    }

    fn is_hidden_from_status(&self) -> bool {
        self.mark.is_ascii_lowercase() || self.mark == b'S'
    }

    fn is_submodule(&self) -> bool {
        self.mode == 0o160_000
    }
}

impl Repository {
    pub(crate) fn hidden_facts(&self, admin: &AdminFolder, tree: &Path) -> Result<HiddenFacts, RunError> {
        let what = "git ls-files";
        let (mut marked, mut submodules, mut odd) = (Vec::new(), Vec::new(), None);
        let mut project_folders = HashSet::new();
        self.run_in(what, &admin.folder, tree)
            .reads()
            .args(["ls-files", "-s", "-v", "-z"])
            .each_record(0, &mut |record| {
                let Some(entry) = IndexEntry::parse(record) else {
                    odd = Some(RunError::not_understood(what, record));
                    return;
                };
                for folder in self.rules().disposable_folders(&entry.path) {
                    if !project_folders.contains(folder) {
                        project_folders.insert(folder.to_owned());
                    }
                }
                if entry.is_submodule() {
                    submodules.push(entry);
                } else if entry.is_hidden_from_status() {
                    marked.push(entry);
                }
            })?
            .or_failed()?;
        if let Some(odd) = odd {
            return Err(odd);
        }
        let has_submodules = !submodules.is_empty();
        let mut facts = HiddenFacts { project_folders, has_submodules, ..HiddenFacts::default() };
        for entries in marked.chunks(PATHS_AT_ONCE) {
            self.compare_marked(admin, tree, entries, &mut facts.changed)?;
        }
        for entry in submodules {
            let folder = tree.join(&entry.path);
            // One with a `.git` file lives in the administrative folder, which is looked at as a whole.
            if folder.join(".git").is_dir() && self.has_own_commits(&folder.join(".git")) {
                facts.submodules.push(entry.path);
            }
        }
        Ok(facts)
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
