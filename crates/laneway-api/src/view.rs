//! Lanes, workers, terminals and the daemon as they are shown. `--json` prints these.

use std::collections::BTreeMap;

use laneway_core::attachment::{Attachment, Role};
use laneway_core::channel::ChannelKind;
use laneway_core::event::Recorded;
use laneway_core::id::{AttachmentId, HostId, LaneId, RunId, WorkerId, WorkspaceId};
use laneway_core::lane::LaneStatus;
use laneway_core::limits::RunLimits;
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::run::Exit;
use laneway_core::setup::SetupState;
use laneway_core::supervise::RestartPolicy;
use laneway_core::worker::WorkerStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::serving::ServingView;
use crate::time::Time;

/// An event with its moment as RFC 3339.
pub type EventView = Recorded<Time>;

/// `lane ls --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lanes {
    /// The lanes, the oldest first.
    pub lanes: Vec<LaneView>,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneView {
    /// Its id.
    pub id: LaneId,
    /// Its name.
    pub name: Name,
    /// The repository it belongs to.
    pub workspace: WorkspaceId,
    /// The one word for it.
    pub status: LaneStatus,
    /// It is marked as shared.
    pub shared: bool,
    /// How far its setup is.
    #[serde(default)]
    pub setup: SetupState,
    /// Who uses it, by name.
    #[serde(default)]
    pub attachments: Vec<AttachmentView>,
    /// Its branch; none if it was adopted with a detached HEAD.
    pub branch: Option<String>,
    /// The branch was made for it.
    pub branch_is_ours: bool,
    /// Somebody else made the worktree: closing the lane leaves it, its branch and git's entry as they are.
    #[serde(default)]
    pub adopted: bool,
    /// What it was made from, as told.
    pub base_ref: String,
    /// The commit that was.
    pub base_commit: String,
    /// Its worktree.
    pub path: OsText,
    /// What went wrong last.
    pub failure: Option<String>,
    /// When it was asked for.
    pub created_at: Time,
    /// When it ended.
    pub closed_at: Option<Time>,
    /// Its named workers and its live tasks, the oldest first.
    pub workers: Vec<WorkerView>,
}

/// Somebody who uses a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttachmentView {
    /// The attachment's id.
    pub id: AttachmentId,
    /// Who: a person, or a worker as it is called now.
    pub who: Name,
    /// The worker, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// What he is in it.
    pub role: Role,
    /// When he joined.
    pub joined_at: Time,
    /// When his lease was renewed last.
    pub renewed_at: Time,
    /// When his lease ends, unless it is renewed.
    pub until: Time,
}

impl From<Attachment> for AttachmentView {
    fn from(attachment: Attachment) -> Self {
        Self {
            id: attachment.id,
            who: attachment.user.name,
            worker: attachment.user.worker,
            role: attachment.role,
            joined_at: attachment.joined_at.into(),
            renewed_at: attachment.renewed_at.into(),
            until: attachment.until.into(),
        }
    }
}

/// What the settings of a repository want that needs a person's consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// The file, which need not be there.
    pub path: OsText,
    /// What tells this text from any other.
    pub content: String,
    /// A person has agreed to it.
    pub trusted: bool,
    /// There is something to agree to.
    pub needs_consent: bool,
    /// Where worktrees are, if that is outside of the main worktree.
    pub worktree: Option<String>,
    /// Names of ignored folders that are deleted with a lane, beyond those that always are.
    pub disposable: Vec<String>,
    /// Patterns of files that are copied.
    pub copy: Vec<String>,
    /// Paths that are linked to.
    pub link: Vec<String>,
    /// Submodules are checked out in new lanes.
    pub submodules: bool,
    /// What is run in new lanes.
    pub steps: Vec<StepView>,
    /// Programs and arguments that `lane run` can start, by their names.
    pub programs: BTreeMap<String, Vec<String>>,
}

/// What is run in new lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Milliseconds it may take.
    pub timeout_ms: u64,
    /// Variables beside those of the caller.
    pub env: BTreeMap<String, String>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// It is new, and git tracks it.
    Added,
    /// It is new, and git does not track it yet.
    Untracked,
    /// Its content or its mode is another.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another path.
    Renamed,
    /// It is a copy of another.
    Copied,
    /// It was a file and is a symbolic link, or the other way round.
    TypeChanged,
    /// A merge has left it in conflict.
    Unmerged,
    /// A folder with a repository of its own, which is not looked into.
    Repository,
}

/// A file that a lane has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileDiff {
    /// Its path in the worktree.
    pub path: OsText,
    /// The path it had, if it was renamed or copied.
    pub old_path: Option<OsText>,
    /// What became of it.
    pub status: FileStatus,
    /// Lines that are new; none for a binary file.
    pub added: Option<u64>,
    /// Lines that are gone; none for a binary file.
    pub removed: Option<u64>,
    /// It has no lines.
    pub binary: bool,
}

/// `lane diff --json`: a lane's worktree as it is, against the commit where it left its base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneDiff {
    /// The commit that it is compared with.
    pub base: String,
    /// The commit of its HEAD; none if there is none yet.
    pub head: Option<String>,
    /// The files that differ, by path.
    pub files: Vec<FileDiff>,
}

/// `lane ps --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workers {
    /// The workers, the oldest first.
    pub workers: Vec<WorkerView>,
}

/// A worker or task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Its id.
    pub id: WorkerId,
    /// Its name; a task has none.
    pub name: Option<Name>,
    /// The name of its lane.
    pub lane: Name,
    /// Its lane.
    pub lane_id: LaneId,
    /// The one word for it.
    pub status: WorkerStatus,
    /// The program's process, while it is alive.
    pub pid: Option<u32>,
    /// Its latest run.
    pub run: Option<RunId>,
    /// That run's number.
    pub run_number: Option<u32>,
    /// Where its input and output live.
    pub terminal: TerminalView,
    /// In tmux: the name of the session of its pane. This and the next three were so when tmux was looked at last.
    #[serde(default)]
    pub session: Option<String>,
    /// In tmux: the id of the window (`@4`), if it was read.
    #[serde(default)]
    pub window_id: Option<String>,
    /// In tmux: the name of the window.
    #[serde(default)]
    pub window_name: Option<String>,
    /// In tmux: the id of the pane that its program runs in (`%7`).
    #[serde(default)]
    pub pane_id: Option<String>,
    /// In tmux: its further panes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub panes: Vec<PaneView>,
    /// The worker whose program asked for it.
    #[serde(default)]
    pub parent: Option<WorkerId>,
    /// Program and arguments.
    pub argv: Vec<OsText>,
    /// The folder it was started in.
    pub cwd: OsText,
    /// How its latest run ended.
    pub exit: Option<Exit>,
    /// Whether it is started again when its run has ended by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Exit codes, beside 0, that mean that its work is done.
    #[serde(default)]
    pub done_codes: Vec<u8>,
    /// The channel of its latest run, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelView>,
    /// What each of its runs is limited to.
    #[serde(default, skip_serializing_if = "RunLimits::is_none")]
    pub limits: RunLimits,
    /// When its next run begins, if it is in back-off.
    #[serde(default)]
    pub next_try_at: Option<Time>,
    /// Why it is not started again by itself, if its policy would have it so.
    #[serde(default)]
    pub given_up: Option<String>,
    /// When it was asked for.
    pub created_at: Time,
    /// When its latest run was proven to run.
    pub started_at: Option<Time>,
    /// When its latest run ended.
    pub ended_at: Option<Time>,
    /// Its latest run has ended, and processes it left behind are still alive.
    pub left_behind: bool,
    /// The recording of its latest run, if there is to be one. Lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingView>,
    /// Its last runs, the latest first. Only where one worker is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunView>,
}

/// The channel of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// How its program finds it.
    pub kind: ChannelKind,
    /// When it said that it is ready.
    pub ready_at: Option<Time>,
    /// How much of what it said could not be read.
    pub n_unreadable: u64,
}

/// A further pane of a worker in tmux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaneView {
    /// Its number: `worker:N` means it, and no other pane of the worker will have that number.
    pub number: u32,
    /// The name of its session.
    pub session: String,
    /// The id of its window, if it was read.
    pub window_id: Option<String>,
    /// The name of its window.
    pub window_name: String,
    /// Its id (`%7`).
    pub pane_id: String,
}

/// One process lifetime of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// Numbered from 1 per worker.
    pub number: u32,
    /// `starting`, `running`, `stopping` or `exited`.
    pub state: String,
    /// The program's process, while it is alive.
    pub pid: Option<u32>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// When it was asked for.
    pub created_at: Time,
    /// When its program was proven to run.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
}

/// `lane explain --json`: why a worker is in the state that it is in, from the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The worker.
    pub worker: WorkerView,
    /// Why, for people.
    pub why: String,
    /// Failures that count against it.
    pub n_failures: u64,
    /// So many are borne within the window.
    pub max_failures: u32,
    /// Milliseconds for which a failure counts.
    pub window_ms: u64,
    /// Its last runs, the latest first.
    pub runs: Vec<RunView>,
    /// The last that happened to it, the oldest first.
    pub events: Vec<EventView>,
}

/// What there is of a recorded run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordingView {
    /// Its asciicast v2 files, the oldest first. Each can be played alone.
    pub files: Vec<OsText>,
    /// Why it is not recorded any more.
    pub stopped: Option<String>,
}

/// Where a run's input and output live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalView {
    /// What holds it.
    pub kind: TerminalKind,
    /// False: pipes.
    pub tty: bool,
    /// Width at the start, in cells; none on pipes.
    pub columns: Option<u16>,
    /// Height at the start, in cells; none on pipes.
    pub rows: Option<u16>,
}

/// What holds a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TerminalKind {
    /// A holder of ours.
    Holder,
    /// A pane of tmux.
    Tmux,
}

impl TerminalKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TerminalKind::Holder => "holder",
            TerminalKind::Tmux => "tmux",
        }
    }
}

/// How to get at a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalAccess {
    /// The worker.
    pub worker: WorkerView,
    /// The folder of its holder's socket, while the holder is there.
    pub holder_folder: Option<OsText>,
    /// The last screen of a run that has ended: bytes that draw it, base64.
    pub last_screen: Option<String>,
    /// In tmux: where its program can be gone to, as it is now.
    #[serde(default)]
    pub tmux: Option<PaneAddress>,
    /// It is a further pane of the worker: `tmux` is that one's place, and the rest is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub further: Option<FurtherPane>,
}

/// A further pane of a worker, which no holder knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FurtherPane {
    /// Its number.
    pub number: u32,
    /// How its program has ended, if it has: `lost` if tmux does not tell.
    pub exit: Option<Exit>,
}

/// A pane of tmux, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaneAddress {
    /// The socket of its server.
    pub socket: OsText,
    /// The session's id (`$1`).
    pub session_id: String,
    /// The window's id (`@4`).
    pub window_id: String,
    /// The pane's id (`%7`).
    pub pane_id: String,
}

/// What a terminal shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TextView {
    /// Logical lines: wrapped rows are joined.
    pub lines: Vec<String>,
    /// Where the cursor is, from 0; none on pipes.
    pub cursor: Option<CursorView>,
    /// The size; none on pipes.
    pub size: Option<SizeView>,
    /// The alternate screen is shown.
    pub alternate_screen: bool,
    /// The title the program gave.
    pub title: Option<String>,
    /// Bytes of output so far.
    pub offset: u64,
    /// On pipes: the kept end of standard error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stderr_lines: Vec<String>,
}

/// A place on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CursorView {
    /// Column, from 0.
    pub column: u16,
    /// Row, from 0.
    pub row: u16,
    /// The program shows it.
    pub visible: bool,
}

/// A size in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SizeView {
    /// Width.
    pub columns: u16,
    /// Height.
    pub rows: u16,
}

/// What a target means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolved {
    /// A lane.
    Lane(Box<LaneView>),
    /// A worker.
    Worker(Box<WorkerView>),
}

/// `lane resolve --json`: what a target means, and by what it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResolvedTarget {
    /// By what: `id`, `worker`, `lane`, `lane_worker`, `worker_pane`, `pane`, `window`, `session_window`, `session`,
    /// `caller`, `parent`, `last_attached`, `former_worker` or `prefix`.
    pub method: String,
    /// The repository; none for a pane that is nobody's.
    pub workspace: Option<WorkspaceId>,
    /// The lane's name.
    pub lane: Option<Name>,
    /// The lane.
    pub lane_id: Option<LaneId>,
    /// The worker's name; a task has none.
    pub worker: Option<Name>,
    /// The worker; none if a lane is meant.
    pub worker_id: Option<WorkerId>,
    /// Its latest run.
    pub run: Option<RunId>,
    /// Which of its panes; 0 is the terminal of its program, in tmux or not.
    pub pane_index: Option<u32>,
    /// What holds that; none on pipes.
    pub terminal: Option<TerminalKind>,
    /// The worker's run is alive; of a lane, that it is open.
    pub alive: bool,
    /// In tmux: the name of the session.
    pub session: Option<String>,
    /// In tmux: the id of the window (`@4`).
    pub window_id: Option<String>,
    /// In tmux: the name of the window.
    pub window_name: Option<String>,
    /// In tmux: the id of the pane (`%7`).
    pub pane_id: Option<String>,
}

/// `lane daemon status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Its socket.
    pub socket: OsText,
    /// When it began.
    pub started_at: Time,
    /// The host it decides for.
    pub host: HostId,
    /// Its log.
    pub log: OsText,
    /// Lanes that are not closed.
    pub n_lanes: u64,
    /// Runs that are alive.
    pub n_live_runs: u64,
    /// Workers that wait to be started again.
    #[serde(default)]
    pub n_waiting: u64,
    /// The last event's number.
    pub last_seq: u64,
    /// How it is reached over TCP, if it is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingView>,
}

/// The daemon that was asked to end, or to execute itself anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DaemonProcess {
    /// Its process.
    pub pid: u32,
}

/// The repositories that are known, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workspaces {
    /// They.
    pub workspaces: Vec<WorkspaceView>,
}

/// A repository that lanes were made in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceView {
    /// Its id.
    pub id: WorkspaceId,
    /// The main worktree; for a bare repository the folder it stands in.
    pub root: OsText,
    /// It is certainly not there any more: deleted, or moved.
    pub is_gone: bool,
    /// Lanes that are not closed.
    pub n_lanes: u64,
    /// Runs that are alive in them.
    pub n_live_runs: u64,
}

/// What is kept of a closed lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RescueView {
    /// The closed lane.
    pub lane: LaneId,
    /// The name it had.
    pub name: Name,
    /// The branch it was on.
    pub branch: Option<String>,
    /// Where its worktree was.
    pub path: OsText,
    /// When it was closed.
    pub closed_at: Time,
    /// Its worktree is in the trash, as it was.
    pub in_trash: bool,
    /// What that takes on the disk, in bytes.
    pub bytes: u64,
    /// The commits that are held under `refs/laneway/rescue/<lane>/`, by the last part of the ref.
    pub refs: std::collections::BTreeMap<String, String>,
}

/// Everything that is kept of closed lanes of a repository, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rescues {
    /// They; of a deletion those that were deleted.
    pub rescues: Vec<RescueView>,
    /// Of a deletion: what the programs of closed lanes said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunsView>,
    /// Of a deletion: what could not be deleted, or not all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<NotPruned>,
}

/// What the programs of a closed lane said, with their recordings, and how they ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunsView {
    /// The closed lane.
    pub lane: LaneId,
    /// The name it had.
    pub name: Name,
    /// When it was closed.
    pub closed_at: Time,
    /// Runs.
    pub n_runs: u64,
    /// What they take on the disk.
    pub bytes: u64,
}

/// What is kept of a lane, and was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotPruned {
    /// The closed lane.
    pub lane: LaneId,
    /// The name it had.
    pub name: Name,
    /// Why it is not deleted.
    pub message: String,
}

/// What a program writes, as it comes: one JSON line each of `lane read --follow --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputItem {
    /// A line.
    Line {
        /// Where it was written.
        stream: OutputStream,
        /// On a terminal, while it runs: its number, which no other line has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        /// Its text.
        text: OsText,
        /// It was told before with another text: the program has changed it.
        again: bool,
    },
    /// Lines came and went faster than they could be told.
    Missed,
    /// The program shows the alternate screen, of which no lines are told, or does not show it any more.
    AlternateScreen {
        /// It does.
        shown: bool,
    },
    /// The program has ended.
    Ended {
        /// How.
        exit: Exit,
    },
}

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Its terminal.
    Terminal,
    /// Standard output, on a pipe.
    Stdout,
    /// Standard error, on a pipe.
    Stderr,
}

/// What is recorded against what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// How many repositories, lanes and runs were looked at.
    pub looked_at: u64,
    /// Where they differ.
    pub findings: Vec<Finding>,
}

/// Something that is not as it is recorded, or not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was found, for people.
    pub what: String,
    /// What can be done about it without asking, for people; none: it is left to a person.
    pub repair: Option<String>,
    /// What became of it.
    pub outcome: FindingOutcome,
    /// Why it could not be done.
    pub message: Option<String>,
}

/// What became of something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingOutcome {
    /// It is left to a person.
    Reported,
    /// It would be done if that was asked for.
    Would,
    /// It is done.
    Done,
    /// It could not be done.
    Failed,
}
