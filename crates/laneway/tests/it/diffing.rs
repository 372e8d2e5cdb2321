//! What a lane has done, as people and programs are told.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use laneway_testkit::process::finish;
use serde_json::{Value, json};

use crate::environment;
use crate::support::fails;

#[test]
fn all_work_of_a_lane_is_told_and_nothing_is_touched() {
    let world = environment();
    fs::write(world.repository.join("old"), "1\n2\n3\n").unwrap();
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "old"]);
    let base = world.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let _ = world.lane(&["new", "a"]).ok();
    let tree = world.worktree("a");
    assert_eq!(world.json(&["diff", "a"]), json!({"base": base, "head": base, "files": []}));
    assert_eq!(world.lane(&["diff", "a"]).ok().out(), "");

    fs::write(tree.join("README"), "committed\n").unwrap();
    world.git_in(&tree, &["commit", "--quiet", "--all", "--message", "work"]);
    world.git_in(&tree, &["mv", "old", "moved"]);
    fs::write(tree.join("binary"), "\0\u{1}").unwrap();
    let odd = OsStr::from_bytes(b"od\xffd\n\x1b[2J");
    fs::write(tree.join(odd), "x\n").unwrap();
    let index = world.git_in(&tree, &["rev-parse", "--git-path", "index"]);
    let index = fs::read(index.trim()).unwrap();
    let diff = world.json(&["diff", "a"]);
    let head = world.git_in(&tree, &["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!((&diff["base"], &diff["head"]), (&json!(base), &json!(head)));
    let odd_path = json!({ "base64": STANDARD.encode(odd.as_bytes()) });
    let file = |path: Value, status: &str, lines: Option<(u64, u64)>| {
        let (added, removed) = lines.unzip();
        let old_path = (status == "renamed").then_some("old");
        json!({"path": path, "old_path": old_path, "status": status, "added": added, "removed": removed,
               "binary": lines.is_none()})
    };
    let expected = [
        file(json!("README"), "modified", Some((1, 1))),
        file(json!("binary"), "untracked", None),
        file(json!("moved"), "renamed", Some((0, 0))),
        file(odd_path, "untracked", Some((1, 0))),
    ];
    assert_eq!(diff["files"], json!(expected));
    let patch = world.lane(&["diff", "a"]).ok();
    assert!(patch.out().contains("+committed\n") && patch.out().contains("rename to moved"), "{patch}");
    assert!(!patch.out().contains('\u{1b}') && patch.err().is_empty(), "{patch}");
    // Its text is a patch that makes of the base what the lane is.
    let applied = world.root().join("applied");
    world.git(&["clone", "--quiet", ".", applied.to_str().unwrap()]);
    let mut apply = world.program("git");
    let _ = finish(apply.current_dir(&applied).args(["apply", "--exclude=binary"]), &patch.stdout).ok();
    assert_eq!(fs::read(applied.join(odd)).unwrap(), b"x\n");
    assert!(world.lane(&["diff", "a", "--stat"]).ok().out().contains("4 files changed"));
    let index_now = world.git_in(&tree, &["rev-parse", "--git-path", "index"]);
    assert_eq!(fs::read(index_now.trim()).unwrap(), index, "nothing was added for this");
    assert_eq!(fs::read_dir(world.home.join("scratch")).unwrap().count(), 0);
    // What stands in the base by now is not the lane's own any more.
    world.git(&["merge", "--quiet", "--ff-only", "lane/a"]);
    assert_eq!(world.json(&["diff", "a"])["files"].as_array().map(Vec::len), Some(3));
}

#[test]
fn on_a_terminal_it_has_the_colours_that_git_would_use() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    fs::write(world.worktree("a").join("README"), "another test\n").unwrap();
    let mut window = world.window(&["diff", "a"], 80, 24);
    window.wait_until_left_with(0);
    assert!(window.all_lines().iter().any(|line| line == "+another test"), "{:?}", window.all_lines());
    let coloured = window.styled_lines();
    assert!(
        coloured.iter().any(|line| line.contains("\u{1b}[") && line.contains("another test")),
        "{coloured:?}"
    );
    window.close();
}

#[test]
fn a_long_diff_comes_whole_and_a_reader_that_has_enough_is_no_failure() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let lines = (0..1_000_000).map(|n| format!("line number {n}\n")).collect::<Vec<_>>().concat();
    fs::write(world.worktree("a").join("long"), &lines).unwrap();
    let whole = world.lane(&["diff", "a"]).ok();
    assert!(whole.stdout.len() > lines.len() && whole.stdout.ends_with(b"+line number 999999\n"));
    let lane = world.lane_command(&[]).get_program().to_owned();
    let script = r#"set -o pipefail; "$1" diff a | head -n 1"#;
    let said = finish(world.program("bash").args(["-c", script, "bash"]).arg(lane), b"").ok();
    assert_eq!(said.out(), "diff --git a/long b/long\n");
}

#[test]
fn a_lane_without_a_worktree_cannot_be_compared() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    fs::remove_dir_all(world.worktree("a")).unwrap();
    let error = fails(&world, &["diff", "a"], 1, "folder_gone");
    assert!(error["hint"].as_str().unwrap().contains("lane close a"), "{error}");
    let said = world.lane(&["diff", "a"]).code(1);
    assert!(said.out().is_empty() && said.err().contains("not a worktree"), "{said}");
    let id = crate::support::lane(&world, "a")["id"].as_str().unwrap().to_owned();
    let _ = world.lane(&["close", "a"]).ok();
    let _ = fails(&world, &["diff", &id], 5, "lane_not_open");
    let _ = fails(&world, &["diff", "a"], 3, "not_found");
    // What a killed daemon has left in the scratch folder is gone with the next one.
    let _ = world.lane(&["daemon", "stop"]).ok();
    fs::write(world.home.join("scratch/index-1-0"), "left").unwrap();
    let _ = world.lane(&["ls"]).ok();
    let _ = world.wait_for_event(0, "the start", |event| {
        event["event"] == "reconcile.completed" && !world.home.join("scratch/index-1-0").exists()
    });
}
