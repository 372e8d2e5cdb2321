//! Supervision at its edges: programs killed in every state, stopped and continued, and many that talk at once.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use laneway_testkit::process::{self, ends_within};
use laneway_testkit::{LIMIT, TestEnvironment};
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::{Value, json};

use crate::config::settings;
use crate::environment;
use crate::support::{events, only_the_daemon_is_left};
use crate::tmux_server::TmuxServer;

/// A program in Python with `say` and `hear` for its channel.
fn python(text: &str) -> String {
    format!(
        "import json, os, signal, subprocess, sys, time\n\
         channel = open(int(os.environ['LANEWAY_CHANNEL_FD']), 'r+b', buffering=0)\n\
         reader = open(os.dup(channel.fileno()), 'r')\n\
         def say(m): channel.write((json.dumps(m) + '\\n').encode())\n\
         def hear(): return json.loads(reader.readline())\n{text}\n"
    )
}

#[track_caller]
fn quick(channel: &str) -> TestEnvironment {
    let world = environment();
    settings(&world, &format!("[restart]\nbase = \"50ms\"\n[channel]\n{channel}\n"));
    world
}

/// Waits until this was told of run `number` of a worker.
#[track_caller]
fn told(world: &TestEnvironment, worker: &str, number: u64, name: &str) -> Value {
    let id = world.worker(worker)["id"].clone();
    world.wait_for_event(0, &format!("{name} of run {number} of {worker}"), |event| {
        event["event"] == name && event["worker"] == id && event["data"]["number"] == number
    })
}

/// The process that run `number` of a worker has told of as its grandchild.
#[track_caller]
fn grandchild(world: &TestEnvironment, worker: &str, run: &Value) -> OwnedFd {
    let id = world.worker(worker)["id"].clone();
    let event = world.wait_for_event(0, "a grandchild", |event| {
        event["worker"] == id && event["run"] == *run && event["data"]["name"] == "grandchild"
    });
    let pid = event["data"]["data"]["pid"].as_u64().unwrap();
    process::open(u32::try_from(pid).unwrap()).expect("it lives")
}

#[test]
fn a_program_that_is_killed_while_it_starts_runs_or_stops_takes_its_grandchildren_along() {
    let world = quick("ready_timeout = \"60s\"");
    // Ready from its second run on; deaf to every wish to end.
    let text = python(
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         say({'type': 'grandchild', 'pid': child.pid})\n\
         if os.path.exists('../again'): say({'type': 'ready'})\n\
         open('../again', 'w').close()\ntime.sleep(1000)",
    );
    let arguments =
        ["new", "a", "--channel", "jsonl", "--restart", "on-failure", "--", "python3", "-c", &text];
    let _ = world.lane(&arguments).ok();
    let starting = world.worker("a");
    assert_eq!(starting["status"], "starting");
    let first = grandchild(&world, "a", &starting["run"]);
    process::kill(world.pid("a"));
    let killed = json!({ "kind": "signal", "signal": 9 });
    assert_eq!(told(&world, "a", 1, "worker.exited")["data"]["exit"], killed);

    let ready = told(&world, "a", 2, "worker.ready");
    assert!(ends_within(&first, LIMIT), "what run 1 had started is gone before run 2");
    let second = grandchild(&world, "a", &ready["run"]);
    process::kill(world.pid("a"));
    assert_eq!(told(&world, "a", 2, "worker.exited")["data"]["exit"], killed);

    let ready = told(&world, "a", 3, "worker.ready");
    assert!(ends_within(&second, LIMIT));
    let third = grandchild(&world, "a", &ready["run"]);
    let pid = world.pid("a");
    let mut stop = world.lane_command(&["stop", "a", "--grace", "1s"]);
    let mut stop = stop.stdout(Stdio::null()).spawn().unwrap();
    told(&world, "a", 3, "run.stopping");
    process::kill(pid);
    assert!(stop.wait().unwrap().success());
    let ended = told(&world, "a", 3, "worker.exited");
    assert_eq!((&ended["data"]["exit"], &ended["data"]["asked"]), (&killed, &json!(true)));
    assert!(ends_within(&third, LIMIT));
    assert_eq!(world.worker("a")["status"], "stopped", "what was stopped is not started again");
    only_the_daemon_is_left(&world);
}

#[test]
fn a_program_that_is_continued_just_in_time_lives_and_one_that_is_not_is_ended() {
    let world = quick("ready_timeout = \"60s\"\nheartbeat = \"2s\"");
    let text = python(
        "say({'type': 'ready'})\nwhile True:\n  if hear().get('type') == 'ping': say({'type': 'pong'})",
    );
    for name in ["a", "b"] {
        let _ = world.lane(&["new", name, "--channel", "jsonl", "--", "python3", "-c", &text]).ok();
        told(&world, name, 1, "worker.ready");
    }
    process::signal(world.pid("a"), Signal::STOP);
    // More than one ping, and less than the six seconds that it may be silent.
    let _ = world.lane(&["exec", "a", "--limit-wall", "2500ms", "--", "sleep", "1000"]).code(124);
    process::signal(world.pid("a"), Signal::CONT);
    process::signal(world.pid("b"), Signal::STOP);
    told(&world, "b", 1, "worker.unhealthy");
    assert_eq!(told(&world, "b", 1, "worker.exited")["data"]["exit"]["kind"], "unresponsive");
    let a = world.worker("a");
    assert_eq!(a["status"], "running");
    let unhealthy = |event: &&Value| event["event"] == "worker.unhealthy" && event["worker"] == a["id"];
    assert_eq!(events(&world).iter().find(unhealthy), None);
    let _ = world.lane(&["stop", "a"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_daemon_killed_while_twenty_programs_talk_loses_and_doubles_no_message() {
    const N_WORKERS: usize = 20;
    const N_TICKS: u64 = 200;
    let world = quick("ready_timeout = \"60s\"");
    let text = python(
        "say({'type': 'ready'})\n\
         while hear().get('type') != 'go': pass\n\
         for n in range(200):\n  say({'type': 'tick', 'n': n})\n  time.sleep(0.01)\n\
         time.sleep(1000)",
    );
    let _ = world.lane(&["new", "a"]).ok();
    let names: Vec<String> = (0..N_WORKERS).map(|n| format!("w{n}")).collect();
    for name in &names {
        let ours = ["run", "a", "--name", name, "--channel", "jsonl", "--", "python3", "-c", &text];
        let _ = world.lane(&ours).ok();
    }
    for name in &names {
        told(&world, name, 1, "worker.ready");
    }
    for name in &names {
        let _ = world.lane(&["message", name, r#"{"type": "go"}"#]).ok();
    }
    // Each time while they talk, and with what they say while nobody is there.
    for n in [1, 60, 120] {
        world.wait_for_event(0, "a tick", |event| event["data"]["data"]["n"] == n);
        world.kill_the_daemon();
        let _ = world.lane(&["ps"]).ok();
    }
    let n_done = std::cell::Cell::new(0);
    world.wait_for_event(0, "the last tick of each", |event| {
        n_done.set(n_done.get() + usize::from(event["data"]["data"]["n"] == N_TICKS - 1));
        n_done.get() == N_WORKERS
    });
    let all = events(&world);
    for name in &names {
        let id = world.worker(name)["id"].clone();
        let said = all.iter().filter(|event| event["worker"] == id && event["data"]["name"] == "tick");
        let numbers: Vec<u64> = said.map(|tick| tick["data"]["data"]["n"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..N_TICKS), "{name} said each once and in order: {numbers:?}");
    }
    let _ = world.lane(&["stop", "--all"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn starts_stops_restarts_and_deaths_in_any_order_leave_one_run_or_none_and_each_ends_once() {
    let world = quick("ready_timeout = \"60s\"");
    settings(&world, "[restart]\nbase = \"10ms\"\nmax = 1000\n");
    let _ = world.lane(&["new", "a", "--restart", "on-failure", "--", "sleep", "1000"]).ok();
    // A fixed sequence that looks like any.
    let mut random: u32 = 7;
    for _ in 0..24 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let verb = ["start", "stop", "restart", "kill"][(random >> 16) as usize % 4];
        match (verb, world.worker("a")["pid"].as_u64()) {
            ("kill", pid) => {
                let program = pid.and_then(|pid| process::open(u32::try_from(pid).unwrap()));
                let _ = program.map(|program| pidfd_send_signal(program, Signal::KILL));
            }
            // One that died just now may be refused a start, or be there already.
            (verb, _) => drop(world.lane(&[verb, "a"])),
        }
    }
    let _ = world.lane(&["stop", "a"]).ok();
    let id = world.worker("a")["id"].clone();
    let of = |name: &str| -> Vec<u64> {
        let all = events(&world);
        let found = all.iter().filter(|event| event["event"] == name && event["worker"] == id);
        found.map(|event| event["data"]["number"].as_u64().unwrap()).collect()
    };
    let (started, exited) = (of("run.started"), of("worker.exited"));
    assert!(started.windows(2).all(|pair| pair[0] < pair[1]), "never an earlier run again: {started:?}");
    assert!(started.len() > 3, "{started:?}");
    let mut once = exited.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(exited, once, "each ends once, and before the next one");
    assert!(started.iter().all(|number| exited.contains(number)), "{started:?} {exited:?}");
    assert_eq!(world.worker("a")["status"], "stopped");
    only_the_daemon_is_left(&world);
}

#[test]
fn a_program_in_a_window_of_tmux_talks_as_elsewhere() {
    let tmux = TmuxServer::new();
    tmux.start();
    let world = &tmux.world;
    let _ = world.lane(&["new", "fix"]).ok();
    let socket = tmux.socket.to_str().unwrap();
    let text = python(
        "say({'type': 'ready'})\nwhile True:\n  heard = hear()\n  if heard['type'] == 'shutdown': break\n  say({'type': 'heard', 'it': heard})",
    );
    let ours = ["run", "fix", "--terminal", "tmux", "--tmux-socket", socket, "--channel", "jsonl"];
    let program = ["--name", "a", "--start-message", r#"{"mission": "m"}"#, "--", "python3", "-c", &text];
    let _ = world.lane(&[&ours[..], &program[..]].concat()).ok();
    told(world, "a", 1, "worker.ready");
    world.wait_for_event(0, "its mission", |event| event["data"]["data"]["it"]["mission"] == "m");
    world.kill_the_daemon();
    let _ = world.lane(&["message", "a", r#"{"type": "hello"}"#]).ok();
    world.wait_for_event(0, "an answer", |event| event["data"]["data"]["it"]["type"] == "hello");
    let _ = world.lane(&["stop", "a"]).ok();
    let ended = told(world, "a", 1, "worker.exited");
    assert_eq!(ended["data"]["exit"], json!({ "kind": "code", "code": 0 }), "by the message");
}
