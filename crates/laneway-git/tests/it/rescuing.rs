//! Taking a tree away with work in it, and bringing it back as it was.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use laneway_git::{
    LargeFile, MOST_IN_COMMIT, Rescue, RescueRef, Rescued, RestoreError, RestoredFrom, Trashed, TreeRecord,
    TreeToRescue,
};

use crate::world::World;

fn to_rescue<'a>(record: &'a TreeRecord, id: &'a str) -> TreeToRescue<'a> {
    TreeToRescue { path: &record.path, recorded_branch: &record.branch, delete_branch: true, id }
}

fn rescue(world: &World, record: &TreeRecord) -> Rescued {
    let rescued = world.repository().rescue(&to_rescue(record, "id")).unwrap();
    assert!(!record.path.exists());
    if let Some(trashed) = &rescued.trashed {
        trashed.drop_disposable(&rescued.disposable).unwrap();
    }
    rescued
}

fn restore(world: &World, record: &TreeRecord, lane: &str) -> (TreeRecord, RestoredFrom) {
    let rescue = Rescue { id: "id", was_at: &record.path, was_on: &record.branch };
    let spare = format!("lane/{lane}");
    let back = world
        .repository()
        .preflight_restore(&rescue, (lane, &world.id(lane)), &world.tree(lane), &spare)
        .unwrap();
    let from = world.repository().restore(&rescue, &back).unwrap();
    (back, from)
}

/// Whether this git can leave attributes out of account (`--attr-source`, 2.41). An older one converts what it
/// commits, and only the trash has it byte for byte.
#[expect(clippy::print_stderr, reason = "what is not looked at is said")]
fn commits_bytes_as_they_are(world: &World) -> bool {
    let mut numbers = world.git.version().split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let can = (numbers.next(), numbers.next()) >= (Some(2), Some(41));
    if !can {
        eprintln!("git {} converts what it commits: not looked at", world.git.version());
    }
    can
}

/// Everything in a folder: kind, mode and content by path, but for the link to the repository.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(inside) = waiting.pop() {
        for entry in std::fs::read_dir(&inside).unwrap().map(Result::unwrap) {
            let (path, facts) = (entry.path(), entry.metadata().unwrap());
            let name = path.strip_prefix(folder).unwrap().to_owned();
            let kind = facts.file_type();
            let what = if kind.is_dir() {
                waiting.push(path.clone());
                "folder".to_owned()
            } else if kind.is_symlink() {
                format!("link to {}", std::fs::read_link(&path).unwrap().display())
            } else if kind.is_fifo() {
                "pipe".to_owned()
            } else if name.ends_with(".git") {
                continue;
            } else {
                format!("{:?}", std::fs::read(&path).unwrap())
            };
            found.insert(name, format!("{:o} {what}", facts.permissions().mode()));
        }
    }
    found
}

/// What git says of a tree: HEAD, index, status, reflog.
fn git_facts(world: &World, tree: &Path) -> Vec<String> {
    [
        &["rev-parse", "HEAD", "--symbolic-full-name", "HEAD"][..],
        &["ls-files", "-s", "-v", "--full-name"],
        &["ls-files", "--resolve-undo"],
        &["status", "--porcelain=v2", "--ignored", "--untracked-files=all"],
        &["log", "--walk-reflogs", "--format=%H %gs", "HEAD"],
    ]
    .iter()
    .map(|args| world.run(tree, args))
    .collect()
}

/// A lane with work of every kind in it.
fn full_of_work(world: &World) -> TreeRecord {
    let root = world.root();
    for (file, content) in [(".gitignore", "*.log\ntarget/\n"), ("b", "b\n"), ("c", "c\n"), ("dos", "x\r\n")]
    {
        world.commit(&root, file, content);
    }
    let record = world.lane("x");
    let tree = &record.path;
    world.commit(tree, "committed", "in the lane\n");
    world.commit(tree, "amended", "away\n");
    world.run(tree, &["commit", "--quiet", "--amend", "-m", "another"]);
    world.run(tree, &["reset", "--quiet", "--hard", "HEAD~"]);
    let write = |name: &str, content: &str| std::fs::write(tree.join(name), content).unwrap();
    write("a", "changed\n");
    write("b", "staged\n");
    world.run(tree, &["add", "b"]);
    write("b", "staged and changed\n");
    std::fs::remove_file(tree.join("c")).unwrap();
    write("untracked", "new\n");
    write("-a name\nwith 'all' of\"it", "odd\n");
    std::fs::write(tree.join(OsStr::from_bytes(b"not utf-8 \xff")), "x").unwrap();
    write("secret.log", "ignored\n");
    write(".gitattributes", "*.txt text eol=crlf\n*.bad filter=bad\n");
    write("lf.txt", "lf\nonly\n");
    write("private", "0600\n");
    std::fs::set_permissions(tree.join("private"), PermissionsExt::from_mode(0o600)).unwrap();
    write("script", "#!/bin/sh\n");
    std::fs::set_permissions(tree.join("script"), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/nowhere", tree.join("link")).unwrap();
    std::fs::create_dir_all(tree.join("empty/inner")).unwrap();
    std::fs::create_dir_all(tree.join("target/debug")).unwrap();
    write("target/debug/object", "made again\n");
    write("intended", "later\n");
    world.run(tree, &["add", "--intent-to-add", "intended"]);
    world.run(tree, &["update-index", "--assume-unchanged", "dos"]);
    write("dos", "y\r\n");
    record
}

#[test]
fn a_lane_full_of_work_comes_back_byte_for_byte() {
    let world = World::new();
    let record = full_of_work(&world);
    std::fs::remove_dir_all(record.path.join("target")).unwrap();
    let before = (files(&record.path), git_facts(&world, &record.path));
    let tip = world.tip(&record.path, "lane/x");
    let rescued = rescue(&world, &record);
    assert_eq!(rescued.refs[&RescueRef::Branch], tip);
    assert_eq!(world.leftovers().1, Vec::<String>::new(), "the branch is deleted");
    let (back, from) = restore(&world, &record, "x");
    assert_eq!((from, back.branch.as_str()), (RestoredFrom::Trash, "lane/x"));
    assert_eq!(files(&back.path), before.0);
    assert_eq!(git_facts(&world, &back.path), before.1);
    assert_eq!(world.tip(&back.path, "lane/x"), tip);
}

#[test]
fn the_lock_that_another_git_has_on_a_reflog_is_not_kept() {
    let world = World::new();
    let record = full_of_work(&world);
    let lock = |tree: &Path| {
        let folder = world.run(tree, &["rev-parse", "--absolute-git-dir"]);
        PathBuf::from(folder.trim()).join("logs/HEAD.lock")
    };
    std::fs::write(lock(&record.path), "").unwrap();
    rescue(&world, &record);
    let (back, _) = restore(&world, &record, "x");
    assert!(!lock(&back.path).exists());
    world.run(&back.path, &["commit", "--quiet", "--allow-empty", "-m", "goes on"]);
}

#[test]
fn once_the_trash_is_gone_the_refs_bring_back_what_commits_can_hold() {
    let world = World::new();
    let record = full_of_work(&world);
    let text = |tree: &Path, name: &str| std::fs::read(tree.join(name)).unwrap();
    let mut names = vec!["a", "b", "untracked", "secret.log", "dos", "private", "-a name\nwith 'all' of\"it"];
    if commits_bytes_as_they_are(&world) {
        names.push("lf.txt");
    }
    let before: Vec<_> = names.iter().map(|name| text(&record.path, name)).collect();
    let staged = world.run(&record.path, &["show", ":b"]);
    let rescued = rescue(&world, &record);
    let trashed = rescued.trashed.unwrap();
    assert_eq!(rescued.only_in_trash, Vec::<String>::new());
    assert_eq!(world.repository().not_held("id", &trashed).unwrap(), None);
    trashed.unlink().unwrap();
    world.run(&world.root(), &["reflog", "expire", "--expire=now", "--all"]);
    world.run(&world.root(), &["gc", "--quiet", "--prune=now"]);
    let (back, from) = restore(&world, &record, "y");
    assert_eq!(from, RestoredFrom::Refs);
    for (name, content) in names.iter().zip(before) {
        assert_eq!(text(&back.path, name), content, "{name:?}");
    }
    assert!(!back.path.join("c").exists() && !back.path.join("target").exists());
    assert_eq!(world.run(&back.path, &["show", ":b"]), staged);
    assert!(back.path.join("script").metadata().unwrap().permissions().mode() & 0o100 != 0);
}

#[test]
fn commits_that_only_a_reflog_named_survive_a_clean_up_of_git() {
    let world = World::new();
    let record = world.lane("x");
    let lost = world.commit(&record.path, "a", "amended away\n");
    world.run(&record.path, &["commit", "--quiet", "--amend", "-m", "another"]);
    world.run(&record.path, &["reset", "--quiet", "--hard", record.base_commit.as_str()]);
    let seen = world.judge(&record).seen;
    let removed = world.repository().remove(&crate::world::to_remove(&record, &seen, "id")).unwrap();
    removed.trashed.unwrap().unlink().unwrap();
    world.run(&world.root(), &["reflog", "expire", "--expire=now", "--all"]);
    world.run(&world.root(), &["gc", "--quiet", "--prune=now"]);
    world.run(&world.root(), &["cat-file", "-e", lost.as_str()]);
    assert_eq!(
        world.repository().rescue_refs("id").unwrap().into_keys().collect::<Vec<_>>(),
        [RescueRef::Named]
    );
    world.repository().forget_rescue("id").unwrap();
    assert!(world.repository().rescues().unwrap().is_empty());
}

#[test]
fn a_merge_and_a_rebase_that_are_not_finished_go_on_after_a_restore() {
    let world = World::new();
    for operation in ["merge", "rebase"] {
        let record = world.lane(operation);
        world.run(&world.root(), &["branch", &format!("other-{operation}")]);
        world.commit(&record.path, "a", "mine\n");
        let other = world.path(&format!("other-{operation}"));
        world.run(
            &world.root(),
            &["worktree", "add", "-q", other.to_str().unwrap(), &format!("other-{operation}")],
        );
        world.commit(&other, "a", "theirs\n");
        let failed = world.try_run(&record.path, &[operation, &format!("other-{operation}")]);
        assert!(!failed.status.success());
        let before = (files(&record.path), git_facts(&world, &record.path));
        let asked = to_rescue(&record, operation);
        world.repository().rescue(&asked).unwrap();
        world.run(&world.root(), &["gc", "--quiet", "--prune=now"]);
        let kept = Rescue { id: operation, was_at: &record.path, was_on: &record.branch };
        let back = world
            .repository()
            .preflight_restore(&kept, (operation, &world.id(operation)), &record.path, "spare")
            .unwrap();
        world.repository().restore(&kept, &back).unwrap();
        assert_eq!((files(&back.path), git_facts(&world, &back.path)), before);
        std::fs::write(back.path.join("a"), "both\n").unwrap();
        world.run(&back.path, &["add", "a"]);
        let go_on = ["-c", "core.editor=true", operation, "--continue"];
        world.run(&back.path, &go_on);
        assert_eq!(world.run(&back.path, &["status", "--porcelain"]), "");
        assert_eq!(
            world.run(&back.path, &["rev-parse", "--abbrev-ref", "HEAD"]),
            format!("lane/{operation}")
        );
    }
}

#[test]
fn what_a_commit_cannot_hold_is_named_and_stays_in_the_trash() {
    let world = World::new();
    let record = world.lane("x");
    let tree = &record.path;
    world.init(&tree.join("without-commits"));
    std::fs::write(tree.join("without-commits/file"), "work\n").unwrap();
    world.init(&tree.join("nested"));
    world.commit(&tree.join("nested"), "n", "nested work\n");
    std::fs::File::create(tree.join("large")).unwrap().set_len(MOST_IN_COMMIT + 1).unwrap();
    world.run(tree, &["config", "filter.bad.clean", "false"]);
    world.run(tree, &["config", "filter.bad.required", "true"]);
    std::fs::write(tree.join(".gitattributes"), "*.bad filter=bad\n").unwrap();
    std::fs::write(tree.join("x.bad"), "kept all the same\n").unwrap();
    std::fs::write(tree.join("plain"), "plain\n").unwrap();
    let before = files(tree);
    let rescued = rescue(&world, &record);
    let named = rescued.only_in_trash.join("\n");
    for name in ["without-commits", "nested", "large"] {
        assert!(named.contains(name), "{name} is not in {named:?}");
    }
    if commits_bytes_as_they_are(&world) {
        let work = rescued.refs[&RescueRef::Work].to_string();
        assert_eq!(world.run(&world.root(), &["show", &format!("{work}:plain")]), "plain");
        assert_eq!(world.run(&world.root(), &["show", &format!("{work}:x.bad")]), "kept all the same");
    }
    let trashed = rescued.trashed.unwrap();
    assert!(world.repository().not_held("id", &trashed).unwrap().is_some());
    let (back, _) = restore(&world, &record, "x");
    assert_eq!(files(&back.path), before);
}

#[test]
fn a_rescue_that_was_broken_off_goes_on_and_a_restore_too() {
    let world = World::new();
    let record = full_of_work(&world);
    std::fs::remove_dir_all(record.path.join("target")).unwrap();
    let before = (files(&record.path), git_facts(&world, &record.path));
    // As a crash leaves it after the first step.
    std::fs::create_dir_all(world.tree(".trash/id")).unwrap();
    std::fs::rename(&record.path, world.tree(".trash/id/tree")).unwrap();
    rescue(&world, &record);
    let again = world.repository().rescue(&to_rescue(&record, "id")).unwrap();
    assert_eq!(again.trashed, Trashed::find(&record.path, "id"));
    let (back, _) = restore(&world, &record, "x");
    let kept = Rescue { id: "id", was_at: &record.path, was_on: &record.branch };
    assert_eq!(world.repository().restore(&kept, &back).unwrap(), RestoredFrom::Trash);
    assert_eq!((files(&back.path), git_facts(&world, &back.path)), before);
}

#[test]
fn a_restore_next_to_a_lane_of_the_same_name_and_branch_gets_its_own() {
    let world = World::new();
    let record = full_of_work(&world);
    let head = world.tip(&record.path, "HEAD");
    rescue(&world, &record);
    let newer = world.lane("x");
    let (back, _) = restore(&world, &record, "x-2");
    assert_eq!((back.branch.as_str(), back.branch_is_new), ("lane/x-2", true));
    assert_eq!(world.run(&back.path, &["rev-parse", "--abbrev-ref", "HEAD"]), "lane/x-2");
    assert_eq!(world.tip(&back.path, "HEAD"), head);
    assert_eq!(world.tip(&newer.path, "HEAD"), newer.base_commit);
    world.run(&back.path, &["commit", "--quiet", "--all", "-m", "goes on"]);
}

#[test]
fn submodules_come_back_with_their_own_commits_also_at_another_place() {
    let world = World::new();
    let origin = world.path("origin");
    world.init(&origin);
    world.commit(&origin, "s", "s\n");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../origin", "sub"];
    world.run(&world.root(), &add);
    world.run(&world.root(), &["commit", "--quiet", "-m", "sub"]);
    let record = world.lane("x");
    let update = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"];
    world.run(&record.path, &update);
    let own = world.commit(&record.path.join("sub"), "own", "only here\n");
    std::fs::write(record.path.join("sub/dirty"), "dirty\n").unwrap();
    let before = files(&record.path.join("sub"));
    let rescued = rescue(&world, &record);
    assert!(rescued.only_in_trash.iter().any(|what| what.contains("sub")));
    assert!(world.repository().not_held("id", &rescued.trashed.unwrap()).unwrap().is_some());
    let (back, _) = restore(&world, &record, "elsewhere");
    assert_eq!(files(&back.path.join("sub")), before);
    assert_eq!(world.tip(&back.path.join("sub"), "HEAD"), own);
    assert_eq!(world.run(&back.path.join("sub"), &["status", "--porcelain"]), "?? dirty");
}

#[test]
fn a_detached_head_and_another_branch_are_found_again_as_they_were() {
    let world = World::new();
    let record = world.lane("x");
    world.run(&record.path, &["checkout", "--quiet", "--detach"]);
    let head = world.commit(&record.path, "a", "detached work\n");
    let rescued = rescue(&world, &record);
    assert_eq!(rescued.refs[&RescueRef::Head], head);
    let (back, _) = restore(&world, &record, "x");
    assert_eq!(world.run(&back.path, &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    assert_eq!(world.tip(&back.path, "HEAD"), head);
    world.repository().forget_rescue("id").unwrap();
    world.run(&back.path, &["checkout", "--quiet", "-b", "other"]);
    rescue(&world, &back);
    world.run(&world.root(), &["checkout", "--quiet", "other"]);
    let (again, _) = restore(&world, &back, "z");
    assert_eq!(world.run(&again.path, &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    assert_eq!(world.tip(&again.path, "HEAD"), head);
}

#[test]
fn an_id_without_anything_is_said_so() {
    let world = World::new();
    let kept = Rescue { id: "unknown", was_at: &world.tree("x"), was_on: "lane/x" };
    let refused =
        world.repository().preflight_restore(&kept, ("x", "id-x"), &world.tree("x"), "lane/x").unwrap_err();
    assert!(matches!(refused, RestoreError::NothingHeld { .. }), "{refused:?}");
}

#[test]
fn a_folder_that_was_removed_by_hand_still_leaves_its_commits() {
    let world = World::new();
    let record = world.lane("x");
    let commit = world.commit(&record.path, "a", "committed\n");
    std::fs::remove_dir_all(&record.path).unwrap();
    let rescued = world.repository().rescue(&to_rescue(&record, "id")).unwrap();
    assert_eq!(rescued.refs[&RescueRef::Branch], commit);
    let (back, from) = restore(&world, &record, "x");
    assert_eq!((from, world.tip(&back.path, "HEAD")), (RestoredFrom::Refs, commit));
}

#[test]
fn cleaning_the_main_checkout_passes_the_trash_by() {
    let world = World::new();
    let record = full_of_work(&world);
    rescue(&world, &record);
    world.run(&world.root(), &["clean", "-fdxq"]);
    world.run(&world.root(), &["stash", "--all", "--quiet"]);
    assert!(world.tree(".trash/id/tree/untracked").exists());
    Trashed::find(&record.path, "id").unwrap().unlink().unwrap();
    assert!(!world.tree(".trash").exists());
}

#[test]
fn a_rescue_that_was_cut_off_anywhere_is_never_taken_for_a_clean_lane() {
    let world = World::new();
    let record = world.lane("x");
    std::fs::write(record.path.join("untracked"), "work\n").unwrap();
    let before = files(&record.path);
    // As a crash leaves it while the commits are being written: renamed, marked as kept, git still has its entry.
    std::fs::create_dir_all(world.tree(".trash/id/git")).unwrap();
    std::fs::rename(&record.path, world.tree(".trash/id/tree")).unwrap();
    let seen = world.judge(&record).seen;
    let refused = world.repository().remove(&crate::world::to_remove(&record, &seen, "id")).unwrap_err();
    assert!(matches!(refused, laneway_git::RemoveError::Written { .. }), "{refused:?}");
    assert_eq!(files(&record.path), before, "it is back where people look for it");
    rescue(&world, &record);
    let (back, _) = restore(&world, &record, "x");
    assert_eq!(files(&back.path), before);
}

#[test]
fn what_was_staged_in_a_tree_that_was_removed_by_hand_is_found_and_held() {
    let world = World::new();
    let record = world.lane("x");
    std::fs::write(record.path.join("staged"), "staged\n").unwrap();
    world.run(&record.path, &["add", "staged"]);
    std::fs::remove_dir_all(&record.path).unwrap();
    assert_eq!(world.judge(&record).changed.count, 1);
    let rescued = world.repository().rescue(&to_rescue(&record, "id")).unwrap();
    world.run(&world.root(), &["gc", "--quiet", "--prune=now"]);
    let index = rescued.refs[&RescueRef::Index].to_string();
    assert_eq!(world.run(&world.root(), &["show", &format!("{index}:staged")]), "staged");
}

#[test]
fn what_the_repository_no_longer_has_is_not_held() {
    let world = World::new();
    let record = world.lane("x");
    std::fs::write(record.path.join("untracked"), "work\n").unwrap();
    let rescued = rescue(&world, &record);
    let trashed = rescued.trashed.unwrap();
    assert_eq!(world.repository().not_held("id", &trashed).unwrap(), None);
    let blob =
        world.run(&world.root(), &["rev-parse", &format!("{}:untracked", rescued.refs[&RescueRef::Work])]);
    std::fs::remove_file(world.root().join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    assert!(world.repository().not_held("id", &trashed).unwrap().is_some());
}

#[test]
fn a_restore_that_fails_takes_back_what_it_did() {
    let world = World::new();
    let record = full_of_work(&world);
    let before = files(&record.path);
    let rescued = rescue(&world, &record);
    let kept = Rescue { id: "id", was_at: &record.path, was_on: &record.branch };
    let back =
        world.repository().preflight_restore(&kept, ("x", &world.id("x")), &record.path, "spare").unwrap();
    // Something has come to its place meanwhile.
    std::fs::create_dir_all(record.path.join("in the way")).unwrap();
    world.repository().restore(&kept, &back).unwrap_err();
    assert_eq!(world.leftovers().1, Vec::<String>::new(), "the branch is gone again");
    assert_eq!(world.leftovers().2, 0);
    assert_eq!(
        Some(rescued.trashed.unwrap().tree()),
        Trashed::find(&record.path, "id").map(|kept| kept.tree())
    );
    let (back, from) = restore(&world, &record, "y");
    assert_eq!(from, RestoredFrom::Trash);
    let mut before = before;
    before.retain(|path, _| !path.starts_with("target"));
    assert_eq!(files(&back.path), before);
}

#[test]
fn a_filter_that_is_not_installed_is_no_reason_to_keep_a_lane_for_ever() {
    let world = World::new();
    let record = world.lane("x");
    std::fs::write(record.path.join(".gitattributes"), "*.bin filter=big\n").unwrap();
    world.commit(&record.path, "a.bin", "pointer\n");
    world.run(&record.path, &["config", "filter.big.clean", "no-such-program %f"]);
    world.run(&record.path, &["config", "filter.big.required", "true"]);
    std::fs::write(record.path.join("a.bin"), "changed\n").unwrap();
    let before = files(&record.path);
    let found = world.judge(&record);
    assert!(found.not_looked_at.as_ref().is_some_and(|why| why.contains("no-such-program")), "{found:?}");
    assert!(!found.is_clean() && found.stamp.is_none());
    drop(rescue(&world, &record).trashed.unwrap());
    let (back, _) = restore(&world, &record, "x");
    assert_eq!(files(&back.path), before);
}

#[test]
fn a_lane_whose_index_is_broken_is_said_to_be_and_comes_back_as_it_was() {
    let world = World::new();
    let record = world.lane("x");
    std::fs::write(record.path.join("new"), "x\n").unwrap();
    let index = world.root().join(".git/worktrees/x/index");
    std::fs::write(&index, "no index").unwrap();
    let before = files(&record.path);
    let found = world.judge(&record);
    assert!(found.not_looked_at.is_some() && !found.is_clean(), "{found:?}");
    drop(rescue(&world, &record).trashed.unwrap());
    let (back, _) = restore(&world, &record, "x");
    assert_eq!(files(&back.path), before);
    assert_eq!(std::fs::read(&index).unwrap(), b"no index");
}

#[test]
fn a_file_that_is_too_large_for_a_commit_is_told_with_its_size() {
    let world = World::new();
    let record = world.lane("x");
    let bytes = 5 << 30;
    std::fs::File::create(record.path.join("huge")).unwrap().set_len(bytes).unwrap();
    std::fs::write(record.path.join("small"), "x").unwrap();
    let found = world.judge(&record);
    assert_eq!(found.untracked.count, 2);
    assert_eq!(found.large.first, [LargeFile { path: "huge".into(), bytes }]);
    let rescued = rescue(&world, &record);
    assert_eq!(rescued.only_in_trash.len(), 1);
    let (back, _) = restore(&world, &record, "x");
    assert_eq!(back.path.join("huge").metadata().unwrap().len(), bytes);
}

#[test]
fn a_rescue_that_was_cut_off_before_the_branch_went_keeps_every_ref_when_it_goes_on() {
    let world = World::new();
    let record = full_of_work(&world);
    let first = rescue(&world, &record).refs;
    assert!(first.len() > 1, "{first:?}");
    // As a crash leaves it: git's entry is gone, and the branch is there.
    world.run(&world.root(), &["branch", &record.branch, first[&RescueRef::Branch].as_str()]);
    assert_eq!(rescue(&world, &record).refs, first);
}

#[test]
fn a_restore_from_refs_that_was_cut_off_goes_on_and_overwrites_no_work() {
    let world = World::new();
    let record = world.lane("x");
    world.commit(&record.path, "committed", "committed\n");
    std::fs::write(record.path.join("committed"), "changed\n").unwrap();
    std::fs::write(record.path.join("untracked"), "untracked\n").unwrap();
    let before = files(&record.path);
    rescue(&world, &record).trashed.unwrap().unlink().unwrap();
    let (back, from) = restore(&world, &record, "x");
    assert_eq!((from, files(&back.path)), (RestoredFrom::Refs, before.clone()));
    // As a crash leaves it: all of it is made, and nobody has recorded that.
    let again = TreeRecord { branch_is_new: false, ..back.clone() };
    let kept = Rescue { id: "id", was_at: &record.path, was_on: &record.branch };
    world.repository().restore(&kept, &again).unwrap();
    assert_eq!(files(&back.path), before);
    // Only the checkout was made.
    world.run(&back.path, &["reset", "--quiet", "--hard"]);
    std::fs::remove_file(back.path.join("untracked")).unwrap_or_default();
    world.repository().restore(&kept, &again).unwrap();
    assert_eq!(files(&back.path), before);
    // Somebody works there.
    std::fs::write(back.path.join("committed"), "newer\n").unwrap();
    let refused = world.repository().restore(&kept, &again).unwrap_err();
    assert!(matches!(refused, RestoreError::Begun { .. }), "{refused:?}");
    assert_eq!(std::fs::read_to_string(back.path.join("committed")).unwrap(), "newer\n");
}

#[test]
fn a_deletion_from_the_trash_that_was_cut_off_is_found_again() {
    let world = World::new();
    let record = world.lane("x");
    let trash = world.tree(".trash");
    std::fs::create_dir_all(trash.join("undo-x.going/tree")).unwrap();
    std::fs::create_dir_all(trash.join("kept/git")).unwrap();
    let found = Trashed::being_deleted(&record.path);
    assert_eq!(found.iter().map(Trashed::folder).collect::<Vec<_>>(), [trash.join("undo-x.going")]);
    for going in found {
        going.unlink().unwrap();
    }
    assert!(!trash.join("undo-x.going").exists() && trash.join("kept/git").exists());
}
