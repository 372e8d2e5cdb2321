//! A run in a pane: on a terminal that is somebody else's.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use laneway_wire::client::Connection;
use laneway_wire::message::{Exited, FromHolder, Launch, Lines, Role, Send, Size, Tap, Terminal, refusal};
use laneway_wire::record::{self, RecordState};
use laneway_wire::{ByteVec, FinalScreen, Incoming, LAUNCH_NAME, RECORD_NAME, ToHolder, sockets};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::{LIMIT, SIZE, Viewer, ends_within_limit, is_alive, number_after, script, wait_for_end};

fn inside(text: &str) -> Launch {
    Launch { terminal: Terminal::Inside, ..script(text) }
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable")
}

/// What a multiplexer's terminal was given, and to whom it is given too.
#[derive(Default)]
struct Given {
    bytes: Mutex<Vec<u8>>,
    more: Condvar,
    copy: Mutex<Option<File>>,
}

/// The other side of a pane: everything is read at once, and "how are you?" is answered.
struct Multiplexer {
    /// None when it is gone.
    master: Option<Arc<OwnedFd>>,
    given: Arc<Given>,
    /// Ends the reading.
    stop: Option<OwnedFd>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Multiplexer {
    /// A multiplexer with a pane; gives the pane's side of the terminal.
    fn open(answers: bool) -> (Self, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let tty = ioctl_tiocgptpeer(&master, flags).unwrap();
        let master = Arc::new(master);
        let given = Arc::<Given>::default();
        let (stopped, stop) = rustix::pipe::pipe().unwrap();
        let (its, to) = (Arc::clone(&master), Arc::clone(&given));
        let reader = std::thread::spawn(move || read_on(&its, &to, &stopped, answers));
        (Self { master: Some(master), given, stop: Some(stop), reader: Some(reader) }, tty)
    }

    fn type_text(&self, text: &str) {
        rustix::io::write(self.master.as_ref().unwrap(), text.as_bytes()).unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.given.bytes.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn until_given(&self, text: &str) {
        let bytes = self.given.bytes.lock().unwrap();
        let lacks = |bytes: &mut Vec<u8>| !String::from_utf8_lossy(bytes).contains(text);
        let (bytes, waited) = self.given.more.wait_timeout_while(bytes, LIMIT, lacks).unwrap();
        assert!(!waited.timed_out(), "no {text:?} in {:?}", String::from_utf8_lossy(&bytes));
    }

    /// From now on everything is written to this pipe too, as `pipe-pane` does.
    fn copy_to(&self, pipe: &Path) {
        let pipe = File::options().read(true).write(true).open(pipe).unwrap();
        *self.given.copy.lock().unwrap() = Some(pipe);
    }

    /// The window is gone, and its terminal with it.
    fn close(&mut self) {
        drop(self.stop.take());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.master = None;
    }
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        self.close();
    }
}

fn read_on(master: &OwnedFd, given: &Given, stopped: &OwnedFd, answers: bool) {
    let mut buffer = [0; 4096];
    loop {
        let mut fds = [PollFd::new(master, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        if !fds[1].revents().is_empty() {
            return;
        }
        match rustix::io::read(master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => return,
            Ok(n_read) => {
                let bytes = &buffer[..n_read];
                if let Some(copy) = given.copy.lock().unwrap().as_mut() {
                    copy.write_all(bytes).unwrap();
                }
                given.bytes.lock().unwrap().extend_from_slice(bytes);
                given.more.notify_all();
                if answers && bytes.windows(4).any(|part| part == b"\x1b[5n") {
                    rustix::io::write(master, b"\x1b[0n").unwrap();
                }
            }
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// A run in a pane.
struct PaneRun {
    folder: tempfile::TempDir,
    multiplexer: Multiplexer,
    holder: Child,
    control: Connection,
}

#[expect(clippy::disallowed_methods, reason = "the tests start the holder as a multiplexer does")]
fn start_holder(folder: &Path, tty: &OwnedFd) -> Child {
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(env!("CARGO_BIN_EXE_lane-holder"));
    command.args(["run", "--inside-tty", "--dir"]).arg(folder).arg("--log").arg(folder.join("holder.log"));
    command.env_clear().env("TERM", "tmux-256color").env("TMUX", "/a/socket,1,0").env("TMUX_PANE", "%7");
    command.env("TERM_PROGRAM", "tmux").env("SECRET", "of the multiplexer");
    let copy = || Stdio::from(tty.try_clone().unwrap());
    command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("setsid is there")
}

fn accept(listener: &UnixListener) -> Connection {
    let timeout = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&timeout)), Ok(1), "no holder came");
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(false).unwrap();
    let connection = Connection::over(socket);
    connection.set_read_limit(Some(LIMIT)).unwrap();
    connection
}

impl PaneRun {
    fn try_start(launch: Launch, answers: bool) -> (Self, FromHolder) {
        let folder = temporary();
        let opened = sockets::open_folder(folder.path()).unwrap();
        let listener = sockets::listen(&opened, LAUNCH_NAME, 1).unwrap();
        let (multiplexer, tty) = Multiplexer::open(answers);
        let holder = start_holder(folder.path(), &tty);
        drop(tty);
        let mut control = accept(&listener);
        sockets::remove(&opened, LAUNCH_NAME).unwrap();
        let answer = control.ask(&ToHolder::Launch(Box::new(launch))).unwrap();
        (Self { folder, multiplexer, holder, control }, answer)
    }

    #[track_caller]
    fn start(launch: Launch) -> Self {
        let (run, answer) = Self::try_start(launch, true);
        assert!(matches!(answer, FromHolder::Started(_)), "{answer:?}");
        run
    }

    fn connect(&self) -> Connection {
        let (connection, _) = Connection::open(self.folder.path(), "test", LIMIT).unwrap();
        connection.set_read_limit(Some(LIMIT)).unwrap();
        connection
    }

    fn ask(&self, request: &ToHolder) -> FromHolder {
        self.connect().ask(request).unwrap()
    }

    fn refusal_of(&self, request: &ToHolder) -> String {
        match self.ask(request) {
            FromHolder::Refused { code, .. } => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn read(&self) -> Vec<String> {
        let request = ToHolder::Read { lines: Lines::All, ansi: false, since: None };
        match self.connect().read_text(&request).unwrap() {
            FromHolder::Text(text) => text.lines,
            other => panic!("no text: {other:?}"),
        }
    }

    fn wait_for_exit(&mut self) -> Exited {
        loop {
            let incoming = self.control.receive().unwrap().expect("the holder stays until it may leave");
            if let Incoming::Message { tag: 0, message: FromHolder::Exited(exited) } = incoming {
                return exited;
            }
        }
    }

    fn acknowledge_and_leave(&mut self) -> ExitStatus {
        assert_eq!(self.ask(&ToHolder::Acknowledge), FromHolder::Done);
        wait_for_end(&mut self.holder)
    }

    /// Makes the pipe and has the holder show what comes on it.
    fn tap(&self, seed: &str) -> PathBuf {
        let pipe = sockets::make_pipe(self.folder.path(), "tap").unwrap();
        self.multiplexer.copy_to(&pipe);
        let tap = tap(seed, Some(&pipe));
        assert_eq!(self.ask(&tap), FromHolder::Done);
        pipe
    }
}

fn tap(seed: &str, pipe: Option<&Path>) -> ToHolder {
    use std::os::unix::ffi::OsStrExt as _;
    let pipe = pipe.map(|path| ByteVec::from(path.as_os_str().as_bytes().to_vec()));
    ToHolder::Tap(Tap { size: SIZE, seed: seed.as_bytes().to_vec(), pipe })
}

impl Drop for PaneRun {
    fn drop(&mut self) {
        self.multiplexer.close();
        // What the hang-up did not end.
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

#[test]
fn the_program_has_the_panes_terminal_to_itself_and_the_pane_ends_with_its_code() {
    let mut run = PaneRun::start(inside(
        "echo pid=$$; tty; ps -o pid=,pgid=,tpgid=,sess= -p $$; stty size; env; \
         grep -E 'Sig(Blk|Ign)' /proc/self/status; exit 3",
    ));
    let exited = run.wait_for_exit();
    assert_eq!((exited.code, exited.hung_up), (Some(3), false));
    let text = run.multiplexer.text();
    let pid = number_after(text.replace("\r\n", ";").as_bytes(), "pid").expect(&text);
    let row = text.lines().find(|line| line.split_whitespace().count() == 4).expect(&text);
    let numbers: Vec<u32> = row.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, [pid, pid, pid, run.holder.id()], "its own group, in front, of the holder's session");
    for line in ["24 80", "TERM=tmux-256color", "TMUX_PANE=%7", "TERM_PROGRAM=tmux", "TMUX=/a/socket,1,0"] {
        assert!(text.lines().any(|shown| shown == line), "no {line}: {text}");
    }
    assert!(text.contains("LANEWAY_RUN=rn_01K0000000000000000000000A"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
    for line in text.lines().filter(|line| line.starts_with("Sig")) {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    assert!(is_alive(run.holder.id()), "it stays until the end is recorded");
    assert_eq!(run.acknowledge_and_leave().code(), Some(3));
    let names: Vec<_> =
        fs::read_dir(run.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "sock" || name == LAUNCH_NAME), "{names:?}");
}

#[test]
fn a_program_that_a_signal_has_killed_ends_the_pane_as_a_shell_says_it() {
    let mut run = PaneRun::start(inside("kill -9 $$"));
    assert_eq!(run.wait_for_exit().signal, Some(9));
    assert_eq!(run.acknowledge_and_leave().code(), Some(137));
}

#[test]
fn keys_are_the_programs_and_not_the_holders() {
    let mut run =
        PaneRun::start(inside("trap 'echo caught' INT; echo ready; read line; read line; echo got $line"));
    run.multiplexer.until_given("ready");
    run.multiplexer.type_text("\x03");
    run.multiplexer.until_given("caught");
    run.multiplexer.type_text("first\nsecond\n");
    run.multiplexer.until_given("got");
    assert_eq!(run.wait_for_exit().code, Some(0));
    assert!(is_alive(run.holder.id()));
}

#[test]
fn without_somebody_who_launches_it_says_so_and_ends() {
    let folder = temporary();
    let (multiplexer, tty) = Multiplexer::open(true);
    let mut holder = start_holder(folder.path(), &tty);
    multiplexer.until_given("lane restart");
    assert_eq!(wait_for_end(&mut holder).code(), Some(1));
    drop(tty);
}

#[test]
fn a_start_that_fails_is_told_to_both_sides() {
    let launch = Launch { terminal: Terminal::Inside, ..crate::support::launch(&["no-such-program"]) };
    let (mut run, answer) = PaneRun::try_start(launch, true);
    let FromHolder::StartFailed(failure) = answer else { panic!("{answer:?}") };
    assert!(failure.message.contains("no-such-program"), "{failure:?}");
    run.multiplexer.until_given("no-such-program");
    assert_eq!(wait_for_end(&mut run.holder).code(), Some(1));
    // What is meant for a terminal of the holder's own is not started here.
    let (mut run, answer) = PaneRun::try_start(script("echo x"), true);
    assert!(matches!(answer, FromHolder::StartFailed(_)), "{answer:?}");
    wait_for_end(&mut run.holder);
}

#[test]
fn a_window_that_is_closed_ends_the_whole_run_and_the_record_says_why() {
    let mut run = PaneRun::start(inside(
        "setsid sleep 1000 & echo detached=$!\\;; sh -c 'trap \"\" HUP; sleep 1000' & wait",
    ));
    run.multiplexer.until_given(";");
    let detached = number_after(run.multiplexer.text().as_bytes(), "detached").unwrap();
    run.multiplexer.close();
    let exited = run.wait_for_exit();
    assert!(exited.hung_up, "{exited:?}");
    let recorded = record::read(&run.folder.path().join(RECORD_NAME)).unwrap();
    assert!(matches!(recorded.state, RecordState::Exited { hung_up: true, .. }), "{recorded:?}");
    assert!(ends_within_limit(detached));
    assert!(is_alive(run.holder.id()), "the end is not yet recorded");
    assert_eq!(run.acknowledge_and_leave().code(), Some(143));
}

#[test]
fn a_hang_up_that_somebody_only_says_is_none() {
    let mut run = PaneRun::start(inside("echo ready; read line; exit 4"));
    run.multiplexer.until_given("ready");
    let holder = rustix::process::Pid::from_child(&run.holder);
    rustix::process::kill_process(holder, rustix::process::Signal::HUP).unwrap();
    // Whatever it does upon that it does before it answers.
    assert!(matches!(run.ask(&ToHolder::Status), FromHolder::Status(_)));
    run.multiplexer.type_text("\n");
    let exited = run.wait_for_exit();
    assert_eq!((exited.code, exited.hung_up), (Some(4), false));
}

#[test]
fn a_suspended_program_goes_on() {
    let mut run = PaneRun::start(inside("echo ready; read line; echo got $line; exit 5"));
    run.multiplexer.until_given("ready");
    run.multiplexer.type_text("\x1a");
    run.multiplexer.until_given("^Z");
    run.multiplexer.type_text("hello\n");
    run.multiplexer.until_given("got hello");
    assert_eq!(run.wait_for_exit().code, Some(5));
}

#[test]
fn a_stop_ends_the_whole_tree_in_the_pane() {
    let run = PaneRun::start(inside(
        "trap '' TERM; setsid sleep 1000 & echo detached=$!\\;; while :; do sleep 1000; done",
    ));
    run.multiplexer.until_given(";");
    let detached = number_after(run.multiplexer.text().as_bytes(), "detached").unwrap();
    let mut connection = run.connect();
    let tag = connection.send(&ToHolder::Stop { signal: None, grace_ms: 100 }).unwrap();
    loop {
        match connection.answer_to(tag).unwrap() {
            FromHolder::StopProgress { .. } => {}
            FromHolder::Stopped { left } => break assert_eq!(left, []),
            other => panic!("{other:?}"),
        }
    }
    assert!(!is_alive(detached));
}

#[test]
fn when_the_end_is_told_the_terminal_has_read_all() {
    for _ in 0..20 {
        let mut run = PaneRun::start(inside("seq 20000; echo the last line"));
        run.wait_for_exit();
        assert!(run.multiplexer.text().contains("the last line"));
    }
}

#[test]
fn a_terminal_that_answers_nothing_holds_up_the_end_for_a_short_time_only() {
    let (mut run, answer) = PaneRun::try_start(inside("exit 6"), false);
    assert!(matches!(answer, FromHolder::Started(_)), "{answer:?}");
    let begun = Instant::now();
    assert_eq!(run.wait_for_exit().code, Some(6));
    assert!(begun.elapsed() < Duration::from_secs(5));
    // It is on record meanwhile.
    assert_eq!(run.acknowledge_and_leave().code(), Some(6));
}

#[test]
fn what_a_pane_shows_is_known_while_it_is_tapped() {
    let mut run = PaneRun::start(inside(
        "echo before; read line; echo \"$line\"; stty size; read line; seq 3000; printf end",
    ));
    run.multiplexer.until_given("before");
    for request in [
        ToHolder::Read { lines: Lines::All, ansi: false, since: None },
        ToHolder::Attach { role: Role::Observer, size: SIZE, since: None },
        ToHolder::Follow { since: None, last: None, ansi: false },
        ToHolder::AwaitQuiet { quiet_ms: 1 },
    ] {
        assert_eq!(run.refusal_of(&request), refusal::NOT_TAPPED);
    }
    let send = ToHolder::Send(Send { text: b"x".to_vec(), ..Send::default() });
    assert_eq!(run.refusal_of(&send), refusal::NO_TERMINAL);
    let pipe = run.tap("before\r\n");
    let mut viewer = Viewer::attach(run.connect(), Role::Driver, None);
    assert!(matches!(viewer.attached, FromHolder::Attached { role: Role::Observer, .. }));
    viewer.until_shown("before");
    // The size is the multiplexer's.
    let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(run.multiplexer.master.as_ref().unwrap().as_fd(), size).unwrap();
    run.multiplexer.type_text("after\n");
    viewer.until_shown("30 100");
    assert!(viewer.told.contains(&FromHolder::Resized { size: Size { columns: 100, rows: 30 } }));
    assert_eq!(run.read(), ["before", "after", "after", "30 100"]);
    run.multiplexer.type_text("\n");
    viewer.until_exit();
    run.wait_for_exit();
    assert_eq!(run.read().last().unwrap(), "end", "all of it was there when the end was told");
    run.acknowledge_and_leave();
    assert!(!pipe.exists());
    let last = FinalScreen::read(run.folder.path()).unwrap().terminal.unwrap();
    assert_eq!(last.lines.last().unwrap(), "end");
}

#[test]
fn a_pane_that_is_tapped_anew_shows_what_it_shows_then() {
    let run = PaneRun::start(inside("cat"));
    let former = run.tap("one\r\n");
    let mut viewer = Viewer::attach(run.connect(), Role::Observer, None);
    viewer.until_shown("one");
    let pipe = sockets::make_pipe(run.folder.path(), "tap-2").unwrap();
    assert_eq!(run.ask(&tap("two\r\n", Some(&pipe))), FromHolder::Done);
    assert_eq!(run.read(), ["two"]);
    viewer.until_shown("two");
    assert!(!former.exists() && pipe.exists());
    // What is only to be known at the end is not, when more is known.
    assert_eq!(run.ask(&tap("three\r\n", None)), FromHolder::Done);
    assert_eq!(run.read(), ["two"]);
    // No pipe at all, or a file.
    assert_eq!(run.refusal_of(&tap("", Some(&run.folder.path().join("none")))), refusal::SYSTEM);
    assert_eq!(run.refusal_of(&tap("", Some(&run.folder.path().join(RECORD_NAME)))), refusal::SYSTEM);
}

#[test]
fn the_last_screen_is_kept_when_somebody_tells_it() {
    let mut run = PaneRun::start(inside("echo x; exit 3"));
    run.wait_for_exit();
    assert_eq!(run.ask(&tap("x\r\n", None)), FromHolder::Done);
    let last = FinalScreen::read(run.folder.path()).unwrap().terminal.unwrap();
    assert_eq!((last.lines.as_slice(), last.size), (["x".to_owned()].as_slice(), SIZE));
    assert_eq!(run.read(), ["x"]);
    assert_eq!(run.acknowledge_and_leave().code(), Some(3));
}

/// A private tmux, killed when it is dropped.
struct Tmux {
    folder: tempfile::TempDir,
}

impl Tmux {
    #[expect(clippy::disallowed_methods, reason = "the tests start tmux as a person does")]
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.folder.path().join("s")).args(["-f", "/dev/null"]).args(arguments);
        let output = command.env_remove("TMUX").stdin(Stdio::null()).output().expect("tmux is there");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

#[test]
fn in_a_real_tmux_the_program_runs_and_the_dead_pane_has_its_code_and_text() {
    let tmux = Tmux { folder: temporary() };
    let folder = temporary();
    let opened = sockets::open_folder(folder.path()).unwrap();
    let listener = sockets::listen(&opened, LAUNCH_NAME, 1).unwrap();
    let (dir, log) = (folder.path().to_str().unwrap(), folder.path().join("holder.log"));
    tmux.run(&[
        "new-session",
        "-d",
        "-x",
        "80",
        "-y",
        "24",
        "--",
        env!("CARGO_BIN_EXE_lane-holder"),
        "run",
        "--inside-tty",
        "--dir",
        dir,
        "--log",
        log.to_str().unwrap(),
        ";",
        "set-option",
        "-w",
        "remain-on-exit",
        "on",
        ";",
        "set-hook",
        "-g",
        "pane-died",
        "wait-for -S died",
    ]);
    let mut control = accept(&listener);
    let launch = inside("seq 30000; echo $TERM $TMUX_PANE; exit 3");
    assert!(matches!(control.ask(&ToHolder::Launch(Box::new(launch))), Ok(FromHolder::Started(_))));
    let holder = control.receive().unwrap().unwrap();
    assert!(matches!(holder, Incoming::Message { message: FromHolder::Exited(_), .. }), "{holder:?}");
    let text = tmux.run(&["capture-pane", "-p"]);
    let shown: Vec<&str> = text.trim_end().lines().rev().take(2).collect();
    assert!(shown[0].ends_with(" %0") && shown[1] == "30000", "{text}");
    let (mut connection, hello) = Connection::open(folder.path(), "test", LIMIT).unwrap();
    let FromHolder::Hello { pid, .. } = hello else { panic!("{hello:?}") };
    connection.ask(&ToHolder::Acknowledge).unwrap();
    assert!(ends_within_limit(pid));
    let dead = "#{pane_dead} #{pane_dead_status}";
    // tmux 3.3a sometimes misses the end of a child, and takes note of all that have ended at the next one's.
    tmux.run(&["run-shell", "true"]);
    tmux.run(&["wait-for", "died"]);
    assert_eq!(tmux.run(&["display-message", "-p", dead]).trim(), "1 3");
}
