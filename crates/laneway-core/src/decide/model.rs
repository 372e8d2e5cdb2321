//! Random sequences of commands against a small record that is kept the way the store keeps it.

mod restarting;
mod tables;
mod talking;

use std::collections::BTreeMap;

use proptest::prelude::*;
use ulid::Ulid;

use crate::attachment::{Attachment, Role, User};
use crate::command::{
    Command, Facts, Join, LaneFacts, Merged, NewLane, NewWorker, Provisioned, Quieted, Removed, Scope,
    WorkerFacts, WorkerName, WorkerNaming,
};
use crate::decide::{decide, others_in};
use crate::decision::{Change, Decision, Effect};
use crate::event::Event;
use crate::findings::{Findings, Listed, Losses};
use crate::id::{AttachmentId, HostId, LaneId, RunId, WorkerId, WorkspaceId};
use crate::lane::{CloseTerms, Lane, LaneBranch, LaneTree, Lifecycle};
use crate::launch::TerminalSpec;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::run::{Exit, ProcessIdentity, Run, RunState};
use crate::setup::{LaneSetup, SetupPlan, SetupStart, SetupState};
use crate::supervise::{Outlook, Pacing, RestartPolicy, Supervision};
use crate::time::Timestamp;
use crate::worker::{Desired, Worker};
use restarting::{only_who_may_starts_a_run, restarts};
use tables::with_a_lane;

const WORKSPACE: WorkspaceId = WorkspaceId::from_ulid(Ulid::nil());

/// The record, applied change by change, and everything that must hold of it checked on the way.
#[derive(Debug, Default)]
struct Record {
    lanes: BTreeMap<LaneId, Lane>,
    workers: BTreeMap<WorkerId, Worker>,
    runs: BTreeMap<RunId, Run>,
    attachments: BTreeMap<AttachmentId, Attachment>,
}

impl Record {
    fn facts(&self, scope: &Scope) -> Facts {
        let lane = match scope {
            Scope::Nothing => return Facts::Nothing,
            Scope::CommonDir(_) => return Facts::CommonDir(None),
            Scope::Workspace(_) => return Facts::Workspace(Some(self.open_lanes())),
            Scope::Pool(_) => return Facts::Pool(vec![]),
            Scope::PoolTree(_) => return Facts::PoolTree(None),
            Scope::LaneAmongOthers(lane) => {
                let facts = self.lane_facts(*lane);
                return Facts::LaneAmongOthers(facts.map(|facts| (facts, self.open_lanes())));
            }
            Scope::Lane(lane) => Some(*lane),
            Scope::Worker(worker) => self.workers.get(worker).map(|worker| worker.lane),
            Scope::Run(run) => {
                let Some(run) = self.runs.get(run) else { return Facts::Lane(None) };
                let mut facts = self.lane_facts(self.workers[&run.worker].lane);
                let workers = facts.iter_mut().flat_map(|facts| &mut facts.workers);
                // Be it the latest or not: a late exit of an old run is decided on that run.
                workers.filter(|facts| facts.worker.id == run.worker).for_each(|facts| {
                    facts.latest = Some(run.clone());
                });
                return Facts::Lane(facts);
            }
            Scope::Panes(_) => return Facts::Panes(None),
            Scope::InstanceNamed(..) | Scope::Instance(_) => return Facts::Instance(None),
        };
        Facts::Lane(lane.and_then(|lane| self.lane_facts(lane)))
    }

    fn open_lanes(&self) -> Vec<Lane> {
        self.lanes.values().filter(|lane| lane.lifecycle != Lifecycle::Closed).cloned().collect()
    }

    fn latest(&self, worker: WorkerId) -> Option<&Run> {
        self.runs.values().filter(|run| run.worker == worker).max_by_key(|run| run.number)
    }

    fn lane_facts(&self, lane: LaneId) -> Option<LaneFacts> {
        let lane = self.lanes.get(&lane)?;
        let workers = self.workers.values().filter(|worker| worker.lane == lane.id);
        let workers = workers
            .map(|worker| WorkerFacts { worker: worker.clone(), latest: self.latest(worker.id).cloned() });
        let taken_names = self.workers.values().filter_map(|worker| {
            let lane = &self.lanes[&worker.lane];
            let name = worker.name.clone().filter(|_| lane.lifecycle != Lifecycle::Closed)?;
            Some(WorkerName { name, worker: worker.id, lane: lane.name.clone() })
        });
        Some(LaneFacts {
            lane: lane.clone(),
            workers: workers.collect(),
            taken_names: taken_names.collect(),
            attachments: self.attachments_in(lane.id),
            instances: vec![],
        })
    }

    fn attachments_in(&self, lane: LaneId) -> Vec<Attachment> {
        self.attachments.values().filter(|attachment| attachment.lane == lane).cloned().collect()
    }

    fn apply(&mut self, decision: &Decision) {
        for change in &decision.changes {
            match change {
                Change::InsertWorkspace(_) | Change::InsertSpec(_) => {}
                Change::InsertLane(lane) => {
                    let first = if lane.is_adopted() { Lifecycle::Open } else { Lifecycle::New };
                    assert_eq!(lane.lifecycle, first);
                    assert!(self.lanes.insert(lane.id, lane.clone()).is_none());
                }
                Change::UpdateLane { was, was_epoch, lane } => {
                    let before = &self.lanes[&lane.id];
                    assert_eq!((before.lifecycle, before.epoch), (*was, *was_epoch), "compare and set");
                    assert!(legal(*was, lane.lifecycle), "{was} → {}", lane.lifecycle);
                    assert!(lane.epoch >= before.epoch);
                    assert_eq!(lane.is_adopted(), before.is_adopted(), "whose a tree is never changes");
                    assert_eq!(lane.path, before.path);
                    assert_eq!(lane.closed_at.is_some(), lane.lifecycle == Lifecycle::Closed);
                    self.lanes.insert(lane.id, lane.clone());
                }
                Change::PutPane(_) | Change::SetLastAttached(_) => {
                    panic!("no command here is about panes")
                }
                Change::InsertInstance(_)
                | Change::UpdateInstance { .. }
                | Change::DeleteInstance(_)
                | Change::PutInstanceRun(_) => panic!("no command here is about instances"),
                Change::InsertPoolTree(_) | Change::UpdatePoolTree { .. } | Change::DeletePoolTree(_) => {
                    panic!("no command here is about the pool")
                }
                Change::InsertAttachment(attachment) => {
                    assert_eq!(self.lanes[&attachment.lane].lifecycle, Lifecycle::Open);
                    assert!(self.attachments.insert(attachment.id, attachment.clone()).is_none());
                }
                Change::UpdateAttachment { was_until, attachment } => {
                    let before = &self.attachments[&attachment.id];
                    assert_eq!(before.until, *was_until, "compare and set");
                    assert_eq!((&before.user, before.lane), (&attachment.user, attachment.lane));
                    self.attachments.insert(attachment.id, attachment.clone());
                }
                Change::DeleteAttachment(attachment) => {
                    assert!(self.attachments.remove(attachment).is_some());
                }
                Change::InsertWorker(worker) => {
                    let lane = &self.lanes[&worker.lane];
                    assert_eq!(lane.lifecycle, Lifecycle::Open);
                    let is_set_up = !matches!(lane.setup.state, SetupState::Running | SetupState::Failed);
                    assert!(worker.name.is_none() || is_set_up, "a worker in a lane that is not set up");
                    assert!(self.workers.insert(worker.id, worker.clone()).is_none());
                }
                Change::UpdateWorker(worker) => {
                    assert!(self.workers.insert(worker.id, worker.clone()).is_some());
                }
                Change::DeleteWorker(worker) => {
                    self.runs.retain(|_, run| run.worker != *worker);
                    assert!(self.workers.remove(worker).is_some());
                }
                Change::InsertRun(run) => {
                    let before = self.latest(run.worker);
                    assert_eq!(run.number, before.map_or(1, |before| before.number + 1), "numbered on");
                    assert!(
                        before
                            .is_none_or(|before| (before.spec, before.state.is_live()) == (run.spec, false))
                    );
                    let worker = &self.workers[&run.worker];
                    assert_eq!(worker.desired, Desired::Running, "nothing that was stopped comes back");
                    assert_eq!(self.lanes[&worker.lane].lifecycle, Lifecycle::Open);
                    assert!(self.runs.insert(run.id, run.clone()).is_none());
                }
                Change::UpdateRun { was, run } => {
                    let before = &self.runs[&run.id];
                    assert_eq!(before.state.as_str(), *was, "compare and set");
                    assert!(before.state.is_live(), "an ended run is final");
                    assert_eq!(run.ended_at.is_some(), !run.state.is_live());
                    self.runs.insert(run.id, run.clone());
                }
            }
        }
        self.check();
        for effect in &decision.effects {
            if let Effect::Retry { worker, epoch, at } = effect {
                let Supervision { epoch: recorded, outlook, .. } = &self.workers[worker].supervision;
                assert_eq!((recorded, outlook), (epoch, &Outlook::Retries { at: *at }), "as it is recorded");
            }
        }
    }

    fn check(&self) {
        let open: Vec<&Lane> = self.lanes.values().filter(|l| l.lifecycle != Lifecycle::Closed).collect();
        for (i, lane) in open.iter().enumerate() {
            for other in &open[..i] {
                assert_ne!(lane.name, other.name);
                if !lane.is_adopted() && !other.is_adopted() {
                    assert_ne!(lane.branch(), other.branch());
                }
                assert_ne!(lane.path, other.path);
            }
        }
        let mut users = Vec::new();
        for attachment in self.attachments.values() {
            assert_ne!(self.lanes[&attachment.lane].lifecycle, Lifecycle::Closed, "nobody uses what is over");
            let User { name, worker } = &attachment.user;
            users.push((attachment.lane, worker.is_none().then_some(name), *worker));
        }
        let n_users = users.len();
        users.sort();
        users.dedup();
        assert_eq!(users.len(), n_users, "one uses a lane once");
        let mut names = Vec::new();
        for worker in self.workers.values() {
            let lane = &self.lanes[&worker.lane];
            if lane.lifecycle != Lifecycle::Closed {
                names.extend(worker.name.clone());
            }
            let live =
                self.runs.values().filter(|run| run.worker == worker.id && run.state.is_live()).count();
            assert!(live <= 1, "no run is alive twice");
            if let Outlook::Retries { .. } = worker.supervision.outlook {
                assert_eq!((live, worker.desired), (0, Desired::Running));
                assert_eq!(lane.lifecycle, Lifecycle::Open, "nothing is started where nothing may run");
            }
            if lane.lifecycle == Lifecycle::Cleaning && live == 1 {
                assert_eq!(
                    worker.desired,
                    Desired::Stopped,
                    "a lane that is being closed wants nothing to run"
                );
            }
        }
        let n_names = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n_names, "worker names are unique while their lane is open");
    }
}

fn legal(from: Lifecycle, to: Lifecycle) -> bool {
    use Lifecycle::{Cleaning, Closed, New, Open, Provisioning};
    matches!(
        (from, to),
        (New, Provisioning | New | Closed)
            | (Provisioning, Provisioning | Open | Closed)
            | (Open, Open | Cleaning)
            | (Cleaning, Cleaning | Open | Closed)
    )
}

fn name(n: u8) -> Name {
    format!("n{n}").parse().unwrap()
}

fn lane_id(n: u8) -> LaneId {
    LaneId::from_ulid(Ulid::from(u128::from(n)))
}

fn made(branch: &str) -> LaneTree {
    LaneTree::Ours { branch: LaneBranch { name: branch.to_owned(), ours: true } }
}

fn new_worker(n: u8, task: bool) -> NewWorker {
    NewWorker {
        id: WorkerId::from_ulid(Ulid::from(u128::from(n))),
        run: RunId::from_ulid(Ulid::from(u128::from(n))),
        naming: if task { WorkerNaming::Task } else { WorkerNaming::FirstFree(name(n % 3)) },
        argv: vec!["true".into()],
        cwd: None,
        environment: String::new(),
        terminal: TerminalSpec::Pipes,
        record: false,
        restart: RestartPolicy::ALL[usize::from(n % 3)],
        done_codes: vec![n],
        channel: None,
        start_message: None,
        limits: crate::limits::RunLimits::NONE,
        forced: false,
        parent: None,
        instance: None,
    }
}

fn findings(lost: u64) -> Findings {
    let losses = Losses { untracked: Listed { first: vec![], count: lost }, ..Losses::default() };
    Findings { losses, ..Findings::default() }
}

/// What is told of runs.
fn reports() -> impl Strategy<Value = Command> {
    let run = (0..60_u8).prop_map(|n| RunId::from_ulid(Ulid::from(u128::from(n))));
    prop_oneof![
        (run.clone(), 1..9_u32).prop_map(|(run, pid)| Command::RecordStarted {
            run,
            process: ProcessIdentity { pid, start_time: 0, boot_id: String::new() },
            at: Timestamp(5)
        }),
        (run.clone(), 0..3_u8).prop_map(|(run, kind)| Command::RecordExit {
            run,
            exit: match kind {
                0 => Exit::Code { code: 1 },
                1 => Exit::Lost,
                _ => Exit::NotStarted { reason: "missing".into() },
            },
            at: Timestamp(6),
            pacing: Pacing::default(),
        }),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let lane = (0..4_u8).prop_map(lane_id);
    let epoch = 1..4_u64;
    let created = (0..4_u8, 0..4_u8, any::<bool>()).prop_map(|(id, named, adopted)| Command::CreateLane {
        lane: NewLane {
            id: lane_id(id),
            host: HostId::from_ulid(Ulid::nil()),
            workspace: WORKSPACE,
            name: name(named),
            tree: if adopted { LaneTree::Adopted { branch: None } } else { made(&format!("lane/{named}")) },
            base_ref: "main".into(),
            base_commit: "0".repeat(40),
            restored_from: None,
            path: format!("/{named}").as_str().into(),
        },
        max_lanes: 3,
    });
    let ready =
        (lane.clone(), epoch.clone(), proptest::option::of(0..20_u8)).prop_map(|(lane, epoch, first)| {
            Command::FinishProvisioning {
                lane,
                epoch,
                outcome: Provisioned::Ready {
                    branch: LaneBranch { name: format!("lane/{lane}"), ours: true },
                    warning: None,
                    setup: match first {
                        Some(n @ 0..5) => SetupStart::Begin(plan(n)),
                        Some(5..8) => SetupStart::Wait { why: None },
                        Some(_) | None => SetupStart::Nothing,
                    },
                    first: first.map(|n| Box::new(new_worker(n, false))),
                },
            }
        });
    prop_oneof![
        created,
        (lane.clone(), epoch.clone()).prop_map(|(lane, epoch)| Command::BeginProvisioning { lane, epoch }),
        ready,
        (lane.clone(), epoch.clone()).prop_map(|(lane, epoch)| Command::FinishProvisioning {
            lane,
            epoch,
            outcome: Provisioned::Failed { failure: "disk full".into() }
        }),
        (lane.clone(), 0..20_u8, any::<bool>())
            .prop_map(|(lane, n, task)| Command::RunWorker { lane, worker: new_worker(n, task) }),
        reports(),
        (0..20_u8).prop_map(|n| Command::StopWorker {
            worker: WorkerId::from_ulid(Ulid::from(u128::from(n))),
            grace_ms: 1
        }),
        restarts(),
        (lane.clone(), 0..4_u8).prop_map(|(lane, to)| Command::RenameLane { lane, to: name(to) }),
        (0..20_u8, 0..4_u8).prop_map(|(n, to)| Command::RenameWorker {
            worker: WorkerId::from_ulid(Ulid::from(u128::from(n))),
            to: name(to)
        }),
        (lane.clone(), proptest::option::of(0..2_u64), terms(), who()).prop_map(|(lane, lost, terms, by)| {
            Command::CloseLane { lane, findings: lost.map(findings), grace_ms: 1, terms, by: Some(by) }
        }),
        about_users(),
        about_setup(),
        about_closing(lane, epoch),
    ]
}

/// What comes of the steps of a close.
fn about_closing(
    lane: impl Strategy<Value = LaneId> + Clone,
    epoch: impl Strategy<Value = u64> + Clone,
) -> impl Strategy<Value = Command> {
    prop_oneof![
        (lane.clone(), epoch.clone(), any::<bool>()).prop_map(|(lane, epoch, done)| Command::FinishMerging {
            lane,
            epoch,
            outcome: if done {
                Merged::Done { into: "main".into(), commit: "1".repeat(40) }
            } else {
                Merged::Failed { failure: "a conflicts".into() }
            }
        }),
        (lane.clone(), epoch.clone(), any::<bool>()).prop_map(|(lane, epoch, quiet)| {
            Command::FinishQuieting {
                lane,
                epoch,
                outcome: if quiet { Quieted::Quiet } else { Quieted::StillAlive { what: "pid 7".into() } },
            }
        }),
        (lane.clone(), epoch.clone(), 0..2_u64).prop_map(|(lane, epoch, lost)| Command::JudgeAgain {
            lane,
            epoch,
            findings: findings(lost)
        }),
        (lane, epoch, any::<bool>()).prop_map(|(lane, epoch, gone)| Command::FinishClosing {
            lane,
            epoch,
            outcome: if gone {
                Removed::Gone { rescue: None }
            } else {
                Removed::Failed { failure: "busy".into() }
            }
        }),
    ]
}

fn plan(n: u8) -> SetupPlan {
    SetupPlan { content: format!("settings {}", n % 2), n_pieces: 1 + u32::from(n % 3) }
}

fn about_setup() -> impl Strategy<Value = Command> {
    let lane = (0..4_u8).prop_map(lane_id);
    let (epoch, piece) = (1..4_u64, 0..3_u32);
    prop_oneof![
        (lane.clone(), 0..6_u8).prop_map(|(lane, n)| Command::BeginSetup { lane, plan: plan(n) }),
        (lane.clone(), epoch.clone(), piece.clone(), 0..20_u8).prop_map(|(lane, epoch, piece, n)| {
            Command::RunSetupStep { lane, epoch, piece, name: "deps".into(), worker: new_worker(n, true) }
        }),
        (lane, epoch, piece, any::<bool>(), 0..20_u8).prop_map(|(lane, epoch, piece, done, n)| {
            Command::FinishPiece {
                lane,
                epoch,
                piece,
                outcome: if done { Ok(()) } else { Err("deps exited 1".into()) },
                first: (n % 2 == 0).then(|| Box::new(new_worker(n, false))),
            }
        }),
    ]
}

fn about_users() -> impl Strategy<Value = Command> {
    let lane = (0..4_u8).prop_map(lane_id);
    prop_oneof![
        (lane.clone(), 0..200_u8, who(), proptest::option::of(0..90_000_u64)).prop_map(
            |(lane, n, user, ttl_ms)| Command::JoinLane {
                lane,
                join: Join {
                    id: AttachmentId::from_ulid(Ulid::from(u128::from(n))),
                    user,
                    role: n.is_multiple_of(3).then_some(Role::Observer),
                    ttl_ms,
                },
            }
        ),
        (lane.clone(), who()).prop_map(|(lane, user)| Command::LeaveLane { lane, user }),
        (lane.clone(), any::<bool>()).prop_map(|(lane, shared)| Command::ShareLane { lane, shared }),
        lane.prop_map(|lane| Command::LookAtLeases { lane }),
    ]
}

/// Persons and workers, of the same names.
fn who() -> impl Strategy<Value = User> {
    let worker = proptest::option::of((0..2_u128).prop_map(|n| WorkerId::from_ulid(Ulid(n))));
    ((0..3_u8).prop_map(name), worker).prop_map(|(name, worker)| User { name, worker })
}

/// How far a clock goes on between two decisions, in microseconds: mostly a little, sometimes a jump, also back.
fn ticks() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..2_000_000_i64, 1 => 0..200_000_000_i64, 1 => -200_000_000_i64..0]
}

fn terms() -> impl Strategy<Value = CloseTerms> {
    any::<(bool, bool, bool)>().prop_map(|(discard, merge, keep_branch)| CloseTerms {
        discard,
        merge,
        keep_branch,
    })
}

proptest! {
    #[test]
    fn no_sequence_of_commands_reaches_an_illegal_state(
        commands in proptest::collection::vec((commands(), ticks()), 0..80),
    ) {
        carry_out(Record::default(), &commands)?;
    }

    #[test]
    fn whoever_uses_a_lane_does_so_once_for_as_long_as_was_asked_and_is_not_closed_out(
        commands in proptest::collection::vec((in_an_open_lane(), ticks()), 0..60),
    ) {
        let mut record = Record::default();
        let LaneFacts { lane, .. } = with_a_lane(Lifecycle::Open);
        record.lanes.insert(lane.id, lane);
        carry_out(record, &commands)?;
    }
}

fn in_an_open_lane() -> impl Strategy<Value = Command> {
    let close = (proptest::option::weighted(0.9, 0..2_u64), terms(), who()).prop_map(|(lost, terms, by)| {
        Command::CloseLane {
            lane: lane_id(0),
            findings: lost.map(findings),
            grace_ms: 1,
            terms,
            by: Some(by),
        }
    });
    let judge = (1..6_u64, 0..2_u64).prop_map(|(epoch, lost)| Command::JudgeAgain {
        lane: lane_id(0),
        epoch,
        findings: findings(lost),
    });
    let finish = (1..6_u64).prop_map(|epoch| Command::FinishClosing {
        lane: lane_id(0),
        epoch,
        outcome: Removed::Gone { rescue: None },
    });
    let users = about_users().prop_map(|mut command| {
        match &mut command {
            Command::JoinLane { lane, .. }
            | Command::LeaveLane { lane, .. }
            | Command::ShareLane { lane, .. }
            | Command::LookAtLeases { lane } => *lane = lane_id(0),
            other => panic!("not about users: {other:?}"),
        }
        command
    });
    prop_oneof![12 => users, 2 => close, 1 => judge, 1 => finish]
}

/// Decides one after the other on a clock that goes on by its tick before each.
fn carry_out(mut record: Record, commands: &[(Command, i64)]) -> Result<(), TestCaseError> {
    let mut now = Timestamp(0);
    for (command, tick) in commands {
        now = Timestamp(now.0 + tick);
        let fresh = match command {
            Command::CreateLane { lane, .. } => !record.lanes.contains_key(&lane.id),
            Command::RunWorker { worker, .. } | Command::RunSetupStep { worker, .. } => {
                !record.workers.contains_key(&worker.id)
            }
            Command::FinishPiece { first: Some(first), .. } => !record.workers.contains_key(&first.id),
            Command::JoinLane { join, .. } => !record.attachments.contains_key(&join.id),
            Command::FinishProvisioning {
                outcome: Provisioned::Ready { first: Some(first), .. }, ..
            } => !record.workers.contains_key(&first.id),
            Command::StartWorker { run, .. }
            | Command::RestartWorker { run, .. }
            | Command::RetryWorker { run, .. } => !record.runs.contains_key(run),
            _ => true,
        };
        // Ids are made once; a command with a used one cannot come.
        if !fresh {
            continue;
        }
        let facts = record.facts(&command.scope());
        let terms = match &facts {
            Facts::Lane(Some(facts)) => facts.lane.close_terms,
            _ => CloseTerms::default(),
        };
        let (lane, used_by) = match &facts {
            Facts::Lane(Some(facts)) => (Some(facts.lane.id), facts.attachments.clone()),
            _ => (None, vec![]),
        };
        let close_by = match (command, &facts) {
            (Command::CloseLane { by, .. }, _) => by.clone(),
            (_, Facts::Lane(Some(facts))) => facts.lane.close_by.clone(),
            _ => None,
        };
        match decide(&facts, command, now) {
            Ok(decision) => {
                only_who_may_starts_a_run(&record, command, &decision);
                record.apply(&decision);
                if let Some(lane) = lane {
                    check_users(&record, lane, &used_by, command, now);
                }
                let others = !others_in(&used_by, close_by.as_ref(), now).is_empty();
                let ends = decision.effects.iter().any(|effect| {
                    matches!(effect, Effect::QuietLane { .. } | Effect::Merge { .. } | Effect::Remove { .. })
                });
                let rescues = matches!(command, Command::JudgeAgain { .. })
                    && decision.effects.iter().any(|effect| matches!(effect, Effect::Rescue { .. }));
                prop_assert!(!(others && (ends || rescues)), "a lane is not closed while others use it");
                let made = decision.effects.iter().any(|e| matches!(e, Effect::Provision { .. }));
                let adopts = matches!(command, Command::CreateLane { lane, .. } if matches!(lane.tree, LaneTree::Adopted { .. }));
                prop_assert!(!(made && adopts), "nothing is made of a worktree that is there");
                let removes = decision.effects.iter().any(|e| matches!(e, Effect::Remove { .. }));
                if removes {
                    let judged =
                        matches!(command, Command::JudgeAgain { findings, .. } if findings.losses.is_empty());
                    prop_assert!(judged, "only a clean second look takes a lane away");
                }
                if decision.effects.iter().any(|e| matches!(e, Effect::Rescue { .. })) {
                    let looked =
                        matches!(command, Command::JudgeAgain { .. } | Command::FinishClosing { .. });
                    prop_assert!(looked && terms.discard, "work goes only where that was said");
                }
            }
            Err(refusal) => {
                prop_assert!(!refusal.to_string().is_empty());
                prop_assert!(!refusal.slug().is_empty());
            }
        }
    }
    Ok(())
}

/// What holds of those who use a lane after a decision in it, given those who did before.
fn check_users(record: &Record, lane: LaneId, before: &[Attachment], command: &Command, now: Timestamp) {
    let after = record.attachments_in(lane);
    if !before.is_empty() && after.is_empty() {
        assert!(!record.lanes[&lane].shared, "the last one takes the mark along");
    }
    let is_about_users = matches!(
        command,
        Command::JoinLane { .. } | Command::LeaveLane { .. } | Command::LookAtLeases { .. }
    );
    for attachment in &after {
        let known = before.iter().find(|known| known.id == attachment.id);
        if is_about_users {
            assert!(now < attachment.until, "what is over is gone");
            assert!(attachment.until.millis_since(now) <= attachment.ttl_ms(), "no lease without an end");
        }
        if let (Some(known), false) = (known, matches!(command, Command::JoinLane { .. })) {
            assert_eq!(known.ttl_ms(), attachment.ttl_ms(), "only who renews it changes its length");
        }
    }
    for known in before.iter().filter(|known| after.iter().all(|attachment| attachment.id != known.id)) {
        let has_left = matches!(command, Command::LeaveLane { user, .. } if user.is(&known.user));
        let is_over = known.until <= now || record.lanes[&lane].lifecycle == Lifecycle::Closed;
        assert!(has_left || is_over, "a live lease ends only by who has it, or with its lane");
    }
}
