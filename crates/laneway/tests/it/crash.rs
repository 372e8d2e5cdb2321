//! Killed at any moment: the daemon while programs print, while they end, while lanes are made and closed; and
//! holders.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use laneway_testkit::process::{self, ends_within};
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use laneway_wire::client::Connection;
use laneway_wire::message::{FromHolder, Status, ToHolder};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{
    Pipe, all_lanes, connect, events, only_the_daemon_is_left, parent, processes_beside_the_daemon,
};

/// What a holder says of its run, without asking the daemon.
#[track_caller]
fn status(run_folder: &Path) -> Status {
    let (mut connection, _) = Connection::open(run_folder, "test", LIMIT).unwrap();
    match connection.ask(&ToHolder::Status) {
        Ok(FromHolder::Status(status)) => *status,
        other => panic!("the holder did not say how it stands: {other:?}"),
    }
}

#[test]
fn ten_programs_print_on_while_the_daemon_is_killed_and_nothing_of_it_is_lost() {
    let world = environment();
    let names: Vec<String> = (0..10).map(|n| format!("w{n}")).collect();
    let folders: Vec<PathBuf> =
        names.iter().map(|name| world.start(name, &["fake-agent", "count"])).collect();
    let before = world.json(&["ps"]);
    let offsets: Vec<u64> = folders.iter().map(|folder| status(folder).offsets.pty).collect();
    world.kill_the_daemon();
    let without_daemon: Vec<u64> = folders
        .iter()
        .zip(&offsets)
        .map(|(folder, before)| {
            screen::wait_until(folder, "more output", |text| text.offset > *before + 10_000).offset
        })
        .collect();
    let lanes = world.json(&["ls"]);
    for lane in lanes["lanes"].as_array().unwrap() {
        assert_eq!((&lane["status"], &lane["workers"][0]["status"]), (&json!("running"), &json!("running")));
    }
    let after = world.json(&["ps"]);
    assert_eq!(pids(&after), pids(&before));
    for ((name, folder), counted) in names.iter().zip(&folders).zip(without_daemon) {
        let text = world.json(&["read", name, "--lines", "5"]);
        let offset = text["offset"].as_u64().unwrap();
        assert!(offset >= counted, "{name}: {counted} bytes, later {offset}");
        // Every byte was counted: the lines that were written say how many there were.
        let last = text["lines"].as_array().unwrap().iter().filter_map(|line| tick(line.as_str()?)).max();
        let last = last.unwrap_or_else(|| panic!("no line of the program is shown: {text}"));
        assert!(n_bytes_up_to(last - 1) <= offset && offset <= n_bytes_up_to(last + 1), "{offset}: {text}");
        assert!(status(folder).offsets.pty >= offset);
    }
    let stop: Vec<&str> = ["stop"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let _ = world.lane(&stop).ok();
    for name in &names {
        assert_eq!(world.worker(name)["exit"], json!({"kind": "signal", "signal": 15}));
    }
    only_the_daemon_is_left(&world);
}

fn pids(workers: &Value) -> Vec<u64> {
    workers["workers"].as_array().unwrap().iter().map(|worker| worker["pid"].as_u64().unwrap()).collect()
}

fn tick(line: &str) -> Option<u64> {
    line.strip_prefix("tick ")?.parse().ok()
}

/// The length of `tick 1` to `tick N` as a terminal passes them on: each ends with CR and LF.
fn n_bytes_up_to(last: u64) -> u64 {
    let digits: u64 = (1..=20)
        .map(|digits| {
            let (from, to) = (10_u64.saturating_pow(digits - 1), 10_u64.saturating_pow(digits) - 1);
            if last < from { 0 } else { (last.min(to) - from + 1) * u64::from(digits) }
        })
        .sum();
    digits + last * "tick \r\n".len() as u64
}

#[test]
fn what_ended_while_there_was_no_daemon_is_recorded_as_it_ended() {
    let world = environment();
    let ends = [
        ("c0", "exit 0", json!({"kind": "code", "code": 0}), "stopped"),
        ("c1", "exit 1", json!({"kind": "code", "code": 1}), "failed"),
        ("c3", "exit 3", json!({"kind": "code", "code": 3}), "failed"),
        ("c255", "exit 255", json!({"kind": "code", "code": 255}), "failed"),
        ("s9", "die 9", json!({"kind": "signal", "signal": 9}), "failed"),
        ("s15", "die 15", json!({"kind": "signal", "signal": 15}), "failed"),
        ("s6", "die 6", json!({"kind": "signal", "signal": 6}), "failed"),
    ];
    let script = r#"read go < "$1"; shift; exec fake-agent say last-words "$@""#;
    let mut waiting = Vec::new();
    for (name, end, ..) in &ends {
        let go = Pipe::new(&world, name);
        let (action, value) = end.split_once(' ').unwrap();
        world.start(name, &["sh", "-c", script, "sh", go.text(), action, value]);
        let pid = world.pid(name);
        waiting.push((go, process::open(pid).unwrap(), process::open(parent(pid).unwrap()).unwrap()));
    }
    world.kill_the_daemon();
    for (go, program, _) in &waiting {
        go.go();
        assert!(ends_within(program, LIMIT));
    }
    let workers = world.json(&["ps"]);
    for (worker, (name, _, exit, status)) in workers["workers"].as_array().unwrap().iter().zip(&ends) {
        assert_eq!((&worker["name"], &worker["exit"]), (&json!(name), exit));
        assert_eq!(worker["status"], *status, "{worker}");
        assert!(worker["pid"].is_null() && !worker["ended_at"].is_null(), "{worker}");
        let shown = world.json(&["read", name]);
        assert_eq!(shown["lines"], json!(["last-words"]), "the last screen is there as well");
    }
    for (_, _, holder) in &waiting {
        assert!(ends_within(holder, LIMIT), "a holder whose run is recorded leaves");
    }
    let exits = events(&world).iter().filter(|event| event["event"] == "worker.exited").count();
    assert_eq!(exits, ends.len(), "each end is told once");
}

/// A worker with a process that has detached itself: the folder of its run, and all its processes.
#[track_caller]
fn detaching(world: &TestEnvironment, name: &str) -> (u32, Vec<OwnedFd>) {
    let folder = world.start(name, &["fake-agent", "detach", "wait"]);
    let starts_so = |line: &String| line.starts_with("detached ");
    let text =
        screen::wait_until(&folder, "who has detached itself", |text| text.lines.iter().any(starts_so));
    let line = text.lines.iter().find(|line| starts_so(line)).unwrap();
    let detached: u32 = line["detached ".len()..].trim().parse().unwrap();
    let program = world.pid(name);
    let holder = parent(program).unwrap();
    (holder, [holder, program, detached].map(|pid| process::open(pid).unwrap()).into())
}

#[test]
fn a_run_whose_holder_is_killed_is_lost_and_all_of_it_is_gone() {
    let world = environment();
    let (holder, all) = detaching(&world, "a");
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    process::kill(holder);
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"], json!({"kind": "lost"}));
    assert!(
        all.iter().all(|process| ends_within(process, std::time::Duration::ZERO)),
        "told when all is gone"
    );
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["exit"]["kind"]), (&json!("failed"), &json!("lost")));
    assert!(world.lane(&["ps"]).ok().out().contains("lost"));
    // What is lost is over: it can be stopped and closed as any other.
    let _ = world.lane(&["stop", "a"]).ok();
    let _ = world.lane(&["close", "a"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_holder_killed_while_there_is_no_daemon_is_found_out_at_the_next_start() {
    let world = environment();
    let (holder, all) = detaching(&world, "a");
    world.start("b", &["fake-agent", "ready", "wait"]);
    world.kill_the_daemon();
    process::kill(holder);
    assert_eq!(world.worker("a")["exit"], json!({"kind": "lost"}));
    assert!(all.iter().all(|process| ends_within(process, LIMIT)));
    assert_eq!(world.worker("b")["status"], "running", "others are left alone");
}

/// The events as the daemon sends them, on a connection of their own: nothing is started for it.
struct Feed(UnixStream);

impl Feed {
    #[track_caller]
    fn after(world: &TestEnvironment, seq: u64) -> Self {
        let mut stream = connect(world);
        write!(stream, "GET /api/v1/events?since={seq}&follow=true HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        // The head of the answer says that the daemon has subscribed.
        let mut feed = Self(stream);
        feed.read_past(b"\r\n\r\n", 1);
        feed
    }

    /// Reads until these bytes came so many times; false if the connection ended before.
    fn read_past(&mut self, bytes: &[u8], times: usize) -> bool {
        let (mut window, mut byte, mut left) = (Vec::new(), [0], times);
        while left > 0 {
            if !matches!(self.0.read(&mut byte), Ok(1)) {
                return false;
            }
            window.push(byte[0]);
            if window.ends_with(bytes) {
                (left, window) = (left - 1, Vec::new());
            }
        }
        true
    }
}

/// Kills the daemon as soon as it has told of this many events after `command` was given to `lane`.
#[track_caller]
pub(crate) fn kill_during(world: &TestEnvironment, n_events: usize, command: &[&str]) {
    let _ = world.lane(&["daemon", "start"]).ok();
    let daemon = world.daemon_pid();
    let mut feed = Feed::after(world, world.last_seq());
    thread::scope(|scope| {
        let commanding = scope.spawn(|| world.lane(command));
        feed.read_past(b"\"seq\":", n_events);
        process::kill(daemon);
        // How it fares is its own affair: it may have been done, or lost its daemon, or begun anew.
        let finished = commanding.join().unwrap();
        assert!([0, 1, 5, 6].contains(&finished.code), "{finished}");
    });
}

/// Asserts that each lane is there with all that belongs to it, or is closed with nothing of it left.
#[track_caller]
fn nothing_is_half_made(world: &TestEnvironment) {
    // What a new daemon ends in the background is ended when it has stopped.
    let _ = world.lane(&["ls"]).ok();
    let _ = world.lane(&["daemon", "stop"]).ok();
    let lanes = all_lanes(world);
    let worktrees = world.git(&["worktree", "list", "--porcelain"]);
    let (mut n_open, mut live) = (0, Vec::new());
    for lane in &lanes {
        let path = lane["path"].as_str().unwrap();
        let branch = format!("refs/heads/{}", lane["branch"].as_str().unwrap());
        let has_branch = !world.git(&["for-each-ref", &branch]).is_empty();
        let again =
            lanes.iter().filter(|other| other["name"] == lane["name"] && other["closed_at"].is_null());
        if lane["closed_at"].is_null() {
            n_open += 1;
            assert!(["running", "ready"].contains(&lane["status"].as_str().unwrap()), "{lane}");
            assert!(Path::new(path).join("README").exists() && has_branch, "{lane}");
            assert!(worktrees.contains(&format!("worktree {path}\n")), "{lane}\n{worktrees}");
            assert_eq!(world.git_in(Path::new(path), &["status", "--porcelain"]), "");
            live.extend(
                lane["workers"].as_array().unwrap().iter().filter_map(|worker| worker["pid"].as_u64()),
            );
        } else if again.count() == 0 {
            assert!(!Path::new(path).exists() && !has_branch, "{lane}");
            assert!(!worktrees.contains(&format!("worktree {path}\n")), "{lane}\n{worktrees}");
        }
    }
    assert_eq!(worktrees.matches("worktree ").count(), n_open + 1, "{worktrees}");
    let trash = world.repository.join(".lanes/.trash");
    let left: Vec<_> = fs::read_dir(trash).into_iter().flatten().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "the trash is emptied of {left:?}");
    for (pid, called) in processes_beside_the_daemon(world) {
        let is_known = |pid: u32| live.contains(&u64::from(pid));
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let holds_one = children.split_whitespace().any(|child| is_known(child.parse().unwrap()));
        if is_known(pid) || holds_one {
            continue;
        }
        if let Some(process) = process::open(pid) {
            assert!(ends_within(&process, LIMIT), "process {pid} belongs to no lane: {called}");
        }
    }
    let environments = fs::read_dir(world.home.join("launch")).unwrap().count();
    assert_eq!(environments, live.len(), "the environment of what is over is forgotten");
    let numbers: Vec<u64> = events(world).iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_daemon_killed_at_any_moment_of_making_a_lane_leaves_no_half_made_one() {
    let world = environment();
    let _ = world.lane(&["new", "bystander", "--", "fake-agent", "wait"]).ok();
    // As it is decided: created, provisioning, open, the worker, its run.
    for n_events in 0..=5 {
        for attempt in 0..3 {
            let name = format!("k{n_events}-{attempt}");
            kill_during(&world, n_events, &["new", &name, "--", "sleep", "600"]);
        }
        nothing_is_half_made(&world);
    }
    assert_eq!(world.worker("bystander")["run_number"], 1);
    assert_eq!(world.worker("bystander")["status"], "running");
}

#[test]
fn a_daemon_killed_at_any_moment_of_closing_a_lane_leaves_it_whole_or_closed() {
    let world = environment();
    // As it is decided: cleaning, the run's stop, its end, closed.
    for n_events in 0..=4 {
        for attempt in 0..3 {
            let name = format!("k{n_events}-{attempt}");
            let _ = world.lane(&["new", &name, "--", "sleep", "600"]).ok();
            kill_during(&world, n_events, &["close", &name]);
        }
        nothing_is_half_made(&world);
    }
}

#[test]
fn a_daemon_killed_while_it_stops_a_worker_has_it_stopped_by_the_next() {
    let world = environment();
    for n_events in 0..=2 {
        let name = format!("k{n_events}");
        let folder = world.start(&name, &["fake-agent", "ignore", "ready", "wait"]);
        screen::wait_for_line(&folder, "ready");
        let program = process::open(world.pid(&name)).unwrap();
        kill_during(&world, n_events, &["stop", &name, "--grace", "50ms"]);
        let _ = world.lane(&["stop", &name, "--grace", "50ms"]).ok();
        assert!(ends_within(&program, LIMIT));
        assert_eq!(world.worker(&name)["exit"], json!({"kind": "signal", "signal": 9}));
    }
    only_the_daemon_is_left(&world);
}
