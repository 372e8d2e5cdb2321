//! Many at once: everyone is answered, numbers have no gaps, and waiting commands share a transaction.

use std::sync::Barrier;
use std::thread;

use crate::support::*;

#[test]
fn fifty_threads_are_all_answered_and_no_number_is_missing() {
    const N_THREADS: u32 = 50;
    const EACH: u32 = 6;
    let (folder, store) = store();
    let before = commits_in_the_log(&database(&folder));
    let barrier = Barrier::new(N_THREADS as usize);
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..N_THREADS)
            .map(|thread| {
                let (store, barrier) = (&store, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let mine = (0..EACH).map(|n| done(store, create_lane(1 + thread * EACH + n)));
                    mine.flat_map(|committed| committed.events).map(|event| event.seq).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    let n_decisions = u64::from(N_THREADS * EACH);
    assert_eq!(numbers, (2..=n_decisions + 1).collect::<Vec<_>>());
    let recorded = store.events_since(1, u32::MAX).unwrap();
    assert_eq!(recorded.iter().map(|event| event.seq).collect::<Vec<_>>(), numbers);
    assert_eq!(store.lanes(Some(WORKSPACE), false).unwrap().len() as u64, n_decisions);
    let transactions = commits_in_the_log(&database(&folder)) - before;
    assert!(transactions > 0 && transactions < n_decisions as usize, "{transactions} transactions");
}

#[test]
fn commands_that_wait_together_are_written_together() {
    let (folder, store) = store();
    let path = database(&folder);
    let before = commits_in_the_log(&path);
    let answers = submit_together(&path, &store, (1..=60).map(create_lane).collect());
    let numbers: Vec<u64> = answers.into_iter().map(|answer| answer.unwrap().seq).collect();
    assert_eq!(numbers, (2..=61).collect::<Vec<_>>(), "in the order they came");
    // One for those that were there when the writer woke up, one for the rest.
    let transactions = commits_in_the_log(&path) - before;
    assert!((1..=2).contains(&transactions), "{transactions} transactions");
}
