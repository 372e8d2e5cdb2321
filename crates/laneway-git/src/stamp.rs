//! What a tree's files look like to the system, so that a tree which git found clean a moment ago need not be read by
//! git again: a close looks three times, and of a large tree git's look takes most of the close. What `unchanged` tells by
//! the index, a stamp tells also of a tree with ignored files in it, by one walk and without git.
//!
//! Every change of a file, and every file that comes or goes, shows in the times that the kernel keeps, which no
//! program can set. A stamp is made only where that is known to be so, and only if nothing has changed while git looked;
//! where anything is in doubt there is none, and git looks again. One thing does not show: what a program stores into a
//! file that it has mapped and written to before. So a stamp of a time when programs ran in the tree is not to be used.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{DirEntry, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::admin::{AdminFolder, present};
use crate::both::both;
use crate::names::CommitId;

/// Files in memory and on local disks, whose times come from this machine's clock: tmpfs, ext, xfs, btrfs, overlay,
/// f2fs, zfs, bcachefs (`statfs(2)`, linux/magic.h).
const LOCAL: [u32; 8] =
    [0x0102_1994, 0xEF53, 0x5846_5342, 0x9123_683E, 0x794C_7630, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E];

/// The times of files come from a clock that ticks at least this often (100 times a second, and a tick may be late).
const TICK: Duration = Duration::from_millis(20);

/// Above this a walk is no longer sure to be quicker than git, which does not go into ignored folders.
const MOST_ENTRIES: usize = 200_000;

/// With fewer folders a walk is over before a thread has begun.
const WORTH_SHARING: usize = 16;

/// Above this many ignored paths nobody compares them with every path of the tree.
const MOST_PASSED_BY: usize = 1_000;

/// How a tree looked when git found nothing in it that would be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeStamp {
    /// What the index was compared with.
    head: Option<CommitId>,
    files: u64,
    /// Ignored, and can be made again.
    passed_by: Arc<HashSet<PathBuf>>,
}

impl TreeStamp {
    /// Whether the tree, which may have been renamed, is as it was.
    pub(crate) fn still_holds(
        &self,
        common_dir: &Path,
        admin: &AdminFolder,
        tree: &Path,
        head: Option<&CommitId>,
    ) -> bool {
        let now = || Walk::past(common_dir, admin, tree, &self.passed_by);
        self.head.as_ref() == head && now().is_ok_and(|now| now.digest == self.files)
    }
}

/// A look at a tree that is about to begin.
pub(crate) struct Watch {
    began: SystemTime,
    began_at: Instant,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        Self { began: clock(), began_at: Instant::now() }
    }

    /// The stamp of a tree in which nothing was found, if nothing can have changed since the look began. It was walked
    /// through after that, past what can be made again.
    pub(crate) fn end(
        self,
        walked: &Walk,
        tree: &Path,
        head: Option<&CommitId>,
        passed_by: HashSet<PathBuf>,
    ) -> Option<TreeStamp> {
        if passed_by.len() > MOST_PASSED_BY || !is_local(tree) {
            return None;
        }
        let took = clock().duration_since(self.began).ok()?;
        let clock_was_set = took.abs_diff(self.began_at.elapsed()) > TICK / 2;
        let newest = SystemTime::UNIX_EPOCH + walked.newest;
        let changed_meanwhile = newest + TICK >= self.began;
        (walked.has_fractions && !clock_was_set && !changed_meanwhile).then(|| TreeStamp {
            head: head.cloned(),
            files: walked.digest,
            passed_by: Arc::new(passed_by),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the times of files, which come from this clock"
)]
fn clock() -> SystemTime {
    SystemTime::now()
}

/// Whether the times of files there can be trusted.
pub(crate) fn is_local(tree: &Path) -> bool {
    rustix::fs::statfs(tree)
        .is_ok_and(|facts| LOCAL.iter().any(|kind| u32::try_from(facts.f_type).is_ok_and(|it| it == *kind)))
}

/// Whether what a walk has come to belongs to how the tree looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Take,
    /// Neither it nor what is in it.
    Pass,
    /// It is told later whether it does.
    Later,
}

/// A folder of which it is yet to be told whether a walk goes through it.
pub(crate) struct Later {
    pub(crate) folder: PathBuf,
    inside: u64,
    facts: Metadata,
}

/// What a walk has come by.
pub(crate) struct Walk {
    /// The sum over all entries: their order is the filesystem's own.
    digest: u64,
    /// The latest change of any, since 1970.
    newest: Duration,
    n_entries: usize,
    device: u64,
    /// The filesystem keeps fractions of seconds: without them a change within the same second is not seen.
    pub(crate) has_fractions: bool,
    pub(crate) later: Vec<Later>,
}

impl Walk {
    /// Through a tree, but for these files and folders of it; by two at once where the system has a thread for it.
    pub(crate) fn past(
        common_dir: &Path,
        admin: &AdminFolder,
        tree: &Path,
        passed_by: &HashSet<PathBuf>,
    ) -> io::Result<Self> {
        let step = |folder: &Path, entry: &DirEntry, _: &Metadata| {
            if !passed_by.is_empty() && passed_by.contains(&folder.join(entry.file_name())) {
                return Step::Pass;
            }
            Step::Take
        };
        let (mut walk, mut waiting) = Self::begin(common_dir, admin, tree)?;
        while waiting.len() < WORTH_SHARING
            && let Some(folder) = waiting.pop_front()
        {
            walk.on(tree, folder, &mut { step }, &mut waiting)?;
        }
        let (mut beside, half) = (walk.none(), waiting.split_off(waiting.len() / 2));
        let (walked_beside, walked) = both(
            || beside.through_all(tree, half, &mut { step }),
            || walk.through_all(tree, waiting, &mut { step }),
        );
        walked.and(walked_beside)?;
        walk.digest = walk.digest.wrapping_add(beside.digest);
        walk.newest = walk.newest.max(beside.newest);
        walk.n_entries += beside.n_entries;
        walk.has_fractions |= beside.has_fractions;
        walk.is_not_too_long()?;
        Ok(walk)
    }

    /// Through a tree; `step` says of each entry of a folder, which is named from the tree's root, what to do.
    pub(crate) fn through(
        common_dir: &Path,
        admin: &AdminFolder,
        tree: &Path,
        step: &mut dyn FnMut(&Path, &DirEntry, &Metadata) -> Step,
    ) -> io::Result<Self> {
        let (mut walk, waiting) = Self::begin(common_dir, admin, tree)?;
        walk.through_all(tree, waiting, step)?;
        Ok(walk)
    }

    fn begin(
        common_dir: &Path,
        admin: &AdminFolder,
        tree: &Path,
    ) -> io::Result<(Self, VecDeque<(PathBuf, u64)>)> {
        let root = tree.symlink_metadata()?;
        let (digest, newest, n_entries) = (0, Duration::ZERO, 0);
        let device = root.dev();
        let mut walk = Self { digest, newest, n_entries, device, has_fractions: false, later: Vec::new() };
        // What was staged, and what is to be ignored: not in the tree, and on another filesystem perhaps.
        let beside = [
            admin.folder.join("index"),
            admin.folder.join("info/sparse-checkout"),
            common_dir.join("info/exclude"),
        ];
        for (number, file) in beside.iter().enumerate() {
            let Some(facts) = present(file.symlink_metadata())? else { continue };
            walk.digest = walk.digest.wrapping_add(digest_of(0, number, &facts));
            walk.newest = walk.newest.max(changed_at(&facts));
        }
        Ok((walk, [(PathBuf::new(), root.ino())].into()))
    }

    /// One that has come by nothing yet.
    fn none(&self) -> Self {
        let (digest, newest, n_entries) = (0, Duration::ZERO, 0);
        Self { digest, newest, n_entries, device: self.device, has_fractions: false, later: Vec::new() }
    }

    /// Through a folder that was left for later.
    pub(crate) fn go_on(
        &mut self,
        tree: &Path,
        Later { folder, inside, facts }: Later,
        step: &mut dyn FnMut(&Path, &DirEntry, &Metadata) -> Step,
    ) -> io::Result<()> {
        self.take(inside, folder.file_name().unwrap_or_default(), &facts)?;
        self.through_all(tree, [(folder, facts.ino())].into(), step)
    }

    fn through_all(
        &mut self,
        tree: &Path,
        mut waiting: VecDeque<(PathBuf, u64)>,
        step: &mut dyn FnMut(&Path, &DirEntry, &Metadata) -> Step,
    ) -> io::Result<()> {
        while let Some(folder) = waiting.pop_back() {
            self.on(tree, folder, step, &mut waiting)?;
        }
        Ok(())
    }

    /// Through one folder; those in it wait.
    fn on(
        &mut self,
        tree: &Path,
        (folder, inode): (PathBuf, u64),
        step: &mut dyn FnMut(&Path, &DirEntry, &Metadata) -> Step,
        waiting: &mut VecDeque<(PathBuf, u64)>,
    ) -> io::Result<()> {
        for entry in std::fs::read_dir(tree.join(&folder))? {
            let entry = entry?;
            let facts = entry.metadata()?;
            match step(&folder, &entry, &facts) {
                Step::Take => {}
                Step::Pass => continue,
                Step::Later => {
                    let folder = folder.join(entry.file_name());
                    self.later.push(Later { folder, inside: inode, facts });
                    continue;
                }
            }
            if facts.is_dir() {
                waiting.push_back((folder.join(entry.file_name()), facts.ino()));
            }
            self.take(inode, &entry.file_name(), &facts)?;
        }
        Ok(())
    }

    fn take(&mut self, folder: u64, name: &OsStr, facts: &Metadata) -> io::Result<()> {
        self.n_entries += 1;
        self.is_not_too_long()?;
        if facts.dev() != self.device {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.digest = self.digest.wrapping_add(digest_of(folder, name, facts));
        self.newest = self.newest.max(changed_at(facts));
        self.has_fractions |= facts.ctime_nsec() != 0;
        Ok(())
    }

    fn is_not_too_long(&self) -> io::Result<()> {
        if self.n_entries > MOST_ENTRIES { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }
}

fn changed_at(facts: &Metadata) -> Duration {
    let seconds = u64::try_from(facts.ctime()).unwrap_or(0);
    Duration::new(seconds, u32::try_from(facts.ctime_nsec()).unwrap_or(0))
}

fn digest_of(folder: u64, name: impl Hash, facts: &Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    (folder, name, facts.dev(), facts.ino(), facts.mode(), facts.size()).hash(&mut hasher);
    (facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec()).hash(&mut hasher);
    hasher.finish()
}
