//! The commits that hold a tree's content: what was staged, and the files as they were.
//!
//! The user's own index is only read; what is changed is a copy of it. Nothing of the repository has a say in what
//! is written: no hooks, no filters, no line-ending conversion where git lets that be switched off.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Kept, RescueRef, copy_file};
use crate::admin::{AdminFolder, present};
use crate::both::both;
use crate::names::CommitId;
use crate::repository::{Repository, not_read};
use crate::run::{Run, RunError};
use crate::status::{StatusEntry, parse};
use crate::trash::Trashed;

/// The first git with `--attr-source`, which lets attributes be read from an empty tree.
const WITH_ATTR_SOURCE: (u32, u32) = (2, 41);

/// Where the commit of the index has the stages of a conflict, and of one that was resolved.
const CONFLICTS: &str = ".laneway-conflicts";
const RESOLVED: &str = ".laneway-resolved";

/// A tree in the trash, read with git's entry for the place where it was.
struct Content<'a> {
    repository: &'a Repository,
    admin: &'a AdminFolder,
    tree: &'a Path,
    /// A copy of the index.
    index: PathBuf,
    empty_tree: CommitId,
}

impl Repository {
    /// Writes the commits of the index and of the files, as far as git can hold them.
    pub(super) fn keep_content(
        &self,
        admin: &AdminFolder,
        aside: &Trashed,
        kept: &mut Kept,
    ) -> Result<(), RunError> {
        let head = self.head_of(admin)?.commit;
        let head = head.as_ref();
        let (tree, index) = (aside.tree(), aside.folder().join("index"));
        // One of a git that was ended in the middle of it.
        present(std::fs::remove_file(index.with_extension("lock"))).map_err(not_read)?;
        // A tree that was removed by hand leaves its index, which is read from anywhere.
        let is_there = tree.symlink_metadata().is_ok();
        let tree = if is_there { tree } else { self.common_dir().to_owned() };
        let (empty_tree, head_tree) =
            both(|| self.empty_tree(), || head.map(|commit| self.tree_of(commit)).transpose());
        let content = Content { repository: self, admin, tree: &tree, index, empty_tree: empty_tree? };
        let head_tree = head_tree?.unwrap_or_else(|| content.empty_tree.clone());
        let staged = content.staged()?;
        let mut parents: Vec<&CommitId> = head.into_iter().collect();
        let index_commit = (staged != head_tree)
            .then(|| self.commit_tree(staged.as_str(), &parents, "what was staged in a lane"))
            .transpose()?;
        parents.splice(0..0, &index_commit);
        let files = if is_there { content.files(head, kept)? } else { staged.clone() };
        if files != staged {
            let message = "the files of a lane, as they were";
            kept.refs.insert(RescueRef::Work, self.commit_tree(files.as_str(), &parents, message)?);
        }
        kept.refs.extend(index_commit.map(|commit| (RescueRef::Index, commit)));
        present(std::fs::remove_file(&content.index)).map_err(not_read)?;
        Ok(())
    }

    pub(super) fn tree_of(&self, commit: &CommitId) -> Result<CommitId, RunError> {
        let what = "git rev-parse";
        let said = self
            .run(what)
            .reads()
            .args(["rev-parse", "--verify", "--quiet", &format!("{commit}^{{tree}}")])
            .succeed()?;
        CommitId::from_git(&said).ok_or_else(|| RunError::not_understood(what, &said))
    }

    /// With nothing that would change content between files and commits, as far as git lets that be switched off.
    pub(crate) fn as_it_is<'a>(&self, run: Run<'a>, empty_tree: &CommitId) -> Run<'a> {
        let run = run
            .setting("core.hooksPath=/dev/null")
            .setting("core.attributesFile=/dev/null")
            .setting("core.autocrlf=false")
            .setting("core.safecrlf=false");
        match self.git().version_number() {
            Some(version) if version >= WITH_ATTR_SOURCE => {
                run.global(&format!("--attr-source={empty_tree}"))
            }
            _ => run,
        }
    }
}

impl Content<'_> {
    /// git on this tree with the copied index, and nothing that changes what it writes.
    fn run(&self, what: &'static str) -> Run<'_> {
        let run = self.repository.git().run(what, self.tree).in_tree(&self.admin.folder, self.tree);
        self.repository
            .as_it_is(run, &self.empty_tree)
            .setting("core.untrackedCache=false")
            .setting("core.sparseCheckout=false")
            .setting("core.fsync=all")
            .setting("core.fsyncMethod=batch")
            .setting("advice.addEmbeddedRepo=false")
            .variable("GIT_INDEX_FILE", &self.index)
            .variable("GIT_NO_LAZY_FETCH", "1")
            .limit(self.repository.git().limits().checkout)
    }

    /// Takes a fresh copy of the index.
    fn copy_index(&self) -> Result<(), RunError> {
        present(std::fs::remove_file(&self.index)).map_err(not_read)?;
        present(copy_file(&self.admin.folder.join("index"), &self.index)).map_err(not_read)?;
        Ok(())
    }

    fn write_tree(&self) -> Result<CommitId, RunError> {
        let what = "git write-tree";
        let said = self.run(what).args(["write-tree", "--missing-ok"]).succeed()?;
        CommitId::from_git(&said).ok_or_else(|| RunError::not_understood(what, &said))
    }

    /// The tree of the index; stages of conflicts become files under a folder of their own.
    fn staged(&self) -> Result<CommitId, RunError> {
        self.copy_index()?;
        let null = self.empty_tree.null_like();
        let mut changes = Vec::new();
        let list = |option| self.run("git ls-files").reads().args(["ls-files", option, "-z"]).succeed();
        let (unmerged, resolved) = both(|| list("--unmerged"), || list("--resolve-undo"));
        for (said, folder) in [(unmerged?, CONFLICTS), (resolved?, RESOLVED)] {
            for record in said.split(|byte| *byte == 0) {
                let Some((facts, path)) = split_once(record, b'\t') else { continue };
                let mut facts = facts.split(|byte| *byte == b' ');
                let (Some(mode), Some(id), Some(stage)) = (facts.next(), facts.next(), facts.next()) else {
                    continue;
                };
                if folder == CONFLICTS {
                    changes.extend_from_slice(format!("0 {null}\t").as_bytes());
                    changes.extend_from_slice(path);
                    changes.push(0);
                }
                changes.extend_from_slice(mode);
                changes.push(b' ');
                changes.extend_from_slice(id);
                changes.extend_from_slice(format!("\t{folder}/").as_bytes());
                changes.extend_from_slice(stage);
                changes.push(b'/');
                changes.extend_from_slice(path);
                changes.push(0);
            }
        }
        if !changes.is_empty() {
            let run = self.run("git update-index").args(["update-index", "-z", "--index-info"]);
            run.input(&changes)?.succeed()?;
        }
        self.write_tree()
    }

    /// The tree of the files, and what of them only the trash holds.
    fn files(&self, head: Option<&CommitId>, kept: &mut Kept) -> Result<CommitId, RunError> {
        self.copy_index()?;
        let by_times = self.repository.look_by_times(self.admin, self.tree, head, &HashSet::new());
        // Else git reads what may have changed in the second in which the index was written.
        let believed = by_times.ok().and_then(|looked| looked.believed);
        if let Some(settled) = believed.and_then(|file| file.settled()) {
            copy_file(&settled.path, &self.index).map_err(not_read)?;
        }
        let mut ignored = Vec::new();
        // What is ignored does not depend on what the index has of it.
        let (marked, looked) = both(
            || self.marked(),
            || {
                self.each_status_entry(&mut |entry| match entry {
                    StatusEntry::Ignored(path) if self.repository.rules().is_made_again(&path) => {
                        kept.disposable.push(path);
                    }
                    StatusEntry::Ignored(path) => ignored.push(path),
                    StatusEntry::Changed(_) | StatusEntry::Untracked(_) => {}
                })
            },
        );
        looked?;
        let marked = marked?;
        self.unmark(&marked)?;
        let mut left_out = Vec::new();
        for submodule in marked.submodules {
            if self.tree.join(&submodule).join(".git").symlink_metadata().is_ok() {
                kept.only_in_trash.push(format!("the submodule {}", submodule.display()));
            }
            left_out.push(submodule);
        }
        self.walk(&kept.disposable, &mut left_out, &mut kept.only_in_trash)?;
        self.add(&[":(top)"], &left_out, Force::No, &mut kept.only_in_trash)?;
        // Below folders that are ignored as a whole there may be some that are made again; a file that is ignored by
        // itself is added wherever it is.
        let (folders, files): (Vec<_>, Vec<_>) =
            ignored.iter().partition(|path| path.as_os_str().as_bytes().ends_with(b"/"));
        for (paths, force) in [(folders, Force::ButDisposable), (files, Force::All)] {
            let paths: Vec<OsString> = paths.into_iter().map(|path| pathspec("literal", path)).collect();
            if !paths.is_empty() {
                self.add(&paths, &left_out, force, &mut kept.only_in_trash)?;
            }
        }
        // Whatever went wrong above shows here.
        let (written, looked) = both(
            || self.write_tree(),
            || {
                self.each_status_entry(&mut |entry| match entry {
                    StatusEntry::Changed(file) if !file.unstaged => {}
                    StatusEntry::Ignored(path) if self.repository.rules().is_made_again(&path) => {}
                    StatusEntry::Changed(crate::status::ChangedFile { path, .. })
                    | StatusEntry::Untracked(path)
                    | StatusEntry::Ignored(path) => {
                        if !left_out.iter().any(|left_out| path.starts_with(left_out)) {
                            kept.only_in_trash.push(path.display().to_string());
                        }
                    }
                })
            },
        );
        looked?;
        written
    }

    /// Files that are marked assume-unchanged or skip-worktree and are there, and submodules.
    fn marked(&self) -> Result<Marked, RunError> {
        let mut marked = Marked::default();
        let listed = self.run("git ls-files").reads().args(["ls-files", "-s", "-v", "-z"]);
        listed
            .each_record(0, &mut |record| {
                let (Some(mark), Some((facts, path))) = (record.first(), split_once(record, b'\t')) else {
                    return;
                };
                if facts.get(2..).is_some_and(|facts| facts.starts_with(b"160000 ")) {
                    marked.submodules.push(OsStr::from_bytes(path).into());
                }
                for (is_marked, list) in [
                    (mark.is_ascii_lowercase(), &mut marked.assumed),
                    (mark.eq_ignore_ascii_case(&b's'), &mut marked.skipped),
                ] {
                    if is_marked && self.tree.join(OsStr::from_bytes(path)).symlink_metadata().is_ok() {
                        list.extend_from_slice(path);
                        list.push(0);
                    }
                }
            })?
            .or_failed()?;
        Ok(marked)
    }

    /// Marked files count as any other.
    fn unmark(&self, marked: &Marked) -> Result<(), RunError> {
        for (option, paths) in
            [("--no-assume-unchanged", &marked.assumed), ("--no-skip-worktree", &marked.skipped)]
        {
            if !paths.is_empty() {
                let run = self.run("git update-index").args(["update-index", option, "-z", "--stdin"]);
                run.input(paths)?.succeed()?;
            }
        }
        Ok(())
    }

    /// `git status` of the tree against the copied index, without a look into submodules: they do not find their
    /// repositories from the trash.
    fn each_status_entry(&self, entry: &mut dyn FnMut(StatusEntry)) -> Result<(), RunError> {
        let what = "git status";
        let mut odd = None;
        self.run(what)
            .reads()
            .args(["status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=all"])
            .args(["--ignored=matching", "--ignore-submodules=all"])
            .each_record(0, &mut |record| match parse(record) {
                Some(parsed) => entry(parsed),
                None => odd = Some(RunError::not_understood(what, record)),
            })?
            .or_failed()?;
        odd.map_or(Ok(()), Err)
    }

    /// Finds what a commit cannot hold or should not: repositories in the tree, very large files, pipes and sockets.
    fn walk(
        &self,
        disposable: &[PathBuf],
        left_out: &mut Vec<PathBuf>,
        only_in_trash: &mut Vec<String>,
    ) -> Result<(), RunError> {
        let passed: BTreeSet<PathBuf> =
            disposable.iter().chain(left_out.iter()).map(|path| path.components().collect()).collect();
        let mut waiting = vec![PathBuf::new()];
        while let Some(folder) = waiting.pop() {
            let entries = match std::fs::read_dir(self.tree.join(&folder)) {
                Ok(entries) => entries,
                Err(error) => {
                    only_in_trash.push(format!("{}: {error}", folder.display()));
                    continue;
                }
            };
            for entry in entries {
                let entry = entry.map_err(not_read)?;
                let path = folder.join(entry.file_name());
                if path == Path::new(".git") || passed.contains(&path) {
                    continue;
                }
                let facts = entry.metadata().map_err(not_read)?;
                if facts.is_dir() {
                    if self.tree.join(&path).join(".git").symlink_metadata().is_ok() {
                        only_in_trash.push(format!("the repository {}", path.display()));
                        left_out.push(path);
                    } else {
                        waiting.push(path);
                    }
                } else if facts.is_file() && facts.len() > self.repository.rules().most_in_commit {
                    only_in_trash.push(format!("{} ({} bytes)", path.display(), facts.len()));
                    left_out.push(path);
                } else if !facts.is_file() && !facts.is_symlink() {
                    only_in_trash.push(format!("{}, which is no file", path.display()));
                }
            }
        }
        Ok(())
    }

    fn add(
        &self,
        paths: &[impl AsRef<OsStr>],
        left_out: &[PathBuf],
        force: Force,
        only_in_trash: &mut Vec<String>,
    ) -> Result<(), RunError> {
        let mut asked = Vec::new();
        let disposable = self.repository.rules().disposable.iter().filter(|_| force == Force::ButDisposable);
        let excluded = left_out
            .iter()
            .map(|path| pathspec("exclude,literal", path))
            .chain(disposable.map(|name| OsString::from(format!(":(top,exclude,glob)**/{name}/**"))));
        for path in paths.iter().map(|path| path.as_ref().to_owned()).chain(excluded) {
            asked.extend_from_slice(path.as_bytes());
            asked.push(0);
        }
        let (finished, _) = self
            .run("git add")
            .args(["add", "--all", "--ignore-errors"])
            .args((force != Force::No).then_some("--force"))
            .args(["--pathspec-from-file=-", "--pathspec-file-nul"])
            .input(&asked)?
            .output()?;
        if finished.code() != Some(0) {
            only_in_trash.extend(finished.stderr.lines().take(20).map(str::to_owned));
        }
        Ok(())
    }
}

/// Entries of an index that are looked at apart.
#[derive(Default)]
struct Marked {
    /// Paths, each with a zero behind it.
    assumed: Vec<u8>,
    /// The same.
    skipped: Vec<u8>,
    submodules: Vec<PathBuf>,
}

/// Whether what git ignores is added too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Force {
    No,
    ButDisposable,
    All,
}

fn pathspec(magic: &str, path: &Path) -> OsString {
    let mut spec = OsString::from(format!(":(top,{magic})"));
    // A folder is reported with a slash at its end, which a literal pathspec does not match.
    spec.push(path.components().collect::<PathBuf>());
    spec
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}
