//! How a daemon begins: one lock decides who it is, one socket is what others find, one line says that it
//! serves.
//!
//! ```text
//! lock HOME/daemon.lock (wait for a daemon that is just ending) → database → reconcile → HOME/socket → report
//!   └─ another one begins as well, of a client that was killed meanwhile: when that serves, this one is not needed
//! ```
//!
//! A daemon that executes itself anew hands the lock and the listening socket to its successor, so that
//! nobody can come in between and no client is turned away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use laneway_api::error::{ErrorBody, Problem};
use laneway_wire::sockets;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{FlockOperation, OFlags, flock, inotify};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::home::Home;
use crate::sys;

/// How long a new daemon waits for one that is just ending: longer than that takes at most.
const LOCK_LIMIT: Duration = Duration::from_secs(40);

/// How long one that serves may take to take a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted; more than the processes of a person's scripts.
const BACKLOG: i32 = 1024;

/// The descriptors that a daemon hands to its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    /// Of the locked `daemon.lock`.
    pub lock: RawFd,
    /// Of the listening socket.
    pub listener: RawFd,
}

/// The lock of the living daemon; held until the process ends.
#[derive(Debug)]
pub struct DaemonLock(File);

/// Why a daemon could not begin to serve at its socket.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// Another daemon holds the lock.
    #[error("another daemon holds {path:?}, and did not end within {} s", LOCK_LIMIT.as_secs())]
    Held {
        /// The lock's file.
        path: PathBuf,
    },
    /// The lock's file cannot be used.
    #[error("the lock {path:?} cannot be used")]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("the socket {path:?} cannot be made")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A descriptor that was to be handed over is not there.
    #[error("the former daemon handed over descriptor {fd}, which is not open")]
    NotHanded {
        /// The descriptor.
        fd: RawFd,
    },
}

/// The lock under which a daemon begins; held until it serves. A client that starts one holds it for it; one that
/// nobody has started (but systemd) holds it itself, so that no client starts a second one meanwhile.
#[derive(Debug)]
pub struct StartLock {
    _file: File,
}

impl StartLock {
    /// Takes the lock. The file is never deleted.
    pub fn take(home: &Home) -> Result<Self, StartupError> {
        let path = home.start_lock();
        let failed = |source| StartupError::Lock { path: path.clone(), source };
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(failed)?;
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno.into())),
            }
            // Should somebody have replaced the file, its lock protects nothing.
            let locked = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
            match rustix::fs::stat(&path) {
                Ok(named) if (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino) => {
                    return Ok(Self { _file: file });
                }
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }
}

impl DaemonLock {
    /// Takes the lock, waiting for a daemon that is just ending. None: another one serves by now. The file is never
    /// deleted.
    pub fn take(home: &Home) -> Result<Option<Self>, StartupError> {
        let path = home.daemon_lock();
        let failed = |source| StartupError::Lock { path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let waiter = file.try_clone().map_err(failed)?;
                match wait_for_lock_or_socket(home, waiter).map_err(failed)? {
                    Some(Turn::Own) => {}
                    Some(Turn::AnotherServes) => return Ok(None),
                    None => return Err(StartupError::Held { path }),
                }
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        // A lock on a file that is no longer the one by that name excludes nobody.
        let locked = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
        let named = rustix::fs::stat(&path).map_err(|errno| failed(errno.into()))?;
        if (locked.st_dev, locked.st_ino) != (named.st_dev, named.st_ino) {
            return Err(failed(io::Error::other("it was replaced while it was being locked")));
        }
        Ok(Some(Self(file)))
    }
}

/// What a daemon has waited for.
enum Turn {
    /// It has the lock.
    Own,
    /// The one that has it serves.
    AnotherServes,
}

/// Waits until this open file is locked, or somebody serves at the socket. None: neither came in time.
fn wait_for_lock_or_socket(home: &Home, file: File) -> io::Result<Option<Turn>> {
    let folder = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let flags = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE;
    inotify::add_watch(&folder, home.root(), flags)?;
    let locked = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let (done, outcome) = mpsc::channel();
    let wake = Arc::clone(&locked);
    // The lock belongs to the open file, not to the thread: a waiter that comes too late dies with the process, which
    // then has nothing to say.
    std::thread::Builder::new().spawn(move || {
        let _ = done.send(flock(&file, FlockOperation::LockExclusive));
        let _ = rustix::io::write(&*wake, &1_u64.to_ne_bytes());
    })?;
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        // After the watch began, so that none is missed.
        let served = sockets::open_folder(home.root())
            .and_then(|folder| sockets::connect(folder, Home::SOCKET_NAME, CONNECT_LIMIT));
        if served.is_ok() {
            return Ok(Some(Turn::AnotherServes));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut waited = [PollFd::new(&*locked, PollFlags::IN), PollFd::new(&folder, PollFlags::IN)];
        let left = left.try_into().expect("it is less than a minute");
        match poll(&mut waited, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !waited[0].revents().is_empty() {
            let locked = outcome.recv().map_err(io::Error::other)?;
            return locked.map(|()| Some(Turn::Own)).map_err(Into::into);
        }
        while rustix::io::read(&folder, &mut [0_u8; 4 << 10]).is_ok() {}
    }
}

/// Listens at the home's socket. A socket that is left from a daemon that was killed is replaced: whoever
/// holds the lock is the only one who may.
pub fn listen(home: &Home) -> Result<UnixListener, StartupError> {
    let failed = |source: io::Error| StartupError::Socket { path: home.socket(), source };
    sockets::open_folder(home.root())
        .and_then(|folder| sockets::listen(folder, Home::SOCKET_NAME, BACKLOG))
        .map_err(failed)
}

/// Takes over what a former daemon handed on.
pub fn taken_over(handed: Handed) -> Result<(DaemonLock, UnixListener), StartupError> {
    let lock = owned(handed.lock)?;
    let listener = owned(handed.listener)?;
    for fd in [lock.as_fd(), listener.as_fd()] {
        fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|_| StartupError::NotHanded { fd: fd.as_raw_fd() })?;
    }
    Ok((DaemonLock(File::from(lock)), UnixListener::from(listener)))
}

/// Makes the descriptors survive the execution of the successor.
pub fn hand_on(lock: &DaemonLock, listener: &UnixListener) -> io::Result<Handed> {
    for fd in [lock.0.as_fd(), listener.as_fd()] {
        fcntl_setfd(fd, FdFlags::empty())?;
    }
    Ok(Handed { lock: lock.0.as_raw_fd(), listener: listener.as_raw_fd() })
}

fn owned(fd: RawFd) -> Result<OwnedFd, StartupError> {
    sys::adopt(fd).ok_or(StartupError::NotHanded { fd })
}

/// Tells the one who started this daemon how that went, as one line of JSON.
pub fn report(to: Option<&Path>, outcome: Result<(), &Problem>) {
    let Some(to) = to else { return };
    let line = match outcome {
        Ok(()) => serde_json::json!({ "ready": true }),
        Err(problem) => serde_json::json!(ErrorBody { error: problem.clone() }),
    };
    // Whoever asked may be gone by now; the daemon serves all the same.
    let told = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(to)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = told {
        tracing::debug!(%error, "nobody reads the start report");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_needed_any_more_does_not_wait_for_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned());
        let held = DaemonLock::take(&home).unwrap().expect("nobody has it");
        let waiting = {
            let home = Home::at(folder.path().to_owned());
            std::thread::spawn(move || DaemonLock::take(&home).unwrap().is_none())
        };
        let listener = listen(&home).unwrap();
        assert!(waiting.join().unwrap(), "another one serves");
        assert!(DaemonLock::take(&home).unwrap().is_none(), "it did so from the first moment");
        // One that is just ending serves nobody.
        drop(listener);
        let waiting = std::thread::spawn(move || DaemonLock::take(&home).unwrap().is_some());
        drop(held);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn the_lock_of_a_start_is_held_by_one_and_its_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned());
        let held = StartLock::take(&home).unwrap();
        let other = File::open(home.start_lock()).unwrap();
        assert_eq!(
            flock(&other, FlockOperation::NonBlockingLockExclusive),
            Err(rustix::io::Errno::WOULDBLOCK)
        );
        drop(held);
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_ok());
    }
}
