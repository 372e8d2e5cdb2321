//! What `git status` does not tell: files marked assume-unchanged or skip-worktree, and submodules that hold
//! commits which exist nowhere else (a linked worktree's submodules live in its administrative folder, and
//! go with it).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::admin::{AdminFolder, present};
use crate::index::{Index, IndexEntry, LINK};
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
            self.compare(admin, tree, some, &mut changed)?;
        }
        Ok(changed)
    }

    /// Compares the content of files that are there with what the index says. A marked file that is not there is what
    /// sparse checkouts are made of.
    fn compare(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        entries: &[IndexEntry],
        changed: &mut Vec<ChangedFile>,
    ) -> Result<(), RunError> {
        let (mut differing, mut links, mut files) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            let Some(there) = present(tree.join(&entry.path).symlink_metadata()).map_err(not_read)? else {
                continue;
            };
            let is_executable = there.permissions().mode() & 0o100 != 0;
            let same_kind = if there.is_symlink() {
                entry.mode == LINK
            } else if entry.is_hidden_from_status() {
                there.is_file() && entry.mode == if is_executable { 0o100_755 } else { 0o100_644 }
            } else {
                // Its mode is looked at by git, as far as it means something on the filesystem.
                there.is_file()
            };
            if !same_kind {
                differing.push(entry);
            } else if there.is_symlink() {
                links.push(entry);
            } else {
                files.push(entry);
            }
        }
        differing.extend(self.links_that_differ(tree, links)?);
        let files = self.files_that_differ(admin, tree, &[], files)?;
        // As git leaves line ends alone that were committed so.
        differing.extend(self.files_that_differ(admin, tree, &["--no-filters"], files)?);
        changed.extend(differing.into_iter().map(|entry| ChangedFile {
            path: entry.path.clone(),
            staged: false,
            unstaged: true,
            conflicted: false,
            is_submodule: false,
            is_hidden: true,
            is_deleted: false,
        }));
        Ok(())
    }

    fn files_that_differ<'a>(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        options: &[&str],
        mut files: Vec<&'a IndexEntry>,
    ) -> Result<Vec<&'a IndexEntry>, RunError> {
        if files.is_empty() {
            return Ok(files);
        }
        let (finished, said) = self
            .run_in("git hash-object", &admin.folder, tree)
            .reads()
            .arg("hash-object")
            .args(options)
            .arg("--")
            .args(files.iter().map(|entry| &entry.path))
            .output()?;
        let mut ids = said.split(|byte| *byte == b'\n');
        // One that cannot be read ends the list: it and those after it count as changed.
        files.retain(|entry| ids.next() != Some(&entry.id) || finished.code() != Some(0));
        Ok(files)
    }

    /// Those that do not lead to where their blobs say.
    fn links_that_differ<'a>(
        &self,
        tree: &Path,
        mut links: Vec<&'a IndexEntry>,
    ) -> Result<Vec<&'a IndexEntry>, RunError> {
        if links.is_empty() {
            return Ok(links);
        }
        let mut asked = Vec::new();
        for entry in &links {
            asked.extend_from_slice(&entry.id);
            asked.push(b'\n');
        }
        let run = self.run("git cat-file --batch").reads().variable("GIT_NO_LAZY_FETCH", "1");
        let said = run.args(["cat-file", "--batch=%(objectsize)"]).input(&asked)?.succeed()?;
        let mut rest = said.as_slice();
        links.retain(|entry| {
            let leads_to = std::fs::read_link(tree.join(&entry.path)).ok();
            // One that git does not have counts as changed.
            let blob = next_blob(&mut rest);
            blob.is_none() || blob != leads_to.as_ref().map(|leads_to| leads_to.as_os_str().as_bytes())
        });
        Ok(links)
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

/// What git says of one object: its size, and its content between two line ends.
fn next_blob<'a>(said: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, after) = said.split_at_checked(said.iter().position(|byte| *byte == b'\n')? + 1)?;
    *said = after;
    let size: usize = std::str::from_utf8(size).ok()?.trim_end().parse().ok()?;
    let blob = after.get(..size)?;
    *said = after.get(size + 1..)?;
    Some(blob)
}
