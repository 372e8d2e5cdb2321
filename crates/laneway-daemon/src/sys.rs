//! What the operating system's interface can only be asked for with `unsafe`.
#![expect(
    unsafe_code,
    reason = "descriptors by number, their registration with the runtime, and the allocator"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

/// Free memory at the end of the heap that is kept, in bytes: what the allocator of glibc begins with. Without a word it
/// raises that to twice the largest block that was ever given back, here up to 32 MiB for 16 MiB of input.
#[cfg(target_env = "gnu")]
const KEPT_FREE: libc::c_int = 128 << 10;

/// Has all threads take their memory from one heap, which is given back at its end. To be called before there is a
/// second thread.
///
/// By itself glibc gives each thread a heap of its own, up to 8 per processor, and keeps what each has ever needed: a list
/// of all events, whose pages are read by whichever thread is free, left 11 MiB behind, and with one heap 0.3.
pub(crate) fn keep_memory_together() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls take numbers only, and no other thread uses the allocator while they set it. That they fail is
    // harmless: it works as it would have.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_FREE);
    }
}

/// Adopts an open descriptor by its number, as it was handed over on the command line. To be called once per
/// number, before this process opens anything. None if it is not open, or one of the standard three.
pub(crate) fn adopt(fd: RawFd) -> Option<OwnedFd> {
    let is_open = fd > 2 && Path::new(&format!("/proc/self/fd/{fd}")).exists();
    // SAFETY: it is open, and nothing else in this process owns it: it was inherited, and this runs once per
    // number, first thing.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has the runtime watch a descriptor. None if it cannot.
pub(crate) fn watch(fd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps one descriptor open, always the same, until it is dropped, and the AsyncFd that owns it
    // deregisters before that.
    unsafe { AsyncFd::register(fd) }.ok()
}

/// A process that is watched for its end, by its pidfd.
pub(crate) struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// None if the runtime cannot watch it.
    pub(crate) fn new(pidfd: OwnedFd) -> Option<Self> {
        watch(pidfd).map(Self)
    }

    /// Waits until it has ended. Can be waited for again.
    pub(crate) async fn ended(&self) {
        // A pidfd becomes readable with the end of its process and stays so. An error means the same to who
        // waits: there is nothing more to wait for.
        let _ = self.0.readable().await;
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(self.0.get_ref(), signal)?)
    }
}
