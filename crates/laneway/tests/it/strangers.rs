//! Another user of the machine: neither let in nor believed, also where the permissions of the folders would let him;
//! and a user who is not root has all of it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use laneway_testkit::process::finish;
use laneway_testkit::pty::Window;
use laneway_testkit::{Finished, TestEnvironment, screen};
use laneway_wire::ToHolder;
use laneway_wire::message::encode;

use crate::elsewhere::remark;
use crate::environment;
use crate::support::{fails, has_failed, lane};

/// A user who has nothing on this machine.
const STRANGER: u32 = 65_534;

/// Who becomes another user, as words of a command.
const BECOME: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// False where this user cannot become another one; it is said.
fn can_be_a_stranger() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        remark("not tested: only root can be another user");
    }
    is_root
}

/// A Python script of the stranger, standing in a folder.
fn of_stranger(world: &TestEnvironment, folder: &Path, script: &str) -> Command {
    let [program, options @ ..] = BECOME;
    let mut command = world.program(program);
    // The system's: what root has installed for himself is not for all.
    command.env("PATH", "/usr/bin:/bin").current_dir(folder).args(options).args(["python3", "-c", script]);
    command
}

#[track_caller]
fn let_all_into(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

#[track_caller]
fn make_private(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Connects to the socket named first, says the bytes named then in base64, and prints all that is answered.
const ASK: &str = "
import base64, socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
try:
    s.connect(sys.argv[1])
    s.sendall(base64.b64decode(sys.argv[2]))
    while part := s.recv(65536):
        sys.stdout.buffer.write(part)
except OSError as error:
    print(type(error).__name__)
";

/// What the stranger is answered at a socket of this folder.
#[track_caller]
fn answer_to_stranger(world: &TestEnvironment, folder: &Path, socket: &str, said: &[u8]) -> String {
    let said = STANDARD.encode(said);
    finish(of_stranger(world, folder, ASK).args([socket, &said]), b"").ok().out()
}

#[test]
fn another_user_is_answered_by_neither_daemon_nor_holder() {
    if !can_be_a_stranger() {
        return;
    }
    let world = environment();
    let run = world.start("a", &["fake-agent", "echo"]);
    let list = b"GET /api/v1/lanes HTTP/1.1\r\nhost: x\r\nlaneway-cwd: /\r\nconnection: close\r\n\r\n";
    let mut send = Vec::new();
    encode(1, &ToHolder::Hello { protocol: 1, client: "stranger".to_owned() }, &mut send).unwrap();
    let typed =
        laneway_wire::message::Send { text: b"typed by a stranger".to_vec(), enter: true, ..<_>::default() };
    encode(2, &ToHolder::Send(typed), &mut send).unwrap();
    // Their places are private.
    assert_eq!(answer_to_stranger(&world, &world.home, "socket", list), "PermissionError\n");
    assert_eq!(answer_to_stranger(&world, &run, "sock", &send), "PermissionError\n");
    // And if they were not: who asks is looked at.
    let runs = world.home.join("runs");
    for path in [&world.home, &world.home.join("socket"), &runs, &run, &run.join("sock")] {
        let_all_into(path);
    }
    let answer = answer_to_stranger(&world, &world.home, "socket", list);
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("another_user"), "{answer}");
    assert!(!answer.contains(world.root().to_str().unwrap()), "{answer}");
    let answer = answer_to_stranger(&world, &run, "sock", &send);
    // Closed at once; what it had said is thrown away unread, which its side may see as a reset.
    assert!(["", "ConnectionResetError\n", "BrokenPipeError\n"].contains(&answer.as_str()), "{answer}");
    for path in [&world.home, &runs, &run] {
        make_private(path, 0o700);
    }
    let _ = world.lane(&["send", "a", "mine", "--enter"]).ok();
    screen::wait_for_line(&run, "heard mine");
    let shown = world.lane(&["read", "a"]).ok().out();
    assert!(!shown.contains("stranger"), "{shown}");
}

/// Serves at a socket of this name in place of who served there: takes connections, says what it got until then when its
/// standard input ends.
const SERVE: &str = "
import os, select, socket, sys
if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
s.listen(50)
s.setblocking(False)
print('serving', flush=True)
heard = b''
n_came = 0
is_over = False
while not is_over:
    ready, _, _ = select.select([s, sys.stdin], [], [])
    # Those who have come before that are heard all the same.
    is_over = sys.stdin in ready
    while True:
        try:
            peer, _ = s.accept()
        except BlockingIOError:
            break
        n_came += 1
        peer.settimeout(60)
        try:
            while part := peer.recv(65536):
                heard += part
        except OSError:
            pass
print('%d came and said %d bytes' % (n_came, len(heard)))
";

/// A stranger who serves at a socket.
struct Impostor(Child);

impl Impostor {
    #[track_caller]
    fn serve(world: &TestEnvironment, folder: &Path, socket: &str) -> Self {
        let mut command = of_stranger(world, folder, SERVE);
        command.arg(socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "serving\n");
        Self(child)
    }

    /// Ends it; how many came to it, and how much they said.
    #[track_caller]
    fn end(mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.0.wait().unwrap().success());
        said
    }
}

#[test]
fn a_socket_at_which_another_user_answers_is_told_nothing() {
    if !can_be_a_stranger() {
        return;
    }
    let world = environment();
    let run = world.start("a", &["fake-agent", "echo"]);
    // A holder's: the daemon has its own conversation with the real one.
    for path in [&world.home, &world.home.join("runs"), &run] {
        let_all_into(path);
    }
    let impostor = Impostor::serve(&world, &run, "sock");
    let asking: [&[&str]; 4] = [
        &["read", "a"],
        &["send", "a", "a secret"],
        &["read", "a", "--follow"],
        &["wait", "a", "--for", "output=x"],
    ];
    for command in asking {
        let error = fails(&world, command, 6, "holder_unreachable");
        assert!(error["message"].as_str().unwrap().contains("user 65534"), "{command:?}: {error}");
        assert!(error["hint"].is_string(), "{command:?}: {error}");
    }
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_left_with(6);
    window.close();
    assert_eq!(impostor.end(), "5 came and said 0 bytes\n");
    assert_eq!(world.worker("a")["status"], "running");
    let _ = world.lane(&["stop", "a"]).ok();
    // The daemon's.
    let _ = world.lane(&["daemon", "stop"]).ok();
    let impostor = Impostor::serve(&world, &world.home, "socket");
    let error = fails(&world, &["ls"], 6, "daemon_unreachable");
    let (message, hint) = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
    assert!(message.contains("uid 65534"), "{error}");
    let socket = world.home.join("socket");
    assert!(hint.contains("chmod 700") && hint.contains(socket.to_str().unwrap()), "{error}");
    assert_eq!(impostor.end(), "1 came and said 0 bytes\n");
    // As the hint says.
    make_private(&world.home, 0o700);
    fs::remove_file(&socket).unwrap();
    assert_eq!(lane(&world, "a")["status"], "ready");
}

#[test]
fn a_home_of_another_user_is_refused_and_left_as_it_is() {
    if !can_be_a_stranger() {
        return;
    }
    let world = environment();
    fs::create_dir(&world.home).unwrap();
    for mode in [0o700, 0o777] {
        make_private(&world.home, mode);
        chown(&world.home, Some(STRANGER), Some(STRANGER)).unwrap();
        let error = fails(&world, &["ls"], 1, "home_unusable");
        assert!(error["message"].as_str().unwrap().contains("belongs to uid 65534"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("LANEWAY_HOME"), "{error}");
        assert_eq!(fs::read_dir(&world.home).unwrap().count(), 0);
        assert_eq!(fs::metadata(&world.home).unwrap().permissions().mode() & 0o777, mode);
    }
}

/// A world that belongs to somebody who is not root, and is used by him.
struct Modest {
    world: TestEnvironment,
    lane: PathBuf,
}

impl Modest {
    /// None where there is no such user, or he cannot reach what is built; it is said.
    #[track_caller]
    fn new() -> Option<Self> {
        if !can_be_a_stranger() {
            return None;
        }
        let world = environment();
        let lane = PathBuf::from(world.lane_command(&[]).get_program());
        give_away(world.root());
        let modest = Self { world, lane };
        let tried = finish(&mut modest.command(&["version"]), b"");
        if tried.code != 0 {
            remark(&format!("not tested: another user cannot reach what is built: {}", tried.err()));
            return None;
        }
        Some(modest)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let [program, options @ ..] = BECOME;
        let mut command = self.world.program(program);
        command.args(options).arg(&self.lane).args(arguments);
        command
    }

    #[track_caller]
    fn lane(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments), b"")
    }
}

/// Gives a folder and all in it to the stranger.
fn give_away(path: &Path) {
    chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

#[test]
fn a_user_who_is_not_root_has_all_of_it() {
    let Some(modest) = Modest::new() else { return };
    let world = &modest.world;
    let _ = modest.lane(&["new", "a", "--", "fake-agent", "echo"]).ok();
    let _ = modest.lane(&["run", "a", "--name", "b", "--", "id", "-u"]).ok();
    let _ = modest.lane(&["wait", "b", "--for", "exit"]).ok();
    assert_eq!(modest.lane(&["read", "b"]).ok().out(), "65534\n");
    let _ = modest.lane(&["send", "a", "you", "--enter"]).ok();
    let _ = modest.lane(&["wait", "a", "--for", "output=heard you"]).ok();
    assert_eq!(modest.lane(&["exec", "a", "--", "echo", "through"]).ok().out(), "through\n");
    // In a window that was opened by somebody else, as after `su`.
    let command = [&BECOME[..], &[modest.lane.to_str().unwrap(), "attach", "a"]].concat();
    let mut window = Window::open(world.program("setsid"), &command, 80, 24);
    window.wait_for_row("heard you");
    window.press("me\n");
    window.wait_for_row("heard me");
    window.press("\u{1c}");
    window.wait_until_left_with(0);
    window.close();
    // The daemon of a user is not another's, not even root's.
    let error = has_failed(&world.lane(&["ls", "--json"]), 1, "home_unusable");
    assert!(
        error["message"].as_str().unwrap().contains("belongs to uid 65534, not to you (uid 0)"),
        "{error}"
    );
    let _ = modest.lane(&["daemon", "restart"]).ok();
    let _ = modest.lane(&["close", "a"]).ok();
    // What he may not write to is said to be so.
    make_private(&world.home, 0o500);
    let _ = modest.lane(&["daemon", "stop"]).ok();
    let error = has_failed(&modest.lane(&["ls", "--json"]), 1, "home_unusable");
    assert!(error["message"].as_str().unwrap().to_lowercase().contains("permission denied"), "{error}");
    make_private(&world.home, 0o700);
    let _ = modest.lane(&["ls"]).ok();
    let _ = modest.lane(&["daemon", "stop"]).ok();
}
