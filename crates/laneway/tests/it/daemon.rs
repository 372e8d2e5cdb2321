//! The daemon: started on demand, once; killed, replaced, and found again.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use laneway_testkit::LIMIT;
use laneway_testkit::process::{self, ends_within};
use rustix::fs::inotify;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Pipe, events, fails, http, parent};

fn numbers_of(events: &[Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}

#[test]
fn what_runs_outlives_a_killed_daemon() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let (daemon, program) = (world.daemon_pid(), world.pid("a"));
    world.kill_the_daemon();
    assert_eq!(world.pid("a"), program);
    assert_ne!(world.daemon_pid(), daemon);
}

#[test]
fn twenty_first_commands_at_once_start_one_daemon() {
    let world = environment();
    let new = |n: usize| world.lane(&["new", &format!("x{n}"), "--", "fake-agent", "wait"]);
    let list = || world.lane(&["ls", "--json"]);
    thread::scope(|scope| {
        let commands: Vec<_> =
            (0..20).map(|n| scope.spawn(move || if n % 5 == 0 { new(n) } else { list() })).collect();
        for command in commands {
            let _ = command.join().unwrap().ok();
        }
    });
    assert_eq!(world.json(&["ls"])["lanes"].as_array().map(Vec::len), Some(4));
    let events = events(&world);
    assert_eq!(numbers_of(&events, "daemon.started"), 1, "{events:?}");
    let serving =
        process::belonging_to(&world.home).into_iter().filter(|(_, called)| called.contains("daemon serve"));
    assert_eq!(serving.count(), 1);
    assert!(!fs::read_dir(&world.home).unwrap().flatten().any(|entry| {
        // What a start reports through is gone.
        entry.file_name().to_string_lossy().ends_with(".fifo")
    }));
}

/// Asserts that a process descends from no holder of this world, and that it knows of no run.
#[track_caller]
fn belongs_to_no_run(daemon: u32, home: &Path) {
    let mut ancestor = daemon;
    while let Some(next) = parent(ancestor).filter(|pid| *pid > 1) {
        let called = fs::read_to_string(format!("/proc/{next}/cmdline")).unwrap_or_default();
        assert!(!called.contains(home.to_str().unwrap()), "the daemon {daemon} is below {next}: {called}");
        ancestor = next;
    }
    let environment = fs::read(format!("/proc/{daemon}/environ")).unwrap();
    let ours: Vec<String> = environment
        .split(|byte| *byte == 0)
        .map(|variable| String::from_utf8_lossy(variable).into_owned())
        .filter(|variable| variable.starts_with("LANEWAY_"))
        .collect();
    assert_eq!(ours, [format!("LANEWAY_HOME={}", home.display())]);
    let limits = fs::read_to_string(format!("/proc/{daemon}/limits")).unwrap();
    let locks = limits.lines().find(|line| line.starts_with("Max file locks")).unwrap();
    assert!(locks.contains("unlimited"), "the daemon carries the mark of a run: {locks}");
}

/// A script that waits at a pipe, then uses `lane`, says so, and goes on.
const LANE_LATER: &str =
    r#"read go < "$1"; lane ls --json > "$2" 2>&1; echo "$?" > "$3"; exec fake-agent wait"#;

#[test]
fn a_daemon_started_from_inside_a_worker_survives_the_stop_of_that_worker() {
    let world = environment();
    let (go, done) = (Pipe::new(&world, "go"), Pipe::new(&world, "done"));
    let said = world.root().join("said");
    world.start("a", &["sh", "-c", LANE_LATER, "sh", go.text(), said.to_str().unwrap(), done.text()]);
    let before = world.daemon_pid();
    world.kill_the_daemon();
    go.go();
    assert_eq!(done.wait(), "0", "{}", fs::read_to_string(&said).unwrap());
    let lanes: Value = serde_json::from_slice(&fs::read(&said).unwrap()).unwrap();
    assert_eq!(lanes["lanes"][0]["status"], "running");
    let daemon = world.daemon_pid();
    assert_ne!(daemon, before);
    belongs_to_no_run(daemon, &world.home);
    let program = process::open(world.pid("a")).unwrap();
    let _ = world.lane(&["stop", "a", "--grace", "300ms"]).ok();
    assert!(ends_within(&program, LIMIT));
    assert_eq!(world.daemon_pid(), daemon, "the daemon must outlive the run that it was started from");
    assert_eq!(world.worker("a")["status"], "stopped");
}

#[test]
fn a_daemon_started_from_inside_a_task_survives_the_end_of_that_task() {
    let world = &environment();
    let (go, ready) = (Pipe::new(world, "go"), Pipe::new(world, "ready"));
    let _ = world.lane(&["new", "a"]).ok();
    // What it reads first comes from its caller, who by then needs the daemon no more.
    let script = r#"read connected; echo ready > "$1"; read go < "$2"
        lane ls --json; echo listed > "$1"; read go < "$2""#;
    let exec = ["exec", "a", "--", "sh", "-c", script, "sh", ready.text(), go.text()];
    thread::scope(|scope| {
        let task = scope.spawn(|| world.lane_with_input(&exec, b"yes\n"));
        ready.wait();
        world.kill_the_daemon();
        go.go();
        ready.wait();
        let daemon = world.daemon_pid();
        belongs_to_no_run(daemon, &world.home);
        go.go();
        assert_eq!(task.join().unwrap().ok().json()["lanes"][0]["name"], "a");
        assert_eq!(world.daemon_pid(), daemon, "the daemon must outlive the task that it was started from");
    });
    assert_eq!(numbers_of(&events(world), "daemon.started"), 2);
}

#[test]
fn a_daemon_whose_client_was_killed_while_it_began_serves_the_next_one() {
    let world = environment();
    // Held up in the middle of its start.
    let (begun, go) = (Pipe::new(&world, "begun"), Pipe::new(&world, "go"));
    let folder = world.root().join("slow");
    fs::create_dir(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}}\nif mkdir {folder}/once 2> /dev/null; then echo > {begun}; read go < {go}; fi\nexec git \"$@\"\n",
        folder = folder.display(),
        begun = begun.text(),
        go = go.text(),
    );
    fs::write(folder.join("git"), script).unwrap();
    fs::set_permissions(folder.join("git"), PermissionsExt::from_mode(0o755)).unwrap();
    let mut first = world.lane_command(&["ls"]);
    let path =
        first.get_envs().find_map(|(name, value)| (name == "PATH").then_some(value?.to_owned())).unwrap();
    let path = format!("{}:{}", folder.display(), path.to_str().unwrap());
    let mut first = first.env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _ = begun.wait();
    first.kill().unwrap();
    first.wait().unwrap();
    let since = Instant::now();
    let second = thread::scope(|scope| {
        let watched = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watched, world.home.join("daemon.lock"), inotify::WatchFlags::OPEN).unwrap();
        let second = scope.spawn(|| world.lane(&["daemon", "start", "--json"]));
        // It has started one of its own, which waits for the first.
        assert!(process::readable_within(&watched, LIMIT));
        go.go();
        second.join().unwrap()
    });
    let _ = second.ok();
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    assert_eq!(numbers_of(&events(&world), "daemon.started"), 1);
}

#[test]
fn a_stopped_daemon_leaves_workers_running_and_the_next_one_finds_them() {
    let world = environment();
    for name in ["a", "b"] {
        world.start(name, &["fake-agent", "ready", "wait"]);
    }
    let pids = [world.pid("a"), world.pid("b")];
    let daemon = world.daemon_pid();
    let process = process::open(daemon).unwrap();
    let said = world.lane(&["daemon", "stop"]).ok().out();
    assert!(said.contains(&daemon.to_string()) && said.contains("2 programs go on"), "{said}");
    assert!(ends_within(&process, Duration::ZERO), "stop waits for the end");
    assert!(!world.home.join("socket").exists());
    assert!(pids.iter().all(|pid| process::is_alive(*pid)));
    let _ = fails(&world, &["daemon", "status"], 3, "daemon_not_running");
    let said = world.lane(&["daemon", "start"]).ok().out();
    assert!(said.contains("2 live runs"), "{said}");
    assert_eq!([world.pid("a"), world.pid("b")], pids);
    let events = events(&world);
    let [stopped] = events.iter().filter(|event| event["event"] == "daemon.stopped").collect::<Vec<_>>()[..]
    else {
        panic!("one stop, one event: {events:?}");
    };
    assert_eq!(stopped["data"]["pid"], daemon);
    assert_eq!(numbers_of(&events, "daemon.started"), 2);
    assert_eq!(numbers_of(&events, "worker.exited"), 0);
}

#[test]
fn a_signal_to_end_is_a_stop() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let program = world.pid("a");
    let daemons = [Signal::TERM, Signal::INT].map(|signal| {
        let _ = world.lane(&["daemon", "start"]).ok();
        let daemon = world.daemon_pid();
        let process = process::open(daemon).unwrap();
        process::signal(daemon, signal);
        assert!(ends_within(&process, LIMIT));
        daemon
    });
    assert_eq!(world.pid("a"), program);
    let events = events(&world);
    let stopped = events.iter().filter(|event| event["event"] == "daemon.stopped");
    assert_eq!(
        stopped.map(|event| event["data"]["pid"].as_u64().unwrap()).collect::<Vec<_>>(),
        daemons.map(u64::from)
    );
}

#[test]
fn a_restart_executes_the_daemon_anew_and_keeps_all_that_runs() {
    let world = environment();
    world.start("a", &["fake-agent", "echo"]);
    let (before, program) = (world.json(&["daemon", "status"]), world.pid("a"));
    let after = world.json(&["daemon", "restart"]);
    assert_eq!(after["pid"], before["pid"], "the same process");
    assert_ne!(after["started_at"], before["started_at"], "but another program image");
    assert_eq!(world.pid("a"), program);
    let folder = world.run_folder("a");
    let _ = world.lane(&["send", "a", "you", "--enter"]).ok();
    laneway_testkit::screen::wait_for_line(&folder, "heard you");
    let _ = world.lane(&["stop", "a"]).ok();
    assert_eq!(world.worker("a")["exit"]["kind"], "signal");
}

#[test]
fn whoever_asks_while_the_daemon_executes_itself_anew_is_answered() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let daemon = world.daemon_pid();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|n| {
                let world = &world;
                scope.spawn(move || {
                    for m in 0..6 {
                        let lanes = world.json(&["ls"]);
                        assert_eq!(lanes["lanes"][0]["workers"][0]["status"], "running");
                        if n == 0 {
                            let _ = world.lane(&["new", &format!("n{m}")]).ok();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..4 {
            let _ = world.lane(&["daemon", "restart"]).ok();
        }
        for one in asking {
            one.join().unwrap();
        }
    });
    assert_eq!(world.daemon_pid(), daemon);
    assert_eq!(world.json(&["ls"])["lanes"].as_array().map(Vec::len), Some(7));
    let lanes = world.json(&["ls"]);
    assert!(lanes["lanes"].as_array().unwrap().iter().all(|lane| lane["failure"].is_null()), "{lanes}");
}

#[test]
fn one_who_follows_the_events_goes_on_through_a_restart_without_a_gap() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let (told, numbers) = std::sync::mpsc::channel();
    let first = thread::scope(|scope| {
        let following = scope.spawn(|| {
            let told = told;
            world.wait_for_event(0, "the lane that is made last", move |event| {
                let _ = told.send(event["seq"].as_u64().unwrap());
                event["event"] == "lane.created" && event["data"]["name"] == "b"
            })
        });
        let first = numbers.recv_timeout(LIMIT).unwrap();
        let _ = world.lane(&["daemon", "restart"]).ok();
        let _ = world.lane(&["new", "b"]).ok();
        following.join().unwrap();
        first
    });
    let numbers: Vec<u64> = std::iter::once(first).chain(numbers.iter()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn without_a_daemon_its_status_is_not_found_and_its_stop_is_done() {
    let world = environment();
    let _ = fails(&world, &["daemon", "status"], 3, "daemon_not_running");
    let said = world.lane(&["daemon", "status"]).code(3);
    assert!(said.err().contains("no daemon runs") && said.err().contains("try: lane daemon start"), "{said}");
    assert_eq!(said.out(), "");
    assert_eq!(world.json(&["daemon", "stop"]), json!({"was_running": false, "pid": null}));
    assert_eq!(world.lane(&["daemon", "stop"]).ok().out(), "no daemon runs\n");
    let _ = fails(&world, &["daemon", "logs"], 3, "no_log");
    assert!(!world.home.exists(), "to look is not to make");
    assert!(world.lane(&["daemon", "start"]).ok().out().contains("is started"));
    assert!(world.lane(&["daemon", "start"]).ok().out().contains("runs already"));
    let pid = world.daemon_pid();
    assert_eq!(world.json(&["daemon", "stop"]), json!({"was_running": true, "pid": pid}));
    assert!(world.lane(&["daemon", "restart"]).ok().out().contains("is started"));
}

#[test]
fn a_command_right_after_a_kill_does_not_trip_over_the_dying_daemon() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let program = world.pid("a");
    let commands: [&[&str]; 4] = [&["daemon", "restart"], &["ls"], &["daemon", "start"], &["daemon", "stop"]];
    for command in commands.iter().cycle().take(12) {
        let _ = world.lane(&["daemon", "start"]).ok();
        process::signal(world.daemon_pid(), Signal::KILL);
        let _ = world.lane(command).ok();
    }
    assert_eq!(world.pid("a"), program);
}

#[test]
fn a_stale_socket_is_replaced() {
    let world = environment();
    fs::create_dir(&world.home).unwrap();
    let socket = world.home.join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let _ = fails(&world, &["daemon", "status"], 3, "daemon_not_running");
    let _ = world.lane(&["new", "a"]).ok();
    assert_eq!(world.json(&["ls"])["lanes"][0]["name"], "a");
    world.kill_the_daemon();
    assert!(socket.exists(), "a killed daemon leaves its socket");
    assert_eq!(world.json(&["ls"])["lanes"][0]["name"], "a");
}

#[test]
fn a_home_and_all_in_it_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let mut folders = vec![world.home.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", entry.path().display());
        }
    }
}

#[test]
fn the_log_is_shown_also_without_a_daemon() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let _ = world.lane(&["daemon", "stop"]).ok();
    let log = world.lane(&["daemon", "logs"]).ok();
    assert!(log.out().contains("serving") && log.out().contains("stopped"), "{log}");
    assert_eq!(log.stdout, fs::read(world.home.join("daemon.log")).unwrap());
    let logs = world.json(&["daemon", "logs"]);
    assert!(logs["lines"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("serving")));
    let _ = fails(&world, &["daemon", "status"], 3, "daemon_not_running");
}

#[test]
fn the_status_says_what_others_build_on() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let status = world.json(&["daemon", "status"]);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["socket"], world.home.join("socket").to_str().unwrap());
    assert_eq!(status["log"], world.home.join("daemon.log").to_str().unwrap());
    assert_eq!((status["n_lanes"].as_u64(), status["n_live_runs"].as_u64()), (Some(1), Some(1)));
    let program = fs::read_link(format!("/proc/{}/exe", status["pid"])).unwrap();
    assert!(program.ends_with("lane"), "{}", program.display());
}

#[test]
fn a_newer_client_is_told_to_renew_the_daemon_and_an_older_one_is_served() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let answer = http(&world, "GET /api/v1/daemon", &["laneway-version: 99.0.0\r\n"]);
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        (&body["error"]["code"], &body["error"]["kind"]),
        (&json!("daemon_older"), &json!("daemon_older"))
    );
    for version in ["laneway-version: 0.0.1\r\n", "laneway-version: nonsense\r\n", ""] {
        let answer = http(&world, "GET /api/v1/daemon", &[version]);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{version:?}: {answer}");
    }
    let answer = http(&world, "GET /nowhere", &[]);
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\"error\""), "{answer}");
}

/// Reads one request; gives its first line and its body.
#[track_caller]
fn read_request(stream: &mut impl Read) -> (String, String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    (head.lines().next().unwrap().to_owned(), String::from_utf8(body).unwrap())
}

#[test]
fn the_command_line_has_an_older_daemon_renewed_once_and_repeats_its_request() {
    let world = environment();
    fs::create_dir(&world.home).unwrap();
    // An older daemon: it refuses all but its own restart, and serves after it.
    let listener = UnixListener::bind(world.home.join("socket")).unwrap();
    let asked = thread::scope(|scope| {
        let older = scope.spawn(move || {
            let (mut asked, mut renewed) = (Vec::new(), false);
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                let (line, body) = read_request(&mut stream);
                let restart = line.contains("/restart");
                renewed |= restart;
                let (status, answer) = if renewed {
                    ("200 OK", json!({"lanes": [], "pid": 1}))
                } else {
                    let error = json!({"code": "daemon_older", "kind": "daemon_older", "message": "older"});
                    ("426 Upgrade Required", json!({ "error": error }))
                };
                let answer = answer.to_string();
                let length = answer.len();
                let head = "content-type: application/json\r\nconnection: close";
                write!(stream, "HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{answer}")
                    .unwrap();
                asked.push((line, body));
                if renewed && !restart {
                    return asked;
                }
            }
        });
        assert_eq!(world.json(&["ls"]), json!({"lanes": []}));
        older.join().unwrap()
    });
    fs::remove_file(world.home.join("socket")).unwrap();
    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.split(" http").next().unwrap()).collect();
    let list = "get /api/v1/lanes?closed=false";
    assert_eq!(lines, [list, "get /api/v1/daemon", "post /api/v1/daemon/restart", list]);
    let body: Value = serde_json::from_str(&asked[2].1).unwrap();
    assert!(body["program"].as_str().unwrap().ends_with("/lane"), "{body}");
}

#[test]
fn a_daemon_that_cannot_be_restarted_into_says_so_and_goes_on() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let daemon = world.daemon_pid();
    for program in ["/nowhere/lane", "lane"] {
        let body = json!({ "program": program }).to_string();
        let headers = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        let answer = http(&world, "POST /api/v1/daemon/restart", &[&headers, "\r\n", &body]);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no_such_program"), "{answer}");
    }
    assert_eq!(world.daemon_pid(), daemon);
}

#[track_caller]
fn restarted_with(world: &laneway_testkit::TestEnvironment, program: &Path) -> String {
    let body = json!({ "program": program }).to_string();
    let headers = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    http(world, "POST /api/v1/daemon/restart", &[&headers, "\r\n", &body])
}

#[test]
fn a_daemon_goes_on_where_the_program_that_it_is_to_become_cannot_be_executed() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let (daemon, program) = (world.daemon_pid(), world.pid("a"));
    let folder = world.root().join("other");
    fs::create_dir(&folder).unwrap();
    let other = folder.join("lane");
    // No program at all, and what a shell would take for one.
    for text in ["", "exit 0"] {
        fs::write(&other, text).unwrap();
        for mode in [0o600, 0o700] {
            fs::set_permissions(&other, fs::Permissions::from_mode(mode)).unwrap();
            let answer = restarted_with(&world, &other);
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no_such_program"), "{answer}");
        }
    }
    // One that looks well, and whose interpreter is not there.
    let mut lane = fs::read(env!("CARGO_BIN_EXE_lane")).unwrap();
    let interpreter = b"/ld-";
    let at = lane.windows(interpreter.len()).position(|bytes| bytes == interpreter).expect("it has one");
    lane[at + 1] = b'!';
    fs::write(&other, lane).unwrap();
    let since = world.json(&["daemon", "status"])["last_seq"].as_u64().unwrap();
    let answer = restarted_with(&world, &other);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    world.wait_for_event(since, "that it is back", |event| event["event"] == "daemon.started");
    assert_eq!((world.daemon_pid(), world.pid("a")), (daemon, program));
}

#[test]
fn only_a_person_names_another_program_for_the_daemon() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let daemon = world.daemon_pid();
    let other = world.root().join("lane");
    fs::copy(env!("CARGO_BIN_EXE_lane"), &other).unwrap();
    let asked = ["exec", "a", "--", other.to_str().unwrap(), "--json", "daemon", "restart"];
    let inside = world.lane(&asked).code(5);
    assert_eq!(inside.json()["error"]["code"], "consent", "{inside}");
    assert_eq!(numbers_of(&events(&world), "daemon.started"), 1);
    // With the program that it was started from it is asked from anywhere.
    world.lane(&["exec", "a", "--", "lane", "daemon", "restart"]).ok();
    assert_eq!((numbers_of(&events(&world), "daemon.started"), world.daemon_pid()), (2, daemon));
}

#[test]
fn a_second_daemon_waits_until_the_first_has_ended() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let first = world.daemon_pid();
    // As if the socket had been deleted by hand: the lock still says who decides.
    fs::remove_file(world.home.join("socket")).unwrap();
    let mut command = world.lane_command(&["ls"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let listing = process::open(child.id()).unwrap();
    // A second that did not wait would serve in a tenth of this.
    assert!(!ends_within(&listing, Duration::from_secs(1)), "it was served while the first daemon lives");
    assert!(process::is_alive(first));
    process::signal(first, Signal::TERM);
    assert!(ends_within(&listing, LIMIT) && child.wait().unwrap().success());
    assert_ne!(world.daemon_pid(), first);
    assert_eq!(numbers_of(&events(&world), "daemon.started"), 2);
}

/// The heaps of a process beside its first: each has a room of 64 MiB, of which the beginning can be written to.
#[cfg(target_env = "gnu")]
fn further_heaps(pid: u32) -> Vec<String> {
    const ROOM: u64 = 64 << 20;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let begins_a_room = |line: &&str| {
        let (begin, rest) = line.split_once('-').unwrap();
        let may_be_written = rest.split(' ').nth(1) == Some("rw-p");
        may_be_written && u64::from_str_radix(begin, 16).unwrap().is_multiple_of(ROOM)
    };
    maps.lines().filter(begins_a_room).map(str::to_owned).collect()
}

#[cfg(target_env = "gnu")]
#[test]
fn all_its_threads_use_one_heap() {
    let world = environment();
    world.start("a", &["fake-agent", "wait"]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..4 {
                    world.lane(&["ls", "--json"]).ok();
                    events(&world);
                }
            });
        }
    });
    assert_eq!(further_heaps(world.daemon_pid()), Vec::<String>::new());
}
