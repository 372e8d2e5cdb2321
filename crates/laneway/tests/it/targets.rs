//! Targets: what a name means, the same for every command, and what it never means.

use laneway_testkit::process::is_alive;
use laneway_testkit::{TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Pipe, events, fails};

/// What a target means, as `lane resolve` says: method, lane, worker, pane, alive.
#[track_caller]
fn meant(world: &TestEnvironment, target: &str) -> [Value; 5] {
    let resolved = world.json(&["resolve", target]);
    ["method", "lane", "worker", "pane_index", "alive"].map(|key| resolved[key].clone())
}

#[test]
fn a_target_means_the_same_however_it_is_named() {
    let world = environment();
    world.start("fix", &["fake-agent", "ready", "wait"]);
    let _ = world.lane(&["run", "fix", "--name", "tests", "--", "fake-agent", "wait"]).ok();
    let worker = world.worker("tests");
    let (id, run) = (worker["id"].as_str().unwrap(), worker["run"].as_str().unwrap());
    for (target, method) in [
        (id, "id"),
        (&id[..id.len() - 1], "id"),
        (&id[id.len() - 8..], "id"),
        (run, "id"),
        ("fix/tests", "lane_worker"),
        ("tests", "worker"),
        ("tests:0", "worker_pane"),
        ("te", "prefix"),
    ] {
        let expected = [json!(method), json!("fix"), json!("tests"), json!(0), json!(true)];
        assert_eq!(meant(&world, target), expected, "{target}");
    }
    let resolved = world.json(&["resolve", "tests"]);
    assert_eq!((&resolved["terminal"], &resolved["worker_id"]), (&json!("holder"), &json!(id)));
    assert!(resolved["workspace"].as_str().unwrap().starts_with("ws_"));
    let lane = world.json(&["show", "fix/fix"])["worker"]["lane_id"].as_str().unwrap().to_owned();
    let null = Value::Null;
    assert_eq!(meant(&world, &lane), [json!("id"), json!("fix"), null.clone(), null, json!(true)]);
    let said = world.lane(&["resolve", "tests"]).ok().out();
    assert!(said.starts_with("worker tests\n") && said.contains("found by  worker"), "{said}");

    let _ = world.lane(&["stop", "tests"]).ok();
    assert_eq!(meant(&world, "tests")[4], json!(false), "it is found, and dead");
    let said = world.lane(&["resolve", "tests"]).ok().out();
    assert!(said.contains("alive     no") && said.contains(run), "{said}");
    let _ = world.lane(&["close", "fix"]).ok();
    assert_eq!(meant(&world, "tests")[..3], [json!("former_worker"), json!("fix"), json!("tests")]);
    let gone = fails(&world, &["stop", "tests"], 3, "worker_closed");
    assert!(gone["message"].as_str().unwrap().contains(run), "{gone}");
}

#[test]
fn what_is_gone_never_means_what_begins_like_it() {
    let world = environment();
    world.start("bd-42", &["fake-agent", "ready", "wait"]);
    let folder = world.start("bd-421", &["fake-agent", "ready", "echo"]);
    screen::wait_for_line(&folder, "ready");
    let _ = world.lane(&["close", "bd-42"]).ok();
    let (pid, before) = (world.pid("bd-421"), events(&world).len());
    for name in ["bd-42", "bd-4", "bd-42*", "bd-42:0", "bd-42/bd-42", "bd-42/bd-421", "=bd-421"] {
        for arguments in [
            &["stop", name][..],
            &["restart", name],
            &["start", name],
            &["send", name, "x"],
            &["close", name],
            &["rename", name, "other"],
            &["attach", name],
        ] {
            let refused = world.lane(&[arguments, &["--json"]].concat());
            assert!(matches!(refused.code, 2 | 3), "{arguments:?}: {refused}");
        }
    }
    assert!(is_alive(pid) && world.pid("bd-421") == pid);
    assert_eq!(events(&world).len(), before, "nothing has happened");
    let shown = world.lane(&["read", "bd-421"]).ok().out();
    assert_eq!(shown.trim(), "ready", "nothing was typed");
}

#[test]
fn signs_mean_the_worker_that_one_is_in_its_parent_and_what_was_attached_to() {
    let world = environment();
    let told = Pipe::new(&world, "told");
    let _ = fails(&world, &["resolve", "."], 3, "in_no_worker");
    let _ = fails(&world, &["resolve", "-"], 3, "never_attached");
    let folder = world.start("a", &["fake-agent", "ready", "wait"]);
    let inside = |sign: &str| format!("\"$LANE\" resolve {sign} --json > {}", told.text());
    let lane = env!("CARGO_BIN_EXE_lane");
    let script = format!(
        "LANE={lane}; export LANE; {}; \"$LANE\" run a --name kid -- sh -c '{}; exec sleep 1000'; exec sleep 1000",
        inside("."),
        inside("..")
    );
    let _ = world.lane(&["run", "a", "--name", "elder", "--", "sh", "-c", &script]).ok();
    let itself: Value = serde_json::from_str(&told.wait()).unwrap();
    assert_eq!((&itself["method"], &itself["worker"]), (&json!("caller"), &json!("elder")));
    let parent: Value = serde_json::from_str(&told.wait()).unwrap();
    assert_eq!((&parent["method"], &parent["worker"]), (&json!("parent"), &json!("elder")));
    assert_eq!(world.worker("kid")["parent"], world.worker("elder")["id"]);
    assert_eq!(world.worker("elder")["parent"], Value::Null);

    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_like(&folder);
    window.press("\x1c");
    window.wait_until_left_with(0);
    assert_eq!(meant(&world, "-")[..3], [json!("last_attached"), json!("a"), json!("a")]);
    let _ = world.lane(&["stop", "-"]).ok();
    assert_eq!(world.worker("a")["status"], "stopped");
    assert_eq!(world.worker("elder")["status"], "running");
}

#[test]
fn the_id_of_a_former_run_means_that_run_and_is_never_acted_upon() {
    let world = environment();
    world.start("a", &["sh", "-c", "echo I am $LANEWAY_RUN; exec sleep 1000"]);
    let first = world.worker("a")["run"].as_str().unwrap().to_owned();
    let _ = world.lane(&["wait", "a", "--for", "output=I am"]).ok();
    let _ = world.lane(&["restart", "a"]).ok();
    let pid = world.pid("a");
    assert_eq!(world.lane(&["read", &first]).ok().out(), format!("I am {first}\n"));
    assert_eq!(world.lane(&["logs", &first]).ok().out(), format!("I am {first}\n"));
    let resolved = world.json(&["resolve", &first]);
    assert_eq!(
        [&resolved["worker"], &resolved["run"], &resolved["alive"]],
        [&json!("a"), &json!(first), &json!(false)]
    );
    for verb in ["stop", "restart", "send", "show", "attach"] {
        let words = if verb == "send" { vec![verb, &first, "x"] } else { vec![verb, first.as_str()] };
        let refused = world.lane(&[&words[..], &["--json"]].concat());
        assert!(matches!(refused.code, 2 | 5), "{verb}: {refused}");
    }
    let refused = fails(&world, &["stop", &first], 5, "former_run");
    assert!(refused["hint"].as_str().unwrap().contains("--run 1"), "{refused}");
    assert_eq!(world.pid("a"), pid);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let error = fails(&world, &["stop", "@999"], 3, "no_such_window");
    assert!(error["message"].as_str().unwrap().contains("none is known"), "{error}");
    let _ = fails(&world, &["read", "%999"], 3, "no_such_tmux_pane");
    let error = fails(&world, &["send", "a:1", "x"], 3, "no_such_pane");
    assert!(error["message"].as_str().unwrap().contains("not in tmux"), "{error}");
    let error = fails(&world, &["show", "b"], 3, "not_found");
    assert!(error["message"].as_str().unwrap().contains("there is a"), "{error}");
    let _ = fails(&world, &["close", "%1"], 3, "not_found");
    let _ = fails(&world, &["close", "."], 3, "not_found");
}
