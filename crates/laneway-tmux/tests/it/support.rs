//! A tmux server of a test's own, and Laneway's connection to it.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use laneway_testkit::LIMIT;
use laneway_testkit::process::finish;
use laneway_tmux::{Event, Made, Mark, PaneProgram, PaneSeen, Server, SessionId, Tmux};
use tempfile::TempDir;

/// A server in a folder of its own; it ends with the test.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) tmux: Tmux,
    pub(crate) server: Server,
}

impl World {
    /// With a server that has one session, `people`, in which a window `theirs` shows `cat`. None if there is no tmux.
    pub(crate) fn new() -> Option<Self> {
        let world = Self::without_server()?;
        world.start();
        Some(world)
    }

    /// Without a server.
    pub(crate) fn without_server() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("t").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let variables = [
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("HOME", folder.path().into()),
            ("SHELL", OsString::from("/bin/sh")),
        ];
        let tmux = match Tmux::find(variables.map(|(name, value)| (name.into(), value))) {
            Ok(tmux) => tmux,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "tests in CI need tmux: {error}");
                return None;
            }
        };
        let server = tmux.server(&folder.path().join("s"));
        Some(Self { folder, tmux, server })
    }

    pub(crate) fn start(&self) {
        self.by_hand(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "people",
            "-n",
            "theirs",
            "--",
            "cat",
            "-u",
        ]);
    }

    /// tmux as a person uses it.
    #[expect(clippy::disallowed_methods, reason = "what a person types")]
    pub(crate) fn by_hand(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.tmux.program());
        command.env_remove("TMUX").arg("-S").arg(self.server.socket()).args(arguments);
        let finished = finish(&mut command, b"");
        assert_eq!(finished.code, 0, "{finished}");
        finished.out().trim_end().to_owned()
    }

    /// Somebody who is attached to a session until this is dropped.
    #[expect(clippy::disallowed_methods, reason = "what a person types")]
    pub(crate) fn attach(&self, session: &str) -> Attached {
        let mut command = Command::new(self.tmux.program());
        command.env_remove("TMUX").arg("-S").arg(self.server.socket());
        command.args(["-C", "attach-session", "-t", session]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = client.stdin.take();
        let mut said = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line.starts_with("%session-changed")), "nobody is attached");
        // Read to its end, so that it never waits.
        let reader = std::thread::spawn(move || said.for_each(drop));
        Attached { client, stdin, reader: Some(reader) }
    }

    pub(crate) fn windows(&self) -> Vec<String> {
        let said = self.by_hand(&["list-windows", "-a", "-F", "#{session_name}:#{window_name}"]);
        said.lines().filter(|line| !line.starts_with("laneway-control")).map(str::to_owned).collect()
    }

    pub(crate) fn people(&self) -> SessionId {
        self.server.snapshot().unwrap().session_named("people").unwrap()
    }

    /// A window for a run in the session of people.
    pub(crate) fn make(&self, name: &str, run: &str, program: &[&str]) -> Made {
        self.server.new_window(self.people(), name, Mark::Run(run), &program_of(program), true).unwrap()
    }

    pub(crate) fn seen(&self, made: &Made) -> PaneSeen {
        self.server.verify(&made.identity).unwrap()
    }

    /// What the server tells from now on.
    pub(crate) fn listen(&self) -> Heard {
        let heard = Heard::default();
        let events = Arc::clone(&heard.events);
        self.server.on_event(move |event| {
            events.0.lock().unwrap().push(event.clone());
            events.1.notify_all();
        });
        self.server.connect().unwrap();
        heard
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Ok(identity) = self.server.connect() else { return };
        let process = laneway_testkit::process::open(identity.pid);
        self.by_hand(&["kill-server"]);
        let ended = process.is_none_or(|process| laneway_testkit::process::ends_within(&process, LIMIT));
        assert!(ended || std::thread::panicking(), "the tmux server did not end");
    }
}

/// A client of tmux that a person has attached.
pub(crate) struct Attached {
    client: Child,
    stdin: Option<ChildStdin>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // At the end of its input it detaches.
        self.stdin.take();
        let ended = laneway_testkit::process::open(self.client.id())
            .is_none_or(|process| laneway_testkit::process::ends_within(&process, LIMIT));
        if !ended {
            self.client.kill().unwrap();
        }
        self.client.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

/// Events, kept for who waits.
#[derive(Default)]
pub(crate) struct Heard {
    events: Arc<(Mutex<Vec<Event>>, Condvar)>,
}

impl Heard {
    /// Waits until one fits.
    pub(crate) fn wait_for(&self, what: impl Display, fits: impl Fn(&Event) -> bool) {
        let (events, told) = &*self.events;
        let waited =
            told.wait_timeout_while(events.lock().unwrap(), LIMIT, |events| !events.iter().any(&fits));
        let (events, result) = waited.unwrap();
        assert!(!result.timed_out(), "{what} did not come: {events:?}");
    }
}

pub(crate) fn program_of(arguments: &[&str]) -> PaneProgram {
    PaneProgram {
        arguments: arguments.iter().map(OsString::from).collect(),
        folder: PathBuf::from("/"),
        environment: Vec::new(),
    }
}

/// What a server that hangs may take in these tests.
pub(crate) const SHORT: Duration = Duration::from_millis(500);
