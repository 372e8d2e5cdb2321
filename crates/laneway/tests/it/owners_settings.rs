//! `laneway.toml`: what the owner of a repository sets, and how it is come by.

use std::fs;
use std::path::Path;

use laneway_testkit::TestEnvironment;

use crate::environment;
use crate::support::{Traces, fails, lane};

/// Writes the settings of this world's repository.
#[track_caller]
fn settings(world: &TestEnvironment, text: &str) {
    fs::write(world.repository.join("laneway.toml"), text).unwrap();
}

#[test]
fn init_writes_a_file_that_changes_nothing_and_never_over_one_that_is_there() {
    let world = environment();
    let path = world.repository.join("laneway.toml");
    let inside = world.repository.join("deep/down");
    fs::create_dir_all(&inside).unwrap();
    let written =
        laneway_testkit::process::finish(world.lane_command(&["init", "--json"]).current_dir(&inside), b"");
    assert_eq!(written.ok().json()["path"], path.to_str().unwrap());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\n# worktree = \"{root}/.lanes/{lane}\"\n"), "{text}");
    world.lane(&["new", "a"]).ok();
    assert_eq!(world.worktree("a"), world.repository.join(".lanes/a"));
    settings(&world, "max_lanes = 7\n");
    fails(&world, &["init"], 5, "settings_exist");
    assert_eq!(fs::read_to_string(&path).unwrap(), "max_lanes = 7\n");
}

#[test]
fn lanes_beside_the_repository_are_made_closed_restored_and_reconciled_as_others() {
    let world = environment();
    settings(&world, "worktree = \"{root}-lanes/{lane}\"\nbranch = \"me/{lane}\"\n");
    world.lane(&["trust"]).ok();
    let beside = world.root().join("repository-lanes");
    world.lane(&["new", "a"]).ok();
    assert_eq!(world.worktree("a"), beside.join("a"));
    assert_eq!(lane(&world, "a")["branch"], "me/a");
    assert_eq!(world.git(&["status", "--porcelain"]), "?? laneway.toml\n");
    assert!(!world.repository.join(".lanes").exists());
    fs::write(beside.join("a/work"), "mine\n").unwrap();
    fails(&world, &["close", "a"], 5, "would_lose_work");
    world.lane(&["close", "a", "--discard"]).ok();
    assert!(!beside.join("a").exists());
    world.kill_the_daemon();
    world.lane(&["restore", "a"]).ok();
    assert_eq!(fs::read_to_string(beside.join("a/work")).unwrap(), "mine\n");
    // A name that is taken there is not found only when git is asked.
    world.lane(&["new", "--branch", "me/b"]).ok();
    assert_eq!(world.worktree("b"), beside.join("b"), "the name is what the pattern has in its place");
    world.git(&["worktree", "prune"]);
    world.lane(&["close", "b"]).ok();
    fs::remove_file(beside.join("a/work")).unwrap();
    world.lane(&["close", "a"]).ok();
    let left: Vec<_> = fs::read_dir(&beside).unwrap().collect();
    assert!(left.len() <= 1, "nothing but the trash: {left:?}");
    assert_eq!(world.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
    assert_eq!(world.git(&["branch", "--format=%(refname)"]), "refs/heads/main\n");
}

#[test]
fn a_place_that_is_no_place_for_lanes_is_refused_before_anything_is_made() {
    let world = environment();
    fs::create_dir(world.repository.join("src")).unwrap();
    fs::write(world.repository.join("src/main"), "x").unwrap();
    world.git(&["add", "src"]);
    let before = Traces::of(&world);
    for pattern in ["{root}/.git/{lane}", "{root}/.git/worktrees/{lane}", "{root}/{lane}", "src/{lane}"] {
        settings(&world, &format!("worktree = \"{pattern}\"\n"));
        fails(&world, &["new", "a"], 5, "bad_place");
    }
    for (line, place) in [
        ("worktree = \"{root}/.lanes/one\"", ":1:12: "),
        ("worktree = \"~/lanes/{lane}\"", ":1:12: "),
        ("branch = \"{lane}.lock\"", ":1:10: "),
        ("\nbranches = \"x/{lane}\"", ":2:1: there is no setting `branches`; the nearest is `branch`"),
        ("max_lanes = 0", ":1:13: "),
    ] {
        settings(&world, line);
        let error = fails(&world, &["new", "a"], 2, "config_invalid");
        assert!(error["message"].as_str().unwrap().contains(place), "{line}: {error}");
    }
    assert_eq!(Traces::of(&world).without(|_| false), before.without(|_| false));
    assert!(!world.repository.join("src/.gitignore").exists());
}

#[test]
fn a_branch_that_no_pattern_allows_for_blocks_nothing_else() {
    let world = environment();
    // `lane` as a branch makes `lane/x` impossible, and another pattern possible.
    world.git(&["branch", "lane"]);
    fails(&world, &["new", "a"], 5, "branch_blocked");
    settings(&world, "branch = \"work/{lane}\"\n");
    world.lane(&["new", "a"]).ok();
    assert_eq!(lane(&world, "a")["branch"], "work/a");
}

#[test]
fn as_many_lanes_as_the_owner_allows_and_only_where_there_is_room() {
    let world = environment();
    settings(&world, "max_lanes = 2\n");
    world.lane(&["new", "a"]).ok();
    world.lane(&["new", "b"]).ok();
    let before = Traces::of(&world);
    let error = fails(&world, &["new", "c"], 5, "capacity_reached");
    assert!(error["message"].as_str().unwrap().contains("2 open lanes"), "{error}");
    settings(&world, "least_free = \"9999 TiB\"\n");
    fails(&world, &["new", "c"], 5, "no_room");
    assert_eq!(Traces::of(&world), before);
    settings(&world, "");
    world.lane(&["new", "c"]).ok();
}

#[test]
fn what_the_owner_does_not_call_disposable_is_work() {
    let world = environment();
    fs::write(world.repository.join(".gitignore"), "target/\nout/\n").unwrap();
    world.git(&["add", ".gitignore"]);
    world.git(&["commit", "--quiet", "--message", "ignored"]);
    let filled = |name: &str| {
        world.lane(&["new", name]).ok();
        for folder in ["target", "out"] {
            let folder = world.worktree(name).join(folder);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
        }
    };
    filled("a");
    let ignored = |error: &serde_json::Value| error["details"]["ignored"]["first"].clone();
    let error = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(ignored(&error), serde_json::json!(["out/file"]));
    settings(&world, "disposable = [\"out\"]\n");
    // What has more deleted than is without a file, a person agrees to.
    let error = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(ignored(&error), serde_json::json!(["out/file", "target/file"]));
    let shown = world.lane(&["trust"]).ok();
    assert!(shown.out().contains("deletes    ignored folders called out,"), "{shown}");
    let error = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(ignored(&error), serde_json::json!(["target/file"]));
    settings(&world, "disposable = [\"out\", \"target\"]\n");
    let error = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(ignored(&error), serde_json::json!(["out/file"]));
    world.lane(&["trust"]).ok();
    world.lane(&["close", "a"]).ok();
    // What cannot be understood takes nothing away.
    settings(&world, "disposable = \"out\"\n");
    world.lane(&["new", "b"]).code(2);
    settings(&world, "");
    filled("b");
    settings(&world, "disposable = \"out\"\n");
    let error = fails(&world, &["close", "b"], 5, "would_lose_work");
    assert_eq!(ignored(&error), serde_json::json!(["out/file", "target/file"]));
    assert!(Path::new(&world.worktree("b")).join("out/file").exists());
    settings(&world, "disposable = [\"out\"]\n");
    world.lane(&["trust"]).ok();
    // With consent all of it but that is kept.
    world.lane(&["close", "b", "--discard"]).ok();
    world.lane(&["restore", "b"]).ok();
    assert!(world.worktree("b").join("target/file").exists());
    assert!(!world.worktree("b").join("out").exists());
}

#[test]
fn a_bare_repository_has_its_settings_beside_it_or_in_the_commit_of_its_head() {
    let world = environment();
    settings(&world, "branch = \"committed/{lane}\"\n");
    world.git(&["add", "--force", "laneway.toml"]);
    world.git(&["commit", "--quiet", "--message", "settings"]);
    let folder = world.root().join("bare");
    fs::create_dir(&folder).unwrap();
    world.git(&["clone", "--quiet", "--bare", ".", "../bare/repository.git"]);
    let bare = folder.join("repository.git");
    let new = |name: &str| {
        let made = world.json(&["new", name, "--workspace", bare.to_str().unwrap()]);
        made["lane"]["branch"].as_str().unwrap().to_owned()
    };
    assert_eq!(new("a"), "committed/a");
    fs::write(folder.join("laneway.toml"), "branch = \"beside/{lane}\"\n").unwrap();
    assert_eq!(new("b"), "beside/b");
    fs::remove_file(folder.join("laneway.toml")).unwrap();
    settings(&world, "brunch = \"committed/{lane}\"\n");
    world.git(&["commit", "--quiet", "--all", "--message", "a mistake"]);
    world.git(&["push", "--quiet", bare.to_str().unwrap(), "main"]);
    let error = fails(&world, &["new", "c", "--workspace", bare.to_str().unwrap()], 2, "config_invalid");
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("HEAD:laneway.toml:1:1") && said.contains("`branch`"), "{said}");
    world.git(&["rm", "--quiet", "--force", "laneway.toml"]);
    world.git(&["commit", "--quiet", "--message", "none"]);
    world.git(&["push", "--quiet", bare.to_str().unwrap(), "main"]);
    assert_eq!(new("d"), "lane/d");
}
