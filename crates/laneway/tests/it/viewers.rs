//! Those who look at one terminal at once: one that is stopped, two that take it from each other, some that make no
//! sense. None of them is felt by the others or by the program.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use laneway_testkit::{LIMIT, process, screen};
use laneway_wire::client::{self, Connection};
use laneway_wire::message::{FromHolder, Incoming, Lines, Role, Size, ToHolder, encode, refusal};
use rustix::process::Signal;

use crate::environment;
use crate::support::Pipe;
use crate::terminals::holder_of;

const SIZE: Size = Size { columns: 80, rows: 24 };

/// What a holder may have more than before while a viewer does not read, in bytes: the bound of the viewer's queue
/// twice (it grows by doubling), and what is read at once.
const MORE_FOR_A_VIEWER: u64 = 4 << 20;

/// The most memory that a process ever had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_client_that_is_stopped_holds_up_nobody_and_catches_up() {
    let world = environment();
    let (first, second) = (Pipe::new(&world, "first"), Pipe::new(&world, "second"));
    // The same flood twice: the first fills the history, so that the second costs only what waits for a viewer.
    let script = "echo ready; read _ < \"$0\"; seq 1 100000; echo once; read _ < \"$1\"; seq 1 800000; echo twice; read _";
    let run = world.start("a", &["bash", "-c", script, first.text(), second.text()]);
    let holder = holder_of(&world, &run).unwrap();
    let mut stopped = world.window(&["attach", "a"], 80, 24);
    stopped.wait_for_row("ready");
    let mut other = world.window(&["attach", "a", "--observe"], 80, 24);
    other.wait_for_row("ready");
    first.go();
    for window in [&mut stopped, &mut other] {
        window.wait_for_row("once");
    }
    let before = peak_memory(holder);
    let (_, client) = stopped.guard_and_client();
    process::signal(client, Signal::STOP);
    let n_drawn = stopped.n_read();
    second.go();
    other.wait_for_row("twice");
    screen::wait_for_line(&run, "twice");
    let peak = peak_memory(holder);
    assert!(peak < before + MORE_FOR_A_VIEWER, "{before} bytes before, {peak} now");
    process::signal(client, Signal::CONT);
    stopped.wait_for_row("twice");
    stopped.wait_until_like(&run);
    assert!(stopped.n_read() - n_drawn < 4 << 20, "it was shown the end of it, not all");
    stopped.press("\x1c");
    stopped.wait_until_left_with(0);
    stopped.assert_is_given_back();
    assert_eq!(world.worker("a")["status"], "running");
}

/// A viewer of a run that is not a window.
#[track_caller]
fn viewer(run: &Path, role: Role) -> Connection {
    let (mut connection, _) = Connection::open(run, "test", LIMIT).unwrap();
    connection.set_read_limit(Some(LIMIT)).unwrap();
    let answer = connection.ask(&ToHolder::Attach { role, size: SIZE, since: None }).unwrap();
    assert!(matches!(answer, FromHolder::Attached { .. }), "{answer:?}");
    connection
}

/// Takes the terminal and types one line, again and again; gives the lines that it was not told were refused: all that
/// it believes to have typed.
fn fight(run: &Path, name: char) -> Vec<String> {
    let mut driver = viewer(run, Role::Observer);
    let mut typed = Vec::new();
    for n in 0..100 {
        let taking = driver.send(&ToHolder::TakeDriver { size: SIZE }).unwrap();
        let line = format!("{name}{n}{}", name.to_string().repeat(n % 50));
        driver.send_input(format!("{line}\n").as_bytes()).unwrap();
        // Whatever is refused is told before the answer to what was asked afterwards.
        let asking = driver.send(&ToHolder::Status).unwrap();
        let (mut is_taken, mut is_refused) = (false, false);
        loop {
            match driver.receive().unwrap().unwrap() {
                Incoming::Message { tag, message: FromHolder::Done } if tag == taking => is_taken = true,
                Incoming::Message { tag, message: FromHolder::Status(_) } if tag == asking => break,
                Incoming::Message { message: FromHolder::Refused { code, .. }, .. } => {
                    assert_eq!(code, refusal::NOT_DRIVER);
                    is_refused = true;
                }
                _ => {}
            }
        }
        assert!(is_taken, "the last to ask has it");
        if !is_refused {
            typed.push(line);
        }
    }
    typed
}

#[test]
fn of_two_who_fight_for_a_terminal_every_line_arrives_whole_or_is_refused() {
    let world = environment();
    let script = "stty -echo; echo ready; while read -r line; do echo \"$line\" >> got; done";
    let run = world.start("a", &["bash", "-c", script]);
    screen::wait_for_line(&run, "ready");
    let (a, b) = std::thread::scope(|scope| {
        let a = scope.spawn(|| fight(&run, 'a'));
        let b = scope.spawn(|| fight(&run, 'b'));
        (a.join().unwrap(), b.join().unwrap())
    });
    let _ = world.lane(&["send", "a", "--key", "ctrl-d"]).ok();
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    world.wait_for_exit(&id);
    let got = fs::read_to_string(world.worktree("a").join("got")).unwrap();
    for (name, typed) in [('a', a), ('b', b)] {
        let theirs: Vec<&str> = got.lines().filter(|line| line.starts_with(name)).collect();
        assert_eq!(theirs, typed, "of {name}");
    }
}

#[test]
fn windows_that_take_a_terminal_from_each_other_are_each_told() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "echo"]);
    let mut former = world.window(&["attach", "a"], 80, 24);
    former.wait_for_row("ready");
    for round in 0..6 {
        let (columns, rows) = [(80, 24), (100, 30)][round % 2];
        let mut last = world.window(&["attach", "a"], columns, rows);
        former.wait_for("is used from elsewhere now");
        former.press("lost\n");
        former.wait_for("leaves");
        last.press(&format!("round {round}\n"));
        last.wait_for_row(&format!("heard round {round}"));
        former.press("\x1c");
        former.wait_until_left_with(0);
        former.assert_is_given_back();
        former = last;
    }
    former.press("\x1c");
    former.wait_until_left_with(0);
    let shown = world.lane(&["read", "a", "--all"]).ok().out();
    assert!(!shown.contains("lost"), "{shown}");
    assert_eq!(shown.matches("heard round").count(), 6, "{shown}");
}

/// A connection that says these bytes and no more, and never reads.
#[track_caller]
fn says(run: &Path, bytes: &[u8]) -> UnixStream {
    let mut socket = client::connect(run, LIMIT).unwrap();
    // It may be cut off before all is said.
    let _ = socket.write_all(bytes);
    socket
}

#[test]
fn who_says_garbage_or_half_of_something_is_felt_by_nobody() {
    let world = environment();
    let run = world.start("a", &["fake-agent", "ready", "echo"]);
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_for_row("ready");
    let holder = holder_of(&world, &run).unwrap();
    let mut attach = Vec::new();
    encode(1, &ToHolder::Attach { role: Role::Observer, size: SIZE, since: None }, &mut attach).unwrap();
    let mut read = Vec::new();
    encode(2, &ToHolder::Read { lines: Lines::All, ansi: true, since: None }, &mut read).unwrap();
    let longest = [&[1, 0, 0, 0][..], &(17_u32 << 20).to_le_bytes(), &[0; 8]].concat();
    let garbage: [Vec<u8>; 9] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        vec![0xff; 1 << 20],
        vec![0; 1 << 16],
        // A frame of another layout; one with a reserved byte; one that is longer than any.
        [&[9][..], &[0; 15]].concat(),
        [&[1, 0, 1, 0][..], &[0; 12]].concat(),
        [&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[0; 8]].concat(),
        // A message that is none, and one cut off.
        [&[1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], b"\x82\x01\x83\xff"].concat(),
        [&[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], b"\x82\x01"].concat(),
        [attach.as_slice(), &[0xee; 100]].concat(),
    ];
    let before = peak_memory(holder);
    for bytes in &garbage {
        let mut socket = says(&run, bytes);
        let mut answered = Vec::new();
        // An end, or a reset with what was not read.
        let _ = socket.set_read_timeout(Some(LIMIT));
        match socket.read_to_end(&mut answered) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bytes:x?}"),
        }
    }
    // Those who begin something and stay, and those who leave in the middle of it.
    let mut staying = Vec::new();
    for whole in [&attach, &read, &longest] {
        for n_said in [1, 8, 15, whole.len() - 1] {
            staying.push(says(&run, &whole[..n_said]));
            let leaving = says(&run, &whole[..n_said]);
            let _ = leaving.shutdown(Shutdown::Both);
        }
    }
    // One who asks again and again and reads no answer.
    let mut deaf = says(&run, &attach);
    deaf.set_nonblocking(true).unwrap();
    let questions = read.repeat(1000);
    let n_taken: usize =
        std::iter::repeat_with(|| deaf.write(&questions)).take(200).map_while(Result::ok).sum();
    assert!(n_taken < 16 << 20, "{n_taken} bytes of questions were taken from who reads no answer");
    window.press("still here\n");
    window.wait_for_row("heard still here");
    let _ = world.lane(&["send", "a", "and I", "--enter"]).ok();
    window.wait_for_row("heard and I");
    let peak = peak_memory(holder);
    assert!(peak < before + (2 * MORE_FOR_A_VIEWER), "{before} bytes before, {peak} now");
    window.press("\x1c");
    window.wait_until_left_with(0);
    assert_eq!(holder_of(&world, &run), Some(holder));
    drop((staying, deaf));
}
