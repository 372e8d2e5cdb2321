//! Paths and headers. A `{target}` in a path is percent-encoded, so that `lane/worker` is one segment.

use laneway_core::os_text::OsText;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Every request: the version of the client.
pub const VERSION_HEADER: &str = "laneway-version";
/// Every request that names a target: the caller's folder, percent-encoded bytes.
pub const CWD_HEADER: &str = "laneway-cwd";
/// The socket of the tmux server that the caller is in or has named, as [`CWD_HEADER`] tells a folder.
pub const TMUX_HEADER: &str = "laneway-tmux";
/// From inside a run: its id.
pub const RUN_HEADER: &str = "laneway-run";

/// GET: answers `ok` while the daemon serves.
pub const HEALTH: &str = "/healthz";
/// GET: answers `ready` when the record can be read, 503 else.
pub const READY: &str = "/readyz";
/// GET: a page that shows [`OPENAPI`].
pub const API_PAGE: &str = "/api";
/// GET: all of this as an `OpenAPI` 3.1 document.
pub const OPENAPI: &str = "/api/openapi.json";
/// GET: numbers in the text format of Prometheus.
pub const METRICS: &str = "/metrics";
/// GET with [`crate::socket::SocketQuery`]: a WebSocket of [`crate::socket::ClientMessage`] and
/// [`crate::socket::ServerMessage`], and events.
pub const EVENT_SOCKET: &str = "/ws";
/// GET with [`crate::socket::TerminalQuery`]: a WebSocket of bytes, [`crate::socket::TerminalWish`] and
/// [`crate::socket::TerminalWord`].
pub const TERMINAL_SOCKET: &str = "/ws/terminal/{target}";
/// GET: [`crate::serving::ServingView`]; POST [`crate::serving::Serve`]: the same.
pub const SERVE: &str = "/api/v1/serve";
/// POST: [`crate::serving::ServingView`], of what was served until then.
pub const SERVE_STOP: &str = "/api/v1/serve/stop";
/// GET: [`crate::serving::Tokens`]; POST [`crate::serving::CreateToken`]: [`crate::serving::TokenMade`].
pub const TOKENS: &str = "/api/v1/tokens";
/// POST: [`crate::serving::TokenView`] of what was revoked.
pub const TOKEN_REVOKE: &str = "/api/v1/tokens/{target}/revoke";
/// POST [`crate::serving::OpenWeb`]: [`crate::serving::WebLink`].
pub const WEB: &str = "/api/v1/web";
/// GET, once: lets a browser in that opens it, and goes on to [`HOME`].
pub const WEB_LOGIN: &str = "/login/{target}";
/// GET: where a browser begins.
pub const HOME: &str = "/";
/// GET: [`crate::view::DaemonStatus`].
pub const DAEMON: &str = "/api/v1/daemon";
/// POST: the daemon ends; workers go on.
pub const DAEMON_STOP: &str = "/api/v1/daemon/stop";
/// POST [`crate::request::Restart`]: the daemon executes itself anew; workers go on.
pub const DAEMON_RESTART: &str = "/api/v1/daemon/restart";
/// GET: [`crate::view::Workspaces`].
pub const WORKSPACES: &str = "/api/v1/workspaces";
/// GET `?closed=true`: [`crate::view::Lanes`]; POST [`crate::request::NewLane`], with
/// [`crate::request::InSteps`] answered in JSON lines of [`crate::request::Making`].
pub const LANES: &str = "/api/v1/lanes";
/// GET: [`crate::view::LaneView`].
pub const LANE: &str = "/api/v1/lanes/{target}";
/// GET: [`crate::view::SettingsView`]; POST [`crate::request::Trust`]: the same.
pub const TRUST: &str = "/api/v1/trust";
/// POST [`crate::request::SetUpLane`]: [`crate::view::LaneView`]; with [`crate::request::InSteps`] JSON lines of
/// [`crate::request::Making`].
pub const LANE_SETUP: &str = "/api/v1/lanes/{target}/setup";
/// POST: [`crate::request::SettingsWritten`], a `laneway.toml` where there was none.
pub const INIT: &str = "/api/v1/init";
/// POST [`crate::request::AdoptWorktree`]: [`crate::view::LaneView`].
pub const ADOPT: &str = "/api/v1/adopt";
/// POST [`crate::request::Rename`]: [`crate::request::Renamed`].
pub const RENAME: &str = "/api/v1/rename/{target}";
/// GET with [`crate::request::CloseLane`] as a query: [`crate::request::CloseForecast`];
/// POST [`crate::request::CloseLane`].
pub const LANE_CLOSE: &str = "/api/v1/lanes/{target}/close";
/// POST [`crate::request::JoinLane`]: [`crate::request::LaneJoined`].
pub const LANE_JOIN: &str = "/api/v1/lanes/{target}/join";
/// POST [`crate::request::LeaveLane`]: [`crate::request::LaneLeft`].
pub const LANE_LEAVE: &str = "/api/v1/lanes/{target}/leave";
/// POST [`crate::request::ShareLane`]: [`crate::request::LaneShared`].
pub const LANE_SHARE: &str = "/api/v1/lanes/{target}/share";
/// GET: [`crate::view::LaneDiff`].
pub const LANE_DIFF: &str = "/api/v1/lanes/{target}/diff";
/// GET [`crate::request::DiffText`] as a query: octets, as `git diff` writes them.
pub const LANE_DIFF_TEXT: &str = "/api/v1/lanes/{target}/diff/text";
/// GET: [`crate::view::Rescues`].
pub const RESCUES: &str = "/api/v1/rescues";
/// POST [`crate::request::RestoreLane`]: [`crate::request::LaneRestored`].
pub const RESTORE: &str = "/api/v1/restore/{target}";
/// POST [`crate::request::Prune`]: [`crate::view::Rescues`], what was or would be deleted.
pub const PRUNE: &str = "/api/v1/prune";
/// POST [`crate::request::RunWorker`].
pub const LANE_WORKERS: &str = "/api/v1/lanes/{target}/workers";
/// POST [`crate::request::RunTask`].
pub const LANE_TASKS: &str = "/api/v1/lanes/{target}/tasks";
/// GET `?all=true`: [`crate::view::Workers`]; without `all`, ended tasks are left out.
pub const WORKERS: &str = "/api/v1/workers";
/// GET: [`crate::view::WorkerView`].
pub const WORKER: &str = "/api/v1/workers/{target}";
/// GET [`crate::request::AwaitExit`] as a query: [`crate::view::WorkerView`], once the end of its run is recorded;
/// after 2 s in any case.
pub const WORKER_EXIT: &str = "/api/v1/workers/{target}/exit";
/// GET [`crate::request::AwaitStatus`] as a query: [`crate::view::WorkerView`], once its status is one of those.
pub const WORKER_STATUS: &str = "/api/v1/workers/{target}/status";
/// POST [`crate::request::StopWorker`].
pub const WORKER_STOP: &str = "/api/v1/workers/{target}/stop";
/// POST [`crate::request::StartWorker`]: [`crate::request::WorkerBegun`].
pub const WORKER_START: &str = "/api/v1/workers/{target}/start";
/// POST [`crate::request::RestartWorker`]: [`crate::request::WorkerBegun`].
pub const WORKER_RESTART: &str = "/api/v1/workers/{target}/restart";
/// POST a JSON object: it is told to the worker's program over its channel. Answer: [`crate::request::Told`].
pub const WORKER_MESSAGES: &str = "/api/v1/workers/{target}/messages";
/// GET: [`crate::view::Explanation`].
pub const WORKER_EXPLANATION: &str = "/api/v1/workers/{target}/explanation";
/// GET [`crate::request::AccessTerminal`] as a query: [`crate::view::TerminalAccess`].
pub const WORKER_TERMINAL: &str = "/api/v1/workers/{target}/terminal";
/// GET [`crate::request::HearPane`] as a query: JSON lines of [`crate::request::PaneHeard`], of a further pane in tmux.
pub const WORKER_PANE: &str = "/api/v1/workers/{target}/pane";
/// GET [`crate::request::ReadText`] as a query: [`crate::view::TextView`].
pub const WORKER_TEXT: &str = "/api/v1/workers/{target}/text";
/// POST: octets, with [`crate::request::SendInput`] as a query: [`crate::request::Sent`].
pub const WORKER_INPUT: &str = "/api/v1/workers/{target}/input";
/// POST [`crate::request::SplitWorker`]: [`crate::request::PaneAdded`].
pub const WORKER_SPLIT: &str = "/api/v1/workers/{target}/split";
/// POST [`crate::tmux::TmuxPlace`]: [`crate::tmux::Synced`].
pub const TMUX_SYNC: &str = "/api/v1/tmux/sync";
/// POST [`crate::tmux::TmuxPlace`]: [`crate::tmux::Spread`].
pub const TMUX_SPREAD: &str = "/api/v1/tmux/spread/{target}";
/// POST [`crate::request::Reconcile`]: [`crate::view::Comparison`].
pub const RECONCILE: &str = "/api/v1/reconcile";
/// GET: [`crate::view::Resolved`].
pub const RESOLVE: &str = "/api/v1/resolve/{target}";
/// GET: [`crate::view::ResolvedTarget`].
pub const TARGET: &str = "/api/v1/targets/{target}";
/// GET [`crate::request::ReadEvents`] as a query: JSON lines of [`crate::view::EventView`].
pub const EVENTS: &str = "/api/v1/events";

/// GET: a list of [`crate::program::ProgramView`].
pub const PROGRAMS: &str = "/api/programs";
/// What the routes of the instances of a program begin with.
pub const PROGRAM: &str = "/api/programs/{program}";
/// The same for the first program, as the users of these routes know them.
pub const FIRST_PROGRAM: &str = "/api/orchestrator";
/// GET, below a program: a list of [`crate::program::InstanceView`].
pub const INSTANCES: &str = "/instances";
/// GET, below a program: [`crate::program::InstanceView`] of the instance `default`.
pub const DEFAULT_STATUS: &str = "/status";
/// POST [`crate::program::StartInstance`], below a program: [`crate::program::InstanceDone`], for the instance `default`.
pub const DEFAULT_START: &str = "/start";
/// POST, below a program: [`crate::program::InstanceDone`], for the instance `default`.
pub const DEFAULT_STOP: &str = "/stop";
/// GET [`crate::program::ReadHistory`] as a query, below a program: a list of [`crate::program::InstanceRunView`].
pub const HISTORY: &str = "/history";
/// GET, below a program: [`crate::program::WorkersHealth`].
pub const WORKERS_HEALTH: &str = "/workers/health";
/// DELETE, below a program: [`crate::program::InstanceRemoved`].
pub const INSTANCE: &str = "/{id}";
/// POST [`crate::program::StartInstance`], below a program: [`crate::program::InstanceDone`].
pub const INSTANCE_START: &str = "/{id}/start";
/// POST, below a program: [`crate::program::InstanceDone`].
pub const INSTANCE_STOP: &str = "/{id}/stop";
/// POST [`crate::program::ConfigureInstance`], below a program: [`crate::program::InstanceConfigured`].
pub const INSTANCE_CONFIG: &str = "/{id}/config";

const NOT_IN_A_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A route with its `{target}` filled in.
pub fn with_target(route: &str, target: &str) -> String {
    route.replace("{target}", &percent_encode(target.as_bytes(), NOT_IN_A_SEGMENT).to_string())
}

/// A route below a program with both filled in.
pub fn of_program(route: &str, program: &str, instance: &str) -> String {
    let segment = |text: &str| percent_encode(text.as_bytes(), NOT_IN_A_SEGMENT).to_string();
    let below = route.replace("{id}", &segment(instance));
    format!("{}{below}", PROGRAM.replace("{program}", &segment(program)))
}

/// A folder as the value of [`CWD_HEADER`].
pub fn encode_path(path: &OsText) -> String {
    percent_encode(path.as_bytes(), NOT_IN_A_SEGMENT).to_string()
}

/// The folder in a value of [`CWD_HEADER`].
pub fn decode_path(value: &str) -> OsText {
    OsText::from_bytes(percent_decode_str(value).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_folders_survive_a_url() {
        assert_eq!(with_target(WORKER, "a/b c"), "/api/v1/workers/a%2Fb%20c");
        let odd = OsText::from_bytes(&b"/tmp/\xff\n%20"[..]);
        assert_eq!(decode_path(&encode_path(&odd)), odd);
    }
}
