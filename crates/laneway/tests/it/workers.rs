//! Workers: started and named, told apart, stopped with all that they have started.

use std::fs;
use std::time::{Duration, Instant};

use laneway_testkit::process::{self, ends_within, finish};
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Pipe, events, fails, only_the_daemon_is_left, parent};

/// The process id that a program has written behind this word.
#[track_caller]
fn said_pid(world: &TestEnvironment, worker: &str, behind: &str) -> u32 {
    let pid_in = |line: &String| line.strip_prefix(behind).and_then(|rest| rest.trim().parse::<u32>().ok());
    let text = screen::wait_until(&world.run_folder(worker), behind, |text| {
        text.lines.iter().any(|l| pid_in(l).is_some())
    });
    text.lines.iter().find_map(pid_in).unwrap()
}

/// Forks a child that detaches itself, and ignores what it can.
const STUBBORN: [&str; 5] = ["fake-agent", "ignore", "detach", "ready", "wait"];

#[test]
fn a_program_that_ignores_signals_and_detaches_a_child_is_gone_after_its_grace() {
    let world = environment();
    world.start("a", &STUBBORN);
    let detached = said_pid(&world, "a", "detached ");
    let program = world.pid("a");
    let holder = parent(program).unwrap();
    let all = [program, detached].map(|pid| process::open(pid).unwrap());
    let holder = process::open(holder).unwrap();
    let began = Instant::now();
    let said = world.lane(&["stop", "a", "--grace", "0.3s"]).ok();
    assert!(began.elapsed() >= Duration::from_millis(300), "it has its grace");
    assert_eq!(said.out(), "a is stopped (ended by signal 9)\n");
    assert!(all.iter().all(|process| ends_within(process, Duration::ZERO)), "told when all of it is gone");
    assert!(ends_within(&holder, LIMIT), "it leaves when the end is recorded");
    let worker = world.worker("a");
    assert_eq!(worker["status"], "stopped");
    assert_eq!(worker["exit"], json!({"kind": "signal", "signal": 9}));
    assert_eq!((&worker["pid"], &worker["left_behind"]), (&Value::Null, &json!(false)));
    only_the_daemon_is_left(&world);
}

#[test]
fn a_program_that_obeys_needs_none_of_its_grace_and_a_second_stop_changes_nothing() {
    let world = environment();
    let script = "trap 'exit 7' TERM; echo ready; while :; do read line; done";
    let folder = world.start("a", &["bash", "-c", script]);
    screen::wait_for_line(&folder, "ready");
    // A grace beyond any limit of these tests: waiting for it would fail them.
    let grace = ["--grace", "10m"];
    // A shell is hung up: that is what ends an interactive one.
    let said = world.lane(&[&["stop", "a"], &grace[..]].concat()).ok();
    assert_eq!(said.out(), "a is stopped (ended by signal 1)\n");
    let before = events(&world).len();
    let again = world.lane(&["stop", "a"]).ok();
    assert_eq!(again.out(), "a had ended before (ended by signal 1)\n");
    let again = world.json(&["stop", "a"]);
    assert_eq!((&again["was_ended"], &again["exit"]["signal"]), (&json!(true), &json!(1)));
    assert_eq!(events(&world).len(), before, "nothing happened, so nothing is told");
    let folder = world.start("b", &["python3", "-c", "import signal,sys,time\nsignal.signal(15, lambda *_: sys.exit(7))\nprint('ready', flush=True)\nsignal.pause()"]);
    screen::wait_for_line(&folder, "ready");
    let stopped = world.json(&[&["stop", "b"], &grace[..]].concat());
    assert_eq!(stopped["exit"], json!({"kind": "code", "code": 7}));
    assert_eq!(stopped["worker"]["status"], "stopped", "ended as asked, whatever its code");
}

#[test]
fn a_stop_of_what_has_ended_by_itself_says_how_it_ended() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    world.start("a", &["sh", "-c", r#"read go < "$1"; exit 3"#, "sh", go.text()]);
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    go.go();
    let exit = world.wait_for_exit(&id);
    assert_eq!((&exit["data"]["exit"]["code"], &exit["data"]["asked"]), (&json!(3), &json!(false)));
    assert_eq!(world.lane(&["stop", "a"]).ok().out(), "a had ended before (exited 3)\n");
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["exit"]["code"]), (&json!("failed"), &json!(3)));
    assert!(world.lane(&["ls"]).ok().out().contains("1 failed"));
    let overview = world.lane(&[]).ok().out();
    assert!(overview.contains("attention") && overview.contains("exited 3"), "{overview}");
}

#[test]
fn two_who_stop_a_worker_at_once_are_both_told_that_it_has_ended() {
    let world = environment();
    let folder = world.start("a", &["fake-agent", "ignore", "ready", "wait"]);
    screen::wait_for_line(&folder, "ready");
    std::thread::scope(|scope| {
        let stops: Vec<_> =
            (0..4).map(|_| scope.spawn(|| world.lane(&["stop", "a", "--grace", "200ms"]))).collect();
        for stop in stops {
            let said = stop.join().unwrap().ok();
            assert!(said.out().contains("(ended by signal 9)"), "{said}");
        }
    });
    let ends = events(&world).iter().filter(|event| event["event"] == "worker.exited").count();
    assert_eq!(ends, 1);
}

#[test]
fn what_an_ended_program_left_behind_is_shown_and_ended_by_a_stop_or_a_close() {
    let world = environment();
    for name in ["a", "b"] {
        let go = Pipe::new(&world, name);
        // The detached one is no child of the shell's session, and outlives it.
        let script = r#"fake-agent detach; read go < "$1"; exit 4"#;
        world.start(name, &["sh", "-c", script, "sh", go.text()]);
        let detached = process::open(said_pid(&world, name, "detached ")).unwrap();
        let id = world.worker(name)["id"].as_str().unwrap().to_owned();
        go.go();
        world.wait_for_exit(&id);
        let worker = world.worker(name);
        assert_eq!((&worker["left_behind"], &worker["exit"]["code"]), (&json!(true), &json!(4)), "{worker}");
        assert!(!ends_within(&detached, Duration::ZERO));
        let daemon = world.daemon_pid();
        world.kill_the_daemon();
        assert_eq!(world.worker(name)["left_behind"], true, "a new daemon knows it too");
        assert_ne!(world.daemon_pid(), daemon);
        if name == "a" {
            let stopped = world.json(&["stop", "a", "--grace", "100ms"]);
            assert_eq!((&stopped["was_ended"], &stopped["exit"]["code"]), (&json!(false), &json!(4)));
            assert_eq!(world.worker("a")["left_behind"], false);
        } else {
            let _ = world.lane(&["close", "b", "--grace", "100ms"]).ok();
        }
        assert!(ends_within(&detached, Duration::ZERO), "told when it is gone");
    }
    only_the_daemon_is_left(&world);
}

#[test]
fn workers_of_one_lane_have_names_of_their_own_and_are_told_apart() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    assert_eq!(world.json(&["ls"])["lanes"][0]["status"], "ready");
    let run =
        |arguments: &[&str]| world.json(&[&["run", "a"], arguments, &["--", "fake-agent", "wait"]].concat());
    assert_eq!(run(&[])["worker"]["name"], "a");
    assert_eq!(run(&[])["worker"]["name"], "a-2");
    assert_eq!(run(&["--name", "tests"])["worker"]["name"], "tests");
    let _ = fails(&world, &["run", "a", "--name", "tests", "--", "sleep", "9"], 5, "worker_name_taken");
    let _ = fails(&world, &["run", "a", "--name", "No Name", "--", "sleep", "9"], 2, "illegal_name");
    let workers = world.json(&["ps"]);
    let names: Vec<&str> =
        workers["workers"].as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "a-2", "tests"]);
    let _ = world.lane(&["stop", "a/tests", "a-2"]).ok();
    let alive = |name: &str| world.worker(name)["status"] == "running";
    assert!(alive("a") && !alive("tests") && !alive("a-2"));
}

#[test]
fn a_worker_without_a_command_is_the_callers_shell() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let started = world.json(&["run", "a"]);
    assert_eq!(started["worker"]["argv"], json!(["/bin/bash"]));
    let _ =
        world.lane(&["send", "a", "echo $LANEWAY_LANE in ${PWD##*/}; tty -s && echo a-tty", "--enter"]).ok();
    let folder = world.run_folder("a");
    let lane = world.json(&["ls"])["lanes"][0]["id"].as_str().unwrap().to_owned();
    screen::wait_for_line(&folder, &format!("{lane} in a"));
    screen::wait_for_line(&folder, "a-tty");
}

#[test]
fn a_program_has_its_callers_environment_without_what_is_the_callers_own() {
    let world = environment();
    let out = world.root().join("environment");
    let mut new = world.lane_command(&[
        "new",
        "a",
        "--",
        "sh",
        "-c",
        r#"env > "$1"; exec fake-agent ready wait"#,
        "sh",
    ]);
    new.arg(&out).envs([
        ("MINE", "kept"),
        ("TMUX", "x"),
        ("GIT_DIR", "/nowhere"),
        ("LANEWAY_RUN", "rn_x"),
        ("TERM", "vt52"),
    ]);
    let _ = process::finish(&mut new, b"").ok();
    screen::wait_for_line(&world.run_folder("a"), "ready");
    let environment = fs::read_to_string(&out).unwrap();
    let value = |name: &str| environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    assert_eq!((value("MINE"), value("TMUX"), value("GIT_DIR")), (Some("kept"), None, None));
    assert_eq!((value("TERM"), value("COLORTERM")), (Some("xterm-256color"), Some("truecolor")));
    let worker = world.worker("a");
    assert_eq!(value("LANEWAY_RUN"), worker["run"].as_str());
    assert_eq!(value("LANEWAY_WORKER"), worker["id"].as_str());
    assert_eq!(value("LANEWAY_LANE"), worker["lane_id"].as_str());
    assert_eq!(value("LANEWAY_HOME"), world.home.to_str());
    assert_eq!(value("LANEWAY_SOCKET"), world.home.join("socket").to_str());
    assert_eq!(value("PWD"), worker["cwd"].as_str());
    // Values are secrets: they stand in one private file, and nowhere else.
    let told = format!(
        "{}{}",
        world.lane(&["events", "--since", "0", "--json"]).ok().out(),
        world.lane(&["ls", "--json"]).ok().out()
    );
    assert!(!told.contains("kept"), "{told}");
    assert!(!fs::read_to_string(world.home.join("daemon.log")).unwrap().contains("kept"));
}

#[test]
fn a_late_exit_and_a_new_worker_of_the_same_name_do_not_touch_each_other() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let first = world.worker("a")["id"].as_str().unwrap().to_owned();
    let _ = world.lane(&["close", "a"]).ok();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let second = world.worker("a");
    assert_ne!(second["id"], first.as_str());
    assert_eq!(second["status"], "running");
    assert_eq!(world.lane(&["stop", &first]).ok().out(), "a had ended before (ended by signal 15)\n");
    assert!(process::is_alive(world.pid("a")));
}

#[test]
fn a_program_that_dies_at_once_is_an_error_that_names_it() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let error = fails(
        &world,
        &["run", "a", "--", "fake-agent", "complain", "no config", "exit", "3"],
        1,
        "ended_at_once",
    );
    assert!(error["message"].as_str().unwrap().contains("fake-agent ended at once: exited 3"), "{error}");
    let read =
        error["hint"].as_str().unwrap().split(' ').find(|word| word.starts_with("wk_")).unwrap().to_owned();
    assert_eq!(world.lane(&["read", &read]).ok().out(), "no config\n");
    let error = fails(&world, &["run", "a", "--", "fake-agent", "die", "6"], 1, "ended_at_once");
    assert!(error["message"].as_str().unwrap().contains("ended by signal 6"), "{error}");
    // One that has done all it had to do is none.
    let _ = world.lane(&["run", "a", "--", "true"]).ok();
}

#[test]
fn all_that_runs_in_a_repository_is_stopped_at_once_and_nothing_elsewhere() {
    let world = environment();
    let other = world.root().join("other");
    world.git(&["clone", "--quiet", ".", other.to_str().unwrap()]);
    let elsewhere =
        finish(world.lane_command(&["new", "a", "--", "fake-agent", "wait"]).current_dir(&other), b"");
    let _ = elsewhere.ok();
    let _ = world.lane(&["new", "a", "--", "fake-agent", "ready", "wait"]).ok();
    world.start("b", &STUBBORN);
    let _ = world.lane(&["run", "b", "--name", "w", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["exec", "b", "--detach", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["run", "a", "--name", "over", "--", "true"]).ok();
    let _ = world.lane(&["stop", "over"]).ok();
    let said = world.lane(&["stop", "--all", "--grace", "0.2s"]).ok();
    assert_eq!(said.out().lines().count(), 4, "each is told: {said}");
    assert!(said.out().lines().all(|line| line.contains(" is stopped (ended by signal")), "{said}");
    let running = |folder: &std::path::Path| {
        let all = finish(world.lane_command(&["ps", "--json"]).current_dir(folder), b"").ok().json();
        let workers = all["workers"].as_array().unwrap().clone();
        workers.iter().filter(|worker| worker["status"] == "running").count()
    };
    assert_eq!((running(&world.repository), running(&other)), (0, 1));
    let said = world.lane(&["stop", "--all"]).ok();
    assert!(said.out().is_empty() && said.err().contains("nothing runs"), "{said}");
    assert_eq!(world.json(&["stop", "--all"]), json!({"results": []}));
    let _ = world.lane(&["run", "a", "--name", "again", "--", "fake-agent", "wait"]).ok();
    let results = world.json(&["stop", "--all"])["results"].clone();
    assert_eq!(results.as_array().map(Vec::len), Some(1), "also of one it is a list: {results}");
    assert_eq!(results[0]["answer"]["worker"]["name"], "again");
    let _ = fails(&world, &["stop", "--all", "a"], 2, "usage");
    let _ = fails(&world, &["stop"], 2, "usage");
    let _ = finish(world.lane_command(&["stop", "--all"]).current_dir(&other), b"").ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_worker_that_stops_all_is_stopped_too_and_last() {
    let world = environment();
    for name in ["a", "b", "c"] {
        world.start(name, &["fake-agent", "ready", "wait"]);
    }
    world.start("d", &["sh", "-c", "read -r _; lane stop --all"]);
    let _ = world.lane(&["send", "d", "", "--enter"]).ok();
    for name in ["a", "b", "c", "d"] {
        let id = world.worker(name)["id"].as_str().unwrap().to_owned();
        let _ = world.wait_for_exit(&id);
        assert_eq!(world.worker(name)["status"], "stopped");
    }
    only_the_daemon_is_left(&world);
}
