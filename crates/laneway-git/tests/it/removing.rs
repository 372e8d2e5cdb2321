//! Taking a lane's tree away.

use laneway_git::{BranchFate, NewBranch, NewTree, RemoveError, Seen, Trashed, TreeState, TreeToRemove};

use crate::world::{World, to_judge, to_remove};

#[test]
fn a_clean_lane_goes_whole_and_again_is_fine() {
    let world = World::new();
    let record = world.lane("x");
    let seen = world.judge(&record).seen;
    world.run(&record.path, &["config", "branch.lane/x.remote", "origin"]);
    let repository = world.repository();
    let removed = repository.remove(&to_remove(&record, &seen, "id")).unwrap();
    assert!(matches!(&removed.branch, BranchFate::Deleted { tip } if *tip == record.base_commit));
    assert!(!record.path.exists());
    let trashed = removed.trashed.unwrap();
    assert_eq!(trashed.tree(), world.tree(".trash/id/tree"));
    assert!(trashed.tree().join("a").exists());
    trashed.unlink().unwrap();
    world.assert_nothing_left();
    let configuration = std::fs::read_to_string(world.root().join(".git/config")).unwrap();
    assert!(!configuration.contains("lane/x"));
    let again = repository.remove(&to_remove(&record, &seen, "id")).unwrap();
    assert!(again.trashed.is_none() && matches!(again.branch, BranchFate::Gone));
}

#[test]
fn commits_that_nothing_else_holds_are_refused() {
    let world = World::new();
    let record = world.lane("x");
    let commit = world.commit(&record.path, "a", "two\n");
    let seen = world.judge(&record).seen;
    let refused = world.repository().remove(&to_remove(&record, &seen, "id")).unwrap_err();
    assert!(matches!(refused, RemoveError::WouldLose { commits } if commits.first[0].id == commit));
    assert!(record.path.join("a").exists());
}

#[test]
fn what_was_written_since_the_judgement_is_refused_and_stays_where_it_was() {
    let world = World::new();
    let record = world.lane("x");
    let seen = world.judge(&record).seen;
    std::fs::write(record.path.join("late"), "just saved\n").unwrap();
    let refused = world.repository().remove(&to_remove(&record, &seen, "id")).unwrap_err();
    let RemoveError::Written { found, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(found.untracked.first, [std::path::PathBuf::from("late")]);
    assert_eq!(std::fs::read_to_string(record.path.join("late")).unwrap(), "just saved\n");
    assert_eq!(world.judge(&record).seen, seen, "the tree is registered and as it was");
    assert_eq!(Trashed::find(&record.path, "id"), None);
}

#[test]
fn a_branch_or_head_that_moved_since_is_refused() {
    let world = World::new();
    let record = world.lane("x");
    let seen = world.judge(&record).seen;
    let refuse = || world.repository().remove(&to_remove(&record, &seen, "id")).unwrap_err();
    world.run(&world.root(), &["branch", "holder"]);
    world.run(&record.path, &["checkout", "--quiet", "--detach"]);
    assert!(matches!(refuse(), RemoveError::Moved { .. }));
    world.run(&record.path, &["checkout", "--quiet", "lane/x"]);
    world.commit(&record.path, "a", "two\n");
    world.run(&world.root(), &["branch", "--force", "holder", "lane/x"]);
    assert!(matches!(refuse(), RemoveError::Moved { now } if now.branch_tip != seen.branch_tip));
    assert!(record.path.join("a").exists());
}

#[test]
fn two_lanes_with_the_same_commits_do_not_both_go() {
    let world = World::new();
    let records = [world.lane("x"), world.lane("y")];
    world.commit(&records[0].path, "a", "two\n");
    world.run(&records[1].path, &["merge", "--quiet", "--ff-only", "lane/x"]);
    let names = ["lane/x", "lane/y"];
    let results: Vec<_> = std::thread::scope(|scope| {
        let (world, names) = (&world, &names);
        let running: Vec<_> = records
            .iter()
            .map(|record| {
                scope.spawn(move || {
                    let seen = world.judge(record).seen;
                    let judged = to_judge(record, names);
                    let asked = TreeToRemove { judged, seen: &seen, tree_is_ours: true, id: &record.lane };
                    world.repository().remove(&asked)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for result in results {
        assert!(matches!(result, Err(RemoveError::WouldLose { .. })), "{result:?}");
    }
    assert_eq!(world.leftovers().1, names);
}

#[test]
fn without_a_word_on_who_vouches_the_lock_still_keeps_the_last_one() {
    let world = World::new();
    let records = [world.lane("x"), world.lane("y")];
    world.commit(&records[0].path, "a", "two\n");
    world.run(&records[1].path, &["merge", "--quiet", "--ff-only", "lane/x"]);
    let seen = records.each_ref().map(|record| world.judge(record).seen);
    let results: Vec<_> = std::thread::scope(|scope| {
        let world = &world;
        let running: Vec<_> = records
            .iter()
            .zip(&seen)
            .map(|(record, seen)| {
                scope.spawn(move || world.repository().remove(&to_remove(record, seen, &record.lane)))
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(world.leftovers().1.len(), 1);
}

#[test]
fn what_is_not_ours_stays() {
    let world = World::new();
    world.run(&world.root(), &["branch", "mine"]);
    let branch = NewBranch::Existing { name: "mine".into(), tip: world.base().commit };
    let record = world.repository().preflight(&NewTree { branch, ..world.wanted("x") }).unwrap();
    world.repository().create(&record).unwrap();
    let seen = world.judge(&record).seen;
    let adopted = TreeToRemove { tree_is_ours: false, ..to_remove(&record, &seen, "id") };
    let removed = world.repository().remove(&adopted).unwrap();
    assert!(removed.trashed.is_none() && record.path.join("a").exists());
    let removed = world.repository().remove(&to_remove(&record, &seen, "id")).unwrap();
    assert!(matches!(removed.branch, BranchFate::NotOurs));
    removed.trashed.unwrap().unlink().unwrap();
    assert_eq!(world.leftovers(), (vec![], vec!["mine".into()], 0));
}

#[test]
fn a_branch_that_is_checked_out_elsewhere_stays() {
    let world = World::new();
    let record = world.lane("x");
    let elsewhere = world.path("elsewhere");
    let add = ["worktree", "add", "--quiet", "--force", elsewhere.to_str().unwrap(), "lane/x"];
    world.run(&world.root(), &add);
    let seen = world.judge(&record).seen;
    let removed = world.repository().remove(&to_remove(&record, &seen, "id")).unwrap();
    assert!(matches!(removed.branch, BranchFate::CheckedOut { at } if at == elsewhere));
    removed.trashed.unwrap().unlink().unwrap();
    assert_eq!(world.tip(&elsewhere, "HEAD"), record.base_commit);
}

#[test]
fn a_link_a_file_or_another_folder_at_the_path_is_refused() {
    let world = World::new();
    let record = world.lane("x");
    let seen = world.judge(&record).seen;
    let refuse = || match world.repository().remove(&to_remove(&record, &seen, "id")) {
        Err(RemoveError::NotOurTree { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    std::fs::rename(&record.path, world.path("moved")).unwrap();
    std::os::unix::fs::symlink(world.path("moved"), &record.path).unwrap();
    assert_eq!(refuse(), TreeState::NotAFolder);
    std::fs::remove_file(&record.path).unwrap();
    std::fs::create_dir(&record.path).unwrap();
    std::fs::write(record.path.join("precious"), "x").unwrap();
    assert_eq!(refuse(), TreeState::NotRegistered);
    // The folder above it swapped for a link: then it is another path.
    std::fs::rename(world.root().join(".lanes"), world.path("lanes")).unwrap();
    std::os::unix::fs::symlink(world.path("lanes"), world.root().join(".lanes")).unwrap();
    assert_eq!(refuse(), TreeState::NotRegistered);
    assert!(world.path("moved/a").exists() && world.path("lanes/x/precious").exists());
    let main = TreeToRemove {
        judged: laneway_git::TreeToJudge { path: &world.root(), ..to_judge(&record, &[]) },
        ..to_remove(&record, &seen, "id")
    };
    let refused = world.repository().remove(&main);
    assert!(matches!(refused, Err(RemoveError::NotOurTree { .. })), "{refused:?}");
}

#[test]
fn a_removal_that_was_broken_off_is_completed() {
    let world = World::new();
    let record = world.lane("x");
    let seen = world.judge(&record).seen;
    // Renamed aside, and then killed.
    std::fs::create_dir_all(world.tree(".trash/id")).unwrap();
    std::fs::rename(&record.path, world.tree(".trash/id/tree")).unwrap();
    let removed = world.repository().remove(&to_remove(&record, &seen, "id")).unwrap();
    assert!(matches!(removed.branch, BranchFate::Deleted { .. }));
    assert_eq!(removed.trashed, Trashed::find(&record.path, "id"));
    removed.trashed.unwrap().unlink().unwrap();
    world.assert_nothing_left();
}

#[test]
fn what_a_broken_off_removal_did_not_look_at_comes_back() {
    let world = World::new();
    let record = world.lane("x");
    std::fs::write(record.path.join("late"), "just saved\n").unwrap();
    std::fs::create_dir_all(world.tree(".trash/id")).unwrap();
    std::fs::rename(&record.path, world.tree(".trash/id/tree")).unwrap();
    // The tree is missing, which is clean as far as a judgement can see.
    let seen = world.judge(&record).seen;
    let refused = world.repository().remove(&to_remove(&record, &seen, "id")).unwrap_err();
    assert!(matches!(refused, RemoveError::Written { .. }), "{refused:?}");
    assert_eq!(std::fs::read_to_string(record.path.join("late")).unwrap(), "just saved\n");
}

#[test]
fn a_lane_with_a_submodule_goes_and_keeps_what_is_new_in_it() {
    let world = World::cloned();
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../origin", "sub"];
    world.run(&world.root(), &add);
    world.run(&world.root(), &["commit", "--quiet", "--message", "a submodule"]);
    let record = world.lane("x");
    let update = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"];
    world.run(&record.path, &update);
    let seen = world.judge(&record).seen;
    let remove = || world.repository().remove(&to_remove(&record, &seen, "id"));
    std::fs::write(record.path.join("sub/late"), "just saved\n").unwrap();
    assert!(matches!(remove().unwrap_err(), RemoveError::Written { .. }));
    assert!(record.path.join("sub/late").exists());
    std::fs::remove_file(record.path.join("sub/late")).unwrap();
    let removed = remove().unwrap();
    assert!(matches!(removed.branch, BranchFate::Deleted { .. }) && !record.path.exists());
    removed.trashed.unwrap().unlink().unwrap();
}

#[test]
fn a_folder_or_a_branch_that_went_by_itself_is_fine() {
    let world = World::new();
    let (gone, unbranched) = (world.lane("x"), world.lane("y"));
    std::fs::remove_dir_all(&gone.path).unwrap();
    let seen = world.judge(&gone).seen;
    let removed = world.repository().remove(&to_remove(&gone, &seen, "id")).unwrap();
    assert!(removed.trashed.is_none() && matches!(removed.branch, BranchFate::Deleted { .. }));

    world.run(&unbranched.path, &["checkout", "--quiet", "--detach"]);
    world.run(&world.root(), &["branch", "-D", "lane/y"]);
    let seen = world.judge(&unbranched).seen;
    let removed = world.repository().remove(&to_remove(&unbranched, &seen, "id")).unwrap();
    assert!(matches!(removed.branch, BranchFate::Gone));
    removed.trashed.unwrap().unlink().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_persons_own_worktree_whose_disk_is_away_keeps_its_entry() {
    let world = World::new();
    let mine = world.path("mine");
    world.run(&world.root(), &["worktree", "add", "--quiet", "-b", "mine", mine.to_str().unwrap()]);
    let record = world.lane("x");
    std::fs::rename(&mine, world.path("away")).unwrap();
    let seen = world.judge(&record).seen;
    let removed = world.repository().remove(&to_remove(&record, &seen, "id")).unwrap();
    removed.trashed.unwrap().unlink().unwrap();
    std::fs::rename(world.path("away"), &mine).unwrap();
    assert_eq!(world.run(&mine, &["symbolic-ref", "HEAD"]), "refs/heads/mine");
}

#[test]
fn an_id_that_is_a_path_is_refused() {
    let world = World::new();
    let record = world.lane("x");
    let seen: Seen = world.judge(&record).seen;
    for id in ["..", "a/b", ""] {
        let refused = world.repository().remove(&to_remove(&record, &seen, id));
        assert!(matches!(refused, Err(RemoveError::NotMoved { .. })), "{id:?}");
    }
    assert!(record.path.join("a").exists());
}
