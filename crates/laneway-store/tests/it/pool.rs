//! The trees of a pool: recorded before they are made, and given to one lane.

use laneway_core::command::Command;
use laneway_core::event::Event;
use laneway_core::id::PoolTreeId;
use laneway_core::pool::{PoolState, PoolStep, PoolTree};
use laneway_core::refusal::Refusal;
use laneway_core::time::Timestamp;
use laneway_store::{Store, SubmitError};
use ulid::Ulid;

use crate::support::*;

fn id(n: u32) -> PoolTreeId {
    PoolTreeId::from_ulid(Ulid(u128::from(n)))
}

fn tree(n: u32) -> PoolTree {
    PoolTree {
        id: id(n),
        workspace: WORKSPACE,
        path: laneway_core::os_text::OsText::from_bytes(&b"/repo-\xff/.lanes/.pool/x"[..]),
        commit: "0".repeat(40),
        state: PoolState::Making,
        created_at: Timestamp(7),
    }
}

fn stepped(store: &Store, n: u32, step: PoolStep) -> Result<String, Refusal> {
    match submit(store, Command::StepPoolTree { tree: id(n), step }) {
        Ok(committed) => Ok(committed
            .events
            .iter()
            .map(|event| match &event.event {
                Event::PoolTreeChanged { state, .. } => state.clone(),
                other => panic!("{other:?}"),
            })
            .collect()),
        Err(SubmitError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_tree_goes_to_one_lane_and_every_state_reads_back() {
    let (_folder, store) = store();
    done(&store, create_lane(1));
    done(&store, create_lane(2));
    for n in 1..=2 {
        done(&store, Command::AddPoolTree { tree: tree(n), at_most: 2 });
    }
    let full = submit(&store, Command::AddPoolTree { tree: tree(3), at_most: 2 });
    assert!(matches!(full, Err(SubmitError::Refused(Refusal::PoolIsFull { most: 2 }))), "{full:?}");
    assert_eq!(store.pool(WORKSPACE).unwrap(), [tree(1), tree(2)]);
    let claim = |lane| PoolStep::Claim { lane: lane_id(lane) };
    assert!(matches!(stepped(&store, 1, claim(1)), Err(Refusal::NotInPool { state: "making", .. })));
    assert_eq!(stepped(&store, 1, PoolStep::Made), Ok("ready".to_owned()));
    assert_eq!(stepped(&store, 1, claim(1)), Ok("claimed".to_owned()));
    assert!(matches!(stepped(&store, 1, claim(2)), Err(Refusal::NotInPool { state: "claimed", .. })));
    let state = |n: usize| store.pool(WORKSPACE).unwrap()[n].state;
    assert_eq!(state(0), PoolState::Claimed { lane: lane_id(1) });
    assert_eq!(stepped(&store, 1, PoolStep::Drop), Ok("going".to_owned()));
    assert_eq!(state(0), PoolState::Going { lane: Some(lane_id(1)) });
    assert_eq!(stepped(&store, 2, PoolStep::Drop), Ok("going".to_owned()));
    assert_eq!(stepped(&store, 2, PoolStep::Drop), Ok(String::new()), "a repeat");
    assert_eq!(state(1), PoolState::Going { lane: None });
    for n in 1..=2 {
        assert_eq!(stepped(&store, n, PoolStep::Gone), Ok("gone".to_owned()));
    }
    assert!(matches!(stepped(&store, 1, PoolStep::Gone), Err(Refusal::Unknown { .. })));
    assert_eq!(store.pool(WORKSPACE).unwrap(), []);
}
