//! Panes that were added beside a worker by a daemon that was killed before it recorded them.

use std::fs;
use std::time::{Duration, Instant};

use laneway_testkit::process::{is_alive, signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::tmux_panes::Tmux;

/// A worker `a`, beside which a pane with this program was added and not recorded, as a daemon leaves it that is killed
/// just then; that one's id. No daemon runs.
#[track_caller]
fn with_unrecorded(program: &str) -> (Tmux, String) {
    let tmux = Tmux::new();
    let (worker, first, _) = tmux.run_cat("a");
    tmux.world.kill_the_daemon();
    let tag = format!("{}/cor_01M7XBC9WQNXT1HP7RGPT3F092", worker["id"].as_str().unwrap());
    let plan = json!({ "socket": tmux.socket, "tag": tag });
    fs::write(tmux.world.home.join("splits/plan"), plan.to_string()).unwrap();
    let split = ["split-window", "-d", "-P", "-F", "#{pane_id}", "-t", &first, "--", "sh", "-c", program];
    let added = tmux.by_hand(&split);
    tmux.by_hand(&["set-option", "-p", "-t", &added, "@laneway", &tag]);
    tmux.by_hand(&["set-option", "-p", "-F", "-t", &added, "@laneway-made", "#{pane_pid}"]);
    (tmux, added)
}

fn plans(tmux: &Tmux) -> usize {
    fs::read_dir(tmux.world.home.join("splits")).unwrap().count()
}

fn pid_in(tmux: &Tmux, pane: &str) -> u32 {
    tmux.by_hand(&["display-message", "-p", "-t", pane, "#{pane_pid}"]).parse().unwrap()
}

fn further(tmux: &Tmux) -> Value {
    tmux.json(&["show", "a"])["worker"]["panes"].clone()
}

#[test]
fn a_pane_that_was_added_and_not_recorded_is_the_workers_after_the_next_start() {
    let (tmux, added) = with_unrecorded("exec cat");
    let pid = pid_in(&tmux, &added);
    tmux.lane(&["ls"]).ok();
    tmux.wait_for_event("worker.pane.opened", |seen| seen["data"]["pane_id"] == added.as_str());
    assert_eq!(further(&tmux)[0]["pane_id"], json!(added));
    assert!(is_alive(pid) && pid_in(&tmux, &added) == pid);
    tmux.lane(&["send", "a:1", "--enter", "hello"]).ok();
    // One that is added now says of itself what that one did.
    let other = tmux.json(&["split", "a", "--", "cat"])["pane"]["pane_id"].as_str().unwrap().to_owned();
    let said = tmux.by_hand(&["display-message", "-p", "-t", &other, "#{@laneway-made}"]);
    assert_eq!(said, pid_in(&tmux, &other).to_string());
    tmux.lane(&["stop", "a"]).ok();
    assert!(!is_alive(pid), "it goes with its worker");
}

#[test]
fn what_a_person_has_started_in_a_pane_that_was_not_recorded_is_left_alone() {
    let (tmux, added) = with_unrecorded("exec cat");
    tmux.by_hand(&["break-pane", "-d", "-s", &added, "-n", "mine"]);
    tmux.by_hand(&["respawn-pane", "-k", "-t", &added, "exec sleep 54321"]);
    let pid = pid_in(&tmux, &added);
    tmux.lane(&["ls"]).ok();
    tmux.lane(&["daemon", "stop"]).ok();
    assert_eq!(plans(&tmux), 0, "it was looked at");
    assert!(is_alive(pid) && pid_in(&tmux, &added) == pid);
    assert_eq!(further(&tmux), Value::Null);
    tmux.lane(&["stop", "a"]).ok();
    assert!(is_alive(pid) && pid_in(&tmux, &added) == pid);
}

#[test]
fn a_pane_that_was_not_recorded_and_whose_program_has_ended_is_removed() {
    let (tmux, added) = with_unrecorded("exit 3");
    tmux.lane(&["ls"]).ok();
    tmux.lane(&["daemon", "stop"]).ok();
    assert_eq!(plans(&tmux), 0, "it was looked at");
    let left = tmux.by_hand(&["list-panes", "-a", "-F", "#{pane_id}"]);
    assert!(!left.lines().any(|id| id == added), "{left}");
    tmux.lane(&["stop", "a"]).ok();
}

#[test]
fn a_server_that_hangs_does_not_keep_the_daemon_from_serving() {
    let (tmux, _) = with_unrecorded("exec cat");
    let folder = tmux.world.home.join("splits");
    let plan = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&plan).unwrap();
    // Each of them alone takes five seconds of a server that does not answer.
    for n in 0..7 {
        fs::write(folder.join(format!("other-{n}")), &text).unwrap();
    }
    let server: u32 = tmux.by_hand(&["display-message", "-p", "#{pid}"]).parse().unwrap();
    signal(server, Signal::STOP);
    let began = Instant::now();
    let listed = tmux.lane(&["ls"]);
    let took = began.elapsed();
    let refused = tmux.lane(&["split", "a", "--", "cat"]);
    let n_plans = plans(&tmux);
    signal(server, Signal::CONT);
    // It has taken what was waiting for it, before it is ended.
    tmux.by_hand(&["list-sessions"]);
    tmux.lane(&["stop", "a"]).ok();
    listed.ok();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_ne!(refused.code, 0, "{refused}");
    assert_eq!(n_plans, 8, "tmux was asked for no pane, and nothing is forgotten");
}
