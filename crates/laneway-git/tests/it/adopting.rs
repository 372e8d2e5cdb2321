//! Worktrees that somebody made: what is found of them, and that looking changes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_git::{AdoptRefusal, Adoptable, Base, Label, label};

use crate::world::World;

/// A worktree as a person makes it.
fn somebodys(world: &World, name: &str, arguments: &[&str]) -> PathBuf {
    let path = world.path(name);
    let add = ["worktree", "add", "--quiet", path.to_str().unwrap()];
    world.run(&world.root(), &[&add, arguments].concat());
    path
}

fn adoptable(world: &World, path: &Path) -> Adoptable {
    world.repository().adoptable(path).unwrap()
}

#[test]
fn it_is_compared_with_where_it_left_the_main_checkout() {
    let world = World::new();
    let path = somebodys(&world, "tree", &["-b", "topic"]);
    let left = world.tip(&world.root(), "main");
    world.commit(&path, "own", "1\n");
    world.commit(&world.root(), "others", "1\n");
    let base = Base { base_ref: "main".into(), commit: left };
    let expected = Adoptable { path: path.clone(), branch: Some("topic".into()), base: base.clone() };
    assert_eq!(adoptable(&world, &path), expected);
    world.run(&path, &["checkout", "--quiet", "--detach"]);
    assert_eq!(adoptable(&world, &path), Adoptable { branch: None, ..expected });
    // With nothing in common, it is where it stands.
    world.run(&path, &["checkout", "--quiet", "--orphan", "fresh"]);
    assert!(matches!(world.repository().adoptable(&path), Err(AdoptRefusal::Unborn { .. })));
    world.run(&path, &["commit", "--quiet", "-m", "fresh"]);
    let own = Base { base_ref: "fresh".into(), commit: world.tip(&path, "HEAD") };
    assert_eq!(adoptable(&world, &path).base, own);
    // And so where the main checkout has no commit.
    world.run(&world.root(), &["checkout", "--quiet", "--orphan", "empty"]);
    assert_eq!(adoptable(&world, &path).base, own);
}

#[test]
fn a_worktree_of_a_bare_repository_is_one_too() {
    let world = World::cloned();
    world.run(world.folder(), &["clone", "--quiet", "--bare", "origin", "bare.git"]);
    let tree = world.path("tree");
    world.run(&world.path("bare.git"), &["worktree", "add", "--quiet", tree.to_str().unwrap(), "feature"]);
    let repository = world.repository_at(&world.path("bare.git"));
    let found = repository.adoptable(&tree).unwrap();
    assert_eq!((found.branch.as_deref(), found.base.base_ref.as_str()), (Some("feature"), "main"));
    let refused = repository.adoptable(&world.path("bare.git")).unwrap_err();
    assert!(matches!(refused, AdoptRefusal::NotAWorktree { inside: None, .. }), "{refused:?}");
    let other = world.repository().adoptable(&tree).unwrap_err();
    assert!(matches!(other, AdoptRefusal::OtherRepository { .. }), "{other:?}");
}

#[test]
fn only_the_entries_of_lanes_are_labelled_and_stay_locked_all_the_while() {
    let world = World::new();
    let (one, two) = (world.lane("one"), world.lane("two"));
    let own = somebodys(&world, "own", &[]);
    world.run(&world.root(), &["worktree", "lock", "--reason", "mine", own.to_str().unwrap()]);
    let locked = |path: &Path| {
        let worktrees = world.repository().worktrees().unwrap();
        worktrees.into_iter().find(|tree| tree.path == path).unwrap().locked
    };
    let labelled = |lanes: &[(&Path, &str, &str)]| {
        let lanes: Vec<_> = lanes
            .iter()
            .map(|(path, lane, id)| Label {
                path: (*path).to_owned(),
                lane: (*lane).to_owned(),
                id: (*id).to_owned(),
            })
            .collect();
        label(world.repository().common_dir(), &lanes, Duration::from_secs(5)).unwrap();
    };
    labelled(&[(&one.path, "other", "id-of-one"), (&own, "stolen", "id"), (&two.path, "stolen", "id")]);
    assert_eq!(locked(&one.path).as_deref(), Some("laneway lane other id-of-one"));
    assert_eq!(locked(&two.path).as_deref(), Some("laneway lane two id-of-two"));
    assert_eq!(locked(&own).as_deref(), Some("mine"));
    world.run(&world.root(), &["worktree", "unlock", two.path.to_str().unwrap()]);
    labelled(&[(&two.path, "again", "id-of-two")]);
    assert_eq!(locked(&two.path), None, "somebody has unlocked it");
    // Nothing to be changed waits for no lock.
    let _lock = world.repository().lock().unwrap();
    labelled(&[(&one.path, "other", "id-of-one")]);
}
