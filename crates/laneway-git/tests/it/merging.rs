//! Merging a lane into what it started from.

use laneway_git::{MergeError, Merged};

use crate::world::World;

#[test]
fn a_branch_that_is_checked_out_moves_with_its_files() {
    let world = World::new();
    let record = world.lane("x");
    let commit = world.commit(&record.path, "new", "from the lane\n");
    let merged = world.repository().merge("main", &commit, &record.base_commit, "merge lane x").unwrap();
    assert_eq!(merged, Merged::Moved { to: commit.clone(), fast_forward: true });
    assert_eq!(std::fs::read_to_string(world.root().join("new")).unwrap(), "from the lane\n");
    assert_eq!(world.run(&world.root(), &["status", "--porcelain"]), "");
    assert_eq!(
        world.repository().merge("main", &commit, &record.base_commit, "again").unwrap(),
        Merged::AlreadyThere
    );
}

#[test]
fn a_branch_that_is_checked_out_nowhere_gets_a_merge_of_two_parents() {
    let world = World::new();
    let record = world.lane("x");
    let theirs = world.commit(&record.path, "new", "from the lane\n");
    let ours = world.commit(&world.root(), "b", "on main\n");
    world.run(&world.root(), &["checkout", "--quiet", "-b", "elsewhere"]);
    let merged = world.repository().merge("main", &theirs, &record.base_commit, "merge lane x").unwrap();
    let Merged::Moved { to, fast_forward: false } = merged else { panic!("{merged:?}") };
    assert_eq!(world.tip(&world.root(), "main"), to);
    let parents = world.run(&world.root(), &["log", "-1", "--format=%P %s", "main"]);
    assert_eq!(parents, format!("{ours} {theirs} merge lane x"));
    assert_eq!(world.run(&world.root(), &["status", "--porcelain"]), "");
}

#[test]
fn without_an_identity_nothing_is_merged_and_that_is_said() {
    let world = World::new();
    let record = world.lane("x");
    let theirs = world.commit(&record.path, "new", "from the lane\n");
    let ours = world.commit(&world.root(), "b", "on main\n");
    let repository = world.repository_of_nobody();
    let refused = repository.merge("main", &theirs, &record.base_commit, "merge").unwrap_err();
    assert!(matches!(refused, MergeError::NoIdentity(_)), "{refused:?}");
    assert_eq!(world.tip(&world.root(), "main"), ours);
}

#[test]
fn a_conflict_names_the_files_and_changes_nothing() {
    let world = World::new();
    let record = world.lane("x");
    let theirs = world.commit(&record.path, "a", "theirs\n");
    let ours = world.commit(&world.root(), "a", "ours\n");
    let refused = world.repository().merge("main", &theirs, &record.base_commit, "merge").unwrap_err();
    let MergeError::Conflict { files } = refused else { panic!("{refused:?}") };
    assert_eq!(files.first, [std::path::PathBuf::from("a")]);
    assert_eq!(world.tip(&world.root(), "main"), ours);
    assert_eq!(world.run(&world.root(), &["status", "--porcelain"]), "");
}

#[test]
fn changes_where_the_branch_is_checked_out_and_files_in_the_way_refuse_it() {
    let world = World::new();
    let record = world.lane("x");
    let theirs = world.commit(&record.path, "new", "from the lane\n");
    let before = world.tip(&world.root(), "main");
    std::fs::write(world.root().join("a"), "not committed\n").unwrap();
    let refused = world.repository().merge("main", &theirs, &record.base_commit, "merge").unwrap_err();
    assert!(matches!(refused, MergeError::ChangedThere { files, .. } if files.count == 1));
    world.run(&world.root(), &["checkout", "--quiet", "a"]);
    std::fs::write(world.root().join("new"), "a person's own\n").unwrap();
    let refused = world.repository().merge("main", &theirs, &record.base_commit, "merge").unwrap_err();
    assert!(matches!(refused, MergeError::Git(_)), "{refused:?}");
    assert_eq!(std::fs::read_to_string(world.root().join("new")).unwrap(), "a person's own\n");
    assert_eq!(world.tip(&world.root(), "main"), before);
    let refused = world.repository().merge("origin/main", &theirs, &record.base_commit, "merge").unwrap_err();
    assert!(matches!(refused, MergeError::NoSuchBranch { .. }));
}

#[test]
fn a_branch_that_was_remade_or_is_being_rebased_is_left_alone() {
    let world = World::new();
    let record = world.lane("x");
    let theirs = world.commit(&record.path, "new", "from the lane\n");
    world.run(&world.root(), &["checkout", "--quiet", "-b", "side"]);
    world.commit(&world.root(), "a", "side\n");
    world.run(&world.root(), &["checkout", "--quiet", "main"]);
    world.commit(&world.root(), "a", "main\n");
    assert!(!world.try_run(&world.root(), &["rebase", "main", "side"]).status.success(), "it stops");
    let tip = world.tip(&world.root(), "side");
    let refused = world.repository().merge("side", &theirs, &record.base_commit, "merge").unwrap_err();
    assert!(matches!(refused, MergeError::InUse { .. }), "{refused:?}");
    assert_eq!(world.tip(&world.root(), "side"), tip);
    world.run(&world.root(), &["rebase", "--abort"]);
    world.run(&world.root(), &["checkout", "--quiet", "--orphan", "fresh"]);
    world.run(&world.root(), &["commit", "--quiet", "-m", "another beginning"]);
    let refused = world.repository().merge("fresh", &theirs, &record.base_commit, "merge").unwrap_err();
    assert!(matches!(refused, MergeError::Remade { .. }), "{refused:?}");
}
