//! Many at once, and a person's git at work beside them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use laneway_git::{CreateError, CreateRefusal, LockError, NewBranch, NewTree, RemoveError, UnderLockError};

use crate::world::{World, to_remove};

#[test]
fn fifty_at_once_from_a_remotes_branch_all_succeed_and_all_go_again() {
    let world = World::cloned();
    let repository = world.repository();
    let base = repository.resolve_base(&world.root(), Some("origin/main"), &[]).unwrap();
    let start = Barrier::new(50);
    let make = |n: usize| {
        let lane = format!("x{n}");
        let branch = NewBranch::New { name: format!("lane/{lane}"), base: base.commit.clone() };
        let wanted = NewTree { path: world.tree(&lane), id: world.id(&lane), lane, branch };
        start.wait();
        let record = repository.preflight(&wanted).unwrap();
        let created = repository.create(&record).unwrap_or_else(|error| panic!("{n}: {error:?}"));
        assert!(created.warnings.is_empty(), "{:?}", created.warnings);
        record
    };
    let records: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..50).map(|n| scope.spawn(move || make(n))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (trees, branches, entries) = world.leftovers();
    assert_eq!((trees.len(), branches.len(), entries), (50, 50, 50));
    let configuration = std::fs::read_to_string(world.root().join(".git/config")).unwrap();
    assert!(!configuration.contains("lane/"), "no branch follows anything: {configuration}");
    std::thread::scope(|scope| {
        for record in &records {
            let (world, repository) = (&world, &repository);
            scope.spawn(move || {
                let seen = world.judge(record).seen;
                let removed = repository.remove(&to_remove(record, &seen, &record.lane)).unwrap();
                removed.trashed.unwrap().unlink().unwrap();
            });
        }
    });
    world.assert_nothing_left();
}

/// Ends the person's commands, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_person_who_prunes_and_fetches_meanwhile_breaks_nothing() {
    let world = World::cloned();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = Ending(&ended);
        for args in [
            &["worktree", "prune", "--expire=now"][..],
            &["fetch", "--quiet", "--force"],
            &["pack-refs", "--all"],
        ] {
            let (world, ended) = (&world, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    world.try_run(&world.root(), args);
                }
            });
        }
        let results: Vec<_> = std::thread::scope(|makers| {
            let makers: Vec<_> = (0..4)
                .map(|maker| {
                    let world = &world;
                    makers.spawn(move || {
                        for n in 0..10 {
                            let record = world.preflight(&format!("m{maker}-{n}"));
                            let made = world.repository().create(&record);
                            let created = made.map_err(|error| format!("{error:?}"))?;
                            assert!(created.warnings.is_empty(), "{:?}", created.warnings);
                        }
                        Ok::<_, String>(())
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(results, vec![Ok(()); 4]);
    });
    assert_eq!(world.leftovers().2, 40);
}

#[test]
fn of_twenty_that_want_the_same_branch_one_gets_it() {
    let world = World::new();
    let repository = world.repository();
    let records: Vec<_> = (0..20)
        .map(|n| {
            let wanted = NewTree { path: world.tree(&format!("t{n}")), ..world.wanted("x") };
            repository.preflight(&wanted).unwrap()
        })
        .collect();
    let start = Barrier::new(20);
    let results: Vec<_> = std::thread::scope(|scope| {
        let (start, repository) = (&start, &repository);
        let running: Vec<_> = records
            .iter()
            .map(|record| {
                scope.spawn(move || {
                    start.wait();
                    repository.create(record)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, CreateError::Refused(CreateRefusal::BranchTaken { .. })), "{error:?}");
    }
    let (trees, branches, entries) = world.leftovers();
    assert_eq!((trees.len(), branches.len(), entries), (1, 1, 1));
}

#[test]
fn nothing_is_changed_while_somebody_else_has_the_lock() {
    let world = World::new();
    let (made, wanted) = (world.lane("x"), world.preflight("y"));
    let seen = world.judge(&made).seen;
    let impatient = world.repository_with(|limits| limits.lock = Duration::from_millis(20));
    let before = world.leftovers();
    let lock = world.repository().lock().unwrap();
    assert!(matches!(impatient.create(&wanted), Err(CreateError::Lock(LockError::Busy { .. }))));
    assert!(matches!(impatient.undo(&made), Err(UnderLockError::Lock(LockError::Busy { .. }))));
    let removed = impatient.remove(&to_remove(&made, &seen, "id"));
    assert!(matches!(removed, Err(RemoveError::Lock(LockError::Busy { .. }))));
    assert_eq!(world.leftovers(), before);
    drop(lock);
    impatient.remove(&to_remove(&made, &seen, "id")).unwrap().trashed.unwrap().unlink().unwrap();
    world.assert_nothing_left();
}
