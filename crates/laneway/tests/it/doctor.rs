//! `lane doctor`: it finds what is wrong, and leaves everything as it is, or repairs what it may.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use laneway_testkit::process::{self, finish};
use laneway_testkit::{Finished, LIMIT, TestEnvironment};
use rustix::process::Signal;
use serde_json::Value;

use crate::environment;

/// The check of this name.
#[track_caller]
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

/// What the doctor finds; it must end with this code.
#[track_caller]
fn report(world: &TestEnvironment, code: i32) -> Value {
    let report = world.lane(&["doctor", "--json"]).code(code).json();
    assert_eq!(report["healthy"], code == 0, "{report}");
    report
}

/// The one thing that is wrong.
#[track_caller]
fn wrong(finished: &Finished) -> Value {
    let report = finished.clone().code(1).json();
    let checks = report["checks"].as_array().unwrap();
    let wrong: Vec<&Value> = checks.iter().filter(|check| check["state"] == "wrong").collect();
    let [wrong] = wrong[..] else { panic!("not one thing is wrong: {wrong:?}") };
    wrong.clone()
}

/// Every file below a folder: when it was changed, its mode, how long it is.
fn files(folder: &Path) -> BTreeMap<PathBuf, (i64, i64, u32, u64)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            let facts = (metadata.ctime(), metadata.ctime_nsec(), metadata.mode(), metadata.len());
            files.insert(entry.path(), facts);
        }
    }
    files
}

#[test]
fn where_nothing_has_run_yet_nothing_is_wrong_and_nothing_is_made() {
    let world = environment();
    let found = report(&world, 0);
    for name in [
        "lane",
        "lane-holder",
        "daemon",
        "git",
        "kernel",
        "terminals",
        "open files",
        "home",
        "disk",
        "database",
    ] {
        assert_eq!(check(&found, name)["state"], "ok", "{found}");
    }
    assert!(check(&found, "daemon")["found"].as_str().unwrap().contains("does not run"), "{found}");
    let events: Vec<_> = found["survival"].as_array().unwrap().iter().map(|row| &row["event"]).collect();
    assert!(events.iter().any(|event| **event == "the machine restarts"), "{events:?}");
    let said = world.lane(&["doctor"]).ok().out();
    for part in ["VERSIONS", "PLACES", "WHEN", "you log out", "nothing is wrong"] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert!(!world.home.exists());
}

#[test]
fn what_runs_is_told_and_nothing_is_started_or_changed() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let found = report(&world, 0);
    assert!(
        check(&found, "daemon")["found"].as_str().unwrap().contains(&world.daemon_pid().to_string()),
        "{found}"
    );
    assert!(check(&found, "runs")["found"].as_str().unwrap().starts_with("1 alive"), "{found}");
    assert_eq!(check(&found, "sockets")["found"], "in the home");
    world.kill_the_daemon();
    let before = files(&world.home);
    let found = report(&world, 0);
    assert!(files(&world.home) == before, "the doctor changed something");
    assert!(
        check(&found, "socket")["found"].as_str().unwrap().contains("of a daemon that was killed"),
        "{found}"
    );
    assert!(check(&found, "database")["found"].as_str().unwrap().contains("was killed"), "{found}");
    let holder = world.run_folder("a");
    let holder = laneway_wire::record::read(&holder.join("record")).unwrap().holder.pid;
    world.kill_the_daemon();
    process::kill(holder);
    let found = report(&world, 0);
    assert!(
        check(&found, "not recorded")["found"].as_str().unwrap().starts_with("1 run has ended"),
        "{found}"
    );
    assert_eq!(world.lane(&["daemon", "status"]).code, 3, "none was started");
}

#[test]
fn a_look_at_a_living_daemon_changes_nothing_either_and_a_repair_clears_away() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    // What is left of a holder of a run that nobody knows of.
    let stray = world.home.join("runs/rn_00000000000000000000000001");
    fs::create_dir(&stray).unwrap();
    fs::set_permissions(&stray, fs::Permissions::from_mode(0o700)).unwrap();
    let folder = fs::File::open(&stray).unwrap();
    let name = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), laneway_wire::SOCKET_NAME);
    drop(UnixListener::bind(name).unwrap());
    let before = files(&world.home.join("runs"));
    report(&world, 0);
    assert!(files(&world.home.join("runs")) == before, "the doctor changed something");
    let _ = world.lane(&["doctor", "--fix"]).ok();
    assert!(!stray.join(laneway_wire::SOCKET_NAME).exists());
    assert_eq!(world.worker("a")["status"], "running");
}

#[test]
fn a_daemon_that_hangs_is_found_and_not_waited_for() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let daemon = world.daemon_pid();
    process::signal(daemon, Signal::STOP);
    let began = Instant::now();
    let wrong = wrong(&world.lane(&["doctor", "--json"]));
    assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
    process::signal(daemon, Signal::CONT);
    assert_eq!(wrong["name"], "daemon");
    assert!(wrong["found"].as_str().unwrap().contains("did not answer"), "{wrong}");
    assert_eq!(wrong["advice"], "lane daemon logs");
    report(&world, 0);
}

#[test]
fn what_is_wrong_with_the_home_is_told() {
    let world = environment();
    let found = |name: &str| {
        let wrong = wrong(&world.lane(&["doctor", "--json"]));
        assert_eq!(wrong["name"], name, "{wrong}");
        assert!(wrong["advice"].is_string(), "{wrong}");
        wrong["found"].as_str().unwrap().to_owned()
    };
    fs::create_dir(&world.home).unwrap();
    fs::write(world.home.join("config.toml"), "\nnonsense = 1\n").unwrap();
    assert!(found("settings").contains("config.toml:2:1: there is no setting `nonsense`"));
    fs::remove_file(world.home.join("config.toml")).unwrap();
    fs::write(world.home.join("laneway.db"), "no database").unwrap();
    assert!(found("database").contains("damaged"));
    fs::remove_file(world.home.join("laneway.db")).unwrap();

    fs::set_permissions(&world.home, fs::Permissions::from_mode(0o755)).unwrap();
    let report = report(&world, 0);
    assert_eq!(check(&report, "home")["state"], "warning");
    assert!(check(&report, "home")["advice"].as_str().unwrap().starts_with("chmod 700"), "{report}");
    fs::remove_dir(&world.home).unwrap();
    let finished = finish(world.lane_command(&["doctor", "--json"]).env("LANEWAY_HOME", "relative"), b"");
    assert!(wrong(&finished)["found"].as_str().unwrap().contains("not an absolute path"));
}

#[test]
fn a_home_in_memory_is_wrong() {
    let world = environment();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    if !mounts.contains(" /dev/shm tmpfs ") {
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = world.lane_command(&["doctor", "--json"]);
    let wrong = wrong(&finish(command.env("LANEWAY_HOME", folder.path().join("home")), b""));
    assert_eq!(wrong["name"], "filesystem");
    assert!(wrong["found"].as_str().unwrap().contains("runs would not survive a reboot"), "{wrong}");
}

#[test]
fn missing_parts_are_told() {
    let world = environment();
    let alone = world.root().join("alone");
    fs::create_dir(&alone).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_lane"), alone.join("lane")).unwrap();
    let holder = wrong(&finish(world.program(alone.join("lane")).args(["doctor", "--json"]), b""));
    assert_eq!(holder["name"], "lane-holder");
    assert!(holder["advice"].as_str().unwrap().contains("one folder"), "{holder}");
    fs::write(alone.join("lane-holder"), "#!/bin/sh\necho lane-holder 0.0.1\n").unwrap();
    fs::set_permissions(alone.join("lane-holder"), fs::Permissions::from_mode(0o755)).unwrap();
    let other = finish(world.program(alone.join("lane")).args(["doctor", "--json"]), b"").ok().json();
    assert_eq!(check(&other, "lane-holder")["state"], "warning", "{other}");
    let git = wrong(&finish(world.lane_command(&["doctor", "--json"]).env("PATH", &alone), b""));
    assert_eq!(git["name"], "git");
}

#[test]
fn who_ends_what_is_asked_of_the_login_manager() {
    let world = environment();
    let bin = world.root().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\ncase \"$*\" in *Linger*) echo Linger=yes;; *KillUser*) echo KillUserProcesses=yes;; esac\n";
    fs::write(bin.join("loginctl"), script).unwrap();
    fs::set_permissions(bin.join("loginctl"), fs::Permissions::from_mode(0o755)).unwrap();
    // Installed and enabled, as systemd would have it.
    let config = world.root().join("config");
    let units = config.join("systemd/user");
    fs::create_dir_all(units.join("default.target.wants")).unwrap();
    let lane = |arguments: &[&str]| {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        finish(world.lane_command(arguments).env("PATH", path).env("XDG_CONFIG_HOME", &config), b"").ok()
    };
    let reboot = |report: &Value| {
        let rows = report["survival"].as_array().unwrap();
        rows.iter().find(|row| row["event"] == "the machine restarts").unwrap().clone()
    };
    let before = reboot(&lane(&["doctor", "--json"]).json());
    assert_eq!((&before["programs"], &before["daemon"]), (&"ends".into(), &"comes_back".into()));
    assert_eq!(before["advice"], "lane daemon install");
    fs::write(units.join("laneway.service"), lane(&["daemon", "install", "--print"]).stdout).unwrap();
    std::os::unix::fs::symlink(
        units.join("laneway.service"),
        units.join("default.target.wants/laneway.service"),
    )
    .unwrap();
    let after = reboot(&lane(&["doctor", "--json"]).json());
    assert!(after["because"].as_str().unwrap().contains("at boot") && after["advice"].is_null(), "{after}");
}

/// What is recorded against what is there; the doctor must end with this code.
#[track_caller]
fn records(world: &TestEnvironment, arguments: &[&str], code: i32) -> Vec<Value> {
    let report = world.lane(&[&["doctor", "--json"], arguments].concat()).code(code).json();
    report["records"]["findings"].as_array().unwrap_or_else(|| panic!("not compared: {report}")).clone()
}

#[test]
fn what_a_failed_creation_has_left_is_taken_back_when_the_doctor_is_asked_to() {
    let world = environment();
    fs::write(world.repository.join(".git/info/attributes"), "README filter=broken\n").unwrap();
    for (key, value) in
        [("smudge", "touch left-behind; false"), ("clean", "cat"), ("required", "true")].map(|(k, v)| (k, v))
    {
        world.git(&["config", &format!("filter.broken.{key}"), value]);
    }
    let said = world.lane(&["new", "a"]).code(1).err();
    assert!(said.contains("left-behind"), "{said}");
    let tree = world.repository.join(".lanes/a");
    world.git(&["config", "--remove-section", "filter.broken"]);
    // Somebody's file is in it: it stays, whoever asks.
    let failed = records(&world, &["--fix"], 1);
    assert_eq!((failed.len(), failed[0]["outcome"].as_str()), (1, Some("failed")), "{failed:?}");
    assert!(failed[0]["message"].as_str().unwrap().contains("left-behind"), "{failed:?}");
    assert!(tree.join("left-behind").exists());
    fs::remove_file(tree.join("left-behind")).unwrap();
    let found = records(&world, &[], 0);
    assert_eq!((found.len(), found[0]["outcome"].as_str()), (1, Some("would")), "{found:?}");
    assert!(tree.exists(), "nothing was asked for");
    assert!(world.lane(&["doctor"]).ok().out().contains("lane doctor --fix"));
    let done = records(&world, &["--fix"], 0);
    assert_eq!((done.len(), done[0]["outcome"].as_str()), (1, Some("done")), "{done:?}");
    assert!(!tree.exists() && world.git(&["branch", "--list", "lane/*"]).is_empty());
    assert_eq!(records(&world, &[], 0), [] as [Value; 0]);
    // A branch of that name is somebody's own, unless the creation says that it made it.
    world.git(&["branch", "lane/a"]);
    assert_eq!(records(&world, &[], 0), [] as [Value; 0]);
    world.git(&["branch", "-D", "lane/a"]);
    let created = world.wait_for_event(0, "an event of the lane", |event| event["lane"].is_string());
    let id = created["lane"].as_str().unwrap();
    let made = format!("laneway lane a {id}");
    world.git(&["update-ref", "--create-reflog", "-m", &made, "refs/heads/lane/a", "HEAD"]);
    let said = world.lane(&["doctor"]).ok().out();
    assert!(said.ends_with("nothing is wrong; 1 thing can be repaired (lane doctor --fix)\n"), "{said}");
    assert_eq!(records(&world, &["--fix"], 0).len(), 1);
    assert!(world.git(&["branch", "--list", "lane/*"]).is_empty());
    let event = world.wait_for_event(0, "a comparison that did something", |event| {
        event["event"] == "reconcile.completed" && event["data"]["done"] == 1
    });
    assert_eq!(event["data"]["reported"], 0, "{event}");
}

#[test]
fn what_is_not_recorded_is_told_with_what_to_type_and_left_as_it_is() {
    let world = environment();
    let _ = world.lane(&["new", "gone"]).ok();
    fs::remove_dir_all(world.worktree("gone")).unwrap();
    let stranger = world.root().join("stranger");
    let path = stranger.to_str().unwrap();
    world.git(&["worktree", "add", "--quiet", "--lock", "--reason", "laneway lane x", path, "-b", "x"]);
    let lock = world.repository.join(".git/index.lock");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::create(&lock).unwrap().set_modified(old).unwrap();
    let kept = world.repository.join(".lanes/.trash/ln_00000000000000000000000009/tree");
    fs::create_dir_all(&kept).unwrap();
    let found = records(&world, &["--fix"], 0);
    for part in ["lane close gone", &format!("lane adopt {path}"), "rm ", "ln_00000000000000000000000009"] {
        let says_so = |finding: &Value| finding["what"].as_str().is_some_and(|what| what.contains(part));
        let finding = found.iter().find(|finding| says_so(finding));
        let finding = finding.unwrap_or_else(|| panic!("nothing of {part}: {found:?}"));
        assert_eq!(finding["outcome"], "reported");
    }
    assert_eq!(found.len(), 4, "{found:?}");
    let said = world.lane(&["doctor"]).ok().out();
    assert!(said.ends_with("nothing is wrong; 4 things are left to you\n"), "{said}");
    assert!(lock.exists() && kept.exists() && stranger.join("README").exists());
    fs::remove_file(lock).unwrap();
    // As it says.
    world.git(&["worktree", "unlock", path]);
    let _ = world.lane(&["adopt", path]).ok();
    let _ = world.lane(&["close", "gone"]).ok();
    assert_eq!(records(&world, &[], 0).len(), 1);
}
