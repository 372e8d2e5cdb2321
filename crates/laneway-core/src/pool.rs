//! Trees that are kept ready for lanes to come, and what is to be done about them.
//!
//! ```text
//!  making ──made──► ready ──claim──► claimed ──gone──► (no record: a lane has it)
//!    │                │                │
//!    └──────drop──────┴──────drop──────┴──► going ──gone──► (no record: it is removed)
//! ```
//!
//! A record is there before its tree is, and goes after it. [`plan`] is asked again after every step: it compares what
//! is recorded with what is wanted, so that a crash anywhere leads on from where it was.

use crate::id::{LaneId, PoolTreeId, WorkspaceId};
use crate::os_text::OsText;
use crate::time::Timestamp;

/// Where a tree of the pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolState {
    /// It is being made.
    Making,
    /// A lane can have it.
    Ready,
    /// This lane is to have it, and nobody else.
    Claimed {
        /// The lane.
        lane: LaneId,
    },
    /// It is being removed.
    Going {
        /// The lane that was to have it.
        lane: Option<LaneId>,
    },
}

impl PoolState {
    /// The word that is stored and told.
    pub const fn as_str(self) -> &'static str {
        match self {
            PoolState::Making => "making",
            PoolState::Ready => "ready",
            PoolState::Claimed { .. } => "claimed",
            PoolState::Going { .. } => "going",
        }
    }

    /// The lane that has to do with it.
    pub const fn lane(self) -> Option<LaneId> {
        match self {
            PoolState::Claimed { lane } => Some(lane),
            PoolState::Going { lane } => lane,
            PoolState::Making | PoolState::Ready => None,
        }
    }
}

/// A tree of the pool, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTree {
    /// Its id.
    pub id: PoolTreeId,
    /// The repository it is of.
    pub workspace: WorkspaceId,
    /// Where it is.
    pub path: OsText,
    /// The commit that its files are of.
    pub commit: String,
    /// Where it stands.
    pub state: PoolState,
    /// When it was begun.
    pub created_at: Timestamp,
}

/// What happens to a tree of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolStep {
    /// It was made, and looked at.
    Made,
    /// A lane is to have it.
    Claim {
        /// The lane.
        lane: LaneId,
    },
    /// It is of no use any more.
    Drop,
    /// It is in the pool no longer.
    Gone,
}

/// What a step leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// It stands here now.
    To(PoolState),
    /// It stands where it stood.
    Unchanged,
    /// Its record goes.
    Over,
    /// That cannot happen to it.
    Refused,
}

/// What a step does to a tree that stands so.
pub const fn step(state: PoolState, step: PoolStep) -> Stepped {
    match (state, step) {
        (_, PoolStep::Gone) => Stepped::Over,
        (PoolState::Making, PoolStep::Made) => Stepped::To(PoolState::Ready),
        (PoolState::Ready, PoolStep::Claim { lane }) => Stepped::To(PoolState::Claimed { lane }),
        (PoolState::Making | PoolState::Ready, PoolStep::Drop) => {
            Stepped::To(PoolState::Going { lane: None })
        }
        (PoolState::Claimed { lane }, PoolStep::Drop) => Stepped::To(PoolState::Going { lane: Some(lane) }),
        (PoolState::Ready, PoolStep::Made) | (PoolState::Going { .. }, PoolStep::Drop) => Stepped::Unchanged,
        (PoolState::Making | PoolState::Claimed { .. } | PoolState::Going { .. }, PoolStep::Claim { .. })
        | (PoolState::Claimed { .. } | PoolState::Going { .. }, PoolStep::Made) => Stepped::Refused,
    }
}

/// What is wanted of the pool of a repository, and what is known beside the record.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// How many trees are to be ready.
    pub n_trees: usize,
    /// The commit that they are to be of. None: it is not known, and trees are taken as they are.
    pub commit: Option<&'a str>,
    /// Those that were looked at since this daemon began, and found as they were made.
    pub looked_at: &'a [PoolTreeId],
    /// The lanes that are being made.
    pub being_made: &'a [LaneId],
}

/// One thing to do about a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolAction {
    /// Record that it is of no use.
    Drop(PoolTreeId),
    /// Remove it.
    Remove(PoolTreeId),
    /// Look whether it is as it was made.
    Look(PoolTreeId),
    /// Make one more.
    Make,
}

/// What is to be done next, given that nothing of it is under way but claims of lanes that are being made.
pub fn plan(trees: &[PoolTree], wanted: Wanted<'_>) -> Vec<PoolAction> {
    let mut actions = Vec::new();
    let mut n_ready = 0;
    for tree in trees {
        let id = tree.id;
        match tree.state {
            PoolState::Going { .. } => actions.push(PoolAction::Remove(id)),
            PoolState::Making => actions.push(PoolAction::Drop(id)),
            PoolState::Claimed { lane } if wanted.being_made.contains(&lane) => {}
            PoolState::Claimed { .. } => actions.push(PoolAction::Drop(id)),
            PoolState::Ready => {
                let fits = wanted.commit.is_none_or(|commit| commit == tree.commit);
                if !fits || n_ready >= wanted.n_trees {
                    actions.push(PoolAction::Drop(id));
                    continue;
                }
                n_ready += 1;
                if !wanted.looked_at.contains(&id) {
                    actions.push(PoolAction::Look(id));
                }
            }
        }
    }
    // One at a time, and only when all else is done.
    if actions.is_empty() && n_ready < wanted.n_trees && wanted.commit.is_some() {
        actions.push(PoolAction::Make);
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ulid::Ulid;

    fn id(n: u8) -> PoolTreeId {
        PoolTreeId::from_ulid(Ulid::from(u128::from(n)))
    }

    fn lane(n: u8) -> LaneId {
        LaneId::from_ulid(Ulid::from(u128::from(n)))
    }

    fn tree(n: u8, state: PoolState, commit: &str) -> PoolTree {
        PoolTree {
            id: id(n),
            workspace: WorkspaceId::from_ulid(Ulid::nil()),
            path: "/pool".into(),
            commit: commit.to_owned(),
            state,
            created_at: Timestamp(0),
        }
    }

    fn states() -> impl Strategy<Value = PoolState> {
        prop_oneof![
            Just(PoolState::Making),
            Just(PoolState::Ready),
            (0..3_u8).prop_map(|n| PoolState::Claimed { lane: lane(n) }),
            proptest::option::of((0..3_u8).prop_map(lane)).prop_map(|lane| PoolState::Going { lane }),
        ]
    }

    fn steps() -> impl Strategy<Value = PoolStep> {
        prop_oneof![
            Just(PoolStep::Made),
            (0..3_u8).prop_map(|n| PoolStep::Claim { lane: lane(n) }),
            Just(PoolStep::Drop),
            Just(PoolStep::Gone),
        ]
    }

    proptest! {
        #[test]
        fn two_lanes_never_get_the_same_tree(steps in proptest::collection::vec(steps(), 0..20)) {
            let (mut state, mut had_by) = (PoolState::Making, None);
            for next in steps {
                match step(state, next) {
                    Stepped::To(to) => {
                        if let PoolStep::Claim { lane } = next {
                            prop_assert_eq!((state, had_by), (PoolState::Ready, None));
                            had_by = Some(lane);
                        }
                        state = to;
                    }
                    Stepped::Unchanged | Stepped::Refused => {}
                    Stepped::Over => break,
                }
            }
        }

        #[test]
        fn a_plan_that_was_carried_out_ends_with_what_is_wanted(
            states in proptest::collection::vec((states(), any::<bool>()), 0..8),
            n_trees in 0..4_usize,
        ) {
            let mut trees: Vec<PoolTree> = states
                .into_iter()
                .zip(0..)
                .map(|((state, old), n)| tree(n, state, if old { "old" } else { "new" }))
                .collect();
            let mut looked_at = Vec::new();
            let mut next = 100;
            for _ in 0..50 {
                let wanted =
                    Wanted { n_trees, commit: Some("new"), looked_at: &looked_at, being_made: &[lane(0)] };
                let actions = plan(&trees, wanted);
                if actions.is_empty() {
                    break;
                }
                for action in actions {
                    let done = |trees: &mut Vec<PoolTree>, id, step_done| {
                        let at = trees.iter().position(|tree| tree.id == id).unwrap();
                        match step(trees[at].state, step_done) {
                            Stepped::To(state) => trees[at].state = state,
                            Stepped::Over => drop(trees.remove(at)),
                            other => panic!("{other:?}"),
                        }
                    };
                    match action {
                        PoolAction::Drop(id) => done(&mut trees, id, PoolStep::Drop),
                        PoolAction::Remove(id) => done(&mut trees, id, PoolStep::Gone),
                        PoolAction::Look(id) => looked_at.push(id),
                        PoolAction::Make => {
                            trees.push(tree(next, PoolState::Ready, "new"));
                            looked_at.push(id(next));
                            next += 1;
                        }
                    }
                }
            }
            let ready = trees.iter().filter(|tree| tree.state == PoolState::Ready && tree.commit == "new");
            prop_assert_eq!(ready.count(), n_trees);
            let rest = trees.iter().filter(|tree| tree.state != PoolState::Ready);
            for tree in rest {
                prop_assert_eq!(tree.state, PoolState::Claimed { lane: lane(0) }, "it is being given away");
            }
        }
    }
}
