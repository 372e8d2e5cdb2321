//! Several use one lane: leases, roles, the mark, and a close that waits for everybody.

use std::fs;
use std::process::Stdio;
use std::thread;

use laneway_testkit::process::finish;
use laneway_testkit::{TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Pipe, events, fails, lane};

/// Who uses a lane, as what.
#[track_caller]
fn users(world: &TestEnvironment, name: &str) -> Vec<(String, String)> {
    let lane = lane(world, name);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lane["attachments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (text(&user["who"]), text(&user["role"])))
        .collect()
}

/// The names of the events about who uses lanes, with who it is.
#[track_caller]
fn told(world: &TestEnvironment) -> Vec<(String, Value)> {
    let about_users = |event: &Value| {
        let name = event["event"].as_str().unwrap().to_owned();
        let what =
            if name == "lane.shared.changed" { &event["data"]["shared"] } else { &event["data"]["who"] };
        let fits = name.starts_with("lane.attachment.") || name == "lane.shared.changed";
        fits.then(|| (name, what.clone()))
    };
    events(world).iter().filter_map(about_users).collect()
}

#[track_caller]
fn as_said(told: &[(&str, Value)]) -> Vec<(String, Value)> {
    told.iter().map(|(name, what)| ((*name).to_owned(), what.clone())).collect()
}

#[test]
fn who_joins_again_renews_and_who_is_not_there_has_left_already() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let first = world.json(&["join", "a", "--as", "anna", "--ttl", "2h"]);
    assert_eq!(first["renewed"], false);
    assert!(first["attachment"]["id"].as_str().unwrap().starts_with("at_"), "{first}");
    assert_eq!(first["attachment"]["role"], "driver");
    assert_eq!(lane(&world, "a")["status"], "ready", "one alone shares with nobody");
    let again = world.json(&["join", "a", "--as", "anna", "--role", "observer"]);
    assert_eq!((&again["renewed"], &again["attachment"]["role"]), (&json!(true), &json!("observer")));
    for kept in ["id", "who", "joined_at"] {
        assert_eq!(again["attachment"][kept], first["attachment"][kept], "{kept}");
    }
    assert!(
        again["attachment"]["until"].as_str() > first["attachment"]["until"].as_str(),
        "two hours from now on"
    );
    let _ = world.lane(&["join", "a", "--as", "ben"]).ok();
    assert_eq!(lane(&world, "a")["status"], "shared");
    assert_eq!(lane(&world, "a")["shared"], false, "nobody has marked it");
    let listed = world.lane(&["ls"]).ok();
    assert!(listed.out().contains("USED BY") && listed.out().contains("anna, ben"), "{listed}");
    let shown = world.lane(&["show", "a"]).ok();
    assert!(shown.out().contains("used by   anna (observer until 20"), "{shown}");
    let left = world.json(&["leave", "a", "--as", "ben"]);
    assert_eq!((&left["was_attached"], &left["lane"]["status"]), (&json!(true), &json!("ready")));
    assert_eq!(world.json(&["leave", "a", "--as", "ben"])["was_attached"], false);
    let said = world.lane(&["leave", "a", "--as", "nobody"]).ok();
    assert_eq!(said.out(), "nobody did not use lane a; anna uses it\n");
    let who = |name: &str| json!(name);
    assert_eq!(
        told(&world),
        as_said(&[
            ("lane.attachment.joined", who("anna")),
            ("lane.attachment.renewed", who("anna")),
            ("lane.attachment.joined", who("ben")),
            ("lane.attachment.left", who("ben")),
        ])
    );
}

#[test]
fn the_mark_stays_until_it_is_taken_away_or_the_last_one_leaves() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    assert_eq!(world.json(&["share", "a"])["changed"], true);
    assert_eq!(world.json(&["share", "a"])["changed"], false);
    assert_eq!(
        (&lane(&world, "a")["status"], &lane(&world, "a")["shared"]),
        (&json!("shared"), &json!(true))
    );
    assert_eq!(world.lane(&["unshare", "a"]).ok().out(), "lane a is no longer marked as shared\n");
    assert_eq!(world.json(&["unshare", "a"])["changed"], false);
    for who in ["anna", "ben"] {
        let _ = world.lane(&["join", "a", "--as", who]).ok();
    }
    let _ = world.lane(&["share", "a"]).ok();
    let _ = world.lane(&["leave", "a", "--as", "anna"]).ok();
    assert_eq!(lane(&world, "a")["status"], "shared");
    let _ = world.lane(&["leave", "a", "--as", "ben"]).ok();
    assert_eq!(
        (&lane(&world, "a")["status"], &lane(&world, "a")["shared"]),
        (&json!("ready"), &json!(false))
    );
    assert_eq!(told(&world).last(), Some(&("lane.shared.changed".to_owned(), json!(false))));
    // What runs is said first.
    let folder = world.start("b", &["fake-agent", "ready", "wait"]);
    screen::wait_for_line(&folder, "ready");
    let _ = world.lane(&["share", "b"]).ok();
    assert_eq!(lane(&world, "b")["status"], "running");
}

#[test]
fn a_close_is_refused_while_somebody_else_uses_the_lane_whatever_else_is_said() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let own = world.json(&["join", "a"])["attachment"]["who"].as_str().unwrap().to_owned();
    let _ = world.lane(&["join", "a", "--as", "anna", "--role", "observer"]).ok();
    for how in [&[][..], &["--discard"], &["--merge"], &["--merge", "--discard"]] {
        let error = fails(&world, &[&["close", "a"], how].concat(), 5, "would_lose_work");
        let user = &error["details"]["attachments"]["first"][0];
        assert_eq!((&user["who"], &user["role"]), (&json!("anna"), &json!("observer")), "{error}");
        assert_eq!(error["details"]["attachments"]["count"], 1, "he himself is no reason: {error}");
        assert!(user["until"].as_str().unwrap().starts_with("20"), "{error}");
        assert!(
            error["message"].as_str().unwrap().starts_with("lane a is in use by anna (observer until 20"),
            "{error}"
        );
        assert_eq!(error["hint"], "lane leave a --as anna");
    }
    let forecast = world.json(&["close", "a", "--dry-run", "--discard"]);
    assert_eq!(
        (&forecast["would"], &forecast["losses"]["attachments"]["count"]),
        (&json!("refuse"), &json!(1))
    );
    assert!(world.repository.join(".lanes/a/README").exists());
    // With work in it as well both are told, and both ways out.
    let note = world.repository.join(".lanes/a/note");
    fs::write(&note, "work").unwrap();
    let said = world.lane(&["close", "a"]).code(5);
    for part in ["untracked", "used by", "lane leave a --as anna", "lane close a --merge"] {
        assert!(said.err().contains(part), "{part}: {said}");
    }
    fs::remove_file(note).unwrap();
    let _ = world.lane(&["leave", "a", "--as", "anna"]).ok();
    let _ = world.lane(&["close", "a"]).ok();
    assert_eq!(users(&world, "a"), [], "who closed it has left it as well");
    assert_eq!(told(&world).last(), Some(&("lane.attachment.left".to_owned(), json!(own))));
    for verb in ["join", "share", "unshare"] {
        let _ = fails(&world, &[verb, lane(&world, "a")["id"].as_str().unwrap()], 5, "lane_not_open");
    }
    let left = world.json(&["leave", lane(&world, "a")["id"].as_str().unwrap()]);
    assert_eq!(left["was_attached"], false);
}

#[test]
fn an_adopted_lane_is_not_closed_either_while_somebody_else_uses_it() {
    let world = environment();
    world.git(&["worktree", "add", "--quiet", "../theirs"]);
    let _ = world.lane(&["adopt", "../theirs"]).ok();
    let _ = world.lane(&["join", "theirs", "--as", "anna"]).ok();
    let error = fails(&world, &["close", "theirs"], 5, "would_lose_work");
    assert_eq!(error["hint"], "lane leave theirs --as anna");
    let _ = world.lane(&["leave", "theirs", "--as", "anna"]).ok();
    let _ = world.lane(&["close", "theirs"]).ok();
}

#[test]
fn inside_a_run_it_is_its_worker_who_joins_and_a_task_has_to_say_who() {
    let world = environment();
    let login = finish(world.program("id").arg("-un"), b"").ok().out();
    let _ = world.lane(&["new", "a"]).ok();
    assert_eq!(world.json(&["join", "a"])["attachment"]["who"], login.trim().to_lowercase());
    let (done, go) = (Pipe::new(&world, "done"), Pipe::new(&world, "go"));
    let script = r#"lane join a --role observer && echo joined > "$1"; read go < "$2"
                    lane close a --json > closing.json; echo closed > "$1"; lane leave a; echo left > "$1"; cat"#;
    let _ = world
        .lane(&["run", "a", "--name", "agent", "--", "sh", "-c", script, "sh", done.text(), go.text()])
        .ok();
    assert_eq!(done.wait(), "joined");
    let names: Vec<String> = users(&world, "a").into_iter().map(|(who, _)| who).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"agent".to_owned()), "{names:?}");
    // For the agent the person is somebody else; for the person it is the agent.
    go.go();
    assert_eq!(done.wait(), "closed");
    let refused = fs::read(world.repository.join(".lanes/a/closing.json")).unwrap();
    let refused: Value = serde_json::from_slice(&refused).unwrap();
    assert_eq!(refused["error"]["details"]["attachments"]["first"][0]["who"], login.trim().to_lowercase());
    assert_eq!(done.wait(), "left");
    assert_eq!(users(&world, "a").len(), 1);
    let task = world.lane(&["exec", "a", "--", "lane", "join", "a", "--json"]).code(2);
    assert_eq!(task.json()["error"]["code"], "who", "{task}");
    let task = world.lane(&["exec", "a", "--", "lane", "join", "a", "--as", "task", "--json"]).ok();
    assert_eq!(task.json()["attachment"]["who"], "task");
}

#[test]
fn a_worker_is_not_the_person_of_its_name_and_is_itself_under_a_new_one() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let (done, go) = (Pipe::new(&world, "done"), Pipe::new(&world, "go"));
    let script = r#"lane join a && echo joined > "$1"; read go < "$2"
                    lane join a --json > joined.json; lane close a --json > closing.json; echo closed > "$1"; cat"#;
    let run = ["run", "a", "--name", "anna", "--", "sh", "-c", script, "sh", done.text(), go.text()];
    let _ = world.lane(&run).ok();
    assert_eq!(done.wait(), "joined");
    let id = world.worker("anna")["id"].as_str().unwrap().to_owned();
    let joined = world.json(&["join", "a", "--as", "anna"]);
    assert_eq!((&joined["renewed"], &joined["attachment"]["worker"]), (&json!(false), &Value::Null));
    let named = world.json(&["join", "a", "--as", "a/anna"]);
    assert_eq!((&named["renewed"], &named["attachment"]["worker"]), (&json!(true), &json!(id)));
    assert_eq!(users(&world, "a").len(), 2);
    let _ = world.lane(&["rename", "a/anna", "bert"]).ok();
    let listed = world.lane(&["ls"]).ok();
    assert!(listed.out().contains("worker bert, anna"), "{listed}");
    go.go();
    assert_eq!(done.wait(), "closed");
    let said = |file: &str| -> Value {
        serde_json::from_slice(&fs::read(world.worktree("a").join(file)).unwrap()).unwrap()
    };
    assert_eq!(said("joined.json")["renewed"], true, "it is who it was");
    let others = &said("closing.json")["error"]["details"]["attachments"]["first"];
    assert_eq!((others.as_array().unwrap().len(), &others[0]["who"]), (1, &json!("anna")), "{others}");
    // For a person it is the other way round.
    let _ = world.lane(&["leave", "a", "--as", "anna"]).ok();
    let refused = fails(&world, &["close", "a", "--discard"], 5, "would_lose_work");
    assert!(refused["message"].as_str().unwrap().contains("worker bert"), "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains(&format!("lane leave a --as {id}\n")), "{refused}");
    assert_eq!(world.json(&["leave", "a", "--as", "bert"])["was_attached"], true);
    assert_eq!(users(&world, "a"), []);
}

#[test]
fn a_lease_that_is_not_renewed_runs_out_frees_the_lane_and_says_so() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["new", "b"]).ok();
    let _ = world.lane(&["share", "a"]).ok();
    let _ = world.lane(&["join", "b", "--as", "ben"]).ok();
    let until = world.json(&["join", "a", "--as", "anna", "--ttl", "1s"])["attachment"]["until"].clone();
    let over =
        world.wait_for_event(0, "the end of the lease", |event| event["event"] == "lane.attachment.expired");
    assert_eq!((&over["data"]["who"], &over["actor"]["kind"]), (&json!("anna"), &json!("daemon")));
    assert!(until.as_str() <= over["at"].as_str(), "not before: {until} {over}");
    assert_eq!((&lane(&world, "a")["shared"], users(&world, "a")), (&json!(false), vec![]));
    assert_eq!(users(&world, "b").len(), 1, "the other one goes on");
    let _ = world.lane(&["close", "a"]).ok();
    // One that is renewed does not end when the first one would have.
    let _ = world.lane(&["join", "b", "--as", "short", "--ttl", "1s"]).ok();
    let _ = world.lane(&["join", "b", "--as", "ben", "--ttl", "1s"]).ok();
    let renewed = world.json(&["join", "b", "--as", "ben", "--ttl", "1h"]);
    let _ = world.wait_for_event(0, "the other end", |event| {
        event["event"] == "lane.attachment.expired" && event["data"]["who"] == "short"
    });
    assert_eq!(lane(&world, "b")["attachments"], json!([renewed["attachment"]]));
}

#[test]
fn a_lease_that_ends_while_there_is_no_daemon_is_over_for_the_next_one() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["join", "a", "--as", "anna", "--ttl", "1h"]).ok();
    let _ = world.lane(&["join", "a", "--as", "ben", "--ttl", "1h"]).ok();
    world.kill_the_daemon();
    // As if the clock had gone on by two hours since; for ben he had come two hours later.
    move_lease(&world, "anna", -2);
    let over = world.wait_for_event(0, "its end", |event| event["event"] == "lane.attachment.expired");
    assert_eq!(over["data"]["who"], "anna");
    assert_eq!(users(&world, "a"), [("ben".to_owned(), "driver".to_owned())]);
    // And a timer is set for the one that is left.
    let _ = world.lane(&["join", "a", "--as", "ben", "--ttl", "1s"]).ok();
    world.kill_the_daemon();
    let _ = world.wait_for_event(0, "its end", |event| {
        event["event"] == "lane.attachment.expired" && event["data"]["who"] == "ben"
    });
    let _ = world.lane(&["close", "a"]).ok();
}

#[test]
fn a_clock_that_was_set_back_makes_no_lease_longer() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let before = world.json(&["join", "a", "--as", "anna", "--ttl", "1h"])["attachment"].clone();
    world.kill_the_daemon();
    // As if the clock had shown ten days more when she came.
    move_lease(&world, "anna", 10 * 24);
    let after = lane(&world, "a")["attachments"][0].clone();
    assert_eq!((&after["id"], &after["joined_at"]), (&before["id"], &before["joined_at"]));
    let (until, an_hour_later) = (after["until"].as_str().unwrap(), before["until"].as_str().unwrap());
    assert!(an_hour_later < until, "counted anew: {before} {after}");
    assert_eq!(
        until[..11],
        an_hour_later[..11],
        "an hour, and not ten days (midnight aside): {before} {after}"
    );
    assert!(!told(&world).iter().any(|(name, _)| name == "lane.attachment.expired"));
}

/// Moves a lease by so many hours, as a clock would that showed something else then.
#[track_caller]
fn move_lease(world: &TestEnvironment, who: &str, hours: i64) {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1])\n\
                  moved = db.execute('UPDATE attachments SET renewed_at = renewed_at + ?1, until = until + ?1 \
                  WHERE who = ?2', (int(sys.argv[3]) * 3600 * 1000000, sys.argv[2])).rowcount\n\
                  db.commit()\nassert moved == 1, moved";
    let database = world.home.join("laneway.db");
    let mut command = world.program("python3");
    finish(command.arg("-c").arg(script).arg(database).arg(who).arg(hours.to_string()), b"").ok();
}

#[test]
fn twenty_tasks_run_at_once_in_a_lane_that_two_use() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["share", "a"]).ok();
    for who in ["anna", "ben"] {
        let _ = world.lane(&["join", "a", "--as", who]).ok();
    }
    let (here, go) = (Pipe::new(&world, "here"), Pipe::new(&world, "go"));
    let script = r#"echo "$3" > "$1"; read go < "$2"; echo "task $3"; exit "$3""#;
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let n = n.to_string();
            world
                .lane_command(&["exec", "a", "--", "sh", "-c", script, "sh", here.text(), go.text(), &n])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seen: Vec<u32> = (0..20).map(|_| here.wait().parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>(), "all of them run at once");
    let shown = lane(&world, "a");
    assert_eq!((&shown["status"], shown["workers"].as_array().unwrap().len()), (&json!("running"), 20));
    assert_eq!(users(&world, "a").len(), 2);
    let waiting: Vec<_> =
        tasks.into_iter().map(|task| thread::spawn(|| task.wait_with_output().unwrap())).collect();
    for _ in 0..20 {
        go.go();
    }
    for (n, task) in waiting.into_iter().enumerate() {
        let output = task.join().unwrap();
        assert_eq!(output.status.code(), i32::try_from(n).ok());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("task {n}\n"));
    }
    assert_eq!(lane(&world, "a")["status"], "shared");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let _ = fails(&world, &["join", "a", "--as", "Anna B."], 2, "illegal_name");
    let _ = fails(&world, &["leave", "a", "--as", ""], 2, "illegal_name");
    let _ = fails(&world, &["join", "nowhere"], 3, "not_found");
    for ttl in ["0", "999ms", "169h", "5124095576030h"] {
        let _ = fails(&world, &["join", "a", "--ttl", ttl], 2, "bad_ttl");
    }
    let _ = fails(&world, &["join", "a", "--ttl", "soon"], 2, "usage");
    let said = world.lane(&["join", "a", "--role", "boss"]).code(2);
    assert!(said.err().contains("driver") && said.err().contains("observer"), "{said}");
    assert_eq!((users(&world, "a"), told(&world)), (vec![], vec![]));
    assert_eq!(world.json(&["join", "a", "--ttl", "168h"])["renewed"], false);
}
