//! Programs that talk to their supervisor: what they say is recorded once, and whether they answer is watched.

use std::fs;
use std::path::PathBuf;

use laneway_testkit::{TestEnvironment, process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::config::settings;
use crate::environment;
use crate::support::{events, fails, only_the_daemon_is_left};

/// A program as it is written for `child_process.fork()`.
const NODE: &str = "\
let deaf = false;
process.on('message', (m) => {
  if (m.type === 'init') process.send({ type: 'ready' });
  if (m.type === 'ping' && !deaf) process.send({ type: 'pong' });
  if (m.type === 'start') process.send({ type: 'round:start', mission: m.mission, worker: 'wk_another' });
  if (m.type === 'burst') for (let n = 0; n < m.n; n++) process.send({ type: 'tick', n });
  if (m.type === 'deafen') deaf = true;
  if (m.type === 'leave') { process.send({ type: 'leaving' }); process.disconnect(); }
  if (m.type === 'shutdown') process.exit(0);
});
process.on('disconnect', () => { setInterval(() => {}, 1000); });
";

/// A program in Python that says this over its channel.
fn python(says: &str) -> String {
    format!(
        "import json, os, sys, time\nchannel = open(int(os.environ['LANEWAY_CHANNEL_FD']), 'r+b', buffering=0)\n\
         def say(m): channel.write((json.dumps(m) + '\\n').encode())\n{says}\ntime.sleep(1000)\n"
    )
}

/// A world with times for programs with a channel.
#[track_caller]
fn world_with(ready: &str, heartbeat: &str) -> TestEnvironment {
    let world = environment();
    let text = format!(
        "[channel]\nready_timeout = \"{ready}\"\nheartbeat = \"{heartbeat}\"\n[restart]\nbase = \"50ms\"\n"
    );
    settings(&world, &text);
    world
}

/// Whether there is a Node.js to try it with.
pub(crate) fn has_node() -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("node").is_file()));
    if !found {
        let said = std::io::Write::write_all(&mut std::io::stderr(), b"left out: there is no node here\n");
        said.unwrap();
    }
    found
}

fn script(world: &TestEnvironment) -> PathBuf {
    let path = world.root().join("worker.js");
    fs::write(&path, NODE).unwrap();
    path
}

#[track_caller]
fn new_node(world: &TestEnvironment, name: &str, more: &[&str]) {
    let path = script(world);
    let path = path.to_str().unwrap();
    let arguments = [&["new", name, "--channel", "node-ipc"], more, &["--", "node", path]].concat();
    let _ = world.lane(&arguments).ok();
}

/// Waits until something was told of a worker's run.
#[track_caller]
fn wait_for(world: &TestEnvironment, worker: &str, name: &str, data: &Value) -> Value {
    let id = world.worker(worker)["id"].clone();
    world.wait_for_event(0, &format!("{name} {data}"), |event| {
        let fits = |(key, value): (&String, &Value)| event["data"][key] == *value;
        event["event"] == name && event["worker"] == id && data.as_object().unwrap().iter().all(fits)
    })
}

fn ticks(world: &TestEnvironment) -> Vec<Value> {
    let ticks = events(world).into_iter().filter(|event| event["data"]["name"] == "tick");
    ticks.map(|tick| tick["data"]["data"]["n"].clone()).collect()
}

#[test]
fn an_unchanged_program_of_node_is_told_what_to_do_at_each_start_and_when_to_end() {
    if !has_node() {
        return;
    }
    let world = world_with("20s", "20s");
    new_node(&world, "a", &["--restart", "on-failure", "--start-message", r#"{"mission": "m"}"#]);
    let ready = wait_for(&world, "a", "worker.ready", &json!({ "number": 1 }));
    assert_eq!(world.worker("a")["status"], "running");
    let told = wait_for(&world, "a", "worker.event", &json!({ "name": "round:start" }));
    assert_eq!(told["data"]["data"], json!({ "mission": "m", "worker": "wk_another" }));
    assert_eq!((&told["worker"], &told["run"]), (&world.worker("a")["id"], &ready["run"]));
    process::kill(world.pid("a"));
    wait_for(&world, "a", "worker.ready", &json!({ "number": 2 }));
    let run = world.worker("a")["run"].clone();
    world.wait_for_event(0, "the mission again", |event| {
        event["run"] == run && event["data"]["data"]["mission"] == "m"
    });
    let _ = world.lane(&["stop", "a", "--grace", "20s"]).ok();
    assert_eq!(world.worker("a")["exit"], json!({ "kind": "code", "code": 0 }));
    fails(&world, &["message", "a", "{}"], 5, "not_running");
    only_the_daemon_is_left(&world);
}

#[test]
fn a_daemon_that_is_killed_while_a_program_talks_loses_and_doubles_nothing() {
    if !has_node() {
        return;
    }
    let world = world_with("20s", "20s");
    new_node(&world, "a", &[]);
    wait_for(&world, "a", "worker.ready", &json!({}));
    for round in 0..3 {
        let _ = world.lane(&["message", "a", r#"{"type": "burst", "n": 2000}"#]).ok();
        if round == 1 {
            world.wait_for_event(0, "a tick", |event| event["data"]["name"] == "tick");
        }
        world.kill_the_daemon();
        let _ = world.lane(&["ps"]).ok();
    }
    let _ = world.lane(&["message", "a", r#"{"type": "burst", "n": 1}"#]).ok();
    let n_expected = 6_001;
    let n_seen = std::cell::Cell::new(0);
    world.wait_for_event(0, "all ticks", |event| {
        n_seen.set(n_seen.get() + usize::from(event["data"]["name"] == "tick"));
        n_seen.get() == n_expected
    });
    let expected: Vec<Value> = (0..3).flat_map(|_| 0..2000).chain([0]).map(Value::from).collect();
    assert!(ticks(&world) == expected, "each once, in order");
    let _ = world.lane(&["stop", "a"]).ok();
    assert_eq!(ticks(&world).len(), n_expected);
    only_the_daemon_is_left(&world);
}

#[test]
fn a_program_that_hangs_is_ended_and_started_again() {
    if !has_node() {
        return;
    }
    let world = world_with("20s", "400ms");
    new_node(&world, "a", &["--restart", "on-failure"]);
    wait_for(&world, "a", "worker.ready", &json!({ "number": 1 }));
    let pid = Pid::from_raw(i32::try_from(world.pid("a")).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let told = wait_for(&world, "a", "worker.unhealthy", &json!({ "number": 1 }));
    assert_eq!(told["data"]["why"], "it has not answered for 1200 ms");
    wait_for(&world, "a", "worker.ready", &json!({ "number": 2 }));
    let exited = wait_for(&world, "a", "worker.exited", &json!({ "number": 1 }));
    assert_eq!(
        (&exited["data"]["exit"]["kind"], &exited["data"]["asked"]),
        (&json!("unresponsive"), &json!(false))
    );
    // One that does answer is not.
    assert_eq!(world.worker("a")["status"], "running");
    let _ = world.lane(&["message", "a", r#"{"type": "leave"}"#]).ok();
    let left = wait_for(&world, "a", "worker.event", &json!({ "name": "leaving" }));
    assert_eq!(left["worker"], world.worker("a")["id"]);
    let _ = world.lane(&["stop", "a", "--grace", "200ms"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_program_that_closes_its_channel_is_told_of_and_is_not_called_unhealthy_for_its_silence() {
    if !has_node() {
        return;
    }
    let world = world_with("20s", "200ms");
    for name in ["a", "b"] {
        new_node(&world, name, &[]);
        wait_for(&world, name, "worker.ready", &json!({}));
    }
    let _ = world.lane(&["message", "a", r#"{"type": "leave"}"#]).ok();
    wait_for(&world, "a", "worker.channel.closed", &json!({ "number": 1 }));
    // When another one has been silent for too long since then, so has this one.
    let _ = world.lane(&["message", "b", r#"{"type": "deafen"}"#]).ok();
    wait_for(&world, "b", "worker.unhealthy", &json!({}));
    let a = world.worker("a");
    assert_eq!(a["status"], "running");
    let told = |event: &&Value| event["worker"] == a["id"] && event["event"] == "worker.unhealthy";
    assert_eq!(events(&world).iter().find(told), None);
    let _ = world.lane(&["stop", "a"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_program_that_is_not_ready_in_time_has_failed_and_one_without_a_channel_may_be_silent() {
    let world = world_with("300ms", "100ms");
    let _ = world.lane(&["new", "a", "--channel", "jsonl", "--", "sleep", "1000"]).ok();
    let _ = world.lane(&["run", "a", "--name", "b", "--", "sleep", "1000"]).ok();
    assert_eq!(world.worker("a")["status"], "starting");
    let exited = wait_for(&world, "a", "worker.exited", &json!({ "number": 1 }));
    let exit = json!({ "kind": "unresponsive", "reason": "it was not ready within 300 ms" });
    assert_eq!(exited["data"]["exit"], exit);
    assert_eq!(world.worker("a")["status"], "failed");
    assert_eq!(world.worker("b")["status"], "running");
    fails(&world, &["message", "b", "{}"], 5, "no_channel");
    fails(&world, &["run", "a", "--start-message", "{}", "--", "true"], 2, "message_without_channel");
    let _ = world.lane(&["stop", "b"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn what_is_no_message_harms_neither_the_program_nor_the_daemon() {
    let world = world_with("20s", "20s");
    let says = "channel.write(b'\\xff\\n\\n[1]\\n' + b'[' * 100000 + b'\\n')\n\
                channel.write(b'y' * 1100000)\nchannel.write(b'\\n')\nsay({'type': 'error', 'message': 'no'})\n\
                say({'type': 'ready'})";
    let _ = world.lane(&["new", "a", "--channel", "jsonl", "--", "python3", "-c", &python(says)]).ok();
    wait_for(&world, "a", "worker.ready", &json!({}));
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["channel"]["n_unreadable"]), (&json!("running"), &json!(4)));
    let told: Vec<Value> =
        events(&world).into_iter().filter(|event| event["event"] == "worker.error").collect();
    assert_eq!(told.len(), 2);
    assert!(told[0]["data"]["message"].as_str().unwrap().contains("1100000 bytes"), "{}", told[0]);
    assert_eq!(told[1]["data"], json!({ "message": "no" }));
    let _ = world.lane(&["stop", "a", "--grace", "200ms"]).ok();
    only_the_daemon_is_left(&world);
}
