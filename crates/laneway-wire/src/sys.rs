//! The system call that needs `unsafe`: who is at the other end of a unix socket.

#![expect(unsafe_code, reason = "SO_PEERCRED holds a process id that may be 0, which rustix cannot take")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The user id of the process at the other end of a unix socket, as it was when it connected or listened.
pub(crate) fn peer_uid(socket: impl AsFd) -> io::Result<u32> {
    // The process id of a peer outside of this process's namespace is 0: only the user id is looked at.
    let mut peer = libc::ucred { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: both pointers are to locals that outlive the call, and `length` is the size of the first; every
    // value that the kernel may write is a value of its field.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(peer.uid) }
}
