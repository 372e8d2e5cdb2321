//! What happens to a lane's setup: begun, one piece after the other, done or failed, and tried again.

use crate::command::{LaneFacts, NewWorker};
use crate::decide::lane::{expect, update};
use crate::decide::{about, run};
use crate::decision::{Decision, Effect};
use crate::event::{Event, Subject};
use crate::lane::{Lane, Lifecycle};
use crate::launch::DEFAULT_GRACE_MS;
use crate::refusal::Refusal;
use crate::setup::{SetupPlan, SetupState};
use crate::time::Timestamp;

/// Begins a setup, or goes on with one that failed.
pub(super) fn begin(lane: &Lane, plan: &SetupPlan) -> Result<Decision, Refusal> {
    if lane.lifecycle != Lifecycle::Open {
        return Err(Refusal::LaneNotOpen { lane: lane.name.clone(), lifecycle: lane.lifecycle });
    }
    if lane.is_adopted() {
        return Err(Refusal::NotOurTree { lane: lane.name.clone() });
    }
    if lane.setup.state == SetupState::Running {
        return Err(Refusal::SetupRunning { lane: lane.name.clone() });
    }
    let setup = lane.setup.begun(plan);
    let next = Lane { epoch: lane.epoch + 1, failure: None, setup, ..lane.clone() };
    let started = Event::LaneSetupStarted { n_done: next.setup.n_done, n_all: next.setup.n_all };
    let effect = Effect::SetUp { lane: next.id, epoch: next.epoch, piece: next.setup.n_done };
    Ok(Decision {
        changes: vec![update(lane, next)],
        events: vec![(about(lane), started)],
        effects: vec![effect],
    })
}

/// The piece is a step: its task is recorded and started.
pub(super) fn run_step(
    facts: &LaneFacts,
    (epoch, piece): (u64, u32),
    name: &str,
    worker: &NewWorker,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    expect_piece(lane, epoch, piece)?;
    let mut decision = run::create(facts, worker, now)?;
    let setup = crate::setup::LaneSetup { worker: Some(worker.id), ..lane.setup.clone() };
    let step =
        Event::LaneSetupStep { name: name.to_owned(), number: lane.setup.n_done + 1, n_all: setup.n_all };
    decision.changes.push(update(lane, Lane { setup, ..lane.clone() }));
    let subject = Subject { worker: Some(worker.id), run: Some(worker.run), ..about(lane) };
    decision.events.push((subject, step));
    Ok(decision)
}

/// A piece is done: the next one, or the lane is ready and its first worker starts. Or it has failed, and what is left
/// of it is ended.
pub(super) fn finish_piece(
    facts: &LaneFacts,
    (epoch, piece): (u64, u32),
    outcome: &Result<(), String>,
    first: Option<&NewWorker>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    expect_piece(lane, epoch, piece)?;
    let id = lane.id;
    if let Err(failure) = outcome {
        let failure = format!("setup: {failure}");
        let setup = lane.setup.become_state(SetupState::Failed);
        let failed = Lane { setup, failure: Some(failure.clone()), ..lane.clone() };
        let mut decision = finished(lane, failed, Some(failure));
        let task = facts.workers.iter().find(|facts| Some(facts.worker.id) == lane.setup.worker);
        if let Some((task, run)) = task.and_then(|task| Some((task, task.latest.as_ref()?)))
            && run.state.is_live()
        {
            let (changes, events) = run::asked_to_end(lane, task);
            decision.changes.extend(changes);
            decision.events.extend(events);
            decision.effects.push(Effect::StopRun { run: run.id, grace_ms: DEFAULT_GRACE_MS });
        }
        return Ok(decision);
    }
    let mut setup = lane.setup.become_state(SetupState::Running);
    setup.n_done += 1;
    if setup.n_done < setup.n_all {
        let next = Effect::SetUp { lane: id, epoch, piece: setup.n_done };
        let changes = vec![update(lane, Lane { setup, ..lane.clone() })];
        return Ok(Decision { changes, ..Decision::default() }.then(next));
    }
    let ready = Lane { setup: setup.become_state(SetupState::Done), ..lane.clone() };
    let mut decision = finished(lane, ready.clone(), None);
    if let Some(first) = first {
        let started = run::create(&LaneFacts { lane: ready, ..facts.clone() }, first, now)?;
        decision.changes.extend(started.changes);
        decision.events.extend(started.events);
        decision.effects.extend(started.effects);
    }
    Ok(decision)
}

fn finished(lane: &Lane, next: Lane, failure: Option<String>) -> Decision {
    let event = Event::LaneSetupFinished { failure };
    Decision { changes: vec![update(lane, next)], events: vec![(about(lane), event)], effects: vec![] }
}

/// That piece of that attempt is what is being done.
fn expect_piece(lane: &Lane, epoch: u64, piece: u32) -> Result<(), Refusal> {
    expect(lane, epoch, Lifecycle::Open)?;
    if lane.setup.state == SetupState::Running && lane.setup.n_done == piece {
        Ok(())
    } else {
        Err(Refusal::MovedOn { lane: lane.name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::decide::decide;
    use crate::id::{HostId, LaneId, WorkspaceId};
    use crate::lane::{CloseTerms, LaneBranch, LaneTree};
    use crate::setup::LaneSetup;
    use ulid::Ulid;

    fn lane(setup: LaneSetup) -> Lane {
        Lane {
            id: LaneId::from_ulid(Ulid::nil()),
            host: HostId::from_ulid(Ulid::nil()),
            workspace: WorkspaceId::from_ulid(Ulid::nil()),
            epoch: 1,
            name: "a".parse().unwrap(),
            lifecycle: Lifecycle::Open,
            close_requested: false,
            close_terms: CloseTerms::default(),
            close_by: None,
            restored_from: None,
            failure: None,
            tree: LaneTree::Ours { branch: LaneBranch { name: "lane/a".into(), ours: true } },
            base_ref: "main".into(),
            base_commit: "0".repeat(40),
            path: "/a".into(),
            shared: false,
            setup,
            created_at: Timestamp(0),
            closed_at: None,
        }
    }

    fn after(decision: &Decision) -> Lane {
        let mut lanes = decision.changes.iter().filter_map(|change| match change {
            crate::decision::Change::UpdateLane { lane, .. } => Some(lane.clone()),
            _ => None,
        });
        lanes.next_back().expect("the lane changes")
    }

    #[test]
    fn a_setup_goes_on_where_it_failed_unless_the_settings_have_changed() {
        let plan = SetupPlan { content: "one".into(), n_pieces: 3 };
        let mut now = after(&begin(&lane(LaneSetup::default()), &plan).unwrap());
        let mut seen = Vec::new();
        for outcome in [Ok(()), Err("deps exited 1".to_owned())] {
            let facts = LaneFacts {
                lane: now.clone(),
                workers: vec![],
                taken_names: vec![],
                attachments: vec![],
                instances: vec![],
            };
            let command = Command::FinishPiece {
                lane: now.id,
                epoch: now.epoch,
                piece: now.setup.n_done,
                outcome,
                first: None,
            };
            let decision = decide(&crate::command::Facts::Lane(Some(facts)), &command, Timestamp(1)).unwrap();
            now = after(&decision);
            seen.push((now.setup.state, now.setup.n_done, decision.effects.len()));
        }
        assert_eq!(seen, [(SetupState::Running, 1, 1), (SetupState::Failed, 1, 0)]);
        assert_eq!(now.failure.as_deref(), Some("setup: deps exited 1"));
        let again = begin(&now, &plan).unwrap();
        assert_eq!(again.effects, [Effect::SetUp { lane: now.id, epoch: now.epoch + 1, piece: 1 }]);
        assert_eq!(after(&again).failure, None);
        let changed = SetupPlan { content: "two".into(), n_pieces: 3 };
        assert_eq!(after(&begin(&now, &changed).unwrap()).setup.n_done, 0);
        assert!(matches!(begin(&after(&again), &plan), Err(Refusal::SetupRunning { .. })));
    }
}
