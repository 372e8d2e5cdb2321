//! What happens to instances of programs: asked for, and by what their programs say and how they end.

use serde_json::Value;

use crate::command::{InstanceFacts, LaneFacts, NewWorker, StartInstance, WorkerFacts};
use crate::decision::{Change, Decision, Effect};
use crate::event::{Event, Subject};
use crate::id::{InstanceId, LaneId, WorkerId};
use crate::instance::{
    Circumstances, Instance, InstanceConfig, InstanceRun, Outcome, Picture, Start, Told, is_live,
    program_ended, status_of, told,
};
use crate::refusal::Refusal;
use crate::run::{Exit, Run, RunState};
use crate::time::Timestamp;
use crate::worker::{Worker, WorkerStatus};

/// An instance is to run; it is made if there is none. One that works, or is about to, does already.
pub(super) fn start(
    known: Option<&(InstanceFacts, Option<WorkerFacts>)>,
    new: &StartInstance,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let Some((InstanceFacts { instance, open_run }, worker)) = known else {
        let made = Instance {
            id: new.id,
            workspace: new.workspace,
            program: new.program.clone(),
            name: new.name.clone(),
            epoch: 1,
            starting: true,
            failure: None,
            lane: None,
            worker: None,
            start: new.start.clone(),
            config: InstanceConfig::default(),
            picture: picture_of(&new.start, now),
            n_runs: 0,
            created_at: now,
        };
        return Ok(about_to_start(&made, Change::InsertInstance(made.clone())));
    };
    let status = status(instance, worker.as_ref());
    match status {
        WorkerStatus::Running if instance.picture.finished => {}
        WorkerStatus::Starting | WorkerStatus::Running => {
            let (program, instance) = (instance.program.clone(), instance.name.clone());
            return Err(Refusal::InstanceRuns { program, instance, status });
        }
        WorkerStatus::Stopping | WorkerStatus::Stopped | WorkerStatus::Backoff | WorkerStatus::Failed => {}
    }
    let model = new.start.model.clone().or_else(|| instance.config.model.clone());
    let start = Start { model, ..new.start.clone() };
    let next = Instance {
        epoch: instance.epoch + 1,
        starting: true,
        failure: None,
        picture: picture_of(&start, now),
        start,
        ..instance.clone()
    };
    let mut decision = about_to_start(&next, update(instance, next.clone()));
    if let Some(open) = open_run {
        // Its program never said that it stopped, or is just being stopped.
        let outcome = if status == WorkerStatus::Stopping { Outcome::Stopped } else { Outcome::Lost };
        let Picture { round, ref agents, .. } = instance.picture;
        let agents = agents.len() as u64;
        let ended = InstanceRun { outcome, stopped_at: Some(now), rounds: round, agents, ..open.clone() };
        decision.events.push((about(instance), run_ended(&ended)));
        decision.changes.push(Change::PutInstanceRun(ended));
    }
    Ok(decision)
}

/// The lane that it is to work in is recorded.
pub(super) fn place(instance: &Instance, epoch: u64, lane: LaneId) -> Result<Decision, Refusal> {
    refuse_unless_starting(instance, epoch)?;
    let next = Instance { lane: Some(lane), ..instance.clone() };
    Ok(Decision { changes: vec![update(instance, next)], ..Decision::default() })
}

/// Its start came to nothing.
pub(super) fn fail(instance: &Instance, epoch: u64, why: &str) -> Result<Decision, Refusal> {
    refuse_unless_starting(instance, epoch)?;
    Ok(failed(instance, why))
}

fn failed(instance: &Instance, why: &str) -> Decision {
    let next = Instance { starting: false, failure: Some(why.to_owned()), ..instance.clone() };
    let (program, name, why) = (instance.program.clone(), instance.name.clone(), why.to_owned());
    Decision {
        changes: vec![update(instance, next)],
        events: vec![(about(instance), Event::InstanceFailed { program, instance: name, why })],
        effects: vec![],
    }
}

/// It is to run no more: what was begun for a start of it is void.
pub(super) fn stop(instance: &Instance, worker: Option<&WorkerFacts>) -> Result<Decision, Refusal> {
    let (program, name) = (instance.program.clone(), instance.name.clone());
    if !is_live(status(instance, worker)) {
        return Err(Refusal::InstanceRests { program, instance: name });
    }
    let next = Instance { epoch: instance.epoch + 1, starting: false, ..instance.clone() };
    Ok(Decision {
        changes: vec![update(instance, next)],
        events: vec![(about(instance), Event::InstanceStopping { program, instance: name })],
        effects: vec![],
    })
}

/// It is set to this, beside what it is set to.
pub(super) fn configure(instance: &Instance, config: &InstanceConfig) -> Decision {
    let config = instance.config.with(config);
    if config == instance.config {
        return Decision::unchanged();
    }
    let next = Instance { config: config.clone(), ..instance.clone() };
    let (program, name) = (instance.program.clone(), instance.name.clone());
    Decision {
        changes: vec![update(instance, next)],
        events: vec![(about(instance), Event::InstanceConfigured { program, instance: name, config })],
        effects: vec![],
    }
}

/// It is forgotten; what it did is not.
pub(super) fn remove(
    InstanceFacts { instance, open_run }: &InstanceFacts,
    worker: Option<&WorkerFacts>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let (program, name) = (instance.program.clone(), instance.name.clone());
    let status = status(instance, worker);
    if is_live(status) {
        return Err(Refusal::InstanceInUse { program, instance: name, status });
    }
    let lost = open_run.iter().map(|open| {
        let ended = InstanceRun { stopped_at: Some(now), outcome: Outcome::Lost, ..open.clone() };
        Change::PutInstanceRun(ended)
    });
    Ok(Decision {
        changes: lost.chain([Change::DeleteInstance(instance.id)]).collect(),
        events: vec![(about(instance), Event::InstanceRemoved { program, instance: name })],
        effects: vec![],
    })
}

/// The change that makes a worker the one that an instance is; none if it is to be none.
pub(super) fn becomes(
    facts: &LaneFacts,
    new: &NewWorker,
    worker: WorkerId,
) -> Result<Option<Change>, Refusal> {
    let Some((id, epoch)) = new.instance else { return Ok(None) };
    let InstanceFacts { instance, .. } =
        find(facts, |instance| instance.id == id).ok_or_else(|| super::unknown("instance", &id))?;
    refuse_unless_starting(instance, epoch)?;
    let next = Instance { starting: false, worker: Some(worker), ..instance.clone() };
    Ok(Some(update(instance, next)))
}

/// What a program says, as far as it concerns the instance that it is.
pub(super) struct Following<'a> {
    facts: Option<&'a InstanceFacts>,
    instance: Option<Instance>,
    open: Option<InstanceRun>,
    /// What the program was started for is what its instance is to do.
    is_current: bool,
    asked: bool,
    done_codes: &'a [u8],
    decision: Decision,
}

impl<'a> Following<'a> {
    pub(super) fn of(facts: &'a LaneFacts, worker: &'a Worker, run: &Run) -> Self {
        let facts = find(facts, |instance| instance.worker == Some(worker.id));
        let asked = match run.state {
            RunState::Stopping(_) => run.unresponsive().is_none(),
            RunState::Starting | RunState::Running(_) | RunState::Exited(_) => false,
        };
        Self {
            facts,
            instance: facts.map(|facts| facts.instance.clone()),
            open: facts.and_then(|facts| facts.open_run.clone()),
            is_current: run.spec == worker.spec && run.state.is_live(),
            asked,
            done_codes: &worker.done_codes,
            decision: Decision::default(),
        }
    }

    /// What it says belongs to its instance, whatever it writes into that.
    pub(super) fn own(&self, data: &Value) -> Value {
        let mut data = data.clone();
        if let (Some(instance), Value::Object(fields)) = (&self.instance, &mut data) {
            fields.insert("workerId".to_owned(), instance.name.as_str().into());
        }
        data
    }

    pub(super) fn event(&mut self, name: &str, data: &Value, now: Timestamp) {
        let Some(instance) = self.instance.as_ref().filter(|_| self.is_current) else { return };
        let seen =
            Circumstances { open: self.open.as_ref(), asked: self.asked, done_codes: self.done_codes, now };
        if let Some(Told { instance, runs }) = told(instance, name, data, seen) {
            self.take(instance, runs);
        }
    }

    fn take(&mut self, instance: Instance, runs: Vec<InstanceRun>) {
        for run in runs {
            let event = if run.outcome == Outcome::Running { run_started(&run) } else { run_ended(&run) };
            self.decision.events.push((about(&instance), event));
            self.decision.changes.push(Change::PutInstanceRun(run.clone()));
            self.open = Some(run).filter(|run| run.outcome == Outcome::Running);
        }
        self.instance = Some(instance);
    }

    /// What comes of all of it.
    pub(super) fn decided(mut self) -> Decision {
        if let (Some(facts), Some(instance)) = (self.facts, self.instance)
            && facts.instance != instance
        {
            self.decision.changes.push(update(&facts.instance, instance));
        }
        self.decision
    }
}

/// The program of a run has ended, as far as that concerns the instance that its worker is.
pub(super) fn ended(
    facts: &LaneFacts,
    worker: &Worker,
    run: &Run,
    (exit, asked): (&Exit, bool),
    now: Timestamp,
) -> Decision {
    let mut following = Following::of(facts, worker, run);
    let Some(instance) = following.instance.clone().filter(|_| following.is_current) else {
        return Decision::default();
    };
    let seen = Circumstances { open: following.open.as_ref(), asked, done_codes: &worker.done_codes, now };
    let Told { mut instance, runs } = program_ended(&instance, exit, seen);
    if let Exit::NotStarted { reason } = exit {
        instance.failure = Some(reason.clone());
    }
    following.take(instance, runs);
    following.decided()
}

/// A worker whose program could never be started is taken back: its instance has none again.
pub(super) fn withdrawn(facts: &LaneFacts, worker: WorkerId, reason: &str) -> Decision {
    let Some(InstanceFacts { instance, .. }) = find(facts, |instance| instance.worker == Some(worker)) else {
        return Decision::default();
    };
    let without = Instance { worker: None, ..instance.clone() };
    failed(&without, reason)
}

fn find(facts: &LaneFacts, is_meant: impl Fn(&Instance) -> bool) -> Option<&InstanceFacts> {
    facts.instances.iter().find(|facts| is_meant(&facts.instance))
}

fn status(instance: &Instance, worker: Option<&WorkerFacts>) -> WorkerStatus {
    status_of(instance, worker.map(|facts| (&facts.worker, facts.latest.as_ref())))
}

fn refuse_unless_starting(instance: &Instance, epoch: u64) -> Result<(), Refusal> {
    if instance.starting && instance.epoch == epoch {
        return Ok(());
    }
    let (program, instance) = (instance.program.clone(), instance.name.clone());
    Err(Refusal::InstanceMovedOn { program, instance })
}

fn about_to_start(instance: &Instance, change: Change) -> Decision {
    let Instance { id, epoch, program, name, .. } = instance.clone();
    Decision {
        changes: vec![change],
        events: vec![(about(instance), Event::InstanceStarting { program, instance: name })],
        effects: vec![bring_up(id, epoch)],
    }
}

const fn bring_up(instance: InstanceId, epoch: u64) -> Effect {
    Effect::BringUp { instance, epoch }
}

fn picture_of(start: &Start, now: Timestamp) -> Picture {
    Picture {
        started_at: Some(now),
        mission: start.mission.clone(),
        model: start.model.clone(),
        dry_run: start.dry_run,
        ..Picture::default()
    }
}

fn run_started(run: &InstanceRun) -> Event {
    Event::InstanceRunStarted { program: run.program.clone(), instance: run.name.clone(), number: run.number }
}

fn run_ended(run: &InstanceRun) -> Event {
    let (program, instance) = (run.program.clone(), run.name.clone());
    Event::InstanceRunEnded { program, instance, number: run.number, outcome: run.outcome }
}

fn update(was: &Instance, instance: Instance) -> Change {
    Change::UpdateInstance { was_epoch: was.epoch, instance }
}

fn about(instance: &Instance) -> Subject {
    Subject { workspace: Some(instance.workspace), lane: instance.lane, worker: instance.worker, run: None }
}
