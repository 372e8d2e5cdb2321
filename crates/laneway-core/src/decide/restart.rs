//! What happens to workers between their runs: started, started again, and planned to be.

use crate::channel::ChannelProgress;
use crate::command::{LaneFacts, NewWorker, WorkerFacts};
use crate::decide::instance;
use crate::decide::run::{ending, find_worker, refuse_unless_set_up, spec_of, subject};
use crate::decision::{Change, Decision, Effect};
use crate::event::{Event, Subject};
use crate::id::{RunId, WorkerId};
use crate::lane::{Lane, Lifecycle};
use crate::launch::GRACE_TO_GO_ON_MS;
use crate::refusal::Refusal;
use crate::run::{Exit, Run, RunState};
use crate::supervise::{Ended, Outlook, Pacing, Supervision, is_failure};
use crate::time::Timestamp;
use crate::worker::{Desired, Worker};

/// Somebody starts a worker: at once, or when the run that is being stopped has ended.
pub(super) fn start(
    facts: &LaneFacts,
    id: WorkerId,
    (new, forced): (RunId, bool),
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let worker = startable(facts, id)?;
    let Some(latest) = &worker.latest else {
        return Ok(Decision::unchanged());
    };
    let may_start = || if forced { Ok(()) } else { refuse_unless_set_up(&facts.lane) };
    match &latest.state {
        RunState::Starting | RunState::Running(_) => Ok(Decision::unchanged()),
        // The stop it waits for may have failed: it is asked for again.
        RunState::Stopping(_) => {
            may_start()?;
            let wanted = wanted_after_the_stop(&facts.lane, worker, latest);
            Ok(wanted.then(Effect::StopRun { run: latest.id, grace_ms: GRACE_TO_GO_ON_MS }))
        }
        RunState::Exited(_) => {
            may_start()?;
            Ok(begin(&facts.lane, worker, latest, (new, Counting::Anew), now))
        }
    }
}

/// Somebody has a worker end and start again; one that does not run is started.
pub(super) fn restart(
    facts: &LaneFacts,
    id: WorkerId,
    (new, forced): (RunId, bool),
    grace_ms: u64,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let worker = startable(facts, id)?;
    if !forced {
        refuse_unless_set_up(&facts.lane)?;
    }
    let Some(latest) = &worker.latest else {
        return Ok(Decision::unchanged());
    };
    let decision = match &latest.state {
        RunState::Starting | RunState::Running(_) => {
            let (changes, events) = ending(&facts.lane, worker, latest, Desired::Running);
            Decision { changes, events, effects: vec![] }
        }
        RunState::Stopping(_) => wanted_after_the_stop(&facts.lane, worker, latest),
        RunState::Exited(_) => {
            return Ok(begin(&facts.lane, worker, latest, (new, Counting::Anew), now));
        }
    };
    Ok(decision.then(Effect::StopRun { run: latest.id, grace_ms }))
}

/// The worker of an instance runs anew with what it is started with by now: at once, or when what runs of it has ended.
pub(super) fn renew(
    facts: &LaneFacts,
    id: WorkerId,
    new: &NewWorker,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let known = startable(facts, id)?;
    if !new.forced {
        refuse_unless_set_up(&facts.lane)?;
    }
    let becomes = instance::becomes(facts, new, id)?;
    let Some(latest) = &known.latest else {
        return Ok(Decision::unchanged());
    };
    let spec = spec_of(&facts.lane, new, id, known.worker.spec + 1);
    let worker = Worker {
        restart: new.restart,
        done_codes: new.done_codes.clone(),
        channel: new.channel,
        start_message: new.start_message.clone(),
        limits: new.limits,
        spec: spec.number,
        desired: Desired::Running,
        ..known.worker.clone()
    };
    let renewed = WorkerFacts { worker, latest: Some(latest.clone()) };
    let stop = Effect::StopRun { run: latest.id, grace_ms: GRACE_TO_GO_ON_MS };
    let mut decision = match &latest.state {
        RunState::Exited(_) => begin(&facts.lane, &renewed, latest, (new.run, Counting::Anew), now),
        RunState::Starting | RunState::Running(_) => {
            let (changes, events) = ending(&facts.lane, &renewed, latest, Desired::Running);
            Decision { changes, events, effects: vec![stop] }
        }
        RunState::Stopping(_) => {
            let about = subject(&facts.lane, id, Some(latest.id));
            let changes = vec![Change::UpdateWorker(renewed.worker.clone())];
            Decision { changes, events: vec![(about, Event::StartRemembered {})], effects: vec![stop] }
        }
    };
    decision.changes.insert(0, Change::InsertSpec(spec));
    decision.changes.extend(becomes);
    Ok(decision)
}

/// The moment of a planned restart has come. A plan that was given up, or made anew, is void.
pub(super) fn retry(
    facts: &LaneFacts,
    id: WorkerId,
    epoch: u64,
    new: RunId,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let worker = find_worker(facts, id)?;
    match (due(&facts.lane, worker, epoch), &worker.latest) {
        (true, Some(latest)) => Ok(begin(&facts.lane, worker, latest, (new, Counting::On), now)),
        (true, None) | (false, _) => Ok(Decision::unchanged()),
    }
}

/// A planned restart gets another moment.
pub(super) fn replan(
    facts: &LaneFacts,
    id: WorkerId,
    epoch: u64,
    at: Timestamp,
) -> Result<Decision, Refusal> {
    let worker = find_worker(facts, id)?;
    if !due(&facts.lane, worker, epoch) {
        return Ok(Decision::unchanged());
    }
    let supervision = worker.worker.supervision.with(Outlook::Retries { at });
    let effect = Effect::Retry { worker: id, epoch: supervision.epoch, at };
    let changes = vec![Change::UpdateWorker(Worker { supervision, ..worker.worker.clone() })];
    Ok(Decision { changes, ..Decision::default() }.then(effect))
}

/// Whether the restart that was planned in this epoch is still to be.
fn due(lane: &Lane, worker: &WorkerFacts, epoch: u64) -> bool {
    let Worker { supervision, desired, .. } = &worker.worker;
    supervision.epoch == epoch
        && supervision.next_try_at().is_some()
        && *desired == Desired::Running
        && lane.lifecycle == Lifecycle::Open
        && worker.latest.as_ref().is_some_and(|run| !run.state.is_live())
}

/// What follows for the worker from the end of its run, in the same decision.
pub(super) fn after_end(
    lane: &Lane,
    worker: &Worker,
    run: &Run,
    ((exit, at), now): ((&Exit, Timestamp), Timestamp),
    pacing: &Pacing,
) -> Decision {
    let again = lane.lifecycle == Lifecycle::Open && worker.desired == Desired::Running;
    let failed = is_failure(exit, &worker.done_codes);
    let supervision = match &run.state {
        RunState::Stopping(_) if again && unresponsive(worker, run).is_none() => {
            worker.supervision.fresh(Outlook::Retries { at: now })
        }
        RunState::Starting | RunState::Running(_) | RunState::Stopping(_)
            if again && worker.restart.wants_again(exit, &worker.done_codes) =>
        {
            let up_ms = run.started_at.map_or(0, |started_at| at.millis_since(started_at));
            worker.supervision.after_end(&Ended { failed, up_ms, at }, now, pacing)
        }
        RunState::Starting | RunState::Running(_) | RunState::Stopping(_) | RunState::Exited(_) => {
            return Decision::unchanged();
        }
    };
    let about = subject(lane, worker.id, None);
    let mut decision = Decision::default();
    match &supervision.outlook {
        Outlook::Retries { at: next } => {
            let (number, delay_ms) = (run.number + 1, next.millis_since(now));
            decision.events.push((about, Event::RestartPlanned { number, delay_ms }));
            decision.effects.push(Effect::Retry { worker: worker.id, epoch: supervision.epoch, at: *next });
        }
        Outlook::GivenUp { why } => {
            decision.events.push((about, Event::WorkerGivenUp { why: why.clone() }));
        }
        Outlook::Rests => {}
    }
    decision.changes.push(Change::UpdateWorker(Worker { supervision, ..worker.clone() }));
    decision
}

/// How a run counts that was ended because it did not answer, unless it was asked to end beside that.
pub(super) fn unresponsive(worker: &Worker, run: &Run) -> Option<Exit> {
    let reason = run.unresponsive().filter(|_| worker.desired == Desired::Running)?;
    Some(Exit::Unresponsive { reason: reason.to_owned() })
}

/// The changes that take a planned restart back; none if none is.
pub(super) fn cancelled(lane: &Lane, worker: &Worker) -> (Vec<Change>, Vec<(Subject, Event)>) {
    let supervision = worker.supervision.with(Outlook::Rests);
    let stopped = Worker { desired: Desired::Stopped, supervision, ..worker.clone() };
    (vec![Change::UpdateWorker(stopped)], vec![(subject(lane, worker.id, None), Event::RestartCancelled {})])
}

/// Whether what was counted goes on counting.
#[derive(Clone, Copy)]
enum Counting {
    On,
    Anew,
}

fn begin(
    lane: &Lane,
    worker: &WorkerFacts,
    latest: &Run,
    (new, counting): (RunId, Counting),
    now: Timestamp,
) -> Decision {
    let known = &worker.worker.supervision;
    let supervision = match counting {
        Counting::Anew => known.fresh(Outlook::Rests),
        Counting::On => {
            Supervision { n_restarts: known.n_restarts.saturating_add(1), ..known.with(Outlook::Rests) }
        }
    };
    let run = Run {
        id: new,
        worker: worker.worker.id,
        number: latest.number + 1,
        spec: worker.worker.spec,
        state: RunState::Starting,
        created_at: now,
        started_at: None,
        ended_at: None,
        channel: worker.worker.channel.map(|_| ChannelProgress::default()),
    };
    let restarted = Event::WorkerRestarted { number: run.number };
    let wanted = Worker { desired: Desired::Running, supervision, ..worker.worker.clone() };
    Decision {
        events: vec![(subject(lane, worker.worker.id, Some(new)), restarted)],
        changes: vec![Change::UpdateWorker(wanted), Change::InsertRun(run)],
        effects: vec![Effect::StartRun { run: new }],
    }
}

fn wanted_after_the_stop(lane: &Lane, worker: &WorkerFacts, latest: &Run) -> Decision {
    if worker.worker.desired == Desired::Running {
        return Decision::unchanged();
    }
    let about = subject(lane, worker.worker.id, Some(latest.id));
    let wanted = Worker { desired: Desired::Running, ..worker.worker.clone() };
    Decision {
        changes: vec![Change::UpdateWorker(wanted)],
        events: vec![(about, Event::StartRemembered {})],
        effects: vec![],
    }
}

/// A named worker of an open lane.
fn startable(facts: &LaneFacts, id: WorkerId) -> Result<&WorkerFacts, Refusal> {
    let lane = &facts.lane;
    if lane.lifecycle != Lifecycle::Open {
        return Err(Refusal::LaneNotOpen { lane: lane.name.clone(), lifecycle: lane.lifecycle });
    }
    let worker = find_worker(facts, id)?;
    match worker.worker.name {
        Some(_) => Ok(worker),
        None => Err(Refusal::TaskRunsOnce { worker: id }),
    }
}
