//! Who gives the user's terminal back: a waiting parent, whatever happens to the child that uses it, and the
//! child, if it is the parent that was killed.
//!
//! ```text
//!  lane attach (guard: remembers, waits) ──starts──► lane attach (raw mode, draws)
//!     │ child ended by itself: it has cleaned up; its exit code is passed on
//!     │ child killed: modes and screen are brought back here
//!     └ guard killed: the child gets SIGTERM, cleans up and ends
//! ```

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use laneway_api::error::{ErrorKind, exit_code};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::modes::{self, Changes};
use super::stream::{Outlet, wait};
use crate::context::Outcome;
use crate::failure::Failure;
use crate::sys::SignalDescriptor;

/// In the child: the process id of its guard. Never inherited by anything else: programs and the daemon get no
/// `LANEWAY_…` variable of their caller.
const GUARD_VARIABLE: &str = "LANEWAY_GUARDED_BY";

/// How long the last sequences may wait for a terminal that does not take them.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

/// How the terminal is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// On the alternate screen.
    FullScreen,
    /// Where the cursor is.
    InPlace,
    /// Where the cursor is, by a recording.
    Played,
}

impl Manner {
    /// What brings the terminal back, if it is not known what was done to it.
    fn bring_back(self) -> Vec<u8> {
        match self {
            Manner::FullScreen => modes::give_back(Changes { colours: true }),
            // As `exec` itself does: what is written in place is not looked at.
            Manner::InPlace => modes::plain_on_first_screen(Changes::default()),
            Manner::Played => modes::give_back_in_place(Changes { colours: true }),
        }
    }
}

/// Does `work` in a child process, with this one as its guard; in that child, does it. Standard input and output
/// are to be terminals.
pub(crate) fn guarded(manner: Manner, work: impl FnOnce() -> Outcome) -> Outcome {
    match std::env::var_os(GUARD_VARIABLE) {
        Some(guard) => {
            follow_guard(&guard).map_err(|error| failed("the guard of the terminal is gone", &error))?;
            work()
        }
        None => guard_over(manner, std::env::args_os().skip(1)),
    }
}

/// Has this program do something else with the terminal, as `lane ARGUMENTS…`, with this process as its guard.
pub(crate) fn guard_over(manner: Manner, arguments: impl IntoIterator<Item = OsString>) -> Outcome {
    match guard(manner, arguments).map_err(|error| failed("the terminal cannot be guarded", &error))? {
        ChildEnd::Code(code) => Ok(code),
        ChildEnd::Killed(signal) => {
            let message = format!("the process that used the terminal was killed by signal {signal}");
            let code = exit_code::SIGNAL_BASE.saturating_add(u8::try_from(signal).unwrap_or_default());
            Err(Failure::new(ErrorKind::Failed, "client_killed", message).with_code(code))
        }
    }
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::new(ErrorKind::Failed, "terminal_unusable", format!("{what}: {error}"))
}

/// Has this process end when its guard does.
fn follow_guard(guard: &OsStr) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have died before the line above took hold.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref().map(OsStr::new) != Some(guard) {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(())
}

/// How the child ended.
enum ChildEnd {
    /// By itself, with this exit code; it has brought the terminal back.
    Code(u8),
    /// By this signal; the terminal was brought back here.
    Killed(i32),
}

fn guard(manner: Manner, arguments: impl IntoIterator<Item = OsString>) -> io::Result<ChildEnd> {
    let saved = tcgetattr(io::stdin())?;
    let mut child = start_child(arguments)?;
    let status = wait_for(&mut child)?;
    if let Some(code) = status.code() {
        return Ok(ChildEnd::Code(u8::try_from(code).unwrap_or(exit_code::FAILED)));
    }
    bring_back(manner, &saved);
    Ok(ChildEnd::Killed(status.signal().unwrap_or_default()))
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts this program anew")]
fn start_child(arguments: impl IntoIterator<Item = OsString>) -> io::Result<Child> {
    let name = std::env::args_os().next().unwrap_or_default();
    // The file this process was started from, also if another one has been installed since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name).args(arguments).env(GUARD_VARIABLE, std::process::id().to_string()).spawn()
}

/// Waits for the child. Keys that interrupt are for the child alone; a request to end goes to it.
fn wait_for(child: &mut Child) -> io::Result<ExitStatus> {
    let pid = Pid::from_child(child);
    let pidfd: OwnedFd = pidfd_open(pid, PidfdFlags::empty())?;
    let endings = [Signal::TERM, Signal::HUP];
    let others = [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::TTIN, Signal::TTOU];
    let signals = SignalDescriptor::open(&[endings.as_slice(), &others].concat())?;
    loop {
        let mut watched =
            [PollFd::new(&pidfd, PollFlags::IN), PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        wait(&mut watched, None)?;
        if !watched[0].revents().is_empty() {
            return child.wait();
        }
        for signal in signals.take() {
            if endings.contains(&signal) {
                // It may have ended at this very moment.
                let _ = pidfd_send_signal(&pidfd, Signal::TERM);
            }
        }
    }
}

/// Brings the terminal back after a child that could not. What fails here has nobody to be told.
fn bring_back(manner: Manner, saved: &Termios) {
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, saved);
    if let Ok(mut outlet) = Outlet::new(io::stdout().as_fd()) {
        outlet.buffer().extend(manner.bring_back());
        let _ = outlet.finish(LAST_WORDS);
    }
}

/// The user's terminal in raw mode; dropping it brings the mode back.
#[derive(Debug)]
pub(crate) struct RawMode {
    saved: Termios,
    /// As the system reports it while it is in force.
    raw: Termios,
}

impl RawMode {
    /// Puts the terminal at standard input into raw mode.
    pub(crate) fn enter() -> io::Result<Self> {
        let saved = tcgetattr(io::stdin())?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let raw = tcgetattr(io::stdin())?;
        Ok(Self { saved, raw })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // If the guard was killed, the shell may have the terminal already, in a mode of its own.
        let is_still_ours = tcgetattr(io::stdin()).is_ok_and(|present| {
            present.local_modes == self.raw.local_modes && present.input_modes == self.raw.input_modes
        });
        if is_still_ours {
            // The terminal may be gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.saved);
        }
    }
}

/// The user's terminal on its alternate screen; dropping it gives it back, also in a panic.
#[derive(Debug)]
pub(crate) struct FullScreen {
    /// Where to draw.
    pub(crate) outlet: Outlet,
    /// What was done to it so far.
    pub(crate) changes: Changes,
    _raw: RawMode,
}

impl FullScreen {
    /// Takes the terminal.
    pub(crate) fn take() -> io::Result<Self> {
        let mut outlet = Outlet::new(io::stdout().as_fd())?;
        let raw = RawMode::enter()?;
        outlet.buffer().extend(modes::take());
        Ok(Self { outlet, changes: Changes::default(), _raw: raw })
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        // What is not drawn yet will not be seen, and a stopped terminal must not hold up leaving it.
        self.outlet.clear();
        self.outlet.buffer().extend(modes::give_back(self.changes));
        // The terminal may be gone.
        let _ = self.outlet.finish(LAST_WORDS);
    }
}
