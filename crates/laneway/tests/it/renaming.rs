//! Other names for lanes and workers: what they mean from then on, and what keeps its name.

use std::fs;

use laneway_testkit::{TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Traces, events, fails, lane};

fn reason_of(world: &TestEnvironment, lane: &str) -> String {
    let listed = world.git(&["worktree", "list", "--porcelain"]);
    let of_lane = listed.split("\n\n").find(|entry| entry.contains(&format!(".lanes/{lane}\n")));
    let locked = of_lane.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("locked ")));
    locked.unwrap_or_else(|| panic!("no lock of {lane} in {listed}")).to_owned()
}

#[test]
fn a_lane_and_the_worker_called_like_it_get_a_new_name_and_all_else_keeps_its_own() {
    let world = environment();
    let folder = world.start("fix", &["fake-agent", "ready", "wait"]);
    screen::wait_for_line(&folder, "ready");
    let _ = world.lane(&["run", "fix", "--name", "tests", "--", "fake-agent", "wait"]).ok();
    let (before, pid, traces) = (lane(&world, "fix"), world.pid("fix"), Traces::of(&world));
    let id = before["id"].as_str().unwrap();
    assert_eq!(reason_of(&world, "fix"), format!("laneway lane fix {id}"));

    let renamed = world.json(&["rename", "fix", "login"]);
    assert_eq!(
        [&renamed["renamed"], &renamed["from"], &renamed["to"], &renamed["worker"]["name"]],
        [&json!("lane"), &json!("fix"), &json!("login"), &json!("login")]
    );
    let after = lane(&world, "login");
    for kept in ["id", "branch", "path", "base_ref", "base_commit", "created_at", "status"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_eq!(world.pid("login"), pid, "its program runs on");
    assert_eq!(world.worker("tests")["lane"], "login");
    let _ = world.lane(&["exec", "login", "--", "git", "log", "--oneline"]).ok();
    assert!(world.lane(&["read", "login"]).ok().out().contains("ready"));
    // The old name means nothing any more, in whatever form.
    for arguments in
        [&["show", "fix"][..], &["path", "fix"], &["read", "fix"], &["close", "fix"], &["show", "fix/tests"]]
    {
        let _ = fails(&world, arguments, 3, "not_found");
    }
    let _ = world.wait_for_event(0, "the new name", |event| event["event"] == "worker.renamed");
    let told: Vec<(Value, Value)> = events(&world)
        .into_iter()
        .filter(|event| event["event"].as_str().unwrap().ends_with(".renamed"))
        .map(|event| (event["event"].clone(), event["data"].clone()))
        .collect();
    let data = json!({"from": "fix", "to": "login"});
    assert_eq!(told, [(json!("lane.renamed"), data.clone()), (json!("worker.renamed"), data)]);
    // git's entry is labelled once the record is made; a stop waits for what is under way.
    let _ = world.lane(&["daemon", "stop"]).ok();
    assert_eq!(reason_of(&world, "fix"), format!("laneway lane login {id}"));
    let as_it_was = |traces: &Traces| traces.without(|path| path.starts_with(world.home.join("runs")));
    assert_eq!(as_it_was(&Traces::of(&world)), as_it_was(&traces).with_reason("fix", "login"));
    let said = world.lane(&["rename", "login", "login"]).ok();
    assert_eq!(said.out(), "lane login was called so before\n");
    let said = world.lane(&["rename", "login", "fix"]).ok();
    assert!(said.out().contains("branch lane/fix") && said.out().contains(".lanes/fix"), "{said}");
    let _ = world.lane(&["close", "fix"]).ok();
    assert!(!world.repository.join(".lanes/fix").exists());
}

#[test]
fn a_worker_gets_a_new_name_by_its_lane_its_own_name_or_its_id() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["run", "a", "--name", "tests", "--", "fake-agent", "wait"]).ok();
    let id = world.worker("tests")["id"].as_str().unwrap().to_owned();
    assert_eq!(
        world.lane(&["rename", "tests", "checks"]).ok().out(),
        "worker tests of lane a is now checks\n"
    );
    assert_eq!(world.worker("checks")["id"], id.as_str());
    let _ = fails(&world, &["show", "tests"], 3, "not_found");
    let renamed = world.json(&["rename", &id, "more"]);
    assert_eq!((&renamed["renamed"], &renamed["from"]), (&json!("worker"), &json!("checks")));
    // The lane's own name means the lane; with the lane before it, its worker.
    let _ = world.lane(&["rename", "a/a", "agent"]).ok();
    assert_eq!(lane(&world, "a")["name"], "a");
    assert_eq!(world.worker("agent")["lane"], "a");
    assert_eq!(world.json(&["rename", "a", "b"])["worker"], Value::Null, "none is called like it by now");
    // One that has ended has its name still, and can have another.
    let _ = world.lane(&["stop", "more", "--grace", "0"]).ok();
    let _ = world.lane(&["rename", "more", "over"]).ok();
    assert_eq!(world.worker("over")["status"], "stopped");
    let task = world.json(&["exec", "b", "--detach", "--", "fake-agent", "wait"]);
    let task = task["worker"]["id"].as_str().unwrap();
    let _ = fails(&world, &["rename", task, "named"], 5, "task_has_no_name");
}

#[test]
fn a_name_that_is_taken_is_refused_with_who_has_it() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["new", "b", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["run", "b", "--name", "w", "--", "fake-agent", "wait"]).ok();
    let refusals: [(&[&str], i32, &str, &str); 6] = [
        (&["rename", "a", "b"], 5, "lane_name_taken", "lane b"),
        (&["rename", "a", "w"], 5, "worker_name_taken", "lane b"),
        (&["rename", "a/a", "w"], 5, "worker_name_taken", "lane b"),
        (&["rename", "b/w", "a"], 5, "worker_name_taken", "lane a"),
        (&["rename", "a", "My Lane"], 2, "illegal_name", "not a name"),
        (&["rename", "nowhere", "c"], 3, "not_found", "nowhere"),
    ];
    let before = world.json(&["ls"]);
    for (arguments, exit, word, named) in refusals {
        let error = fails(&world, arguments, exit, word);
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
    }
    assert_eq!(world.json(&["ls"]), before, "a refusal changes nothing");
    // The place that a renamed lane has left its first name to is still its own.
    let _ = world.lane(&["rename", "a", "c"]).ok();
    let error = fails(&world, &["new", "a"], 5, "path_in_use");
    assert!(error["message"].as_str().unwrap().contains("lane c"), "{error}");
    // A name that is chosen for a lane goes round it.
    assert_eq!(world.json(&["new", "--branch", "A"])["lane"]["name"], "a-2");
    let _ = world.lane(&["close", "c"]).ok();
    let _ = fails(&world, &["rename", lane(&world, "c")["id"].as_str().unwrap(), "d"], 5, "lane_not_open");
    let _ = world.lane(&["new", "a"]).ok();
}

#[test]
fn a_label_that_a_crash_left_behind_is_put_right_by_the_next_daemon_and_only_ours() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["new", "b"]).ok();
    let _ = world.lane(&["rename", "a", "c"]).ok();
    let id = lane(&world, "c")["id"].as_str().unwrap().to_owned();
    let _ = world.lane(&["daemon", "stop"]).ok();
    let locked = |name: &str| world.repository.join(".git/worktrees").join(name).join("locked");
    fs::write(locked("a"), "laneway lane a\n").unwrap();
    fs::write(locked("b"), "somebody's own reason\n").unwrap();
    let _ = world.lane(&["ls"]).ok();
    let _ = world.wait_for_event(0, "the start", |event| event["event"] == "reconcile.completed");
    let _ = world.lane(&["daemon", "stop"]).ok();
    assert_eq!(fs::read_to_string(locked("a")).unwrap(), format!("laneway lane c {id}\n"));
    assert_eq!(fs::read_to_string(locked("b")).unwrap(), "somebody's own reason\n");
}
