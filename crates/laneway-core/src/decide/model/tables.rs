//! Single decisions about lanes and workers, case by case.

use super::*;

/// A record with lane `n0` in the given lifecycle and a worker with a live run in it.
pub(super) fn with_a_lane(lifecycle: Lifecycle) -> LaneFacts {
    let lane = Lane {
        id: lane_id(0),
        host: HostId::from_ulid(Ulid::nil()),
        workspace: WORKSPACE,
        epoch: 1,
        name: name(0),
        lifecycle,
        close_terms: CloseTerms::default(),
        close_by: None,
        setup: LaneSetup::default(),
        restored_from: None,
        close_requested: false,
        failure: None,
        tree: made("lane/n0"),
        base_ref: "main".into(),
        base_commit: "0".repeat(40),
        path: "/n0".into(),
        shared: false,
        created_at: Timestamp(0),
        closed_at: None,
    };
    let worker = Worker {
        id: WorkerId::from_ulid(Ulid::from(1_u128)),
        workspace: WORKSPACE,
        lane: lane.id,
        name: Some(name(0)),
        desired: Desired::Running,
        restart: RestartPolicy::Never,
        done_codes: vec![],
        channel: None,
        start_message: None,
        limits: crate::limits::RunLimits::NONE,
        spec: 1,
        parent: None,
        supervision: Supervision::default(),
        created_at: Timestamp(0),
    };
    let run = Run {
        id: RunId::from_ulid(Ulid::from(1_u128)),
        worker: worker.id,
        number: 2,
        spec: 1,
        state: RunState::Running(ProcessIdentity { pid: 5, start_time: 0, boot_id: String::new() }),
        created_at: Timestamp(0),
        started_at: Some(Timestamp(0)),
        ended_at: None,
        channel: None,
    };
    let taken = WorkerName { name: name(0), worker: worker.id, lane: lane.name.clone() };
    LaneFacts {
        lane,
        workers: vec![WorkerFacts { worker, latest: Some(run) }],
        taken_names: vec![taken],
        attachments: vec![],
        instances: vec![],
    }
}

pub(super) fn decided(facts: &LaneFacts, command: &Command) -> Result<Decision, Refusal> {
    decide(&Facts::Lane(Some(facts.clone())), command, Timestamp(9))
}

#[test]
fn a_close_that_would_lose_work_is_refused_and_changes_nothing() {
    let facts = with_a_lane(Lifecycle::Open);
    let close = Command::CloseLane {
        lane: lane_id(0),
        findings: Some(findings(1)),
        grace_ms: 1,
        terms: CloseTerms::default(),
        by: None,
    };
    assert!(matches!(decided(&facts, &close), Err(Refusal::WouldLose { .. })));
}

#[test]
fn work_that_turns_up_while_closing_brings_the_lane_back_to_open() {
    let mut facts = with_a_lane(Lifecycle::Cleaning);
    facts.lane.epoch = 2;
    let again = Command::JudgeAgain { lane: lane_id(0), epoch: 2, findings: findings(1) };
    let decision = decided(&facts, &again).unwrap();
    assert!(
        matches!(&decision.changes[..], [Change::UpdateLane { lane, .. }] if lane.lifecycle == Lifecycle::Open && lane.epoch == 3)
    );
    assert!(matches!(decision.events[0].1, Event::LaneCloseRefused { .. }));
    assert!(decision.effects.is_empty());
}

#[test]
fn a_remembered_close_that_would_lose_work_is_over_and_does_not_come_back() {
    let mut facts = with_a_lane(Lifecycle::Open);
    let close = |lost: Option<u64>| Command::CloseLane {
        lane: lane_id(0),
        findings: lost.map(findings),
        grace_ms: 1,
        terms: CloseTerms::default(),
        by: None,
    };
    let remembered = decided(&facts, &close(None)).unwrap();
    assert_eq!(remembered.effects, [Effect::CloseRemembered { lane: lane_id(0) }]);
    let [Change::UpdateLane { lane, .. }] = &remembered.changes[..] else { panic!("{remembered:?}") };
    facts.lane = lane.clone();
    let refused = decided(&facts, &close(Some(1))).unwrap();
    assert!(matches!(&refused.changes[..], [Change::UpdateLane { lane, .. }] if !lane.close_requested));
    assert!(matches!(refused.events[..], [(_, Event::LaneCloseRefused { .. })]));
    assert_eq!(refused.effects, []);
}

#[test]
fn commits_are_merged_first_and_then_looked_at_again() {
    let mut facts = with_a_lane(Lifecycle::Cleaning);
    let (lane, epoch) = (lane_id(0), 1);
    facts.lane.close_terms = CloseTerms { merge: true, ..CloseTerms::default() };
    let commits = Listed { first: vec![], count: 1 };
    let losses = Losses { commits, ..Losses::default() };
    let again = Command::JudgeAgain { lane, epoch, findings: Findings { losses, stashes: 0 } };
    assert_eq!(decided(&facts, &again).unwrap().effects, [Effect::Merge { lane, epoch }]);
    let dirty = Command::JudgeAgain { lane, epoch, findings: findings(1) };
    assert_eq!(decided(&facts, &dirty).unwrap().effects, [], "a merge is no consent to lose files");
    let outcome = Merged::Done { into: "main".into(), commit: "1".repeat(40) };
    let merged = decided(&facts, &Command::FinishMerging { lane, epoch, outcome }).unwrap();
    assert_eq!(merged.effects, [Effect::Judge { lane, epoch }]);
    let [Change::UpdateLane { lane: after, .. }] = &merged.changes[..] else { panic!("{merged:?}") };
    assert!(!after.close_terms.merge, "else it would go round for ever");
    let outcome = Merged::Failed { failure: "a conflicts".into() };
    let failed = decided(&facts, &Command::FinishMerging { lane, epoch, outcome }).unwrap();
    let [Change::UpdateLane { lane: after, .. }] = &failed.changes[..] else { panic!("{failed:?}") };
    assert_eq!((after.lifecycle, after.failure.as_deref()), (Lifecycle::Open, Some("a conflicts")));
}

#[test]
fn with_consent_what_would_be_lost_is_rescued_and_a_clean_lane_just_goes() {
    let mut facts = with_a_lane(Lifecycle::Open);
    let (lane, terms) = (lane_id(0), CloseTerms { discard: true, ..CloseTerms::default() });
    let close = Command::CloseLane { lane, findings: Some(findings(1)), grace_ms: 1, terms, by: None };
    let Change::UpdateLane { lane: cleaning, .. } = decided(&facts, &close).unwrap().changes.swap_remove(0)
    else {
        panic!("it is not cleaning")
    };
    assert_eq!((cleaning.lifecycle, cleaning.close_terms), (Lifecycle::Cleaning, terms));
    facts.lane = cleaning;
    let epoch = facts.lane.epoch;
    let again = |lost| Command::JudgeAgain { lane, epoch, findings: findings(lost) };
    assert_eq!(decided(&facts, &again(1)).unwrap().effects, [Effect::Rescue { lane, epoch }]);
    assert_eq!(decided(&facts, &again(0)).unwrap().effects, [Effect::Remove { lane, epoch }]);
}

#[test]
fn what_was_begun_in_an_older_epoch_is_void() {
    let mut facts = with_a_lane(Lifecycle::Cleaning);
    facts.lane.epoch = 3;
    let late = Command::JudgeAgain { lane: lane_id(0), epoch: 2, findings: findings(0) };
    assert_eq!(decided(&facts, &late), Err(Refusal::MovedOn { lane: name(0) }));
}

#[test]
fn closing_a_closed_lane_and_reporting_an_exit_twice_change_nothing() {
    let facts = with_a_lane(Lifecycle::Closed);
    let close = Command::CloseLane {
        lane: lane_id(0),
        findings: None,
        grace_ms: 1,
        terms: CloseTerms::default(),
        by: None,
    };
    assert_eq!(decided(&facts, &close), Ok(Decision::unchanged()));

    let mut facts = with_a_lane(Lifecycle::Open);
    let run = RunId::from_ulid(Ulid::from(1_u128));
    facts.workers[0].latest.as_mut().unwrap().state = RunState::Exited(Exit::Code { code: 3 });
    let exit = Command::RecordExit { run, exit: Exit::Lost, at: Timestamp(9), pacing: Pacing::default() };
    assert_eq!(decided(&facts, &exit), Ok(Decision::unchanged().then(Effect::ReleaseHolder { run })));
}

#[test]
fn a_stop_during_the_start_is_carried_out_once_the_program_runs() {
    let mut facts = with_a_lane(Lifecycle::Open);
    facts.workers[0].latest.as_mut().unwrap().state = RunState::Stopping(None);
    let run = RunId::from_ulid(Ulid::from(1_u128));
    let process = ProcessIdentity { pid: 5, start_time: 0, boot_id: String::new() };
    let decision = decided(&facts, &Command::RecordStarted { run, process, at: Timestamp(1) }).unwrap();
    assert!(matches!(decision.effects[..], [Effect::StopRun { .. }]));
}

#[test]
fn a_closed_lane_is_brought_back_by_one_lane_at_a_time() {
    let (closed, other) = (lane_id(8), lane_id(9));
    for (there, new, is_refused) in [
        (Some(closed), Some(closed), true),
        (Some(closed), Some(other), false),
        (Some(closed), None, false),
        (None, Some(closed), false),
        (None, None, false),
    ] {
        for lifecycle in [Lifecycle::New, Lifecycle::Provisioning, Lifecycle::Open, Lifecycle::Cleaning] {
            let open = Lane { restored_from: there, ..with_a_lane(lifecycle).lane };
            let lane = NewLane {
                id: lane_id(1),
                host: open.host,
                workspace: WORKSPACE,
                name: name(1),
                tree: made("lane/n1"),
                base_ref: "main".into(),
                base_commit: "0".repeat(40),
                path: "/n1".into(),
                restored_from: new,
            };
            let create = Command::CreateLane { lane, max_lanes: 9 };
            let decision = decide(&Facts::Workspace(Some(vec![open])), &create, Timestamp(9));
            let refusal = Refusal::BackAlready { lane: name(0) };
            assert_eq!(
                decision.as_ref().err(),
                is_refused.then_some(&refusal),
                "{there:?} {new:?} {lifecycle}"
            );
        }
    }
}

/// Renames lane `n0` while these are open beside it.
fn lane_renamed(facts: &LaneFacts, others: &[Lane], to: u8) -> Result<Decision, Refusal> {
    let open: Vec<Lane> = std::iter::once(&facts.lane).chain(others).cloned().collect();
    let command = Command::RenameLane { lane: facts.lane.id, to: name(to) };
    decide(&Facts::LaneAmongOthers(Some((facts.clone(), open))), &command, Timestamp(9))
}

#[test]
fn a_lane_takes_the_worker_that_is_called_like_it_along_to_its_new_name() {
    let facts = with_a_lane(Lifecycle::Open);
    let decision = lane_renamed(&facts, &[], 1).unwrap();
    let [Change::UpdateLane { lane, .. }, Change::UpdateWorker(worker)] = &decision.changes[..] else {
        panic!("{decision:?}")
    };
    assert_eq!((&lane.name, &worker.name), (&name(1), &Some(name(1))));
    assert_eq!((lane.branch(), &lane.path), (facts.lane.branch(), &facts.lane.path), "they keep theirs");
    assert_eq!(decision.effects, [Effect::LabelTree { lane: lane.id }]);
    assert_eq!(lane_renamed(&facts, &[], 0), Ok(Decision::unchanged()));
    let adopted = LaneTree::Adopted { branch: None };
    let adopted = LaneFacts { lane: Lane { tree: adopted, ..facts.lane.clone() }, ..facts };
    assert_eq!(lane_renamed(&adopted, &[], 1).unwrap().effects, [], "git's entry is somebody's own");
}

#[test]
fn a_name_that_is_taken_is_refused_with_what_has_it() {
    let mut facts = with_a_lane(Lifecycle::Open);
    let other = Lane { id: lane_id(1), name: name(1), path: "/n1".into(), ..facts.lane.clone() };
    let refused = lane_renamed(&facts, std::slice::from_ref(&other), 1);
    assert_eq!(refused, Err(Refusal::LaneNameTaken { name: name(1), lifecycle: Lifecycle::Open }));
    // No lane has it, but the worker that goes along with the lane cannot have it.
    let worker = WorkerId::from_ulid(Ulid::from(7_u128));
    facts.taken_names.push(WorkerName { name: name(2), worker, lane: other.name.clone() });
    let refused = lane_renamed(&facts, std::slice::from_ref(&other), 2);
    let taken = Refusal::WorkerNameTaken { name: name(2), lane: name(1) };
    assert_eq!(refused, Err(taken.clone()));
    let worker = facts.workers[0].worker.id;
    assert_eq!(decided(&facts, &Command::RenameWorker { worker, to: name(2) }), Err(taken));
    // Without that worker the name is free for the lane.
    facts.workers.clear();
    assert!(lane_renamed(&facts, &[other], 2).is_ok());
    for lifecycle in [Lifecycle::New, Lifecycle::Provisioning, Lifecycle::Cleaning, Lifecycle::Closed] {
        let refused = lane_renamed(&with_a_lane(lifecycle), &[], 3);
        assert_eq!(refused, Err(Refusal::LaneNotOpen { lane: name(0), lifecycle }));
    }
}

#[test]
fn a_task_has_no_name_to_change() {
    let mut facts = with_a_lane(Lifecycle::Open);
    let worker = facts.workers[0].worker.id;
    facts.workers[0].worker.name = None;
    let refused = decided(&facts, &Command::RenameWorker { worker, to: name(1) });
    assert_eq!(refused, Err(Refusal::TaskHasNoName { worker }));
}
