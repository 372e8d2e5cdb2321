//! What a tree's files look like to the system, so that a tree which git found clean a moment ago need not be read by
//! git again: a close looks three times, and of a large tree git's look takes most of the close.
//!
//! Every change of a file, and every file that comes or goes, shows in the times that the kernel keeps, which no
//! program can set. A stamp is made only where that is known to be so, and only if nothing has changed while git looked;
//! where anything is in doubt there is none, and git looks again. One thing does not show: what a program stores into a
//! file that it has mapped and written to before. So a stamp of a time when programs ran in the tree is not to be used.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::admin::{AdminFolder, present};
use crate::names::CommitId;

/// Files in memory and on local disks, whose times come from this machine's clock: tmpfs, ext, xfs, btrfs, overlay,
/// f2fs, zfs, bcachefs (`statfs(2)`, linux/magic.h).
const LOCAL: [u32; 8] =
    [0x0102_1994, 0xEF53, 0x5846_5342, 0x9123_683E, 0x794C_7630, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E];

/// The times of files come from a clock that ticks at least this often (100 times a second, and a tick may be late).
const TICK: Duration = Duration::from_millis(20);

/// Above this a walk is no longer sure to be quicker than git, which does not go into ignored folders.
const MOST_ENTRIES: usize = 200_000;

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
        let now = || Walk::through(common_dir, admin, tree, &self.passed_by);
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

    /// The stamp of a tree in which nothing was found, if nothing can have changed since the look began.
    pub(crate) fn end(
        self,
        common_dir: &Path,
        admin: &AdminFolder,
        tree: &Path,
        head: Option<&CommitId>,
        passed_by: HashSet<PathBuf>,
    ) -> Option<TreeStamp> {
        if passed_by.len() > MOST_PASSED_BY || !is_local(tree) {
            return None;
        }
        let walked = Walk::through(common_dir, admin, tree, &passed_by).ok()?;
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

fn is_local(tree: &Path) -> bool {
    rustix::fs::statfs(tree)
        .is_ok_and(|facts| LOCAL.iter().any(|kind| u32::try_from(facts.f_type).is_ok_and(|it| it == *kind)))
}

/// What a walk has come by.
struct Walk {
    /// The sum over all entries: their order is the filesystem's own.
    digest: u64,
    /// The latest change of any, since 1970.
    newest: Duration,
    n_entries: usize,
    device: u64,
    /// The filesystem keeps fractions of seconds: without them a change within the same second is not seen.
    has_fractions: bool,
}

impl Walk {
    fn through(
        common_dir: &Path,
        admin: &AdminFolder,
        tree: &Path,
        passed_by: &HashSet<PathBuf>,
    ) -> io::Result<Self> {
        let root = tree.symlink_metadata()?;
        let (digest, newest, n_entries) = (0, Duration::ZERO, 0);
        let mut walk = Self { digest, newest, n_entries, device: root.dev(), has_fractions: false };
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
        let mut waiting = vec![(PathBuf::new(), root.ino())];
        while let Some((folder, inode)) = waiting.pop() {
            for entry in std::fs::read_dir(tree.join(&folder))? {
                let entry = entry?;
                let facts = entry.metadata()?;
                let is_folder = facts.is_dir();
                if is_folder || !passed_by.is_empty() {
                    let path = folder.join(entry.file_name());
                    if passed_by.contains(&path) {
                        continue;
                    }
                    if is_folder {
                        waiting.push((path, facts.ino()));
                    }
                }
                walk.take(inode, &entry, &facts)?;
            }
        }
        Ok(walk)
    }

    fn take(&mut self, folder: u64, entry: &std::fs::DirEntry, facts: &std::fs::Metadata) -> io::Result<()> {
        self.n_entries += 1;
        if facts.dev() != self.device || self.n_entries > MOST_ENTRIES {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.digest = self.digest.wrapping_add(digest_of(folder, entry.file_name(), facts));
        self.newest = self.newest.max(changed_at(facts));
        self.has_fractions |= facts.ctime_nsec() != 0;
        Ok(())
    }
}

fn changed_at(facts: &std::fs::Metadata) -> Duration {
    let seconds = u64::try_from(facts.ctime()).unwrap_or(0);
    Duration::new(seconds, u32::try_from(facts.ctime_nsec()).unwrap_or(0))
}

fn digest_of(folder: u64, name: impl Hash, facts: &std::fs::Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    (folder, name, facts.dev(), facts.ino(), facts.mode(), facts.size()).hash(&mut hasher);
    (facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec()).hash(&mut hasher);
    hasher.finish()
}
