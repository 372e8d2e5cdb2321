//! Random commands: what the store answers and holds is what the core decides on a record in memory.

use std::collections::BTreeMap;

use laneway_core::attachment::{Attachment, Role, User};
use laneway_core::command::{
    Command, Facts, Join, LaneFacts, NewLane, PaneFacts, Provisioned, Quieted, Removed, Scope, WorkerFacts,
    WorkerName, WorkerNaming,
};
use laneway_core::decide::decide;
use laneway_core::decision::{Change, Decision};
use laneway_core::event::{Event, Subject};
use laneway_core::findings::{Findings, Listed, Losses};
use laneway_core::id::{AttachmentId, LaneId, RunId, WorkerId, WorkspaceId};
use laneway_core::lane::{CloseTerms, Lane, LaneBranch, LaneTree, Lifecycle};
use laneway_core::launch::{LaunchSpec, TerminalSpec};
use laneway_core::limits::LimitKind;
use laneway_core::os_text::OsText;
use laneway_core::pane::{Pane, PaneIdentity, PanePlace, TmuxServer};
use laneway_core::run::{Exit, ProcessIdentity, Run};
use laneway_core::setup::SetupStart;
use laneway_core::supervise::Pacing;
use laneway_core::time::Timestamp;
use laneway_core::worker::Worker;
use laneway_core::workspace::Workspace;
use laneway_store::{NewHost, RunRow, Store, SubmitError, WorkerRow, WorkersOf};
use proptest::prelude::*;

use crate::support::*;

/// The clock of this test stands still, so that both sides decide at the same moment.
const NOW: Timestamp = Timestamp(1_234_567);

#[derive(Default)]
struct Memory {
    workspaces: BTreeMap<WorkspaceId, Workspace>,
    lanes: BTreeMap<LaneId, Lane>,
    workers: BTreeMap<WorkerId, Worker>,
    specs: BTreeMap<(WorkerId, u32), LaunchSpec>,
    runs: BTreeMap<RunId, Run>,
    attachments: BTreeMap<AttachmentId, Attachment>,
    panes: BTreeMap<(WorkerId, u32), Pane>,
    last_attached: Option<WorkerId>,
    events: Vec<(Subject, Event)>,
}

impl Memory {
    fn latest(&self, worker: WorkerId) -> Option<&Run> {
        self.runs.values().filter(|run| run.worker == worker).max_by_key(|run| run.number)
    }

    fn facts(&self, scope: &Scope) -> Facts {
        let lane = match scope {
            Scope::Nothing => return Facts::Nothing,
            Scope::CommonDir(dir) => {
                return Facts::CommonDir(self.workspaces.values().find(|w| w.common_dir == *dir).cloned());
            }
            Scope::Workspace(id) => {
                let known = self.workspaces.contains_key(id);
                return Facts::Workspace(known.then(|| self.open_lanes()));
            }
            Scope::LaneAmongOthers(lane) => {
                let facts = self.lane_facts(*lane);
                return Facts::LaneAmongOthers(facts.map(|facts| (facts, self.open_lanes())));
            }
            Scope::Pool(_) => return Facts::Pool(vec![]),
            Scope::PoolTree(_) => return Facts::PoolTree(None),
            Scope::Lane(lane) => Some(*lane),
            Scope::Worker(worker) => self.workers.get(worker).map(|worker| worker.lane),
            Scope::Run(run) => {
                let Some(run) = self.runs.get(run) else { return Facts::Lane(None) };
                let mut facts = self.lane_facts(self.workers[&run.worker].lane);
                let workers = facts.iter_mut().flat_map(|facts| &mut facts.workers);
                workers.filter(|facts| facts.worker.id == run.worker).for_each(|facts| {
                    facts.latest = Some(run.clone());
                });
                return Facts::Lane(facts);
            }
            Scope::InstanceNamed(..) | Scope::Instance(_) => return Facts::Instance(None),
            Scope::Panes(worker) => {
                return Facts::Panes(self.workers.get(worker).map(|known| PaneFacts {
                    worker: known.clone(),
                    latest: self.latest(*worker).cloned(),
                    panes: self.panes_of(*worker),
                }));
            }
        };
        Facts::Lane(lane.and_then(|lane| self.lane_facts(lane)))
    }

    fn panes_of(&self, worker: WorkerId) -> Vec<Pane> {
        self.panes.values().filter(|pane| pane.worker == worker).cloned().collect()
    }

    fn open_lanes(&self) -> Vec<Lane> {
        self.lanes.values().filter(|lane| lane.lifecycle != Lifecycle::Closed).cloned().collect()
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
            attachments: self.users(Some(lane.id)),
            instances: vec![],
        })
    }

    fn users(&self, lane: Option<LaneId>) -> Vec<Attachment> {
        let mut users: Vec<Attachment> = self.attachments.values().cloned().collect();
        users.retain(|user| lane.is_none_or(|lane| user.lane == lane));
        users.sort_by_key(|user| (user.lane, user.id));
        users
    }

    fn apply(&mut self, decision: &Decision) {
        for change in &decision.changes {
            match change.clone() {
                Change::InsertWorkspace(new) => drop(self.workspaces.insert(new.id, new)),
                Change::InsertLane(lane) | Change::UpdateLane { lane, .. } => {
                    drop(self.lanes.insert(lane.id, lane));
                }
                Change::InsertInstance(_)
                | Change::UpdateInstance { .. }
                | Change::DeleteInstance(_)
                | Change::PutInstanceRun(_) => panic!("no command here is about instances"),
                Change::InsertPoolTree(_) | Change::UpdatePoolTree { .. } | Change::DeletePoolTree(_) => {
                    panic!("no command here is about the pool")
                }
                Change::InsertAttachment(new) | Change::UpdateAttachment { attachment: new, .. } => {
                    drop(self.attachments.insert(new.id, new));
                }
                Change::DeleteAttachment(id) => drop(self.attachments.remove(&id)),
                Change::InsertWorker(new) | Change::UpdateWorker(new) => {
                    drop(self.workers.insert(new.id, new));
                }
                Change::DeleteWorker(worker) => {
                    self.workers.remove(&worker);
                    self.runs.retain(|_, run| run.worker != worker);
                    self.specs.retain(|_, spec| spec.worker != worker);
                    self.panes.retain(|_, pane| pane.worker != worker);
                }
                Change::PutPane(pane) => drop(self.panes.insert((pane.worker, pane.number), pane)),
                Change::SetLastAttached(worker) => self.last_attached = Some(worker),
                Change::InsertSpec(spec) => drop(self.specs.insert((spec.worker, spec.number), spec)),
                Change::InsertRun(run) | Change::UpdateRun { run, .. } => drop(self.runs.insert(run.id, run)),
            }
        }
        self.events.extend(decision.events.iter().cloned());
    }

    /// Every question that the store answers has the answer that this record gives.
    fn assert_is_held_by(&self, store: &Store) {
        let worker_row = |worker: &Worker| {
            let latest = self.latest(worker.id).cloned();
            let spec = latest.as_ref().map(|run| self.specs[&(worker.id, run.spec)].clone());
            let panes = self.panes_of(worker.id).into_iter().filter(|pane| !pane.gone).collect();
            WorkerRow { worker: worker.clone(), latest, spec, panes }
        };
        let there: Vec<Pane> = self.panes.values().filter(|pane| !pane.gone).cloned().collect();
        assert_eq!(store.panes().unwrap(), there);
        assert_eq!(store.last_attached().unwrap(), self.last_attached);
        for worker in self.workers.keys() {
            assert_eq!(store.panes_of_worker(*worker).unwrap(), self.panes_of(*worker));
        }
        let run_row = |run: &Run| RunRow {
            run: run.clone(),
            worker: self.workers[&run.worker].clone(),
            spec: self.specs[&(run.worker, run.spec)].clone(),
        };
        assert_eq!(store.workspaces().unwrap(), self.workspaces.values().cloned().collect::<Vec<_>>());
        let all: Vec<Lane> = self.lanes.values().cloned().collect();
        let open: Vec<Lane> =
            all.iter().filter(|lane| lane.lifecycle != Lifecycle::Closed).cloned().collect();
        let unfinished =
            open.iter().filter(|lane| lane.lifecycle != Lifecycle::Open || lane.close_requested).cloned();
        assert_eq!(store.unfinished_lanes().unwrap(), unfinished.collect::<Vec<_>>());
        for workspace in [None, Some(WORKSPACE)] {
            assert_eq!(store.lanes(workspace, true).unwrap(), all);
            assert_eq!(store.lanes(workspace, false).unwrap(), open);
        }
        for lane in &all {
            let workers = self.workers.values().filter(|worker| worker.lane == lane.id).map(worker_row);
            assert_eq!(store.workers(WorkersOf::Lane(lane.id)).unwrap(), workers.collect::<Vec<_>>());
            assert_eq!(store.attachments(Some(lane.id)).unwrap(), self.users(Some(lane.id)));
        }
        assert_eq!(store.attachments(None).unwrap(), self.users(None));
        let ends: Vec<Timestamp> = self.attachments.values().map(|user| user.until).collect();
        assert_eq!(store.leases_to_look_at(NOW).unwrap(), (vec![], ends.iter().min().copied()));
        let all_are_over = store.leases_to_look_at(Timestamp(i64::MAX)).unwrap();
        let mut used: Vec<LaneId> = self.attachments.values().map(|user| user.lane).collect();
        used.sort();
        used.dedup();
        assert_eq!((all_are_over.0.len(), all_are_over.1), (used.len(), None));
        let set_back = store.leases_to_look_at(Timestamp(NOW.0 - 1)).unwrap();
        assert_eq!((set_back.0.len(), set_back.1), (used.len(), ends.into_iter().min()));
        let of_open = self.workers.values().filter(|worker| open.iter().any(|lane| lane.id == worker.lane));
        let of_open: Vec<WorkerRow> = of_open.map(worker_row).collect();
        assert_eq!(store.workers(WorkersOf::Workspace(WORKSPACE)).unwrap(), of_open);
        assert_eq!(store.workers(WorkersOf::Everywhere).unwrap(), of_open);
        let live = self.runs.values().filter(|run| run.state.is_live()).map(run_row);
        assert_eq!(store.live_runs().unwrap(), live.collect::<Vec<_>>());
        let runs: Vec<RunId> = self.runs.keys().copied().collect();
        let among = store.runs_among(&runs).unwrap();
        assert_eq!(among, self.runs.values().map(run_row).collect::<Vec<_>>());
        assert_eq!(store.last_seq().unwrap(), self.events.len() as u64);
        let events = store.events_since(0, u32::MAX).unwrap();
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq && event.at == NOW));
        let events: Vec<_> = events.into_iter().map(|event| (event.subject, event.event)).collect();
        assert_eq!(events, self.events);
    }
}

/// Texts of the operating system with everything that could be lost on the way.
fn os_text() -> impl Strategy<Value = OsText> {
    prop_oneof!["[a-z/ ']{0,12}".prop_map(|text| text.as_str().into()), bytes().prop_map(OsText::from_bytes)]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..12)
}

fn findings() -> impl Strategy<Value = Findings> {
    (0..3_u64, os_text()).prop_map(|(lost, file)| Findings {
        losses: Losses { untracked: Listed { first: vec![file], count: lost / 2 }, ..Losses::default() },
        ..Findings::default()
    })
}

fn new_workers() -> impl Strategy<Value = laneway_core::command::NewWorker> {
    let naming = prop_oneof![
        Just(WorkerNaming::Task),
        (0..3_u8).prop_map(|n| WorkerNaming::FirstFree(name(&format!("n{n}")))),
        (0..3_u8).prop_map(|n| WorkerNaming::Exactly(name(&format!("n{n}")))),
    ];
    let terminal = prop_oneof![
        Just(TerminalSpec::Pipes),
        any::<(u16, u16)>().prop_map(|(columns, rows)| TerminalSpec::Pty { columns, rows }),
        (os_text(), proptest::option::of("\\PC{0,8}"))
            .prop_map(|(socket, session)| TerminalSpec::Tmux { socket, session }),
    ];
    let argv = proptest::collection::vec(os_text(), 1..4);
    (0..20_u32, naming, argv, proptest::option::of(os_text()), terminal).prop_map(
        |(n, naming, argv, cwd, terminal)| laneway_core::command::NewWorker {
            argv,
            cwd,
            terminal,
            ..new_worker(n, naming)
        },
    )
}

fn lanes() -> impl Strategy<Value = Command> {
    let ours = |n: u32| {
        any::<bool>()
            .prop_map(move |ours| LaneTree::Ours { branch: LaneBranch { name: format!("Lane/{n}"), ours } })
    };
    let adopted =
        proptest::option::of("\\PC{1,20}").prop_map(|branch: Option<String>| LaneTree::Adopted { branch });
    (0..4_u32, 0..4_u32, "\\PC{0,20}").prop_flat_map(move |(id, named, base_ref)| {
        let tree = prop_oneof![2 => ours(named), 1 => adopted.clone()];
        tree.prop_map(move |tree| {
            let base_ref = base_ref.clone();
            let lane = NewLane { id: lane_id(id), base_ref, tree, ..new_lane(named) };
            Command::CreateLane { lane, max_lanes: 3 }
        })
    })
}

fn provisioned() -> impl Strategy<Value = Provisioned> {
    let ready =
        (0..4_u32, any::<bool>(), proptest::option::of("\\PC{0,20}"), proptest::option::of(new_workers()));
    prop_oneof![
        3 => ready.prop_map(|(n, ours, warning, first)| Provisioned::Ready {
            branch: LaneBranch { name: format!("Lane/{n}"), ours },
            warning,
            setup: SetupStart::Nothing,
            first: first.map(Box::new),
        }),
        1 => "\\PC{0,20}".prop_map(|failure| Provisioned::Failed { failure }),
    ]
}

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![
        any::<u8>().prop_map(|code| Exit::Code { code }),
        any::<i32>().prop_map(|signal| Exit::Signal { signal }),
        Just(Exit::Lost),
        Just(Exit::ClosedByHand),
        any::<bool>()
            .prop_map(|wall| Exit::Limit { limit: if wall { LimitKind::Wall } else { LimitKind::Idle } }),
        "\\PC{0,20}".prop_map(|reason| Exit::NotStarted { reason }),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let lane = (0..4_u32).prop_map(lane_id);
    let run = (0..60_u32).prop_map(run_id);
    let at = any::<i64>().prop_map(Timestamp);
    let process = (any::<(u32, u64)>(), "[a-f0-9]{0,8}")
        .prop_map(|((pid, start_time), boot_id)| ProcessIdentity { pid, start_time, boot_id });
    let epoch = 1..4_u64;
    let begun = (lane.clone(), epoch.clone());
    let quieted = prop_oneof![
        2 => Just(Quieted::Quiet),
        1 => "\\PC{0,20}".prop_map(|what| Quieted::StillAlive { what })
    ];
    let removed = prop_oneof![
        2 => Just(Removed::Gone { rescue: None }),
        1 => "\\PC{0,20}".prop_map(|failure| Removed::Failed { failure })
    ];
    prop_oneof![
        1 => (0..2_u8).prop_map(|n| Command::RegisterWorkspace(Workspace {
            remote_url: (n == 1).then(|| "x".to_owned()),
            ..workspace()
        })),
        4 => lanes(),
        4 => begun.clone().prop_map(|(lane, epoch)| Command::BeginProvisioning { lane, epoch }),
        4 => (begun.clone(), provisioned())
            .prop_map(|((lane, epoch), outcome)| Command::FinishProvisioning { lane, epoch, outcome }),
        4 => (lane.clone(), new_workers()).prop_map(|(lane, worker)| Command::RunWorker { lane, worker }),
        3 => (run.clone(), process, at.clone())
            .prop_map(|(run, process, at)| Command::RecordStarted { run, process, at }),
        3 => (run.clone(), exits(), at).prop_map(|(run, exit, at)| Command::RecordExit {
            run,
            exit,
            at,
            pacing: Pacing { random: at.0.cast_unsigned(), ..Pacing::default() },
        }),
        3 => restarts(),
        4 => panes(),
        1 => (run, proptest::collection::vec(any::<u32>(), 0..3))
            .prop_map(|(run, left)| Command::RecordStopFailed { run, left }),
        2 => (0..20_u32).prop_map(|n| Command::StopWorker { worker: worker_id(n), grace_ms: 1 }),
        2 => (lane.clone(), 0..4_u32)
            .prop_map(|(lane, n)| Command::RenameLane { lane, to: name(&format!("lane-{n}")) }),
        2 => (0..20_u32, 0..4_u32).prop_map(|(n, to)| Command::RenameWorker {
            worker: worker_id(n),
            to: name(&format!("n{to}")),
        }),
        2 => (lane.clone(), proptest::option::of(findings()))
            .prop_map(|(lane, findings)| Command::CloseLane {
                lane,
                terms: CloseTerms { discard: findings.is_none(), merge: false, keep_branch: true },
                findings,
                grace_ms: 1,
                by: Some(User::person(name("n0"))),
            }),
        3 => (lane.clone(), 0..200_u32, 0..3_u8, proptest::option::of(any::<u64>())).prop_map(
            |(lane, id, who, ttl_ms)| Command::JoinLane {
                lane,
                join: Join {
                    id: AttachmentId::from_ulid(ulid::Ulid(u128::from(id))),
                    user: User::person(name(&format!("n{who}"))),
                    role: id.is_multiple_of(3).then_some(Role::Observer),
                    ttl_ms,
                },
            }
        ),
        1 => (lane.clone(), 0..3_u8)
            .prop_map(|(lane, who)| Command::LeaveLane { lane, user: User::person(name(&format!("n{who}"))) }),
        1 => (lane.clone(), any::<bool>()).prop_map(|(lane, shared)| Command::ShareLane { lane, shared }),
        1 => lane.prop_map(|lane| Command::LookAtLeases { lane }),
        2 => (begun.clone(), quieted)
            .prop_map(|((lane, epoch), outcome)| Command::FinishQuieting { lane, epoch, outcome }),
        2 => (begun.clone(), findings())
            .prop_map(|((lane, epoch), findings)| Command::JudgeAgain { lane, epoch, findings }),
        2 => (begun, removed)
            .prop_map(|((lane, epoch), outcome)| Command::FinishClosing { lane, epoch, outcome }),
        1 => any::<u32>().prop_map(|pid| Command::RecordDaemonStopped { pid }),
    ]
}

fn panes() -> impl Strategy<Value = Command> {
    let place = (0..3_u8, "\\PC{0,8}", any::<bool>()).prop_map(|(n, window_name, is_read)| PanePlace {
        session_id: format!("${n}"),
        session: format!("s:{n}"),
        window_id: is_read.then(|| format!("@{n}")),
        window_name,
    });
    let server = (os_text(), 1..3_u32).prop_map(|(socket, pid)| TmuxServer {
        socket: if pid == 1 { "/s".into() } else { socket },
        pid,
        start_time: u64::MAX,
        boot_id: "boot".to_owned(),
    });
    let of = (0..20_u32, 0..3_u8, place, server);
    of.prop_flat_map(|(n, id, place, server)| {
        let (worker, pane_id) = (worker_id(n), format!("%{id}"));
        let pane = PaneIdentity {
            server: server.clone(),
            place: place.clone(),
            pane_id: pane_id.clone(),
            pane_pid: 7,
            tag: "t".to_owned(),
        };
        prop_oneof![
            4 => Just(Command::RecordPane { worker, run: run_id(n), pane: pane.clone() }),
            2 => Just(Command::AddPane { worker, pane }),
            1 => Just(Command::MovePane { worker, server: server.clone(), pane_id: pane_id.clone(), to: place }),
            1 => Just(Command::RecordPaneGone { worker, server, pane_id, tag: "t".to_owned() }),
            1 => Just(Command::RecordAttached { worker }),
        ]
    })
}

fn restarts() -> impl Strategy<Value = Command> {
    let worker = (0..20_u32).prop_map(worker_id);
    let run = (20..60_u32).prop_map(run_id);
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
        (worker.clone(), 0..4_u64, run).prop_map(|(worker, epoch, run)| Command::RetryWorker {
            worker,
            epoch,
            run
        }),
        (worker, 0..4_u64).prop_map(|(worker, epoch)| Command::ReplanRestart {
            worker,
            epoch,
            at: Timestamp(7)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_store_decides_and_holds_what_a_record_in_memory_would(
        commands in proptest::collection::vec(commands(), 0..120),
    ) {
        let folder = folder();
        let path = database(&folder);
        let store = Store::open(&path, NewHost(HOST), || NOW).unwrap();
        let mut memory = Memory::default();
        memory.apply(&decide(&Facts::CommonDir(None), &Command::RegisterWorkspace(workspace()), NOW).unwrap());
        done(&store, Command::RegisterWorkspace(workspace()));
        for command in commands {
            let fresh = match &command {
                Command::CreateLane { lane, .. } => !memory.lanes.contains_key(&lane.id),
                Command::RunWorker { worker, .. } => !memory.workers.contains_key(&worker.id),
                Command::JoinLane { join, .. } => !memory.attachments.contains_key(&join.id),
                Command::FinishProvisioning { outcome: Provisioned::Ready { first: Some(first), .. }, .. } => {
                    !memory.workers.contains_key(&first.id)
                }
                Command::StartWorker { run, .. }
                | Command::RestartWorker { run, .. }
                | Command::RetryWorker { run, .. } => !memory.runs.contains_key(run),
                _ => true,
            };
            // Ids are made once; a command with a used one cannot come.
            if !fresh {
                continue;
            }
            let expected = decide(&memory.facts(&command.scope()), &command, NOW);
            match (submit(&store, command), expected) {
                (Ok(committed), Ok(decision)) => {
                    prop_assert_eq!(&committed.effects, &decision.effects);
                    memory.apply(&decision);
                    prop_assert_eq!(committed.seq, memory.events.len() as u64);
                }
                (Err(SubmitError::Refused(refused)), Err(expected)) => prop_assert_eq!(refused, expected),
                (answer, expected) => prop_assert!(false, "{answer:?} instead of {expected:?}"),
            }
        }
        memory.assert_is_held_by(&store);
        close(&store);
        memory.assert_is_held_by(&Store::open(&path, NewHost(HOST), || NOW).unwrap());
    }
}
