//! Workers that are started again, one decision after the other.

use proptest::prelude::*;
use ulid::Ulid;

use super::tables::{decided, with_a_lane};
use super::{Record, name};
use crate::command::{Command, Facts, LaneFacts};
use crate::decide::decide;
use crate::decision::{Change, Decision, Effect};
use crate::event::Event;
use crate::id::{RunId, WorkerId};
use crate::lane::Lifecycle;
use crate::launch::GRACE_TO_GO_ON_MS;
use crate::refusal::Refusal;
use crate::run::{Exit, RunState};
use crate::supervise::{Outlook, Pacing, RestartPolicy, Supervision};
use crate::time::Timestamp;
use crate::worker::{Desired, WorkerStatus};

/// Whatever can be asked of a worker between its runs.
pub(super) fn restarts() -> impl Strategy<Value = Command> {
    let worker = (0..20_u8).prop_map(|n| WorkerId::from_ulid(Ulid::from(u128::from(n))));
    let run = (20..60_u8).prop_map(|n| RunId::from_ulid(Ulid::from(u128::from(n))));
    prop_oneof![
        (worker.clone(), run.clone()).prop_map(|(worker, run)| Command::StartWorker {
            worker,
            run,
            forced: false
        }),
        (worker.clone(), run.clone()).prop_map(|(worker, run)| Command::RestartWorker {
            worker,
            run,
            grace_ms: 1,
            forced: false,
        }),
        (worker.clone(), 0..6_u64, run).prop_map(|(worker, epoch, run)| Command::RetryWorker {
            worker,
            epoch,
            run
        }),
        (worker, 0..6_u64).prop_map(|(worker, epoch)| Command::ReplanRestart {
            worker,
            epoch,
            at: Timestamp(7)
        }),
    ]
}

/// A run follows another because somebody asks for it, or as it was planned; and a report about a run changes no other.
pub(super) fn only_who_may_starts_a_run(record: &Record, command: &Command, decision: &Decision) {
    for effect in &decision.effects {
        if let Effect::StartRun { run } = effect {
            assert_eq!(command.new_run(), Some(*run), "known before it is recorded");
        }
    }
    for change in &decision.changes {
        match change {
            Change::InsertRun(run) if run.number > 1 => match command {
                Command::StartWorker { .. } | Command::RestartWorker { .. } => {}
                Command::RetryWorker { worker, epoch, .. } => {
                    let supervision = &record.workers[worker].supervision;
                    assert_eq!(supervision.epoch, *epoch, "a plan of before is void");
                    assert!(supervision.next_try_at().is_some());
                }
                other => panic!("{other:?} starts a worker again"),
            },
            Change::UpdateRun { run, .. } => {
                if let Command::RecordExit { run: about, .. } | Command::RecordStarted { run: about, .. } =
                    command
                {
                    assert_eq!(run.id, *about, "keyed by its run");
                }
            }
            Change::UpdateWorker(worker) => {
                if let Command::RecordExit { .. } = command
                    && worker.supervision.next_try_at().is_some()
                {
                    let before = &record.workers[&worker.id];
                    let latest = record.latest(worker.id).expect("it has ended");
                    let asked = matches!(latest.state, RunState::Stopping(_));
                    assert!(asked || before.restart != RestartPolicy::Never);
                    assert_eq!(before.desired, Desired::Running);
                }
            }
            _ => {}
        }
    }
}

/// The lane's facts after the command, applied to the one worker in it.
fn after(facts: &LaneFacts, command: &Command, now: Timestamp) -> (LaneFacts, Decision) {
    let decision = decide(&Facts::Lane(Some(facts.clone())), command, now).unwrap();
    let mut facts = facts.clone();
    for change in &decision.changes {
        match change {
            Change::UpdateWorker(worker) => facts.workers[0].worker = worker.clone(),
            Change::InsertRun(run) | Change::UpdateRun { run, .. } => {
                facts.workers[0].latest = Some(run.clone());
            }
            other => panic!("{other:?}"),
        }
    }
    (facts, decision)
}

fn run_id(n: u8) -> RunId {
    RunId::from_ulid(Ulid::from(u128::from(n)))
}

fn ends(run: RunId, exit: Exit, at: Timestamp) -> Command {
    Command::RecordExit { run, exit, at, pacing: Pacing::default() }
}

#[test]
fn a_failing_worker_is_tried_again_later_and_later_and_then_given_up() {
    let mut facts = with_a_lane(Lifecycle::Open);
    facts.workers[0].worker.restart = RestartPolicy::OnFailure;
    let worker = facts.workers[0].worker.id;
    let (mut run, mut now, mut delays) = (run_id(1), Timestamp(1), vec![]);
    for n in 2..8 {
        let (ended, decision) = after(&facts, &ends(run, Exit::Signal { signal: 9 }, now), now);
        facts = ended;
        let planned = decision.effects.iter().find_map(|effect| match effect {
            Effect::Retry { epoch, at, .. } => Some((*epoch, *at)),
            _ => None,
        });
        let Some((epoch, at)) = planned else { break };
        delays.push(at.millis_since(now));
        let status = facts.workers[0].worker.status(facts.workers[0].latest.as_ref());
        assert_eq!(status, WorkerStatus::Backoff);
        (now, run) = (at, run_id(n));
        let void = Command::RetryWorker { worker, epoch: epoch - 1, run };
        assert_eq!(decided(&facts, &void), Ok(Decision::unchanged()));
        (facts, _) = after(&facts, &Command::RetryWorker { worker, epoch, run }, now);
    }
    assert_eq!(delays, [1_000, 2_000, 4_000, 8_000, 16_000]);
    let given_up = facts.workers[0].worker.supervision.given_up();
    assert_eq!(given_up, Some("failed 6 times within 10 min"));
    let status = facts.workers[0].worker.status(facts.workers[0].latest.as_ref());
    assert_eq!(status, WorkerStatus::Failed);
    // Only somebody who asks for it starts it again, and then nothing is counted.
    let (facts, decision) =
        after(&facts, &Command::StartWorker { worker, run: run_id(9), forced: false }, now);
    assert_eq!(decision.effects, [Effect::StartRun { run: run_id(9) }]);
    let Supervision { n_restarts, failed_at, outlook, .. } = &facts.workers[0].worker.supervision;
    assert_eq!((*n_restarts, failed_at.len(), outlook), (0, 0, &Outlook::Rests));
}

#[test]
fn a_start_during_a_stop_asks_for_the_stop_again_and_shortens_nothing() {
    let mut facts = with_a_lane(Lifecycle::Open);
    facts.workers[0].latest.as_mut().unwrap().state = RunState::Stopping(None);
    let start = Command::StartWorker { worker: facts.workers[0].worker.id, run: run_id(9), forced: false };
    for desired in [Desired::Stopped, Desired::Running] {
        facts.workers[0].worker.desired = desired;
        let decision = decided(&facts, &start).unwrap();
        let stop = Effect::StopRun { run: run_id(1), grace_ms: GRACE_TO_GO_ON_MS };
        assert_eq!(decision.effects, [stop], "{desired:?}");
    }
}

#[test]
fn a_stop_ends_every_wish_to_run_and_a_late_exit_does_not_bring_it_back() {
    let mut facts = with_a_lane(Lifecycle::Open);
    facts.workers[0].worker.restart = RestartPolicy::Always;
    let (worker, run, now) = (facts.workers[0].worker.id, run_id(1), Timestamp(1));
    let stop = Command::StopWorker { worker, grace_ms: 1 };
    // While it runs.
    let (stopping, _) = after(&facts, &stop, now);
    let (stopped, decision) = after(&stopping, &ends(run, Exit::Signal { signal: 15 }, now), now);
    assert_eq!(decision.effects, [Effect::ReleaseHolder { run }]);
    assert_eq!(stopped.workers[0].worker.supervision.outlook, Outlook::Rests);
    // While it waits for its next run: that timer is void.
    let (waiting, _) = after(&facts, &ends(run, Exit::Lost, now), now);
    let epoch = waiting.workers[0].worker.supervision.epoch;
    let (stopped, decision) = after(&waiting, &stop, now);
    assert!(matches!(decision.events[..], [(_, Event::RestartCancelled {})]));
    let retry = Command::RetryWorker { worker, epoch, run: run_id(2) };
    assert_eq!(decided(&stopped, &retry), Ok(Decision::unchanged()));
    // While it is stopped to be started again.
    let restart = Command::RestartWorker { worker, run: run_id(2), grace_ms: 1, forced: false };
    let (restarting, _) = after(&facts, &restart, now);
    let (stopped, _) = after(&restarting, &stop, now);
    let (_, decision) = after(&stopped, &ends(run, Exit::Code { code: 0 }, now), now);
    assert_eq!(decision.effects, [Effect::ReleaseHolder { run }]);
}

#[test]
fn stop_start_and_the_exit_in_any_order_leave_it_as_it_was_asked_for_last() {
    let facts = with_a_lane(Lifecycle::Open);
    let (worker, run, now) = (facts.workers[0].worker.id, run_id(1), Timestamp(1));
    let stop = Command::StopWorker { worker, grace_ms: 1 };
    let start = Command::StartWorker { worker, run: run_id(2), forced: false };
    let exit = ends(run, Exit::Signal { signal: 15 }, now);
    let is_retried = |decision: &Decision| decision.effects.iter().any(|e| matches!(e, Effect::Retry { .. }));
    let (stopping, _) = after(&facts, &stop, now);
    // The start comes before the exit: it is done next.
    let (wanted, decision) = after(&stopping, &start, now);
    assert!(matches!(decision.events[..], [(_, Event::StartRemembered {})]));
    let once_more = decided(&wanted, &start).unwrap();
    assert!(once_more.events.is_empty() && once_more.changes.is_empty(), "once is enough");
    let (waiting, decision) = after(&wanted, &exit, now);
    assert!(is_retried(&decision));
    // The exit comes first, and comes again when the next run is there: that run is left alone.
    let (stopped, decision) = after(&stopping, &exit, now);
    assert!(!is_retried(&decision));
    let (started, decision) = after(&stopped, &start, now);
    assert_eq!(decision.effects, [Effect::StartRun { run: run_id(2) }]);
    let mut late = started.clone();
    late.workers[0].latest = stopped.workers[0].latest.clone();
    assert_eq!(decided(&late, &exit), Ok(Decision::unchanged().then(Effect::ReleaseHolder { run })));
    // A start while it waits for its next run is that run.
    let (_, decision) = after(&waiting, &start, now);
    assert_eq!(decision.effects, [Effect::StartRun { run: run_id(2) }]);
}

#[test]
fn nothing_is_started_in_a_lane_that_is_not_open_and_no_task_twice() {
    for lifecycle in [Lifecycle::New, Lifecycle::Provisioning, Lifecycle::Cleaning, Lifecycle::Closed] {
        let mut facts = with_a_lane(lifecycle);
        facts.workers[0].worker.restart = RestartPolicy::Always;
        let worker = facts.workers[0].worker.id;
        let (ended, decision) = after(&facts, &ends(run_id(1), Exit::Lost, Timestamp(1)), Timestamp(1));
        assert_eq!(decision.effects, [Effect::ReleaseHolder { run: run_id(1) }]);
        let start = Command::StartWorker { worker, run: run_id(2), forced: false };
        assert_eq!(decided(&ended, &start), Err(Refusal::LaneNotOpen { lane: name(0), lifecycle }));
    }
    let mut facts = with_a_lane(Lifecycle::Open);
    facts.workers[0].worker.name = None;
    let worker = facts.workers[0].worker.id;
    let start = Command::RestartWorker { worker, run: run_id(2), grace_ms: 1, forced: false };
    assert_eq!(decided(&facts, &start), Err(Refusal::TaskRunsOnce { worker }));
}
