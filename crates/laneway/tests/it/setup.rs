//! Setting lanes up: files of the main checkout, steps as tasks, and the consent of a person for both.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Stdio};

use laneway_testkit::process::{self, ends_within};
use laneway_testkit::{LIMIT, TestEnvironment};
use serde_json::Value;

use crate::environment;
use crate::support::{Pipe, events, fails, lane, only_the_daemon_is_left};

/// A world whose repository has these settings, agreed to, and ignores `.env` and `*.log`.
#[track_caller]
fn world_with(settings: &str) -> TestEnvironment {
    let world = environment();
    fs::write(world.repository.join(".gitignore"), ".env\n*.log\n/private/\n").unwrap();
    world.git(&["add", ".gitignore"]);
    world.git(&["commit", "--quiet", "--message", "ignored"]);
    agree_to(&world, settings);
    world
}

#[track_caller]
fn agree_to(world: &TestEnvironment, settings: &str) {
    fs::write(world.repository.join("laneway.toml"), settings).unwrap();
    let view = world.json(&["trust"]);
    assert_eq!(view["trusted"], view["needs_consent"], "{view}");
}

fn step(name: &str, script: &str, more: &str) -> String {
    format!("[[steps]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n{more}\n")
}

/// The steps that were started in a lane, in their order.
#[track_caller]
fn steps_of(world: &TestEnvironment, name: &str) -> Vec<String> {
    let id = lane(world, name)["id"].clone();
    let events = events(world);
    let steps = events.iter().filter(|event| event["event"] == "lane.setup.step" && event["lane"] == id);
    steps.map(|event| event["data"]["name"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn begin(world: &TestEnvironment, arguments: &[&str]) -> Child {
    world
        .lane_command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_lane_gets_its_files_and_then_its_steps_and_then_its_worker() {
    let settings = format!(
        "copy = [\".env\", \"private/**/*.key\"]\nlink = [\"data\"]\n{}{}",
        step(
            "first",
            "cat .env private/a/b.key data/file; echo $MINE >&2; echo made > first.log",
            "env = { MINE = 'own' }"
        ),
        step("second", "test -e first.log && ! test -e second.log && rm first.log", "")
    );
    let world = world_with(&settings);
    let main = &world.repository;
    fs::write(main.join(".env"), "SECRET\n").unwrap();
    fs::set_permissions(main.join(".env"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(main.join("private/a")).unwrap();
    fs::write(main.join("private/a/b.key"), "KEY\n").unwrap();
    fs::write(main.join("private/a/not"), "NOT\n").unwrap();
    fs::create_dir(main.join("data")).unwrap();
    fs::write(main.join("data/file"), "DATA\n").unwrap();
    let made = world.lane(&["new", "a", "--", "fake-agent", "wait"]).ok();
    for said in ["setup 2/3: first\nSECRET\nKEY\nDATA\nown\n", "setup 3/3: second\n"] {
        assert!(made.err().replace("own\n", "").contains(&said.replace("own\n", "")), "{said}: {made}");
    }
    assert!(made.err().contains("own\n") && made.out().contains("worker  a: fake-agent wait"), "{made}");
    let tree = world.worktree("a");
    assert_eq!(fs::metadata(tree.join(".env")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!tree.join("private/a/not").exists());
    assert_eq!(fs::read_link(tree.join("data")).unwrap(), main.join("data"));
    let shown = lane(&world, "a");
    assert_eq!(
        (&shown["setup"], &shown["status"], &shown["failure"]),
        (&"done".into(), &"running".into(), &Value::Null)
    );
    // Its tasks are there with what they said.
    let tasks = world.json(&["ps", "--all"])["workers"].as_array().unwrap().clone();
    let task = tasks.iter().find(|worker| worker["name"].is_null()).unwrap();
    assert!(world.lane(&["logs", task["id"].as_str().unwrap()]).ok().out().contains("SECRET"));
    // What is as it was carried is no work, and what was changed is.
    fs::write(tree.join(".env"), "CHANGED\n").unwrap();
    let error = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(error["details"]["ignored"]["first"], serde_json::json!([".env"]));
    fs::write(tree.join(".env"), "SECRET\n").unwrap();
    world.lane(&["close", "a"]).ok();
    assert_eq!(fs::read_to_string(main.join("data/file")).unwrap(), "DATA\n");
}

#[test]
fn a_step_that_fails_keeps_the_lane_without_a_worker_and_setup_goes_on_with_it() {
    let world = world_with(&format!(
        "{}{}",
        step("once", "echo once >> once.log", ""),
        step("picky", "test -e ../../allowed", "")
    ));
    let error = fails(&world, &["new", "a", "--", "fake-agent", "wait"], 1, "setup_failed");
    assert!(
        error["message"].as_str().unwrap().ends_with("nothing was started in it: setup: picky exited 1"),
        "{error}"
    );
    assert!(error["hint"].as_str().unwrap().contains("lane setup a goes on with it"), "{error}");
    let shown = lane(&world, "a");
    assert_eq!((&shown["status"], &shown["failure"]), (&"ready".into(), &"setup: picky exited 1".into()));
    assert_eq!(shown["setup"], "failed");
    fails(&world, &["run", "a", "--", "fake-agent", "wait"], 5, "not_set_up");
    world.lane(&["exec", "a", "--", "true"]).ok();
    world.lane(&["run", "a", "--force", "--", "fake-agent", "wait"]).ok();
    // The same holds for one that ran before.
    fails(&world, &["restart", "a"], 5, "not_set_up");
    assert_eq!(world.worker("a")["run_number"], 1, "it was not ended");
    world.lane(&["stop", "a"]).ok();
    fails(&world, &["start", "a"], 5, "not_set_up");
    world.lane(&["start", "a", "--force"]).ok();
    world.lane(&["restart", "a", "--force"]).ok();
    assert_eq!(world.worker("a")["run_number"], 3);
    fs::write(world.repository.join("allowed"), "").unwrap();
    world.lane(&["setup", "a"]).ok();
    assert_eq!(fs::read_to_string(world.worktree("a").join("once.log")).unwrap(), "once\n");
    assert_eq!(steps_of(&world, "a"), ["once", "picky", "picky"]);
    assert_eq!(lane(&world, "a")["failure"], Value::Null);
    // One that is done begins anew.
    world.lane(&["setup", "a"]).ok();
    assert_eq!(fs::read_to_string(world.worktree("a").join("once.log")).unwrap(), "once\nonce\n");
    world.lane(&["run", "a", "--", "fake-agent", "wait"]).ok();
}

#[test]
fn a_step_that_hangs_is_ended_at_its_limit_and_one_that_is_not_there_is_named() {
    let world = world_with(&step("hang", "sleep 1000 & wait", "timeout = '300ms'"));
    let error = fails(&world, &["new", "a"], 1, "setup_failed");
    assert!(
        error["message"].as_str().unwrap().contains("setup: hang took longer than 300ms and was stopped"),
        "{error}"
    );
    only_the_daemon_is_left(&world);
    agree_to(&world, "[[steps]]\nname = 'gone'\ncommand = ['no-such-program']\n");
    let error = fails(&world, &["setup", "a"], 1, "setup_failed");
    assert!(error["message"].as_str().unwrap().contains("setup: gone could not be started: "), "{error}");
    assert!(error["message"].as_str().unwrap().contains("no-such-program"), "{error}");
    agree_to(&world, &step("shot", "kill -9 $$", ""));
    let error = fails(&world, &["setup", "a"], 1, "setup_failed");
    assert!(error["message"].as_str().unwrap().ends_with("setup: shot ended by signal 9"), "{error}");
}

#[test]
fn a_step_that_writes_a_lot_or_waits_for_input_is_no_trouble() {
    let world = world_with(&format!("{}{}", step("flood", "seq 100000", ""), step("read", "cat", "")));
    let made = world.lane(&["new", "a"]).ok();
    assert!(made.err().contains("\n100000\nsetup 2/2: read\n"), "{}", made.err().lines().count());
    assert!(made.err().lines().count() > 1_000);
}

#[test]
fn what_a_file_wants_done_needs_consent_for_that_text() {
    let world = environment();
    let settings = step("mark", "touch ../../ran", "");
    fs::write(world.repository.join("laneway.toml"), &settings).unwrap();
    let ran = world.repository.join("ran");
    world.lane(&["new", "a"]).ok();
    let shown = lane(&world, "a");
    assert_eq!((&shown["setup"], &shown["status"]), (&"waiting".into(), &"ready".into()));
    assert!(shown["failure"].as_str().unwrap().contains("laneway.toml is not trusted"), "{shown}");
    fails(&world, &["setup", "a"], 5, "not_trusted");
    let view = world.json(&["trust", "--show"]);
    assert_eq!((&view["trusted"], &view["steps"][0]["name"]), (&false.into(), &"mark".into()));
    // A program in a lane cannot say it for its user.
    let inside = world.lane(&["exec", "a", "--", "lane", "trust", "--json"]).code(5).json();
    assert_eq!(inside["error"]["code"], "consent", "{inside}");
    assert!(!ran.exists());
    let said = world.lane(&["trust"]).ok().out();
    assert!(said.contains("touch ../../ran") && said.contains("is trusted as it is now"), "{said}");
    world.lane(&["setup", "a"]).ok();
    fs::remove_file(&ran).unwrap();
    // Another text is another question, and the old one was answered.
    fs::write(world.repository.join("laneway.toml"), format!("{settings}# more\n")).unwrap();
    world.lane(&["new", "b", "--", "fake-agent", "wait"]).ok();
    fails(&world, &["setup", "b"], 5, "not_trusted");
    fs::write(world.repository.join("laneway.toml"), &settings).unwrap();
    assert!(!ran.exists());
    world.lane(&["setup", "b"]).ok();
    fs::remove_file(&ran).unwrap();
    world.lane(&["new", "c", "--no-setup"]).ok();
    assert_eq!(lane(&world, "c")["failure"], Value::Null);
    world.lane(&["trust", "--revoke"]).ok();
    fails(&world, &["setup", "c"], 5, "not_trusted");
    assert!(!ran.exists());
    // Nor does it put worktrees anywhere.
    fs::write(world.repository.join("laneway.toml"), "worktree = \"{root}/../there/{lane}\"\n").unwrap();
    fails(&world, &["new", "d"], 5, "not_trusted");
    assert!(!world.root().join("there").exists());
}

#[test]
fn who_agrees_at_the_same_moment_as_others_has_agreed() {
    let world = environment();
    fs::write(world.repository.join("laneway.toml"), step("mark", "true", "")).unwrap();
    let _ = world.lane(&["ls"]).ok();
    let all: Vec<Child> = (0..12).map(|_| begin(&world, &["trust"])).collect();
    for mut one in all {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(world.json(&["trust", "--show"])["trusted"], true);
}

#[test]
fn nothing_is_followed_out_and_nothing_is_written_over() {
    let world = world_with("copy = [\".env\", \"private/**\"]\nlink = [\"linked\"]\n");
    let (main, outside) = (&world.repository, world.root().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "outside\n").unwrap();
    // A link in the main checkout that leads out.
    symlink(outside.join("secret"), main.join(".env")).unwrap();
    let error = fails(&world, &["new", "a"], 1, "setup_failed");
    assert!(error["message"].as_str().unwrap().contains(".env leads elsewhere"), "{error}");
    assert!(!world.worktree("a").join(".env").exists());
    fs::remove_file(main.join(".env")).unwrap();
    symlink(&outside, main.join("linked")).unwrap();
    fails(&world, &["setup", "a"], 1, "setup_failed");
    assert!(fs::symlink_metadata(world.worktree("a").join("linked")).is_err());
    fs::remove_file(main.join("linked")).unwrap();
    world.lane(&["setup", "a"]).ok();
    world.lane(&["close", "a"]).ok();
    // A link in the tree, as a branch can have one, that leads out.
    fs::create_dir(main.join("private")).unwrap();
    fs::write(main.join("private/key"), "main\n").unwrap();
    world.lane(&["new", "b", "--no-setup"]).ok();
    symlink(&outside, world.worktree("b").join("private")).unwrap();
    let error = fails(&world, &["setup", "b"], 1, "setup_failed");
    assert!(error["message"].as_str().unwrap().contains("private/key leads elsewhere"), "{error}");
    assert!(!outside.join("key").exists());
    // What the tree has is left as it is.
    let tree = world.worktree("b");
    fs::remove_file(tree.join("private")).unwrap();
    fs::create_dir(tree.join("private")).unwrap();
    fs::write(tree.join("private/key"), "mine\n").unwrap();
    world.lane(&["setup", "b"]).ok();
    assert_eq!(fs::read_to_string(tree.join("private/key")).unwrap(), "mine\n");
    let error = fails(&world, &["close", "b"], 5, "would_lose_work");
    assert_eq!(error["details"]["ignored"]["first"], serde_json::json!(["private/key"]));
}

#[test]
fn a_daemon_that_is_killed_in_a_setup_leaves_an_open_lane_that_goes_on() {
    let world = world_with("");
    let (began, go) = (Pipe::new(&world, "began"), Pipe::new(&world, "go"));
    agree_to(
        &world,
        &format!(
            "{}{}",
            step("before", "echo x >> before.log", ""),
            step(
                "held",
                &format!("echo > {}; read line < {}; echo y >> held.log", began.text(), go.text()),
                ""
            )
        ),
    );
    let mut making = begin(&world, &["new", "a"]);
    began.wait();
    assert_eq!(lane(&world, "a")["status"], "provisioning");
    fails(&world, &["run", "a", "--", "fake-agent", "wait"], 5, "setup_running");
    fails(&world, &["setup", "a"], 5, "setup_running");
    world.kill_the_daemon();
    let shown = lane(&world, "a");
    assert_eq!(shown["setup"], "failed", "{shown}");
    assert!(shown["failure"].as_str().unwrap().starts_with("setup: interrupted"), "{shown}");
    only_the_daemon_is_left_but(&world, making.id());
    assert!(!making.wait().unwrap().success());
    go.go();
    world.lane(&["setup", "a"]).ok();
    let tree = world.worktree("a");
    assert_eq!(
        fs::read_to_string(tree.join("before.log")).unwrap(),
        "x\n",
        "what was done is not done again"
    );
    assert_eq!(fs::read_to_string(tree.join("held.log")).unwrap(), "y\n", "the task of before was ended");
    began.wait();
}

#[test]
fn a_close_during_a_setup_ends_the_step() {
    let world = world_with("");
    let began = Pipe::new(&world, "began");
    agree_to(&world, &step("held", &format!("echo > {}; sleep 1000", began.text()), ""));
    let mut making = begin(&world, &["new", "a", "--", "fake-agent", "wait"]);
    began.wait();
    world.lane(&["close", "a"]).ok();
    assert_eq!(lane(&world, "a")["status"], "closed");
    assert!(!making.wait().unwrap().success());
    only_the_daemon_is_left(&world);
    let kept: Vec<_> = fs::read_dir(world.home.join("launch")).unwrap().collect();
    assert!(kept.is_empty(), "an environment was left: {kept:?}");
}

#[test]
fn lanes_that_are_made_at_once_are_each_set_up_once() {
    let world = world_with(&format!("copy = [\".env\"]\n{}", step("once", "cat .env >> once.log", "")));
    fs::write(world.repository.join(".env"), "x\n").unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    let making: Vec<Child> = names.iter().map(|name| begin(&world, &["new", name])).collect();
    for mut child in making {
        assert!(child.wait().unwrap().success());
    }
    for name in names {
        assert_eq!(fs::read_to_string(world.worktree(name).join("once.log")).unwrap(), "x\n");
        assert_eq!(lane(&world, name)["setup"], "done");
    }
}

#[test]
fn submodules_are_there_and_are_their_own() {
    let world = environment();
    let library = world.root().join("library");
    fs::write(world.root().join("user/.gitconfig"), "[protocol \"file\"]\n\tallow = always\n").unwrap();
    world.git(&["init", "--quiet", library.to_str().unwrap()]);
    fs::write(library.join("code"), "one\n").unwrap();
    world.git_in(&library, &["add", "."]);
    world.git_in(&library, &["commit", "--quiet", "--message", "one"]);
    let add =
        ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.to_str().unwrap(), "lib"];
    world.git(&add);
    world.git(&["commit", "--quiet", "--message", "a submodule"]);
    agree_to(&world, &format!("submodules = true\n{}", step("look", "cat lib/code", "")));
    let made = world.lane(&["new", "a"]).ok();
    assert!(made.err().contains("setup 2/2: look\none\n"), "{made}");
    let tree = world.worktree("a");
    let objects = world.git_in(&tree.join("lib"), &["rev-parse", "--git-path", "objects"]);
    let objects = tree.join("lib").join(objects.trim_end());
    assert!(!objects.join("info/alternates").exists(), "nothing is borrowed");
    world.lane(&["setup", "a"]).ok();
    world.lane(&["close", "a"]).ok();
    // One that cannot be had is a failure that names it.
    fs::rename(&library, world.root().join("elsewhere")).unwrap();
    fs::remove_dir_all(world.repository.join(".git/modules")).unwrap();
    let error = fails(&world, &["new", "b"], 1, "setup_failed");
    assert!(error["message"].as_str().unwrap().contains("setup: submodules: "), "{error}");
}

#[test]
fn a_lane_without_a_command_runs_the_program_of_its_owner_once_that_is_agreed_to() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let settings = "program = 'two'\n[programs.one]\ncommand = ['fake-agent', 'ready', 'wait']\n\
        [programs.two]\ncommand = ['fake-agent', 'wait']\n";
    fs::write(world.repository.join("laneway.toml"), settings).unwrap();
    fails(&world, &["run", "a"], 5, "not_trusted");
    world.lane(&["run", "a", "--name", "mine", "--", "fake-agent", "wait"]).ok();
    agree_to(&world, settings);
    world.lane(&["run", "a"]).ok();
    let started = world.worker("a");
    assert_eq!(started["argv"], serde_json::json!(["fake-agent", "wait"]));
    assert_eq!(started["restart"], "on-failure");
    world.lane(&["run", "a", "--name", "once", "--restart", "never"]).ok();
    let once = world.worker("once");
    assert_eq!((&once["argv"], &once["restart"]), (&started["argv"], &serde_json::json!("never")));
    // So does a new lane that is to be used at once.
    let a = lane(&world, "a")["id"].clone();
    let window = world.window(&["new", "b", "--attach"], 80, 24);
    world
        .wait_for_event(0, "the first worker", |event| event["event"] == "run.started" && event["lane"] != a);
    let first = world.worker("b");
    assert_eq!((&first["argv"], &first["restart"]), (&started["argv"], &started["restart"]));
    window.close();
    fs::write(world.repository.join("laneway.toml"), format!("{settings}# other\n")).unwrap();
    let mut refused = world.window(&["new", "c", "--attach"], 80, 24);
    refused.wait_for("lane trust");
    refused.close();
    assert_eq!(world.json(&["ls", "--closed"])["lanes"].as_array().unwrap().len(), 2, "it was not begun");
    let error = {
        fs::write(world.repository.join("laneway.toml"), "program = 'gone'\n").unwrap();
        fails(&world, &["run", "a"], 2, "config_invalid")
    };
    assert!(error["message"].as_str().unwrap().contains("no [programs.gone]"), "{error}");
}

/// Waits until no process of this world is left but its daemon and this one.
#[track_caller]
fn only_the_daemon_is_left_but(world: &TestEnvironment, but: u32) {
    let daemon = world.daemon_pid();
    for (pid, called) in process::belonging_to(world.root()) {
        if pid != daemon
            && pid != but
            && let Some(process) = process::open(pid)
        {
            assert!(ends_within(&process, LIMIT), "process {pid} is left: {called}");
        }
    }
}
