//! Whether all files of a tree are what its commit says, told by their times: then git need not look at them.
//!
//! It is how `git status` tells it, but to the second: of a tree that was checked out in one second, with its index
//! written in the same, it reads every file again. Times are kept in nanoseconds, on disk and in the index: a file that
//! looks as it looked when git wrote it, at a time before the index was written, is what git wrote. Of the few that were
//! written in the same tick of the clock as the index the content is read.
//!
//! As for git, what a program stores into a file that it has mapped and written to before does not show.
//!
//! Nothing but "all is as committed" is ever found here. Whatever else there may be, an odd entry, a filesystem whose
//! times do not tell, a file too many: `git status` is asked.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{DirEntry, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::admin::AdminFolder;
use crate::both::both;
use crate::index::{Index, IndexEntry, LINK, Looks, Tracked};
use crate::names::CommitId;
use crate::nested::{is_repository, outside_of_submodules};
use crate::repository::Repository;
use crate::run::RunError;
use crate::stamp::{Step, Walk, is_local};

/// Of more files git is quicker in telling whether they have changed.
const MOST_READ: usize = 2_000;

/// Paths that fit into one command line with room to spare.
const PATHS_AT_ONCE: usize = 500;

/// How many copies of an index this process has made: each has a name of its own.
static N_SETTLED: AtomicU64 = AtomicU64::new(0);

/// Every file is of a later time.
const LONG_AGO: (i64, i64) = (i64::MIN, 0);

/// More than a second.
const LATER: Duration = Duration::from_secs(2);

/// A tree with nothing in it but what is committed, and what is made again.
pub(crate) struct Unchanged {
    pub(crate) walked: Walk,
    /// Folders that git ignores as a whole, and that a build makes again.
    pub(crate) disposable: HashSet<PathBuf>,
}

/// What times tell of a tree.
pub(crate) struct ByTimes {
    pub(crate) index: Index,
    pub(crate) unchanged: Option<Unchanged>,
    /// The index's file, if the seconds in it can be believed of all its files.
    pub(crate) believed: Option<IndexFile>,
    /// Files that may have been written since git knew them without a sign that `git status` sees.
    pub(crate) unclear: Vec<IndexEntry>,
    /// Folders that are repositories.
    pub(crate) nested: Vec<PathBuf>,
}

/// A copy of an index of which it was made sure that its files are what their times say: it is of a later second than
/// all of them, so that git believes those times. Gone when it is dropped.
pub(crate) struct SettledIndex {
    pub(crate) path: PathBuf,
}

impl Drop for SettledIndex {
    fn drop(&mut self) {
        // One that stays is of no use, and in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The files of a tree beside those of its index.
struct Compared<'a> {
    /// All are there and no others, and each looks as git knew it.
    is_same: bool,
    /// Those that look as git knew them and were written when the index was.
    same_tick: Vec<(&'a OsString, &'a Tracked)>,
    /// Of these the time does not tell whether git sees a change.
    unclear: Vec<IndexEntry>,
}

/// What a walk through a tree has found.
struct Found {
    walked: Walk,
    seen: Seen,
}

/// What it has come by.
#[derive(Default)]
struct Seen {
    files: Vec<(OsString, Metadata)>,
    /// Folders that are repositories.
    nested: Vec<PathBuf>,
}

/// The file of an index, and how it looked before it was read.
pub(crate) struct IndexFile {
    path: PathBuf,
    facts: Metadata,
}

impl IndexFile {
    fn look(admin: &AdminFolder) -> Option<Self> {
        let path = admin.folder.join("index");
        let facts = path.symlink_metadata().ok().filter(Metadata::is_file)?;
        Some(Self { path, facts })
    }

    fn is_the_same(&self) -> bool {
        let identity = |facts: &Metadata| (facts.dev(), facts.ino(), facts.size(), times(facts));
        self.path.symlink_metadata().is_ok_and(|now| identity(&now) == identity(&self.facts))
    }

    /// None if it was written meanwhile, or cannot be copied.
    pub(crate) fn settled(&self) -> Option<SettledIndex> {
        // Several may look at a tree at once.
        let number = N_SETTLED.fetch_add(1, Ordering::Relaxed);
        let name = format!("laneway-settled-index-{}-{number}", std::process::id());
        let copy = SettledIndex { path: self.path.with_file_name(name) };
        std::fs::copy(&self.path, &copy.path).ok()?;
        settle(&copy.path).ok()?;
        self.is_the_same().then_some(copy)
    }

    /// A file of the tree that has changed since it was written has a time of then or later.
    fn written_at_by_the_clock_of(&self, tree: &Path) -> (i64, i64) {
        let is_one_clock = is_local(&self.path) && is_local(tree)
            || tree.symlink_metadata().is_ok_and(|tree| tree.dev() == self.facts.dev());
        let [modified, changed] = times(&self.facts);
        if is_one_clock { modified.min(changed) } else { LONG_AGO }
    }
}

/// Gives a copy of an index a time of a later second than any of its files.
fn settle(copy: &Path) -> std::io::Result<()> {
    let file = File::options().write(true).open(copy)?;
    let written = file.metadata()?.modified()?;
    file.set_modified(written + LATER)
}

fn times(facts: &Metadata) -> [(i64, i64); 2] {
    [(facts.mtime(), facts.mtime_nsec()), (facts.ctime(), facts.ctime_nsec())]
}

impl Repository {
    /// Reads the index, and finds out whether all is as it says and as `head` has it. Files that were `carried` into the
    /// tree are not of it.
    pub(crate) fn look_by_times(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        head: Option<&CommitId>,
        carried: &HashSet<PathBuf>,
    ) -> Result<ByTimes, RunError> {
        let file = IndexFile::look(admin);
        let written_at = file.as_ref().map_or(LONG_AGO, |file| file.written_at_by_the_clock_of(tree));
        let (Some(file), Some(head)) = (file.filter(|file| is_local(&file.path) && is_local(tree)), head)
        else {
            return Ok(self.without_a_walk(self.index(admin, tree)?, tree, written_at));
        };
        let ((is_index_of_head, index), found) = both(
            || both(|| self.is_index_of(admin, head), || self.index(admin, tree)),
            || self.walk_for_unchanged(admin, tree),
        );
        let mut index = index?;
        let found = found.and_then(|found| self.walk_on(tree, found, &index.project_folders));
        let Some(Found { mut walked, seen: Seen { files, nested } }) = found else {
            return Ok(self.without_a_walk(index, tree, written_at));
        };
        let nested = outside_of_submodules(nested, &index);
        let tracked = std::mem::take(&mut index.tracked);
        let Compared { is_same, same_tick, mut unclear } = compare(&tracked, &files, carried, written_at);
        let is_told_by_times = walked.has_fractions && self.are_as_listed(admin, tree, &same_tick);
        if !is_told_by_times {
            unclear.extend(same_tick.iter().map(|(path, file)| file.entry(path)));
        }
        let is_certain = is_told_by_times && index.is_plain && nested.is_empty();
        let unchanged = if is_certain && is_same && is_index_of_head.is_ok_and(|is_head| is_head) {
            let not_walked = std::mem::take(&mut walked.later).into_iter().map(|later| later.folder);
            let disposable = self.ignored_of(admin, tree, not_walked.collect());
            disposable.map(|disposable| Unchanged { walked, disposable }).filter(|_| file.is_the_same())
        } else {
            None
        };
        let believed = (is_certain && unclear.is_empty()).then_some(file);
        Ok(ByTimes { index, unchanged, believed, unclear, nested })
    }

    /// What the times of the files of an index tell, if no walk tells what else there is.
    fn without_a_walk(&self, mut index: Index, tree: &Path, written_at: (i64, i64)) -> ByTimes {
        let tracked = std::mem::take(&mut index.tracked);
        // One that is not there is told of by git.
        let look = |path: &OsString| Some((path.clone(), tree.join(path).symlink_metadata().ok()?));
        let files: Vec<_> = tracked.keys().filter_map(look).collect();
        let Compared { same_tick, mut unclear, .. } = compare(&tracked, &files, &HashSet::new(), written_at);
        unclear.extend(same_tick.iter().map(|(path, file)| file.entry(path)));
        let nested = self.repositories_inside(tree, &index);
        ByTimes { index, unchanged: None, believed: None, unclear, nested }
    }

    /// Whether nothing is staged.
    fn is_index_of(&self, admin: &AdminFolder, head: &CommitId) -> Result<bool, RunError> {
        let run = self.git().run("git diff-index --cached", self.common_dir()).reads();
        let (finished, _) = run
            .in_tree(&admin.folder, self.common_dir())
            .args(["diff-index", "--cached", "--quiet", "--ignore-submodules=none", head.as_str(), "--"])
            .output()?;
        match finished.code() {
            Some(0) => Ok(finished.stderr.is_empty()),
            Some(1) => Ok(false),
            _ => finished.or_failed().map(|_| false),
        }
    }

    /// Folders that can be made again, by their names, are left for later.
    fn walk_for_unchanged(&self, admin: &AdminFolder, tree: &Path) -> Option<Found> {
        let mut seen = Seen::default();
        let mut step =
            |folder: &Path, entry: &DirEntry, facts: &Metadata| self.step(&mut seen, folder, entry, facts);
        let walked = Walk::through(self.common_dir(), admin, tree, &mut step).ok()?;
        Some(Found { walked, seen })
    }

    /// Through those of them that the project has files in.
    fn walk_on(&self, tree: &Path, mut found: Found, of_project: &HashSet<PathBuf>) -> Option<Found> {
        let Found { walked, seen } = &mut found;
        let mut step =
            |folder: &Path, entry: &DirEntry, facts: &Metadata| self.step(seen, folder, entry, facts);
        while let Some(at) = walked.later.iter().position(|later| of_project.contains(&later.folder)) {
            let later = walked.later.swap_remove(at);
            walked.go_on(tree, later, &mut step).ok()?;
        }
        Some(found)
    }

    fn step(&self, seen: &mut Seen, folder: &Path, entry: &DirEntry, facts: &Metadata) -> Step {
        if is_repository(folder, &entry.file_name()) {
            seen.nested.push(folder.to_owned());
        }
        if !facts.is_dir() {
            seen.files.push((folder.join(entry.file_name()).into_os_string(), facts.clone()));
        } else if self.rules().is_name_of_disposable(&entry.file_name()) {
            return Step::Later;
        }
        Step::Take
    }

    /// Whether files have, byte for byte, the content that the index says.
    fn are_as_listed(&self, admin: &AdminFolder, tree: &Path, files: &[(&OsString, &Tracked)]) -> bool {
        // git would read what a link leads to.
        if files.len() > MOST_READ || files.iter().any(|(_, file)| file.mode == LINK) {
            return false;
        }
        files.chunks(PATHS_AT_ONCE).all(|some| {
            let run = self.run_in("git hash-object", &admin.folder, tree).reads();
            let run = run.args(["hash-object", "--no-filters", "--"]);
            let said = run.args(some.iter().map(|(path, _)| path)).succeed().unwrap_or_default();
            let ids = said.split(|byte| *byte == b'\n').take(some.len());
            ids.eq(some.iter().map(|(_, file)| file.id.as_slice()))
        })
    }

    /// These folders, if git ignores each of them as a whole.
    fn ignored_of(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        folders: Vec<PathBuf>,
    ) -> Option<HashSet<PathBuf>> {
        let mut asked = Vec::new();
        for folder in &folders {
            asked.extend_from_slice(folder.as_os_str().as_bytes());
            asked.extend_from_slice(b"/\0");
        }
        if folders.is_empty() {
            return Some(HashSet::new());
        }
        let run = self.run_in("git check-ignore", &admin.folder, tree).reads();
        let (finished, said) =
            run.args(["check-ignore", "-z", "--stdin"]).input(&asked).ok()?.output().ok()?;
        let is_all = finished.code() == Some(0) && said == asked;
        is_all.then(|| folders.into_iter().collect())
    }
}

fn compare<'a>(
    tracked: &'a HashMap<OsString, Tracked>,
    files: &'a [(OsString, Metadata)],
    carried: &HashSet<PathBuf>,
    written_at: (i64, i64),
) -> Compared<'a> {
    let mut compared = Compared { is_same: true, same_tick: Vec::new(), unclear: Vec::new() };
    let mut n_tracked = 0;
    for (path, facts) in files {
        let Some(file) = tracked.get(path) else {
            compared.is_same &= path == ".git" || carried.contains(Path::new(path));
            continue;
        };
        n_tracked += 1;
        match file.known.map_or(Looks::SameAsFarAsIsKnown, |known| known.beside(facts)) {
            Looks::Same => {
                compared.is_same &= file.is_kind_of(facts);
                if times(facts).iter().any(|time| *time >= written_at) {
                    compared.same_tick.push((path, file));
                }
            }
            Looks::SameToTheSecond | Looks::SameAsFarAsIsKnown => {
                compared.is_same = false;
                compared.unclear.push(file.entry(path));
            }
            Looks::Otherwise => compared.is_same = false,
        }
    }
    compared.is_same &= n_tracked == tracked.len();
    compared
}

impl Tracked {
    fn entry(&self, path: &OsString) -> IndexEntry {
        IndexEntry { mark: b'H', mode: self.mode, id: self.id.clone(), path: path.into() }
    }

    fn is_kind_of(&self, facts: &Metadata) -> bool {
        if facts.is_symlink() {
            return self.mode == LINK;
        }
        let is_executable = facts.mode() & 0o100 != 0;
        facts.is_file() && self.mode == if is_executable { 0o100_755 } else { 0o100_644 }
    }
}
