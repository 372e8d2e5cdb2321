//! The warm pool: lanes that take a ready tree are lanes like all others, and nobody else sees the pool.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use laneway_testkit::TestEnvironment;
use serde_json::{Value, json};

use crate::environment;
use crate::support::{all_lanes, events, fails, lane};

/// A world whose repository is to keep so many trees ready; the first lane is made, and they are.
#[track_caller]
fn with_pool(n_trees: usize) -> TestEnvironment {
    let world = environment();
    want(&world, n_trees);
    let _ = world.lane(&["new", "first"]).ok();
    ready_at(&world, &head(&world), n_trees);
    world
}

#[track_caller]
fn want(world: &TestEnvironment, n_trees: usize) {
    fs::write(world.repository.join("laneway.toml"), format!("pool = {n_trees}\n")).unwrap();
}

#[track_caller]
fn head(world: &TestEnvironment) -> String {
    world.git(&["rev-parse", "HEAD"]).trim().to_owned()
}

/// The worktrees of the pool with their commits, as git lists them.
#[track_caller]
fn pool(world: &TestEnvironment) -> Vec<(PathBuf, String)> {
    let listed = world.git(&["worktree", "list", "--porcelain"]);
    let of_pool = listed.split("\n\n").filter(|entry| entry.contains("/.lanes/.pool/"));
    let field = |entry: &str, name: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {entry}")).to_owned()
    };
    of_pool.map(|entry| (field(entry, "worktree ").into(), field(entry, "HEAD "))).collect()
}

/// Waits until nothing is under way and so many trees are ready, all of this commit.
#[track_caller]
fn ready_at(world: &TestEnvironment, commit: &str, n_trees: usize) {
    let mut seen = 0;
    loop {
        let states = states(world);
        let is_ready = states.iter().all(|(_, state)| state == "ready") && states.len() == n_trees;
        let trees = pool(world);
        if is_ready && trees.len() == n_trees && trees.iter().all(|(_, at)| at == commit) {
            return;
        }
        let next =
            world.wait_for_event(seen, "a change of the pool", |event| event["event"] == "pool.tree.changed");
        seen = next["seq"].as_u64().unwrap();
    }
}

/// Where the trees stand that the pool has, as its events tell.
#[track_caller]
fn states(world: &TestEnvironment) -> Vec<(String, String)> {
    let mut states: Vec<(String, String)> = Vec::new();
    for event in pool_events(world) {
        let (tree, state) =
            (event["data"]["tree"].as_str().unwrap(), event["data"]["state"].as_str().unwrap());
        states.retain(|(known, _)| known != tree);
        if state != "gone" {
            states.push((tree.to_owned(), state.to_owned()));
        }
    }
    states
}

#[track_caller]
fn pool_events(world: &TestEnvironment) -> Vec<Value> {
    let mut events = events(world);
    events.retain(|event| event["event"] == "pool.tree.changed");
    events
}

/// The lanes that have claimed a tree, in order.
#[track_caller]
fn claims(world: &TestEnvironment) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let claimed = |event: &Value| event["data"]["state"] == "claimed";
    let events = pool_events(world);
    events
        .iter()
        .filter(|event| claimed(event))
        .map(|e| (text(&e["lane"]), text(&e["data"]["tree"])))
        .collect()
}

#[track_caller]
fn commit(world: &TestEnvironment, folder: &Path, file: &str) {
    fs::write(folder.join(file), file).unwrap();
    world.git_in(folder, &["add", file]);
    world.git_in(folder, &["commit", "--quiet", "--message", file]);
}

#[test]
fn another_number_of_trees_is_seen_to_at_the_next_command_that_reads_the_settings() {
    let world = with_pool(1);
    for n_trees in [2, 1, 0] {
        want(&world, n_trees);
        let _ = world.lane(&["trust", "--show"]).ok();
        ready_at(&world, &head(&world), n_trees);
    }
}

#[test]
fn a_lane_takes_a_ready_tree_and_the_pool_is_filled_again_unseen() {
    let world = with_pool(2);
    assert_eq!(all_lanes(&world).len(), 1, "the pool is no lane");
    assert!(world.git(&["worktree", "list", "--porcelain"]).contains("locked laneway pool pt_"));
    // What a person does in the main checkout does not reach it.
    for clean_up in
        [&["worktree", "prune"][..], &["clean", "-fdxq", "--exclude", "laneway.toml"], &["gc", "--quiet"]]
    {
        world.git(clean_up);
    }
    assert_eq!(world.git(&["status", "--porcelain"]), "?? laneway.toml\n");
    let made = world.json(&["new", "a"])["lane"].clone();
    assert_eq!(claims(&world).len(), 1);
    assert_eq!(claims(&world)[0].0, made["id"].as_str().unwrap());
    let tree = world.repository.join(".lanes/a");
    assert_eq!(made["path"], json!(tree));
    assert_eq!((&made["status"], &made["branch"]), (&json!("ready"), &json!("lane/a")));
    assert_eq!(world.git_in(&tree, &["symbolic-ref", "HEAD"]), "refs/heads/lane/a\n");
    assert_eq!(world.git_in(&tree, &["status", "--porcelain", "--ignored"]), "");
    assert_eq!(fs::read_to_string(tree.join("README")).unwrap(), "a test\n");
    let of_tree = format!("worktree {}\n", tree.display());
    let listed = world.git(&["worktree", "list", "--porcelain"]);
    let entry = listed.split("\n\n").find(|entry| entry.starts_with(&of_tree)).unwrap();
    let id = made["id"].as_str().unwrap();
    assert!(entry.ends_with(&format!("\nlocked laneway lane a {id}")), "{entry}");
    ready_at(&world, &head(&world), 2);
    // It is worked in and closed like any other.
    commit(&world, &tree, "work");
    assert_eq!(world.lane(&["close", "a"]).code(5).out(), "");
    world.git(&["merge", "--quiet", "lane/a"]);
    let _ = world.lane(&["close", "a"]).ok();
    assert!(!tree.exists());
    // One that starts elsewhere is made.
    world.git(&["branch", "other", "HEAD~1"]);
    let _ = world.lane(&["new", "b", "--branch", "other"]).ok();
    assert_eq!(claims(&world).len(), 1);
}

#[test]
fn many_at_once_get_each_a_tree_of_their_own() {
    let world = with_pool(3);
    let names: Vec<String> = (0..8).map(|n| format!("many-{n}")).collect();
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| {
                let _ = world.lane(&["new", name]).ok();
            });
        }
    });
    let claims = claims(&world);
    assert!(claims.len() >= 3, "{claims:?}");
    let trees: BTreeSet<&String> = claims.iter().map(|(_, tree)| tree).collect();
    let lanes: BTreeSet<&String> = claims.iter().map(|(lane, _)| lane).collect();
    assert_eq!((trees.len(), lanes.len()), (claims.len(), claims.len()), "one tree, one lane: {claims:?}");
    for name in &names {
        let tree = world.worktree(name);
        assert_eq!(world.git_in(&tree, &["symbolic-ref", "HEAD"]), format!("refs/heads/lane/{name}\n"));
        assert_eq!(world.git_in(&tree, &["status", "--porcelain", "--ignored"]), "");
    }
    ready_at(&world, &head(&world), 3);
}

#[test]
fn a_base_that_has_moved_has_no_use_for_old_trees() {
    let world = with_pool(1);
    let old = head(&world);
    commit(&world, &world.repository.clone(), "later");
    let _ = world.lane(&["new", "a"]).ok();
    assert_eq!(claims(&world), []);
    assert!(world.repository.join(".lanes/a/later").exists());
    assert_eq!(lane(&world, "a")["base_commit"], json!(head(&world)));
    ready_at(&world, &head(&world), 1);
    assert!(pool(&world).iter().all(|(_, commit)| *commit != old));
    let _ = world.lane(&["new", "b"]).ok();
    assert_eq!(claims(&world).len(), 1);
    assert!(world.repository.join(".lanes/b/later").exists());
}

#[test]
fn a_filter_that_was_set_up_since_makes_old_trees_useless() {
    let world = environment();
    fs::write(world.repository.join(".gitattributes"), "README filter=up\n").unwrap();
    world.git(&["add", ".gitattributes"]);
    world.git(&["commit", "--quiet", "--message", "attributes"]);
    want(&world, 1);
    let _ = world.lane(&["new", "first"]).ok();
    ready_at(&world, &head(&world), 1);
    let (old, _) = pool(&world).remove(0);
    let seen = world.last_seq();
    world.git(&["config", "filter.up.smudge", "tr a-z A-Z"]);
    world.git(&["config", "filter.up.clean", "tr A-Z a-z"]);
    let _ = world.lane(&["new", "a"]).ok();
    assert_eq!(fs::read_to_string(world.worktree("a").join("README")).unwrap(), "A TEST\n");
    // It is renewed.
    wait_for_state(&world, seen, "gone");
    ready_at(&world, &head(&world), 1);
    assert!(!old.exists());
    let _ = world.lane(&["new", "b"]).ok();
    assert_eq!(claims(&world).len(), 2, "the new tree is used");
    let tree = world.worktree("b");
    assert_eq!(fs::read_to_string(tree.join("README")).unwrap(), "A TEST\n");
    assert_eq!(world.git_in(&tree, &["status", "--porcelain"]), "");
    assert_eq!(unrecorded(&world), Vec::<String>::new());
}

#[test]
fn a_smaller_pool_gives_up_only_what_is_as_it_was_made() {
    let world = with_pool(2);
    let note = pool(&world)[0].0.join("note");
    fs::write(&note, "work").unwrap();
    // It is not given to a lane either.
    let _ = world.lane(&["new", "a"]).ok();
    assert!(!world.repository.join(".lanes/a/note").exists());
    want(&world, 0);
    let _ = world.lane(&["close", "a"]).ok();
    let mut seen = 0;
    while !states(&world).is_empty() {
        let next =
            world.wait_for_event(seen, "the end of the pool", |event| event["event"] == "pool.tree.changed");
        seen = next["seq"].as_u64().unwrap();
    }
    let left = pool(&world);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read_to_string(&note).unwrap(), "work");
    let kept = world.repository.join(".lanes/.pool");
    let folders = fs::read_dir(&kept).unwrap().count();
    assert_eq!(folders, 1, "{}", kept.display());
    // That it is in the pool no more is told, and what helps does.
    let path = left[0].0.to_str().unwrap();
    let found = unrecorded(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    for part in [format!("git -C {path} status"), format!("unlock {path}"), format!("lane adopt {path}")] {
        assert!(found[0].contains(&part), "{part}: {found:?}");
    }
    world.git(&["worktree", "unlock", path]);
    let _ = world.lane(&["adopt", path, "--name", "kept"]).ok();
    assert_eq!(fs::read_to_string(note).unwrap(), "work");
    assert_eq!(unrecorded(&world), Vec::<String>::new());
}

/// What `lane doctor` finds of records.
#[track_caller]
fn unrecorded(world: &TestEnvironment) -> Vec<String> {
    let report = world.lane(&["doctor", "--json"]).json();
    let found = report["records"]["findings"].as_array().unwrap();
    found.iter().map(|finding| finding["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_could_not_be_deleted_of_a_tree_of_the_pool_is_told() {
    let world = with_pool(1);
    let (tree, _) = pool(&world).remove(0);
    let trash = tree.parent().unwrap().join(".laneway-trash");
    // As a removal leaves it whose deletion did not succeed.
    let left = trash.join("pt_00000000000000000000000001.going");
    fs::create_dir_all(left.join("tree")).unwrap();
    let found = unrecorded(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(&format!("rm -rf {}", left.display())), "{found:?}");
    fs::remove_dir_all(&trash).unwrap();
    assert_eq!(unrecorded(&world), Vec::<String>::new());
}

#[test]
fn a_tree_of_the_pool_is_not_adopted_and_is_no_finding() {
    let world = with_pool(1);
    assert_eq!(unrecorded(&world), Vec::<String>::new());
    let (tree, _) = pool(&world).remove(0);
    let error = fails(&world, &["adopt", tree.to_str().unwrap()], 5, "of_pool");
    assert!(error["message"].as_str().unwrap().contains("belongs to the pool"), "{error}");
    assert_eq!(pool(&world), [(tree, head(&world))]);
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_leaves_no_tree_behind() {
    let world = environment();
    want(&world, 2);
    let _ = world.lane(&["daemon", "start"]).ok();
    for (n, state) in ["making", "ready", "claimed", "going", "making"].into_iter().enumerate() {
        let seen = world.last_seq();
        // Trees of another commit are made anew.
        commit(&world, &world.repository.clone(), &format!("later-{n}"));
        let _ = world.lane(&["new", &format!("lane-{n}")]).ok();
        if state == "claimed" {
            ready_at(&world, &head(&world), 2);
            let mut new = world.lane_command(&["new", "taken"]);
            let new = thread::spawn(move || new.output().unwrap());
            wait_for_state(&world, seen, state);
            world.kill_the_daemon();
            drop(new.join());
        } else {
            wait_for_state(&world, seen, state);
            world.kill_the_daemon();
        }
        ready_at(&world, &head(&world), 2);
        let open: BTreeSet<String> = world.json(&["ls"])["lanes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lane| lane["path"].as_str().unwrap().to_owned())
            .collect();
        let listed = world.git(&["worktree", "list", "--porcelain"]);
        let trees = listed.lines().filter_map(|line| line.strip_prefix("worktree ")).skip(1);
        let of_lanes: BTreeSet<String> =
            trees.filter(|tree| !tree.contains("/.pool/")).map(str::to_owned).collect();
        assert_eq!(of_lanes, open, "after {state}");
        assert_eq!(pool(&world).len(), 2, "after {state}");
        let branches = world.git(&["for-each-ref", "--format=%(refname)", "refs/heads/lane/"]);
        assert_eq!(branches.lines().count(), open.len(), "after {state}: {branches}");
    }
}

#[track_caller]
fn wait_for_state(world: &TestEnvironment, since: u64, state: &str) {
    let _ = world.wait_for_event(since, state, |event| {
        event["event"] == "pool.tree.changed" && event["data"]["state"] == state
    });
}

#[test]
fn there_is_no_pool_with_submodules_and_lanes_are_made_as_ever() {
    let world = environment();
    fs::write(world.repository.join(".gitmodules"), "").unwrap();
    world.git(&["add", ".gitmodules"]);
    world.git(&["commit", "--quiet", "--message", "submodules"]);
    want(&world, 1);
    let _ = world.lane(&["new", "a"]).ok();
    wait_for_state(&world, 0, "gone");
    let seen = world.last_seq();
    let _ = world.lane(&["new", "b"]).ok();
    assert_eq!(pool(&world), []);
    // Once there are none any more there is one.
    world.git(&["rm", "--quiet", ".gitmodules"]);
    world.git(&["commit", "--quiet", "--message", "no submodules"]);
    let _ = world.lane(&["close", "a"]).ok();
    ready_at(&world, &head(&world), 1);
    let is_new = |event: &Value| event["seq"].as_u64() > Some(seen) && event["data"]["state"] == "making";
    assert_eq!(pool_events(&world).iter().filter(|event| is_new(event)).count(), 1, "it was not tried again");
}
