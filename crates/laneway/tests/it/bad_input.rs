//! Homes, databases, programs and targets that are not as they should be: said clearly, and left as they are.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use laneway_testkit::process::finish;
use laneway_testkit::{Finished, TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{fails, has_failed, lane};

/// Runs `lane ls --json` with another value of a variable.
#[track_caller]
fn list_with(world: &TestEnvironment, variable: &str, value: impl AsRef<OsStr>) -> Finished {
    finish(world.lane_command(&["ls", "--json"]).env(variable, value), b"")
}

#[test]
fn a_home_that_cannot_be_one_is_named_and_not_touched() {
    let world = environment();
    let file = world.root().join("file");
    fs::write(&file, "kept").unwrap();
    for home in [file.clone(), file.join("below")] {
        let error = has_failed(&list_with(&world, "LANEWAY_HOME", &home), 1, "home_unusable");
        assert!(error["message"].as_str().unwrap().contains(home.to_str().unwrap()), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("LANEWAY_HOME"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    let error = has_failed(&list_with(&world, "LANEWAY_HOME", "some/folder"), 2, "home_unusable");
    assert!(error["message"].as_str().unwrap().contains("not an absolute path"), "{error}");
    assert!(!world.repository.join("some").exists());
    let without =
        finish(world.lane_command(&["ls", "--json"]).env_remove("LANEWAY_HOME").env_remove("HOME"), b"");
    let _ = has_failed(&without, 2, "home_unusable");
    // What names no folder at all is as if it were not set.
    let mut default = world.lane_command(&["daemon", "status", "--json"]);
    let status = finish(default.env("LANEWAY_HOME", "").env("XDG_STATE_HOME", world.root()), b"");
    let error = has_failed(&status, 3, "daemon_not_running");
    let expected = world.root().join("laneway");
    assert!(error["message"].as_str().unwrap().ends_with(expected.to_str().unwrap()), "{error}");
}

#[test]
fn a_home_whose_path_is_too_long_for_a_socket_works_all_the_same() {
    let mut world = environment();
    world.home = world.root().join("h".repeat(120)).join("o".repeat(120)).join("m".repeat(120));
    assert!(world.home.as_os_str().len() > 360);
    let folder = world.start("a", &["fake-agent", "echo"]);
    let _ = world.lane(&["send", "a", "you", "--enter"]).ok();
    screen::wait_for_line(&folder, "heard you");
    assert!(world.lane(&["read", "a"]).ok().out().contains("heard you"));
    assert_eq!(world.lane_with_input(&["exec", "a", "--", "cat"], b"through").ok().out(), "through");
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_for_row("heard you");
    window.press("me\n");
    window.wait_for_row("heard me");
    window.press("\u{1c}");
    window.wait_until_left_with(0);
    window.close();
    let program = world.pid("a");
    world.kill_the_daemon();
    assert_eq!(world.pid("a"), program);
    let _ = world.lane(&["daemon", "restart"]).ok();
    assert_eq!(world.pid("a"), program);
    // From inside a run as well: its holder starts the daemon.
    world.kill_the_daemon();
    let _ = world.lane(&["exec", "a", "--", "lane", "ls"]).ok();
    let _ = world.lane(&["close", "a"]).ok();
}

/// A home with a lane in it and no daemon; gives the database's path.
#[track_caller]
fn settled_home(world: &TestEnvironment) -> std::path::PathBuf {
    let _ = world.lane(&["new", "a"]).ok();
    let _ = world.lane(&["daemon", "stop"]).ok();
    world.home.join("laneway.db")
}

#[test]
fn a_damaged_database_is_refused_and_kept_as_it_is() {
    let world = environment();
    let path = settled_home(&world);
    let good = fs::read(&path).unwrap();
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[..100].fill(0x5a),
        |bytes| *bytes = b"this is no database, but somebody's notes\n".repeat(100),
        |bytes| bytes[4096..].fill(0xa5),
        |bytes| bytes.truncate(4096 * 3 + 17),
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let mut bytes = good.clone();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let error = fails(&world, &["ls"], 1, "database_damaged");
        assert!(error["message"].as_str().unwrap().contains("laneway.db"), "damage {n}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("nothing was changed"), "damage {n}: {error}");
        assert!(fs::read(&path).unwrap() == bytes, "damage {n}: the file was changed");
        let _ = fails(&world, &["daemon", "status"], 3, "daemon_not_running");
    }
    fs::write(&path, good).unwrap();
    assert_eq!(lane(&world, "a")["status"], "ready", "with the copy put back all is as before");
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_kept_as_it_is() {
    let world = environment();
    let path = settled_home(&world);
    let version = |sql: &str| {
        let script = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\nprint(db.execute(sys.argv[2]).fetchone())\ndb.commit()";
        finish(world.program("python3").args(["-c", script]).arg(&path).arg(sql), b"").ok().out()
    };
    let ours = version("PRAGMA user_version").trim().trim_matches(['(', ',', ')']).to_owned();
    version("PRAGMA user_version = 999");
    let before = fs::read(&path).unwrap();
    let error = fails(&world, &["new", "b"], 1, "database_newer");
    assert!(error["message"].as_str().unwrap().contains("999"), "{error}");
    assert!(fs::read(&path).unwrap() == before, "the file was changed");
    assert!(!world.repository.join(".lanes/b").exists());
    version(&format!("PRAGMA user_version = {ours}"));
    assert_eq!(lane(&world, "a")["status"], "ready");
}

/// A process that holds a database locked until its standard input ends.
#[track_caller]
fn lock(world: &TestEnvironment, database: &Path) -> Child {
    let script = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  db.execute('PRAGMA locking_mode=EXCLUSIVE')\ndb.execute('BEGIN EXCLUSIVE')\n\
                  print('locked', flush=True)\nsys.stdin.read()";
    let mut python = world.program("python3");
    python.args(["-c", script]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    child
}

#[test]
fn a_database_that_another_program_has_locked_is_said_to_be() {
    let world = environment();
    let path = settled_home(&world);
    let mut locking = lock(&world, &path);
    let error = fails(&world, &["ls"], 1, "database_locked");
    assert!(error["hint"].as_str().unwrap().contains("end the program"), "{error}");
    drop(locking.stdin.take());
    locking.wait().unwrap();
    assert_eq!(lane(&world, "a")["status"], "ready");
}

#[test]
fn what_is_needed_and_missing_is_named() {
    let world = environment();
    let error = has_failed(&list_with(&world, "PATH", "/nowhere"), 1, "git_unusable");
    assert!(error["hint"].as_str().unwrap().contains("install git"), "{error}");
    let lane = world.lane_command(&[]).get_program().to_owned();
    let alone = world.root().join("bin");
    fs::create_dir(&alone).unwrap();
    fs::hard_link(&lane, alone.join("lane")).unwrap();
    let mut command = world.program(alone.join("lane"));
    let error = has_failed(&finish(command.args(["ls", "--json"]), b""), 1, "holder_missing");
    assert!(error["message"].as_str().unwrap().contains("lane-holder"), "{error}");
    let _ = fails(&world, &["daemon", "status"], 3, "daemon_not_running");
    let _ = world.lane(&["ls"]).ok();
}

#[test]
fn a_command_line_that_makes_no_sense_is_usage() {
    let world = environment();
    let wrong: [&[&str]; 9] = [
        &["nonsense"],
        &["new", "a", "b"],
        &["exec", "a"],
        &["run"],
        &["close"],
        &["stop", "a", "--grace", "soon"],
        &["read", "a", "--lines", "-3"],
        &["read", "a", "--screen", "--all"],
        &["events", "--since", "yesterday"],
    ];
    for arguments in wrong {
        let error = fails(&world, arguments, 2, "usage");
        assert!(error["message"].is_string());
        let said = world.lane(arguments).code(2);
        assert!(said.out().is_empty() && said.err().starts_with("error: "), "{said}");
    }
    assert!(!world.home.exists(), "no daemon is started for it");
}

/// A world with lanes `alpha` (workers `alpha`, `tests`) and `beta` (workers `one`, `two`).
fn two_lanes() -> TestEnvironment {
    let world = environment();
    for (lane, workers) in [("alpha", ["alpha", "tests"]), ("beta", ["one", "two"])] {
        let _ = world.lane(&["new", lane]).ok();
        for worker in workers {
            let _ =
                world.lane(&["run", lane, "--name", worker, "--", "fake-agent", "say", worker, "wait"]).ok();
            screen::wait_for_line(&world.run_folder(worker), worker);
        }
    }
    world
}

#[test]
fn a_target_is_an_id_a_lane_and_worker_or_a_name() {
    let world = two_lanes();
    let tests = world.worker("tests");
    let (id, run) = (tests["id"].as_str().unwrap(), tests["run"].as_str().unwrap());
    for target in [id, &id[..id.len() - 1], &id[id.len() - 8..], run, "alpha/tests", "tests"] {
        assert_eq!(world.lane(&["read", target]).ok().out(), "tests\n", "{target}");
    }
    // The lane's name means its worker of that name; the lane's id is the lane's alone.
    assert_eq!(world.lane(&["read", "alpha"]).ok().out(), "alpha\n");
    let alpha = lane(&world, "alpha")["id"].as_str().unwrap().to_owned();
    for target in [alpha.as_str(), &alpha[alpha.len() - 8..], "alpha"] {
        assert_eq!(world.json(&["path", target])["path"], lane(&world, "alpha")["path"], "{target}");
    }
    let show = |target: &str| world.json(&["show", target]);
    assert_eq!(show("beta")["lane"]["name"], "beta");
    assert_eq!(show("tests")["worker"]["name"], "tests");
}

#[test]
fn a_target_that_can_mean_several_is_ambiguous_and_lists_them() {
    let world = two_lanes();
    for arguments in [&["read", "beta"][..], &["stop", "beta"], &["send", "beta", "x"]] {
        let error = fails(&world, arguments, 4, "ambiguous");
        assert_eq!(error["details"]["candidates"], json!(["beta/one", "beta/two"]), "{error}");
    }
    let said = world.lane(&["read", "beta"]).code(4);
    assert!(said.err().contains("beta/one") && said.err().contains("beta/two"), "{said}");
    let ids: Vec<Value> =
        ["alpha", "tests", "one", "two"].map(|name| world.worker(name)["id"].clone()).into();
    // Ids made within a quarter of an hour share their first nine characters; of four, two surely do.
    let begins = |id: &Value| id.as_str().unwrap()[..9].to_owned();
    let common = if begins(&ids[0]) == begins(&ids[1]) { begins(&ids[0]) } else { begins(&ids[3]) };
    let error = fails(&world, &["stop", &common], 4, "ambiguous");
    let all: Vec<&Value> = ids.iter().filter(|id| begins(id) == common).collect();
    assert!(all.len() > 1, "{ids:?}");
    assert_eq!(error["details"]["candidates"], json!(all), "{error}");
    for name in ["alpha", "tests", "one", "two"] {
        assert_eq!(world.worker(name)["status"], "running", "nothing was stopped");
    }
    let _ = world.lane(&["stop", "two"]).ok();
    assert_eq!(world.lane(&["read", "beta"]).ok().out(), "one\n", "its only live worker");
}

#[test]
fn a_target_that_is_not_there_is_not_found_and_the_closest_are_named() {
    let world = two_lanes();
    let says = |arguments: &[&str], expected: &str| {
        let error = fails(&world, arguments, 3, "not_found");
        let said =
            format!("{} {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap_or_default());
        assert!(said.contains(expected), "{error}");
    };
    says(&["read", "test"], "tests");
    says(&["close", "alpa"], "alpha");
    says(&["path", "betaa"], "beta");
    says(&["stop", "alpha/test"], "tests");
    says(&["run", "nothere", "--", "true"], "alpha");
    says(&["show", "wk_00000000000000000000000000"], "wk_00000000000000000000000000");
    // A worker's name is no lane, and no prefix of a name is enough.
    says(&["close", "tests"], "tests");
    says(&["stop", "tes"], "tests");
    let error = has_failed(&world.lane(&["exec", "nothere", "--json", "--", "true"]), 125, "not_found");
    assert!(error["message"].as_str().unwrap().contains("nothere"));
    for empty in ["read", "close", "path", "stop", "show"] {
        let _ = world.lane(&[empty, ""]).code(2);
    }
    for odd in ["../alpha", "alpha/", "/", "alpha/tests/x", "%1", "a b", "ä", "\u{1b}[2J"] {
        let said = world.lane(&["read", odd]).code(3);
        assert!(!said.err().contains('\u{1b}'), "{said:?}");
    }
    let _ = world.lane(&["new", "empty"]).ok();
    let error = fails(&world, &["read", "empty"], 3, "no_worker");
    assert!(error["hint"].as_str().unwrap().contains("lane run empty"), "{error}");
}
