//! How a daemon begins: one lock decides who it is, one socket is what others find, one line says that it
//! serves.
//!
//! ```text
//! lock HOME/daemon.lock (wait for a daemon that is just ending) → database → reconcile → HOME/socket → report
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
use std::sync::mpsc;
use std::time::Duration;

use laneway_api::error::{ErrorBody, Problem};
use laneway_wire::sockets;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::home::Home;
use crate::sys;

/// How long a new daemon waits for one that is just ending: longer than that takes at most.
const LOCK_LIMIT: Duration = Duration::from_secs(40);

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
    /// Takes the lock, waiting for a daemon that is just ending. The file is never deleted.
    pub fn take(home: &Home) -> Result<Self, StartupError> {
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
                let (done, waiting) = mpsc::channel();
                let waiter = file.try_clone().map_err(failed)?;
                // The lock belongs to the open file, not to the thread: a waiter that comes too late dies
                // with the process, which then has nothing to say.
                let wait = move || done.send(flock(&waiter, FlockOperation::LockExclusive));
                std::thread::Builder::new().spawn(wait).map_err(failed)?;
                match waiting.recv_timeout(LOCK_LIMIT) {
                    Ok(locked) => locked.map_err(|errno| failed(errno.into()))?,
                    Err(_) => return Err(StartupError::Held { path }),
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
        Ok(Self(file))
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
