//! `lane wait`: what holds already, what comes, what never comes, and who is killed meanwhile.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use laneway_testkit::process::{self, ends_within};
use laneway_testkit::{Finished, LIMIT, TestEnvironment, screen};
use serde_json::json;

use crate::environment;
use crate::support::{Pipe, fails, has_failed};
use crate::terminals::holder_of;

/// A `lane wait` that goes on beside the test.
struct Waiting(Child);

impl Waiting {
    #[track_caller]
    fn begin(world: &TestEnvironment, arguments: &[&str]) -> Self {
        let mut command = world.lane_command(&[&["wait", "--json"], arguments].concat());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self(child.expect("lane can be started"))
    }

    /// Waits until it has ended.
    #[track_caller]
    fn end(self) -> Finished {
        let process = process::open(self.0.id()).expect("a child that is not reaped has a pidfd");
        assert!(ends_within(&process, LIMIT), "it waits on");
        let output = self.0.wait_with_output().unwrap();
        let code = output.status.code().expect("it ended by itself");
        Finished { code, stdout: output.stdout, stderr: output.stderr, called: "lane wait".to_owned() }
    }
}

/// Says `ready`, and then what it is told to.
const ECHO: [&str; 3] = ["fake-agent", "ready", "echo"];

#[test]
fn what_is_there_already_is_told_at_once() {
    let world = environment();
    let run = world.start("a", &ECHO);
    screen::wait_for_line(&run, "ready");
    let id = world.worker("a")["id"].clone();
    let told = world.json(&["wait", "a", "--for", "output=^rea(dy)$"]);
    let offset = screen::read(&run, laneway_wire::message::Lines::All).offset;
    let expected = json!({"worker": id, "condition": "output=^rea(dy)$", "line": "ready", "offset": offset});
    assert_eq!(told, expected);
    assert_eq!(world.lane(&["wait", "a", "--for", "output=re"]).ok().out(), "ready\n");
    let told = world.json(&["wait", "a", "--for", "exit", "--for", "state=running"]);
    assert_eq!(told, json!({"worker": id, "condition": "state=running", "state": "running"}));
    assert_eq!(world.lane(&["wait", "a", "--for", "idle=1ms"]).ok().out(), "a is idle\n");
}

#[test]
fn what_comes_later_is_told_when_it_comes_and_only_since_the_offset() {
    let world = environment();
    let run = world.start("a", &ECHO);
    screen::wait_for_line(&run, "ready");
    let first = world.json(&["send", "a", "--enter", "one"])["offset"].as_u64().unwrap().to_string();
    world.lane(&["wait", "a", "--for", "output=heard one", "--since", &first]).ok();
    let second = world.json(&["send", "a", "--enter", "two"])["offset"].as_u64().unwrap().to_string();
    let told = world.json(&["wait", "a", "--for", "output=heard", "--since", &second]);
    assert_eq!(told["line"], "heard two", "and not what was said before");
    let waiting =
        Waiting::begin(&world, &["a", "--for", "output=heard", "--since", &told["offset"].to_string()]);
    world.lane(&["send", "a", "--enter", "three"]).ok();
    assert_eq!(waiting.end().ok().json()["line"], "heard three");
    assert_eq!(world.lane(&["wait", "a", "--for", "exit", "--since", "0"]).code, 2);
}

#[test]
fn what_never_comes_ends_with_the_time_out() {
    let world = environment();
    let run = world.start("a", &ECHO);
    screen::wait_for_line(&run, "ready");
    let began = Instant::now();
    let wanted = ["wait", "a", "--for", "output=nothing like it", "--for", "exit", "--timeout", "0.4s"];
    let error = fails(&world, &wanted, 124, "timed_out");
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert!(error["message"].as_str().unwrap().contains("output=nothing like it or exit"), "{error}");
}

#[test]
fn a_run_that_ends_first_is_an_error_at_once_unless_its_end_was_waited_for() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    let run = world
        .start("a", &["sh", "-c", r#"echo ready; read go < "$1"; echo last words; exit 3"#, "sh", go.text()]);
    screen::wait_for_line(&run, "ready");
    let hopeless = [
        &["--for", "output=never"][..],
        &["--for", "idle=10m"],
        &["--for", "idle=10m", "--for", "output=x{9}"],
    ];
    let hopeless: Vec<_> =
        hopeless.iter().map(|wanted| Waiting::begin(&world, &[&["a"], *wanted].concat())).collect();
    let told: Vec<_> = [
        (vec!["--for", "output=never", "--for", "exit"], "exit"),
        (vec!["--for", "exit", "--for", "output=last words"], "output=last words"),
        (vec!["--for", "output=never", "--for", "state=failed"], "state=failed"),
    ]
    .into_iter()
    .map(|(wanted, first)| (Waiting::begin(&world, &[vec!["a"], wanted].concat()), first))
    .collect();
    go.go();
    for waiting in hopeless {
        let error = has_failed(&waiting.end(), 1, "ended_before");
        assert!(error["message"].as_str().unwrap().contains("exited 3"), "{error}");
        assert_eq!(error["details"]["exit"], json!({"kind": "code", "code": 3}));
    }
    for (waiting, first) in told {
        assert_eq!(waiting.end().ok().json()["condition"], first);
    }
    // Afterwards it is the same, from what is kept.
    let error = fails(&world, &["wait", "a", "--for", "output=never", "--for", "idle"], 1, "ended_before");
    assert_eq!(error["details"]["exit"]["code"], 3);
    let told = world.json(&["wait", "a", "--for", "idle", "--for", "output=^last", "--for", "exit"]);
    assert_eq!(told["line"], "last words");
    let told_of_end = world.json(&["wait", "a", "--for", "state=failed", "--for", "exit"]);
    assert_eq!(told_of_end["condition"], "exit", "it ended before it was called failed");
    assert_eq!(world.lane(&["wait", "a", "--for", "exit"]).ok().out(), "a has ended: exited 3\n");
    assert_eq!(world.lane(&["wait", "a", "--for", "state=failed"]).ok().out(), "a is failed\n");
    let offset = told["offset"].to_string();
    fails(&world, &["wait", "a", "--for", "output=ready", "--since", &offset], 1, "ended_before");
}

#[test]
fn idle_is_when_nobody_writes_or_types() {
    let world = environment();
    let script =
        "(while sleep 0.05; do echo tick; done) & read -r _; kill $!; wait $!; echo quiet; read -r _";
    let run = world.start("a", &["sh", "-c", script]);
    screen::wait_for_line(&run, "tick");
    fails(&world, &["wait", "a", "--for", "idle=1s", "--timeout", "1.5s"], 124, "timed_out");
    let waiting = Waiting::begin(&world, &["a", "--for", "idle=1s"]);
    world.lane(&["send", "a", "--enter", ""]).ok();
    let told = waiting.end().ok().json();
    let quiet = screen::wait_for_line(&run, "quiet").offset;
    assert_eq!(told["offset"], quiet);
    let began = Instant::now();
    world.lane(&["send", "a", "x"]).ok();
    world.lane(&["wait", "a", "--for", "idle=0.7s"]).ok();
    assert!(began.elapsed() >= Duration::from_millis(700), "somebody typed");
}

#[test]
fn a_wait_outlives_the_daemon() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    let script = r#"echo ready; read go < "$1"; echo there; read go < "$1"; exit 4"#;
    let run = world.start("a", &["sh", "-c", script, "sh", go.text()]);
    screen::wait_for_line(&run, "ready");
    let wanted = ["output=there", "exit", "state=failed", "idle=10m"];
    // What is said on a terminal shows that they wait by now.
    let mut windows = wanted.map(|wanted| world.window(&["wait", "a", "--for", wanted], 80, 24));
    for window in &mut windows {
        window.wait_for(" of a … ");
    }
    world.kill_the_daemon();
    let [mut output, mut exit, mut state, mut silence] = windows;
    go.go();
    output.wait_for_row("there");
    output.wait_until_left_with(0);
    go.go();
    exit.wait_for_row("a has ended: exited 4");
    exit.wait_until_left_with(0);
    // Whoever needs a daemon has one again.
    state.wait_for_row("a is failed");
    state.wait_until_left_with(0);
    silence.wait_for("(exited 4) before idle=10m");
    silence.wait_until_left_with(1);
    for window in [output, exit, state, silence] {
        window.close();
    }
}

#[test]
fn a_daemon_that_is_stopped_does_not_wait_for_who_waits() {
    let world = environment();
    let run = world.start("a", &ECHO);
    screen::wait_for_line(&run, "ready");
    let mut window = world.window(&["wait", "a", "--for", "state=stopped"], 80, 24);
    window.wait_for(" of a … ");
    let began = Instant::now();
    world.lane(&["daemon", "stop"]).ok();
    assert!(began.elapsed() < Duration::from_secs(20));
    world.lane(&["stop", "a", "--grace", "0"]).ok();
    window.wait_for_row("a is stopped");
    window.wait_until_left_with(0);
    window.close();
}

#[test]
fn a_holder_that_is_killed_ends_every_wait() {
    let world = environment();
    let run = world.start("a", &ECHO);
    screen::wait_for_line(&run, "ready");
    let mut windows =
        ["output=never", "exit"].map(|wanted| world.window(&["wait", "a", "--for", wanted], 80, 24));
    for window in &mut windows {
        window.wait_for(" of a … ");
    }
    process::kill(holder_of(&world, &run).unwrap());
    let [mut output, mut exit] = windows;
    output.wait_for("a has ended (lost) before output=never");
    output.wait_until_left_with(1);
    exit.wait_for_row("a has ended: lost");
    exit.wait_until_left_with(0);
    output.close();
    exit.close();
}

#[test]
fn two_wait_for_the_same_and_both_are_told() {
    let world = environment();
    let run = world.start("a", &ECHO);
    screen::wait_for_line(&run, "ready");
    let both = [0, 1].map(|_| Waiting::begin(&world, &["a", "--for", "output=heard us"]));
    world.lane(&["send", "a", "--enter", "us"]).ok();
    let [one, other] = both.map(|waiting| waiting.end().ok().json());
    assert_eq!(one, other);
}

#[test]
fn a_full_screen_program_is_waited_for_by_what_it_shows() {
    let world = environment();
    world.start("a", &["vim", "-N", "-u", "NONE", "-n", "new.txt"]);
    world.lane(&["wait", "a", "--for", "output=\"new\\.txt\" \\[New\\]"]).ok();
    let offset = world.json(&["send", "a", "iwrapped text "])["offset"].to_string();
    let told = world.json(&["wait", "a", "--for", "output=^wrapped text$", "--since", &offset]);
    assert_eq!(told["line"], "wrapped text");
    let long = "0123456789".repeat(12);
    world.lane(&["send", "a", &long]).ok();
    world.lane(&["wait", "a", "--for", &format!("output=^wrapped text {long}$"), "--timeout", "30s"]).ok();
}

#[test]
fn a_task_on_pipes_is_waited_for_on_both_of_its_streams() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    world.lane(&["new", "a"]).ok();
    let script = r#"echo out; echo err >&2; read go < "$1"; printf 'no end'; read go < "$1"; exit 1"#;
    let task = world.lane(&["exec", "a", "--detach", "--", "sh", "-c", script, "sh", go.text()]);
    let id = task.ok().out().trim_end().to_owned();
    assert_eq!(world.json(&["wait", &id, "--for", "output=^out$"])["line"], "out");
    assert_eq!(world.json(&["wait", &id, "--for", "output=^err$"])["line"], "err");
    let waiting = Waiting::begin(&world, &[&id, "--for", "output=no end", "--since", "4"]);
    go.go();
    assert_eq!(waiting.end().ok().json()["line"], "no end");
    let waiting = Waiting::begin(&world, &[&id, "--for", "output=out", "--since", "4"]);
    go.go();
    has_failed(&waiting.end(), 1, "ended_before");
}

#[test]
fn what_cannot_be_waited_for_is_a_usage_error() {
    let world = environment();
    world.start("a", &["cat"]);
    for wrong in ["nothing", "output=(", "state=happy", "idle=soon", ""] {
        assert_eq!(world.lane(&["wait", "a", "--for", wrong]).code, 2, "{wrong}");
    }
    assert_eq!(world.lane(&["wait", "a"]).code, 2);
    fails(&world, &["wait", "nobody", "--for", "exit"], 3, "not_found");
}
