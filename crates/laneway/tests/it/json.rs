//! What programs read: one JSON document per command, in the shapes that others build on; events without a gap;
//! data on standard output and talk on standard error.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use laneway_testkit::process::finish;
use laneway_testkit::screen;
use serde_json::{Value, json};

use crate::environment;
use crate::support::{fails, json_lines, lane};

/// The keys of an object, in order.
#[track_caller]
fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Asserts that this is a moment as RFC 3339 in UTC, and in this century.
#[track_caller]
fn is_a_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{text}");
    assert!(text.starts_with("20"), "{text}");
}

const LANE: [&str; 17] = [
    "adopted",
    "attachments",
    "base_commit",
    "base_ref",
    "branch",
    "branch_is_ours",
    "closed_at",
    "created_at",
    "failure",
    "id",
    "name",
    "path",
    "setup",
    "shared",
    "status",
    "workers",
    "workspace",
];

const WORKER: [&str; 25] = [
    "argv",
    "created_at",
    "cwd",
    "done_codes",
    "ended_at",
    "exit",
    "given_up",
    "id",
    "lane",
    "lane_id",
    "left_behind",
    "name",
    "next_try_at",
    "pane_id",
    "parent",
    "pid",
    "restart",
    "run",
    "run_number",
    "session",
    "started_at",
    "status",
    "terminal",
    "window_id",
    "window_name",
];

#[test]
fn lanes_workers_and_the_daemon_have_the_shapes_that_others_build_on() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let lanes = world.json(&["ls"]);
    assert_eq!(keys(&lanes), ["lanes"]);
    let lane = &lanes["lanes"][0];
    assert_eq!(keys(lane), LANE);
    is_a_time(&lane["created_at"]);
    assert_eq!((&lane["closed_at"], &lane["failure"]), (&Value::Null, &Value::Null));
    let workers = world.json(&["ps"]);
    assert_eq!(keys(&workers), ["workers"]);
    let worker = &workers["workers"][0];
    assert_eq!(keys(worker), WORKER);
    assert_eq!(worker, &lane["workers"][0], "the same, wherever it is shown");
    for moment in ["created_at", "started_at"] {
        is_a_time(&worker[moment]);
    }
    assert_eq!((&worker["lane"], &worker["lane_id"]), (&json!("a"), &lane["id"]));
    assert_eq!(worker["terminal"], json!({"kind": "holder", "tty": true, "columns": 80, "rows": 24}));
    assert_eq!(worker["argv"], json!(["fake-agent", "ready", "wait"]));
    assert_eq!(worker["cwd"], lane["path"]);
    let status = world.json(&["daemon", "status"]);
    let expected = [
        "host",
        "last_seq",
        "log",
        "n_lanes",
        "n_live_runs",
        "n_waiting",
        "pid",
        "socket",
        "started_at",
        "version",
    ];
    assert_eq!(keys(&status), expected);
    is_a_time(&status["started_at"]);
    for (id, prefix) in [
        (&lane["id"], "ln_"),
        (&lane["workspace"], "ws_"),
        (&worker["id"], "wk_"),
        (&worker["run"], "rn_"),
        (&status["host"], "ho_"),
    ] {
        let id = id.as_str().unwrap();
        assert!(id.starts_with(prefix) && id.len() == 29, "{id}");
    }
    assert_eq!(world.json(&[]), lanes, "lane alone is the list");
}

#[test]
fn every_verb_prints_one_document_and_no_talk() {
    let world = environment();
    let document = |arguments: &[&str], expected: &[&str]| {
        let at = arguments.iter().position(|argument| *argument == "--").unwrap_or(arguments.len());
        let (ours, theirs) = arguments.split_at(at);
        let finished = world.lane(&[ours, &["--json"], theirs].concat()).ok();
        let document = finished.json();
        assert_eq!(keys(&document), expected, "{finished}");
        assert!(finished.err().is_empty() && finished.out().ends_with("}\n"), "{finished}");
        assert_eq!(finished.out().lines().count(), 1, "{finished}");
        document
    };
    let made = document(&["new", "a", "--", "fake-agent", "echo"], &["lane", "worker"]);
    assert_eq!((keys(&made["lane"]), keys(&made["worker"])), (LANE.into(), WORKER.into()));
    let made = document(&["new", "b"], &["lane", "worker"]);
    assert_eq!(made["worker"], Value::Null);
    let started = document(&["run", "b", "--", "fake-agent", "wait"], &["holder_folder", "worker"]);
    assert_eq!(keys(&started["worker"]), WORKER);
    document(&["ls"], &["lanes"]);
    document(&["ls", "--closed"], &["lanes"]);
    document(&["ps"], &["workers"]);
    document(&["ps", "--all"], &["workers"]);
    document(&["show", "a"], &["worker"]);
    document(&["path", "a"], &["path"]);
    let tree = world.root().join("tree");
    world.git(&["worktree", "add", "--quiet", "--detach", tree.to_str().unwrap()]);
    document(&["diff", "a"], &["base", "files", "head"]);
    document(&["adopt", tree.to_str().unwrap()], &LANE);
    document(&["rename", "tree", "wood"], &["from", "lane", "renamed", "to", "worker"]);
    let sent = document(&["send", "a", "you", "--enter"], &["offset"]);
    assert!(sent["offset"].is_u64());
    screen::wait_for_line(&world.run_folder("a"), "heard you");
    let text = document(&["read", "a"], &["alternate_screen", "cursor", "lines", "offset", "size", "title"]);
    assert_eq!(text["lines"], json!(["you", "heard you"]));
    assert_eq!(text["offset"], "you\r\nheard you\r\n".len());
    assert_eq!(
        (keys(&text["cursor"]), keys(&text["size"])),
        (vec!["column", "row", "visible"], vec!["columns", "rows"])
    );
    let done = document(
        &["exec", "b", "--", "sh", "-c", "echo out; echo err >&2"],
        &["duration_ms", "exit_code", "signal", "stderr", "stdout", "truncated"],
    );
    assert_eq!(
        (&done["stdout"], &done["stderr"], &done["exit_code"]),
        (&json!("out\n"), &json!("err\n"), &json!(0))
    );
    let talker = ["run", "b", "--name", "talker", "--channel", "jsonl", "--", "fake-agent", "wait"];
    document(&talker, &["holder_folder", "worker"]);
    let told = document(&["message", "talker", "{\"type\":\"ping\"}"], &["worker"]);
    assert_eq!(told["worker"], world.worker("talker")["id"]);
    let explained = ["events", "max_failures", "n_failures", "runs", "why", "window_ms", "worker"];
    let run = ["created_at", "ended_at", "exit", "id", "number", "pid", "started_at", "state"];
    assert_eq!(keys(&document(&["explain", "a"], &explained)["runs"][0]), run);
    document(&["restart", "a"], &["was_running", "worker"]);
    document(&["stop", "a"], &["exit", "was_ended", "worker"]);
    document(&["start", "a"], &["was_running", "worker"]);
    document(&["stop", "a"], &["exit", "was_ended", "worker"]);
    document(&["stop", "a", "b"], &["results"]);
    document(
        &["close", "a"],
        &["branch_deleted", "lane", "left_behind", "merged_into", "rescued", "stashes", "was_closed"],
    );
    document(
        &["close", "b"],
        &["branch_deleted", "lane", "left_behind", "merged_into", "rescued", "stashes", "was_closed"],
    );
    document(&["daemon", "logs"], &["lines", "path"]);
    let status = [
        "host",
        "last_seq",
        "log",
        "n_lanes",
        "n_live_runs",
        "n_waiting",
        "pid",
        "socket",
        "started_at",
        "version",
    ];
    document(&["daemon", "start"], &status);
    document(&["daemon", "restart"], &status);
    document(&["daemon", "stop"], &["pid", "was_running"]);
    assert_eq!(world.json(&["version"])["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn an_error_is_a_document_too() {
    let world = environment();
    let error = fails(&world, &["close", "nothere"], 3, "not_found");
    assert_eq!(keys(&error), ["code", "hint", "kind", "message"]);
    let error = fails(&world, &["new", "A"], 2, "illegal_name");
    assert_eq!(error["kind"], "usage");
    // Before a `--`, a wrong command line is told in JSON as well; behind it the word is the command's.
    let _ = fails(&world, &["close"], 2, "usage");
    let said = world.lane(&["close", "--", "--json"]).code(3);
    assert!(said.out().is_empty() && said.err().starts_with("error: "), "{said}");
    for arguments in [&["close", "a", "b", "--json"][..], &["stop", "a", "b", "--json"]] {
        let results = world.lane(arguments).code(3).json()["results"].clone();
        let codes: Vec<&Value> =
            results.as_array().unwrap().iter().map(|one| &one["error"]["code"]).collect();
        assert_eq!(codes, ["not_found", "not_found"]);
    }
}

#[test]
fn standard_output_is_data_and_standard_error_is_talk() {
    let world = environment();
    let empty = world.lane(&["ls"]).ok();
    assert_eq!(empty.out(), "");
    assert!(empty.err().contains("lane new"), "{empty}");
    world.start("a", &["fake-agent", "ready", "wait"]);
    for arguments in [&["ls"][..], &["ps"], &["show", "a"], &["path", "a"], &[], &["events"], &["version"]] {
        let said = world.lane(arguments).ok();
        assert!(!said.out().is_empty() && said.err().is_empty(), "{said}");
        assert!(!said.out().contains('\u{1b}'), "no colour where no terminal reads: {said}");
    }
    let refused = world.lane(&["close", "nothere"]).code(3);
    assert!(refused.out().is_empty() && !refused.err().contains('\u{1b}'), "{refused}");
    let coloured = finish(world.lane_command(&["ls"]).env("CLICOLOR_FORCE", "1"), b"").ok();
    assert!(coloured.out().contains("\u{1b}["), "{coloured}");
    let document = finish(world.lane_command(&["ls", "--json"]).env("CLICOLOR_FORCE", "1"), b"").ok();
    assert!(!document.out().contains('\u{1b}'), "{document}");
    // A window is a terminal: colours come, unless they are not wanted.
    let in_a_window = ["-c", "import pty, sys\nsys.exit(pty.spawn(['lane', 'ls']))"];
    let coloured = finish(world.program("python3").args(in_a_window), b"").ok();
    assert!(coloured.out().contains("\u{1b}["), "{coloured}");
    let plain = finish(world.program("python3").args(in_a_window).env("NO_COLOR", "1"), b"").ok();
    assert!(plain.out().contains("running") && !plain.out().contains("\u{1b}["), "{plain}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    for arguments in [&["events", "--follow", "--since", "0"][..], &["ls"], &["daemon", "logs", "--follow"]] {
        let mut command = world.lane_command(arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let process = laneway_testkit::process::open(child.id()).unwrap();
        assert!(laneway_testkit::process::ends_within(&process, laneway_testkit::LIMIT), "{arguments:?}");
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn events_are_numbered_without_a_gap_and_can_be_resumed_anywhere() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let _ = world.lane(&["close", "a"]).ok();
    let all = json_lines(&world.lane(&["events", "--since", "0", "--json"]).ok().stdout);
    let numbers: Vec<u64> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let host = world.json(&["daemon", "status"])["host"].clone();
    for event in &all {
        is_a_time(&event["at"]);
        assert_eq!(event["host"], host);
        assert!(event["event"].as_str().unwrap().contains('.') && event["data"].is_object(), "{event}");
        assert!(event["correlation"].as_str().unwrap().starts_with("cor_"), "{event}");
        assert!(
            ["person", "worker", "daemon"].contains(&event["actor"]["kind"].as_str().unwrap()),
            "{event}"
        );
    }
    let names: Vec<&str> = all.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected = [
        "daemon.started",
        "reconcile.completed",
        "workspace.registered",
        "lane.created",
        "lane.state.changed",
        "lane.state.changed",
        "worker.created",
        "run.started",
        "lane.state.changed",
        "worker.exited",
        "lane.state.changed",
    ];
    let without: Vec<&str> = names.iter().copied().filter(|name| *name != "run.stopping").collect();
    assert_eq!(without, expected);
    let created = all.iter().find(|event| event["event"] == "lane.created").unwrap();
    let correlation = &created["correlation"];
    let caused = all.iter().filter(|event| event["correlation"] == *correlation).count();
    assert!(caused >= 5, "what one command caused is told as such: {all:?}");
    for since in [0, 3, all.len() as u64 - 1, all.len() as u64, 1_000_000] {
        let text = since.to_string();
        let some = json_lines(&world.lane(&["events", "--since", &text, "--json"]).ok().stdout);
        let rest: Vec<Value> =
            all.iter().filter(|event| event["seq"].as_u64().unwrap() > since).cloned().collect();
        assert_eq!(some, rest, "--since {since}");
    }
    assert_eq!(json_lines(&world.lane(&["events", "--json"]).ok().stdout), all, "the last ones");
}

#[test]
fn what_a_worker_does_is_told_as_its_own_doing() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["exec", "a", "--", "lane", "new", "b"]).ok();
    let task = world.json(&["ps", "--all"])["workers"][0]["id"].clone();
    let event = world.wait_for_event(0, "the lane that was made inside", |event| {
        event["event"] == "lane.created" && event["data"]["name"] == "b"
    });
    assert_eq!(event["actor"]["kind"], "worker", "{event}");
    assert_eq!(event["actor"]["id"], task, "{event}");
}

/// Bytes as JSON has them where they are no UTF-8.
fn base64_of(bytes: &[u8]) -> Value {
    json!({ "base64": STANDARD.encode(bytes) })
}

#[test]
fn arguments_and_file_names_that_are_no_text_come_through_as_they_are() {
    let world = environment();
    let odd = OsStr::from_bytes(b"od\xffd\x1b[2J");
    let out = world.root().join("out");
    let script = r#"printf %s "$1" > "$2"; exec fake-agent ready wait"#;
    let mut new = world.lane_command(&["new", "a", "--json", "--", "sh", "-c", script, "sh"]);
    let made = finish(new.arg(odd).arg(&out), b"").ok().json();
    assert_eq!(made["worker"]["argv"][4], base64_of(odd.as_bytes()));
    screen::wait_for_line(&world.run_folder("a"), "ready");
    assert_eq!(fs::read(&out).unwrap(), odd.as_bytes());
    assert_eq!(world.worker("a")["argv"][4], base64_of(odd.as_bytes()));
    let said = world.lane(&["show", "a"]).ok();
    assert!(said.out().contains(r"\xff") && !said.out().contains('\u{1b}'), "{said}");
    fs::write(world.repository.join(".lanes/a").join(odd), "work").unwrap();
    let error = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(error["details"]["untracked"]["first"], json!([base64_of(odd.as_bytes())]));
    let said = world.lane(&["close", "a"]).code(5);
    assert!(said.err().contains(r"\xff") && !said.err().contains('\u{1b}'), "{said}");
}

#[test]
fn a_repository_whose_path_is_no_text_is_worked_in_as_any_other() {
    let mut world = environment();
    let odd = world.root().join(OsStr::from_bytes(b"re \xff'po"));
    fs::rename(&world.repository, &odd).unwrap();
    world.repository = odd;
    let made = world.json(&["new", "a", "--", "fake-agent", "ready", "wait"]);
    let path = world.repository.join(".lanes/a");
    assert_eq!(made["lane"]["path"], base64_of(path.as_os_str().as_bytes()));
    assert_eq!(made["worker"]["cwd"], made["lane"]["path"]);
    assert_eq!(world.lane(&["path", "a"]).ok().stdout, [path.as_os_str().as_bytes(), b"\n"].concat());
    let cwd = fs::read_link(format!("/proc/{}/cwd", world.pid("a"))).unwrap();
    assert_eq!(cwd, path);
    assert_eq!(
        world.lane(&["exec", "a", "--", "git", "rev-parse", "--abbrev-ref", "HEAD"]).ok().out(),
        "lane/a\n"
    );
    world.kill_the_daemon();
    assert_eq!(lane(&world, "a")["status"], "running");
    let _ = world.lane(&["close", "a"]).ok();
    assert!(!path.exists());
}

#[test]
fn completions_know_the_verbs_and_start_no_daemon() {
    let world = environment();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.lane(&["completions", shell]).ok();
        assert!(script.out().contains("lane"), "{script}");
    }
    let _ = world.lane(&["version"]).ok();
    assert!(!world.home.exists());
}
