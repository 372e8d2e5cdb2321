//! A repository, a lane, its workers and their runs, from the first command to the last.

use laneway_core::command::{Command, Provisioned, Quieted, Removed, WorkerNaming};
use laneway_core::decision::Effect;
use laneway_core::event::Event;
use laneway_core::findings::Findings;
use laneway_core::id::RunId;
use laneway_core::lane::{CloseTerms, Lane, LaneBranch, LaneTree, Lifecycle};
use laneway_core::launch::{LaunchSpec, TerminalSpec};
use laneway_core::pane::{PaneIdentity, PanePlace, TmuxServer};
use laneway_core::refusal::Refusal;
use laneway_core::run::{Exit, ProcessIdentity, RunState};
use laneway_core::setup::{LaneSetup, SetupStart};
use laneway_core::target::{Owner, Target, Use, Wanted, resolve};
use laneway_core::time::Timestamp;
use laneway_core::worker::Desired;
use laneway_store::{NewHost, ReadError, Store, SubmitError, WorkersOf};
use ulid::Ulid;

use crate::support::*;

/// Lane 1 as it is recorded at first.
fn lane_as_asked(created_at: Timestamp) -> Lane {
    Lane {
        id: lane_id(1),
        host: HOST,
        workspace: WORKSPACE,
        epoch: 1,
        name: name("lane-1"),
        lifecycle: Lifecycle::New,
        close_requested: false,
        close_terms: CloseTerms::default(),
        close_by: None,
        setup: LaneSetup::default(),
        restored_from: None,
        failure: None,
        tree: LaneTree::Ours { branch: LaneBranch { name: "Lane/1".into(), ours: true } },
        base_ref: "main".into(),
        base_commit: "0".repeat(40),
        path: "/lanes/1".into(),
        shared: false,
        created_at,
        closed_at: None,
    }
}

#[test]
fn a_lane_lives_from_new_to_closed_and_every_row_reads_back() {
    let (folder, store) = store();
    assert_eq!(store.workspace(WORKSPACE).unwrap(), Some(workspace()));
    assert_eq!(store.workspace_by_common_dir(&workspace().common_dir).unwrap(), Some(workspace()));
    assert_eq!(store.workspace_by_common_dir(&"/elsewhere".into()).unwrap(), None);
    assert!(done(&store, Command::RegisterWorkspace(workspace())).events.is_empty(), "a repeat");
    assert_eq!(store.workspaces().unwrap(), [workspace()]);

    let created = done(&store, create_lane(1));
    assert_eq!(created.effects, [Effect::Provision { lane: lane_id(1), epoch: 1 }]);
    assert_eq!(created.seq, 2);
    let lane = lane_as_asked(created.events[0].at);
    assert_eq!(store.lane(lane_id(1)).unwrap(), Some(lane.clone()));
    assert_eq!(store.unfinished_lanes().unwrap(), std::slice::from_ref(&lane));

    done(&store, Command::BeginProvisioning { lane: lane_id(1), epoch: 1 });
    let branch = LaneBranch { name: "Lane/1".into(), ours: false };
    let first = Some(Box::new(new_worker(1, WorkerNaming::FirstFree(name("edit")))));
    let outcome = Provisioned::Ready {
        branch: branch.clone(),
        warning: Some("no hook".into()),
        setup: SetupStart::Nothing,
        first,
    };
    let ready = done(&store, Command::FinishProvisioning { lane: lane_id(1), epoch: 1, outcome });
    assert_eq!(ready.effects, [Effect::StartRun { run: run_id(1) }]);
    let tree = LaneTree::Ours { branch };
    let open = Lane { lifecycle: Lifecycle::Open, tree, failure: Some("no hook".into()), ..lane };
    assert_eq!(store.lane(lane_id(1)).unwrap(), Some(open.clone()));
    assert_eq!(store.unfinished_lanes().unwrap(), []);

    let row = store.run(run_id(1)).unwrap().unwrap();
    assert_eq!(store.run_of_worker(worker_id(1), 1).unwrap().as_ref(), Some(&row));
    assert_eq!(store.run_of_worker(worker_id(1), 2).unwrap(), None);
    assert_eq!(store.run_of_worker(worker_id(2), 1).unwrap(), None);
    assert_eq!((row.run.number, &row.run.state), (1, &RunState::Starting));
    assert_eq!((row.worker.name, row.worker.desired), (Some(name("edit")), Desired::Running));
    let spec = LaunchSpec {
        worker: worker_id(1),
        number: 1,
        argv: new_worker(1, WorkerNaming::Task).argv,
        cwd: open.path.clone(),
        environment: "environment-1".into(),
        terminal: TerminalSpec::Pty { columns: 80, rows: 24 },
        record: true,
    };
    assert_eq!(row.spec, spec);

    let process = ProcessIdentity { pid: 42, start_time: u64::MAX, boot_id: "boot".into() };
    done(&store, Command::RecordStarted { run: run_id(1), process: process.clone(), at: Timestamp(10_000) });
    assert_eq!(store.live_runs().unwrap()[0].run.state, RunState::Running(process.clone()));
    let stopped = done(&store, Command::StopWorker { worker: worker_id(1), grace_ms: 7 });
    assert_eq!(stopped.effects, [Effect::StopRun { run: run_id(1), grace_ms: 7 }]);
    assert_eq!(store.run(run_id(1)).unwrap().unwrap().run.state, RunState::Stopping(Some(process)));
    let exit = Exit::Signal { signal: 15 };
    let ended = done(&store, ended(1, exit.clone(), 12_000));
    let told = Event::WorkerExited { number: 1, exit: exit.clone(), duration_ms: 2, asked: true };
    assert_eq!(ended.events[0].event, told);
    let worker = store.worker(worker_id(1)).unwrap().unwrap();
    assert_eq!(worker.worker.desired, Desired::Stopped);
    assert_eq!(worker.latest.as_ref().unwrap().state, RunState::Exited(exit));
    assert_eq!(worker.spec.as_ref(), Some(&spec));
    assert_eq!(store.workers(WorkersOf::Workspace(WORKSPACE)).unwrap(), std::slice::from_ref(&worker));
    assert_eq!(store.live_runs().unwrap(), []);
    assert_eq!(store.runs_among(&[run_id(9), run_id(1)]).unwrap().len(), 1);

    let id = lane_id(1);
    done(&store, close_lane(id));
    done(&store, Command::FinishQuieting { lane: id, epoch: 2, outcome: Quieted::Quiet });
    done(&store, Command::JudgeAgain { lane: id, epoch: 2, findings: Findings::default() });
    let closed =
        done(&store, Command::FinishClosing { lane: id, epoch: 2, outcome: Removed::Gone { rescue: None } });
    let gone = Lane {
        lifecycle: Lifecycle::Closed,
        epoch: 2,
        failure: None,
        closed_at: Some(closed.events[0].at),
        ..open
    };
    assert_eq!(store.lane(id).unwrap(), Some(gone.clone()));
    assert_eq!(store.lanes(Some(WORKSPACE), false).unwrap(), []);
    assert_eq!(store.workers(WorkersOf::Everywhere).unwrap(), []);
    assert_eq!(store.workers(WorkersOf::Lane(id)).unwrap(), std::slice::from_ref(&worker));

    let events = store.events_since(0, 100).unwrap();
    let (host, last_seq) = (store.host(), store.last_seq().unwrap());
    close(&store);
    let store = open_again(&folder);
    assert_eq!((store.host(), store.last_seq().unwrap()), (host, last_seq));
    assert_eq!(store.lanes(None, true).unwrap(), [gone]);
    assert_eq!(store.worker(worker_id(1)).unwrap(), Some(worker));
    assert_eq!(store.events_since(0, 100).unwrap(), events);
    assert_eq!(events.last().unwrap().seq, last_seq);
}

fn open_again(folder: &tempfile::TempDir) -> Store {
    let other_host = NewHost(laneway_core::id::HostId::from_ulid(ulid::Ulid(99)));
    Store::open(&database(folder), other_host, clock).unwrap()
}

#[test]
fn a_refusal_is_handed_through_and_records_nothing() {
    let (_folder, store) = store();
    done(&store, create_lane(1));
    let again = Command::CreateLane {
        lane: laneway_core::command::NewLane { id: lane_id(2), ..new_lane(1) },
        max_lanes: 10,
    };
    let refused = submit(&store, again);
    assert!(matches!(refused, Err(SubmitError::Refused(Refusal::LaneNameTaken { .. }))), "{refused:?}");
    let unknown = submit(&store, Command::StopWorker { worker: worker_id(5), grace_ms: 1 });
    assert!(matches!(unknown, Err(SubmitError::Refused(Refusal::Unknown { what: "worker", .. }))));
    assert_eq!(store.last_seq().unwrap(), 2);
    assert_eq!(store.lane(lane_id(2)).unwrap(), None);
}

#[test]
fn the_greatest_id_is_that_of_whatever_was_made_last() {
    let (_folder, store) = store();
    let is_greatest_of = |made: &[Ulid]| assert_eq!(store.greatest_id().unwrap().as_ref(), made.iter().max());
    is_greatest_of(&[WORKSPACE.ulid()]);
    open_lane(&store, 1);
    is_greatest_of(&[WORKSPACE.ulid(), lane_id(1).ulid()]);
    let mut worker = new_worker(1, WorkerNaming::Exactly(name("edit")));
    let last = Ulid::from_parts(4_000_000_000_000, 7);
    worker.run = RunId::from_ulid(last);
    done(&store, Command::RunWorker { lane: lane_id(1), worker });
    is_greatest_of(&[last]);
}

#[test]
fn worker_names_are_taken_in_the_whole_repository_until_their_lane_closes() {
    let (_folder, store) = store();
    open_lane(&store, 1);
    open_lane(&store, 2);
    let run = |lane, n, naming| Command::RunWorker { lane: lane_id(lane), worker: new_worker(n, naming) };
    done(&store, run(1, 1, WorkerNaming::Exactly(name("edit"))));
    let refused = submit(&store, run(2, 2, WorkerNaming::Exactly(name("edit"))));
    assert!(matches!(refused, Err(SubmitError::Refused(Refusal::WorkerNameTaken { .. }))));
    done(&store, run(2, 3, WorkerNaming::FirstFree(name("edit"))));
    assert_eq!(store.worker(worker_id(3)).unwrap().unwrap().worker.name, Some(name("edit-2")));

    let id = lane_id(1);
    done(&store, close_lane(id));
    done(&store, ended(1, Exit::Lost, 1));
    done(&store, Command::FinishClosing { lane: id, epoch: 2, outcome: Removed::Gone { rescue: None } });
    done(&store, run(2, 4, WorkerNaming::Exactly(name("edit"))));

    let snapshot = store.target_snapshot(WORKSPACE).unwrap();
    let meant = |text: &str, wanted| resolve(&snapshot, text, wanted, Use::Acting).map(|meant| meant.target);
    let worker = |n| Ok(Target::Worker { id: worker_id(n), pane: 0 });
    assert_eq!(meant("edit", Wanted::Worker), worker(4));
    assert_eq!(meant("lane-2/edit-2", Wanted::Worker), worker(3));
    assert_eq!(meant(&id.to_string(), Wanted::Lane), Ok(Target::Lane(id)));
    assert!(meant("lane-1", Wanted::Lane).is_err(), "a closed lane is found by id only");
}

#[test]
fn a_task_that_could_never_be_started_leaves_no_row() {
    let (folder, store) = store();
    open_lane(&store, 1);
    done(&store, Command::RunWorker { lane: lane_id(1), worker: new_worker(1, WorkerNaming::Task) });
    let exit = Exit::NotStarted { reason: "no such program".into() };
    done(&store, ended(1, exit, 1));
    assert_eq!((store.worker(worker_id(1)).unwrap(), store.run(run_id(1)).unwrap()), (None, None));
    let count = |table| another(&database(&folder)).query_row(table, [], |row| row.get::<_, u32>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM specs") + count("SELECT count(*) FROM runs"), 0);
}

#[test]
fn a_late_exit_of_an_old_run_leaves_the_new_one_alone() {
    let (folder, store) = store();
    open_lane(&store, 1);
    let worker = new_worker(1, WorkerNaming::Exactly(name("edit")));
    done(&store, Command::RunWorker { lane: lane_id(1), worker });
    // A second run of the same worker, as a restart would record it.
    let sql = "INSERT INTO runs (id, worker, lane, number, spec, state, created_at) \
               SELECT ?1, worker, lane, 2, spec, 'starting', 0 FROM runs";
    assert_eq!(another(&database(&folder)).execute(sql, [run_id(2).to_string()]).unwrap(), 1);

    done(&store, ended(1, Exit::Lost, 1));
    assert_eq!(store.run(run_id(1)).unwrap().unwrap().run.state, RunState::Exited(Exit::Lost));
    assert_eq!(store.run(run_id(2)).unwrap().unwrap().run.state, RunState::Starting);
    assert_eq!(store.worker(worker_id(1)).unwrap().unwrap().latest.unwrap().id, run_id(2));
    let stopped = done(&store, Command::StopWorker { worker: worker_id(1), grace_ms: 1 });
    assert_eq!(stopped.effects, [Effect::StopRun { run: run_id(2), grace_ms: 1 }]);
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let (folder, store) = store();
    open_lane(&store, 1);
    another(&database(&folder)).execute_batch("UPDATE lanes SET name = 'Not A Name'").unwrap();
    let Err(ReadError::Row(row)) = store.lane(lane_id(1)) else { panic!("it should not be readable") };
    assert_eq!((row.table, row.id), ("lanes", lane_id(1).to_string()));
    assert!(row.what.starts_with("name: "), "{}", row.what);
    let refused = submit(&store, close_lane(lane_id(1)));
    assert!(matches!(refused, Err(SubmitError::Row(_))), "{refused:?}");
    done(&store, Command::RecordDaemonStopped { pid: 1 });
}

#[test]
fn a_closed_store_says_so() {
    let (_folder, store) = store();
    let other = store.clone();
    close(&store);
    close(&other);
    assert!(matches!(submit(&other, create_lane(1)), Err(SubmitError::Closed)));
    assert!(matches!(other.lanes(None, true), Err(ReadError::Closed)));
}

#[test]
fn panes_are_targets_as_they_are_recorded() {
    let (_folder, store) = store();
    open_lane(&store, 1);
    let worker = new_worker(1, WorkerNaming::Exactly(name("edit")));
    done(&store, Command::RunWorker { lane: lane_id(1), worker });
    let pane = |id: &str, window: &str| PaneIdentity {
        server: TmuxServer { socket: "/s".into(), pid: 1, start_time: 2, boot_id: "b".to_owned() },
        place: PanePlace {
            session_id: "$0".to_owned(),
            session: "dev".to_owned(),
            window_id: Some(window.to_owned()),
            window_name: "edit".to_owned(),
        },
        pane_id: id.to_owned(),
        pane_pid: 3,
        tag: "t".to_owned(),
    };
    let worker = worker_id(1);
    done(&store, Command::RecordPane { worker, run: run_id(1), pane: pane("%0", "@0") });
    done(&store, Command::AddPane { worker, pane: pane("%1", "@0") });
    done(&store, Command::AddPane { worker, pane: pane("%2", "@0") });
    let (server, pane_id) = (pane("%1", "@0").server, "%1".to_owned());
    done(&store, Command::RecordPaneGone { worker, server, pane_id, tag: "t".to_owned() });
    done(&store, Command::RecordAttached { worker });
    let snapshot = store.target_snapshot(WORKSPACE).unwrap();
    let meant = |text: &str| match resolve(&snapshot, text, Wanted::Worker, Use::Acting) {
        Ok(meant) => Some(meant.target),
        Err(_) => None,
    };
    let of_it = |pane| Some(Target::Worker { id: worker, pane });
    assert_eq!((meant("%2"), meant("@0"), meant("dev:edit")), (of_it(2), of_it(0), of_it(0)));
    assert_eq!((meant("edit:2"), meant("edit:1"), meant("%1"), meant("-")), (of_it(2), None, None, of_it(0)));
    let elsewhere = store.target_snapshot(laneway_core::id::WorkspaceId::from_ulid(Ulid(77))).unwrap();
    let owners: Vec<_> = elsewhere.panes.into_iter().map(|pane| pane.owner).collect();
    let root = workspace().root;
    assert_eq!(owners, vec![Owner::Elsewhere { worker: "edit".to_owned(), root }; 2]);
}
