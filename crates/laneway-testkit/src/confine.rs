//! Folders that cannot hold sockets and named pipes, as on a USB stick: the kernel is asked to refuse them there
//! (Landlock), which needs no privilege and no filesystem of another kind.
#![expect(unsafe_code, reason = "Landlock has no safe wrapper here, and a child is confined before its exec")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};

const MAKE_SOCKET: u64 = 1 << 9;
const MAKE_PIPE: u64 = 1 << 10;
/// Renaming into another folder, which is refused unless it is allowed.
const REFER: u64 = 1 << 13;
const PATH_BENEATH: libc::c_long = 1;

/// `struct landlock_ruleset_attr`, its first version.
#[repr(C)]
struct Ruleset {
    handled: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: libc::c_int,
}

/// Has a command, and everything it will start, find sockets and pipes refused everywhere but below `folder`. An error of kind
/// `Unsupported`: this kernel cannot do that.
pub fn sockets_only_below(command: &mut Command, folder: &Path) -> io::Result<()> {
    let ruleset = Ruleset { handled: MAKE_SOCKET | MAKE_PIPE | REFER };
    // SAFETY: the pointer is to a struct of the size that is given, which outlives the call; the descriptor is new.
    let rules = unsafe {
        let fd =
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size_of::<Ruleset>(), 0);
        if fd < 0 {
            let error = io::Error::last_os_error();
            // EINVAL: it does not know of renaming yet. EOPNOTSUPP: it is switched off.
            let cannot = matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL));
            return Err(if cannot { io::ErrorKind::Unsupported.into() } else { error });
        }
        OwnedFd::from_raw_fd(fd as libc::c_int)
    };
    for (path, allowed) in [(Path::new("/"), REFER), (folder, ruleset.handled)] {
        let parent = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let rule = PathBeneath { allowed, parent: parent.as_raw_fd() };
        // SAFETY: the pointer is to a struct of the kind that is named, which outlives the call.
        let added = unsafe {
            let rule = (&raw const rule).cast::<libc::c_void>();
            libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), PATH_BENEATH, rule, 0)
        };
        if added < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let confine = move || {
        // SAFETY: both are plain system calls with numbers.
        let confined = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) == 0
        };
        if confined { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes only system calls, on a descriptor that it owns.
    unsafe { command.pre_exec(confine) };
    Ok(())
}
