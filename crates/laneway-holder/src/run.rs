//! A holder's life: clean surroundings, the launch, the start, the loop.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_fault::fault_point;
use laneway_wire::message::{
    Exited, FromHolder, Launch, MessageError, Offsets, ProcessIdentity, StartFailure, StartStage, Started,
    Tag, encode,
};
use laneway_wire::record::{self, RecordState};
use laneway_wire::{
    ByteVec, Decoder, Incoming, LAUNCH_NAME, RECORD_NAME, RecordFile, RunRecord, SOCKET_NAME, ToHolder,
    client, sockets,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::clock::Moment;
use crate::event_loop;
use crate::holder::{HOLDER_VERSION, Holder, Parts};
use crate::log;
use crate::peer::Peer;
use crate::start::{self, Place, Prepared, Running, failure, open_folder};
use crate::sys::{self, SignalDescriptor};
use crate::tree;

/// How long the launch is waited for inside a terminal: it is there before the holder is.
const LAUNCH_LIMIT: Duration = Duration::from_secs(30);

/// The variables that describe a terminal, and what it is in.
const OF_THE_TERMINAL: [&str; 5] = ["TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TMUX", "TMUX_PANE"];

/// Connections that wait to be accepted: more than look at one terminal at once.
const BACKLOG: i32 = 128;

/// Why there was no run, or why the holder gave it up.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The holder could not make its own surroundings.
    #[error("the holder cannot {doing}")]
    Surroundings {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What came is no launch.
    #[error("what came in its place is no launch")]
    NotALaunch(#[source] Option<MessageError>),
    /// Inside a terminal: nobody is there who would launch something.
    #[error("no start waits for this pane; a worker is started again with `lane start` or `lane restart`")]
    NobodyLaunches,
    /// The start failed; the one who asked was told.
    #[error("the program was not started: {0}")]
    StartFailed(String),
    /// The loop failed.
    #[error("the holder cannot wait for events")]
    Loop(#[source] io::Error),
}

fn surroundings(doing: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Surroundings { doing, source }
}

/// The connection on standard input with the launch that came on it.
struct Control {
    socket: UnixStream,
    decoder: Decoder,
    /// What came after the launch.
    rest: Vec<u8>,
    tag: Tag,
}

/// Holds the run whose launch comes on standard input, a connected socket; its files go to `folder`. Returns 0
/// when the run is over and recorded, or at once when standard input ends before a launch. To be called first
/// thing in main, from the main thread.
pub fn run(folder: &Path) -> Result<u8, RunError> {
    sys::close_leftover_descriptors().map_err(surroundings("close what was left open"))?;
    let folder_path = std::path::absolute(folder).map_err(surroundings("find its folder"))?;
    let folder = open_folder(&folder_path).map_err(surroundings("open its folder"))?;
    let signals = stand_apart(&[])?;
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(surroundings("use standard input"))?;
    // The program must not find the connection as its own input, should it get this descriptor.
    replace_stdin().map_err(surroundings("put standard input away"))?;
    let Some((launch, control)) = receive_launch(UnixStream::from(stdin))? else { return Ok(0) };
    hold(launch, control, Place::Apart, (folder, folder_path), signals, || Ok(())).map(|_| 0)
}

/// Holds a run whose program has the terminal that this process is in, as the leader of its session. The launch comes
/// over the socket [`LAUNCH_NAME`] in `folder`; who listens there is of the same user. From the start of the program
/// on what is to be said goes to the file `log`, and not to the terminal, which is the program's. Returns what to end
/// with: the program's code, or 128 and its signal. To be called first thing in main, from the main thread.
pub fn run_inside_tty(folder: &Path, log: &Path) -> Result<u8, RunError> {
    sys::close_leftover_descriptors().map_err(surroundings("close what was left open"))?;
    let folder_path = std::path::absolute(folder).map_err(surroundings("find its folder"))?;
    let folder = open_folder(&folder_path).map_err(surroundings("open its folder"))?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log);
    let log = log.map_err(surroundings("open its log"))?;
    if !sys::leads_a_session() {
        let source = io::Error::other("it is not the first process of one");
        return Err(surroundings("use the terminal")(source));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tty = rustix::fs::open("/dev/tty", flags, Mode::empty());
    let tty = tty.map_err(|errno| surroundings("open the terminal")(errno.into()))?;
    // Keys that are typed before the program is there, and what a terminal sends to who is not in front.
    let signals = stand_apart(&[libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU])?;
    let socket = connect_to_launcher(&folder)?;
    let Some((mut launch, control)) = receive_launch(socket)? else {
        return Err(RunError::NotALaunch(None));
    };
    describe_terminal(&mut launch, |name| std::env::var_os(name));
    let put_away = || {
        replace_stdin()?;
        rustix::stdio::dup2_stdout(std::fs::File::open("/dev/null")?)?;
        Ok(rustix::stdio::dup2_stderr(log)?)
    };
    let exited = hold(launch, control, Place::Inside { tty }, (folder, folder_path), signals, put_away)?;
    Ok(exited.map_or(1, |exited| match (exited.code, exited.signal) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        (None, None) => 1,
    }))
}

/// Connects to whoever has had this holder started.
fn connect_to_launcher(folder: &std::fs::File) -> Result<UnixStream, RunError> {
    let socket =
        sockets::connect(folder, LAUNCH_NAME, LAUNCH_LIMIT).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => RunError::NobodyLaunches,
            _ => surroundings("reach the daemon")(source),
        })?;
    let uid = client::peer_uid(&socket).map_err(surroundings("see who launches"))?;
    if uid != rustix::process::geteuid().as_raw() {
        let source = io::Error::other(format!("it is of user {uid}"));
        return Err(surroundings("trust who launches")(source));
    }
    socket.set_read_timeout(Some(LAUNCH_LIMIT)).map_err(surroundings("wait for its launch"))?;
    Ok(socket)
}

/// Puts what describes the terminal into the program's environment: it is known in the pane, and nowhere else.
fn describe_terminal(launch: &mut Launch, variable: impl Fn(&str) -> Option<OsString>) {
    for name in OF_THE_TERMINAL {
        launch.env.retain(|(set, _)| set.as_slice() != name.as_bytes());
        if let Some(value) = variable(name) {
            let bytes = |text: &OsStr| ByteVec::from(text.as_bytes().to_vec());
            launch.env.push((bytes(OsStr::new(name)), bytes(&value)));
        }
    }
}

type Folder = (std::fs::File, PathBuf);

/// Starts the program and stays until its run is over. `put_away`: what is done with the standard streams then.
fn hold(
    launch: Box<Launch>,
    mut control: Control,
    place: Place,
    (folder, folder_path): Folder,
    signals: SignalDescriptor,
    put_away: impl FnOnce() -> io::Result<()>,
) -> Result<Option<Exited>, RunError> {
    let begun = begin(&launch, place, &folder_path, &folder);
    let (listener, Executed { record, recorded, running, started }) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            let message = failure.message.clone();
            answer(&mut control, &FromHolder::StartFailed(failure));
            return Err(RunError::StartFailed(message));
        }
    };
    if let Err(error) = put_away() {
        log(&format!("the standard streams stay as they are: {error}"));
    }
    let Running { ends, channel, .. } = running;
    let parts = Parts { folder, folder_path, listener, signals, record, recorded, ends, channel, started };
    let mut holder = Holder::new(&launch, parts, Moment::now());
    drop(launch);
    match control.socket.set_nonblocking(true) {
        Ok(()) => holder
            .add_launcher(Peer::with_decoder(control.socket, control.decoder, control.rest), control.tag),
        Err(error) => log(&format!("the launcher's connection is lost: {error}")),
    }
    event_loop::run(holder).map_err(|errno| RunError::Loop(errno.into()))
}

/// Makes this process one that nothing of its starter reaches: own session, files for its user only, signals
/// by the loop, and the reaper of everything below it. `more`: further signals that mean nothing to it.
fn stand_apart(more: &[i32]) -> Result<SignalDescriptor, RunError> {
    let own = rustix::process::getpid();
    if !sys::leads_a_session() {
        rustix::process::setsid().map_err(|errno| surroundings("make a session of its own")(errno.into()))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::chdir("/").map_err(|errno| surroundings("go to the root")(errno.into()))?;
    rustix::process::set_child_subreaper(Some(own))
        .map_err(|errno| surroundings("become a subreaper")(errno.into()))?;
    // SIGINT means nothing to it, nor does SIGHUP without a terminal: they are taken and forgotten. So is SIGXFSZ: a
    // limit on the length of files is for the write that meets it.
    let taken = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGXFSZ];
    SignalDescriptor::open(&[&taken, more].concat()).map_err(surroundings("take its signals"))
}

fn receive_launch(mut socket: UnixStream) -> Result<Option<(Box<Launch>, Control)>, RunError> {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n_read = match socket.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(n_read) => n_read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(surroundings("read its launch")(error)),
        };
        let mut input = &buffer[..n_read];
        match decoder.feed_message(&mut input) {
            Ok(None) => {}
            Ok(Some(Incoming::Message { tag, message: ToHolder::Launch(launch) })) => {
                let rest = input.to_vec();
                return Ok(Some((launch, Control { socket, decoder, rest, tag })));
            }
            Ok(Some(_)) => return Err(RunError::NotALaunch(None)),
            Err(error) => return Err(RunError::NotALaunch(Some(error))),
        }
    }
}

fn replace_stdin() -> io::Result<()> {
    let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
    Ok(rustix::stdio::dup2_stdin(null)?)
}

fn answer(control: &mut Control, message: &FromHolder) {
    let mut bytes = Vec::new();
    encode(control.tag, message, &mut bytes).expect("an answer to a launch is short");
    if let Err(error) = control.socket.write_all(&bytes) {
        log(&format!("nobody hears that the start failed: {error}"));
    }
}

type Begun = (std::os::unix::net::UnixListener, Executed);

/// A program that was executed, and its record.
struct Executed {
    record: RecordFile,
    /// What the record holds.
    recorded: RunRecord,
    running: Running,
    started: Started,
}

/// Without a record that survives there is no run.
fn refuse_memory(folder: &std::fs::File) -> Result<(), StartFailure> {
    let cannot_look =
        |error: io::Error| failure(StartStage::Record, from_io(&error), "cannot look at the run's folder");
    if record::is_in_memory(folder).map_err(cannot_look)? {
        let message =
            "the run's folder is on a memory filesystem, where its record would not survive a reboot"
                .to_owned();
        return Err(StartFailure { stage: StartStage::Record, errno: 0, message });
    }
    Ok(())
}

/// Socket, record, program, in this order; what was made is undone when a later step fails. A failed start
/// stays in the record.
fn begin(
    launch: &Launch,
    place: Place,
    folder_path: &Path,
    folder: &std::fs::File,
) -> Result<Begun, StartFailure> {
    fault_point!("holder.asked");
    let prepared = start::prepare(launch, &place)?;
    refuse_memory(folder)?;
    let listener = sockets::listen(folder, SOCKET_NAME, BACKLOG).map_err(|error| StartFailure {
        stage: StartStage::Socket,
        errno: from_io(&error).raw_os_error(),
        message: format!("cannot make the holder's socket: {error}"),
    })?;
    fault_point!("holder.socket-made");
    let started = begin_recorded(launch, prepared, place, folder_path);
    match started {
        Ok(recorded) => Ok((listener, recorded)),
        Err(failure) => {
            if let Err(error) = sockets::remove(folder, SOCKET_NAME) {
                log(&format!("the socket was not removed: {error}"));
            }
            Err(failure)
        }
    }
}

fn begin_recorded(
    launch: &Launch,
    prepared: Prepared,
    place: Place,
    folder: &Path,
) -> Result<Executed, StartFailure> {
    let boot_id = laneway_wire::process::boot_id().map_err(|error| proc_failure(&error))?;
    let holder = identify(std::process::id())?;
    let mut record = RunRecord {
        holder_version: HOLDER_VERSION.to_owned(),
        run: launch.run.clone(),
        boot_id: boot_id.clone(),
        holder,
        state: RecordState::Starting,
        offsets: Offsets::default(),
        recording_stopped: None,
    };
    let mut file = RecordFile::create(&folder.join(RECORD_NAME), &record).map_err(|error| {
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        let errno = source.and_then(io::Error::raw_os_error).unwrap_or_default();
        let message = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        StartFailure { stage: StartStage::Record, errno, message }
    })?;
    fault_point!("holder.record-made");
    let begun = start::start(launch, prepared, place).and_then(|running| {
        fault_point!("holder.program-executed");
        let program = identify(running.pid)?;
        Ok((running, program))
    });
    let (running, program) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            record.state = RecordState::StartFailed(failure.clone());
            if let Err(error) = file.write_durably(&record) {
                log(&error.to_string());
            }
            return Err(failure);
        }
    };
    let started = Started { program, boot_id, at_micros: Moment::now().unix_micros, holder };
    record.state = RecordState::Running { program, started_at_micros: started.at_micros };
    // Not waited for: if the machine stops before it is on disk, the run is lost either way.
    if let Err(error) = file.write(&record) {
        log(&error.to_string());
    }
    fault_point!("holder.start-recorded");
    Ok(Executed { record: file, recorded: record, running, started })
}

fn identify(pid: u32) -> Result<ProcessIdentity, StartFailure> {
    tree::identify(pid).ok_or_else(|| proc_failure(&io::ErrorKind::NotFound.into()))
}

fn proc_failure(error: &io::Error) -> StartFailure {
    failure(StartStage::Exec, from_io(error), "cannot read /proc")
}

fn from_io(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
