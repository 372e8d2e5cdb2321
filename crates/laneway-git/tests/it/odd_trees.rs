//! Trees that are odd in a way of git's own: a bisect under way, marks in the index, names that differ in case only,
//! filters that keep content elsewhere, files that are not there, locks of a git that was killed, very many files. They
//! are judged, taken away and brought back as any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use laneway_git::{Operation, Rescue, RestoredFrom, TreeRecord, TreeToRescue};

use crate::world::World;

/// Files by their paths, but for git's link.
fn files(tree: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![tree.to_owned()];
    while let Some(folder) = waiting.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if !path.ends_with(".git") {
                found.insert(path.strip_prefix(tree).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Takes a lane away with what is in it, and brings it back: from the trash, or if `without_trash` from its commits.
fn away_and_back(world: &World, record: &TreeRecord, without_trash: bool) -> (PathBuf, RestoredFrom) {
    let repository = world.repository();
    let asked = TreeToRescue {
        path: &record.path,
        recorded_branch: &record.branch,
        delete_branch: true,
        id: &record.id,
    };
    let rescued = repository.rescue(&asked).unwrap();
    assert!(!record.path.exists());
    if without_trash {
        assert_eq!(rescued.only_in_trash, [""; 0], "the commits hold all of it");
        rescued.trashed.unwrap().unlink().unwrap();
    }
    let rescue = Rescue { id: &record.id, was_at: &record.path, was_on: &record.branch };
    let back = repository.preflight_restore(&rescue, ("x", "again"), &record.path, "lane/again").unwrap();
    let from = repository.restore(&rescue, &back).unwrap();
    (back.path, from)
}

#[test]
fn a_bisect_that_is_under_way_goes_on_after_a_restore() {
    let world = World::new();
    for n in 0..6 {
        world.commit(&world.root(), "a", &format!("{n}\n"));
    }
    let record = world.lane("x");
    world.run(&record.path, &["bisect", "start", "HEAD", "HEAD~6"]);
    let (before, log) = (world.tip(&record.path, "HEAD"), world.run(&record.path, &["bisect", "log"]));
    assert_eq!(world.judge(&record).operation, Some(Operation::Bisect));
    let (tree, from) = away_and_back(&world, &record, false);
    assert_eq!(from, RestoredFrom::Trash);
    assert_eq!((world.tip(&tree, "HEAD"), world.run(&tree, &["bisect", "log"])), (before.clone(), log));
    world.run(&tree, &["bisect", "good"]);
    assert_ne!(world.tip(&tree, "HEAD"), before, "it looks at the next one");
}

#[test]
fn what_the_index_marks_as_unchanged_comes_back_from_the_trash_and_from_commits() {
    let world = World::new();
    for file in ["skipped", "assumed"] {
        world.commit(&world.root(), file, "committed\n");
    }
    let record = world.lane("x");
    world.run(&record.path, &["update-index", "--skip-worktree", "skipped"]);
    world.run(&record.path, &["update-index", "--assume-unchanged", "assumed"]);
    std::fs::write(record.path.join("skipped"), "mine\n").unwrap();
    std::fs::write(record.path.join("assumed"), "mine too\n").unwrap();
    let (before, marks) = (files(&record.path), world.run(&record.path, &["ls-files", "-v"]));
    assert_eq!(world.judge(&record).changed.count, 2);
    let (tree, _) = away_and_back(&world, &record, false);
    assert_eq!((files(&tree), world.run(&tree, &["ls-files", "-v"])), (before.clone(), marks));
    let (tree, from) = away_and_back(&world, &TreeRecord { id: "again".to_owned(), ..record }, true);
    assert_eq!((files(&tree), from), (before, RestoredFrom::Refs));
}

#[test]
fn names_that_differ_in_case_only_are_two_files_whatever_the_configuration_says() {
    let world = World::new();
    world.commit(&world.root(), "Name", "large\n");
    world.commit(&world.root(), "name", "small\n");
    world.run(&world.root(), &["config", "core.ignoreCase", "true"]);
    let record = world.lane("x");
    let names = ["Name", "name", "NEW", "new"];
    for name in names {
        std::fs::write(record.path.join(name), format!("{name} in the lane\n")).unwrap();
    }
    let before = files(&record.path);
    let found = world.judge(&record);
    assert_eq!((found.changed.count, found.untracked.count), (2, 2));
    let (tree, _) = away_and_back(&world, &record, false);
    assert_eq!(files(&tree), before);
    let (tree, _) = away_and_back(&world, &TreeRecord { id: "again".to_owned(), ..record }, true);
    assert_eq!(files(&tree), before);
}

#[test]
fn an_untracked_file_is_not_taken_for_a_tracked_one_of_another_case() {
    let world = World::new();
    world.run(&world.root(), &["config", "core.ignoreCase", "true"]);
    let record = world.lane("x");
    std::fs::write(record.path.join("A"), "work\n").unwrap();
    let found = world.judge(&record);
    assert_eq!(found.untracked.first, [PathBuf::from("A")], "a close would lose it");
}

#[test]
fn content_that_a_filter_keeps_elsewhere_is_kept_as_it_was_in_the_tree() {
    let world = World::new();
    let root = world.root();
    // As git-lfs does it: what is committed is a pointer.
    for (key, sed) in [("clean", "s/content/pointer/"), ("smudge", "s/pointer/content/")] {
        world.run(&root, &["config", &format!("filter.lfs.{key}"), &format!("sed {sed}")]);
    }
    world.run(&root, &["config", "filter.lfs.required", "true"]);
    world.commit(&root, ".gitattributes", "*.bin filter=lfs\n");
    world.commit(&root, "a.bin", "content 1\n");
    assert_eq!(world.run(&root, &["cat-file", "blob", "HEAD:a.bin"]).trim(), "pointer 1");
    let record = world.lane("x");
    assert_eq!(std::fs::read_to_string(record.path.join("a.bin")).unwrap(), "content 1\n");
    assert!(world.judge(&record).is_clean());
    std::fs::write(record.path.join("a.bin"), "content 2\n").unwrap();
    std::fs::write(record.path.join("b.bin"), "content 3\n").unwrap();
    let before = files(&record.path);
    let (tree, _) = away_and_back(&world, &record, false);
    assert_eq!(files(&tree), before);
    // The filter may be gone by the time that only commits are left.
    world.run(&root, &["config", "filter.lfs.clean", "false"]);
    let (tree, _) = away_and_back(&world, &TreeRecord { id: "again".to_owned(), ..record }, true);
    assert_eq!(files(&tree), before);
}

#[test]
fn a_sparse_tree_of_a_clone_without_its_files_loses_nothing_and_fetches_nothing_for_it() {
    let world = World::new();
    let origin = world.root();
    for file in ["inside/a", "outside/b"] {
        std::fs::create_dir_all(origin.join(file).parent().unwrap()).unwrap();
        world.commit(&origin, file, "committed\n");
    }
    world.run(&origin, &["config", "uploadpack.allowFilter", "true"]);
    let (from, clone) = (format!("file://{}", origin.display()), world.path("clone"));
    let to = clone.to_str().unwrap();
    world.run(world.folder(), &["clone", "--quiet", "--filter=blob:none", "--no-checkout", &from, to]);
    world.run(&clone, &["sparse-checkout", "set", "--no-cone", "/inside/"]);
    world.run(&clone, &["checkout", "--quiet", "main"]);
    let tree = world.path("tree");
    world.run(&clone, &["worktree", "add", "--quiet", "-b", "lane/x", tree.to_str().unwrap()]);
    world.run(&tree, &["sparse-checkout", "set", "--no-cone", "/inside/"]);
    std::fs::write(tree.join("inside/a"), "changed\n").unwrap();
    std::fs::write(tree.join("inside/new"), "new\n").unwrap();
    let before = (files(&tree), world.run(&tree, &["status", "--porcelain"]));
    assert!(!tree.join("outside/b").exists());
    // Whatever is asked of the origin from now on fails.
    let away = world.path("away");
    std::fs::rename(&origin, &away).unwrap();
    let repository = world.repository_at(&clone);
    let asked = TreeToRescue { path: &tree, recorded_branch: "lane/x", delete_branch: true, id: "id" };
    let rescued = repository.rescue(&asked).unwrap();
    assert!(rescued.trashed.is_some() && !tree.exists());
    let rescue = Rescue { id: "id", was_at: &tree, was_on: "lane/x" };
    let back = repository.preflight_restore(&rescue, ("x", "again"), &tree, "lane/again").unwrap();
    assert_eq!(repository.restore(&rescue, &back).unwrap(), RestoredFrom::Trash);
    assert_eq!((files(&tree), world.run(&tree, &["status", "--porcelain"])), before);
}

#[test]
fn a_lock_that_a_killed_git_left_in_a_tree_keeps_nobody_from_closing_it() {
    let world = World::new();
    let record = world.lane("x");
    let admin: PathBuf = world.run(&record.path, &["rev-parse", "--absolute-git-dir"]).trim().into();
    std::fs::write(admin.join("index.lock"), "half an index").unwrap();
    std::fs::write(record.path.join("a"), "changed\n").unwrap();
    let before = files(&record.path);
    assert_eq!(world.judge(&record).changed.count, 1);
    let (tree, _) = away_and_back(&world, &record, false);
    assert_eq!(files(&tree), before);
    let said = world.run(&tree, &["commit", "--all", "--message", "the lock is not brought back"]);
    assert!(said.contains("the lock"), "{said}");
}

#[test]
fn a_hundred_thousand_untracked_files_are_all_counted_and_come_back() {
    const N_FILES: usize = 100_000;
    let world = World::new();
    let record = world.lane("x");
    for folder in 0..100 {
        let folder = record.path.join(format!("folder-{folder}"));
        std::fs::create_dir(&folder).unwrap();
        for file in 0..N_FILES / 100 {
            std::fs::File::create(folder.join(file.to_string())).unwrap();
        }
    }
    let found = world.judge(&record);
    assert_eq!(found.untracked.count, N_FILES);
    assert!(found.untracked.first.len() < 1_000, "people read the list");
    let (tree, from) = away_and_back(&world, &record, false);
    assert_eq!(from, RestoredFrom::Trash);
    assert_eq!(files(&tree).len(), N_FILES + 1);
}
