//! Instances of the programs of `laneway.toml`, with programs of Node.js as they are written for `child_process.fork()`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use laneway_testkit::{TestEnvironment, process};
use serde_json::{Value, json};

use crate::channels::has_node;
use crate::config::settings;
use crate::environment;
use crate::serving::Served;
use crate::support::{connect, events, fails, lane, only_the_daemon_is_left};

/// What it is told it writes into its state folder; a mission may tell it how to go on.
const PROGRAM: &str = "\
import fs from 'node:fs';
const note = (file, what) => fs.appendFileSync(process.env.LANEWAY_STATE_DIR + '/' + file, JSON.stringify(what) + '\\n');
const say = (event, data = {}) => process.send({ type: 'event', event, data: { workerId: 'forged', ...data } });
process.on('message', (m) => {
  if (m.type === 'ping') process.send({ type: 'pong' });
  if (m.type === 'init') { note('init', m); process.send({ type: 'ready' }); }
  if (m.type === 'config') note('config', m);
  if (m.type === 'start') {
    note('start', m);
    say('orchestrator:started', { mission: m.mission, model: m.model, dryRun: m.dryRun });
    say('round:start', { round: 2 });
    say('agent:start', { agentId: 'ann', model: 'small' });
    say('agent:complete', { agentId: 'nobody' });
    if (m.mission === 'finish') {
      say('agent:complete', { agentId: 'ann', elapsedMs: 5 });
      say('round:complete', { round: 2 });
      say('orchestrator:stopped', { code: 0 });
    }
    say('told');
  }
  if (m.type === 'shutdown') process.exit(0);
});
";

/// A repository with that program, committed, and trusted.
#[track_caller]
fn world() -> TestEnvironment {
    let world = environment();
    settings(&world, "[restart]\nbase = \"50ms\"\n");
    fs::write(world.repository.join("worker.mjs"), PROGRAM).unwrap();
    configured(
        &world,
        "[programs.orchestrator]\ncommand = [\"node\", \"worker.mjs\"]\nchannel = \"node-ipc\"\n\
         [programs.there]\ncommand = [\"node\", \"worker.mjs\"]\nchannel = \"node-ipc\"\nisolation = \"none\"\n",
    );
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "a program"]);
    world
}

/// Gives this world's repository these settings, and trusts them.
#[track_caller]
fn configured(world: &TestEnvironment, text: &str) {
    fs::write(world.repository.join("laneway.toml"), text).unwrap();
    let _ = world.lane(&["trust"]).ok();
}

/// Asks the daemon at its socket, from nowhere unless a header says more; gives the status and the answer.
#[track_caller]
fn ask(world: &TestEnvironment, line: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = connect(world);
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{kind}{headers}\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{line}: {answer}")))
}

/// Asks about the first program.
#[track_caller]
fn api(world: &TestEnvironment, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask(world, &format!("{method} /api/orchestrator{path}"), "", &body)
}

/// Waits until a program has said `told` so many times in all, which is when it has done what it was started for.
#[track_caller]
fn wait_until_told(world: &TestEnvironment, instance: &str, times: usize) {
    let seen = std::cell::Cell::new(0);
    world.wait_for_event(0, &format!("{instance} told {times} times"), |event| {
        let data = &event["data"];
        if data["name"] == "told" && data["data"]["workerId"] == instance {
            seen.set(seen.get() + 1);
        }
        seen.get() >= times
    });
}

/// What an instance has written into a file of its state folder, line by line.
fn noted(world: &TestEnvironment, folder: &Path, file: &str) -> Vec<Value> {
    assert!(folder.starts_with(&world.home));
    let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn state_folders(world: &TestEnvironment) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(world.home.join("instances")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[track_caller]
fn outcomes(world: &TestEnvironment) -> Vec<String> {
    let (status, history) = api(world, "GET", "/history?limit=50", &Value::Null);
    assert_eq!(status, 200, "{history}");
    let outcomes = history.as_array().unwrap().iter().rev();
    outcomes.map(|run| run["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_instance_is_started_told_again_after_a_crash_stopped_and_removed() {
    if !has_node() {
        return;
    }
    let world = world();
    let body = json!({ "mission": "tidy", "model": "large", "dryRun": true });
    let (status, started) = api(&world, "POST", "/docs/start", &body);
    assert_eq!((status, &started["status"]["poolStatus"]["status"]), (202, &json!("starting")), "{started}");
    wait_until_told(&world, "docs", 1);
    let (_, instances) = api(&world, "GET", "/instances", &Value::Null);
    let [shown] = &instances.as_array().unwrap()[..] else { panic!("{instances}") };
    let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
    let expected =
        ["agents", "dryRun", "id", "mission", "model", "pid", "poolStatus", "round", "running", "startedAt"];
    assert_eq!(keys, expected);
    assert_eq!((&shown["id"], &shown["running"], &shown["round"]), (&json!("docs"), &json!(true), &json!(2)));
    assert_eq!(
        (&shown["mission"], &shown["model"], &shown["dryRun"]),
        (&json!("tidy"), &json!("large"), &json!(true))
    );
    assert_eq!(
        (&shown["agents"][0]["id"], &shown["agents"][0]["status"]),
        (&json!("ann"), &json!("running"))
    );
    assert_eq!(shown["agents"].as_array().unwrap().len(), 1, "one that is not known is ignored");
    assert_eq!(shown["pid"], world.pid("orchestrator.docs"));
    let (status, refused) = api(&world, "POST", "/docs/start", &Value::Null);
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("already_running")));
    let (status, refused) = api(&world, "DELETE", "/docs", &Value::Null);
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("already_running")));

    process::kill(world.pid("orchestrator.docs"));
    wait_until_told(&world, "docs", 2);
    assert_eq!(outcomes(&world), ["error", "running"]);
    let [folder] = &state_folders(&world)[..] else { panic!("{:?}", state_folders(&world)) };
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    let told = json!({ "type": "start", "mission": "tidy", "model": "large", "dryRun": true });
    assert_eq!(noted(&world, folder, "start"), [told.clone(), told]);
    let init = &noted(&world, folder, "init")[1];
    let tree = world.worktree("orchestrator.docs");
    assert_eq!(
        (&init["workerId"], &init["projectDir"], &init["config"], &init["handoffFile"]),
        (&json!("docs"), &json!(tree), &json!({}), &Value::Null)
    );

    let (status, stopped) = api(&world, "POST", "/docs/stop", &Value::Null);
    assert_eq!((status, &stopped["status"]["running"]), (200, &json!(false)), "{stopped}");
    assert_eq!(stopped["status"]["poolStatus"]["status"], "stopped");
    let (status, refused) = api(&world, "POST", "/docs/stop", &Value::Null);
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("not_running")));
    assert_eq!(outcomes(&world), ["error", "stopped"]);
    let (status, removed) = api(&world, "DELETE", "/docs", &Value::Null);
    assert_eq!((status, &removed["message"]), (200, &json!("Instance docs removed")));
    assert_eq!((state_folders(&world).len(), world.json(&["ls"])["lanes"].as_array().unwrap().len()), (0, 0));
    assert_eq!(api(&world, "DELETE", "/docs", &Value::Null).0, 404);
    assert_eq!(outcomes(&world).len(), 2, "what was done stays known");
    only_the_daemon_is_left(&world);
}

#[test]
fn settings_are_refused_by_name_told_at_once_and_kept() {
    if !has_node() {
        return;
    }
    let world = world();
    let config = |body: Value| api(&world, "POST", "/default/config", &body);
    assert_eq!(config(json!({ "model": "x" })).0, 404);
    assert_eq!(api(&world, "POST", "/start", &Value::Null).0, 202);
    wait_until_told(&world, "default", 1);
    for (bad, field) in [
        (json!({ "maxTurns": 0 }), "maxTurns"),
        (json!({ "maxTurns": 1.5 }), "maxTurns"),
        (json!({ "maxBudgetUsd": -1 }), "maxBudgetUsd"),
        (json!({ "model": "a\nb" }), "model"),
        (json!({ "model": 7 }), "model"),
        (json!({ "colour": "red" }), "colour"),
    ] {
        let (status, refused) = config(bad);
        assert_eq!(status, 400, "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(field), "{refused}");
    }
    let (status, answer) = config(json!({ "model": "large", "maxBudgetUsd": 2.5 }));
    assert_eq!((status, &answer["success"]), (200, &json!(true)));
    let (_, answer) = config(json!({ "maxTurns": 9 }));
    let all = json!({ "model": "large", "maxBudgetUsd": 2.5, "maxTurns": 9 });
    assert_eq!(answer["config"], all);
    assert_eq!(api(&world, "POST", "/stop", &Value::Null).0, 200);
    let folder = &state_folders(&world)[0];
    assert_eq!(noted(&world, folder, "config")[1], json!({ "type": "config", "maxTurns": 9 }));
    world.kill_the_daemon();
    assert_eq!(world.lane(&["program", "start", "orchestrator"]).ok().code, 0);
    wait_until_told(&world, "default", 2);
    assert_eq!(noted(&world, folder, "init")[1]["config"], all);
    assert_eq!(noted(&world, folder, "start")[1]["model"], "large", "the model of its settings");
    world.lane(&["program", "stop", "orchestrator"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn one_whose_work_is_done_is_started_anew_by_the_next_start() {
    if !has_node() {
        return;
    }
    let world = world();
    assert_eq!(api(&world, "POST", "/a/start", &json!({ "mission": "finish" })).0, 202);
    wait_until_told(&world, "a", 1);
    let (_, instances) = api(&world, "GET", "/instances", &Value::Null);
    assert_eq!(
        (&instances[0]["running"], &instances[0]["poolStatus"]["status"]),
        (&json!(false), &json!("running"))
    );
    assert_eq!(outcomes(&world), ["completed"]);
    assert_eq!(api(&world, "POST", "/a/start", &json!({ "mission": "more" })).0, 202);
    wait_until_told(&world, "a", 2);
    let (_, instances) = api(&world, "GET", "/instances", &Value::Null);
    assert_eq!((&instances[0]["running"], &instances[0]["mission"]), (&json!(true), &json!("more")));
    assert_eq!(outcomes(&world), ["completed", "running"]);
    world.lane(&["program", "stop", "orchestrator", "a"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn two_instances_share_neither_lane_nor_state_and_in_the_main_worktree_only_that() {
    if !has_node() {
        return;
    }
    let world = world();
    for id in ["Case", "case"] {
        assert_eq!(api(&world, "POST", &format!("/{id}/start"), &json!({ "mission": id })).0, 202);
        wait_until_told(&world, id, 1);
    }
    let (_, instances) = api(&world, "GET", "/instances", &Value::Null);
    let lanes: Vec<&Value> = (0..2).map(|n| &instances[n]["poolStatus"]["lane"]).collect();
    assert_ne!(lanes[0], lanes[1]);
    let folders = state_folders(&world);
    let missions: Vec<Value> =
        folders.iter().map(|folder| noted(&world, folder, "start")[0]["mission"].clone()).collect();
    assert_eq!(missions, ["Case", "case"]);
    for id in ["one", "two"] {
        world.lane(&["program", "start", "there", id]).ok();
        wait_until_told(&world, id, 1);
    }
    assert_eq!(state_folders(&world).len(), 4);
    assert_eq!(lane(&world, "main-worktree")["path"], json!(world.repository));
    for (program, id) in
        [("orchestrator", "Case"), ("orchestrator", "case"), ("there", "one"), ("there", "two")]
    {
        world.lane(&["program", "stop", program, id]).ok();
    }
    world.lane(&["close", "main-worktree"]).ok();
    assert!(world.repository.join("worker.mjs").exists());
    only_the_daemon_is_left(&world);
}

#[test]
fn of_starts_at_once_one_is_accepted() {
    if !has_node() {
        return;
    }
    let world = world();
    let _ = world.json(&["program", "ls"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..8).map(|_| scope.spawn(|| api(&world, "POST", "/x/start", &Value::Null).0)).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
    wait_until_told(&world, "x", 1);
    world.lane(&["program", "stop", "orchestrator", "x"]).ok();
    let created = events(&world).into_iter().filter(|event| event["event"] == "worker.created").count();
    assert_eq!(created, 1);
    only_the_daemon_is_left(&world);
}

#[test]
fn an_id_that_is_none_is_refused_by_name_wherever_one_stands() {
    let world = world();
    let _ = world.json(&["program", "ls"]);
    let long = "x".repeat(65);
    for id in ["..", "%2e%2e", "a%2fb", "a.b", "%C3%A4", "%00", "a%20b", "%F0%9F%9A%80", &long] {
        for (method, rest) in [("POST", "/start"), ("POST", "/stop"), ("POST", "/config"), ("DELETE", "")] {
            let (status, refused) = api(&world, method, &format!("/{id}{rest}"), &json!({}));
            assert_eq!(
                (status, &refused["error"]["details"]["field"]),
                (400, &json!("id")),
                "{id} {refused}"
            );
        }
    }
    let (status, refused) = ask(&world, "GET /api/programs/%2e%2e/instances", "", "");
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("no_such_program")));
    assert_eq!(ask(&world, "GET /api/programs/%ff/instances", "", "").0, 400);
    for limit in ["0", "51", "-1", "x"] {
        assert_eq!(api(&world, "GET", &format!("/history?limit={limit}"), &Value::Null).0, 400, "{limit}");
    }
    assert_eq!(api(&world, "POST", "/a/start", &json!({ "mission": 7 })).0, 400);
    assert_eq!(api(&world, "POST", "/a/start", &json!({ "handoff": "x" })).0, 400);
    assert_eq!(api(&world, "POST", "/stop", &Value::Null).0, 409);
    assert_eq!(api(&world, "DELETE", "/status", &Value::Null).0, 404, "an instance may be called so");
    let (status, shown) = api(&world, "GET", "/status", &Value::Null);
    assert_eq!((status, &shown["running"], &shown["poolStatus"]), (200, &json!(false), &Value::Null));
    let (_, health) = api(&world, "GET", "/workers/health", &Value::Null);
    assert_eq!(health, json!({ "workers": [], "poolActive": false }));
    fails(&world, &["program", "rm", "orchestrator", "nobody"], 3, "no_such_instance");
    fails(&world, &["program", "start", "nobody"], 3, "no_such_program");
}

#[test]
fn a_client_over_tcp_means_the_only_repository_with_such_a_program_or_names_one() {
    if !has_node() {
        return;
    }
    let world = world();
    let _ = world.json(&["program", "ls"]);
    let served = Served::by(&world);
    let (status, body) = served.request("POST /api/orchestrator/tcp/start", "", b"");
    assert_eq!(status, 202, "{body}");
    wait_until_told(&world, "tcp", 1);
    let other = world.root().join("other");
    world.git(&["clone", "--quiet", ".", other.to_str().unwrap()]);
    let _ = process::finish(world.lane_command(&["trust"]).current_dir(&other), b"").ok();
    let (status, body) = served.request("GET /api/orchestrator/instances", "", b"");
    let refused: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("ambiguous")));
    let candidates = refused["error"]["details"]["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 2, "{refused}");
    let here = format!("laneway-cwd: {}\r\n", world.repository.to_str().unwrap());
    let (status, body) = served.request("GET /api/orchestrator/instances", &here, b"");
    assert_eq!((status, body.contains("\"tcp\"")), (200, true), "{body}");
    let (status, body) = served.request("POST /api/orchestrator/tcp/stop", &here, b"");
    assert_eq!(status, 200, "{body}");
    only_the_daemon_is_left(&world);
}

#[test]
fn a_program_that_is_configured_no_more_can_be_seen_stopped_and_removed() {
    if !has_node() {
        return;
    }
    let world = world();
    let start = ["program", "start", "orchestrator", "a", "--mission", "m"];
    world.lane(&start).ok();
    wait_until_told(&world, "a", 1);
    configured(&world, "");
    process::kill(world.pid("orchestrator.a"));
    wait_until_told(&world, "a", 2);
    let programs = world.json(&["program", "ls"]);
    assert_eq!((&programs[0]["name"], &programs[0]["configured"]), (&json!("orchestrator"), &json!(false)));
    assert_eq!(world.json(&["program", "ls", "orchestrator"])[0]["running"], true);
    world.lane(&["program", "stop", "orchestrator", "a"]).ok();
    fails(&world, &start, 5, "not_configured");
    world.lane(&["program", "rm", "orchestrator", "a"]).ok();
    assert_eq!(world.json(&["program", "history", "orchestrator"]).as_array().unwrap().len(), 2);
    only_the_daemon_is_left(&world);
}

#[test]
fn an_instance_is_removed_without_what_else_runs_in_its_lane() {
    let world = environment();
    configured(&world, "[programs.agent]\ncommand = [\"sleep\", \"5000\"]\n");
    let started = |world: &TestEnvironment| {
        let status = world.json(&["daemon", "status"])["last_seq"].as_u64().unwrap();
        world.lane(&["program", "start", "agent", "docs"]).ok();
        world.wait_for_event(status, "that it runs", |event| event["event"] == "run.started");
        world.lane(&["program", "stop", "agent", "docs"]).ok();
    };
    started(&world);
    world.lane(&["run", "agent.docs", "--name", "mine", "--", "sleep", "5000"]).ok();
    let mine = world.pid("mine");
    let removed = world.lane(&["program", "rm", "agent", "docs"]).ok();
    assert!(removed.out().contains("lane agent.docs is kept: mine runs in it"), "{removed}");
    assert_eq!(world.pid("mine"), mine);
    assert!(process::is_alive(mine));
    assert_eq!(lane(&world, "agent.docs")["status"], "running");
    world.lane(&["stop", "mine"]).ok();
    world.lane(&["close", "agent.docs"]).ok();
    // With nothing else in it it goes along.
    started(&world);
    world.lane(&["program", "rm", "agent", "docs"]).ok();
    assert_eq!(world.json(&["ls"])["lanes"], json!([]));
    only_the_daemon_is_left(&world);
}

#[test]
fn what_is_not_trusted_is_not_started_and_what_cannot_be_started_says_why() {
    let world = environment();
    fs::write(world.repository.join("laneway.toml"), "[programs.p]\ncommand = [\"/no/such/program\"]\n")
        .unwrap();
    fails(&world, &["program", "start", "p"], 5, "not_trusted");
    assert_eq!(world.json(&["program", "ls", "p"]), json!([]));
    configured(&world, "[programs.p]\ncommand = [\"/no/such/program\"]\n");
    world.lane(&["program", "start", "p"]).ok();
    let failed = world.wait_for_event(0, "that it failed", |event| event["event"] == "instance.failed");
    assert!(failed["data"]["why"].as_str().unwrap().contains("/no/such/program"), "{failed}");
    let shown = &world.json(&["program", "ls", "p"])[0]["poolStatus"];
    assert_eq!(shown["status"], "failed");
    fails(&world, &["program", "stop", "p"], 5, "not_running");
    fails(&world, &["program", "start", "p", "--mission", "x"], 2, "message_without_channel");
    world.lane(&["program", "rm", "p"]).ok();
    only_the_daemon_is_left(&world);
}
