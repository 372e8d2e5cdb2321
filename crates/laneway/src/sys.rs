//! The one place with `unsafe`: calls that no safe crate offers.
#![expect(unsafe_code, reason = "close_range and signals as a descriptor have no safe wrapper")]

use std::io::{self, Stdout};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Marks every descriptor but the first three so that no program started later inherits it: also those that
/// this process has inherited itself, such as the lock file of a script that called it.
pub(crate) fn hide_descriptors_from_children() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes numbers only and closes nothing; it sets a flag on descriptors that are open.
    // It can only fail on kernels before 5.11, where descriptors are then inherited as they were.
    unsafe {
        libc::close_range(FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int);
    }
}

/// Signals that are taken from a descriptor instead of interrupting. They stay blocked in this process, and so
/// in programs it starts later.
#[derive(Debug)]
pub(crate) struct SignalDescriptor(OwnedFd);

impl SignalDescriptor {
    /// Blocks `signals` and opens the descriptor that gives them.
    pub(crate) fn open(signals: &[Signal]) -> io::Result<Self> {
        // SAFETY: `set` is initialised by sigemptyset before it is used, and lives through the calls. The
        // descriptor is new and owned by nobody else.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, signal.as_raw());
            }
            let errno = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            if errno != 0 {
                return Err(io::Error::from_raw_os_error(errno));
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The signals that have come since the last call. The same signal sent twice may come once.
    pub(crate) fn take(&self) -> Vec<Signal> {
        const INFO_LENGTH: usize = size_of::<libc::signalfd_siginfo>();
        let mut taken = Vec::new();
        let mut buffer = [0; INFO_LENGTH * 8];
        while let Ok(n_read) = rustix::io::read(&self.0, &mut buffer) {
            for info in buffer[..n_read].chunks_exact(INFO_LENGTH) {
                // The signal's number is the first field of each record.
                let number = info.first_chunk().map_or(0, |number| libc::c_int::from_ne_bytes(*number));
                taken.extend(Signal::from_named_raw(number));
            }
        }
        taken
    }
}

impl AsFd for SignalDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Standard output as something to wait for: it becomes ready when nobody reads it any more. Fails for a file.
pub(crate) fn errors_of_stdout() -> io::Result<AsyncFd<Stdout>> {
    // SAFETY: the descriptor of standard output is valid for the whole life of the process; nothing here
    // closes or replaces it.
    let registered = unsafe { AsyncFd::register_with_interest(io::stdout(), Interest::ERROR) };
    registered.map_err(Into::into)
}
