//! Processes of tests: bounded, and gone afterwards.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long anything in a test may take. Generous: the machine may be busy.
pub const LIMIT: Duration = Duration::from_mins(1);

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; 128 + n if signal n ended it.
    pub code: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: Vec<u8>,
    /// How it was called, for messages.
    pub called: String,
}

impl Finished {
    /// What it wrote, as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it complained of, as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// What it wrote, as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            panic!("{} did not print one JSON document: {error}\n{self}", self.called)
        })
    }

    /// Itself, if it ended with this code.
    #[expect(clippy::return_self_not_must_use, reason = "often it is called only for what it demands")]
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "{self}");
        self
    }

    /// Itself, if it ended with 0.
    #[expect(clippy::return_self_not_must_use, reason = "often it is called only for what it demands")]
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, called, .. } = self;
        write!(f, "{called}\nended with {code}\n--- stdout\n{}\n--- stderr\n{}", self.out(), self.err())
    }
}

/// Runs a program to its end, with this on its standard input.
#[track_caller]
pub fn finish(command: &mut Command, input: &[u8]) -> Finished {
    let called = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{called} could not be started: {error}"));
    let process = open(child.id()).expect("a child that is not reaped has a pidfd");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || {
        // A program may end without reading all of it.
        let _ = stdin.write_all(&input);
    });
    let reading = [
        read_all(child.stdout.take().expect("stdout is piped")),
        read_all(child.stderr.take().expect("stderr is piped")),
    ];
    if !ends_within(&process, LIMIT) {
        let _ = pidfd_send_signal(&process, Signal::KILL);
        let _ = child.wait();
        let [stdout, stderr] = reading.map(|reading| reading.join().unwrap_or_default());
        panic!(
            "{called} did not end within {} s\n--- stdout\n{}\n--- stderr\n{}",
            LIMIT.as_secs(),
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
    let status = child.wait().expect("it has ended");
    let _ = feeding.join();
    let [stdout, stderr] = reading.map(|reading| reading.join().expect("reading does not panic"));
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0));
    Finished { code, stdout, stderr, called }
}

fn read_all(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// A descriptor of a process; None if there is none of that number.
pub fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()
}

/// Whether a process ends within a time.
pub fn ends_within(process: &impl AsFd, limit: Duration) -> bool {
    readable_within(process, limit)
}

/// Whether a descriptor becomes readable within a time.
pub fn readable_within(descriptor: &impl AsFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&left)) {
            Ok(n_ready) => return n_ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}

/// Sends a signal to a process by its number, as a person would with `kill`.
#[track_caller]
pub fn signal(pid: u32, signal: Signal) {
    let process = open(pid).unwrap_or_else(|| panic!("there is no process {pid}"));
    pidfd_send_signal(&process, signal).unwrap_or_else(|errno| panic!("process {pid}: {errno}"));
}

/// Kills a process and waits until it has ended.
#[track_caller]
pub fn kill(pid: u32) {
    let process = open(pid).unwrap_or_else(|| panic!("there is no process {pid}"));
    pidfd_send_signal(&process, Signal::KILL).unwrap_or_else(|errno| panic!("process {pid}: {errno}"));
    assert!(ends_within(&process, LIMIT), "process {pid} did not end");
}

/// True while a process of that number is there and has not ended.
pub fn is_alive(pid: u32) -> bool {
    open(pid).is_some_and(|process| !readable_within(&process, Duration::ZERO))
}

/// The processes whose environment or arguments name a folder: those of one test.
pub fn belonging_to(folder: &Path) -> Vec<(u32, String)> {
    let wanted = folder.as_os_str().as_bytes();
    let names = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if names(&arguments) || names(&environment) {
            let shown = String::from_utf8_lossy(&arguments).replace('\0', " ");
            found.push((pid, shown));
        }
    }
    found
}

/// A process of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its arguments, for messages.
    pub arguments: String,
}

/// The processes of the session that this one leads, itself among them; those that have ended are left out.
pub fn of_session(leader: u32) -> Vec<Member> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // `pid (name) state parent group session …`; a name may hold parentheses.
        let status = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = status.rsplit(") ").next().unwrap_or_default().split(' ');
        let (state, parent) = (fields.next(), fields.next().and_then(|field| field.parse().ok()));
        let session: Option<u32> = fields.nth(1).and_then(|field| field.parse().ok());
        if let (Some(parent), true) = (parent, session == Some(leader) && state != Some("Z")) {
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            found.push(Member { pid, parent, arguments });
        }
    }
    found
}
