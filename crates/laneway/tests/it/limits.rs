//! Limits of workers and tasks: held by the holder, recorded as what they are, and a failure for the policy.

use std::fs;

use laneway_testkit::process::{self, ends_within};
use laneway_testkit::{LIMIT, TestEnvironment};
use serde_json::{Value, json};

use crate::config::settings;
use crate::environment;
use crate::support::{fails, only_the_daemon_is_left};

/// Waits until the end of a run is told.
#[track_caller]
fn end_of(world: &TestEnvironment, worker: &str, number: u64) -> Value {
    let id = world.worker(worker)["id"].clone();
    world.wait_for_event(0, "an end", |event| {
        event["event"] == "worker.exited" && event["worker"] == id && event["data"]["number"] == number
    })
}

#[test]
fn a_run_that_takes_too_long_has_failed_at_its_limit_and_is_started_again_by_its_policy() {
    let world = environment();
    settings(&world, "[restart]\nbase = \"50ms\"\nmax = 1\n");
    let limited = ["--limit-wall", "400ms", "--restart", "on-failure"];
    let _ = world.lane(&[&["new", "a"], &limited[..], &["--", "sleep", "1000"]].concat()).ok();
    let ended = end_of(&world, "a", 1);
    let exit = json!({ "kind": "limit", "limit": "wall" });
    assert_eq!((&ended["data"]["exit"], &ended["data"]["asked"]), (&exit, &json!(false)));
    let ended = end_of(&world, "a", 2);
    assert_eq!(ended["data"]["exit"], exit, "the next run has the same limits");
    let worker = world.worker("a");
    assert_eq!((&worker["status"], &worker["limits"]), (&json!("failed"), &json!({ "wall_ms": 400 })));
    let explained = world.lane(&["explain", "a"]).ok().out();
    assert!(explained.contains("run 2 was ended: over its time limit"), "{explained}");
    let shown = world.lane(&["show", "a"]).ok().out();
    assert!(shown.contains("wall 400ms"), "{shown}");
    let told = world.lane(&["events"]).ok().out();
    assert!(told.contains("over its time limit"), "{told}");
    only_the_daemon_is_left(&world);
}

#[test]
fn a_limit_holds_while_no_daemon_is_there_and_is_told_when_one_is_back() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--limit-idle", "1s", "--", "sleep", "1000"]).ok();
    let program = process::open(world.pid("a")).unwrap();
    world.kill_the_daemon();
    assert!(ends_within(&program, LIMIT), "its holder holds the limit");
    let worker = world.worker("a");
    assert_eq!(
        (&worker["status"], &worker["exit"]),
        (&json!("failed"), &json!({ "kind": "limit", "limit": "idle" }))
    );
    only_the_daemon_is_left(&world);
}

#[test]
fn what_is_asked_goes_before_what_laneway_toml_says() {
    let world = environment();
    let text = "[programs.a]\ncommand = [\"sleep\", \"1000\"]\nlimit_wall = \"300ms\"\nlimit_idle = \"2h\"\n\
                restart = \"never\"\n";
    fs::write(world.repository.join("laneway.toml"), text).unwrap();
    let _ = world.lane(&["trust"]).ok();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["run", "a", "--limit-idle", "1h"]).ok();
    assert_eq!(world.worker("a")["limits"], json!({ "wall_ms": 300, "idle_ms": 3_600_000 }));
    assert_eq!(end_of(&world, "a", 1)["data"]["exit"]["limit"], "wall");
    only_the_daemon_is_left(&world);
}

#[test]
fn a_task_at_its_limit_has_timed_out_also_when_nobody_waits_for_it() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let said = world.lane(&["exec", "a", "--limit-wall", "300ms", "--", "sleep", "1000"]).code(124).err();
    assert!(said.contains("over its time limit"), "{said}");
    let detached = ["exec", "a", "--detach", "--limit-idle", "300ms", "--", "sleep", "1000"];
    let id = world.lane(&detached).ok().out().trim().to_owned();
    let ended = world.wait_for_exit(&id);
    assert_eq!(ended["data"]["exit"], json!({ "kind": "limit", "limit": "idle" }));
    fails(&world, &["run", "a", "--limit-wall", "0", "--", "true"], 2, "usage");
    fails(&world, &["run", "a", "--terminal", "tmux", "--limit-idle", "1h", "--", "true"], 2, "idle_in_tmux");
    only_the_daemon_is_left(&world);
}
