//! The bodies and queries of requests, and the answers of those that change something.

use laneway_core::attachment::Role;
use laneway_core::channel::ChannelKind;
use laneway_core::findings::Losses;
use laneway_core::id::{CorrelationId, LaneId, RunId, WorkerId};
use laneway_core::launch::TerminalSpec;
use laneway_core::limits::RunLimits;
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::run::Exit;
use laneway_core::supervise::RestartPolicy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::error::Problem;
use crate::view::{AttachmentView, LaneView, PaneView, WorkerView};

/// What a program is started with, as its caller stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Program and arguments. Empty: the caller's shell.
    pub argv: Vec<OsText>,
    /// The caller's whole environment; the daemon takes out what must not be inherited.
    pub environment: Vec<(OsText, OsText)>,
    /// The caller's umask.
    pub umask: u32,
    /// The caller's resource limits.
    pub limits: Vec<Limit>,
    /// The terminal it gets.
    pub terminal: TerminalSpec,
    /// What the terminal shows is recorded, also if the user's settings do not say so.
    #[serde(default)]
    pub record: bool,
    /// Whether it is started again when it has ended by itself; a task never is. None: as it is configured for the
    /// program of `laneway.toml`, else never.
    #[serde(default)]
    pub restart: Option<RestartPolicy>,
    /// Exit codes that mean that its work is done; 0 always does.
    #[serde(default)]
    pub done_codes: Vec<u8>,
    /// The channel that it is given; a task never has one.
    #[serde(default)]
    pub channel: Option<ChannelKind>,
    /// What it is told to do at each start, over its channel.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub start_message: Option<Map<String, Value>>,
    /// What each of its runs is limited to.
    #[serde(default, skip_serializing_if = "RunLimits::is_none")]
    pub run_limits: RunLimits,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The `RLIMIT_…` number on this machine.
    pub which: u32,
    /// The soft limit; none is unlimited.
    pub soft: Option<u64>,
    /// The hard limit; none is unlimited.
    pub hard: Option<u64>,
}

/// Make a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLane {
    /// Its name. None: from the branch, or two words.
    pub name: Option<String>,
    /// What to start from. None: what is checked out where the caller stands.
    pub base: Option<String>,
    /// The branch to work on, existing or not. None: a new one named after the lane.
    pub branch: Option<String>,
    /// The pull request to start from, in place of a base and a branch.
    #[serde(default)]
    pub pr: Option<u32>,
    /// A first worker.
    pub launch: Option<Launch>,
    /// It is not set up.
    #[serde(default)]
    pub no_setup: bool,
    /// How its caller stands, if there is no first worker that tells it: the steps of the setup run like that. Its
    /// program and terminal count for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Launch>,
}

/// Set a lane up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUpLane {
    /// How its caller stands. Its program and terminal count for nothing.
    pub caller: Launch,
}

/// How an answer comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct InSteps {
    /// In JSON lines of [`Making`].
    #[serde(default)]
    pub progress: bool,
}

/// How far something is. The last one is `done` or `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Making<T> {
    /// A step of the setup has begun.
    Step(SetupProgress),
    /// All of it is done.
    Done(T),
    /// It failed.
    Error(Problem),
}

/// A step of a lane's setup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetupProgress {
    /// Its name.
    pub name: String,
    /// Its number among all pieces, from 1.
    pub number: u32,
    /// Pieces in all.
    pub of: u32,
    /// Its task.
    pub worker: WorkerId,
}

/// Agree to the settings of a repository, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Which ones: [`crate::view::SettingsView::content`], as it was shown.
    pub content: String,
    /// What they want may be done.
    pub trusted: bool,
}

/// A lane was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneMade {
    /// The lane.
    pub lane: LaneView,
    /// Its first worker, if one was asked for.
    pub worker: Option<WorkerView>,
}

/// A file of settings was written for a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingsWritten {
    /// The file.
    pub path: OsText,
}

/// Take in a worktree that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptWorktree {
    /// Its root; if it is not absolute, as seen from the caller's folder.
    pub path: OsText,
    /// The lane's name. None: after its folder.
    pub name: Option<String>,
}

/// Give a lane or a worker another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The name it is to have.
    pub to: String,
}

/// What was renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RenamedWhat {
    /// A lane.
    Lane,
    /// A worker.
    Worker,
}

/// A lane or a worker has another name, or had it before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Renamed {
    /// Which of the two.
    pub renamed: RenamedWhat,
    /// The name it had.
    pub from: Name,
    /// The name it has.
    pub to: Name,
    /// The lane, or the worker's lane.
    pub lane: LaneView,
    /// The worker; for a lane the one that was called like it, and so was renamed with it.
    pub worker: Option<WorkerView>,
}

/// Use a lane, or renew the lease of one who does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinLane {
    /// Who: a person's name, or a worker as `LANE/WORKER` or by its id. None: the worker that asks, else the user's
    /// login name.
    pub who: Option<String>,
    /// What he is to be in it. None: what he was, or driver.
    pub role: Option<Role>,
    /// Milliseconds his lease is to last. None: as long as before, or half an hour.
    pub ttl_ms: Option<u64>,
}

/// Somebody uses a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneJoined {
    /// His attachment.
    pub attachment: AttachmentView,
    /// He used it before, and his lease was renewed.
    pub renewed: bool,
    /// The lane.
    pub lane: LaneView,
}

/// Use a lane no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaveLane {
    /// Who: as for joining, or any name that one who uses the lane goes by. None: the worker that asks, else the
    /// user's login name.
    pub who: Option<String>,
}

/// Somebody uses a lane no longer, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneLeft {
    /// Who.
    pub who: Name,
    /// The worker, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// He used it until now.
    pub was_attached: bool,
    /// The lane.
    pub lane: LaneView,
}

/// Mark a lane as shared, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareLane {
    /// It is to be.
    pub shared: bool,
}

/// A lane is marked as asked, or was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneShared {
    /// It was otherwise until now.
    pub changed: bool,
    /// The lane.
    pub lane: LaneView,
}

/// Start a worker in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunWorker {
    /// Its name. None: the lane's name, or the next free one after it.
    pub name: Option<String>,
    /// The program.
    pub launch: Launch,
    /// Also if the lane is not set up.
    #[serde(default)]
    pub force: bool,
}

/// Run a task in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunTask {
    /// The program.
    pub launch: Launch,
    /// It goes on without its caller. Else the caller connects to the holder and owns it: the task is
    /// ended when that connection closes.
    pub detach: bool,
}

/// A worker or task was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStarted {
    /// The worker.
    pub worker: WorkerView,
    /// The folder of its holder's socket.
    pub holder_folder: OsText,
}

/// Stop a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopWorker {
    /// Milliseconds its processes have to end by themselves. None: 5 000.
    pub grace_ms: Option<u64>,
}

/// A worker has ended, or had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStopped {
    /// The worker.
    pub worker: WorkerView,
    /// It had ended before this was asked.
    pub was_ended: bool,
    /// How its run ended.
    pub exit: Option<Exit>,
}

/// Start a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartWorker {
    /// Also where the setup of its lane has failed.
    #[serde(default)]
    pub force: bool,
}

/// Something is said to a worker's program: its holder delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// The worker.
    pub worker: WorkerId,
}

/// A worker runs again, or did before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerBegun {
    /// The worker.
    pub worker: WorkerView,
    /// It ran before this was asked.
    pub was_running: bool,
}

/// End a worker's program and start it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartWorker {
    /// Milliseconds its processes have to end by themselves. None: 5 000.
    pub grace_ms: Option<u64>,
    /// Also where the setup of its lane has failed.
    #[serde(default)]
    pub force: bool,
}

/// Close a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CloseLane {
    /// What would be lost is no reason to refuse: all of it is kept for a restore.
    #[serde(default)]
    pub discard: bool,
    /// Merge its commits into what it was made from, before it goes.
    #[serde(default)]
    pub merge: bool,
    /// The branch stays.
    #[serde(default)]
    pub keep_branch: bool,
    /// Milliseconds its programs have to end by themselves. None: 5 000.
    pub grace_ms: Option<u64>,
}

/// A lane is closed, or was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneClosed {
    /// The lane.
    pub lane: LaneView,
    /// It had been closed before this was asked.
    pub was_closed: bool,
    /// The branch is gone too: it was made for the lane, and something else holds its commits.
    pub branch_deleted: bool,
    /// Stashes of the repository, which outlive the lane.
    pub stashes: u32,
    /// The branch that its commits were merged into.
    pub merged_into: Option<String>,
    /// There was work in it, and all of it is kept.
    pub rescued: bool,
    /// Its repository was not there: nothing of it was looked at, and nothing taken away.
    #[serde(default)]
    pub left_behind: bool,
}

/// What a close would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WouldDo {
    /// Nothing: work would be lost.
    Refuse,
    /// Take a lane away in which nothing would be lost.
    Close,
    /// Merge it first.
    Merge,
    /// Take it away with what is in it, and keep all of that.
    Rescue,
}

/// What a close would find and do now. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloseForecast {
    /// The lane.
    pub lane: LaneView,
    /// What it would do.
    pub would: WouldDo,
    /// What would be lost, or is rescued.
    pub losses: Losses,
    /// Stashes of the repository, which outlive the lane.
    pub stashes: u32,
    /// The branch would go too.
    pub branch_goes: bool,
}

/// Bring a closed lane back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreLane {
    /// The name of the new lane. None: the one it had, or the next free one after it.
    pub name: Option<String>,
}

/// A closed lane is back as a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneRestored {
    /// The new lane.
    pub lane: LaneView,
    /// What is not as it was.
    pub warning: Option<String>,
}

/// Delete for good what is kept of closed lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// Only of those that were closed at least so many milliseconds ago.
    pub older_than_ms: u64,
    /// Do it. Else only say what would be deleted.
    pub really: bool,
    /// Only what is kept of these lanes. None: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<LaneId>>,
}

/// How to write what a lane has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DiffText {
    /// Only how much of which file.
    #[serde(default)]
    pub stat: bool,
    /// The type of the terminal that reads it (`TERM`), if the reader wants colours: with colours, if git would use them
    /// there.
    pub terminal: Option<String>,
    /// How wide that terminal is, in columns.
    pub columns: Option<u16>,
}

/// Which lines to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The present screen.
    Screen,
    /// History and screen.
    All,
}

/// Read what a terminal shows. Neither `lines` nor `which`: the last 100 lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadText {
    /// The last so many logical lines.
    pub lines: Option<u32>,
    /// Or one of these.
    #[param(inline)]
    pub which: Option<Which>,
    /// With colours and attributes as escape sequences.
    #[serde(default)]
    pub ansi: bool,
    /// Of these only lines that were changed after this output offset; not for the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// What the run of this number shows or has shown. None: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// The pane of that number instead of the one that the target means; in tmux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pane: Option<u32>,
}

/// Ask how to get at a worker's terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AccessTerminal {
    /// Somebody is about to use it: from now on it is what `-` means.
    #[serde(default)]
    pub attaching: bool,
    /// What it shows is wanted as it comes. In a pane of tmux that is not known without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output: bool,
    /// The pane of that number instead of the one that the target means; in tmux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pane: Option<u32>,
}

/// Hear of a further pane of a worker: when something is written in it, and when its program has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HearPane {
    /// The pane of that number instead of the one that the target means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pane: Option<u32>,
    /// Tell what is written too. Only then tmux gives the pane's output to a pipe, which it has one of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output: bool,
}

/// What is heard of a further pane, one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PaneHeard {
    /// It is listened to from now on. Always the first.
    Listening,
    /// Something was written in it. Several that come close together are told as one.
    Written,
    /// Its program has ended, or it was closed. Always the last.
    Ended {
        /// How.
        exit: Exit,
    },
}

/// Wait until the end of a worker's run is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AwaitExit {
    /// The run. None: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// Wait until a worker's status is one of some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AwaitStatus {
    /// The words, separated by commas.
    pub is: String,
}

/// How to type what the body of the request holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SendInput {
    /// Press return at the end.
    #[serde(default)]
    pub enter: bool,
    /// Bracket the text if the program asked for bracketed paste.
    #[serde(default)]
    pub paste: bool,
    /// Send also what the terminal would cut or act upon.
    #[serde(default)]
    pub raw: bool,
    /// Names of keys that are typed after the text, separated by spaces: `ctrl-c`, `up`, `f5`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keys: String,
    /// Milliseconds that may pass without the terminal taking any of it; then the rest is dropped. None: 30 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Answer with JSON lines of [`SendStep`] instead of one [`Sent`].
    #[serde(default)]
    pub progress: bool,
    /// The pane of that number instead of the one that the target means; in tmux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pane: Option<u32>,
}

/// Where a pane is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaneSide {
    /// To the right of the one that is meant.
    Right,
    /// Below it.
    Below,
}

/// Add a pane to a worker's window of tmux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitWorker {
    /// Where.
    pub side: PaneSide,
    /// Program and arguments; empty: the shell of that tmux.
    pub argv: Vec<OsText>,
}

/// A worker has a further pane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaneAdded {
    /// The worker.
    pub worker: WorkerView,
    /// The pane.
    pub pane: PaneView,
}

/// Input has been taken by the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sent {
    /// The output offset when the request was taken: what the program answers comes after it.
    pub offset: u64,
}

/// How far input is. The last one is `sent` or `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SendStep {
    /// Some of it is in the terminal.
    Progress {
        /// Bytes in the terminal so far.
        n_written: u64,
        /// Bytes in all.
        n_total: u64,
    },
    /// All of it is.
    Sent(Sent),
    /// It failed; the details of `not_read` are [`Cut`].
    Error(Problem),
}

/// What became of input that the terminal did not take in time, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cut {
    /// In the terminal.
    pub n_written: u64,
    /// Dropped.
    pub n_dropped: u64,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReadEvents {
    /// Those after this number. None: the last 50, or with `follow` only new ones; of a correlation all.
    pub since: Option<u64>,
    /// Only those that this request caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    /// And then those to come.
    #[serde(default)]
    pub follow: bool,
}

/// Execute the daemon anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// The program to execute; the caller's own.
    pub program: OsText,
}

/// Compare what is recorded with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// And do what can be done about it without asking.
    pub fix: bool,
}
