//! The system calls that need `unsafe`: what happens between fork and exec, `clone` for a process outside the
//! tree, signals as a descriptor, and two ioctls. Linux only.

#![expect(unsafe_code, reason = "fork, exec and raw system calls; each block says why it is sound")]

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use laneway_wire::message::ResourceLimit;

/// Closes every descriptor from 3 on: what the one who started this process left open.
pub(crate) fn close_leftover_descriptors() -> io::Result<()> {
    // SAFETY: called first thing in main, when this process has opened nothing itself, so that no owned
    // descriptor is closed behind its owner's back.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } as libc::c_int)
}

/// Whether this process leads its session. The session that a container was entered with has no number inside
/// it (0), which `rustix::process::getsid` cannot say.
pub(crate) fn leads_a_session() -> bool {
    // SAFETY: both take and give plain numbers.
    unsafe { libc::getsid(0) == libc::getpid() }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives memory that was freed back to the system, also from between pieces that are in use.
pub(crate) fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a plain number and touches nothing but what the allocator itself has.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether, by a number that is 0 then, the other end of a unix socket has read all that was written to this one.
pub(crate) fn n_unread(socket: impl AsFd) -> io::Result<libc::c_int> {
    let mut n_unread = 0;
    // SAFETY: TIOCOUTQ writes one int, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut n_unread) })?;
    Ok(n_unread)
}

/// The signals a holder takes from its loop, as a descriptor. They are blocked in this process.
#[derive(Debug)]
pub(crate) struct SignalDescriptor(OwnedFd);

impl SignalDescriptor {
    /// Blocks `signals` and opens the descriptor that gives them.
    pub(crate) fn open(signals: &[libc::c_int]) -> io::Result<Self> {
        // SAFETY: `set` is initialised by sigemptyset before it is used, and lives through the calls.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                check(libc::sigaddset(&raw mut set, *signal))?;
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            check(fd)?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The numbers of the signals that have come.
    pub(crate) fn take(&self) -> Vec<libc::c_int> {
        const INFO_LENGTH: usize = size_of::<libc::signalfd_siginfo>();
        let mut taken = Vec::new();
        let mut buffer = [0; INFO_LENGTH * 8];
        while let Ok(n_read) = rustix::io::read(&self.0, &mut buffer) {
            // The signal's number is the first field of each record.
            taken.extend(
                buffer[..n_read]
                    .chunks_exact(INFO_LENGTH)
                    .filter_map(|info| Some(libc::c_int::from_ne_bytes(*info.first_chunk()?))),
            );
        }
        taken
    }
}

impl AsFd for SignalDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where the program stands among sessions and terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// In a session of its own without a terminal.
    Own,
    /// In a session of its own that standard input, a terminal, shall control.
    OnTerminal,
    /// In the holder's session, as the foreground group of its terminal, which is standard input.
    Shared,
}

/// What the program gets between fork and exec.
#[derive(Debug)]
pub(crate) struct ChildSetup {
    /// The working directory, opened.
    pub(crate) cwd: OwnedFd,
    /// Where it stands.
    pub(crate) session: Session,
    /// The caller's umask.
    pub(crate) umask: u32,
    /// The caller's resource limits.
    pub(crate) limits: Vec<ResourceLimit>,
    /// The soft `RLIMIT_LOCKS` that marks the run.
    pub(crate) lock_limit: u64,
    /// Its end of a channel, which it keeps open.
    pub(crate) channel: Option<OwnedFd>,
}

/// Has `command` set itself up as `setup` says, after its standard streams are in place. To be spawned from the
/// main thread: the program is killed when the thread that started it ends.
pub(crate) fn set_up_child(command: &mut Command, setup: ChildSetup) {
    // SAFETY: getpid always succeeds and touches no memory.
    let holder = unsafe { libc::getpid() };
    let in_child = move || {
        // SAFETY: only async-signal-safe calls on values made before the fork; nothing allocates or locks.
        unsafe { set_up(&setup, holder) }
    };
    // SAFETY: the closure keeps to what is allowed between fork and exec, see above.
    unsafe { command.pre_exec(in_child) };
}

/// Runs in the child. Only async-signal-safe calls.
unsafe fn set_up(setup: &ChildSetup, holder: libc::pid_t) -> io::Result<()> {
    // SAFETY: plain system calls with values or with pointers to locals.
    unsafe {
        if setup.session == Session::Shared {
            take_the_terminal()?;
        }
        reset_signals();
        if setup.session != Session::Shared {
            check(libc::setsid())?;
        }
        if setup.session == Session::OnTerminal {
            check(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
        }
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        // The holder may have died before the line above took hold.
        if libc::getppid() != holder {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        check(libc::fchdir(setup.cwd.as_raw_fd()))?;
        libc::umask(setup.umask);
        for limit in &setup.limits {
            set_limit(limit.which, limit.soft, limit.hard);
        }
        set_limit(libc::RLIMIT_LOCKS, setup.lock_limit, u64::MAX);
        if let Some(channel) = &setup.channel {
            check(libc::fcntl(channel.as_raw_fd(), libc::F_SETFD, 0))?;
        }
    }
    Ok(())
}

/// Makes this process a group of its own, and that the foreground of the terminal at standard input. Leaves a signal
/// blocked. Async-signal-safe.
unsafe fn take_the_terminal() -> io::Result<()> {
    // SAFETY: plain system calls with values or with pointers to locals that are initialised.
    unsafe {
        // Else it would be stopped: a background group may not take the terminal.
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTTOU);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        check(libc::setpgid(0, 0))?;
        check(libc::tcsetpgrp(0, libc::getpid()))
    }
}

/// Sets a limit as near to what is wanted as this process may. Async-signal-safe.
unsafe fn set_limit(which: u32, soft: u64, hard: u64) {
    // SAFETY: the structs are locals that outlive the calls; an unknown `which` is an error, not a fault.
    unsafe {
        let wanted = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        if libc::setrlimit(which, &raw const wanted) == 0 {
            return;
        }
        // Only root may raise a hard limit again.
        let mut present = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(which, &raw mut present) == 0 {
            let hard = hard.min(present.rlim_max);
            let nearest = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
            libc::setrlimit(which, &raw const nearest);
        }
    }
}

/// Default disposition for every signal, and none blocked. Async-signal-safe.
unsafe fn reset_signals() {
    /// The kernel's `struct sigaction` as zeros, which is `SIG_DFL` without flags. It has 32 bytes at most.
    static DEFAULT_ACTION: [u64; 8] = [0; 8];
    /// The kernel's `sizeof(sigset_t)`.
    const SET_LENGTH: libc::c_long = 8;
    // SAFETY: the kernel reads the action and writes nothing; signals that cannot be changed give an error that
    // is ignored. By the raw call, since the C library keeps its hands on signals 32 and 33, which may be
    // inherited as ignored all the same.
    unsafe {
        for signal in 1..=64_i64 {
            let action = (&raw const DEFAULT_ACTION).cast::<libc::c_void>();
            let former = std::ptr::null_mut::<libc::c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, action, former, SET_LENGTH);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// A program with everything an exec needs, made before the clone.
#[derive(Debug)]
pub(crate) struct Executable {
    /// The file.
    pub(crate) program: CString,
    /// Its arguments.
    pub(crate) argv: Vec<CString>,
    /// Its environment as `NAME=value`.
    pub(crate) env: Vec<CString>,
    /// Its working directory.
    pub(crate) cwd: CString,
}

/// Starts a program as a sibling of this process (a child of this one's parent), in its own session, with its
/// standard streams at `/dev/null` and nothing else open. Answers its pid when the exec has succeeded.
pub(crate) fn start_outside_the_tree(executable: &Executable) -> io::Result<u32> {
    let argv = pointers(&executable.argv);
    let env = pointers(&executable.env);
    let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let null = OwnedFd::from(std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?);
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of memory. Another thread of this process
    // may hold a lock at this moment; the child makes only async-signal-safe calls before it executes or exits.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid == 0 {
        // SAFETY: this is the child; the arrays end with null and their strings are alive in its memory.
        unsafe { execute_detached(executable, &argv, &env, null.as_raw_fd(), writing.as_raw_fd()) };
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(writing);
    let mut errno = [0; 4];
    // End of file without a byte: the exec has closed the pipe.
    match std::fs::File::from(reading).read(&mut errno)? {
        0 => Ok(pid as u32),
        _ => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
    }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Runs in the clone and does not return. Only async-signal-safe calls.
unsafe fn execute_detached(
    executable: &Executable,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
    null: RawFd,
    report: RawFd,
) -> ! {
    // SAFETY: plain system calls; the pointers are to null-ended arrays and strings that are alive.
    unsafe {
        reset_signals();
        // Everything this process opens is close-on-exec; this is for what a library might open. Linux 5.10
        // does not have it yet, so it may fail.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let done = libc::setsid() >= 0
            && libc::chdir(executable.cwd.as_ptr()) == 0
            && (0..3).all(|standard| libc::dup2(null, standard) == standard);
        if done {
            libc::execve(executable.program.as_ptr(), argv.as_ptr(), env.as_ptr());
        }
        let errno = (*libc::__errno_location()).to_ne_bytes();
        libc::write(report, errno.as_ptr().cast(), errno.len());
        libc::_exit(127);
    }
}

/// Has the terminal send a signal to its foreground process group, as if the key had been typed, also when its
/// input is full. `master` is the PTY's master side; only SIGINT, SIGQUIT and SIGTSTP are allowed.
pub(crate) fn signal_through_terminal(master: impl AsFd, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: TIOCSIG takes the signal's number by value.
    check(unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCSIG, signal) })
}
