//! Closing lanes: nothing of value is lost, nothing that was theirs is left, whatever happens meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use laneway_testkit::process::{self, ends_within};
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Pipe, Traces, all_lanes, events, fails, lane, only_the_daemon_is_left};

/// Makes a lane without a program; gives its worktree.
#[track_caller]
fn new_lane(world: &TestEnvironment, name: &str) -> PathBuf {
    let _ = world.lane(&["new", name]).ok();
    world.repository.join(".lanes").join(name)
}

#[track_caller]
fn commit(world: &TestEnvironment, folder: &Path, file: &str) {
    fs::write(folder.join(file), file).unwrap();
    world.git_in(folder, &["add", file]);
    world.git_in(folder, &["commit", "--quiet", "--message", file]);
}

#[track_caller]
fn has_branch(world: &TestEnvironment, branch: &str) -> bool {
    !world.git(&["for-each-ref", &format!("refs/heads/{branch}")]).is_empty()
}

/// Asserts that a lane is whole: open, its worktree and branch there.
#[track_caller]
fn is_whole(world: &TestEnvironment, name: &str) {
    let lane = lane(world, name);
    assert!(["ready", "running"].contains(&lane["status"].as_str().unwrap()), "{lane}");
    assert!(Path::new(lane["path"].as_str().unwrap()).join(".git").exists(), "{lane}");
    assert!(has_branch(world, lane["branch"].as_str().unwrap()), "{lane}");
}

#[test]
fn a_clean_lane_is_closed_with_its_programs_worktree_and_branch() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let before = Traces::of(&world);
    world.start("a", &["fake-agent", "ready", "wait"]);
    let program = process::open(world.pid("a")).unwrap();
    let said = world.lane(&["close", "a"]).ok();
    assert_eq!(said.out(), "a is closed; branch lane/a is deleted\n");
    assert!(ends_within(&program, std::time::Duration::ZERO));
    only_the_daemon_is_left(&world);
    assert_eq!(world.json(&["ls"]), json!({"lanes": []}));
    let closed = lane(&world, "a");
    assert_eq!((&closed["status"], &closed["failure"]), (&json!("closed"), &Value::Null));
    assert!(closed["closed_at"].is_string());
    // Closing it again, by the id that it still has, is done already.
    let again = world.json(&["close", closed["id"].as_str().unwrap()]);
    assert_eq!(again["was_closed"], true);
    let _ = fails(&world, &["close", "a"], 3, "not_found");
    let _ = world.lane(&["daemon", "stop"]).ok();
    let after = Traces::of(&world);
    let runs = |path: &Path| path.starts_with(world.home.join("runs"));
    assert_eq!(after.without(runs), before.without(runs), "of runs the record and the last screen are kept");
}

/// Makes work in a lane's worktree.
type MakeWork = fn(&TestEnvironment, &Path);

#[test]
fn what_would_be_lost_is_listed_and_refused_and_left_as_it_was() {
    let world = environment();
    fs::write(world.repository.join(".gitignore"), ".env\n*.log\ntarget/\nnode_modules/\n").unwrap();
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "ignores"]);
    let cases: [(&str, MakeWork, &str, Value); 6] = [
        ("changed", |_, tree| fs::write(tree.join("README"), "changed").unwrap(), "changed", json!("README")),
        (
            "staged",
            |world, tree| {
                fs::write(tree.join("new file"), "x").unwrap();
                world.git_in(tree, &["add", "new file"]);
            },
            "changed",
            json!("new file"),
        ),
        ("deleted", |_, tree| fs::remove_file(tree.join("README")).unwrap(), "changed", json!("README")),
        (
            "untracked",
            |_, tree| fs::write(tree.join("idea.txt"), "x").unwrap(),
            "untracked",
            json!("idea.txt"),
        ),
        ("ignored", |_, tree| fs::write(tree.join(".env"), "SECRET=1").unwrap(), "ignored", json!(".env")),
        ("committed", |world, tree| commit(world, tree, "work"), "commits", Value::Null),
    ];
    for (name, make_work, kind, first) in cases {
        let tree = new_lane(&world, name);
        make_work(&world, &tree);
        let before = Traces::of(&world);
        let error = fails(&world, &["close", name], 5, "would_lose_work");
        let found = &error["details"][kind];
        assert_eq!(found["count"], 1, "{name}: {error}");
        if kind == "commits" {
            assert_eq!(found["first"][0]["subject"], "work", "{error}");
            assert_eq!(found["first"][0]["id"], world.git_in(&tree, &["rev-parse", "HEAD"]).trim());
        } else {
            assert_eq!(found["first"], json!([first]), "{error}");
        }
        let total: u64 = ["changed", "untracked", "ignored", "submodules", "commits"]
            .iter()
            .map(|kind| error["details"][kind]["count"].as_u64().unwrap())
            .sum();
        assert_eq!(total, 1, "nothing else would be lost: {error}");
        let said = world.lane(&["close", name]).code(5);
        let named = first.as_str().unwrap_or("work");
        assert!(said.err().contains(named) && said.err().contains("try: "), "{said}");
        assert_eq!(Traces::of(&world), before);
        is_whole(&world, name);
    }
    assert!(!events(&world).iter().any(|event| event["data"]["to"] == "cleaning"), "nothing was begun");
    // The work brought to safety, the lane can go.
    world.git(&["merge", "--quiet", "--ff-only", "lane/committed"]);
    let _ = world.lane(&["close", "committed"]).ok();
    assert!(!has_branch(&world, "lane/committed"));
}

#[test]
fn what_can_be_made_again_is_no_reason_to_refuse() {
    let world = environment();
    fs::write(world.repository.join(".gitignore"), "target/\nnode_modules/\n__pycache__/\n").unwrap();
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "ignores"]);
    let tree = new_lane(&world, "a");
    for folder in ["target/debug", "web/node_modules/x", "__pycache__"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
        fs::write(tree.join(folder).join("made"), "x").unwrap();
    }
    let _ = world.lane(&["close", "a"]).ok();
    assert!(!tree.exists());
}

#[test]
fn commits_of_a_detached_head_and_a_merge_under_way_are_work() {
    let world = environment();
    let tree = new_lane(&world, "detached");
    world.git_in(&tree, &["switch", "--quiet", "--detach"]);
    commit(&world, &tree, "adrift");
    let error = fails(&world, &["close", "detached"], 5, "would_lose_work");
    assert_eq!(error["details"]["commits"]["first"][0]["subject"], "adrift", "{error}");
    is_whole(&world, "detached");
    world.git_in(&tree, &["branch", "kept"]);
    let _ = world.lane(&["close", "detached"]).ok();
    assert!(has_branch(&world, "kept"));

    let tree = new_lane(&world, "merging");
    world.git(&["switch", "--quiet", "--create", "side"]);
    commit(&world, &world.repository, "side");
    world.git_in(&tree, &["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
    let error = fails(&world, &["close", "merging"], 5, "would_lose_work");
    assert_eq!(error["details"]["operation"], "merge", "{error}");
    world.git_in(&tree, &["merge", "--abort"]);
    let _ = world.lane(&["close", "merging"]).ok();
    // A stash belongs to the repository: it outlives the lane, and that is said.
    let tree = new_lane(&world, "stashing");
    fs::write(tree.join("README"), "for later").unwrap();
    world.git_in(&tree, &["stash", "--quiet"]);
    let said = world.lane(&["close", "stashing"]).ok();
    assert!(said.out().contains("1 stash"), "{said}");
    assert!(world.git(&["stash", "show", "-p"]).contains("for later"));
}

#[test]
fn work_that_appears_while_programs_are_stopped_brings_the_lane_back() {
    let world = environment();
    let script = "import signal, sys\n\
                  def save(*_):\n open('saved.txt', 'w').write('precious')\n sys.exit(0)\n\
                  signal.signal(signal.SIGTERM, save)\nprint('ready', flush=True)\nsignal.pause()";
    let folder = world.start("a", &["python3", "-c", script]);
    screen::wait_for_line(&folder, "ready");
    let error = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(error["details"]["untracked"]["first"], json!(["saved.txt"]), "{error}");
    is_whole(&world, "a");
    let saved = world.repository.join(".lanes/a/saved.txt");
    assert_eq!(fs::read_to_string(&saved).unwrap(), "precious");
    let states: Vec<(Value, Value)> = events(&world)
        .iter()
        .filter(|event| event["event"] == "lane.state.changed")
        .map(|event| (event["data"]["from"].clone(), event["data"]["to"].clone()))
        .collect();
    assert_eq!(states[2..], [(json!("open"), json!("cleaning")), (json!("cleaning"), json!("open"))]);
    assert_eq!(world.worker("a")["status"], "stopped", "its program was stopped, as asked");
    // It is a lane as before: programs run in it, and it can be closed once the work is away.
    world.json(&["run", "a", "--name", "b", "--", "fake-agent", "wait"]);
    fs::remove_file(saved).unwrap();
    let _ = world.lane(&["close", "a"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_worktree_or_a_branch_deleted_by_hand_is_no_obstacle() {
    let world = environment();
    let tree = new_lane(&world, "tree");
    fs::remove_dir_all(&tree).unwrap();
    let _ = world.lane(&["close", "tree"]).ok();
    assert!(!has_branch(&world, "lane/tree"));
    // With commits on its branch the branch is what is left of the work.
    let tree = new_lane(&world, "work");
    commit(&world, &tree, "work");
    fs::remove_dir_all(&tree).unwrap();
    let error = fails(&world, &["close", "work"], 5, "would_lose_work");
    assert_eq!(error["details"]["commits"]["first"][0]["subject"], "work", "{error}");
    assert!(has_branch(&world, "lane/work"));

    let tree = new_lane(&world, "branch");
    world.git_in(&tree, &["switch", "--quiet", "--detach"]);
    world.git(&["branch", "--quiet", "-D", "lane/branch"]);
    let _ = world.lane(&["close", "branch"]).ok();
    assert!(!tree.exists());
    let tree = new_lane(&world, "removed");
    world.git(&["worktree", "unlock", tree.to_str().unwrap()]);
    world.git(&["worktree", "remove", tree.to_str().unwrap()]);
    let _ = world.lane(&["close", "removed"]).ok();
    let listed = world.git(&["worktree", "list", "--porcelain"]);
    assert!(!listed.contains("removed") && !listed.contains("branch\n"), "{listed}");
}

#[test]
fn several_are_closed_at_once_each_reported_and_the_worst_code_counts() {
    let world = environment();
    for name in ["a", "b", "c"] {
        new_lane(&world, name);
    }
    fs::write(world.repository.join(".lanes/b/idea"), "x").unwrap();
    let said = world.lane(&["close", "a", "nothere", "b", "c", "--json"]).code(5);
    let results = said.json()["results"].clone();
    let outcome = |n: usize| (results[n]["target"].clone(), results[n]["error"]["code"].clone());
    assert_eq!(outcome(0), (json!("a"), Value::Null));
    assert_eq!(outcome(1), (json!("nothere"), json!("not_found")));
    assert_eq!(outcome(2), (json!("b"), json!("would_lose_work")));
    assert_eq!(outcome(3), (json!("c"), Value::Null));
    assert_eq!(results[0]["answer"]["branch_deleted"], true);
    is_whole(&world, "b");
    assert_eq!(world.json(&["ls"])["lanes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn one_lane_closed_by_several_at_once_is_closed_once() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let id = lane(&world, "a")["id"].as_str().unwrap().to_owned();
    thread::scope(|scope| {
        let closes: Vec<_> = (0..6).map(|_| scope.spawn(|| world.lane(&["close", &id]))).collect();
        for close in closes {
            let _ = close.join().unwrap().ok();
        }
    });
    let closed = events(&world).iter().filter(|event| event["data"]["to"] == "closed").count();
    assert_eq!(closed, 1);
}

#[test]
fn two_lanes_that_hold_the_same_commits_are_never_both_gone() {
    let world = environment();
    for round in 0..4 {
        let (one, two) = (format!("one{round}"), format!("two{round}"));
        let tree = new_lane(&world, &one);
        commit(&world, &tree, &format!("work{round}"));
        let tip = world.git_in(&tree, &["rev-parse", "HEAD"]).trim().to_owned();
        let _ = world.lane(&["new", &two, "--base", &format!("lane/{one}")]).ok();
        thread::scope(|scope| {
            let closes = [&one, &two].map(|name| scope.spawn(|| world.lane(&["close", name])));
            let closes = closes.map(|close| close.join().unwrap());
            assert!(closes.iter().any(|close| close.code == 5), "{} {}", closes[0], closes[1]);
            for close in closes {
                assert!([0, 5].contains(&close.code), "{close}");
            }
        });
        let holding = world.git(&["for-each-ref", "--contains", &tip, "--format=%(refname)"]);
        assert!(!holding.is_empty(), "the commits of round {round} are gone");
        let open: Vec<Value> =
            all_lanes(&world).into_iter().filter(|lane| lane["status"] != "closed").collect();
        assert!(!open.is_empty());
        // Safe elsewhere, they all may go.
        world.git(&["branch", &format!("safe{round}"), &tip]);
        for lane in open {
            let _ = world.lane(&["close", lane["name"].as_str().unwrap()]).ok();
        }
    }
}

#[test]
fn a_lane_whose_program_will_not_end_in_its_grace_is_closed_all_the_same() {
    let world = environment();
    let folder = world.start("a", &["fake-agent", "ignore", "detach", "ready", "wait"]);
    screen::wait_for_line(&folder, "ready");
    let _ = world.lane(&["close", "a", "--grace", "100ms"]).ok();
    only_the_daemon_is_left(&world);
}

#[test]
fn a_close_ends_the_tasks_of_the_lane_and_their_callers_learn_of_it() {
    let world = environment();
    let ready = Pipe::new(&world, "ready");
    new_lane(&world, "a");
    thread::scope(|scope| {
        let script = r#"echo ready > "$1"; exec fake-agent wait"#;
        let task = scope.spawn(|| world.lane(&["exec", "a", "--", "sh", "-c", script, "sh", ready.text()]));
        ready.wait();
        let _ = world.lane(&["close", "a"]).ok();
        let _ = task.join().unwrap().code(128 + 1);
    });
    only_the_daemon_is_left(&world);
}

#[test]
fn fifty_lanes_made_at_once_all_run_and_closed_at_once_leave_nothing() {
    const N_LANES: usize = 50;
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let before = Traces::of(&world);
    thread::scope(|scope| {
        let making: Vec<_> = (0..N_LANES)
            .map(|n| {
                let world = &world;
                scope.spawn(move || world.lane(&["new", &format!("x{n}"), "--", "sleep", "600"]))
            })
            .collect();
        for one in making {
            let _ = one.join().unwrap().ok();
        }
    });
    let lanes = world.json(&["ls"]);
    let lanes = lanes["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), N_LANES);
    for lane in lanes {
        assert_eq!((&lane["status"], &lane["workers"][0]["status"]), (&json!("running"), &json!("running")));
        assert_eq!(lane["failure"], Value::Null);
    }
    assert_eq!(world.json(&["daemon", "status"])["n_live_runs"], N_LANES as u64);
    thread::scope(|scope| {
        let closing: Vec<_> = (0..N_LANES)
            .map(|n| {
                let world = &world;
                scope.spawn(move || world.lane(&["close", &format!("x{n}")]))
            })
            .collect();
        for one in closing {
            let _ = one.join().unwrap().ok();
        }
    });
    only_the_daemon_is_left(&world);
    let daemon = process::open(world.daemon_pid()).unwrap();
    let _ = world.lane(&["daemon", "stop"]).ok();
    assert!(ends_within(&daemon, LIMIT));
    let runs = |path: &Path| path.starts_with(world.home.join("runs"));
    let after = Traces::of(&world);
    assert!(!after.has(|path| path.ends_with("sock")), "sockets are left");
    assert_eq!(after.without(runs), before.without(runs));
    let lanes = all_lanes(&world);
    assert!(lanes.len() == N_LANES && lanes.iter().all(|lane| lane["status"] == "closed"));
    let workers = world.json(&["ps", "--all"]);
    assert_eq!(workers, json!({"workers": []}));
    let _ = world.lane(&["daemon", "stop"]).ok();
    assert_eq!(unfinished_rows(&world), "0\n");
}

/// What the database holds of runs and lanes that are not over.
#[track_caller]
fn unfinished_rows(world: &TestEnvironment) -> String {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)\n\
                  lanes = \"select count(*) from lanes where lifecycle <> 'closed'\"\n\
                  runs = \"select count(*) from runs where state <> 'exited'\"\n\
                  print(sum(db.execute(q).fetchone()[0] for q in (lanes, runs)))";
    let mut python = world.program("python3");
    python.args(["-c", script]).arg(world.home.join("laneway.db"));
    process::finish(&mut python, b"").ok().out()
}

#[test]
fn a_reader_that_does_not_read_holds_up_no_close() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let mut unread = world
        .lane_command(&["exec", "a", "--", "fake-agent", "flood", "50000000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = world.wait_for_event(0, "the task's start", |event| event["event"] == "run.started");
    let _ = world.lane(&["close", "a", "--grace", "0.2s"]).ok();
    unread.kill().unwrap();
    unread.wait().unwrap();
}
