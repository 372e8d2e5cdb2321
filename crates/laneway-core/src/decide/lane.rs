//! What happens to lanes: made, closed, and back to open when work turns up in between.

use crate::attachment::User;
use crate::command::{LaneFacts, Merged, NewLane, Provisioned, Quieted, Removed};
use crate::decide::attachment::Users;
use crate::decide::{about, run};
use crate::decision::{Change, Decision, Effect};
use crate::event::Event;
use crate::findings::{Findings, Losses};
use crate::lane::{CloseTerms, Lane, LaneTree, Lifecycle};
use crate::name::Name;
use crate::refusal::Refusal;
use crate::setup::{LaneSetup, SetupStart, SetupState};
use crate::time::Timestamp;

/// Records a lane, if its name, branch and path are free among the open lanes, and none of them brings back the same
/// closed one. One that is to be made is made next; one that is taken in is open at once, since nothing is done to
/// its worktree.
pub(super) fn create(
    open: &[Lane],
    new: &NewLane,
    max_lanes: usize,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    if new.restored_from.is_some()
        && let Some(other) = open.iter().find(|other| other.restored_from == new.restored_from)
    {
        return Err(Refusal::BackAlready { lane: other.name.clone() });
    }
    if let Some(other) = open.iter().find(|other| other.name == new.name) {
        return Err(Refusal::LaneNameTaken { name: other.name.clone(), lifecycle: other.lifecycle });
    }
    // What is checked out in adopted worktrees is not ours to say: git knows, and was asked.
    if let LaneTree::Ours { branch } = &new.tree
        && let Some(other) =
            open.iter().find(|other| !other.is_adopted() && other.branch() == Some(&branch.name))
    {
        return Err(Refusal::BranchInUse { branch: branch.name.clone(), lane: other.name.clone() });
    }
    if let Some(other) = open.iter().find(|other| other.path == new.path) {
        return Err(Refusal::PathInUse { lane: other.name.clone() });
    }
    if open.len() >= max_lanes {
        return Err(Refusal::CapacityReached { open: open.len(), max: max_lanes });
    }
    let lane = Lane {
        id: new.id,
        host: new.host,
        workspace: new.workspace,
        epoch: 1,
        name: new.name.clone(),
        lifecycle: match new.tree {
            LaneTree::Ours { .. } => Lifecycle::New,
            LaneTree::Adopted { .. } => Lifecycle::Open,
        },
        close_requested: false,
        close_terms: CloseTerms::default(),
        close_by: None,
        restored_from: new.restored_from,
        failure: None,
        tree: new.tree.clone(),
        base_ref: new.base_ref.clone(),
        base_commit: new.base_commit.clone(),
        path: new.path.clone(),
        shared: false,
        setup: LaneSetup::default(),
        created_at: now,
        closed_at: None,
    };
    let (name, base_ref, base_commit) = (new.name.clone(), new.base_ref.clone(), new.base_commit.clone());
    let path = new.path.clone();
    let (event, effects) = match &new.tree {
        LaneTree::Ours { branch } => (
            Event::LaneCreated { name, branch: branch.name.clone(), base_ref, base_commit, path },
            vec![Effect::Provision { lane: lane.id, epoch: lane.epoch }],
        ),
        LaneTree::Adopted { branch } => {
            (Event::LaneAdopted { name, branch: branch.clone(), base_ref, base_commit, path }, vec![])
        }
    };
    let mut events = vec![(about(&lane), event)];
    events.extend(new.restored_from.map(|from| (about(&lane), Event::LaneRestored { from })));
    Ok(Decision { events, effects, changes: vec![Change::InsertLane(lane)] })
}

/// Another name for a lane, and for the worker in it that is called like it: else the old name would still mean
/// something. Branch and worktree keep theirs, since programs stand in the one and work on the other.
pub(super) fn rename(facts: &LaneFacts, open: &[Lane], to: &Name) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    if lane.lifecycle != Lifecycle::Open {
        return Err(Refusal::LaneNotOpen { lane: lane.name.clone(), lifecycle: lane.lifecycle });
    }
    if lane.name == *to {
        return Ok(Decision::unchanged());
    }
    if let Some(other) = open.iter().find(|other| other.name == *to) {
        return Err(Refusal::LaneNameTaken { name: other.name.clone(), lifecycle: other.lifecycle });
    }
    let renamed = Event::LaneRenamed { from: lane.name.clone(), to: to.clone() };
    let mut decision = Decision {
        changes: vec![update(lane, Lane { name: to.clone(), ..lane.clone() })],
        events: vec![(about(lane), renamed)],
        effects: vec![],
    };
    let namesake = facts.workers.iter().find(|facts| facts.worker.name.as_ref() == Some(&lane.name));
    if let Some(namesake) = namesake {
        let Decision { changes, events, .. } = run::rename(facts, namesake.worker.id, to)?;
        decision.changes.extend(changes);
        decision.events.extend(events);
    }
    Ok(match lane.tree {
        LaneTree::Ours { .. } => decision.then(Effect::LabelTree { lane: lane.id }),
        LaneTree::Adopted { .. } => decision,
    })
}

/// From here on there may be something to undo.
pub(super) fn begin_provisioning(lane: &Lane, epoch: u64) -> Result<Decision, Refusal> {
    expect(lane, epoch, Lifecycle::New)?;
    Ok(becomes(lane, Lane { lifecycle: Lifecycle::Provisioning, ..lane.clone() }))
}

/// The lane is ready, or was undone.
pub(super) fn finish_provisioning(
    facts: &LaneFacts,
    epoch: u64,
    outcome: &Provisioned,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    match outcome {
        Provisioned::Failed { failure } => {
            // A lane that never got beyond `new` can fail as well: nothing of it was made.
            if lane.lifecycle != Lifecycle::New {
                expect(lane, epoch, Lifecycle::Provisioning)?;
            }
            expect_epoch(lane, epoch)?;
            Ok(becomes(
                lane,
                Lane {
                    lifecycle: Lifecycle::Closed,
                    failure: Some(failure.clone()),
                    closed_at: Some(now),
                    ..lane.clone()
                },
            ))
        }
        Provisioned::Ready { branch, warning, setup, first } => {
            expect(lane, epoch, Lifecycle::Provisioning)?;
            let why = match setup {
                SetupStart::Wait { why } => why.as_ref(),
                SetupStart::Nothing | SetupStart::Begin(_) => None,
            };
            let open = Lane {
                lifecycle: Lifecycle::Open,
                tree: LaneTree::Ours { branch: branch.clone() },
                failure: warning.as_ref().or(why).cloned(),
                ..set_up(lane, setup)
            };
            let mut decision = becomes(lane, open.clone());
            if lane.close_requested {
                return Ok(decision.then(Effect::CloseRemembered { lane: lane.id }));
            }
            if let SetupState::Running = open.setup.state {
                return Ok(decision.then(Effect::SetUp { lane: lane.id, epoch, piece: 0 }));
            }
            if let Some(first) = first {
                let facts = LaneFacts { lane: open, ..facts.clone() };
                let started = run::create(&facts, first, now)?;
                decision.changes.extend(started.changes);
                decision.events.extend(started.events);
                decision.effects.extend(started.effects);
            }
            Ok(decision)
        }
    }
}

/// How a close is asked for.
#[derive(Clone, Copy)]
pub(super) struct Close<'a> {
    /// Milliseconds that programs have to end by themselves.
    pub(super) grace_ms: u64,
    /// What it may do.
    pub(super) terms: CloseTerms,
    /// Who asks.
    pub(super) by: Option<&'a User>,
}

/// The lane with what comes of its setup. One that is to be closed next is not set up before.
fn set_up(lane: &Lane, start: &SetupStart) -> Lane {
    let setup = match start {
        SetupStart::Nothing => LaneSetup::default(),
        SetupStart::Begin(plan) if !lane.close_requested => LaneSetup::from_the_start(plan),
        SetupStart::Begin(_) | SetupStart::Wait { .. } => {
            LaneSetup::default().become_state(SetupState::Waiting)
        }
    };
    Lane { setup, ..lane.clone() }
}

/// A close: refused if it would lose work or somebody else uses the lane, remembered while the lane is being made.
pub(super) fn close(
    facts: &LaneFacts,
    findings: Option<&Findings>,
    asked: Close<'_>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    let (terms, close_by) = (asked.terms, asked.by.cloned());
    refuse_terms(lane, terms)?;
    match lane.lifecycle {
        Lifecycle::Closed | Lifecycle::Cleaning => Ok(Decision::unchanged()),
        Lifecycle::New | Lifecycle::Provisioning if lane.close_requested && lane.close_terms == terms => {
            Ok(Decision::unchanged())
        }
        Lifecycle::New | Lifecycle::Provisioning => {
            let remembered = Lane { close_requested: true, close_terms: terms, close_by, ..lane.clone() };
            Ok(Decision {
                changes: vec![update(lane, remembered)],
                events: vec![(about(lane), Event::LaneCloseRemembered {})],
                effects: vec![],
            })
        }
        Lifecycle::Open => {
            let Some(findings) = findings else {
                // It became open while the close was asked: remembered, and done right now.
                let remembered = Lane { close_requested: true, close_terms: terms, close_by, ..lane.clone() };
                let changes = vec![update(lane, remembered)];
                return Ok(Decision { changes, ..Decision::default() }
                    .then(Effect::CloseRemembered { lane: lane.id }));
            };
            let users = Users::as_of(facts, now);
            let findings = &with_others(findings, &users, asked.by);
            if next_step(findings, terms) == CloseStep::Refuse {
                if !lane.close_requested {
                    let losses = Box::new(findings.losses.clone());
                    return Err(Refusal::WouldLose { lane: lane.name.clone(), losses });
                }
                // A remembered close ends here too: it must not come back later, when nobody thinks of it.
                let kept = Lane { close_requested: false, ..lane.clone() };
                let refused = Event::LaneCloseRefused { losses: findings.losses.clone() };
                return Ok(Decision {
                    changes: vec![update(lane, kept)],
                    events: vec![(about(lane), refused)],
                    effects: vec![],
                });
            }
            Ok(begin_cleaning(facts, users, asked))
        }
    }
}

/// Refuses what no close of this lane does, whatever would be found: an adopted worktree is left as it is.
pub fn refuse_terms(lane: &Lane, terms: CloseTerms) -> Result<(), Refusal> {
    if lane.is_adopted() && terms != CloseTerms::default() {
        return Err(Refusal::NotOurTree { lane: lane.name.clone() });
    }
    Ok(())
}

/// What was found, with those who use the lane at this very moment.
fn with_others(findings: &Findings, users: &Users<'_>, by: Option<&User>) -> Findings {
    let losses = Losses { attachments: users.others(by), ..findings.losses.clone() };
    Findings { losses, ..findings.clone() }
}

fn begin_cleaning(facts: &LaneFacts, users: Users<'_>, asked: Close<'_>) -> Decision {
    let lane = &facts.lane;
    let Close { grace_ms, terms, by } = asked;
    let epoch = lane.epoch + 1;
    let cleaning = Lane {
        lifecycle: Lifecycle::Cleaning,
        close_requested: false,
        close_terms: terms,
        close_by: by.cloned(),
        shared: users.mark(),
        failure: None,
        setup: lane.setup.broken_off(),
        epoch,
        ..lane.clone()
    };
    let mut decision = becomes(lane, cleaning);
    users.add_to(&mut decision);
    for worker in &facts.workers {
        let (changes, events) = run::asked_to_end(lane, worker);
        decision.changes.extend(changes);
        decision.events.extend(events);
    }
    decision.then(Effect::QuietLane { lane: lane.id, epoch, grace_ms })
}

/// What a look at a lane that is to be closed leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseStep {
    /// Work would be lost, and nobody has said that it may go.
    Refuse,
    /// Merge first, look again.
    Merge,
    /// Nothing would be lost.
    Remove,
    /// It goes with what is in it, and all of it is kept.
    Rescue,
}

/// What comes next, by what was found and what was asked.
pub fn next_step(findings: &Findings, terms: CloseTerms) -> CloseStep {
    let losses = &findings.losses;
    let nothing = losses.is_empty();
    match terms {
        // No consent is meant for others who use it.
        _ if !losses.attachments.is_empty() => CloseStep::Refuse,
        CloseTerms { merge: true, discard, .. } if nothing || losses.are_commits_only() || discard => {
            CloseStep::Merge
        }
        _ if nothing => CloseStep::Remove,
        CloseTerms { discard: true, .. } => CloseStep::Rescue,
        CloseTerms { .. } => CloseStep::Refuse,
    }
}

/// Everything in the lane has ended: look again. Something has not: back to open.
pub(super) fn finish_quieting(lane: &Lane, epoch: u64, outcome: &Quieted) -> Result<Decision, Refusal> {
    expect(lane, epoch, Lifecycle::Cleaning)?;
    Ok(match outcome {
        Quieted::Quiet => Decision::unchanged().then(Effect::Judge { lane: lane.id, epoch }),
        Quieted::StillAlive { what } => reopened(lane, Some(what.clone())),
    })
}

/// The second look decides: take the lane away, or keep it for the work that turned up.
pub(super) fn judge_again(
    facts: &LaneFacts,
    epoch: u64,
    findings: &Findings,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    expect(lane, epoch, Lifecycle::Cleaning)?;
    let id = lane.id;
    let findings = &with_others(findings, &Users::as_of(facts, now), lane.close_by.as_ref());
    Ok(match next_step(findings, lane.close_terms) {
        CloseStep::Refuse => reopened_for(lane, &findings.losses),
        CloseStep::Merge => Decision::unchanged().then(Effect::Merge { lane: id, epoch }),
        CloseStep::Remove => Decision::unchanged().then(Effect::Remove { lane: id, epoch }),
        CloseStep::Rescue => Decision::unchanged().then(Effect::Rescue { lane: id, epoch }),
    })
}

/// Its commits are held: look once more, now without a merge to do. Or they are not, and it is open again.
pub(super) fn finish_merging(lane: &Lane, epoch: u64, outcome: &Merged) -> Result<Decision, Refusal> {
    expect(lane, epoch, Lifecycle::Cleaning)?;
    Ok(match outcome {
        Merged::Done { into, commit } => {
            let merged = CloseTerms { merge: false, ..lane.close_terms };
            let event = Event::LaneMerged { into: into.clone(), commit: commit.clone() };
            Decision {
                changes: vec![update(lane, Lane { close_terms: merged, ..lane.clone() })],
                events: vec![(about(lane), event)],
                effects: vec![Effect::Judge { lane: lane.id, epoch }],
            }
        }
        Merged::Failed { failure } => reopened(lane, Some(failure.clone())),
    })
}

/// The lane is over, or could not be taken away and is open again.
pub(super) fn finish_closing(
    facts: &LaneFacts,
    epoch: u64,
    outcome: &Removed,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    expect(lane, epoch, Lifecycle::Cleaning)?;
    let closed = || {
        let users = Users::as_of(facts, now).without(|_| true);
        let closed =
            Lane { lifecycle: Lifecycle::Closed, closed_at: Some(now), shared: users.mark(), ..lane.clone() };
        let mut decision = becomes(lane, closed);
        users.add_to(&mut decision);
        decision
    };
    Ok(match outcome {
        Removed::Gone { rescue } => {
            let mut decision = closed();
            let rescued = rescue.map(|rescue| Event::LaneRescued {
                in_trash: rescue.in_trash,
                n_refs: rescue.n_refs,
                n_only_in_trash: rescue.n_only_in_trash,
            });
            decision.events.extend(rescued.map(|event| (about(lane), event)));
            decision
        }
        Removed::LeftBehind if lane.close_terms.discard => {
            let mut decision = closed();
            let branch = lane.branch().map(str::to_owned);
            let left = Event::LaneLeftBehind { path: lane.path.clone(), branch };
            decision.events.push((about(lane), left));
            decision
        }
        Removed::LeftBehind => reopened(lane, Some("its repository is not there".to_owned())),
        Removed::WorkFound(_) if lane.close_terms.discard => {
            Decision::unchanged().then(Effect::Rescue { lane: lane.id, epoch })
        }
        Removed::WorkFound(losses) => reopened_for(lane, losses),
        Removed::Failed { failure } => reopened(lane, Some(failure.clone())),
    })
}

fn reopened_for(lane: &Lane, losses: &Losses) -> Decision {
    let mut decision = reopened(lane, None);
    decision.events.insert(0, (about(lane), Event::LaneCloseRefused { losses: losses.clone() }));
    decision
}

fn reopened(lane: &Lane, failure: Option<String>) -> Decision {
    becomes(lane, Lane { lifecycle: Lifecycle::Open, failure, epoch: lane.epoch + 1, ..lane.clone() })
}

fn becomes(lane: &Lane, next: Lane) -> Decision {
    let event =
        Event::LaneStateChanged { from: lane.lifecycle, to: next.lifecycle, failure: next.failure.clone() };
    Decision { changes: vec![update(lane, next)], events: vec![(about(lane), event)], effects: vec![] }
}

pub(super) fn update(lane: &Lane, next: Lane) -> Change {
    Change::UpdateLane { was: lane.lifecycle, was_epoch: lane.epoch, lane: next }
}

pub(super) fn expect(lane: &Lane, epoch: u64, lifecycle: Lifecycle) -> Result<(), Refusal> {
    expect_epoch(lane, epoch)?;
    if lane.lifecycle == lifecycle {
        Ok(())
    } else {
        Err(Refusal::LaneNotOpen { lane: lane.name.clone(), lifecycle: lane.lifecycle })
    }
}

fn expect_epoch(lane: &Lane, epoch: u64) -> Result<(), Refusal> {
    if lane.epoch == epoch { Ok(()) } else { Err(Refusal::MovedOn { lane: lane.name.clone() }) }
}
