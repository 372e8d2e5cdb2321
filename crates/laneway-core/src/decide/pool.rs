//! What happens to the trees of the pool: each is recorded before it is made, and given to one lane at most.

use crate::decision::{Change, Decision};
use crate::event::{Event, Subject};
use crate::pool::{PoolState, PoolStep, PoolTree, Stepped, step};
use crate::refusal::Refusal;

/// Records a tree that is to be made, if there are fewer than so many that lanes can have or soon could.
pub(super) fn add(known: &[PoolTree], new: &PoolTree, at_most: usize) -> Result<Decision, Refusal> {
    let counts = |tree: &&PoolTree| matches!(tree.state, PoolState::Making | PoolState::Ready);
    if known.iter().filter(counts).count() >= at_most {
        return Err(Refusal::PoolIsFull { most: at_most });
    }
    let new = PoolTree { state: PoolState::Making, ..new.clone() };
    Ok(Decision {
        events: vec![told(&new, Some(new.state))],
        changes: vec![Change::InsertPoolTree(new)],
        effects: vec![],
    })
}

/// Takes a step, provided that it can be taken from where the tree stands.
pub(super) fn take(tree: &PoolTree, taken: PoolStep) -> Result<Decision, Refusal> {
    let (change, state) = match step(tree.state, taken) {
        Stepped::Unchanged => return Ok(Decision::unchanged()),
        Stepped::Refused => {
            return Err(Refusal::NotInPool { tree: tree.id, state: tree.state.as_str() });
        }
        Stepped::Over => (Change::DeletePoolTree(tree.id), None),
        Stepped::To(state) => {
            let changed = PoolTree { state, ..tree.clone() };
            (Change::UpdatePoolTree { was: tree.state.as_str(), tree: changed }, Some(state))
        }
    };
    Ok(Decision { changes: vec![change], events: vec![told(tree, state)], effects: vec![] })
}

fn told(tree: &PoolTree, state: Option<PoolState>) -> (Subject, Event) {
    let lane = state.unwrap_or(tree.state).lane();
    let state = state.map_or("gone", PoolState::as_str).to_owned();
    (
        Subject { workspace: Some(tree.workspace), lane, ..Subject::default() },
        Event::PoolTreeChanged { tree: tree.id, state },
    )
}
