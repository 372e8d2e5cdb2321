//! `decide`: what is asked, against what is recorded, becomes a decision or a refusal.
//!
//! Three answers: changed; unchanged (an idempotent repeat, [`Decision::unchanged`]); refused.
//! [`lane`] decides what happens to lanes, [`attachment`] who uses them, [`run`] what happens to workers and their
//! runs, [`channel`] what comes of what they say, [`instance`] what of that concerns instances, [`restart`] whether one run follows another, [`pane`] what is known of a worker's panes.

mod attachment;
mod channel;
mod instance;
mod lane;
#[cfg(test)]
mod model;
mod pane;
mod pool;
mod restart;
mod run;
mod setup;

pub use attachment::others_in;
pub use lane::{CloseStep, next_step, refuse_terms};

use crate::command::{Command, Facts, InstanceFacts, LaneFacts, Scope, WorkerFacts};
use crate::decision::{Change, Decision};
use crate::event::{Event, Subject};
use crate::lane::Lane;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Decides a command.
///
/// `facts` are what [`Command::scope`] asked for, read in the transaction that the decision is
/// written in. `now` is the moment of the decision.
pub fn decide(facts: &Facts, command: &Command, now: Timestamp) -> Result<Decision, Refusal> {
    match (command, facts) {
        (Command::RegisterWorkspace(workspace), Facts::CommonDir(known)) => Ok(match known {
            Some(_) => Decision::unchanged(),
            None => Decision {
                changes: vec![Change::InsertWorkspace(workspace.clone())],
                events: vec![(
                    Subject { workspace: Some(workspace.id), ..Subject::default() },
                    Event::WorkspaceRegistered { common_dir: workspace.common_dir.clone() },
                )],
                effects: vec![],
            },
        }),
        (Command::CreateLane { lane, max_lanes }, Facts::Workspace(open)) => {
            let open = open.as_ref().ok_or_else(|| unknown("workspace", &lane.workspace))?;
            lane::create(open, lane, *max_lanes, now)
        }
        (Command::RecordDaemonStarted { version, pid }, Facts::Nothing) => {
            Ok(told(Event::DaemonStarted { version: version.clone(), pid: *pid }))
        }
        (Command::RecordDaemonStopped { pid }, Facts::Nothing) => {
            Ok(told(Event::DaemonStopped { pid: *pid }))
        }
        (Command::RecordReconciled { looked_at, done, reported }, Facts::Nothing) => {
            Ok(told(Event::ReconcileCompleted { looked_at: *looked_at, done: *done, reported: *reported }))
        }
        (Command::AddPoolTree { tree, at_most }, Facts::Pool(known)) => pool::add(known, tree, *at_most),
        (Command::StepPoolTree { step, .. }, Facts::PoolTree(Some(tree))) => pool::take(tree, *step),
        (Command::RenameLane { to, .. }, Facts::LaneAmongOthers(Some((facts, open)))) => {
            lane::rename(facts, open, to)
        }
        (command, Facts::Lane(Some(facts))) => in_a_lane(facts, command, now),
        (Command::RecordPane { run, pane, .. }, Facts::Panes(Some(facts))) => {
            Ok(pane::record(facts, *run, pane))
        }
        (Command::AddPane { pane, .. }, Facts::Panes(Some(facts))) => pane::add(facts, pane),
        (Command::MovePane { server, pane_id, to, .. }, Facts::Panes(Some(facts))) => {
            Ok(pane::moved(facts, server, pane_id, to))
        }
        (Command::RecordPaneGone { server, pane_id, tag, .. }, Facts::Panes(Some(facts))) => {
            Ok(pane::gone(facts, server, pane_id, tag))
        }
        (Command::RecordAttached { worker }, Facts::Panes(Some(_))) => {
            Ok(Decision { changes: vec![Change::SetLastAttached(*worker)], ..Decision::default() })
        }
        (Command::StartInstance(new), Facts::Instance(known)) => instance::start(known.as_deref(), new, now),
        (command, Facts::Instance(Some(known))) => of_an_instance(&known.0, known.1.as_ref(), command, now),
        (
            command,
            Facts::Nothing
            | Facts::CommonDir(_)
            | Facts::Workspace(_)
            | Facts::Pool(_)
            | Facts::PoolTree(_)
            | Facts::Lane(None)
            | Facts::LaneAmongOthers(_)
            | Facts::Panes(_)
            | Facts::Instance(None),
        ) => Err(not_recorded(command)),
    }
}

fn in_a_lane(facts: &LaneFacts, command: &Command, now: Timestamp) -> Result<Decision, Refusal> {
    match command {
        Command::BeginProvisioning { epoch, .. } => lane::begin_provisioning(&facts.lane, *epoch),
        Command::FinishProvisioning { epoch, outcome, .. } => {
            lane::finish_provisioning(facts, *epoch, outcome, now)
        }
        Command::JoinLane { join, .. } => attachment::join(facts, join, now),
        Command::LeaveLane { user, .. } => Ok(attachment::leave(facts, user, now)),
        Command::ShareLane { shared, .. } => attachment::share(facts, *shared),
        Command::LookAtLeases { .. } => Ok(attachment::look_at_leases(facts, now)),
        Command::CloseLane { findings, grace_ms, terms, by, .. } => {
            let asked = lane::Close { grace_ms: *grace_ms, terms: *terms, by: by.as_ref() };
            lane::close(facts, findings.as_ref(), asked, now)
        }
        Command::FinishQuieting { epoch, outcome, .. } => lane::finish_quieting(&facts.lane, *epoch, outcome),
        Command::JudgeAgain { epoch, findings, .. } => lane::judge_again(facts, *epoch, findings, now),
        Command::FinishClosing { epoch, outcome, .. } => lane::finish_closing(facts, *epoch, outcome, now),
        Command::RunWorker { worker, .. } => run::create(facts, worker, now),
        Command::BeginSetup { plan, .. } => setup::begin(&facts.lane, plan),
        Command::RunSetupStep { epoch, piece, name, worker, .. } => {
            setup::run_step(facts, (*epoch, *piece), name, worker, now)
        }
        Command::FinishPiece { epoch, piece, outcome, first, .. } => {
            setup::finish_piece(facts, (*epoch, *piece), outcome, first.as_deref(), now)
        }
        Command::RecordStarted { run, process, at } => run::started(facts, *run, process, *at),
        Command::RecordExit { run, exit, at, pacing } => run::exited(facts, *run, (exit, *at), pacing, now),
        Command::RecordHeard { run, first, heard } => channel::heard(facts, *run, (*first, heard), now),
        Command::RecordUnresponsive { run, why } => channel::unresponsive(facts, *run, why),
        Command::StartWorker { worker, run, forced } => restart::start(facts, *worker, (*run, *forced), now),
        Command::RestartWorker { worker, run, grace_ms, forced } => {
            restart::restart(facts, *worker, (*run, *forced), *grace_ms, now)
        }
        Command::RenewWorker { worker, renewed } => restart::renew(facts, *worker, renewed, now),
        Command::RetryWorker { worker, epoch, run } => restart::retry(facts, *worker, *epoch, *run, now),
        Command::ReplanRestart { worker, epoch, at } => restart::replan(facts, *worker, *epoch, *at),
        Command::FinishMerging { epoch, outcome, .. } => lane::finish_merging(&facts.lane, *epoch, outcome),
        Command::StopWorker { worker, grace_ms } => run::stop(facts, *worker, *grace_ms),
        Command::RecordStopFailed { run, left } => run::stop_failed(facts, *run, left),
        Command::RenameWorker { worker, to } => run::rename(facts, *worker, to),
        Command::RegisterWorkspace(_)
        | Command::CreateLane { .. }
        | Command::RenameLane { .. }
        | Command::AddPoolTree { .. }
        | Command::StepPoolTree { .. }
        | Command::RecordPane { .. }
        | Command::AddPane { .. }
        | Command::MovePane { .. }
        | Command::RecordPaneGone { .. }
        | Command::RecordAttached { .. }
        | Command::StartInstance(_)
        | Command::PlaceInstance { .. }
        | Command::FailInstance { .. }
        | Command::StopInstance { .. }
        | Command::ConfigureInstance { .. }
        | Command::RemoveInstance { .. }
        | Command::RecordDaemonStarted { .. }
        | Command::RecordDaemonStopped { .. }
        | Command::RecordReconciled { .. } => Err(not_recorded(command)),
    }
}

fn of_an_instance(
    known: &InstanceFacts,
    worker: Option<&WorkerFacts>,
    command: &Command,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let instance = &known.instance;
    if let Command::PlaceInstance { epoch, lane, .. } = command {
        return instance::place(instance, *epoch, *lane);
    }
    if let Command::FailInstance { epoch, why, .. } = command {
        return instance::fail(instance, *epoch, why);
    }
    if let Command::StopInstance { .. } = command {
        return instance::stop(instance, worker);
    }
    if let Command::ConfigureInstance { config, .. } = command {
        return Ok(instance::configure(instance, config));
    }
    if let Command::RemoveInstance { .. } = command {
        return instance::remove(known, worker, now);
    }
    Err(not_recorded(command))
}

fn told(event: Event) -> Decision {
    Decision { events: vec![(Subject::default(), event)], ..Decision::default() }
}

fn unknown(what: &'static str, id: &impl ToString) -> Refusal {
    Refusal::Unknown { what, id: id.to_string() }
}

/// The refusal for a command whose subject the facts do not hold.
fn not_recorded(command: &Command) -> Refusal {
    match command.scope() {
        Scope::Nothing => unknown("subject", &"for this command"),
        Scope::CommonDir(common_dir) => unknown("workspace", &common_dir),
        Scope::Workspace(workspace) | Scope::Pool(workspace) => unknown("workspace", &workspace),
        Scope::PoolTree(tree) => unknown("pool tree", &tree),
        Scope::Lane(lane) | Scope::LaneAmongOthers(lane) => unknown("lane", &lane),
        Scope::Worker(worker) | Scope::Panes(worker) => unknown("worker", &worker),
        Scope::Run(run) => unknown("run", &run),
        Scope::InstanceNamed(_, _, name) => unknown("instance", &name),
        Scope::Instance(instance) => unknown("instance", &instance),
    }
}

fn about(lane: &Lane) -> Subject {
    Subject { workspace: Some(lane.workspace), lane: Some(lane.id), ..Subject::default() }
}
