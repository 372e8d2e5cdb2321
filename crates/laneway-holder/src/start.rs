//! The start of the program: looked at first, then proven by its exec.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use laneway_wire::message::{ChannelKind, Launch, Size, StartFailure, StartStage, Terminal};
use laneway_wire::{ByteVec, mark};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::channel::Line;
use crate::sys::{self, ChildSetup, Session};

/// Where the system looks when there is no `PATH`.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// What a holder was started on.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nothing: it makes what its program runs on.
    Apart,
    /// A terminal, which is its program's.
    Inside {
        /// Its own way to it, non-blocking.
        tty: OwnedFd,
    },
}

/// A launch that was looked at: the folder and the program are there.
#[derive(Debug)]
pub(crate) struct Prepared {
    cwd: OwnedFd,
    program: Vec<u8>,
}

/// The holder's side of a program that was executed.
#[derive(Debug)]
pub(crate) struct Running {
    /// The program's pid. It stays its own until the holder waits for it.
    pub(crate) pid: u32,
    /// What it reads and writes.
    pub(crate) ends: Ends,
    /// Its channel.
    pub(crate) channel: Option<Line>,
}

/// The holder's side of the program's terminal or pipes, non-blocking.
#[derive(Debug)]
pub(crate) enum Ends {
    Pty {
        master: OwnedFd,
        /// Kept open, so that reading the master never fails while the holder lives: a program may close its
        /// terminal and open it again. The hang-up comes from the master's end, which nobody else has.
        slave: OwnedFd,
    },
    Pipes {
        /// None for a program that has no owner who could write.
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// The program has the terminal that the holder is in, and this is the holder's own way to it.
    Inside { tty: OwnedFd },
}

pub(crate) fn failure(stage: StartStage, errno: Errno, what: &str) -> StartFailure {
    let message = format!("{what}: {}", error_text(errno));
    StartFailure { stage, errno: errno.raw_os_error(), message }
}

/// What the system says of an error, as a part of a sentence.
pub(crate) fn error_text(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn senseless(message: &str) -> StartFailure {
    StartFailure { stage: StartStage::Launch, errno: 0, message: message.to_owned() }
}

/// Looks at everything that can be known to fail before anything is made.
pub(crate) fn prepare(launch: &Launch, place: &Place) -> Result<Prepared, StartFailure> {
    match (place, launch.terminal) {
        (Place::Apart, Terminal::Pty(_) | Terminal::Pipes) => {}
        (Place::Inside { .. }, Terminal::Inside) if !launch.owned => {}
        (Place::Apart | Place::Inside { .. }, Terminal::Pty(_) | Terminal::Pipes | Terminal::Inside) => {
            return Err(senseless("what the program is to run on is not what its holder was started on"));
        }
    }
    let name = launch
        .argv
        .first()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| senseless("no program is given"))?;
    let texts = launch.argv.iter().chain([&launch.cwd]);
    let texts = texts.chain(launch.env.iter().flat_map(|(name, value)| [name, value]));
    if texts.into_iter().any(|text| text.contains(&0)) {
        return Err(senseless("an argument, the environment or the folder holds a NUL byte"));
    }
    if launch.env.iter().any(|(name, _)| name.is_empty() || name.contains(&b'=')) {
        return Err(senseless("the environment has a variable without a proper name"));
    }
    let cwd = open_cwd(&launch.cwd).map_err(|errno| {
        let what = format!("cannot work in {}", String::from_utf8_lossy(&launch.cwd));
        failure(StartStage::Cwd, errno, &what)
    })?;
    let program = find_program(&cwd, name, &launch.env)?;
    Ok(Prepared { cwd, program })
}

fn open_cwd(path: &[u8]) -> Result<OwnedFd, Errno> {
    let cwd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Going there is another permission than opening it. The holder itself stands at the root, so that it never
    // keeps a folder in use.
    rustix::process::fchdir(&cwd)?;
    rustix::process::chdir("/")?;
    Ok(cwd)
}

/// The path to execute, relative ones from `cwd`.
fn find_program(cwd: &OwnedFd, name: &[u8], env: &[(ByteVec, ByteVec)]) -> Result<Vec<u8>, StartFailure> {
    let shown = String::from_utf8_lossy(name);
    let not_runnable = |errno, path: &[u8]| {
        let what = format!("cannot execute {}", String::from_utf8_lossy(path));
        failure(StartStage::ProgramNotRunnable, errno, &what)
    };
    if name.contains(&b'/') {
        return match look_at_program(cwd, name) {
            Ok(()) => Ok(name.to_vec()),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                Err(failure(StartStage::ProgramMissing, errno, &format!("there is no program {shown}")))
            }
            Err(errno) => Err(not_runnable(errno, name)),
        };
    }
    let path = env.iter().rev().find(|(name, _)| name.as_slice() == b"PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, path)| path.as_slice());
    let mut not_allowed = None;
    for folder in path.split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { b".".as_slice() } else { folder };
        let candidate = [folder, b"/", name].concat();
        match look_at_program(cwd, &candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS | Errno::ISDIR) => not_allowed = not_allowed.or(Some(candidate)),
            Err(_) => {}
        }
    }
    if let Some(candidate) = not_allowed {
        return Err(not_runnable(Errno::ACCESS, &candidate));
    }
    let message = format!("there is no program {shown} in PATH");
    Err(StartFailure { stage: StartStage::ProgramMissing, errno: Errno::NOENT.raw_os_error(), message })
}

fn look_at_program(cwd: &OwnedFd, path: &[u8]) -> Result<(), Errno> {
    let stat = rustix::fs::statat(cwd, path, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // As the effective user, which is the one who will execute it.
    rustix::fs::accessat(cwd, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// Makes the terminal or the pipes and starts the program. When this answers `Ok` it was executed.
pub(crate) fn start(launch: &Launch, prepared: Prepared, place: Place) -> Result<Running, StartFailure> {
    let (ends, standard) = match (place, launch.terminal) {
        // Its standard streams are the program's.
        (Place::Inside { tty }, _) => {
            (Ends::Inside { tty }, [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()])
        }
        (Place::Apart, Terminal::Pty(size)) => open_pty(size)?,
        (Place::Apart, Terminal::Pipes | Terminal::Inside) => open_pipes(launch.owned)
            .map_err(|errno| failure(StartStage::Terminal, errno, "cannot make pipes"))?,
    };
    #[expect(clippy::disallowed_methods, reason = "the one place where a holder starts the run's program")]
    let mut command = Command::new(OsStr::from_bytes(&prepared.program));
    let [stdin, stdout, stderr] = standard;
    command.stdin(stdin).stdout(stdout).stderr(stderr).env_clear();
    command.envs(launch.env.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
    let (channel, child_channel) = match &launch.channel {
        Some(channel) => open_channel(channel.kind, &mut command)
            .map(|(ours, theirs)| (Some(ours), Some(theirs)))
            .map_err(|error| failure(StartStage::Terminal, from_io(&error), "cannot make a channel"))?,
        None => (None, None),
    };
    let mut arguments = launch.argv.iter().map(|argument| OsStr::from_bytes(argument));
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    let setup = ChildSetup {
        cwd: prepared.cwd,
        session: match ends {
            Ends::Pty { .. } => Session::OnTerminal,
            Ends::Pipes { .. } => Session::Own,
            Ends::Inside { .. } => Session::Shared,
        },
        umask: launch.umask,
        limits: launch.limits.clone(),
        lock_limit: mark::lock_limit(&launch.run),
        channel: child_channel,
    };
    sys::set_up_child(&mut command, setup);
    match command.spawn() {
        // The child is waited for together with all that the holder adopts.
        Ok(child) => Ok(Running { pid: child.id(), ends, channel }),
        Err(error) => Err(explain(&error, &prepared.program)),
    }
}

/// Makes a channel, and has `command` say where the program's end of it is.
fn open_channel(kind: ChannelKind, command: &mut Command) -> io::Result<(Line, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let far_inode = rustix::fs::fstat(&theirs)?.st_ino;
    let number = theirs.as_raw_fd().to_string();
    match kind {
        ChannelKind::JsonLines => command.env("LANEWAY_CHANNEL_FD", number),
        ChannelKind::NodeIpc => {
            command.env("NODE_CHANNEL_FD", number).env("NODE_CHANNEL_SERIALIZATION_MODE", "json")
        }
    };
    Ok((Line { socket: ours, far_inode }, theirs.into()))
}

fn explain(error: &io::Error, program: &[u8]) -> StartFailure {
    let program = String::from_utf8_lossy(program);
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    match errno {
        // It was there a moment ago.
        Errno::NOENT => {
            let what = format!("cannot execute {program}, or the interpreter it asks for");
            failure(StartStage::ProgramNotRunnable, errno, &what)
        }
        Errno::ACCESS | Errno::NOEXEC | Errno::PERM | Errno::TXTBSY | Errno::LIBBAD | Errno::ISDIR => {
            failure(StartStage::ProgramNotRunnable, errno, &format!("cannot execute {program}"))
        }
        _ => failure(StartStage::Exec, errno, &format!("cannot start {program}")),
    }
}

type Opened = (Ends, [Stdio; 3]);

fn open_pty(size: Size) -> Result<Opened, StartFailure> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).map_err(|errno| match errno {
        // The system's own words for it are of a device without space, or of a resource for now.
        Errno::AGAIN | Errno::NOSPC => StartFailure {
            stage: StartStage::Terminal,
            errno: Errno::NOSPC.raw_os_error(),
            message: "cannot make a terminal: this machine has none left (/proc/sys/kernel/pty)".to_owned(),
        },
        errno => no_terminal(errno),
    })?;
    let opened = || {
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        set_window_size(&master, size)?;
        // So that the terminal's own line editing erases whole characters.
        let mut attributes = tcgetattr(&slave)?;
        attributes.input_modes |= InputModes::IUTF8;
        tcsetattr(&slave, OptionalActions::Now, &attributes)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let standard = [slave.try_clone(), slave.try_clone(), slave.try_clone()];
        let [stdin, stdout, stderr] = standard.map(|copy| copy.map_err(|error| from_io(&error)));
        Ok((slave, [stdin?.into(), stdout?.into(), stderr?.into()]))
    };
    let (slave, standard) = opened().map_err(no_terminal)?;
    Ok((Ends::Pty { master, slave }, standard))
}

fn no_terminal(errno: Errno) -> StartFailure {
    failure(StartStage::Terminal, errno, "cannot make a terminal")
}

/// Tells the terminal's programs its size.
pub(crate) fn set_window_size(master: &OwnedFd, size: Size) -> Result<(), Errno> {
    let Size { columns, rows } = size;
    tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
}

fn from_io(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn open_pipes(is_owned: bool) -> Result<Opened, Errno> {
    let (stdout, child_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, child_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let (child_stdin, stdin) = if is_owned {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&writing, true)?;
        (Stdio::from(reading), Some(writing))
    } else {
        (Stdio::null(), None)
    };
    // The two ends of a pipe are two open files: the program's stay blocking.
    rustix::io::ioctl_fionbio(&stdout, true)?;
    rustix::io::ioctl_fionbio(&stderr, true)?;
    Ok((Ends::Pipes { stdin, stdout, stderr }, [child_stdin, child_stdout.into(), child_stderr.into()]))
}

/// An absolute form of `path` that stays right when the holder goes to the root.
pub(crate) fn open_folder(path: &std::path::Path) -> io::Result<std::fs::File> {
    let folder =
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(folder.into())
}
