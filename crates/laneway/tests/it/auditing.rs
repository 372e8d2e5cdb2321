//! Who asked for what: everything that one request caused, and nothing that is nobody's to read.

use std::fs;

use serde_json::Value;

use crate::environment;
use crate::serving::Served;
use crate::support::{events, fails, json_lines};

#[test]
fn all_that_one_request_caused_is_told_by_its_correlation_with_who_asked() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    world.lane(&["exec", "a", "--", "lane", "share", "a"]).ok();
    let all = events(&world);
    let of = |name: &str| all.iter().find(|event| event["event"] == name).cloned().expect("it happened");
    let created = of("lane.created");
    let correlation = created["correlation"].as_str().unwrap();
    let told = json_lines(&world.lane(&["events", "--correlation", correlation, "--json"]).ok().stdout);
    let expected: Vec<&Value> = all.iter().filter(|event| event["correlation"] == correlation).collect();
    assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    for name in ["lane.created", "lane.state.changed", "worker.created", "run.started"] {
        assert!(told.iter().any(|event| event["event"] == name), "{name} is missing in {told:?}");
    }
    let uid = rustix::process::geteuid().as_raw();
    assert!(told.iter().all(|event| event["actor"] == serde_json::json!({"kind": "person", "uid": uid})));
    let words = world.lane(&["events", "--correlation", correlation]).ok().out();
    assert!(words.lines().count() == told.len() && words.contains(&format!("by uid {uid}")), "{words}");

    // What a program in a lane asked for is its worker's doing.
    let shared = of("lane.shared.changed");
    assert_eq!(shared["actor"]["kind"], "worker", "{shared}");
    let correlation = shared["correlation"].as_str().unwrap();
    let words = world.lane(&["events", "--correlation", correlation]).ok().out();
    assert!(words.contains(&format!("by {}", shared["actor"]["id"].as_str().unwrap())), "{words}");
    let later = (shared["seq"].as_u64().unwrap()).to_string();
    let none = world.lane(&["events", "--correlation", correlation, "--since", &later]).ok();
    assert_eq!(none.out(), "");
    assert!(none.err().contains("nothing was caused"), "{none}");
    let _ = world.lane(&["events", "--correlation", "nonsense"]).code(2);
}

#[test]
fn what_came_with_a_token_is_told_as_asked_by_that_token_whatever_run_it_says_it_is() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let run = world.worker("a")["run"].as_str().unwrap().to_owned();
    let served = Served::by(&world);
    let headers = format!(
        "content-type: application/json\r\nlaneway-cwd: {}\r\nlaneway-run: {run}\r\n",
        world.repository.display()
    );
    let (status, said) = served.request("POST /api/v1/lanes/a/share", &headers, b"{\"shared\":true}");
    assert_eq!(status, 200, "{said}");
    let all = events(&world);
    let shared = all.iter().find(|event| event["event"] == "lane.shared.changed").expect("it happened");
    assert_eq!(shared["actor"], serde_json::json!({"kind": "token", "name": "token"}));
    let correlation = shared["correlation"].as_str().unwrap();
    let words = world.lane(&["events", "--correlation", correlation]).ok().out();
    assert!(words.contains("by token token"), "{words}");
}

#[test]
fn secrets_that_are_known_by_their_shape_are_in_no_event_and_not_in_the_daemons_log() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let secret = format!("ghp_{}", "aB3".repeat(12));
    let program = format!("/nowhere/{secret}");
    let _ = fails(&world, &["run", "a", "--", &program], 1, "program_missing");
    let told = world.lane(&["events", "--since", "0", "--json"]).ok().out();
    assert!(told.contains("/nowhere/ghp_***"), "{told}");
    assert!(!told.contains(&secret), "{told}");
    let log = fs::read_to_string(world.home.join("daemon.log")).unwrap();
    assert!(!log.contains(&secret), "{log}");
}
