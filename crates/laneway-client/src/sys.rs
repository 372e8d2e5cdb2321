//! The descriptor that a program was started with, as its own.

#![expect(unsafe_code, reason = "a descriptor that was inherited is only a number")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, sockopt};

/// Whether the descriptor has an owner.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptor of this number, which must be a unix socket. None if it was taken before.
pub(crate) fn take_descriptor(number: RawFd) -> Option<io::Result<UnixStream>> {
    if number < 3 {
        return Some(Err(io::Error::other("that is one of the standard streams")));
    }
    if IS_TAKEN.swap(true, Ordering::AcqRel) {
        return None;
    }
    // SAFETY: the number is not -1, and the borrow ends with this function; of a number that is not open each call
    // below is an error.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    let looked = sockopt::socket_domain(inherited).and_then(|domain| {
        if domain != AddressFamily::UNIX {
            return Err(rustix::io::Errno::AFNOSUPPORT);
        }
        rustix::io::fcntl_setfd(inherited, FdFlags::CLOEXEC)
    });
    Some(match looked {
        // SAFETY: it is a unix socket that was there before this program had opened anything, which nobody else owns:
        // it is taken once, as the flag above says.
        Ok(()) => Ok(unsafe { UnixStream::from_raw_fd(number) }),
        Err(errno) => {
            IS_TAKEN.store(false, Ordering::Release);
            Err(errno.into())
        }
    })
}
