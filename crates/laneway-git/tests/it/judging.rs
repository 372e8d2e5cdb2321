//! What would be lost, seen on real trees.

use std::path::{Path, PathBuf};

use laneway_git::{Findings, Operation, TreeRecord, TreeState, TreeToRescue};

use crate::world::{World, to_judge};

/// A lane whose commit has ignore patterns and a second file.
fn lane(world: &World) -> TreeRecord {
    let patterns = "target/\nnode_modules/\n*.env\nout/\n";
    world.commit(&world.root(), ".gitignore", patterns);
    world.commit(&world.root(), "b", "b\n");
    world.lane("x")
}

fn write(path: PathBuf, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// What a judgement says after something was done to the lane's tree.
fn after(change: impl FnOnce(&World, &Path)) -> (World, Findings) {
    let world = World::new();
    let record = lane(&world);
    assert!(world.judge(&record).is_clean());
    change(&world, &record.path);
    let findings = world.judge(&record);
    (world, findings)
}

fn paths(listing: &laneway_git::Listing<PathBuf>) -> Vec<&str> {
    let mut paths: Vec<_> = listing.first.iter().map(|path| path.to_str().unwrap()).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn changed_staged_and_deleted_files_are_found() {
    let (_world, found) = after(|world, tree| {
        write(tree.join("a"), "changed\n");
        write(tree.join("new"), "staged\n");
        world.run(tree, &["add", "new"]);
        std::fs::remove_file(tree.join("b")).unwrap();
    });
    assert!(!found.is_clean());
    let facts: Vec<_> =
        found.changed.first.iter().map(|f| (f.path.to_str().unwrap(), f.staged, f.unstaged)).collect();
    assert_eq!(facts, [("a", false, true), ("b", false, true), ("new", true, false)]);
    assert!(found.untracked.is_empty() && found.ignored.is_empty() && found.unreachable.is_empty());
}

#[test]
fn untracked_files_are_found_whatever_the_configuration_hides() {
    let (_world, found) = after(|world, tree| {
        write(tree.join("new/er/file"), "x");
        write(tree.join("build/kept"), "not ignored, so it is work");
        world.run(tree, &["config", "status.showUntrackedFiles", "no"]);
        world.run(tree, &["config", "core.untrackedCache", "true"]);
        world.run(tree, &["config", "diff.ignoreSubmodules", "all"]);
    });
    assert!(!found.is_clean());
    assert_eq!(paths(&found.untracked), ["build/kept", "new/er/file"]);
}

#[test]
fn ignored_files_count_unless_a_folder_of_theirs_is_disposable() {
    let (_world, found) = after(|_, tree| {
        write(tree.join("secret.env"), "x");
        write(tree.join("out/deep/result"), "x");
        write(tree.join("out/node_modules/p/x"), "x");
        write(tree.join("target/debug/x"), "x");
        write(tree.join("sub/node_modules/p/x.env"), "x");
        std::fs::create_dir_all(tree.join("out/empty")).unwrap();
    });
    assert!(!found.is_clean());
    assert_eq!(paths(&found.ignored), ["out/deep/result", "secret.env"]);
    let (_world, only_disposable) = after(|_, tree| {
        write(tree.join("target/debug/x"), "x");
        write(tree.join("sub/node_modules/p/x.env"), "x");
        write(tree.join("out/node_modules/p"), "x");
    });
    assert!(only_disposable.is_clean(), "{only_disposable:?}");
}

#[test]
fn nested_repositories_are_found_with_commits_and_without() {
    let (_world, found) = after(|world, tree| {
        for nested in ["plain", "empty", "out/ignored"] {
            std::fs::create_dir_all(tree.join(nested)).unwrap();
            world.init(&tree.join(nested));
        }
        world.commit(&tree.join("plain"), "f", "x\n");
        world.commit(&tree.join("out/ignored"), "f", "x\n");
    });
    assert_eq!(paths(&found.untracked), ["empty/", "plain/"]);
    assert_eq!(paths(&found.ignored), ["out/ignored"]);
}

#[test]
fn a_nested_repository_in_a_folder_with_tracked_files_is_found_and_comes_back_from_a_rescue() {
    // With an index elsewhere nothing is told by a walk for times.
    for index_is_elsewhere in [false, true] {
        let world = World::new();
        std::fs::create_dir_all(world.root().join("src/deep")).unwrap();
        world.commit(&world.root(), "src/deep/f", "x\n");
        let record = lane(&world);
        let (tree, src) = (&record.path, record.path.join("src"));
        if index_is_elsewhere {
            let index = PathBuf::from(world.run(tree, &["rev-parse", "--absolute-git-dir"])).join("index");
            std::fs::rename(&index, world.path("index")).unwrap();
            std::os::unix::fs::symlink(world.path("index"), index).unwrap();
        }
        assert!(world.judge(&record).is_clean());
        world.init(&src);
        let commit = world.commit(&src, "y", "precious\n");
        world.run(&src, &["rm", "--quiet", "y"]);
        assert_eq!(world.run(tree, &["status", "--porcelain", "--ignored"]), "", "git says nothing of it");
        let found = world.judge(&record);
        assert_eq!(paths(&found.untracked), ["src/"], "{found:?}");
        let (path, recorded_branch) = (tree.as_path(), record.branch.as_str());
        let asked = TreeToRescue { path, recorded_branch, delete_branch: true, id: "id" };
        let rescued = world.repository().rescue(&asked).unwrap();
        assert!(!tree.exists() && !rescued.only_in_trash.is_empty(), "{rescued:?}");
        let there = rescued.trashed.unwrap().tree().join("src");
        assert_eq!(world.run(&there, &["cat-file", "blob", &format!("{commit}:y")]), "precious");
        assert!(world.run(&there, &["ls-files", "--others"]).contains("deep/f"));
    }
}

#[test]
fn changes_that_index_marks_hide_from_status_are_found() {
    let (_world, found) = after(|world, tree| {
        world.run(tree, &["update-index", "--assume-unchanged", "a"]);
        world.run(tree, &["update-index", "--skip-worktree", "b"]);
        write(tree.join("a"), "changed\n");
        write(tree.join("b"), "changed\n");
        assert_eq!(world.run(tree, &["status", "--porcelain"]), "");
    });
    let hidden: Vec<_> =
        found.changed.first.iter().map(|f| (f.path.to_str().unwrap(), f.is_hidden)).collect();
    assert_eq!(hidden, [("a", true), ("b", true)]);
    let (_world, unchanged) = after(|world, tree| {
        world.run(tree, &["update-index", "--assume-unchanged", "a"]);
        world.run(tree, &["sparse-checkout", "set", "--no-cone", "/a"]);
        assert!(!tree.join("b").exists());
    });
    assert!(unchanged.is_clean(), "{unchanged:?}");
}

#[test]
fn commits_of_the_lane_are_unreachable_until_something_else_holds_them() {
    for holder in [
        &["branch", "other", "lane/x"][..],
        &["tag", "kept", "lane/x"],
        &["update-ref", "refs/remotes/origin/x", "lane/x"],
    ] {
        let world = World::new();
        let record = lane(&world);
        let first = world.commit(&record.path, "a", "two\n");
        let second = world.commit(&record.path, "a", "three\n");
        let found = world.judge(&record);
        let ids: Vec<_> = found.unreachable.first.iter().map(|commit| &commit.id).collect();
        assert_eq!(ids, [&second, &first]);
        assert_eq!(found.unreachable.first[0].subject, "a: three");
        assert!(!found.is_clean());
        world.run(&world.root(), holder);
        assert!(world.judge(&record).is_clean(), "{holder:?}");
    }
}

#[test]
fn a_stash_a_reflog_or_another_detached_head_holds_nothing() {
    let world = World::new();
    let record = lane(&world);
    let commit = world.commit(&record.path, "a", "two\n");
    let detached = world.path("detached");
    let add = ["worktree", "add", "--quiet", "--detach", detached.to_str().unwrap(), commit.as_str()];
    world.run(&world.root(), &add);
    world.run(&world.root(), &["update-ref", "refs/custom/x", commit.as_str()]);
    assert_eq!(world.judge(&record).unreachable.count, 1);
}

#[test]
fn a_branch_that_stays_holds_its_own_commits() {
    let world = World::new();
    let record = lane(&world);
    world.commit(&record.path, "a", "two\n");
    let kept = laneway_git::TreeToJudge { branch_is_ours: false, ..to_judge(&record, &[]) };
    assert!(world.repository().judge(&kept).unwrap().is_clean());
}

#[test]
fn commits_on_a_detached_head_are_found() {
    let (_world, found) = after(|world, tree| {
        world.run(tree, &["checkout", "--quiet", "--detach"]);
        world.commit(tree, "a", "two\n");
    });
    assert_eq!(found.unreachable.count, 1);
    let head = found.seen.head.unwrap();
    assert_eq!((head.branch, head.commit), (None, Some(found.unreachable.first[0].id.clone())));
}

#[test]
fn a_head_on_another_branch_is_told_and_both_are_judged() {
    let world = World::new();
    let record = lane(&world);
    let left_behind = world.commit(&record.path, "a", "two\n");
    world.run(&record.path, &["checkout", "--quiet", "-b", "elsewhere", "HEAD~1"]);
    world.commit(&record.path, "a", "three\n");
    let found = world.judge(&record);
    assert_eq!(found.seen.head.as_ref().unwrap().branch.as_deref(), Some("elsewhere"));
    assert_eq!(found.seen.branch_tip.as_ref(), Some(&left_behind));
    let ids: Vec<_> = found.unreachable.first.iter().map(|commit| &commit.id).collect();
    assert_eq!(ids, [&left_behind], "what is on `elsewhere` stays with that branch");
}

#[test]
fn lanes_that_close_together_do_not_vouch_for_each_other() {
    let world = World::new();
    let record = lane(&world);
    let other = world.lane("y");
    world.commit(&record.path, "a", "two\n");
    world.run(&other.path, &["merge", "--quiet", "--ff-only", "lane/x"]);
    assert!(world.judge(&record).is_clean() && world.judge(&other).is_clean());
    assert_eq!(world.judge_with(&record, &["lane/y"]).unreachable.count, 1);
    assert_eq!(world.judge_with(&other, &["lane/x"]).unreachable.count, 1);
}

#[test]
fn operations_under_way_are_named() {
    for (arguments, expected) in [
        (&["merge", "conflict"][..], Operation::Merge),
        (&["rebase", "conflict"], Operation::Rebase),
        (&["cherry-pick", "conflict"], Operation::CherryPick),
        (&["revert", "HEAD~1"], Operation::Revert),
        (&["bisect", "start"], Operation::Bisect),
    ] {
        let (_world, found) = after(|world, tree| {
            world.run(&world.root(), &["checkout", "--quiet", "-b", "conflict"]);
            world.commit(&world.root(), "a", "theirs\n");
            world.commit(tree, "a", "ours\n");
            world.commit(tree, "a", "ours again\n");
            world.try_run(tree, arguments);
        });
        assert_eq!(found.operation, Some(expected));
        assert!(!found.is_clean());
        if expected == Operation::Merge {
            assert!(found.changed.first[0].conflicted);
        }
    }
}

#[test]
fn stashes_are_told_and_refuse_nothing() {
    let (_world, found) = after(|world, tree| {
        for content in ["one", "two"] {
            write(tree.join("b"), content);
            world.run(tree, &["stash", "--quiet"]);
        }
    });
    assert_eq!(found.n_stashes, 2);
    assert!(found.is_clean());
}

#[test]
fn a_submodules_own_commits_are_found() {
    let world = World::cloned();
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../origin", "sub"];
    world.run(&world.root(), &add);
    world.run(&world.root(), &["commit", "--quiet", "-m", "sub"]);
    let record = world.lane("x");
    assert!(world.judge(&record).is_clean());
    let update = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"];
    world.run(&record.path, &update);
    let found = world.judge(&record);
    assert!(found.is_clean(), "{found:?}");

    write(record.path.join("sub/untracked"), "x");
    let found = world.judge(&record);
    assert!(found.changed.first[0].is_submodule);
    // Committed in the submodule and in the lane, and both reachable: but the submodule's commit is here only.
    world.commit(&record.path.join("sub"), "untracked", "x");
    world.run(&record.path, &["commit", "--quiet", "-am", "sub moved"]);
    world.run(&world.root(), &["branch", "holds", "lane/x"]);
    let found = world.judge(&record);
    assert!(found.changed.is_empty() && found.unreachable.is_empty());
    assert_eq!(paths(&found.submodules), ["sub"]);
}

#[test]
fn long_lists_are_counted_whole_and_shown_in_part() {
    let (_world, found) = after(|_, tree| {
        for n in 0..120 {
            write(tree.join(format!("untracked/{n}")), "");
            write(tree.join(format!("out/{n}")), "");
        }
    });
    assert_eq!((found.untracked.count, found.untracked.first.len()), (120, 50));
    assert_eq!((found.ignored.count, found.ignored.first.len()), (120, 50));
}

#[test]
fn a_folder_that_cannot_be_looked_into_is_not_clean() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        // Root can look into everything.
        return;
    }
    let (_world, found) = after(|_, tree| {
        write(tree.join("closed/file"), "x");
        std::fs::set_permissions(tree.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    });
    assert!(found.not_looked_at.is_some() && !found.is_clean());
}

#[test]
fn what_is_missing_is_a_fact() {
    let world = World::new();
    let record = lane(&world);
    let commit = world.commit(&record.path, "a", "two\n");
    std::fs::remove_dir_all(&record.path).unwrap();
    let gone = world.judge(&record);
    assert_eq!((gone.tree, gone.unreachable.count), (TreeState::Missing, 1));
    assert_eq!(gone.seen.head.unwrap().commit, Some(commit));
    world.run(&world.root(), &["worktree", "remove", "--force", "--force", record.path.to_str().unwrap()]);
    world.run(&world.root(), &["branch", "-D", "lane/x"]);
    let all_gone = world.judge(&record);
    assert!(all_gone.is_clean() && all_gone.seen == laneway_git::Seen::default());
}

#[test]
fn a_tree_that_lost_its_git_file_is_not_taken_for_the_main_checkout() {
    let (_world, found) = after(|_, tree| std::fs::remove_file(tree.join(".git")).unwrap());
    assert_eq!(found.tree, TreeState::NotRegistered);
    assert!(!found.is_clean());
}

#[test]
fn looking_does_not_touch_the_index() {
    let world = World::new();
    let record = lane(&world);
    let index = world.root().join(".git/worktrees/x/index");
    write(record.path.join("a"), "one\n");
    let before = (std::fs::read(&index).unwrap(), index.metadata().unwrap().modified().unwrap());
    assert!(world.judge(&record).is_clean());
    assert_eq!((std::fs::read(&index).unwrap(), index.metadata().unwrap().modified().unwrap()), before);
}

#[test]
fn what_is_ignored_in_a_folder_of_the_project_is_work_whatever_that_is_called() {
    let world = World::new();
    world.commit(&world.root(), ".gitignore", "*.env\n*.pyc\nbuild\nlogs/\ntarget/\n");
    std::fs::create_dir_all(world.root().join("dist")).unwrap();
    world.commit(&world.root(), "dist/tracked", "of the project\n");
    let record = world.lane("x");
    // Made again: a folder that is ignored as a whole, and one with nothing of the project in it.
    write(record.path.join("target/debug/prod.env"), "x");
    write(record.path.join("src/__pycache__/a.pyc"), "x");
    assert!(world.judge(&record).is_clean());
    // Not made again: beside a tracked file, and a file that is only called like such a folder.
    write(record.path.join("dist/prod.env"), "secret");
    write(record.path.join("dist/logs/today"), "x");
    write(record.path.join("docs/build"), "a script");
    let found = world.judge(&record);
    assert_eq!(paths(&found.ignored), ["dist/logs/today", "dist/prod.env", "docs/build"]);
    assert!(!found.is_clean() && found.stamp.is_none());
}

#[test]
fn a_worktree_inside_of_the_tree_is_found_also_where_git_ignores_it() {
    let (_world, found) = after(|world, tree| {
        std::fs::create_dir(tree.join("target")).unwrap();
        let other = tree.join("target/other");
        world.run(&world.root(), &["worktree", "add", "--quiet", "-b", "other", other.to_str().unwrap()]);
    });
    assert_eq!(paths(&found.untracked), ["target/other"]);
    assert!(!found.is_clean());
}
