//! A tree in which nothing was found is not read again as long as it looks the same, and only so long.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use laneway_git::{Findings, TreeRecord, TreeStamp, TreeToJudge};

use crate::world::{NOT_STUCK, World, to_judge, to_remove};

/// A lane with a disposable folder in it, and how its clean files look.
fn stamped() -> (World, TreeRecord, TreeStamp) {
    let world = World::new();
    world.commit(&world.root(), ".gitignore", "target/\n*.o\n");
    world.commit(&world.root(), "b", "b\n");
    let record = world.lane("x");
    std::fs::create_dir_all(record.path.join("target/debug")).unwrap();
    std::fs::write(record.path.join("target/debug/out"), "built").unwrap();
    let stamp = stamp_of(&world, &record);
    (world, record, stamp)
}

/// There is one as soon as nothing has changed for a tick of the filesystem's clock.
#[track_caller]
fn stamp_of(world: &World, record: &TreeRecord) -> TreeStamp {
    let until = Instant::now() + NOT_STUCK;
    loop {
        let found = world.judge(record);
        assert!(found.is_clean(), "{found:?}");
        if let Some(stamp) = found.stamp {
            return stamp;
        }
        assert!(Instant::now() < until, "no stamp: {found:?}");
    }
}

fn again(world: &World, record: &TreeRecord, stamp: &TreeStamp) -> Findings {
    let asked = TreeToJudge { before: Some(stamp), ..to_judge(record, &[]) };
    world.repository().judge(&asked).unwrap()
}

/// What a judgement with the stamp says after something was done to the tree.
fn after(change: impl FnOnce(&World, &Path)) -> Findings {
    let (world, record, stamp) = stamped();
    change(&world, &record.path);
    again(&world, &record, &stamp)
}

/// Writes other content of the same length, and sets the old time again.
fn forge(path: &Path, content: &str) {
    let before = std::fs::metadata(path).unwrap();
    assert_eq!(before.len(), content.len() as u64);
    std::fs::write(path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
}

#[test]
fn a_tree_that_looks_the_same_is_clean_and_has_the_same_stamp() {
    let (world, record, stamp) = stamped();
    // What is ignored and can be made again may change as it likes.
    std::fs::write(record.path.join("target/debug/more"), "built").unwrap();
    let found = again(&world, &record, &stamp);
    assert!(found.is_clean());
    assert_eq!(found.stamp.as_ref(), Some(&stamp));
    let removed = world.repository().remove(&laneway_git::TreeToRemove {
        judged: TreeToJudge { before: Some(&stamp), ..to_judge(&record, &[]) },
        ..to_remove(&record, &found.seen, "id")
    });
    removed.unwrap().trashed.unwrap().unlink().unwrap();
    world.run(&world.root(), &["reset", "--quiet", "--hard"]);
    world.assert_nothing_left();
}

#[test]
fn what_is_written_changed_deleted_or_staged_is_found_although_there_was_a_stamp() {
    let changed = |found: &Findings| found.changed.first.iter().any(|file| file.path == Path::new("b"));
    assert!(changed(&after(|_, tree| std::fs::write(tree.join("b"), "c\n").unwrap())));
    assert!(changed(&after(|_, tree| std::fs::remove_file(tree.join("b")).unwrap())));
    assert!(changed(&after(|_, tree| {
        std::fs::set_permissions(tree.join("b"), std::fs::Permissions::from_mode(0o755)).unwrap();
    })));
    // Staged, and in the tree as it was before.
    assert!(changed(&after(|world, tree| {
        std::fs::write(tree.join("b"), "c\n").unwrap();
        world.run(tree, &["add", "b"]);
        forge(&tree.join("b"), "b\n");
    })));
    let untracked = after(|_, tree| {
        std::fs::create_dir_all(tree.join("new/er")).unwrap();
        std::fs::write(tree.join("new/er/file"), "x").unwrap();
    });
    assert_eq!(untracked.untracked.count, 1);
    let ignored = after(|_, tree| std::fs::write(tree.join("a.o"), "x").unwrap());
    assert_eq!(ignored.ignored.count, 1);
    let moved = after(|_, tree| std::fs::rename(tree.join("target/debug"), tree.join("kept")).unwrap());
    assert_eq!(moved.untracked.count, 1);
    let committed = after(|world, tree| drop(world.commit(tree, "b", "c\n")));
    assert_eq!(committed.unreachable.count, 1);
    let reset = after(|world, tree| drop(world.run(tree, &["reset", "--quiet", "--soft", "HEAD~1"])));
    assert!(changed(&reset), "{reset:?}");
}

#[test]
fn content_of_the_same_length_under_the_old_time_has_another_stamp() {
    let (world, record, stamp) = stamped();
    forge(&record.path.join("b"), "c\n");
    let found = again(&world, &record, &stamp);
    assert_ne!(found.stamp.as_ref(), Some(&stamp));
}

#[test]
fn a_tree_with_submodules_or_with_work_in_it_has_no_stamp() {
    let (world, record, _) = stamped();
    std::fs::write(record.path.join("new"), "x").unwrap();
    assert_eq!(world.judge(&record).stamp, None);
    std::fs::remove_file(record.path.join("new")).unwrap();
    stamp_of(&world, &record);
    let link = format!("160000,{},sub", world.tip(&world.root(), "HEAD"));
    world.run(&record.path, &["update-index", "--add", "--cacheinfo", &link]);
    world.run(&record.path, &["commit", "--quiet", "-m", "sub"]);
    world.run(&world.root(), &["branch", "holder", "lane/x"]);
    std::fs::create_dir(record.path.join("sub")).unwrap();
    let found = world.judge(&record);
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(found.stamp, None);
}
