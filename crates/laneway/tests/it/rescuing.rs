//! Closing with consent, and coming back: whatever is in a lane is kept, merged, or brought back as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use laneway_testkit::{TestEnvironment, process};
use serde_json::json;

use crate::environment;
use crate::support::{Pipe, events, fails, kept_in_trash, lane};

/// Makes a lane without a program; gives its worktree.
#[track_caller]
fn new_lane(world: &TestEnvironment, name: &str) -> PathBuf {
    let _ = world.lane(&["new", name]).ok();
    world.worktree(name)
}

#[track_caller]
fn commit(world: &TestEnvironment, folder: &Path, file: &str, content: &str) {
    fs::write(folder.join(file), content).unwrap();
    world.git_in(folder, &["add", file]);
    world.git_in(folder, &["commit", "--quiet", "--message", content]);
}

/// Work of several kinds that a close would lose.
#[track_caller]
pub(crate) fn fill_with_work(world: &TestEnvironment, tree: &Path) {
    commit(world, tree, "committed", "only here");
    fs::write(tree.join("README"), "changed\n").unwrap();
    fs::write(tree.join("untracked"), "new\r\n").unwrap();
    fs::set_permissions(tree.join("untracked"), PermissionsExt::from_mode(0o640)).unwrap();
    fs::create_dir_all(tree.join("empty/inner")).unwrap();
    std::os::unix::fs::symlink("README", tree.join("link")).unwrap();
}

/// Every file, folder and link in a worktree but git's link, with mode and content; and what git says of it.
#[track_caller]
pub(crate) fn picture(world: &TestEnvironment, tree: &Path) -> (BTreeMap<PathBuf, String>, Vec<String>) {
    let mut found = BTreeMap::new();
    let mut waiting = vec![tree.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, facts) = (entry.path(), entry.metadata().unwrap());
            let what = if facts.is_dir() {
                waiting.push(path.clone());
                "folder".to_owned()
            } else if facts.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                format!("{:?}", fs::read(&path).unwrap())
            };
            found.insert(
                path.strip_prefix(tree).unwrap().to_owned(),
                format!("{:o} {what}", facts.permissions().mode()),
            );
        }
    }
    found.remove(Path::new(".git"));
    let asked: [&[&str]; 3] =
        [&["status", "--porcelain=v2", "--branch"], &["ls-files", "-s"], &["log", "-g", "--format=%H %gs"]];
    (found, asked.iter().map(|asked| world.git_in(tree, asked)).collect())
}

#[test]
fn a_lane_that_was_closed_with_work_in_it_comes_back_as_it_was() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let tree = world.worktree("a");
    fill_with_work(&world, &tree);
    let before = picture(&world, &tree);
    let _ = fails(&world, &["close", "a"], 5, "would_lose_work");
    let closed = world.json(&["close", "a", "--discard"]);
    assert_eq!((&closed["rescued"], &closed["branch_deleted"]), (&json!(true), &json!(true)));
    assert!(!tree.exists());
    let kept = &world.json(&["rescued"])["rescues"];
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["in_trash"]), (1, &json!(true)), "{kept}");
    world.kill_the_daemon();
    let restored = world.json(&["restore", "a"]);
    assert_eq!((&restored["warning"], &restored["lane"]["name"]), (&json!(null), &json!("a")));
    assert_eq!(picture(&world, &tree), before);
    assert_eq!(world.json(&["rescued"]), json!({"rescues": []}));
    assert_eq!(kept_in_trash(&world), [""; 0]);
    assert!(
        world.git(&["for-each-ref", "refs/laneway"]).contains("/work"),
        "its commits are held all the same"
    );
    let from = &closed["lane"]["id"];
    assert!(
        events(&world)
            .iter()
            .any(|event| event["event"] == "lane.restored" && event["data"]["from"] == *from)
    );
}

#[test]
fn what_the_trash_no_longer_has_comes_back_from_its_commits() {
    let world = environment();
    let tree = new_lane(&world, "a");
    fill_with_work(&world, &tree);
    let _ = world.lane(&["close", "a", "--discard"]).ok();
    fs::remove_dir_all(world.repository.join(".lanes/.trash")).unwrap();
    let restored = world.json(&["restore", "a", "--name", "again"]);
    assert!(restored["warning"].as_str().unwrap().contains("trash"), "{restored}");
    let tree = world.worktree("again");
    assert_eq!(fs::read_to_string(tree.join("README")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(tree.join("untracked")).unwrap(), "new\r\n");
    assert_eq!(fs::read_to_string(tree.join("committed")).unwrap(), "only here");
    assert_eq!(restored["lane"]["branch"], "lane/a", "it was free");
}

#[test]
fn several_of_one_name_are_told_apart_and_nothing_is_taken_for_another() {
    let world = environment();
    let mut ids = Vec::new();
    for content in ["first", "second"] {
        let tree = new_lane(&world, "a");
        fs::write(tree.join("work"), content).unwrap();
        let closed = world.json(&["close", "a", "--discard"]);
        ids.push(closed["lane"]["id"].as_str().unwrap().to_owned());
    }
    let refused = fails(&world, &["restore", "a"], 4, "ambiguous");
    assert!(ids.iter().all(|id| refused["message"].as_str().unwrap().contains(id.as_str())), "{refused}");
    let _ = world.lane(&["restore", &ids[0]]).ok();
    assert_eq!(fs::read_to_string(world.worktree("a").join("work")).unwrap(), "first");
    let restored = world.json(&["restore", "a"]);
    assert_eq!(restored["lane"]["name"], "a-2", "the name is in use again");
    assert_eq!(fs::read_to_string(world.worktree("a-2").join("work")).unwrap(), "second");
    let _ = fails(&world, &["restore", "a"], 3, "not_found");
}

#[test]
fn a_dry_run_says_what_a_close_would_do_and_does_nothing() {
    let world = environment();
    let tree = new_lane(&world, "a");
    fill_with_work(&world, &tree);
    let before = (picture(&world, &tree), world.last_seq());
    for (flags, would) in [
        (&["--dry-run"][..], "refuse"),
        (&["--dry-run", "--discard"], "rescue"),
        (&["--dry-run", "--merge"], "refuse"),
        (&["--dry-run", "--merge", "--discard"], "merge"),
    ] {
        let said = world.json(&[&["close", "a"], flags].concat());
        assert_eq!(said["would"], would, "{flags:?}");
        assert_eq!(said["losses"]["commits"]["count"], 1);
    }
    assert_eq!((picture(&world, &tree), world.last_seq()), before);
}

#[test]
fn a_merge_takes_the_commits_along_and_a_conflict_changes_nothing() {
    let world = environment();
    let tree = new_lane(&world, "a");
    commit(&world, &tree, "feature", "from a");
    let closed = world.json(&["close", "a", "--merge"]);
    assert_eq!((&closed["merged_into"], &closed["branch_deleted"]), (&json!("main"), &json!(true)));
    assert_eq!(fs::read_to_string(world.repository.join("feature")).unwrap(), "from a");
    let tree = new_lane(&world, "b");
    commit(&world, &tree, "feature", "from b");
    commit(&world, &world.repository, "feature", "from main");
    let heads = world.git(&["for-each-ref", "refs/heads"]);
    let refused = fails(&world, &["close", "b", "--merge"], 5, "merge_conflict");
    assert!(refused["message"].as_str().unwrap().contains("feature"), "{refused}");
    assert_eq!(refused["details"]["files"], json!({ "count": 1, "first": ["feature"] }));
    let hint = refused["hint"].as_str().unwrap();
    assert!(hint.contains("merge main") && hint.ends_with("lane close b --merge"), "{hint}");
    assert_eq!(lane(&world, "b")["status"], "ready");
    assert_eq!(world.git(&["for-each-ref", "refs/heads"]), heads);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    // With consent, a conflict is still no merge.
    let _ = fails(&world, &["close", "b", "--merge", "--discard"], 5, "merge_conflict");
    // Nor are changes that somebody has where it is to be merged.
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    fs::write(world.repository.join("feature"), "changed").unwrap();
    let refused = fails(&world, &["close", "b", "--merge"], 5, "not_merged");
    assert!(refused["hint"].as_str().unwrap().contains("commit or stash"), "{refused}");
}

#[test]
fn a_branch_that_is_to_stay_stays_with_its_commits() {
    let world = environment();
    let tree = new_lane(&world, "a");
    commit(&world, &tree, "feature", "kept");
    let closed = world.json(&["close", "a", "--keep-branch"]);
    assert_eq!((&closed["branch_deleted"], &closed["rescued"]), (&json!(false), &json!(false)));
    assert_eq!(world.git(&["log", "-1", "--format=%s", "lane/a"]), "kept\n");
}

#[test]
fn somebody_elses_program_in_the_folder_refuses_a_close_and_the_callers_own_shell_does_not() {
    let world = environment();
    let tree = new_lane(&world, "a");
    let held = Pipe::new(&world, "held");
    let script = format!("read line <{}", held.path.display());
    let mut other = world.program("sh");
    let mut other = other.args(["-c", &script]).current_dir(&tree).stdin(Stdio::null()).spawn().unwrap();
    let refused = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(refused["details"]["processes"]["first"][0]["pid"], other.id(), "{refused}");
    other.kill().unwrap();
    other.wait().unwrap();
    // The shell that asks stands in it.
    let mut shell = world.program("sh");
    let lane = world.lane_command(&[]).get_program().to_owned();
    shell.args(["-c", "\"$0\" close a && true"]).arg(lane).current_dir(&tree);
    for (name, value) in world.lane_command(&[]).get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let _ = process::finish(&mut shell, b"").ok();
}

#[test]
fn a_program_in_a_lane_can_neither_discard_nor_prune() {
    let world = environment();
    let tree = new_lane(&world, "a");
    fs::write(tree.join("work"), "x").unwrap();
    let _ = new_lane(&world, "agent");
    let lane_program = world.lane_command(&[]).get_program().to_str().unwrap().to_owned();
    for arguments in [&["close", "a", "--discard"][..], &["prune", "--yes"]] {
        for prefix in [&[][..], &["env", "-u", "LANEWAY_RUN"]] {
            let command = [&["exec", "agent", "--"], prefix, &[lane_program.as_str()], arguments].concat();
            let refused = world.lane(&command).code(5);
            assert!(refused.err().contains("a person's to say"), "{refused}");
        }
    }
    assert!(tree.join("work").exists());
}

#[test]
fn prune_shows_what_it_frees_and_deletes_only_where_that_is_said() {
    let world = environment();
    let tree = new_lane(&world, "a");
    fill_with_work(&world, &tree);
    let _ = world.lane(&["close", "a", "--discard"]).ok();
    let _ = fails(&world, &["prune"], 5, "consent");
    let shown = world.json(&["prune", "--dry-run"]);
    assert!(shown["rescues"][0]["bytes"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(world.json(&["prune", "--older-than", "1h", "--yes"]), json!({"rescues": []}));
    assert_eq!(world.json(&["rescued"])["rescues"].as_array().unwrap().len(), 1);
    let pruned = world.json(&["prune", "--yes"]);
    assert_eq!(pruned["rescues"][0]["name"], "a");
    assert_eq!(world.json(&["rescued"]), json!({"rescues": []}));
    assert_eq!(kept_in_trash(&world), [""; 0]);
    assert_eq!(world.git(&["for-each-ref", "refs/laneway"]), "");
}

#[test]
fn what_cannot_be_deleted_is_named_and_the_rest_is_deleted() {
    let world = environment();
    for name in ["a", "b", "c"] {
        fs::write(new_lane(&world, name).join("work"), name).unwrap();
        let _ = world.lane(&["close", name, "--discard"]).ok();
    }
    let rescues = world.json(&["rescued"])["rescues"].clone();
    let b = &rescues[1]["lane"];
    let lock = format!(".git/refs/laneway/rescue/{}/work.lock", b.as_str().unwrap());
    fs::write(world.repository.join(&lock), "").unwrap();
    let finished = world.lane(&["prune", "--yes", "--json"]).code(1);
    let pruned = finished.json();
    let names = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(&pruned["rescues"]), names(&pruned["failed"])),
        (vec!["c".into(), "a".into()], vec!["b".into()])
    );
    assert_eq!(&world.json(&["rescued"])["rescues"][0]["lane"], b);
    fs::remove_file(world.repository.join(&lock)).unwrap();
    assert_eq!(world.json(&["prune", "--yes"])["rescues"][0]["lane"], *b);
}

#[test]
fn after_a_yes_only_what_was_shown_is_deleted() {
    let world = environment();
    fs::write(new_lane(&world, "a").join("work"), "shown").unwrap();
    let _ = world.lane(&["close", "a", "--discard"]).ok();
    fs::write(new_lane(&world, "b").join("work"), "not shown").unwrap();
    let mut window = world.window(&["prune"], 120, 24);
    window.wait_for("delete it for good?");
    let _ = world.lane(&["close", "b", "--discard"]).ok();
    window.press("y\r");
    window.wait_until_left_with(0);
    let left = &world.json(&["rescued"])["rescues"];
    assert_eq!((left.as_array().unwrap().len(), &left[0]["name"]), (1, &json!("b")), "{left}");
}

#[test]
fn a_program_of_another_lane_in_the_folder_refuses_a_close() {
    let world = environment();
    let tree = new_lane(&world, "a");
    let script = format!("cd {} && exec fake-agent ready wait", tree.display());
    world.start("b", &["sh", "-c", &script]);
    let refused = fails(&world, &["close", "a"], 5, "would_lose_work");
    assert_eq!(refused["details"]["processes"]["count"], 1, "{refused}");
    // Its own is ended.
    let _ = world.lane(&["stop", "b"]).ok();
    let _ = world.lane(&["close", "a"]).ok();
}

#[test]
fn a_dry_run_refuses_what_no_close_of_an_adopted_lane_does() {
    let world = environment();
    let tree = world.root().join("elsewhere");
    world.git(&["worktree", "add", "--quiet", tree.to_str().unwrap()]);
    let _ = world.lane(&["adopt", tree.to_str().unwrap(), "--name", "mine"]).ok();
    for flags in [&["--discard"][..], &["--discard", "--dry-run"]] {
        let _ = fails(&world, &[&["close", "mine"], flags].concat(), 5, "not_our_tree");
    }
}

#[test]
fn a_daemon_killed_at_any_moment_of_a_discard_or_a_restore_loses_nothing() {
    let world = environment();
    let tree = new_lane(&world, "a");
    fill_with_work(&world, &tree);
    let before = picture(&world, &tree);
    let mut name = "a".to_owned();
    // Each round is cut off by the event after which the daemon is killed.
    for (verb, event) in [
        ("close", "cleaning"),
        ("restore", "provisioning"),
        ("close", "cleaning"),
        ("restore", "new"),
        ("close", "closed"),
        ("restore", "open"),
    ] {
        let since = world.last_seq();
        let arguments: &[&str] =
            if verb == "close" { &["close", &name, "--discard"] } else { &["restore", &name] };
        let mut asking =
            world.lane_command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        world.wait_for_event(since, event, |seen| {
            (seen["event"] == "lane.state.changed" && seen["data"]["to"] == event)
                || (event == "new" && seen["event"] == "lane.restored")
        });
        world.kill_the_daemon();
        let _ = asking.wait().unwrap();
        // The next start goes on; what was asked is repeated until it is so.
        let _ = world.lane(&["daemon", "start"]).ok();
        if verb == "close" {
            let _ = world.lane(&["close", &name, "--discard"]);
            // Those before it are listed too: their refs go by their age only.
            assert_eq!(world.json(&["rescued"])["rescues"][0]["in_trash"], true, "after {event}");
        } else {
            world.wait_for_event(since, "open or closed", |seen| {
                let to = &seen["data"]["to"];
                seen["event"] == "lane.state.changed" && (to == "open" || to == "closed")
            });
            let is_open = || world.json(&["ls"])["lanes"].as_array().unwrap().first().cloned();
            let open = is_open().unwrap_or_else(|| world.json(&["restore", &name])["lane"].clone());
            name = open["name"].as_str().unwrap().to_owned();
            let ready = world.lane(&["close", &name, "--dry-run"]).ok();
            assert!(ready.out().contains("would not be closed"), "{ready}");
            let tree = PathBuf::from(lane(&world, &name)["path"].as_str().unwrap());
            assert_eq!(picture(&world, &tree).0, before.0, "after {event}");
        }
    }
}

#[test]
fn what_programs_of_closed_lanes_said_can_be_deleted_and_that_of_open_ones_stays() {
    let world = environment();
    let open = world.start("open", &["sh", "-c", "echo said; exec cat"]);
    let closed = world.start("closed", &["sh", "-c", "echo said; exec cat"]);
    let worker = world.worker("closed")["id"].as_str().unwrap().to_owned();
    let _ = world.lane(&["close", "closed"]).ok();
    assert!(world.lane(&["read", &worker]).ok().out().contains("said"));
    let shown = world.json(&["prune", "--dry-run"]);
    let runs = &shown["runs"][0];
    assert_eq!(
        (shown["runs"].as_array().unwrap().len(), &runs["name"], &runs["n_runs"]),
        (1, &json!("closed"), &json!(1))
    );
    assert!(runs["bytes"].as_u64().unwrap() > 0, "{shown}");
    assert!(closed.exists());
    assert_eq!(world.json(&["prune", "--yes", "--older-than", "1h"]), json!({"rescues": []}));
    let said = world.lane(&["prune", "--yes"]).ok();
    assert!(said.out().contains("what 1 run of 1 closed lane said"), "{said}");
    assert!(!closed.exists() && open.exists());
    let gone = fails(&world, &["read", &worker], 3, "no_last_screen");
    assert!(gone["hint"].as_str().unwrap().contains("after its lane was closed"), "{gone}");
    assert_eq!(
        world.json(&["show", &worker])["worker"]["exit"]["kind"],
        "signal",
        "how it ended is recorded"
    );
    assert_eq!(world.worker("open")["status"], "running");
}
