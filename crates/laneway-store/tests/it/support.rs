//! What the tests share: a folder each, short commands, and the test program as a child of its own.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use laneway_core::actor::Actor;
use laneway_core::channel::ChannelKind;
use laneway_core::command::{Command, NewLane, NewWorker, Provisioned, WorkerNaming};
use laneway_core::findings::Findings;
use laneway_core::id::{CorrelationId, HostId, LaneId, RunId, WorkerId, WorkspaceId};
use laneway_core::lane::{CloseTerms, LaneBranch, LaneTree};
use laneway_core::launch::TerminalSpec;
use laneway_core::limits::RunLimits;
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::run::Exit;
use laneway_core::setup::SetupStart;
use laneway_core::supervise::{Pacing, RestartPolicy};
use laneway_core::time::Timestamp;
use laneway_core::workspace::Workspace;
use laneway_store::{Asked, Committed, NewHost, Store, SubmitError};
use tempfile::TempDir;
use ulid::Ulid;

pub(crate) const HOST: HostId = HostId::from_ulid(Ulid(1));
pub(crate) const WORKSPACE: WorkspaceId = WorkspaceId::from_ulid(Ulid(2));
pub(crate) const ASKED: Asked =
    Asked { actor: Actor::Person { uid: 1000 }, correlation: CorrelationId::from_ulid(Ulid(3)) };

/// A clock that goes on by one with every look.
pub(crate) fn clock() -> Timestamp {
    static NOW: AtomicI64 = AtomicI64::new(1_000);
    Timestamp(NOW.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub(crate) fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("laneway.db")
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, NewHost(HOST), clock).unwrap()
}

/// A store with the one repository in it, and its folder.
pub(crate) fn store() -> (TempDir, Store) {
    let folder = folder();
    let store = open(&database(&folder));
    done(&store, Command::RegisterWorkspace(workspace()));
    (folder, store)
}

/// What the future gives, which all here do within moments.
#[track_caller]
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_mins(1), future).await };
    runtime.block_on(limited).expect("this should not take a minute")
}

pub(crate) fn submit(store: &Store, command: Command) -> Result<Committed, SubmitError> {
    wait(store.submit(command, ASKED))
}

#[track_caller]
pub(crate) fn done(store: &Store, command: Command) -> Committed {
    submit(store, command).unwrap()
}

pub(crate) fn close(store: &Store) {
    wait(store.close()).unwrap();
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) const fn lane_id(n: u32) -> LaneId {
    LaneId::from_ulid(Ulid(n as u128))
}

pub(crate) const fn worker_id(n: u32) -> WorkerId {
    WorkerId::from_ulid(Ulid(n as u128))
}

pub(crate) const fn run_id(n: u32) -> RunId {
    RunId::from_ulid(Ulid(n as u128))
}

pub(crate) fn workspace() -> Workspace {
    Workspace {
        id: WORKSPACE,
        host: HOST,
        common_dir: OsText::from_bytes(&b"/repo-\xff/.git"[..]),
        root: OsText::from_bytes(&b"/repo-\xff"[..]),
        remote_url: Some("https://example.org/repo".to_owned()),
        root_commit: None,
        created_at: Timestamp(5),
    }
}

pub(crate) fn new_lane(n: u32) -> NewLane {
    NewLane {
        id: lane_id(n),
        host: HOST,
        workspace: WORKSPACE,
        name: name(&format!("lane-{n}")),
        tree: LaneTree::Ours { branch: LaneBranch { name: format!("Lane/{n}"), ours: true } },
        base_ref: "main".to_owned(),
        base_commit: "0".repeat(40),
        path: OsText::from_bytes(format!("/lanes/{n}").into_bytes()),
        restored_from: None,
    }
}

pub(crate) fn create_lane(n: u32) -> Command {
    Command::CreateLane { lane: new_lane(n), max_lanes: usize::MAX }
}

pub(crate) fn new_worker(n: u32, naming: WorkerNaming) -> NewWorker {
    NewWorker {
        id: worker_id(n),
        run: run_id(n),
        naming,
        argv: vec!["cat".into(), OsText::from_bytes(&b"\xfe.txt"[..]), "".into()],
        cwd: None,
        environment: format!("environment-{n}"),
        terminal: TerminalSpec::Pty { columns: 80, rows: 24 },
        record: true,
        restart: RestartPolicy::ALL[n as usize % 3],
        done_codes: vec![0, 255],
        channel: Some(ChannelKind::NodeIpc),
        start_message: None,
        limits: RunLimits { wall_ms: NonZeroU64::new(60_000), idle_ms: None },
        forced: false,
        parent: None,
        instance: None,
    }
}

/// Makes lane `n`, and brings it to where it can be worked in.
pub(crate) fn open_lane(store: &Store, n: u32) {
    done(store, create_lane(n));
    done(store, Command::BeginProvisioning { lane: lane_id(n), epoch: 1 });
    let branch = LaneBranch { name: format!("Lane/{n}"), ours: true };
    let outcome = Provisioned::Ready { branch, warning: None, setup: SetupStart::Nothing, first: None };
    done(store, Command::FinishProvisioning { lane: lane_id(n), epoch: 1, outcome });
}

/// The end of run `n`.
pub(crate) fn ended(n: u32, exit: Exit, at: i64) -> Command {
    Command::RecordExit { run: run_id(n), exit, at: Timestamp(at), pacing: Pacing::default() }
}

/// A close of a lane in which a look found nothing that could be lost.
pub(crate) fn close_lane(lane: LaneId) -> Command {
    Command::CloseLane {
        lane,
        findings: Some(Findings::default()),
        grace_ms: 1,
        terms: CloseTerms::default(),
        by: None,
    }
}

/// Makes these lanes, all at once.
pub(crate) fn create_lanes(store: &Store, lanes: RangeInclusive<u32>) {
    wait(async {
        let mut submitted = tokio::task::JoinSet::new();
        for n in lanes {
            let store = store.clone();
            submitted.spawn(async move { store.submit(create_lane(n), ASKED).await.unwrap() });
        }
        submitted.join_all().await;
    });
}

/// Another program that has the database open.
pub(crate) fn another(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// Submits these at once while another program holds the database, so that all of them wait when
/// the writer begins. Gives back the answers in the same order.
pub(crate) fn submit_together(
    path: &Path,
    store: &Store,
    commands: Vec<Command>,
) -> Vec<Result<Committed, SubmitError>> {
    let other = another(path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait(async {
        // One thread runs these in the order they were spawned, each up to where it waits for its answer.
        let submitted: Vec<_> = commands
            .into_iter()
            .map(|command| {
                let store = store.clone();
                tokio::spawn(async move { store.submit(command, ASKED).await })
            })
            .collect();
        tokio::spawn(async move { other.execute_batch("COMMIT").unwrap() }).await.unwrap();
        let mut answers = Vec::new();
        for answer in submitted {
            answers.push(answer.await.unwrap());
        }
        answers
    })
}

/// The commits that stand in the write-ahead log.
pub(crate) fn commits_in_the_log(path: &Path) -> usize {
    let log = std::fs::read(path.with_extension("db-wal")).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (header, frame_header, page) = (32, 24, number(8) as usize);
    let frames = (header..log.len()).step_by(frame_header + page);
    // Of a frame: the size of the database after a commit, and the same salt as the log has.
    frames.filter(|at| number(at + 4) != 0 && number(at + 8) == number(16)).count()
}

/// This test program, to be run for one ignored test of it in a process of its own. `before` is what
/// starts it, if it is not to be started right away.
pub(crate) fn as_child(test: &str, folder: &Path, before: &[&str]) -> Program {
    let this = std::env::current_exe().unwrap();
    let program = before.first().map_or(this.as_path(), |first| Path::new(first));
    #[expect(clippy::disallowed_methods, reason = "this is where the tests start their children")]
    let mut child = Program::new(program);
    if !before.is_empty() {
        child.args(&before[1..]).arg(&this);
    }
    child.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    child
}

/// The folder a child works in.
pub(crate) fn folder_of_a_child() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).expect("it is run by its parent test only"))
}

const FOLDER: &str = "LANEWAY_STORE_TEST_FOLDER";
