//! Trees that are kept ready: a lane gets one by a rename, as if it had been made for it; and they go only if they are
//! as they were made.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use laneway_git::{ClaimError, CreateError, CreateRefusal, PoolError, PooledTree, TreeRecord, TreeStamp};

use crate::world::{NOT_STUCK, World, script};

fn pooled(world: &World, id: &str) -> PooledTree {
    let path = PooledTree::folder(&world.root().join(".lanes")).join(id);
    PooledTree { id: id.to_owned(), path, commit: world.base().commit }
}

/// A tree that is ready, and how it looks.
#[track_caller]
fn ready(world: &World, id: &str) -> (PooledTree, TreeStamp) {
    let tree = pooled(world, id);
    let repository = world.repository();
    repository.make_pooled(&tree).unwrap();
    repository.settle_pooled(&tree).unwrap();
    // There is a stamp as soon as nothing has changed for a tick of the filesystem's clock.
    let until = Instant::now() + NOT_STUCK;
    loop {
        match repository.look_at_pooled(&tree) {
            Ok(stamp) => return (tree, stamp),
            Err(PoolError::NoStamp { .. }) => assert!(Instant::now() < until, "no stamp"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// All files of a tree but git's own, with their content.
fn files(tree: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(tree)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != ".git")
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

/// What git says of a tree: its HEAD, what differs, its entry.
fn as_git_sees(world: &World, record: &TreeRecord) -> [String; 3] {
    let list = world.run(&world.root(), &["worktree", "list", "--porcelain"]);
    let path = format!("worktree {}\n", record.path.display());
    let entry = list.split("\n\n").find(|entry| format!("{entry}\n").starts_with(&path)).unwrap();
    [
        world.run(&record.path, &["symbolic-ref", "HEAD"]),
        world.run(&record.path, &["status", "--porcelain", "--ignored"]),
        entry.lines().skip(1).collect::<Vec<_>>().join("\n").replace(&record.lane, "LANE"),
    ]
}

#[test]
fn a_lane_that_gets_a_ready_tree_is_as_one_that_was_made() {
    let world = World::new();
    script(&world.root().join(".git/hooks/post-checkout"), "echo \"$@\" $PWD >> hooked");
    let (tree, stamp) = ready(&world, "pt_1");
    assert!(!tree.path.join("hooked").exists(), "hooks run where the lane is");
    let record = world.preflight("claimed");
    let created = world.repository().claim(&record, &tree, &stamp).unwrap();
    assert!(created.warnings.is_empty(), "{:?}", created.warnings);
    let made = world.lane("made");
    assert_eq!(files(&record.path)[..1], files(&made.path)[..1]);
    let [claimed, plain] = [&record, &made].map(|record| as_git_sees(&world, record));
    assert_eq!(claimed[0], "refs/heads/lane/claimed");
    assert_eq!(claimed[1..], plain[1..]);
    let hooked = |record: &TreeRecord| {
        fs::read_to_string(record.path.join("hooked")).unwrap().replace(&record.lane, "LANE")
    };
    assert_eq!(hooked(&record), hooked(&made));
    assert!(!tree.path.exists());
    // It can be undone, judged and worked in like any other.
    fs::remove_file(record.path.join("hooked")).unwrap();
    let findings = world.judge(&record);
    assert!(findings.is_clean(), "{findings:?}");
    assert!(world.repository().undo(&record).unwrap().left.is_empty());
    fs::remove_file(made.path.join("hooked")).unwrap();
    assert!(world.repository().undo(&made).unwrap().left.is_empty());
    world.assert_nothing_left();
}

#[test]
fn a_tree_that_is_not_as_it_was_made_is_not_used_and_not_removed() {
    type Change = fn(&World, &Path);
    let changes: [(&str, Change); 6] = [
        ("a new file", |_, tree| fs::write(tree.join("new"), "work").unwrap()),
        ("a changed file", |_, tree| fs::write(tree.join("a"), "two\n").unwrap()),
        ("an ignored file", |_, tree| fs::write(tree.join("ignored.o"), "built").unwrap()),
        ("a commit", |world, tree| drop(world.commit(tree, "b", "b"))),
        ("a branch", |world, tree| drop(world.run(tree, &["switch", "--quiet", "-c", "mine"]))),
        ("another lock", |world, tree| {
            let tree = tree.to_str().unwrap();
            world.run(&world.root(), &["worktree", "unlock", tree]);
            world.run(&world.root(), &["worktree", "lock", "--reason", "mine", tree]);
        }),
    ];
    for (what, change) in changes {
        let world = World::new();
        world.commit(&world.root(), ".gitignore", "*.o\n");
        let (tree, stamp) = ready(&world, "pt_1");
        change(&world, &tree.path);
        let before = (files(&tree.path), world.leftovers());
        let record = world.preflight("x");
        let refused = world.repository().claim(&record, &tree, &stamp);
        assert!(matches!(refused, Err(ClaimError::NotUsed { .. })), "{what}: {refused:?}");
        let undone = world.repository().remove_pooled(&tree, None).unwrap();
        assert_eq!(undone.left.len(), 1, "{what}");
        assert_eq!((files(&tree.path), world.leftovers()), before, "{what}");
        // The lane is made as any other then.
        assert!(world.repository().create(&record).is_ok(), "{what}");
    }
}

#[test]
fn a_file_that_is_gone_or_half_written_is_no_work_and_the_tree_is_not_used() {
    let world = World::new();
    let (tree, stamp) = ready(&world, "pt_1");
    fs::remove_file(tree.path.join("a")).unwrap();
    let record = world.preflight("x");
    assert!(matches!(world.repository().claim(&record, &tree, &stamp), Err(ClaimError::NotUsed { .. })));
    assert!(matches!(world.repository().look_at_pooled(&tree), Err(PoolError::NotAsMade { .. })));
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty());
    world.assert_nothing_left();
    // Nothing of it is there, and that is fine, too.
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty());
}

#[test]
fn a_tree_whose_files_git_would_write_otherwise_now_is_not_used_and_goes() {
    type Change = fn(&World);
    let set = |world: &World, key: &str, value: &str| drop(world.run(&world.root(), &["config", key, value]));
    let changes: [(&str, Change, &str); 4] = [
        (
            "a filter was set up",
            |world| {
                world.run(&world.root(), &["config", "filter.up.smudge", "tr a-z A-Z"]);
                world.run(&world.root(), &["config", "filter.up.clean", "tr A-Z a-z"]);
            },
            "ONE\n",
        ),
        ("line ends", |world| drop(world.run(&world.root(), &["config", "core.autocrlf", "false"])), "one\n"),
        (
            "attributes of the repository",
            |world| fs::write(world.root().join(".git/info/attributes"), "a eol=lf\n").unwrap(),
            "one\n",
        ),
        (
            "attributes of the owner",
            |world| fs::write(world.path("attributes"), "a eol=lf\n").unwrap(),
            "one\n",
        ),
    ];
    for (what, change, content) in changes {
        let world = World::new();
        world.commit(&world.root(), ".gitattributes", "a filter=up\n");
        let path = world.path("attributes");
        set(&world, "core.attributesFile", path.to_str().unwrap());
        let is_of_filter = what.contains("filter");
        set(&world, "core.autocrlf", if is_of_filter { "false" } else { "true" });
        let (tree, stamp) = ready(&world, "pt_1");
        assert_eq!(fs::read(tree.path.join("a")).unwrap().ends_with(b"\r\n"), !is_of_filter, "{what}");
        change(&world);
        let record = world.preflight("x");
        let refused = world.repository().claim(&record, &tree, &stamp);
        assert!(matches!(refused, Err(ClaimError::NotUsed { .. })), "{what}: {refused:?}");
        assert!(
            matches!(world.repository().look_at_pooled(&tree), Err(PoolError::NotAsMade { .. })),
            "{what}"
        );
        // What somebody has done in it stays all the same.
        fs::write(tree.path.join("a"), "work\n").unwrap();
        let undone = world.repository().remove_pooled(&tree, None).unwrap();
        assert_eq!(undone.left.len(), 1, "{what}: {undone:?}");
        // The next one is as a checkout is now.
        let (next, stamp) = ready(&world, "pt_2");
        world.repository().claim(&record, &next, &stamp).unwrap();
        assert_eq!(fs::read_to_string(record.path.join("a")).unwrap(), content, "{what}");
        assert!(world.judge(&record).is_clean(), "{what}");
    }
}

#[test]
fn a_tree_that_looks_changed_only_by_new_settings_is_removed() {
    for setting in [["core.autocrlf", "false"], ["filter.up.clean", "sed s/^/x/"]] {
        let world = World::new();
        world.commit(&world.root(), ".gitattributes", "a filter=up\n");
        world.run(&world.root(), &["config", "core.autocrlf", "true"]);
        let (tree, _) = ready(&world, "pt_1");
        // As if it had been settled seconds after its files were written.
        let index = world.root().join(".git/worktrees").join(&tree.id).join("index");
        let index = fs::File::options().write(true).open(index).unwrap();
        index.set_modified(index.metadata().unwrap().modified().unwrap() + Duration::from_secs(2)).unwrap();
        world.run(&world.root(), &[&["config"], &setting[..]].concat());
        let until = Instant::now() + NOT_STUCK;
        while !world.repository().remove_pooled(&tree, None).unwrap().left.is_empty() {
            assert!(Instant::now() < until, "{setting:?}");
        }
        world.assert_nothing_left();
    }
}

#[test]
fn what_is_in_a_lanes_way_is_refused_and_the_tree_stays_in_the_pool() {
    let world = World::new();
    let (tree, stamp) = ready(&world, "pt_1");
    let record = world.preflight("x");
    world.run(&world.root(), &["branch", "lane/x"]);
    let refused = world.repository().claim(&record, &tree, &stamp);
    let Err(ClaimError::Create(CreateError::Refused(CreateRefusal::BranchTaken { .. }))) = refused else {
        panic!("{refused:?}")
    };
    let other = world.preflight("y");
    fs::create_dir_all(&other.path).unwrap();
    let refused = world.repository().claim(&other, &tree, &stamp);
    let Err(ClaimError::Create(CreateError::Refused(CreateRefusal::PathExists { .. }))) = refused else {
        panic!("{refused:?}")
    };
    assert!(world.repository().look_at_pooled(&tree).is_ok());
    // One for another commit is no use, and not touched either.
    world.commit(&world.root(), "b", "b");
    let later = world.preflight("z");
    assert!(matches!(world.repository().claim(&later, &tree, &stamp), Err(ClaimError::NotUsed { .. })));
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty());
    assert_eq!(world.leftovers().2, 0);
}

#[test]
fn a_claim_that_was_cut_off_anywhere_is_undone() {
    // What a claim does, step by step, as it does it.
    let steps: [fn(&World, &TreeRecord, &PooledTree); 5] = [
        |world, record, tree| {
            let (branch, commit) = (format!("refs/heads/{}", record.branch), tree.commit.to_string());
            let message = format!("laneway lane {} {}", record.lane, record.id);
            world.run(&world.root(), &["update-ref", "--create-reflog", "-m", &message, &branch, &commit]);
        },
        |world, _, tree| {
            fs::write(world.root().join(".git/worktrees").join(&tree.id).join("laneway-claim"), "").unwrap();
        },
        |world, record, tree| {
            let admin = world.root().join(".git/worktrees").join(&tree.id);
            fs::write(admin.join("locked"), format!("laneway lane {} {}\n", record.lane, record.id)).unwrap();
        },
        |world, record, tree| {
            let [from, to] = [&tree.path, &record.path].map(|path| path.to_str().unwrap());
            world.run(&world.root(), &["worktree", "move", "-f", "-f", from, to]);
        },
        |world, record, _| {
            let branch = format!("refs/heads/{}", record.branch);
            world.run(&record.path, &["symbolic-ref", "HEAD", &branch]);
        },
    ];
    for n_done in 0..=steps.len() {
        let world = World::new();
        let (tree, _) = ready(&world, "pt_1");
        let record = world.preflight("x");
        for step in &steps[..n_done] {
            step(&world, &record, &tree);
        }
        let repository = world.repository();
        let lane = repository.undo(&record).unwrap();
        let pool = repository.remove_pooled(&tree, Some(&record.id)).unwrap();
        assert!(lane.left.is_empty() && pool.left.is_empty(), "{n_done}: {lane:?} {pool:?}");
        world.assert_nothing_left();
    }
}

#[test]
fn a_making_that_was_cut_off_anywhere_is_removed() {
    let world = World::new();
    let tree = pooled(&world, "pt_1");
    let path = tree.path.to_str().unwrap();
    let commit = tree.commit.to_string();
    let reason = ["--lock", "--reason", "laneway pool pt_1"];
    let add = [&["worktree", "add", "--quiet"], &reason[..], &["--no-checkout", "--detach", path, &commit]]
        .concat();
    world.run(&world.root(), &add);
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty());
    world.assert_nothing_left();
    world.run(&world.root(), &add);
    fs::write(tree.path.join("a"), "on").unwrap();
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty(), "half of a file");
    world.assert_nothing_left();
    // Cut off after it was moved aside.
    world.run(&world.root(), &add);
    let aside = tree.path.parent().unwrap().join(".laneway-trash/pt_1");
    fs::create_dir_all(&aside).unwrap();
    fs::rename(&tree.path, aside.join("tree")).unwrap();
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty());
    world.assert_nothing_left();
}

#[test]
fn a_removal_that_was_cut_off_while_it_deleted_is_finished() {
    let world = World::new();
    let tree = pooled(&world, "a");
    world.repository().make_pooled(&tree).unwrap();
    let pool = tree.path.parent().unwrap().to_owned();
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty());
    assert!(!pool.exists());
    // As a crash leaves it: git's entry is gone, and the tree was just being deleted.
    fs::create_dir_all(pool.join(".laneway-trash/a.going/tree")).unwrap();
    assert!(world.repository().remove_pooled(&tree, None).unwrap().left.is_empty());
    assert!(!pool.exists());
}

#[test]
fn a_persons_clean_up_does_not_take_the_pool() {
    let world = World::new();
    let (tree, stamp) = ready(&world, "pt_1");
    world.run(&world.root(), &["worktree", "prune"]);
    world.run(&world.root(), &["clean", "-fdxq"]);
    assert_eq!(world.run(&world.root(), &["status", "--porcelain"]), "");
    world.run(&world.root(), &["add", "-A"]);
    assert_eq!(world.run(&world.root(), &["diff", "--cached", "--name-only"]), "");
    let record = world.preflight("x");
    world.repository().claim(&record, &tree, &stamp).unwrap();
}

#[test]
fn there_is_no_pool_with_submodules() {
    let world = World::new();
    world.commit(&world.root(), ".gitmodules", "");
    let tree = pooled(&world, "pt_1");
    assert!(matches!(world.repository().make_pooled(&tree), Err(PoolError::Submodules)));
    world.assert_nothing_left();
}
