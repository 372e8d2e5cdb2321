//! Worktrees that somebody made: taken in as lanes, worked in, and given back as they were.

use std::fs;
use std::path::{Path, PathBuf};

use laneway_testkit::process::finish;
use laneway_testkit::{TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{all_lanes, events, fails, has_failed, lane, only_the_daemon_is_left};

/// A worktree beside the repository, as a person makes it.
#[track_caller]
fn somebodys(world: &TestEnvironment, name: &str, arguments: &[&str]) -> PathBuf {
    let path = world.root().join(name);
    world.git(&[&["worktree", "add", "--quiet", path.to_str().unwrap()], arguments].concat());
    path
}

/// All of a worktree but its times, and git's entry for it: names, kinds and contents.
#[track_caller]
fn state_of(world: &TestEnvironment, tree: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let admin = world.git_in(tree, &["rev-parse", "--absolute-git-dir"]);
    let mut found = Vec::new();
    let mut waiting = vec![tree.to_owned(), PathBuf::from(admin.trim_end())];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
                found.push((entry.path(), Vec::new()));
            } else {
                found.push((entry.path(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_adopted_worktree_is_a_lane_and_is_as_it_was_after_its_close() {
    let world = environment();
    let tree = somebodys(&world, "review", &["-b", "topic"]);
    world.git_in(&tree, &["commit", "--quiet", "--allow-empty", "--message", "mine"]);
    fs::write(tree.join("README"), "changed, not committed\n").unwrap();
    fs::write(tree.join("idea"), "not even added").unwrap();
    fs::write(tree.join("staged"), "staged").unwrap();
    world.git_in(&tree, &["add", "staged"]);
    let (before, worktrees) = (state_of(&world, &tree), world.git(&["worktree", "list", "--porcelain"]));

    let said = world.lane(&["adopt", tree.to_str().unwrap()]).ok();
    assert!(said.out().contains("lane review (adopted)") && said.out().contains("topic"), "{said}");
    let adopted = lane(&world, "review");
    assert_eq!(adopted["path"], tree.to_str().unwrap());
    assert_eq!(
        [&adopted["branch"], &adopted["branch_is_ours"], &adopted["adopted"], &adopted["status"]],
        [&json!("topic"), &json!(false), &json!(true), &json!("ready")]
    );
    assert_eq!(
        (&adopted["base_ref"], adopted["base_commit"].as_str()),
        (&json!("main"), Some(world.git(&["rev-parse", "main"]).trim())),
        "where it left what is checked out in the main worktree"
    );
    assert!(world.lane(&["show", "review"]).ok().out().contains("adopted"));
    assert_eq!(state_of(&world, &tree), before, "nothing was done to it");

    let run = world.json(&["run", "review", "--", "sh", "-c", "pwd; exec fake-agent ready wait"]);
    let folder = PathBuf::from(run["holder_folder"].as_str().unwrap());
    screen::wait_for_line(&folder, "ready");
    assert_eq!(run["worker"]["cwd"], tree.to_str().unwrap());
    assert_eq!(world.lane(&["exec", "review", "--", "cat", "idea"]).ok().out(), "not even added");
    // From inside of it a new lane starts where it stands, as from inside of every lane.
    let made = finish(world.lane_command(&["new", "next", "--json"]).current_dir(&tree), b"").ok().json();
    assert_eq!(made["lane"]["base_ref"], "topic");

    let said = world.lane(&["close", "review"]).ok();
    assert!(said.out().contains("stay as they were"), "{said}");
    only_the_daemon_is_left(&world);
    assert_eq!(state_of(&world, &tree), before);
    let _ = world.lane(&["close", "next"]).ok();
    assert_eq!(world.git(&["worktree", "list", "--porcelain"]), worktrees);
    assert_eq!(world.git(&["rev-parse", "--abbrev-ref", "topic"]), "topic\n", "its branch is there");
    // It can be taken in again, and its owner can do with it what he likes.
    let _ = world.lane(&["adopt", tree.to_str().unwrap(), "--name", "again"]).ok();
    world.git(&["worktree", "remove", "--force", tree.to_str().unwrap()]);
    let _ = fails(&world, &["run", "again", "--", "true"], 1, "folder_gone");
    let _ = world.lane(&["close", "again"]).ok();
    let adopted = events(&world).into_iter().find(|event| event["event"] == "lane.adopted").unwrap();
    assert_eq!((&adopted["data"]["name"], &adopted["data"]["branch"]), (&json!("review"), &json!("topic")));
}

#[test]
fn a_detached_head_and_a_path_seen_from_where_the_caller_stands_are_fine() {
    let world = environment();
    let tree = somebodys(&world, "Odd Näme!", &["--detach"]);
    let link = world.root().join("link");
    std::os::unix::fs::symlink(&tree, &link).unwrap();
    let said = world.lane(&["adopt", "../link"]).ok();
    assert!(said.out().contains("(detached)"), "{said}");
    let adopted = lane(&world, "odd-n-me");
    assert_eq!((&adopted["branch"], adopted["path"].as_str()), (&Value::Null, tree.to_str()));
    assert!(world.lane(&["ls"]).ok().out().contains("(detached)"));
    let _ = world.lane(&["close", "odd-n-me"]).ok();
    assert!(tree.join("README").exists());
    // A worktree inside of the main checkout is one as well, and `.` means where the caller stands.
    let inside = somebodys(&world, "repository/inside", &[]);
    let _ = finish(world.lane_command(&["adopt", "."]).current_dir(&inside), b"").ok();
    assert_eq!(lane(&world, "inside")["branch"], "inside");
}

#[test]
fn what_is_no_worktree_of_this_repository_is_refused_and_says_why() {
    let world = environment();
    let _ = world.lane(&["new", "made"]).ok();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let plain = world.root().join("plain");
    fs::create_dir(&plain).unwrap();
    let deep = world.repository.join("src");
    fs::create_dir(&deep).unwrap();
    let gone = somebodys(&world, "gone", &[]);
    fs::remove_dir_all(&gone).unwrap();
    let locked = somebodys(&world, "locked", &[]);
    world.git(&["worktree", "lock", "--reason", "on a stick", &text(&locked)]);
    let moved = somebodys(&world, "moved", &[]);
    fs::rename(&moved, world.root().join("elsewhere")).unwrap();
    let tree = somebodys(&world, "tree", &[]);
    fs::create_dir(tree.join("deep")).unwrap();
    let unborn = world.root().join("unborn");
    world.git(&["worktree", "add", "--quiet", "--orphan", "-b", "unborn", &text(&unborn)]);
    let other = world.root().join("other");
    world.git(&["clone", "--quiet", ".", &text(&other)]);
    let other_tree = world.root().join("other-tree");
    world.git_in(&other, &["worktree", "add", "--quiet", &text(&other_tree)]);
    let _ = world.lane(&["adopt", &text(&tree), "--name", "taken"]).ok();
    let n_lanes = all_lanes(&world).len();
    let refusals: [(String, i32, &str, &str); 13] = [
        (text(&world.root().join("nowhere")), 3, "path_missing", "git worktree list"),
        // The scratch folders stand inside the checkout of this project: another repository's.
        (text(&plain), 5, "not_a_worktree", "root"),
        (text(&deep), 5, "not_a_worktree", &text(&world.repository)),
        (text(&tree.join("deep")), 5, "not_a_worktree", &text(&tree)),
        (text(&world.repository.join(".git")), 5, "not_a_worktree", ""),
        (text(&world.repository), 5, "main_checkout", "lane new"),
        (text(&other_tree), 5, "other_repository", &text(&other_tree)),
        (text(&other), 5, "other_repository", "lane adopt"),
        (text(&gone), 5, "worktree_gone", "git worktree prune"),
        (text(&locked), 5, "worktree_locked", "git worktree unlock"),
        (text(&world.root().join("elsewhere")), 5, "worktree_broken", "git worktree repair"),
        (text(&unborn), 5, "unborn_head", "git commit"),
        (text(&tree), 5, "path_in_use", "lane show taken"),
    ];
    for (path, exit, word, hint) in &refusals {
        let error = fails(&world, &["adopt", path], *exit, word);
        assert!(error["hint"].as_str().is_some_and(|text| text.contains(hint)), "{path}: {error}");
    }
    let made = text(&world.worktree("made"));
    let error = fails(&world, &["adopt", &made], 5, "path_in_use");
    assert!(error["message"].as_str().unwrap().contains("lane made"), "{error}");
    // A lane of somebody who keeps his state elsewhere.
    let home = world.root().join("other-home");
    let elsewhere =
        |arguments: &[&str]| finish(world.lane_command(arguments).env("LANEWAY_HOME", &home), b"").ok();
    let foreign =
        elsewhere(&["new", "foreign", "--json"]).json()["lane"]["path"].as_str().unwrap().to_owned();
    let _ = elsewhere(&["daemon", "stop"]);
    let error = fails(&world, &["adopt", &foreign], 5, "made_as_lane");
    assert!(error["hint"].as_str().unwrap().contains("LANEWAY_HOME"), "{error}");
    let error = fails(&world, &["adopt", &text(&locked)], 5, "worktree_locked");
    assert!(error["message"].as_str().unwrap().contains("on a stick"), "{error}");
    let free = somebodys(&world, "free", &[]);
    let _ = fails(&world, &["adopt", &text(&free), "--name", "made"], 5, "lane_name_taken");
    let _ = fails(&world, &["adopt", &text(&free), "--name", "Free"], 2, "illegal_name");
    assert_eq!(all_lanes(&world).len(), n_lanes, "a refusal leaves no row");
    let outside = finish(world.lane_command(&["adopt", &text(&free), "--json"]).current_dir("/"), b"");
    let _ = has_failed(&outside, 2, "not_a_repository");
}

#[test]
fn a_branch_that_is_not_utf8_keeps_a_worktree_from_being_adopted_and_disturbs_no_lane() {
    use std::os::unix::ffi::OsStrExt;
    let world = environment();
    let odd = std::ffi::OsStr::from_bytes(b"refs/heads/lane/\xff\xfe");
    let _ = finish(world.program("git").arg("update-ref").arg(odd).arg("HEAD"), b"").ok();
    let tree = somebodys(&world, "tree", &["--detach"]);
    let switch = world.program("git").current_dir(&tree).args(["symbolic-ref", "HEAD"]).arg(odd).status();
    assert!(switch.unwrap().success());
    let error = fails(&world, &["adopt", tree.to_str().unwrap()], 5, "illegal_branch");
    assert!(error["hint"].as_str().unwrap().contains("git branch -m"), "{error}");

    let _ = world.lane(&["new", "a", "--", "fake-agent", "wait"]).ok();
    assert!(world.lane(&["ls"]).ok().out().contains("lane/a"));
    let _ = world.lane(&["close", "a"]).ok();
    // A lane whose agent has gone over to such a branch is judged, and closed, like any other.
    let _ = world.lane(&["new", "b"]).ok();
    let lane_tree = world.worktree("b");
    let branch = std::ffi::OsStr::from_bytes(b"agent-\xff");
    let _ = finish(
        world.program("git").current_dir(&lane_tree).args(["switch", "--quiet", "-c"]).arg(branch),
        b"",
    )
    .ok();
    fs::write(lane_tree.join("work"), "x").unwrap();
    let _ = fails(&world, &["close", "b"], 5, "would_lose_work");
    fs::remove_file(lane_tree.join("work")).unwrap();
    let _ = world.lane(&["close", "b"]).ok();
    let refs = finish(world.program("git").args(["for-each-ref", "--format=%(refname)"]), b"").ok().stdout;
    assert!(refs.windows(7).any(|part| part == b"agent-\xff"), "the branch that was not ours is kept");
    // Given by its bytes such a branch is refused in words.
    let asked = finish(world.lane_command(&["new", "c", "--json", "--branch"]).arg(branch), b"");
    let error = has_failed(&asked, 2, "usage");
    assert!(error["message"].as_str().unwrap().contains("not UTF-8"), "{error}");
}

#[test]
fn an_adopted_lane_outlives_the_daemon_and_is_closed_by_the_next_one() {
    let world = environment();
    let tree = somebodys(&world, "review", &[]);
    fs::write(tree.join("idea"), "mine").unwrap();
    let before = state_of(&world, &tree);
    let _ = world.lane(&["adopt", tree.to_str().unwrap()]).ok();
    let run = world.json(&["run", "review", "--", "fake-agent", "ignore", "ready", "wait"]);
    screen::wait_for_line(Path::new(run["holder_folder"].as_str().unwrap()), "ready");
    world.kill_the_daemon();
    assert_eq!(lane(&world, "review")["status"], "running");
    // Killed once more while it closes: the program ignores its signal, so the close waits for the grace.
    let mut closing = world.lane_command(&["close", "review", "--grace", "30s"]).spawn().unwrap();
    let _ = world.wait_for_event(0, "the close", |event| event["data"]["to"] == "cleaning");
    world.kill_the_daemon();
    closing.wait().unwrap();
    let _ = world.lane(&["ls"]).ok();
    let _ = world.lane(&["stop", "review", "--grace", "0"]);
    let _ = world.wait_for_event(0, "the end of the close", |event| event["data"]["to"] == "closed");
    only_the_daemon_is_left(&world);
    assert_eq!(state_of(&world, &tree), before);
}
