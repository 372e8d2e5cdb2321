//! What a lane has done: its tree as it is now, with all that is not committed and not even added, against the
//! commit where it left its base.
//!
//! The tree's own index is never written to. Files that git does not track yet are entered, without content, into
//! a copy of it, and git compares with that.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::admin::{AdminFolder, present};
use crate::judge::{TreeState, tree_state};
use crate::names::{CommitId, branch_ref, is_legal_branch_name};
use crate::repository::{Repository, not_read};
use crate::run::{Run, RunError};

/// How often the untracked files are listed anew if one of them is gone before git has entered it.
const ATTEMPTS: usize = 5;

/// What is to be compared.
#[derive(Clone, Copy, Debug)]
pub struct TreeToDiff<'a> {
    /// The worktree.
    pub path: &'a Path,
    /// What it was made from, as told.
    pub base_ref: &'a str,
    /// The commit that was.
    pub base_commit: &'a CommitId,
    /// A private folder for the copy of the index.
    pub scratch: &'a Path,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The worktree is not there.
    #[error("{} is not a worktree of this repository any more", path.display())]
    NoTree {
        /// Where it should be.
        path: PathBuf,
    },
    /// The copy of the index could not be made.
    #[error("the index of {} could not be copied", path.display())]
    Index {
        /// The worktree.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// git failed.
    #[error("git failed")]
    Git(#[from] RunError),
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiffStatus {
    /// It is new, and git tracks it.
    Added,
    /// It is new, and git does not track it yet.
    Untracked,
    /// Its content or its mode is another.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another path.
    Renamed,
    /// It is a copy of another.
    Copied,
    /// It was a file and is a symbolic link, or the other way round.
    TypeChanged,
    /// A merge has left it in conflict.
    Unmerged,
    /// A folder with a repository of its own, which is not looked into.
    Repository,
}

/// A file that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffFile {
    /// Its path in the tree.
    pub path: PathBuf,
    /// The path it had, if it was renamed or copied.
    pub old_path: Option<PathBuf>,
    /// What became of it.
    pub status: DiffStatus,
    /// Lines that are new; `None` for a binary file.
    pub added: Option<u64>,
    /// Lines that are gone; `None` for a binary file.
    pub removed: Option<u64>,
}

/// How differences are written for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffText {
    /// Only how much of which file.
    pub stat: bool,
    /// The type of the terminal that reads it (`TERM`): with colours, if git would use them there. `None`: no
    /// terminal reads it.
    pub terminal: Option<String>,
    /// How wide it is, in columns.
    pub columns: Option<u16>,
}

/// A tree that is compared. It has its own copy of the index, which goes when this is dropped.
#[derive(Debug)]
pub struct Diff {
    repository: Repository,
    admin: AdminFolder,
    tree: PathBuf,
    base: CommitId,
    head: Option<CommitId>,
    untracked: BTreeSet<PathBuf>,
    /// Folders that git does not look into, since they have repositories of their own.
    repositories: Vec<PathBuf>,
    index: Scratch,
}

impl Repository {
    /// Prepares to compare a tree with where it left its base: the last commit that its HEAD shares with the base
    /// as it was, or, if that was a branch, as it is now. So what was merged or rebased into the lane since does
    /// not count as the lane's own.
    pub fn diff(&self, asked: &TreeToDiff<'_>) -> Result<Diff, DiffError> {
        let no_tree = || DiffError::NoTree { path: asked.path.to_owned() };
        let admin = self.registered_at(asked.path).map_err(not_read)?.ok_or_else(no_tree)?;
        if tree_state(asked.path, Some(&admin)).map_err(not_read)? != TreeState::Present {
            return Err(no_tree());
        }
        let head = self.head_of(&admin)?;
        let base = match &head.commit {
            Some(commit) => self.where_it_stands_now(commit, head.branch.as_deref(), asked)?,
            None => asked.base_commit.clone(),
        };
        let index = Scratch::copy_of(&admin.folder.join("index"), asked.scratch)
            .map_err(|source| DiffError::Index { path: asked.path.to_owned(), source })?;
        let mut diff = Diff {
            repository: self.clone(),
            admin,
            tree: asked.path.to_owned(),
            base,
            head: head.commit,
            untracked: BTreeSet::new(),
            repositories: Vec::new(),
            index,
        };
        diff.enter_untracked()?;
        Ok(diff)
    }

    fn where_it_stands_now(
        &self,
        head: &CommitId,
        branch: Option<&str>,
        asked: &TreeToDiff<'_>,
    ) -> Result<CommitId, RunError> {
        // A lane on a branch that was there is its own base: only the commit counts.
        let follows = is_legal_branch_name(asked.base_ref) && branch != Some(asked.base_ref);
        let (local, remote) = (branch_ref(asked.base_ref), format!("refs/remotes/{}", asked.base_ref));
        let found = if follows { self.branches_at(&[local, remote.clone()])? } else { <_>::default() };
        let now = found.get(asked.base_ref).or_else(|| found.get(&remote)).map(|facts| &facts.tip);
        let bases: Vec<&CommitId> = std::iter::once(asked.base_commit).chain(now).collect();
        Ok(self.merge_base(head, &bases)?.unwrap_or_else(|| asked.base_commit.clone()))
    }
}

impl Diff {
    /// The commit that the tree is compared with.
    pub fn base(&self) -> &CommitId {
        &self.base
    }

    /// The commit of the tree's HEAD; `None` if it is unborn.
    pub fn head(&self) -> Option<&CommitId> {
        self.head.as_ref()
    }

    /// The files that differ, each with how many lines.
    pub fn files(&self) -> Result<Vec<DiffFile>, RunError> {
        let what = "git diff --raw";
        let mut reading = Reading::new(&self.untracked);
        let mut odd = None;
        self.run(what)
            .reads()
            .args(["diff", "--raw", "--numstat", "-z", "--find-renames", "--no-ext-diff", "--no-textconv"])
            .args([self.base.as_str(), "--"])
            .each_record(0, &mut |field| {
                if reading.take(field).is_none() {
                    odd.get_or_insert_with(|| RunError::not_understood(what, field));
                }
            })?
            .or_failed()?;
        let repositories = self.repositories.iter().map(|path| DiffFile {
            path: path.clone(),
            old_path: None,
            status: DiffStatus::Repository,
            added: None,
            removed: None,
        });
        reading.files.extend(repositories);
        odd.map_or(Ok(reading.files), Err)
    }

    /// Writes the differences as `git diff` does, with its settings.
    pub fn text(&self, how: &DiffText, write: &mut dyn FnMut(&[u8])) -> Result<(), RunError> {
        let colours = match &how.terminal {
            Some(terminal) if self.wants_colours(terminal)? => "--color=always",
            Some(_) | None => "--color=never",
        };
        let mut run = self.run("git diff").reads().args(["diff", colours]);
        if how.stat {
            run = run.arg("--stat").variable("COLUMNS", how.columns.unwrap_or(80).to_string());
        }
        run.args([self.base.as_str(), "--"]).carry_out(write)?.or_failed().map(drop)
    }

    /// Whether git would use colours on a terminal of this type.
    fn wants_colours(&self, terminal: &str) -> Result<bool, RunError> {
        let said = self
            .run("git config --get-colorbool")
            .reads()
            .variable("TERM", terminal)
            .args(["config", "--get-colorbool", "color.diff", "true"])
            .succeed()?;
        Ok(said.starts_with(b"true"))
    }

    /// Enters the untracked files into the copy of the index, so that git shows them as new.
    fn enter_untracked(&mut self) -> Result<(), DiffError> {
        let mut attempt = 1;
        loop {
            self.list_untracked()?;
            if self.untracked.is_empty() {
                return Ok(());
            }
            let list = self.index.beside("untracked");
            let written = write_list(&list, &self.untracked);
            written.map_err(|source| DiffError::Index { path: self.tree.clone(), source })?;
            let mut from = OsString::from("--pathspec-from-file=");
            from.push(&list);
            let entered = self
                .run("git add --intent-to-add")
                .global("--literal-pathspecs")
                // Else the copy would be written in two parts, one of them beside the tree's own index.
                .setting("core.splitIndex=false")
                .args(["add", "--intent-to-add", "--pathspec-file-nul"])
                .arg(from)
                .succeed();
            match entered {
                Ok(_) => return Ok(()),
                // One of them is gone by now, as files of a program at work are.
                Err(RunError::Failed { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn list_untracked(&mut self) -> Result<(), RunError> {
        let (mut untracked, mut repositories) = (BTreeSet::new(), Vec::new());
        self.run("git ls-files --others")
            .reads()
            .args(["ls-files", "--others", "--exclude-standard", "-z"])
            .each_record(0, &mut |path| {
                let is_repository = path.ends_with(b"/");
                let path = PathBuf::from(OsStr::from_bytes(path));
                if is_repository {
                    repositories.push(path);
                } else {
                    untracked.insert(path);
                }
            })?
            .or_failed()?;
        (self.untracked, self.repositories) = (untracked, repositories);
        Ok(())
    }

    /// A command in the tree that has the copy for its index.
    fn run(&self, what: &'static str) -> Run<'_> {
        let run = self.repository.run_in(what, &self.admin.folder, &self.tree);
        run.variable("GIT_INDEX_FILE", &self.index.path)
    }
}

/// Reads what `git diff --raw --numstat -z` says: first what became of each file, then how many lines of it.
struct Reading<'a> {
    untracked: &'a BTreeSet<PathBuf>,
    files: Vec<DiffFile>,
    /// The fields of a record that is not whole yet.
    fields: Vec<Vec<u8>>,
    /// Of these the lines are told already: they come in the same order.
    n_counted: usize,
}

impl<'a> Reading<'a> {
    fn new(untracked: &'a BTreeSet<PathBuf>) -> Self {
        Self { untracked, files: Vec::new(), fields: Vec::new(), n_counted: 0 }
    }

    /// `None` if it cannot be understood.
    fn take(&mut self, field: &[u8]) -> Option<()> {
        self.fields.push(field.to_vec());
        let first = &self.fields[0];
        if let Some(facts) = first.strip_prefix(b":") {
            let status = *facts.split(|byte| *byte == b' ').nth(4)?.first()?;
            let has_two_paths = matches!(status, b'R' | b'C');
            if self.fields.len() == 2 + usize::from(has_two_paths) {
                let old_path = has_two_paths.then(|| path_of(&self.fields[1]));
                let path = path_of(self.fields.last()?);
                self.add(path, old_path, status)?;
                self.fields.clear();
            }
            return Some(());
        }
        let mut facts = first.splitn(3, |byte| *byte == b'\t');
        let (added, removed, path) = (facts.next()?, facts.next()?, facts.next()?);
        // A rename has its two paths in fields of their own.
        let path = match (path.is_empty(), self.fields.len()) {
            (false, 1) => path_of(path),
            (true, 3) => path_of(&self.fields[2]),
            (true, 1 | 2) => return Some(()),
            _ => return None,
        };
        let (added, removed) = (number(added)?, number(removed)?);
        self.fields.clear();
        self.n_counted += self.files[self.n_counted..].iter().position(|file| file.path == path)?;
        let file = &mut self.files[self.n_counted];
        (file.added, file.removed) = (added, removed);
        Some(())
    }

    fn add(&mut self, path: PathBuf, old_path: Option<PathBuf>, status: u8) -> Option<()> {
        let status = match status {
            b'A' if self.untracked.contains(&path) => DiffStatus::Untracked,
            b'A' => DiffStatus::Added,
            b'M' => DiffStatus::Modified,
            b'D' => DiffStatus::Deleted,
            b'R' => DiffStatus::Renamed,
            b'C' => DiffStatus::Copied,
            b'T' => DiffStatus::TypeChanged,
            b'U' => DiffStatus::Unmerged,
            _ => return None,
        };
        // One in conflict is told as such, and once more with what stands in the tree.
        match self.files.last_mut().filter(|last| last.path == path) {
            Some(last) if last.status == DiffStatus::Unmerged => {}
            Some(last) => last.status = status,
            None => self.files.push(DiffFile { path, old_path, status, added: None, removed: None }),
        }
        Some(())
    }
}

fn path_of(field: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(field))
}

/// A count of lines; `None` inside for a binary file.
#[expect(clippy::option_option, reason = "not understood, and no lines to count, are two things")]
fn number(field: &[u8]) -> Option<Option<u64>> {
    if field == b"-" {
        return Some(None);
    }
    std::str::from_utf8(field).ok()?.parse().ok().map(Some)
}

fn write_list(path: &Path, paths: &BTreeSet<PathBuf>) -> io::Result<()> {
    let mut list = io::BufWriter::new(File::create(path)?);
    for path in paths {
        list.write_all(path.as_os_str().as_bytes())?;
        list.write_all(b"\0")?;
    }
    list.flush()
}

/// A copy of an index, and what git and we put beside it; gone when this is dropped.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// The copy has the time of the original: by it git knows which files it has to read, because they may have
    /// been written in the same moment as the index.
    fn copy_of(index: &Path, folder: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let scratch = Self { path: folder.join(format!("index-{}-{number}", std::process::id())) };
        // A tree that nothing was checked out in has none.
        let Some(mut original) = present(File::open(index))? else { return Ok(scratch) };
        let mut copy = File::create_new(&scratch.path)?;
        io::copy(&mut original, &mut copy)?;
        copy.set_times(FileTimes::new().set_modified(original.metadata()?.modified()?))?;
        Ok(scratch)
    }

    fn beside(&self, what: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(what);
        path.into()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in [self.path.clone(), self.beside("lock"), self.beside("untracked")] {
            // Most of them are not there; what stays is deleted when the folder is emptied.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_of_renames_conflicts_and_odd_names_is_understood() {
        let said: &[u8] = b":100644 100644 f38 484 R079\0a\0b\0:100644 100755 d5d d5d M\0bin\0\
            :000000 100644 000 253 A\0odd\xff\nna\tme\0:000000 000000 000 000 U\0c\0:100644 100644 2a0 000 M\0c\0\
            :000000 100644 000 253 A\0new\0\
            1\t0\t\0a\0b\0-\t-\tbin\x002\t0\todd\xff\nna\tme\x003\t4\tc\x001\t0\tnew";
        let untracked = BTreeSet::from([PathBuf::from("new"), PathBuf::from("b")]);
        let mut reading = Reading::new(&untracked);
        for field in said.split(|byte| *byte == 0) {
            reading.take(field).unwrap();
        }
        let file = |path: &[u8], status, added, removed| DiffFile {
            path: path_of(path),
            old_path: (status == DiffStatus::Renamed).then(|| "a".into()),
            status,
            added,
            removed,
        };
        let expected = [
            file(b"b", DiffStatus::Renamed, Some(1), Some(0)),
            file(b"bin", DiffStatus::Modified, None, None),
            file(b"odd\xff\nna\tme", DiffStatus::Added, Some(2), Some(0)),
            file(b"c", DiffStatus::Unmerged, Some(3), Some(4)),
            file(b"new", DiffStatus::Untracked, Some(1), Some(0)),
        ];
        assert_eq!(reading.files, expected);
        assert_eq!(reading.take(b"nonsense"), None);
    }
}
