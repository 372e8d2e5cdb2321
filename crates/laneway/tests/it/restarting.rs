//! Supervision: workers that are started again, by their policy or because somebody asks for it.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use laneway_api::time::Time;
use laneway_core::time::Timestamp;
use laneway_testkit::process::{self, ends_within};
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use laneway_wire::record::{self, RecordFile};
use laneway_wire::{RECORD_NAME, SOCKET_NAME};
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::{Value, json};

use crate::config::settings;
use crate::crash::kill_during;
use crate::environment;
use crate::support::{Pipe, events, fails, only_the_daemon_is_left, parent, processes_beside_the_daemon};

/// Restarts that a test need not wait for.
const QUICK: &str = "[restart]\nbase = \"50ms\"\n";

/// A world whose restarts are quick.
#[track_caller]
fn quick() -> TestEnvironment {
    let world = environment();
    settings(&world, QUICK);
    world
}

/// Waits until run `number` of a worker is at work.
#[track_caller]
fn wait_for_run(world: &TestEnvironment, worker: &str, number: u64) -> Value {
    let id = world.worker(worker)["id"].clone();
    world.wait_for_event(0, &format!("run {number} of {worker}"), |event| {
        event["event"] == "run.started" && event["worker"] == id && event["data"]["number"] == number
    })
}

/// Waits until this was told of a worker.
#[track_caller]
fn wait_for(world: &TestEnvironment, worker: &str, name: &str) -> Value {
    let id = world.worker(worker)["id"].clone();
    world.wait_for_event(0, name, |event| event["event"] == name && event["worker"] == id)
}

/// Makes lane `name` with a worker that says what it was given, and ends with 3 when the pipe lets it.
#[track_caller]
fn failing_on_demand(world: &TestEnvironment, name: &str, policy: &str) -> Pipe {
    let go = Pipe::new(world, name);
    let script = r#"echo "$0 $FAVOURITE $(pwd) $(stty size)"; read go < "$1"; exit 3"#;
    let arguments = ["new", name, "--restart", policy, "--", "sh", "-c", script, "me  too", go.text()];
    let mut command = world.lane_command(&arguments);
    process::finish(command.env("FAVOURITE", "a b"), b"").ok();
    go
}

/// The line that such a worker says.
#[track_caller]
fn said(world: &TestEnvironment, name: &str) -> String {
    let folder = world.run_folder(name);
    let text = screen::wait_until(&folder, "what it was given", |text| {
        text.lines.first().is_some_and(|line| line.starts_with("me  too"))
    });
    // A path may be longer than a row.
    text.lines.join("")
}

#[test]
fn a_worker_that_fails_runs_again_as_it_was_started() {
    let world = quick();
    let go = failing_on_demand(&world, "a", "on-failure");
    let (first, pid) = (said(&world, "a"), world.pid("a"));
    assert!(first.starts_with("me  too a b ") && first.ends_with("/.lanes/a 24 80"), "{first}");
    let worker = world.worker("a");
    // Its settings do not matter any more, and neither does who asked.
    settings(&world, "nonsense");
    go.go();
    wait_for_run(&world, "a", 2);
    assert_eq!(said(&world, "a"), first);
    let again = world.worker("a");
    for same in ["id", "name", "argv", "cwd", "terminal", "restart"] {
        assert_eq!(again[same], worker[same], "{same}");
    }
    assert_eq!((&again["run_number"], &again["status"]), (&json!(2), &json!("running")));
    assert_ne!(again["pid"], json!(pid));
    assert!(world.lane(&["logs", "a", "--run", "1"]).ok().out().starts_with("me  too a b"));
    let _ = world.lane(&["stop", "a"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn who_stops_the_daemon_is_told_of_those_that_wait() {
    let world = environment();
    settings(&world, "[restart]\nbase = \"1h\"\nceiling = \"1h\"\n");
    let go = failing_on_demand(&world, "a", "on-failure");
    assert_eq!(world.json(&["daemon", "status"])["n_waiting"], 0);
    go.go();
    wait_for(&world, "a", "worker.restart.planned");
    let said = world.lane(&["daemon", "stop"]).ok().out();
    let told = "; 1 worker waits to be started again: that happens when a daemon is back\n";
    assert!(said.ends_with(told), "{said}");
}

#[test]
fn a_death_by_signal_and_a_lost_holder_are_failures_and_a_code_that_means_done_is_not() {
    let world = quick();
    let _ = world.lane(&["new", "a", "--restart", "on-failure", "--", "fake-agent", "wait"]).ok();
    process::kill(world.pid("a"));
    wait_for_run(&world, "a", 2);
    process::kill(parent(world.pid("a")).unwrap());
    wait_for_run(&world, "a", 3);
    let exits: Vec<Value> = events(&world)
        .into_iter()
        .filter(|event| event["event"] == "worker.exited")
        .map(|event| event["data"]["exit"].clone())
        .collect();
    assert_eq!(exits, [json!({"kind": "signal", "signal": 9}), json!({"kind": "lost"})]);
    for (name, policy, code, is_done) in [
        ("zero", "on-failure", "0", true),
        ("done", "on-failure", "42", true),
        ("never", "never", "3", false),
    ] {
        let go = Pipe::new(&world, name);
        let script = r#"read go < "$0"; exit "$1""#;
        let policy = ["--restart", policy, "--done-code", "42", "--"];
        let program = ["sh", "-c", script, go.text(), code];
        let _ = world.lane(&[&["new", name][..], &policy, &program].concat()).ok();
        go.go();
        wait_for(&world, name, "worker.exited");
        let worker = world.worker(name);
        let status = if is_done { "stopped" } else { "failed" };
        assert_eq!((&worker["status"], &worker["next_try_at"]), (&json!(status), &Value::Null), "{worker}");
    }
    let explained = world.json(&["explain", "done"]);
    assert_eq!(
        explained["why"],
        "run 1 exited 42: its work is done, and its policy (on-failure) leaves it at that"
    );
}

#[test]
fn a_worker_that_is_always_wanted_runs_again_after_its_work_is_done() {
    let world = quick();
    let go = Pipe::new(&world, "go");
    let program = ["sh", "-c", r#"read go < "$0""#, go.text()];
    let _ = world.lane(&[&["new", "a", "--restart", "always", "--"][..], &program].concat()).ok();
    for number in 2..=4 {
        go.go();
        wait_for_run(&world, "a", number);
    }
    let _ = world.lane(&["stop", "a"]).ok();
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["run_number"]), (&json!("stopped"), &json!(4)));
}

#[test]
fn a_storm_of_restarts_stops_at_its_limit_and_a_person_starts_it_anew() {
    let world = environment();
    settings(&world, "[restart]\nbase = \"10ms\"\nceiling = \"20ms\"\nmax = 3\n");
    // Waits for something first, so that it is not refused as one that dies at once.
    let go = Pipe::new(&world, "go");
    let flag = world.root().join("flag");
    let script = r#"[ -e "$1" ] || { read go < "$0"; touch "$1"; }; exit 7"#;
    let program = ["sh", "-c", script, go.text(), flag.to_str().unwrap()];
    let _ = world.lane(&[&["new", "a", "--restart", "on-failure", "--"][..], &program].concat()).ok();
    go.go();
    let given_up = wait_for(&world, "a", "worker.given_up");
    assert_eq!(given_up["data"]["why"], "failed 4 times within 10 min");
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["run_number"]), (&json!("failed"), &json!(4)));
    let shown = world.lane(&["ps"]).ok().out();
    assert!(shown.contains("failed (exited 7, failed 4 times within 10 min)"), "{shown}");
    let explained = world.lane(&["explain", "a"]).ok().out();
    assert!(
        explained.contains("only if somebody asks for it") && explained.contains("4 failures"),
        "{explained}"
    );
    // A daemon that comes back leaves it at that.
    world.kill_the_daemon();
    assert_eq!(world.worker("a")["status"], "failed");
    fs::remove_file(flag).unwrap();
    let begun = world.json(&["start", "a"]);
    assert_eq!((&begun["was_running"], &begun["worker"]["run_number"]), (&json!(false), &json!(5)));
    assert_eq!(world.json(&["explain", "a"])["n_failures"], 0, "nothing counts any more");
    assert_eq!(world.lane(&["start", "a"]).ok().out(), "a runs already\n");
}

#[test]
fn what_is_stopped_stays_so_wherever_it_was() {
    let world = environment();
    settings(&world, "[restart]\nbase = \"1h\"\nceiling = \"1h\"\n");
    // While it waits for its next run.
    let go = failing_on_demand(&world, "a", "always");
    go.go();
    wait_for(&world, "a", "worker.restart.planned");
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["exit"]["code"]), (&json!("backoff"), &json!(3)));
    assert!(worker["next_try_at"].as_str().is_some());
    assert!(world.lane(&["wait", "a", "--for", "state=backoff"]).ok().out().contains("a is backoff"));
    assert!(world.lane(&["ls"]).ok().out().contains("1 in backoff"));
    assert!(world.lane(&[]).ok().out().contains("attention"));
    assert_eq!(world.lane(&["stop", "--all"]).ok().out(), "a is stopped (exited 3)\n");
    assert_eq!(world.worker("a")["status"], "stopped");
    // While it runs, and ignores that it is to end: killed, and left alone all the same.
    let program = ["fake-agent", "ignore", "ready", "wait"];
    let _ = world.lane(&[&["new", "b", "--restart", "always", "--"][..], &program].concat()).ok();
    screen::wait_for_line(&world.run_folder("b"), "ready");
    let pid = world.pid("b");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| world.lane(&["stop", "b", "--grace", "10m"]));
        wait_for(&world, "b", "run.stopping");
        process::signal(pid, Signal::KILL);
        let _ = stopping.join().unwrap().ok();
    });
    assert_eq!(world.worker("b")["status"], "stopped");
    world.kill_the_daemon();
    for name in ["a", "b"] {
        let worker = world.worker(name);
        assert_eq!((&worker["status"], &worker["run_number"]), (&json!("stopped"), &json!(1)), "{worker}");
    }
    only_the_daemon_is_left(&world);
}

#[test]
fn a_start_and_a_restart_have_the_next_run_begin_now() {
    let world = environment();
    settings(&world, "[restart]\nbase = \"1h\"\nceiling = \"1h\"\n");
    let go = failing_on_demand(&world, "a", "on-failure");
    let first = said(&world, "a");
    go.go();
    wait_for(&world, "a", "worker.restart.planned");
    assert_eq!(world.lane(&["start", "a"]).ok().out(), "a is running (run 2)\n");
    assert_eq!(said(&world, "a"), first);
    assert_eq!(world.lane(&["restart", "a"]).ok().out(), "a is running (run 3)\n");
    assert_eq!(said(&world, "a"), first);
    let _ = world.lane(&["stop", "a"]).ok();
    assert_eq!(world.lane(&["restart", "a"]).ok().out(), "a is running (run 4)\n");
    let task = world.json(&["exec", "a", "--detach", "--", "true"])["worker"]["id"].clone();
    let _ = fails(&world, &["start", task.as_str().unwrap()], 5, "task_runs_once");
    let _ = fails(&world, &["start", "nobody"], 3, "not_found");
    let worker = world.worker("a")["id"].as_str().unwrap().to_owned();
    let _ = world.lane(&["close", "a"]).ok();
    let _ = fails(&world, &["start", &worker], 5, "lane_not_open");
    let _ = fails(&world, &["restart", &worker], 5, "lane_not_open");
}

#[test]
fn whoever_stops_starts_and_restarts_at_once_leaves_one_run_or_none() {
    let world = quick();
    let program = ["fake-agent", "ready", "wait"];
    let _ = world.lane(&[&["new", "a", "--restart", "always", "--"][..], &program].concat()).ok();
    for round in 0..4 {
        std::thread::scope(|scope| {
            for verb in ["stop", "start", "restart", "stop", "start"] {
                let world = &world;
                scope.spawn(move || {
                    let finished = world.lane(&[verb, "a"]);
                    // Another may have been quicker: then a start is told that it was stopped.
                    assert!([0, 1, 5].contains(&finished.code), "{finished}");
                });
            }
        });
        let last = if round % 2 == 0 { "start" } else { "stop" };
        let _ = world.lane(&[last, "a"]).ok();
        let worker = world.worker("a");
        let status = if last == "start" { "running" } else { "stopped" };
        assert_eq!(worker["status"], status, "{worker}");
        let expected = if last == "start" { 2 } else { 0 };
        let (deadline, mut left) = (std::time::Instant::now() + LIMIT, processes_beside_the_daemon(&world));
        // Holders of former runs are about to leave.
        while left.len() > expected && std::time::Instant::now() < deadline {
            let current = worker["pid"].as_u64().map(|pid| pid as u32);
            let is_current = |pid: u32| Some(pid) == current || current.and_then(parent) == Some(pid);
            let leaving = left.iter().map(|(pid, _)| *pid).find(|pid| !is_current(*pid));
            leaving.and_then(process::open).inspect(|process| assert!(ends_within(process, LIMIT)));
            left = processes_beside_the_daemon(&world);
        }
        assert_eq!(left.len(), expected, "a program and its holder: {left:?}");
    }
    let runs: Vec<u64> = events(&world)
        .iter()
        .filter(|event| event["event"] == "run.started")
        .map(|event| event["data"]["number"].as_u64().unwrap())
        .collect();
    assert!(runs.is_sorted(), "no run is started twice: {runs:?}");
}

#[test]
fn a_holder_that_does_not_answer_when_a_daemon_begins_is_heard_when_it_does() {
    let world = quick();
    let program = ["--", "sh", "-c", "fake-agent detach; exec sleep 1000"];
    let _ = world.lane(&[&["new", "a", "--restart", "on-failure"][..], &program].concat()).ok();
    let pid = world.pid("a");
    let holder = process::open(parent(pid).unwrap()).unwrap();
    let _ = world.lane(&["daemon", "stop"]).ok();
    pidfd_send_signal(&holder, Signal::STOP).unwrap();
    assert_eq!(world.worker("a")["status"], "running", "as far as anybody knows");
    pidfd_send_signal(process::open(pid).unwrap(), Signal::KILL).unwrap();
    pidfd_send_signal(&holder, Signal::CONT).unwrap();
    wait_for_run(&world, "a", 2);
    // One that ends instead is no less heard of, and what it leaves is ended.
    let detached = detached(&world, "a");
    let holder = process::open(parent(world.pid("a")).unwrap()).unwrap();
    let _ = world.lane(&["daemon", "stop"]).ok();
    pidfd_send_signal(&holder, Signal::STOP).unwrap();
    assert_eq!(world.worker("a")["run_number"], 2);
    pidfd_send_signal(&holder, Signal::KILL).unwrap();
    wait_for_run(&world, "a", 3);
    assert!(ends_within(&detached, Duration::ZERO), "it was ended before");
}

#[test]
fn what_an_earlier_run_has_left_under_a_holder_that_did_not_answer_ends_before_another_begins() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--", "sh", "-c", "fake-agent detach; exec sleep 1000"]).ok();
    let detached = detached(&world, "a");
    let pid = world.pid("a");
    let holder = process::open(parent(pid).unwrap()).unwrap();
    pidfd_send_signal(process::open(pid).unwrap(), Signal::TERM).unwrap();
    let _ = world.lane(&["wait", "a", "--for", "exit"]).ok();
    // The next daemon does not get to know of it: somebody has stopped the holder.
    let _ = world.lane(&["daemon", "stop"]).ok();
    pidfd_send_signal(&holder, Signal::STOP).unwrap();
    let _ = fails(&world, &["start", "a"], 1, "former_run_unreachable");
    assert!(!ends_within(&detached, Duration::ZERO));
    assert_eq!(world.worker("a")["pid"], Value::Null, "no second one beside it");
    // Run 2 has come to nothing, and run 3 asks for what run 1 has left.
    pidfd_send_signal(&holder, Signal::CONT).unwrap();
    let _ = world.lane(&["start", "a"]).ok();
    assert!(ends_within(&detached, Duration::ZERO), "it was ended before");
    assert_eq!(world.worker("a")["run_number"], 3);
}

/// The process that the program of a worker has left behind by `fake-agent detach`.
#[track_caller]
fn detached(world: &TestEnvironment, worker: &str) -> OwnedFd {
    let starts_so = |line: &String| line.starts_with("detached ");
    let text = screen::wait_until(&world.run_folder(worker), "who has detached itself", |text| {
        text.lines.iter().any(starts_so)
    });
    let line = text.lines.iter().find(|line| starts_so(line)).unwrap();
    process::open(line["detached ".len()..].trim().parse().unwrap()).unwrap()
}

#[test]
fn what_a_run_left_behind_ends_before_the_next_one_begins() {
    let world = quick();
    let go = Pipe::new(&world, "go");
    let script = r#"fake-agent detach; read go < "$0"; exit 4"#;
    let program = ["sh", "-c", script, go.text()];
    let _ = world.lane(&[&["new", "a", "--restart", "on-failure", "--"][..], &program].concat()).ok();
    let detached = detached(&world, "a");
    go.go();
    wait_for_run(&world, "a", 2);
    assert!(ends_within(&detached, Duration::ZERO), "it was ended before");
}

#[test]
fn a_program_that_is_gone_at_its_restart_is_a_failure_that_says_so() {
    let world = environment();
    settings(&world, "[restart]\nbase = \"10ms\"\nceiling = \"20ms\"\nmax = 2\n");
    let go = Pipe::new(&world, "go");
    let program = world.root().join("program");
    let script = format!("#!/bin/sh\nread go < '{}'\nexit 1\n", go.text());
    fs::write(&program, &script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let _ = world.lane(&["new", "a", "--restart", "on-failure", "--", program.to_str().unwrap()]).ok();
    let aside = world.root().join("aside");
    fs::rename(&program, &aside).unwrap();
    go.go();
    wait_for(&world, "a", "worker.given_up");
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["exit"]["kind"]), (&json!("failed"), &json!("not_started")));
    assert!(worker["exit"]["reason"].as_str().unwrap().contains("program"), "{worker}");
    let _ = fails(&world, &["start", "a"], 1, "program_missing");
    let _ = world.lane(&["stop", "a"]).ok();
    fs::rename(&aside, &program).unwrap();
    assert!(world.lane(&["start", "a"]).ok().out().starts_with("a is running (run "));
}

#[test]
fn a_daemon_that_is_killed_during_a_back_off_has_the_next_one_carry_it_out() {
    let world = environment();
    let patient = "[restart]\nbase = \"1h\"\nceiling = \"1h\"\n";
    settings(&world, patient);
    let go = failing_on_demand(&world, "a", "on-failure");
    let first = said(&world, "a");
    go.go();
    wait_for(&world, "a", "worker.restart.planned");
    world.kill_the_daemon();
    // Nothing is waited for longer than the ceiling, also what was planned before.
    settings(&world, "[restart]\nbase = \"50ms\"\nceiling = \"50ms\"\n");
    wait_for_run(&world, "a", 2);
    assert_eq!(said(&world, "a"), first);
    // A daemon that ends as it was asked to waits for no timer.
    settings(&world, patient);
    go.go();
    let id = world.worker("a")["id"].clone();
    world.wait_for_event(0, "the second plan", |event| {
        event["event"] == "worker.restart.planned" && event["worker"] == id && event["data"]["number"] == 3
    });
    let _ = world.lane(&["daemon", "stop"]).ok();
    let worker = world.worker("a");
    assert_eq!(worker["status"], "backoff", "{worker}");
    let _ = world.lane(&["close", "a"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn who_looks_on_when_a_run_ends_is_told_of_the_next_one() {
    let world = environment();
    settings(&world, "[restart]\nbase = \"1h\"\nceiling = \"1h\"\n");
    let go = failing_on_demand(&world, "a", "on-failure");
    said(&world, "a");
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_like(&world.run_folder("a"));
    go.go();
    window.wait_until_left_with(0);
    let shows = |lines: &[String], text: &str| lines.iter().any(|line| line.contains(text));
    let screen = window.all_lines();
    assert!(shows(&screen, "a has ended: exited 3") && shows(&screen, "run 2 begins at "), "{screen:?}");
    // Later, too, with what it showed last.
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_left_with(0);
    let lines = window.all_lines();
    for text in ["me  too", "a has ended: exited 3", "run 2 begins at ", "lane attach a"] {
        assert!(shows(&lines, text), "{text}: {lines:?}");
    }
    let followed = world.lane(&["read", "a", "--follow"]).ok();
    assert!(followed.out().starts_with("me  too") && followed.err().contains("exited 3"), "{followed}");
    assert_eq!(world.lane(&["wait", "a", "--for", "exit"]).ok().out(), "a has ended: exited 3\n");
    let _ = fails(&world, &["wait", "a", "--for", "output=never"], 1, "ended_before");
    let _ = world.lane(&["start", "a"]).ok();
    let described = world.lane(&["show", "a/a"]).ok().out();
    assert!(described.contains("running (run 2)") && described.contains("1: exited 3, 20"), "{described}");
    assert_eq!(world.lane(&["read", "a", "--run", "1"]).ok().out(), followed.out());
    // A run that is followed is over when its holder is killed, though another begins at once.
    settings(&world, QUICK);
    let mut following = world.lane_command(&["read", "a", "--follow"]);
    let following = following.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut following = following.spawn().unwrap();
    let mut first = [0; 6];
    following.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    process::kill(parent(world.pid("a")).unwrap());
    wait_for_run(&world, "a", 3);
    let output = following.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains("(a has ended: lost)"), "{complaints}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_daemon_killed_at_any_moment_of_a_restart_has_one_run_of_the_worker_alive_afterwards() {
    let world = quick();
    // As it is decided: the stop, the end, the plan, the new run, its start.
    for n_events in 0..=5 {
        let name = format!("k{n_events}");
        let program = ["fake-agent", "ready", "wait"];
        let _ = world.lane(&[&["new", &name, "--restart", "always", "--"][..], &program].concat()).ok();
        let first = process::open(world.pid(&name)).unwrap();
        kill_during(&world, n_events, &["restart", &name]);
        let _ = world.lane(&["wait", &name, "--for", "state=running"]).ok();
        let worker = world.worker(&name);
        let number = worker["run_number"].as_u64().unwrap();
        assert_eq!(ends_within(&first, Duration::ZERO), number > 1, "{worker}");
        assert_eq!(programs_of(&world, &name), [world.pid(&name)], "one, and that is known");
    }
    let _ = world.lane(&["stop", "--all"]).ok();
    only_the_daemon_is_left(&world);
}

/// The processes that run in a lane's worktree.
#[track_caller]
fn programs_of(world: &TestEnvironment, lane: &str) -> Vec<u32> {
    let folder = world.worktree(lane);
    let stands_there = |pid: u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder);
    let all = processes_beside_the_daemon(world).into_iter().map(|(pid, _)| pid);
    all.filter(|pid| stands_there(*pid)).collect()
}

/// Ends every process of this world at once, and leaves its files as a machine that was switched off would: sockets
/// that nobody listens at or none, and run records of another boot.
#[track_caller]
fn reboot(world: &TestEnvironment) {
    // One may be just ending, and programs go with their holders.
    let everything = process::belonging_to(world.root());
    let everything: Vec<OwnedFd> = everything.iter().filter_map(|(pid, _)| process::open(*pid)).collect();
    for signal in [Signal::STOP, Signal::KILL] {
        for process in &everything {
            let _ = pidfd_send_signal(process, signal);
        }
    }
    assert!(everything.iter().all(|process| process::ends_within(process, LIMIT)));
    let _ = fs::remove_file(world.home.join("socket"));
    for (n, run) in fs::read_dir(world.home.join("runs")).unwrap().enumerate() {
        let folder = run.unwrap().path();
        if n % 2 == 0 {
            let _ = fs::remove_file(folder.join(SOCKET_NAME));
        }
        of_another_boot(&folder);
    }
}

/// Has a run's record say that it was written in another boot, by a process whose number and start time some process
/// of this boot has too.
#[track_caller]
fn of_another_boot(folder: &Path) {
    let path = folder.join(RECORD_NAME);
    let mut record = record::read(&path).unwrap();
    "00000000-0000-4000-8000-000000000000".clone_into(&mut record.boot_id);
    record.holder = laneway_wire::process::Process::read(std::process::id()).unwrap().identity;
    fs::remove_file(&path).unwrap();
    RecordFile::create(&path, &record).unwrap();
}

#[test]
fn after_a_reboot_what_is_wanted_comes_back_as_it_was_and_nothing_else_does() {
    let world = environment();
    settings(&world, QUICK);
    let always = ["b", "c", "d", "e"];
    let _a = failing_on_demand(&world, "a", "on-failure");
    let before = said(&world, "a");
    for name in always {
        let _ = world.lane(&["new", name, "--restart", "always", "--", "fake-agent", "wait"]).ok();
    }
    for name in ["never", "stopped"] {
        let policy = if name == "never" { "never" } else { "always" };
        let _ = world.lane(&["new", name, "--restart", policy, "--", "fake-agent", "wait"]).ok();
    }
    let _ = world.lane(&["stop", "stopped"]).ok();
    let was = world.worker("a");
    fs::write(world.worktree("a").join("work"), "mine\n").unwrap();
    reboot(&world);
    for name in always.iter().chain(&["a"]) {
        wait_for_run(&world, name, 2);
    }
    assert_eq!(said(&world, "a"), before, "argv, folder, environment, size");
    let again = world.worker("a");
    for same in ["id", "name", "argv", "cwd", "terminal", "restart", "lane_id"] {
        assert_eq!(again[same], was[same], "{same}");
    }
    assert_eq!(fs::read_to_string(world.worktree("a").join("work")).unwrap(), "mine\n");
    let (never, stopped) = (world.worker("never"), world.worker("stopped"));
    assert_eq!((&never["status"], &never["exit"]["kind"]), (&json!("failed"), &json!("lost")));
    assert_eq!((&stopped["status"], &stopped["run_number"]), (&json!("stopped"), &json!(1)));
    let lost = events(&world).iter().filter(|event| event["data"]["exit"]["kind"] == "lost").count();
    assert_eq!(lost, 6, "each run that was alive is lost, once");
    let _ = world.lane(&["stop", "--all"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn restarts_after_a_reboot_are_planned_one_after_the_other() {
    let world = environment();
    // Between two of them there is a quarter of the base.
    settings(&world, "[restart]\nbase = \"1h\"\nceiling = \"9h\"\n");
    let _ = world.lane(&["new", "a"]).ok();
    for _ in 0..4 {
        let _ = world.lane(&["run", "a", "--restart", "always", "--", "fake-agent", "wait"]).ok();
    }
    reboot(&world);
    let workers = world.json(&["ps"]);
    let workers = workers["workers"].as_array().unwrap();
    assert!(workers.iter().all(|worker| worker["status"] == "backoff"), "{workers:?}");
    let moment = |worker: &Value| serde_json::from_value::<Time>(worker["next_try_at"].clone()).unwrap().0;
    let mut moments: Vec<Timestamp> = workers.iter().map(moment).collect();
    moments.sort();
    for pair in moments.windows(2) {
        assert!(pair[1].millis_since(pair[0]) >= 15 * 60 * 1000, "no burst: {moments:?}");
    }
    let _ = world.lane(&["stop", "--all"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_policy_is_recorded_as_it_was_asked_for() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--restart", "always", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["run", "a", "--name", "b", "--restart", "on-failure", "--done-code", "42"]).ok();
    let _ = world.lane(&["run", "a", "--name", "c", "--", "fake-agent", "wait"]).ok();
    for (name, restart, done_codes) in
        [("a", "always", json!([])), ("b", "on-failure", json!([42])), ("c", "never", json!([]))]
    {
        let worker = world.worker(name);
        assert_eq!((&worker["restart"], &worker["done_codes"]), (&json!(restart), &done_codes));
    }
    assert!(world.lane(&["show", "a/b"]).ok().out().contains("on-failure (done with 42)"));
    let _ = fails(&world, &["run", "a", "--restart", "sometimes"], 2, "usage");
    let _ = fails(&world, &["new", "d", "--restart", "always"], 2, "usage");
}
