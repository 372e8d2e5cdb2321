//! Locks on files, with a limit on waiting: the repository lock and the lock of one tree.
//!
//! They are `flock`s, so they hold across processes, and git inherits their descriptor: a killed daemon does
//! not free them under a git that still works. Lock files are never deleted while they can be waited for;
//! after locking it is checked that the file is still the one at the path.
//!
//! `flock` has no limit of its own, and its release wakes nothing that `poll` could wait for. So: threads of
//! this process first queue for the path on a condition variable; only the first of them asks the kernel,
//! and if another process has the lock, a helper thread blocks in `flock` in its place. When the limit is
//! over the helper keeps the place in the queue until it has got (and dropped) the lock: there is never more
//! than one such thread per lock, however often callers give up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open, stat};
use rustix::io::Errno;

use crate::run::RunError;

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else held it for longer than the limit.
    #[error("{} is still held by another process or task after {limit:?}", path.display())]
    Busy {
        /// The lock's file.
        path: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The file could not be opened or locked.
    #[error("{} could not be locked", path.display())]
    Unusable {
        /// The lock's file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    /// Declared after the file: the next thread may try when the kernel's lock is free.
    _turn: Turn,
}

impl FileLock {
    /// Waits for the lock, at most for the limit. The file is made if it is not there.
    pub(crate) fn acquire(path: &Path, limit: Duration) -> Result<Self, LockError> {
        let deadline = Instant::now() + limit;
        let busy = || LockError::Busy { path: path.to_owned(), limit };
        let unusable = |source| LockError::Unusable { path: path.to_owned(), source };
        let mut turn = Turn::wait(path, deadline).ok_or_else(busy)?;
        loop {
            let file = open_lock_file(path).map_err(|error| unusable(error.into()))?;
            let lock = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Self { file, _turn: turn },
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    let lock = Self { file, _turn: turn };
                    lock.blocked(deadline).map_err(unusable)?.ok_or_else(busy)?
                }
                Err(error) => return Err(unusable(error.into())),
            };
            if lock.is_the_one_at(path) {
                return Ok(lock);
            }
            // Somebody replaced the file between opening and locking it.
            drop(lock);
            turn = Turn::wait(path, deadline).ok_or_else(busy)?;
        }
    }

    /// A descriptor for a child to inherit: it keeps the lock for as long as the child has it open.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Blocks in a helper thread; `None` when the deadline has passed.
    fn blocked(self, deadline: Instant) -> io::Result<Option<Self>> {
        let (done, locked) = channel();
        std::thread::Builder::new().name("git-lock".into()).spawn(move || {
            let result = loop {
                match flock(&self.file, FlockOperation::LockExclusive) {
                    Err(Errno::INTR) => {}
                    result => break result,
                }
            };
            // With nobody listening any more the lock comes back in the error, and is dropped.
            let _ = done.send(result.map(|()| self));
        })?;
        match locked.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => Ok(Some(result?)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the waiting thread failed")),
        }
    }

    fn is_the_one_at(&self, path: &Path) -> bool {
        match (fstat(&self.file), stat(path)) {
            (Ok(held), Ok(there)) => held.st_dev == there.st_dev && held.st_ino == there.st_ino,
            _ => false,
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Said out loud, because something that a hook left running may still have the descriptor.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn open_lock_file(path: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // A repository may be shared: somebody else's lock file can be locked without being writable.
    let mode = Mode::from_raw_mode(0o644);
    match open(path, flags | OFlags::RDWR, mode) {
        Err(Errno::ACCESS) => open(path, flags | OFlags::RDONLY, mode),
        result => result,
    }
    .map(File::from)
}

/// The paths that a thread of this process holds or waits in the kernel for.
static TAKEN: Mutex<BTreeMap<PathBuf, Arc<Place>>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Default)]
struct Place {
    waiting: Mutex<PlaceState>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct PlaceState {
    taken: bool,
    n_interested: usize,
}

/// This thread's turn to ask the kernel for the lock at a path.
#[derive(Debug)]
struct Turn {
    path: PathBuf,
    place: Arc<Place>,
}

impl Turn {
    fn wait(path: &Path, deadline: Instant) -> Option<Self> {
        let place = {
            let mut places = unpoisoned(&TAKEN);
            let place = Arc::clone(places.entry(path.to_owned()).or_default());
            unpoisoned(&place.waiting).n_interested += 1;
            place
        };
        let limit = deadline.saturating_duration_since(Instant::now());
        let state = unpoisoned(&place.waiting);
        let waited = place.freed.wait_timeout_while(state, limit, |state| state.taken);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let got = !state.taken;
        state.taken = true;
        drop(state);
        if got {
            return Some(Self { path: path.to_owned(), place });
        }
        forget(path, &place);
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        unpoisoned(&self.place.waiting).taken = false;
        self.place.freed.notify_one();
        forget(&self.path, &self.place);
    }
}

/// The last one interested in a path removes its place, so that the map stays as small as the work.
fn forget(path: &Path, place: &Place) {
    let mut places = unpoisoned(&TAKEN);
    let mut state = unpoisoned(&place.waiting);
    state.n_interested -= 1;
    if state.n_interested == 0 {
        places.remove(path);
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lock on a repository's metadata (worktrees, branches, refs, configuration): held around every change,
/// never around a checkout. Across threads and processes; dropping it frees it.
#[derive(Debug)]
pub struct RepositoryLock {
    lock: FileLock,
}

impl RepositoryLock {
    pub(crate) fn new(lock: FileLock) -> Self {
        Self { lock }
    }

    /// The lock's file in the common folder.
    pub const FILE: &'static str = "laneway.lock";

    /// For git to inherit.
    pub(crate) fn descriptor(&self) -> Result<OwnedFd, RunError> {
        self.lock.descriptor().map_err(|source| RunError::NotRun { what: "passing on the lock", source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_second_thread_waits_for_its_limit_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FileLock::acquire(&path, LONG).unwrap();
        assert!(matches!(FileLock::acquire(&path, SHORT), Err(LockError::Busy { .. })));
        drop(held);
        drop(FileLock::acquire(&path, SHORT).unwrap());
        assert!(!unpoisoned(&TAKEN).contains_key(&path));
    }

    #[test]
    fn a_lock_held_elsewhere_is_waited_for_by_one_helper_that_leaves_it_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        // Another open file description is to flock what another process is.
        let elsewhere = open_lock_file(&path).unwrap();
        flock(&elsewhere, FlockOperation::LockExclusive).unwrap();
        for _ in 0..3 {
            assert!(matches!(FileLock::acquire(&path, SHORT), Err(LockError::Busy { .. })));
        }
        flock(&elsewhere, FlockOperation::Unlock).unwrap();
        drop(FileLock::acquire(&path, LONG).unwrap());
        flock(&elsewhere, FlockOperation::NonBlockingLockExclusive).unwrap();
    }

    #[test]
    fn a_replaced_file_is_not_taken_for_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let elsewhere = open_lock_file(&path).unwrap();
        flock(&elsewhere, FlockOperation::LockExclusive).unwrap();
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || FileLock::acquire(&path, LONG))
        };
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        flock(&elsewhere, FlockOperation::Unlock).unwrap();
        let lock = waiting.join().unwrap().unwrap();
        assert!(lock.is_the_one_at(&path));
    }
}
