//! What happens to workers and their runs.

use crate::channel::ChannelProgress;
use crate::command::{LaneFacts, NewWorker, WorkerFacts, WorkerName, WorkerNaming};
use crate::decide::{about, instance, restart, unknown};
use crate::decision::{Change, Decision, Effect};
use crate::event::{Event, Subject};
use crate::id::{RunId, WorkerId};
use crate::lane::{Lane, Lifecycle};
use crate::launch::{DEFAULT_GRACE_MS, LaunchSpec};
use crate::name::Name;
use crate::refusal::Refusal;
use crate::run::{Exit, ProcessIdentity, Run, RunState};
use crate::setup::SetupState;
use crate::supervise::{Pacing, RestartPolicy, Supervision};
use crate::time::Timestamp;
use crate::worker::{Desired, Worker};

/// Records a worker with its first launch spec and run.
pub(super) fn create(facts: &LaneFacts, new: &NewWorker, now: Timestamp) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    if lane.lifecycle != Lifecycle::Open {
        return Err(Refusal::LaneNotOpen { lane: lane.name.clone(), lifecycle: lane.lifecycle });
    }
    if !new.forced && new.naming != WorkerNaming::Task {
        refuse_unless_set_up(lane)?;
    }
    let name = named(&facts.taken_names, &new.naming)?;
    let worker = Worker {
        id: new.id,
        workspace: lane.workspace,
        lane: lane.id,
        name: name.clone(),
        desired: Desired::Running,
        restart: if name.is_some() { new.restart } else { RestartPolicy::Never },
        done_codes: new.done_codes.clone(),
        channel: new.channel,
        start_message: new.start_message.clone(),
        limits: new.limits,
        spec: 1,
        supervision: Supervision::default(),
        parent: new.parent,
        created_at: now,
    };
    let spec = spec_of(lane, new, new.id, 1);
    let run = Run {
        id: new.run,
        worker: new.id,
        number: 1,
        spec: 1,
        state: RunState::Starting,
        created_at: now,
        started_at: None,
        ended_at: None,
        channel: new.channel.map(|_| ChannelProgress::default()),
    };
    let becomes = instance::becomes(facts, new, new.id)?;
    let created = Event::WorkerCreated { name, program: new.argv.first().cloned().unwrap_or_default() };
    Ok(Decision {
        events: vec![(subject(lane, new.id, Some(new.run)), created)],
        changes: [Change::InsertWorker(worker), Change::InsertSpec(spec), Change::InsertRun(run)]
            .into_iter()
            .chain(becomes)
            .collect(),
        effects: vec![Effect::StartRun { run: new.run }],
    })
}

/// What a worker is started with.
pub(super) fn spec_of(lane: &Lane, new: &NewWorker, worker: WorkerId, number: u32) -> LaunchSpec {
    LaunchSpec {
        worker,
        number,
        argv: new.argv.clone(),
        cwd: new.cwd.clone().unwrap_or_else(|| lane.path.clone()),
        environment: new.environment.clone(),
        record: new.record && new.terminal.is_tty(),
        terminal: new.terminal.clone(),
    }
}

/// A worker is not started in a lane that is being set up, or could not be; tasks are.
pub(super) fn refuse_unless_set_up(lane: &Lane) -> Result<(), Refusal> {
    match lane.setup.state {
        SetupState::Running => Err(Refusal::SetupRunning { lane: lane.name.clone() }),
        SetupState::Failed => {
            Err(Refusal::NotSetUp { lane: lane.name.clone(), failure: lane.failure.clone() })
        }
        SetupState::None | SetupState::Waiting | SetupState::Done => Ok(()),
    }
}

fn named(taken: &[WorkerName], naming: &WorkerNaming) -> Result<Option<Name>, Refusal> {
    match naming {
        WorkerNaming::Task => Ok(None),
        WorkerNaming::Exactly(name) => match taken.iter().find(|taken| taken.name == *name) {
            Some(taken) => Err(name_taken(taken)),
            None => Ok(Some(name.clone())),
        },
        WorkerNaming::FirstFree(name) => {
            Ok(Some(name.first_free(|text| taken.iter().any(|taken| taken.name.as_str() == text))))
        }
    }
}

fn name_taken(by: &WorkerName) -> Refusal {
    Refusal::WorkerNameTaken { name: by.name.clone(), lane: by.lane.clone() }
}

/// Another name for a worker, running or not.
pub(super) fn rename(facts: &LaneFacts, id: WorkerId, to: &Name) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    if lane.lifecycle != Lifecycle::Open {
        return Err(Refusal::LaneNotOpen { lane: lane.name.clone(), lifecycle: lane.lifecycle });
    }
    let worker = find_worker(facts, id)?;
    let Some(from) = &worker.worker.name else {
        return Err(Refusal::TaskHasNoName { worker: id });
    };
    if from == to {
        return Ok(Decision::unchanged());
    }
    if let Some(taken) = facts.taken_names.iter().find(|taken| taken.name == *to) {
        return Err(name_taken(taken));
    }
    let renamed = Event::WorkerRenamed { from: from.clone(), to: to.clone() };
    Ok(Decision {
        changes: vec![Change::UpdateWorker(Worker { name: Some(to.clone()), ..worker.worker.clone() })],
        events: vec![(subject(lane, id, None), renamed)],
        effects: vec![],
    })
}

/// The program runs. If a stop came in between, it is carried out now.
pub(super) fn started(
    facts: &LaneFacts,
    id: RunId,
    process: &ProcessIdentity,
    at: Timestamp,
) -> Result<Decision, Refusal> {
    let (worker, run) = find_run(facts, id)?;
    let (state, effect) = match &run.state {
        RunState::Starting => (RunState::Running(process.clone()), None),
        RunState::Stopping(None) => (
            RunState::Stopping(Some(process.clone())),
            Some(Effect::StopRun { run: id, grace_ms: DEFAULT_GRACE_MS }),
        ),
        RunState::Running(_) | RunState::Stopping(Some(_)) | RunState::Exited(_) => {
            return Ok(Decision::unchanged());
        }
    };
    let started = Event::RunStarted { number: run.number, pid: process.pid };
    Ok(Decision {
        changes: vec![update(run, Run { state, started_at: Some(at), ..run.clone() })],
        events: vec![(subject(&facts.lane, worker.worker.id, Some(id)), started)],
        effects: effect.into_iter().collect(),
    })
}

/// The run is over. A worker that could never be started is taken back: it must not look like one.
pub(super) fn exited(
    facts: &LaneFacts,
    id: RunId,
    (exit, at): (&Exit, Timestamp),
    pacing: &Pacing,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let (worker, run) = find_run(facts, id)?;
    let subject = subject(&facts.lane, worker.worker.id, Some(id));
    let failure = restart::unresponsive(&worker.worker, run);
    let asked = match &run.state {
        RunState::Exited(_) => return Ok(Decision::unchanged().then(Effect::ReleaseHolder { run: id })),
        RunState::Starting | RunState::Running(_) => false,
        RunState::Stopping(_) => failure.is_none(),
    };
    let exit = failure.as_ref().unwrap_or(exit);
    let is_wanted_again = asked && worker.worker.desired == Desired::Running;
    if let (Exit::NotStarted { reason }, 1, false) = (exit, run.number, is_wanted_again) {
        let name = worker.worker.name.clone();
        let Decision { mut changes, mut events, .. } = instance::withdrawn(facts, worker.worker.id, reason);
        changes.push(Change::DeleteWorker(worker.worker.id));
        events.insert(0, (subject, Event::WorkerWithdrawn { name, reason: reason.clone() }));
        return Ok(Decision { changes, events, effects: vec![Effect::ReleaseHolder { run: id }] });
    }
    let event = Event::WorkerExited {
        number: run.number,
        exit: exit.clone(),
        duration_ms: run.started_at.map_or(0, |started_at| at.millis_since(started_at)),
        asked,
    };
    let ended = Run { state: RunState::Exited(exit.clone()), ended_at: Some(at), ..run.clone() };
    let of_instance = instance::ended(facts, &worker.worker, run, (exit, asked), now);
    let follows = restart::after_end(&facts.lane, &worker.worker, run, ((exit, at), now), pacing);
    let mut decision = Decision {
        changes: vec![update(run, ended)],
        events: vec![(subject, event)],
        effects: vec![Effect::ReleaseHolder { run: id }],
    };
    for part in [of_instance, follows] {
        decision.changes.extend(part.changes);
        decision.events.extend(part.events);
        decision.effects.extend(part.effects);
    }
    Ok(decision)
}

/// A stop. What an ended run left behind is ended too, so the effect comes in every state.
pub(super) fn stop(facts: &LaneFacts, id: WorkerId, grace_ms: u64) -> Result<Decision, Refusal> {
    let worker = find_worker(facts, id)?;
    let Some(run) = &worker.latest else {
        return Ok(Decision::unchanged());
    };
    let (changes, events) = asked_to_end(&facts.lane, worker);
    Ok(Decision { changes, events, effects: vec![Effect::StopRun { run: run.id, grace_ms }] })
}

/// A stop left processes: it is told, and the run stays in `stopping`, from where it can be stopped again.
pub(super) fn stop_failed(facts: &LaneFacts, id: RunId, left: &[u32]) -> Result<Decision, Refusal> {
    let (worker, _) = find_run(facts, id)?;
    Ok(Decision {
        events: vec![(
            subject(&facts.lane, worker.worker.id, Some(id)),
            Event::RunStopFailed { left: left.to_vec() },
        )],
        ..Decision::default()
    })
}

/// The changes that ask a worker's live run to end, or take its planned restart back; none if there is neither, or it
/// was asked before.
pub(super) fn asked_to_end(lane: &Lane, worker: &WorkerFacts) -> (Vec<Change>, Vec<(Subject, Event)>) {
    let Some(run) = &worker.latest else {
        return (vec![], vec![]);
    };
    let is_wanted = worker.worker.desired == Desired::Running;
    match &run.state {
        RunState::Starting | RunState::Running(_) => ending(lane, worker, run, Desired::Stopped),
        RunState::Stopping(_) if is_wanted => restart::cancelled(lane, &worker.worker),
        RunState::Exited(_) if worker.worker.supervision.next_try_at().is_some() => {
            restart::cancelled(lane, &worker.worker)
        }
        RunState::Stopping(_) | RunState::Exited(_) => (vec![], vec![]),
    }
}

/// The changes that have a live run end, and say what its worker is meant to be afterwards.
pub(super) fn ending(
    lane: &Lane,
    worker: &WorkerFacts,
    run: &Run,
    desired: Desired,
) -> (Vec<Change>, Vec<(Subject, Event)>) {
    let state = RunState::Stopping(run.state.process().cloned());
    let meant = Worker { desired, ..worker.worker.clone() };
    let changes = vec![Change::UpdateWorker(meant), update(run, Run { state, ..run.clone() })];
    let event = Event::RunStopping { number: run.number };
    (changes, vec![(subject(lane, worker.worker.id, Some(run.id)), event)])
}

pub(super) fn find_worker(facts: &LaneFacts, id: WorkerId) -> Result<&WorkerFacts, Refusal> {
    facts.workers.iter().find(|worker| worker.worker.id == id).ok_or_else(|| unknown("worker", &id))
}

pub(super) fn find_run(facts: &LaneFacts, id: RunId) -> Result<(&WorkerFacts, &Run), Refusal> {
    facts
        .workers
        .iter()
        .find_map(|worker| worker.latest.as_ref().filter(|run| run.id == id).map(|run| (worker, run)))
        .ok_or_else(|| unknown("run", &id))
}

pub(super) fn update(run: &Run, next: Run) -> Change {
    Change::UpdateRun { was: run.state.as_str(), run: next }
}

pub(super) fn subject(lane: &Lane, worker: WorkerId, run: Option<RunId>) -> Subject {
    Subject { worker: Some(worker), run, ..about(lane) }
}
