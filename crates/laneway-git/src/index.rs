//! What the index of a tree says of its files, read from git as it lists them.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::admin::AdminFolder;
use crate::repository::Repository;
use crate::run::RunError;

/// What git prints of a file that it knows: where the index is listed with times, these lines follow each entry.
const N_LINES_OF_TIMES: usize = 5;

/// An index keeps the lower half of every number.
const KEPT: u64 = 0xFFFF_FFFF;

/// The mode of a symbolic link in an index.
pub(crate) const LINK: u32 = 0o120_000;

/// One entry of an index.
pub(crate) struct IndexEntry {
    pub(crate) mark: u8,
    pub(crate) mode: u32,
    pub(crate) id: Vec<u8>,
    pub(crate) path: PathBuf,
}

impl IndexEntry {
    /// One line of `git ls-files -s -v -z`.
    fn parse(record: &[u8]) -> Option<Self> {
        let (facts, path) = record.split_at(record.iter().position(|byte| *byte == b'\t')?);
        let mut facts = facts.split(|byte| *byte == b' ');
        let mark = *facts.next()?.first()?;
        let mode = u32::from_str_radix(std::str::from_utf8(facts.next()?).ok()?, 8).ok()?;
        let id = facts.next()?.to_owned();
        Some(Self { mark, mode, id, path: OsStr::from_bytes(&path[1..]).into() })
    }

    pub(crate) fn is_hidden_from_status(&self) -> bool {
        self.mark.is_ascii_lowercase() || self.mark == b'S'
    }

    fn is_submodule(&self) -> bool {
        self.mode == 0o160_000
    }
}

/// How a file looked when git last knew that it is what the index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    changed: (u64, u64),
    modified: (u64, u64),
    inode: u64,
    owner: u64,
    group: u64,
    size: u64,
}

impl Known {
    /// The lines that `git ls-files --debug` prints, `None` also if there is anything particular about the entry.
    fn parse(said: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(said).ok()?.split_ascii_whitespace();
        let mut value = |name: &str| (words.next()? == name).then(|| words.next())?;
        let time = |said: &str| {
            let (seconds, fraction) = said.split_once(':')?;
            Some((seconds.parse().ok()?, fraction.parse().ok()?))
        };
        let (changed, modified) = (time(value("ctime:")?)?, time(value("mtime:")?)?);
        value("dev:")?;
        let mut number = |name| value(name)?.parse().ok();
        let (inode, owner, group, size) =
            (number("ino:")?, number("uid:")?, number("gid:")?, number("size:")?);
        let has_no_flags = value("flags:")? == "0" && words.next().is_none();
        has_no_flags.then_some(Self { changed, modified, inode, owner, group, size })
    }

    /// How a file looks beside that now.
    pub(crate) fn beside(&self, facts: &Metadata) -> Looks {
        let time = |seconds: i64, fraction: i64| (seconds.cast_unsigned() & KEPT, fraction.cast_unsigned());
        let now = Self {
            changed: time(facts.ctime(), facts.ctime_nsec()),
            modified: time(facts.mtime(), facts.mtime_nsec()),
            inode: facts.ino() & KEPT,
            owner: facts.uid().into(),
            group: facts.gid().into(),
            size: facts.size() & KEPT,
        };
        if self.to_the_second() != now.to_the_second() {
            Looks::Otherwise
        } else if self.changed.1 == 0 {
            // No file has changed at the beginning of a second: git, or the filesystem, keeps no more of a time.
            Looks::SameAsFarAsIsKnown
        } else if *self == now {
            Looks::Same
        } else {
            Looks::SameToTheSecond
        }
    }

    fn to_the_second(self) -> Self {
        Self { changed: (self.changed.0, 0), modified: (self.modified.0, 0), ..self }
    }
}

/// How a file looks beside what git knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    Same,
    /// It was written since, and git, which compares times by their seconds, may take it for unchanged.
    SameToTheSecond,
    /// Nothing but seconds is known of it.
    SameAsFarAsIsKnown,
    Otherwise,
}

/// A file as the index has it.
pub(crate) struct Tracked {
    pub(crate) mode: u32,
    pub(crate) id: Vec<u8>,
    /// `None` if git did not say it in a way that is understood.
    pub(crate) known: Option<Known>,
}

/// What is in an index.
#[derive(Default)]
pub(crate) struct Index {
    /// Entries that `git status` does not look at.
    pub(crate) marked: Vec<IndexEntry>,
    pub(crate) submodules: Vec<IndexEntry>,
    /// Folders of a disposable name with tracked files in them: what is ignored there is not made again by a build.
    pub(crate) project_folders: HashSet<PathBuf>,
    /// Its ordinary files, by their paths.
    pub(crate) tracked: HashMap<OsString, Tracked>,
    /// There is nothing else in it, and of each it is known how it looked.
    pub(crate) is_plain: bool,
}

impl Repository {
    /// Reads the index of a tree.
    pub(crate) fn index(&self, admin: &AdminFolder, tree: &Path) -> Result<Index, RunError> {
        match self.index_with(admin, tree, &["ls-files", "-s", "-v", "-z", "--debug"]) {
            // Its form is not promised: another git may print something else.
            Err(RunError::NotUnderstood { .. }) => {
                self.index_with(admin, tree, &["ls-files", "-s", "-v", "-z"])
            }
            read => read,
        }
    }

    fn index_with(&self, admin: &AdminFolder, tree: &Path, arguments: &[&str]) -> Result<Index, RunError> {
        let what = "git ls-files";
        let with_times = arguments.contains(&"--debug");
        let mut index = Index { is_plain: true, ..Index::default() };
        let (mut waiting, mut odd) = (None, None);
        self.run_in(what, &admin.folder, tree)
            .reads()
            .args(arguments)
            .each_record(0, &mut |record| {
                let (said_of_last, said) =
                    if waiting.is_some() { split_after_lines(record) } else { (&record[..0], record) };
                if let Some(entry) = waiting.take() {
                    self.take_entry(entry, Known::parse(said_of_last), &mut index);
                }
                if said.is_empty() && with_times && !record.is_empty() {
                    // What is said of the last one.
                    return;
                }
                match IndexEntry::parse(said) {
                    Some(entry) if with_times => waiting = Some(entry),
                    Some(entry) => self.take_entry(entry, None, &mut index),
                    None => odd = Some(RunError::not_understood(what, record)),
                }
            })?
            .or_failed()?;
        if waiting.is_some() {
            odd = Some(RunError::not_understood(what, b"an entry without its times"));
        }
        odd.map_or(Ok(index), Err)
    }

    fn take_entry(&self, entry: IndexEntry, known: Option<Known>, index: &mut Index) {
        for folder in self.rules().disposable_folders(&entry.path) {
            if !index.project_folders.contains(folder) {
                index.project_folders.insert(folder.to_owned());
            }
        }
        let is_ordinary = entry.mark == b'H' && matches!(entry.mode, 0o100_644 | 0o100_755 | LINK);
        index.is_plain &= is_ordinary && known.is_some();
        if is_ordinary {
            let file = Tracked { mode: entry.mode, id: entry.id, known };
            index.tracked.insert(entry.path.into_os_string(), file);
        } else if entry.is_submodule() {
            index.submodules.push(entry);
        } else if entry.is_hidden_from_status() {
            index.marked.push(entry);
        }
    }
}

/// What is said of one entry, and the entry after it.
fn split_after_lines(record: &[u8]) -> (&[u8], &[u8]) {
    let ends = record.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    record.split_at(ends.take(N_LINES_OF_TIMES).last().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: &str = "  ctime: 1795199092:878301386\n  mtime: 1795199092:7\n  dev: 27\tino: 14168809\n  \
                         uid: 1\tgid: 2\n  size: 1043\tflags: 0\n";

    #[test]
    fn what_git_knows_of_a_file_is_read_whole_or_not_at_all() {
        let known = Known {
            changed: (1_795_199_092, 878_301_386),
            modified: (1_795_199_092, 7),
            inode: 14_168_809,
            owner: 1,
            group: 2,
            size: 1043,
        };
        assert_eq!(Known::parse(TIMES.as_bytes()), Some(known));
        for (said, other) in
            [("flags: 0", "flags: 20000000"), ("ino:", "in:"), ("uid: 1", "uid: x"), ("  size: 1043", "")]
        {
            assert_eq!(Known::parse(TIMES.replace(said, other).as_bytes()), None, "{other:?}");
        }
        assert_eq!(Known::parse(format!("{TIMES}  more: 1\n").as_bytes()), None);
    }

    #[test]
    fn a_file_is_compared_with_all_that_is_known_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let facts = file.path().symlink_metadata().unwrap();
        let time = |seconds: i64, fraction: i64| (seconds.cast_unsigned(), fraction.cast_unsigned());
        let known = Known {
            changed: time(facts.ctime(), facts.ctime_nsec()),
            modified: time(facts.mtime(), facts.mtime_nsec()),
            inode: facts.ino() & KEPT,
            owner: facts.uid().into(),
            group: facts.gid().into(),
            size: 0,
        };
        assert_eq!(known.beside(&facts), Looks::Same);
        let (seconds, fraction) = known.changed;
        let earlier = Known { changed: (seconds, fraction ^ 1), ..known };
        assert_eq!(earlier.beside(&facts), Looks::SameToTheSecond);
        let rough = Known { changed: (seconds, 0), modified: (known.modified.0, 0), ..known };
        assert_eq!(rough.beside(&facts), Looks::SameAsFarAsIsKnown);
        for other in [Known { changed: (seconds + 1, fraction), ..known }, Known { size: 1, ..known }] {
            assert_eq!(other.beside(&facts), Looks::Otherwise);
        }
    }

    #[test]
    fn a_name_with_line_ends_in_it_is_not_taken_for_what_is_said_of_the_entry_before() {
        let record = format!("{TIMES}H 100644 abc 0\ta\nb");
        let (times, entry) = split_after_lines(record.as_bytes());
        assert_eq!((times, entry), (TIMES.as_bytes(), &b"H 100644 abc 0\ta\nb"[..]));
        assert_eq!(IndexEntry::parse(entry).unwrap().path, Path::new("a\nb"));
    }
}
