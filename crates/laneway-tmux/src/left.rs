//! What connections have left in a server: those of processes that were killed, or that are other programs by now.
//!
//! A client whose process is killed while it says who it is never ends, and a server does not end before it. So it is
//! ended, if it is exactly what a connection starts; after that its session is closed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use laneway_wire::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getuid, pidfd_open, pidfd_send_signal};

/// What the sessions of control connections are called; behind it stand the process and a number.
pub(crate) const CONTROL_SESSION: &str = "laneway-control-";

/// The sessions of this process's connections, until they are closed.
static IN_USE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// This process uses a session from now on.
pub(crate) fn use_session(session: &str) {
    in_use(|used| used.push(session.to_owned()));
}

/// This process uses it no more.
pub(crate) fn forget_session(session: &str) {
    in_use(|used| used.retain(|name| name != session));
}

fn in_use<T>(work: impl FnOnce(&mut Vec<String>) -> T) -> T {
    // It cannot be half changed.
    work(&mut IN_USE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// With what the client of a connection is started, behind the name of the program.
pub(crate) fn client_arguments(socket: &Path, session: &str) -> Vec<OsString> {
    let begin = ["-u", "-N", "-S"].map(OsString::from);
    let rest = ["-C", "new-session", "-f", "ignore-size,no-output", "-x", "80", "-y", "24", "-s", session];
    // Something has to run in it.
    let rest = rest.into_iter().chain(["sleep", "infinity"]).map(OsString::from);
    begin.into_iter().chain([socket.into()]).chain(rest).collect()
}

/// Whether a connection has left this session: one of this process, or of one that is gone.
pub(crate) fn is_left(session: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = session.strip_prefix(CONTROL_SESSION).and_then(|rest| rest.split_once('-'));
    let Some((process, _)) = rest.filter(|(process, number)| digits(process) && digits(number)) else {
        return false;
    };
    match process.parse() {
        Ok(process) if process == std::process::id() => in_use(|used| !used.iter().any(|it| it == session)),
        Ok(process) => Process::read(process).is_none_or(|process| process.is_zombie()),
        Err(_) => false,
    }
}

/// Ends the clients that connections to this socket have left, and waits for that, at most until the deadline.
pub(crate) fn end_clients(socket: &Path, deadline: Instant) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if !is_left_client(pid, socket) {
            continue;
        }
        let Some(process) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            continue;
        };
        // Once it is held: the number may be another's by now.
        if is_left_client(pid, socket) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Ok(left) = Timespec::try_from(left) {
                // It is killed; the server may hear of it a little later.
                let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left));
            }
        }
    }
}

/// Whether this is a client of ours, by its user and every argument, of a process that is gone.
fn is_left_client(pid: i32, socket: &Path) -> bool {
    let is_mine = fs::metadata(format!("/proc/{pid}")).is_ok_and(|facts| facts.uid() == getuid().as_raw());
    let Some(command) = is_mine.then(|| fs::read(format!("/proc/{pid}/cmdline")).ok()).flatten() else {
        return false;
    };
    is_client(&command, socket).is_some_and(|session| is_left(&session))
}

/// The session of a client of ours at this socket, from its command line.
fn is_client(command: &[u8], socket: &Path) -> Option<String> {
    let command = command.strip_suffix(b"\0")?;
    let arguments: Vec<&OsStr> = command.split(|byte| *byte == 0).skip(1).map(OsStr::from_bytes).collect();
    let mut session = arguments.iter().filter_map(|argument| argument.to_str());
    let session = session.rfind(|argument| argument.starts_with(CONTROL_SESSION))?;
    (client_arguments(socket, session) == arguments).then(|| session.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_ours_is_known_by_all_its_arguments() {
        let socket = Path::new("/x/a socket");
        let command = |socket: &Path, session: &str| {
            let mut command = b"/usr/bin/tmux\0".to_vec();
            for argument in client_arguments(socket, session) {
                command.extend_from_slice(argument.as_bytes());
                command.push(0);
            }
            command
        };
        let ours = command(socket, "laneway-control-7-0");
        assert_eq!(is_client(&ours, socket), Some("laneway-control-7-0".to_owned()));
        assert_eq!(is_client(&ours, Path::new("/x/other")), None);
        assert_eq!(is_client(&[&ours[..], b"more\0"].concat(), socket), None);
        assert_eq!(is_client(b"/usr/bin/tmux\0attach\0-t\0laneway-control-7-0\0", socket), None);
        assert_eq!(is_client(b"", socket), None);
    }

    #[test]
    fn a_session_is_left_when_its_process_is_gone() {
        let nobody = i32::MAX;
        assert!(is_left(&format!("laneway-control-{nobody}-0")));
        for other in ["people", "laneway-control-", "laneway-control-x-0", "laneway-control-1-0"] {
            assert!(!is_left(other), "{other}");
        }
        for odd in ["", "0;", "0 ", "x"] {
            assert!(!is_left(&format!("laneway-control-{nobody}-{odd}")), "{odd}");
        }
        let mine = format!("laneway-control-{}-77", std::process::id());
        assert!(is_left(&mine));
        use_session(&mine);
        assert!(!is_left(&mine));
        forget_session(&mine);
        assert!(is_left(&mine));
    }
}
