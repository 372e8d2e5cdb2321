//! What the operating system's interface can only be asked for with `unsafe`.
#![expect(unsafe_code, reason = "descriptors by number, and their registration with the runtime")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use tokio::io::unix::AsyncFd;

/// Adopts an open descriptor by its number, as it was handed over on the command line. To be called once per
/// number, before this process opens anything. None if it is not open, or one of the standard three.
pub(crate) fn adopt(fd: RawFd) -> Option<OwnedFd> {
    let is_open = fd > 2 && Path::new(&format!("/proc/self/fd/{fd}")).exists();
    // SAFETY: it is open, and nothing else in this process owns it: it was inherited, and this runs once per
    // number, first thing.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until a descriptor is readable; for a pidfd: until its process has ended. Also returns if that cannot
/// be waited for.
pub(crate) async fn readable(fd: OwnedFd) {
    // SAFETY: an OwnedFd keeps one descriptor open, always the same, until it is dropped, and the AsyncFd that
    // owns it deregisters before that.
    let Ok(fd) = (unsafe { AsyncFd::register(fd) }) else { return };
    // An error means the same to who waits: there is nothing more to wait for.
    let _ = fd.readable().await;
}
