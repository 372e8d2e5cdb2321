//! `lane exec`: a command in a lane, as if it ran here.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use laneway_testkit::process::{self, ends_within, open, readable_within};
use laneway_testkit::pty::Window;
use laneway_testkit::{LIMIT, TestEnvironment};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::process::Signal;

use crate::environment;
use crate::terminals::holder_of;

/// A world with a lane called `a`.
#[track_caller]
fn world_with_lane() -> TestEnvironment {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    world
}

/// Bytes in which no short pattern comes again.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Waits until so many tasks have ended for the daemon too, which hears of it when their callers do.
#[track_caller]
fn the_ends_are_recorded(world: &TestEnvironment, n_tasks: u32) {
    let n_ended = Cell::new(0);
    world.wait_for_event(0, "the end of a task", |event| {
        n_ended.set(n_ended.get() + u32::from(event["event"] == "worker.exited"));
        n_ended.get() == n_tasks
    });
}

/// Makes a named pipe in the lane, and opens it for reading.
#[track_caller]
fn fifo(world: &TestEnvironment, name: &str) -> OwnedFd {
    let path = world.worktree("a").join(name);
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// A `lane exec` under way.
struct Running {
    child: Child,
    process: OwnedFd,
}

impl Running {
    #[track_caller]
    fn start(world: &TestEnvironment, arguments: &[&str]) -> Self {
        let mut command = world.lane_command(&[&["exec", "a"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let process = open(child.id()).unwrap();
        Self { child, process }
    }

    /// Reads standard output up to the end of a line.
    #[track_caller]
    fn line(&mut self) -> String {
        let stdout = self.child.stdout.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        while byte != *b"\n" {
            assert!(readable_within(stdout, LIMIT), "no line came: {line:?}");
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the output has ended: {line:?}");
            line.extend(byte);
        }
        line.pop();
        String::from_utf8(line).unwrap()
    }

    fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&self.process, signal).unwrap();
    }

    /// Waits for its end; gives its exit code, 128 + n for a signal.
    #[track_caller]
    fn code(&mut self) -> i32 {
        assert!(ends_within(&self.process, LIMIT), "it does not end");
        let status = self.child.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        status.code().unwrap_or_else(|| 128 + signal.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn input_goes_in_and_both_outputs_come_out_apart() {
    let world = world_with_lane();
    let script = "read -r word; echo out $word; echo err $word >&2; cat; pwd";
    let done = world.lane_with_input(&["exec", "a", "--", "bash", "-c", script], b"first\nthe rest\n").ok();
    let folder = world.worktree("a");
    assert_eq!(done.out(), format!("out first\nthe rest\n{}\n", folder.display()));
    assert_eq!(done.err(), "err first\n");
    let done = world.lane(&["exec", "a", "--", "git", "rev-parse", "--abbrev-ref", "HEAD"]).ok();
    assert_eq!(done.out(), "lane/a\n");
}

#[test]
fn a_mebibyte_of_anything_goes_through_unchanged_both_ways() {
    let world = world_with_lane();
    let bytes = noise(1 << 20);
    let done = world.lane_with_input(&["exec", "a", "--", "cat"], &bytes).ok();
    assert!(done.stdout == bytes, "{} bytes came back, or others", done.stdout.len());
    let script = "tee /dev/stderr";
    let done = world.lane_with_input(&["exec", "a", "--", "bash", "-c", script], &bytes).ok();
    assert!(done.stdout == bytes && done.stderr == bytes, "they differ");
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let world = world_with_lane();
    for code in [0, 1, 5, 124, 255] {
        let number = code.to_string();
        assert_eq!(world.lane(&["exec", "a", "--", "fake-agent", "exit", &number]).code, code);
    }
    for signal in [Signal::KILL, Signal::USR1, Signal::TERM] {
        let number = signal.as_raw().to_string();
        let done = world.lane(&["exec", "a", "--", "fake-agent", "die", &number]);
        assert_eq!(done.code, 128 + signal.as_raw(), "{done}");
    }
}

#[test]
fn what_cannot_be_run_is_told_from_what_failed() {
    let world = world_with_lane();
    fs::write(world.worktree("a").join("plain"), "no program\n").unwrap();
    for (program, code) in [("no-such-program", 127), ("./nor/this", 127), ("./plain", 126), ("/", 126)] {
        let refused = world.lane(&["exec", "a", "--", program]).code(code);
        assert!(refused.err().contains(program), "{refused}");
    }
    let refused = world.lane(&["exec", "nowhere", "--", "true"]).code(125);
    assert!(refused.err().contains("nowhere"), "{refused}");
    // Of none of them anything is left.
    assert_eq!(world.json(&["ps"])["workers"], serde_json::json!([]));
}

#[test]
fn a_command_that_takes_too_long_is_stopped_with_all_it_started() {
    let world = world_with_lane();
    let begun = Instant::now();
    let command = ["exec", "a", "--timeout", "300ms", "--", "fake-agent", "detach", "wait"];
    let done = world.lane(&command).code(124);
    let detached = done.out().trim_end().strip_prefix("detached ").unwrap().parse().unwrap();
    assert!(!process::is_alive(detached), "{done}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(done.err().contains("timed out"), "{done}");
    the_ends_are_recorded(&world, 1);
    assert_eq!(world.json(&["ps"])["workers"], serde_json::json!([]));
    // In time, it makes no difference.
    world.lane(&["exec", "a", "--timeout", "1m", "--", "true"]).ok();
}

#[test]
fn signals_are_for_the_command() {
    let world = world_with_lane();
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM")] {
        let script =
            format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do read -r _; done");
        let mut running = Running::start(&world, &["--", "bash", "-c", &script]);
        assert_eq!(running.line(), "ready");
        running.signal(signal);
        assert_eq!(running.line(), format!("got {name}"));
        assert_eq!(running.code(), 7);
    }
    let mut running = Running::start(&world, &["--", "fake-agent", "ready", "wait"]);
    assert_eq!(running.line(), "ready");
    running.signal(Signal::INT);
    assert_eq!(running.code(), 128 + 2, "as the command ended");
}

#[test]
fn a_killed_caller_takes_its_command_with_it() {
    let world = world_with_lane();
    let mut running = Running::start(&world, &["--", "fake-agent", "detach", "ignore", "ready", "wait"]);
    let detached = running.line().strip_prefix("detached ").unwrap().parse().unwrap();
    assert_eq!(running.line(), "ready");
    let workers = world.json(&["ps"])["workers"].clone();
    let program = workers[0]["pid"].as_u64().unwrap() as u32;
    let (program, detached) = (open(program).unwrap(), open(detached).unwrap());
    running.signal(Signal::KILL);
    assert!(ends_within(&program, LIMIT) && ends_within(&detached, LIMIT));
    world.wait_for_exit(workers[0]["id"].as_str().unwrap());
}

#[test]
fn a_detached_command_goes_on_and_can_be_read_afterwards() {
    let world = world_with_lane();
    let script = "echo one; echo two >&2; cat; echo > go; echo three; exit 4";
    let go = fifo(&world, "go");
    let done = world.lane(&["exec", "a", "--detach", "--", "bash", "-c", script]).ok();
    let id = done.out().trim_end().to_owned();
    assert!(id.starts_with("wk_") && done.out().lines().count() == 1, "{done}");
    assert!(done.err().contains(&format!("lane read {id}")), "{done}");
    assert!(readable_within(&go, LIMIT), "it does not go on");
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"]["code"], 4);
    let read = world.lane(&["read", &id]).ok();
    assert_eq!((read.out().as_str(), read.err().as_str()), ("one\nthree\n", "two\n"));
    let made = world.json(&["exec", "a", "--detach", "--", "true"]);
    assert!(made["worker"]["id"].as_str().is_some_and(|id| id.starts_with("wk_")), "{made}");
    world.wait_for_exit(made["worker"]["id"].as_str().unwrap());
}

#[test]
fn what_a_command_leaves_running_keeps_nobody_waiting() {
    let world = world_with_lane();
    // The child has both outputs open.
    let script = "sleep 1000 & echo $!; echo over >&2; exit 3";
    let begun = Instant::now();
    let done = world.lane(&["exec", "a", "--", "bash", "-c", script]).code(3);
    assert!(begun.elapsed() < LIMIT / 2);
    assert_eq!(done.err(), "over\n");
    let left = open(done.out().trim_end().parse().unwrap()).expect("it goes on");
    world.lane(&["close", "a"]).ok();
    assert!(ends_within(&left, LIMIT), "it outlived its lane");
}

#[test]
fn json_holds_all_of_it_in_one_document() {
    let world = world_with_lane();
    let exec = |script: &str| {
        let command = ["exec", "a", "--json", "--", "bash", "-c", script];
        let done = world.lane(&command);
        assert_eq!(done.err(), "", "{done}");
        (done.code, done.json())
    };
    let (code, report) = exec("echo out; echo err >&2; exit 3");
    assert_eq!(code, 3);
    assert!(report["duration_ms"].as_u64().is_some_and(|duration| duration < 60_000), "{report}");
    let keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["duration_ms", "exit_code", "signal", "stderr", "stdout", "truncated"]);
    assert_eq!((&report["exit_code"], &report["signal"]), (&3.into(), &serde_json::Value::Null));
    assert_eq!((&report["stdout"], &report["stderr"]), (&"out\n".into(), &"err\n".into()));
    assert_eq!(report["truncated"], false);

    let (code, report) = exec("kill -9 $$");
    assert_eq!((code, &report["exit_code"], &report["signal"]), (137, &serde_json::Value::Null, &9.into()));

    let (_, report) = exec("printf 'no text: \\377\\n'");
    assert_eq!(report["stdout"], serde_json::json!({"base64": "bm8gdGV4dDog/wo="}));

    let (_, report) = exec("head -c 1048576 /dev/zero | tr '\\0' x");
    assert_eq!((report["stdout"].as_str().unwrap().len(), &report["truncated"]), (1 << 20, &false.into()));
    let (code, report) = exec("head -c 1048577 /dev/zero | tr '\\0' x; echo 'e' >&2; exit 6");
    assert_eq!((report["stdout"].as_str().unwrap().len(), &report["truncated"]), (1 << 20, &true.into()));
    assert_eq!((code, &report["stderr"]), (6, &"e\n".into()));

    let refused = world.lane(&["exec", "a", "--json", "--", "no-such-program"]).code(127);
    assert_eq!(refused.json()["error"]["kind"], "command_not_found");
}

#[test]
fn a_command_whose_reader_goes_away_ends() {
    let world = world_with_lane();
    let mut running = Running::start(&world, &["--", "fake-agent", "count"]);
    assert_eq!(running.line(), "tick 1");
    drop(running.child.stdout.take());
    assert_eq!(running.code(), 128 + Signal::PIPE.as_raw());
    let mut complaint = String::new();
    running.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(complaint, "");
    // And its task with it.
    the_ends_are_recorded(&world, 1);
    // The command may well go on when it is not the one that writes.
    let script = "exec >&-; cat > got; exit 9";
    let done = world.lane_with_input(&["exec", "a", "--", "bash", "-c", script], b"text").code(9);
    assert_eq!(fs::read(world.worktree("a").join("got")).unwrap(), b"text", "{done}");
}

#[test]
fn a_killed_holder_takes_the_command_with_it_and_that_is_said() {
    let world = world_with_lane();
    let mut running = Running::start(&world, &["--", "fake-agent", "ready", "wait"]);
    assert_eq!(running.line(), "ready");
    let worker = world.json(&["ps"])["workers"][0].clone();
    let run = world.home.join("runs").join(worker["run"].as_str().unwrap());
    let program = open(worker["pid"].as_u64().unwrap() as u32).unwrap();
    process::kill(holder_of(&world, &run).unwrap());
    assert_eq!(running.code(), 125);
    let mut complaint = String::new();
    running.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(complaint.contains("how the command ended is not known"), "{complaint}");
    assert!(ends_within(&program, LIMIT));
    let exited = world.wait_for_exit(worker["id"].as_str().unwrap());
    assert_eq!(exited["data"]["exit"]["kind"], "lost", "{exited}");
}

#[test]
fn a_killed_daemon_changes_nothing_for_a_command_under_way() {
    let world = world_with_lane();
    let mut running = Running::start(&world, &["--", "bash", "-c", "echo ready; cat; echo err >&2; exit 5"]);
    assert_eq!(running.line(), "ready");
    world.kill_the_daemon();
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(b"typed after it\n").unwrap();
    assert_eq!(running.line(), "typed after it");
    drop(stdin);
    assert_eq!(running.code(), 5);
    let mut complaint = String::new();
    running.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(complaint, "err\n");
    // The next daemon learns of the end.
    let exited = world.wait_for_event(0, "its end", |event| event["event"] == "worker.exited");
    assert_eq!(exited["data"]["exit"]["code"], 5);
}

#[test]
fn a_slow_reader_loses_nothing_and_holds_the_command_back() {
    let world = world_with_lane();
    let n_bytes = 20_000_000;
    let through = fifo(&world, "through");
    let script = format!("fake-agent flood {n_bytes}; echo > through");
    let mut running = Running::start(&world, &["--", "bash", "-c", &script]);
    let stdout = running.child.stdout.as_mut().unwrap();
    let mut output = vec![0; 1_000];
    assert!(readable_within(stdout, LIMIT));
    stdout.read_exact(&mut output).unwrap();
    // Some 1 MiB fits between the two. Unhindered it would be through in a tenth of this.
    assert!(!readable_within(&through, Duration::from_secs(1)), "it is not held back");
    stdout.read_to_end(&mut output).unwrap();
    assert_eq!(running.code(), 0);
    assert_eq!(output.len(), n_bytes);
    assert!(output.iter().enumerate().all(|(at, byte)| at % (251 * 64) % 251 == usize::from(*byte)));
}

#[test]
fn twenty_commands_run_in_one_lane_at_once() {
    let world = world_with_lane();
    std::thread::scope(|scope| {
        let world = &world;
        let running: Vec<_> = (0..20_u8)
            .map(|n| {
                scope.spawn(move || {
                    let script = format!("cat; echo err {n} >&2; exit {n}");
                    let input = noise(10_000 + usize::from(n));
                    let done = world.lane_with_input(&["exec", "a", "--", "bash", "-c", &script], &input);
                    assert!(done.stdout == input, "{n}");
                    assert_eq!((done.code, done.err()), (n.into(), format!("err {n}\n")));
                })
            })
            .collect();
        for one in running {
            one.join().unwrap();
        }
    });
    the_ends_are_recorded(&world, 20);
    assert_eq!(world.json(&["ps"])["workers"], serde_json::json!([]));
}

#[test]
fn with_tty_the_window_is_the_commands() {
    let world = world_with_lane();
    let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo yes; stty size; \
                  read -r line; echo read $line; read -r _; stty size; read -r _; exit 4";
    let mut window = world.window(&["exec", "a", "--tty", "--", "bash", "-c", script], 90, 20);
    window.wait_for_row("yes");
    window.wait_for_row("20 90");
    assert!(!window.alternate_screen(), "what it writes stays in the window");
    window.press("typed\r");
    window.wait_for_row("read typed");
    window.resize(70, 15);
    window.press("\r");
    window.wait_for_row("15 70");
    window.press("\r");
    window.wait_until_left_with(4);
    window.assert_is_given_back();
    window.close();

    let mut window = world.window(&["exec", "a", "--tty", "--", "fake-agent", "ready", "wait"], 80, 24);
    window.wait_for_row("ready");
    window.press("\x03");
    window.wait_until_left_with(130);
    window.assert_is_given_back();

    let refused = world.lane(&["exec", "a", "--tty", "--", "true"]).code(2);
    assert!(refused.err().contains("terminal"), "{refused}");
}

#[test]
fn the_last_line_of_a_command_on_a_tty_is_seen() {
    let world = world_with_lane();
    for _ in 0..10 {
        let command = ["exec", "a", "--tty", "--", "bash", "-c", "seq 1 3000; echo the end; exit 2"];
        let mut window = world.window(&command, 80, 24);
        window.wait_until_left_with(2);
        let lines = window.all_lines();
        let end = lines.len().checked_sub(102).unwrap();
        let numbers = (2_901..=3_000).map(|n| n.to_string());
        let expected: Vec<_> = numbers.chain(["the end".into(), "left with 2".into()]).collect();
        assert_eq!(lines[end..], expected);
    }
}

/// Opens a window on a command that spoils its terminal.
#[track_caller]
fn window_of_spoiler(world: &TestEnvironment) -> Window {
    let script = "stty raw -echo; printf '\\033[?1049h\\033[?25l\\033[?1003h\\033[?2004hspoiled'; read -r _";
    let mut window = world.window(&["exec", "a", "--tty", "--", "bash", "-c", script], 80, 24);
    window.wait_for("spoiled");
    window
}

#[test]
fn a_killed_client_of_a_command_on_a_tty_leaves_the_window_as_it_was() {
    let world = world_with_lane();
    let mut window = window_of_spoiler(&world);
    let (_, client) = window.guard_and_client();
    process::kill(client);
    window.wait_until_left_with(137);
    window.assert_is_given_back();
    // The command belonged to it.
    the_ends_are_recorded(&world, 1);
}

#[test]
fn a_killed_guard_of_a_command_on_a_tty_leaves_the_window_as_it_was() {
    let world = world_with_lane();
    let mut window = window_of_spoiler(&world);
    let (guard, client) = window.guard_and_client();
    let client = open(client).unwrap();
    process::kill(guard);
    window.wait_until("the window as it was", |window| !window.alternate_screen());
    assert!(ends_within(&client, LIMIT));
    window.wait_until("its cursor", Window::cursor_is_visible);
    window.assert_is_given_back();
    the_ends_are_recorded(&world, 1);
}

#[test]
fn closing_the_window_ends_a_command_on_its_tty() {
    let world = world_with_lane();
    let mut window =
        world.window(&["exec", "a", "--tty", "--", "fake-agent", "ignore", "ready", "wait"], 80, 24);
    window.wait_for_row("ready");
    let program = world.json(&["ps"])["workers"][0]["pid"].as_u64().unwrap() as u32;
    let program = open(program).unwrap();
    window.close();
    assert!(ends_within(&program, LIMIT));
}
