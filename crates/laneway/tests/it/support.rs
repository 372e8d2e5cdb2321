//! What several modules of these tests share: failures as programs see them, named pipes to hold programs up and
//! let them go, and what a lane leaves on a machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use laneway_testkit::process::{self, ends_within, readable_within};
use laneway_testkit::{Finished, LIMIT, TestEnvironment};
use rustix::fs::{CWD, Mode, OFlags, inotify, mkfifoat};
use serde_json::Value;

/// Runs `lane … --json`, which must fail with this exit code and this stable word; gives the error.
#[track_caller]
pub(crate) fn fails(world: &TestEnvironment, arguments: &[&str], exit: i32, slug: &str) -> Value {
    let at = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
    let (ours, theirs) = arguments.split_at(at);
    has_failed(&world.lane(&[ours, &["--json"], theirs].concat()), exit, slug)
}

/// What ended with this exit code and the error of this word, and nothing else; gives the error.
#[track_caller]
pub(crate) fn has_failed(finished: &Finished, exit: i32, word: &str) -> Value {
    let finished = finished.clone().code(exit);
    let error = finished.json()["error"].clone();
    assert_eq!(error["code"], word, "{finished}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{finished}");
    assert_eq!(finished.err(), "", "what is for people has no place beside JSON: {finished}");
    error
}

/// All events from the first on.
#[track_caller]
pub(crate) fn events(world: &TestEnvironment) -> Vec<Value> {
    json_lines(&world.lane(&["events", "--since", "0", "--json"]).ok().stdout)
}

/// One JSON document per line.
#[track_caller]
pub(crate) fn json_lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).expect("a line is a JSON document")).collect()
}

/// The lanes, those that are closed among them.
#[track_caller]
pub(crate) fn all_lanes(world: &TestEnvironment) -> Vec<Value> {
    world.json(&["ls", "--closed"])["lanes"].as_array().expect("a list").clone()
}

/// A lane by its name, the newest of that name.
#[track_caller]
pub(crate) fn lane(world: &TestEnvironment, name: &str) -> Value {
    let lanes = all_lanes(world);
    let found = lanes.iter().rev().find(|lane| lane["name"] == name);
    found.cloned().unwrap_or_else(|| panic!("there is no lane {name} in {lanes:?}"))
}

/// A named pipe that a program waits at, or tells something through.
pub(crate) struct Pipe {
    /// Where it is.
    pub(crate) path: PathBuf,
    // Open both ways: opening it waits for nobody, and it has no end.
    file: File,
}

impl Pipe {
    /// A new one.
    #[track_caller]
    pub(crate) fn new(world: &TestEnvironment, name: &str) -> Self {
        let path = world.root().join(name);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let file = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Self { path, file: file.into() }
    }

    /// Its path, for a script.
    pub(crate) fn text(&self) -> &str {
        self.path.to_str().expect("tests run below a path that is text")
    }

    /// Lets whoever waits for a line go on.
    #[track_caller]
    pub(crate) fn go(&self) {
        (&self.file).write_all(b"go\n").unwrap();
    }

    /// Waits until somebody wrote a line; gives it.
    #[track_caller]
    pub(crate) fn wait(&self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            assert!(readable_within(&self.file, LIMIT), "nobody wrote to {}", self.path.display());
            (&self.file).read_exact(&mut byte).unwrap();
            if byte == *b"\n" {
                return String::from_utf8(line).unwrap();
            }
            line.extend_from_slice(&byte);
        }
    }
}

/// A connection to the daemon's socket, whatever the length of its path.
#[track_caller]
pub(crate) fn connect(world: &TestEnvironment) -> UnixStream {
    let folder = File::open(&world.home).unwrap();
    let stream = UnixStream::connect(format!("/proc/self/fd/{}/socket", folder.as_raw_fd())).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// One HTTP request with these header lines, and all of the answer to it.
#[track_caller]
pub(crate) fn http(world: &TestEnvironment, request: &str, headers: &[&str]) -> String {
    let mut stream = connect(world);
    let headers = headers.concat();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The parent of a process; None if there is no such process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`; a name may hold parentheses.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The processes of this world but for its daemon.
#[track_caller]
pub(crate) fn processes_beside_the_daemon(world: &TestEnvironment) -> Vec<(u32, String)> {
    let daemon = world.daemon_pid();
    let mut found = process::belonging_to(world.root());
    found.retain(|(pid, _)| *pid != daemon);
    found
}

/// Waits until no process of this world is left but its daemon; what is just ending may take its time.
#[track_caller]
pub(crate) fn only_the_daemon_is_left(world: &TestEnvironment) {
    for (pid, called) in processes_beside_the_daemon(world) {
        if let Some(process) = process::open(pid) {
            assert!(ends_within(&process, LIMIT), "process {pid} is left: {called}");
        }
    }
}

/// All that lanes leave outside of the database: worktrees, branches, folders, files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    worktrees: String,
    branches: String,
    files: BTreeSet<PathBuf>,
}

impl Traces {
    /// What is there now.
    #[track_caller]
    pub(crate) fn of(world: &TestEnvironment) -> Self {
        let _ = kept_in_trash(world);
        let mut files = BTreeSet::new();
        for folder in [world.repository.join(".lanes"), world.home.join("runs"), world.home.join("launch")] {
            collect(&folder, &mut files);
        }
        Self {
            worktrees: world.git(&["worktree", "list", "--porcelain"]),
            branches: world.git(&["for-each-ref", "--format=%(refname) %(objectname) %(upstream)"]),
            files,
        }
    }
}

impl Traces {
    /// True if there is such a file or folder.
    pub(crate) fn has(&self, fits: impl Fn(&Path) -> bool) -> bool {
        self.files.iter().any(|path| fits(path))
    }

    /// The same where git's entry of the worktree in this folder names another lane.
    pub(crate) fn with_reason(mut self, folder: &str, lane: &str) -> Self {
        let (from, to) = (format!("locked laneway lane {folder} "), format!("locked laneway lane {lane} "));
        assert!(self.worktrees.contains(&from), "{}", self.worktrees);
        self.worktrees = self.worktrees.replace(&from, &to);
        self
    }

    /// The same without these files and folders, without what the first lane of a repository brings for all, and without
    /// what is just being deleted in the background.
    pub(crate) fn without(&self, left_out: impl Fn(&Path) -> bool) -> Self {
        let of_all_lanes =
            |path: &Path| path.ends_with(".lanes/.gitignore") || path.ends_with(".lanes/.trash");
        let is_going = |path: &Path| {
            let text = path.to_string_lossy();
            text.contains(".lanes/.trash/.git") || text.contains(".going")
        };
        let is_meant = |path: &&PathBuf| !left_out(path) && !of_all_lanes(path) && !is_going(path);
        let files = self.files.iter().filter(is_meant).cloned().collect();
        Self { worktrees: self.worktrees.clone(), branches: self.branches.clone(), files }
    }
}

/// What is in the trash to stay, once all that nobody waits for is deleted from it; without a trash, nothing.
#[track_caller]
pub(crate) fn kept_in_trash(world: &TestEnvironment) -> Vec<String> {
    let lanes = world.repository.join(".lanes");
    let trash = lanes.join(".trash");
    let watched = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
    loop {
        // Watched before it is looked at, so that nothing falls in between; one that is gone cannot be.
        for folder in [&lanes, &trash] {
            let _ = inotify::add_watch(&watched, folder, inotify::WatchFlags::DELETE);
        }
        let Ok(entries) = fs::read_dir(&trash) else { return Vec::new() };
        let mut there: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        there.sort();
        let is_going = |name: &String| Path::new(name).extension().is_some_and(|it| it == "going");
        let is_to_stay = |name: &String| name != ".git" && !is_going(name);
        if there.iter().any(is_to_stay) && !there.iter().any(is_going) {
            there.retain(is_to_stay);
            return there;
        }
        assert!(readable_within(&watched, LIMIT), "the trash is not emptied of {there:?}");
        while rustix::io::read(&watched, &mut [0_u8; 4 << 10]).is_ok() {}
    }
}

fn collect(folder: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        into.insert(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), into);
        }
    }
}
