//! Events: pages of the past and the live subscription join without gap or doubling.

use std::sync::Arc;
use std::thread;

use laneway_core::event::Recorded;
use laneway_store::Store;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::support::*;

/// Follows as it is written at `Store::subscribe`, from the first event to number `last`.
fn follow(store: &Store, mut live: Receiver<Arc<Recorded>>, last: u64) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    let at = |seen: &Vec<u64>| seen.last().copied().unwrap_or(0);
    loop {
        loop {
            let page = store.events_since(at(&seen), 7).unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(|event| event.seq));
        }
        loop {
            if at(&seen) >= last {
                return seen;
            }
            match wait(live.recv()) {
                Ok(event) if event.seq > at(&seen) => seen.push(event.seq),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => panic!("the store ended at {}", at(&seen)),
            }
        }
    }
}

#[test]
fn pages_and_the_live_subscription_join_without_gap_or_doubling() {
    let (_folder, store) = store();
    for n in 1..=100 {
        done(&store, create_lane(n));
    }
    thread::scope(|scope| {
        scope.spawn(|| (101..=400).for_each(|n| drop(done(&store, create_lane(n)))));
        let followers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| follow(&store, store.subscribe(), 401))).collect();
        for follower in followers {
            assert_eq!(follower.join().unwrap(), (1..=401).collect::<Vec<_>>());
        }
    });
}

#[test]
fn one_that_lags_catches_up_by_number() {
    let (_folder, store) = store();
    let mut live = store.subscribe();
    wait(async {
        let mut submitted = tokio::task::JoinSet::new();
        for pid in 0..5_000 {
            let store = store.clone();
            let command = laneway_core::command::Command::RecordDaemonStopped { pid };
            submitted.spawn(async move { store.submit(command, ASKED).await.unwrap() });
        }
        submitted.join_all().await;
    });
    assert!(matches!(wait(live.recv()), Err(RecvError::Lagged(_))));
    assert_eq!(follow(&store, live, 5_001), (1..=5_001).collect::<Vec<_>>());
}

#[test]
fn a_live_event_is_the_recorded_one_and_comes_after_its_commit() {
    let folder = folder();
    let store = open(&database(&folder));
    let mut live = store.subscribe();
    done(&store, laneway_core::command::Command::RegisterWorkspace(workspace()));
    assert_eq!(wait(live.recv()).unwrap().seq, 1);
    let answered = done(&store, create_lane(1));
    let event = wait(live.recv()).unwrap();
    assert_eq!(answered.events, std::slice::from_ref(&event));
    assert_eq!(store.events_since(1, 10).unwrap(), [event.as_ref().clone()]);
    assert_eq!((event.host, event.seq, event.actor), (HOST, 2, ASKED.actor));
    assert_eq!(event.correlation, ASKED.correlation);
    assert_eq!((event.subject.workspace, event.subject.lane), (Some(WORKSPACE), Some(lane_id(1))));
}

#[test]
fn the_newest_and_what_was_before_them_come_in_order() {
    let (_folder, store) = store();
    for n in 1..=9 {
        done(&store, create_lane(n));
    }
    let numbers = |events: Vec<Recorded>| events.into_iter().map(|event| event.seq).collect::<Vec<_>>();
    assert_eq!(numbers(store.events_before(u64::MAX, 3).unwrap()), [8, 9, 10]);
    assert_eq!(numbers(store.events_before(8, 3).unwrap()), [5, 6, 7]);
    assert_eq!(numbers(store.events_before(1, 3).unwrap()), [0; 0]);
    assert_eq!(numbers(store.events_since(8, 10).unwrap()), [9, 10]);
    assert_eq!(numbers(store.events_since(u64::MAX, 10).unwrap()), [0; 0]);
}

#[test]
fn a_page_in_which_much_was_said_has_fewer_events_and_the_rest_follows() {
    const SAID: usize = 100_000;
    let (_folder, store) = store();
    for pid in 1..=9 {
        let version = "x".repeat(SAID);
        done(&store, laneway_core::command::Command::RecordDaemonStarted { version, pid });
    }
    let mut pages = Vec::new();
    let mut seen = 0;
    while let Some(page) = Some(store.events_since(seen, 1_000).unwrap()).filter(|page| !page.is_empty()) {
        seen = page.last().unwrap().seq;
        pages.push(page.iter().map(|event| event.seq).collect::<Vec<_>>());
    }
    assert_eq!(pages.concat(), (1..=10).collect::<Vec<_>>());
    assert!(pages.iter().all(|page| page.len() <= 4), "{pages:?}");
}
