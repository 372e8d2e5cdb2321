//! Reconciling: what is recorded against what is observed, as a list of actions.
//!
//! Level-triggered and pure: the same two pictures always give the same plan, and carrying a plan out
//! brings the pictures to where the plan is empty. What is under way is completed or rolled back,
//! what cannot be seen is left alone and told. Nothing is ever deleted that no recorded decision
//! said to delete: the only steps that take things away follow a `provisioning` row (made by that
//! creation, undone with its own checks) or a `cleaning` row (a close that had been decided).

mod repository;

pub use repository::{PoolTreeSeen, RepositorySeen, TreeSeen, may_have_left_something, plan_repository};

use crate::id::{LaneId, RunId};
use crate::lane::{Lane, Lifecycle};
use crate::run::{Exit, ProcessIdentity, Run, RunState};
use crate::setup::SetupState;
use crate::time::Timestamp;

/// What was observed of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunSeen {
    /// Its holder answers, and the program runs.
    Alive(ProcessIdentity),
    /// The program has ended, as its holder or its run record tells.
    Ended {
        /// How.
        exit: Exit,
        /// When.
        at: Timestamp,
        /// Its holder is still there, waiting for the end to be recorded.
        holder_waits: bool,
    },
    /// The run record says it was running, and its holder is gone: killed, or the machine restarted.
    HolderGone,
    /// There is neither a holder nor a run record: it never began.
    NeverBegan,
    /// It could not be looked at. Never taken for gone.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing was made of this lane: record it as closed.
    GiveUpNew {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// Undo what a creation made, and record the lane as closed.
    UndoProvisioning {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// Take back once more what a creation has left that is recorded as failed: only what it made, as it made it.
    UndoLeft {
        /// The closed lane.
        lane: LaneId,
    },
    /// Go on bringing a closed lane back: what was kept of it must not be undone.
    ContinueRestoring {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// Go on closing: end what runs, look again, take it away.
    ContinueClosing {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// A setup was under way, and what it needs went with the daemon that did it: it has failed, and can go on.
    InterruptSetup {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
        /// The piece that was being done.
        piece: u32,
    },
    /// Do the close that was remembered.
    CloseRemembered {
        /// The lane.
        lane: LaneId,
    },
    /// Be told by this run's holder what happens from now on.
    Watch {
        /// The run.
        run: RunId,
    },
    /// The program was proven to run while nobody could record it.
    RecordStarted {
        /// The run.
        run: RunId,
        /// The process.
        process: ProcessIdentity,
    },
    /// End the run's processes: that had been asked.
    ContinueStop {
        /// The run.
        run: RunId,
    },
    /// Record how the run ended.
    RecordExit {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
        /// When; None if that is not known.
        at: Option<Timestamp>,
    },
    /// The end is recorded, and the holder may go.
    ReleaseHolder {
        /// The run.
        run: RunId,
    },
    /// Tell a person; do nothing.
    Report {
        /// What, for people.
        what: String,
    },
}

/// The plan for the unfinished lanes and the live runs of a host.
///
/// `lanes` are those that are neither `open` (unless a close is remembered or a setup is under way) nor `closed`; `runs` are
/// recorded runs with what was seen of each.
pub fn plan(lanes: &[Lane], runs: &[(Run, RunSeen)]) -> Vec<Action> {
    // Runs first: a lane that goes on closing must know which of its runs are alive.
    runs.iter()
        .flat_map(|(run, seen)| plan_run(run, seen))
        .chain(lanes.iter().filter_map(plan_setup))
        .chain(lanes.iter().filter_map(plan_lane))
        .collect()
}

fn plan_setup(lane: &Lane) -> Option<Action> {
    let is_under_way = lane.lifecycle == Lifecycle::Open && lane.setup.state == SetupState::Running;
    let (id, epoch, piece) = (lane.id, lane.epoch, lane.setup.n_done);
    is_under_way.then_some(Action::InterruptSetup { lane: id, epoch, piece })
}

fn plan_lane(lane: &Lane) -> Option<Action> {
    let (id, epoch) = (lane.id, lane.epoch);
    match lane.lifecycle {
        Lifecycle::New => Some(Action::GiveUpNew { lane: id, epoch }),
        // One that was taken in is never made, so there is nothing of ours to undo.
        Lifecycle::Provisioning if lane.is_adopted() => Some(Action::GiveUpNew { lane: id, epoch }),
        Lifecycle::Provisioning if lane.restored_from.is_some() => {
            Some(Action::ContinueRestoring { lane: id, epoch })
        }
        Lifecycle::Provisioning => Some(Action::UndoProvisioning { lane: id, epoch }),
        Lifecycle::Open if lane.close_requested => Some(Action::CloseRemembered { lane: id }),
        Lifecycle::Cleaning => Some(Action::ContinueClosing { lane: id, epoch }),
        Lifecycle::Open | Lifecycle::Closed => None,
    }
}

fn plan_run(run: &Run, seen: &RunSeen) -> Vec<Action> {
    let id = run.id;
    match (&run.state, seen) {
        (_, RunSeen::Unknown { reason }) => {
            vec![Action::Report { what: format!("run {id} could not be looked at: {reason}") }]
        }
        (RunState::Starting, RunSeen::Alive(process)) => {
            vec![Action::Watch { run: id }, Action::RecordStarted { run: id, process: process.clone() }]
        }
        (RunState::Running(known), RunSeen::Alive(process)) if known == process => {
            vec![Action::Watch { run: id }]
        }
        (RunState::Running(known), RunSeen::Alive(process)) => vec![Action::Report {
            what: format!("run {id} was pid {} and its holder says pid {}", known.pid, process.pid),
        }],
        (RunState::Stopping(known), RunSeen::Alive(process)) => {
            let started = Action::RecordStarted { run: id, process: process.clone() };
            let mut actions = vec![Action::Watch { run: id }];
            actions.extend(known.is_none().then_some(started));
            actions.push(Action::ContinueStop { run: id });
            actions
        }
        (
            RunState::Starting | RunState::Running(_) | RunState::Stopping(_),
            RunSeen::Ended { exit, at, holder_waits },
        ) => {
            let mut actions = Vec::new();
            actions.extend(holder_waits.then_some(Action::Watch { run: id }));
            actions.push(Action::RecordExit { run: id, exit: exit.clone(), at: Some(*at) });
            actions
        }
        (RunState::Starting | RunState::Running(_) | RunState::Stopping(_), RunSeen::HolderGone) => {
            vec![Action::RecordExit { run: id, exit: Exit::Lost, at: None }]
        }
        (RunState::Starting | RunState::Stopping(None), RunSeen::NeverBegan) => {
            let reason = "the daemon ended before the program was started".to_owned();
            vec![Action::RecordExit { run: id, exit: Exit::NotStarted { reason }, at: None }]
        }
        // It was proven to run once, so a missing run record is damage, not a start that never was.
        (RunState::Running(_) | RunState::Stopping(Some(_)), RunSeen::NeverBegan) => {
            vec![Action::RecordExit { run: id, exit: Exit::Lost, at: None }]
        }
        (RunState::Exited(_), RunSeen::Alive(_)) => vec![Action::Report {
            what: format!("run {id} is recorded as ended, and its holder says that it runs"),
        }],
        (RunState::Exited(_), RunSeen::Ended { holder_waits: true, .. }) => {
            vec![Action::Watch { run: id }, Action::ReleaseHolder { run: id }]
        }
        (
            RunState::Exited(_),
            RunSeen::Ended { holder_waits: false, .. } | RunSeen::HolderGone | RunSeen::NeverBegan,
        ) => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WorkerId;
    use proptest::prelude::*;
    use ulid::Ulid;

    fn process(pid: u32) -> ProcessIdentity {
        ProcessIdentity { pid, start_time: 1, boot_id: "boot".into() }
    }

    fn run(state: RunState) -> Run {
        Run {
            id: RunId::from_ulid(Ulid::from(1_u128)),
            worker: WorkerId::from_ulid(Ulid::from(2_u128)),
            number: 1,
            spec: 1,
            state,
            created_at: Timestamp(0),
            started_at: None,
            ended_at: None,
            channel: None,
        }
    }

    fn states() -> impl Strategy<Value = RunState> {
        prop_oneof![
            Just(RunState::Starting),
            (1..3_u32).prop_map(|pid| RunState::Running(process(pid))),
            Just(RunState::Stopping(None)),
            (1..3_u32).prop_map(|pid| RunState::Stopping(Some(process(pid)))),
            Just(RunState::Exited(Exit::Code { code: 0 })),
        ]
    }

    fn sightings() -> impl Strategy<Value = RunSeen> {
        prop_oneof![
            (1..3_u32).prop_map(|pid| RunSeen::Alive(process(pid))),
            any::<bool>().prop_map(|holder_waits| RunSeen::Ended {
                exit: Exit::Code { code: 3 },
                at: Timestamp(9),
                holder_waits
            }),
            Just(RunSeen::HolderGone),
            Just(RunSeen::NeverBegan),
            Just(RunSeen::Unknown { reason: "no answer".into() }),
        ]
    }

    /// What carrying an action out does to the record, by the rules of `decide`.
    fn carry_out(run: &mut Run, action: &Action) {
        match action {
            Action::RecordStarted { process, .. } => match run.state {
                RunState::Starting => run.state = RunState::Running(process.clone()),
                RunState::Stopping(None) => run.state = RunState::Stopping(Some(process.clone())),
                RunState::Running(_) | RunState::Stopping(Some(_)) | RunState::Exited(_) => {}
            },
            Action::RecordExit { exit, .. } => run.state = RunState::Exited(exit.clone()),
            Action::Watch { .. } | Action::ContinueStop { .. } | Action::ReleaseHolder { .. } => {}
            Action::Report { .. } => {}
            other => panic!("not about a run: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_cannot_be_seen_is_told_and_never_recorded_as_ended(state in states()) {
            let plan = plan_run(&run(state), &RunSeen::Unknown { reason: "no answer".into() });
            let only_told = matches!(plan.as_slice(), [Action::Report { .. }]);
            prop_assert!(only_told);
        }

        #[test]
        fn a_plan_that_was_carried_out_leaves_nothing_to_record(state in states(), seen in sightings()) {
            let mut run = run(state);
            for action in plan_run(&run.clone(), &seen) {
                carry_out(&mut run, &action);
            }
            let again = plan_run(&run, &seen);
            let records = again.iter().any(|action| {
                matches!(action, Action::RecordStarted { .. } | Action::RecordExit { .. })
            });
            prop_assert!(!records, "{again:?}");
        }

        #[test]
        fn a_live_run_is_recorded_as_ended_only_on_evidence(state in states(), seen in sightings()) {
            let ends = plan_run(&run(state), &seen).iter().any(|a| matches!(a, Action::RecordExit { .. }));
            if ends {
                let no_evidence = matches!(seen, RunSeen::Alive(_) | RunSeen::Unknown { .. });
                prop_assert!(!no_evidence);
            }
        }
    }

    #[test]
    fn what_was_taken_in_is_never_undone() {
        use crate::lane::{LaneBranch, LaneTree};
        let adopted = LaneTree::Adopted { branch: Some("theirs".into()) };
        let ours = LaneTree::Ours { branch: LaneBranch { name: "lane/a".into(), ours: true } };
        for lifecycle in Lifecycle::ALL {
            for tree in [adopted.clone(), ours.clone()] {
                let lane = Lane {
                    id: LaneId::from_ulid(Ulid::nil()),
                    host: crate::id::HostId::from_ulid(Ulid::nil()),
                    workspace: crate::id::WorkspaceId::from_ulid(Ulid::nil()),
                    epoch: 1,
                    name: "a".parse().unwrap(),
                    lifecycle,
                    close_terms: crate::lane::CloseTerms::default(),
                    close_by: None,
                    restored_from: None,
                    close_requested: true,
                    failure: None,
                    tree,
                    base_ref: "main".into(),
                    base_commit: "0".repeat(40),
                    path: "/a".into(),
                    shared: false,
                    setup: crate::setup::LaneSetup::default(),
                    created_at: Timestamp(0),
                    closed_at: None,
                };
                let undoes = matches!(plan_lane(&lane), Some(Action::UndoProvisioning { .. }));
                assert_eq!(undoes, lifecycle == Lifecycle::Provisioning && !lane.is_adopted());
            }
        }
    }

    #[test]
    fn a_stop_that_was_under_way_goes_on() {
        let stopping = run(RunState::Stopping(Some(process(1))));
        let id = stopping.id;
        assert_eq!(
            plan_run(&stopping, &RunSeen::Alive(process(1))),
            [Action::Watch { run: id }, Action::ContinueStop { run: id }]
        );
    }

    #[test]
    fn an_exit_while_there_was_no_daemon_keeps_its_code_and_time() {
        let running = run(RunState::Running(process(1)));
        let id = running.id;
        let exit = Exit::Code { code: 3 };
        assert_eq!(
            plan_run(&running, &RunSeen::Ended { exit: exit.clone(), at: Timestamp(9), holder_waits: true }),
            [Action::Watch { run: id }, Action::RecordExit { run: id, exit, at: Some(Timestamp(9)) }]
        );
    }
}
