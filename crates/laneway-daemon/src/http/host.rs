//! Requests about the daemon itself, its events, and what a target means.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::document::{TargetPath, TimesOut};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{ReadEvents, Reconcile, Restart};
use laneway_api::routes;
use laneway_api::version::VERSION;
use laneway_api::view::{
    Comparison, DaemonProcess, DaemonStatus, EventView, Resolved, ResolvedTarget, WorkerView, Workspaces,
};
use laneway_core::event::Recorded;
use laneway_core::os_text::OsText;
use laneway_core::target::{Use, Wanted};
use laneway_store::{WorkerRow, WorkersOf};
use rustix::fs::{Access, access};

use super::feed::{Feed, Next};
use super::{All, Caller, Ending, Failure, Json, Line, Query, TargetText, detached};
use crate::engine::{Engine, blocking};
use crate::life::RUNNING;
use crate::targets::{Whole, whole};
use crate::views::event_view;

/// Events that are shown if nothing else is said.
const LAST_EVENTS: u32 = 50;

/// The daemon: its process, version, places and counts.
#[utoipa::path(
    get,
    path = routes::DAEMON,
    operation_id = "show_daemon",
    tag = "daemon",
    responses((status = 200, body = DaemonStatus)),
)]
pub(super) async fn status(State(served): All) -> Result<Json<DaemonStatus>, Failure> {
    let engine = &served.engine;
    let (counts, last_seq) = engine.read(|store| Ok((store.counts()?, store.last_seq()?))).await?;
    let workers = engine.read(|store| store.workers(WorkersOf::Everywhere)).await?;
    let is_waiting = |row: &&WorkerRow| row.worker.supervision.next_try_at().is_some();
    Ok(Json(DaemonStatus {
        pid: std::process::id(),
        version: VERSION.to_owned(),
        socket: engine.home.socket().into(),
        started_at: engine.started_at.into(),
        host: engine.store.host(),
        log: engine.home.log().into(),
        n_lanes: counts.unclosed_lanes,
        n_live_runs: counts.live_runs,
        n_waiting: workers.iter().filter(is_waiting).count() as u64,
        last_seq,
        serving: Some(served.serving.view().await).filter(|serving| serving.port.is_some()),
    }))
}

/// The repositories that are known, the oldest first.
#[utoipa::path(
    get,
    path = routes::WORKSPACES,
    operation_id = "list_workspaces",
    tag = "workspaces",
    responses((status = 200, body = Workspaces)),
)]
pub(super) async fn workspaces(State(engine): State<Engine>) -> Result<Json<Workspaces>, Failure> {
    Ok(Json(engine.workspaces().await?))
}

/// End the daemon. Workers go on.
#[utoipa::path(
    post,
    path = routes::DAEMON_STOP,
    operation_id = "stop_daemon",
    tag = "daemon",
    responses((status = 200, body = DaemonProcess)),
)]
pub(super) async fn stop(State(served): All) -> Json<DaemonProcess> {
    tracing::info!("asked to stop");
    served.ending.send_replace(Some(Ending::Stop));
    Json(DaemonProcess { pid: std::process::id() })
}

/// Have the daemon execute itself anew, with this program. Workers go on.
///
/// Another program than the one that it was started from only a person may name, and nobody does it over TCP.
#[utoipa::path(
    post,
    path = routes::DAEMON_RESTART,
    operation_id = "restart_daemon",
    tag = "daemon",
    request_body = Restart,
    responses((status = 200, body = DaemonProcess)),
)]
pub(super) async fn restart(
    State(served): All,
    caller: Caller,
    Json(wanted): Json<Restart>,
) -> Result<Json<DaemonProcess>, Failure> {
    caller.must_be_here("executing the daemon anew")?;
    // Where its own program is, a newer one may be by now.
    if own_program().is_none_or(|own| own != wanted.program.as_path()) {
        caller.must_be_a_person("executing another program as the daemon")?;
    }
    let program = wanted.program.clone();
    detached(async move { blocking(move || refuse_what_is_no_program(&program)).await? }).await?;
    tracing::info!(program = %wanted.program, "asked to execute itself anew");
    served.ending.send_replace(Some(Ending::Restart(wanted.program)));
    Ok(Json(DaemonProcess { pid: std::process::id() }))
}

/// Refuses a file that cannot be executed on this machine: there would be no daemon afterwards.
fn refuse_what_is_no_program(program: &OsText) -> Result<(), Problem> {
    let path = program.as_path();
    let may_be_executed = path.is_absolute()
        && path.is_file()
        && access(path, Access::EXEC_OK).is_ok()
        && matches!((kind_of_program(path), kind_of_program(Path::new(RUNNING))), (Ok(its), Ok(own)) if its == own);
    if may_be_executed {
        return Ok(());
    }
    let message = format!("{program} is not a program that this machine can execute");
    Err(Problem::new(ErrorKind::Usage, "no_such_program", message).hint("give the whole path of lane"))
}

/// The parts of the head of an ELF file that say what it is, for which class, byte order and machine.
fn kind_of_program(path: &Path) -> io::Result<([u8; 6], [u8; 2])> {
    let mut head = [0; 20];
    File::open(path)?.read_exact(&mut head)?;
    let [e0, e1, e2, e3, class, order, .., m0, m1] = head;
    Ok(([e0, e1, e2, e3, class, order], [m0, m1]))
}

/// Where the program that runs as the daemon was started from.
fn own_program() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.into_os_string().into_vec();
    // It is so called once another file is in its place.
    let replaced = path.strip_suffix(b" (deleted)").map(<[u8]>::to_vec);
    Some(OsString::from_vec(replaced.unwrap_or(path)).into())
}

/// Compare what is recorded with what is there, and put right what needs no asking.
#[utoipa::path(
    post,
    path = routes::RECONCILE,
    operation_id = "reconcile",
    tag = "daemon",
    request_body = Reconcile,
    responses((status = 200, body = Comparison), TimesOut),
)]
pub(super) async fn reconcile(
    State(engine): State<Engine>,
    caller: Caller,
    Json(wanted): Json<Reconcile>,
) -> Result<Json<Comparison>, Failure> {
    Ok(Json(detached(async move { engine.compare(wanted.fix, caller.request).await }).await?))
}

/// The lane or worker that a target means.
#[utoipa::path(
    get,
    path = routes::RESOLVE,
    operation_id = "resolve_target",
    tag = "targets",
    params(TargetPath),
    responses((status = 200, body = Resolved)),
)]
pub(super) async fn resolve(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
) -> Result<Json<Resolved>, Failure> {
    // What a pane is, beside its worker, `lane resolve` says.
    let meant = engine.target(&caller, &target, Wanted::Either, Use::Acting).await?;
    Ok(Json(match whole(meant.target, &target)? {
        Whole::Lane(lane) => Resolved::Lane(Box::new(engine.lane_by_id(lane).await?)),
        Whole::Worker(id) => {
            engine.look_at_ended_panes().await;
            let runs = engine.last_runs(id).await?;
            Resolved::Worker(Box::new(WorkerView { runs, ..engine.worker_by_id(id).await? }))
        }
    }))
}

/// What a target means, and by what it was found.
#[utoipa::path(
    get,
    path = routes::TARGET,
    operation_id = "show_target",
    tag = "targets",
    params(TargetPath),
    responses((status = 200, body = ResolvedTarget)),
)]
pub(super) async fn target(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
) -> Result<Json<ResolvedTarget>, Failure> {
    Ok(Json(engine.resolved(&caller, &target).await?))
}

/// Events in order, one JSON document per line, without a gap.
#[utoipa::path(
    get,
    path = routes::EVENTS,
    operation_id = "list_events",
    tag = "events",
    params(ReadEvents),
    responses((status = 200, body = EventView, content_type = "application/x-ndjson", description = "JSON lines")),
)]
pub(super) async fn events(
    State(served): All,
    Query(wanted): Query<ReadEvents>,
) -> Result<Response, Failure> {
    let engine = &served.engine;
    // Whatever it caused, it may be long ago.
    let since = wanted.since.or(wanted.correlation.map(|_| 0));
    let feed = match (since, wanted.follow) {
        (Some(since), follow) => Feed::since(engine, since, follow),
        (None, true) => Feed::to_come(engine).await?.0,
        (None, false) => Feed::last(engine, LAST_EVENTS).await?,
    };
    let state = (feed, served.closing.clone());
    let is_wanted =
        move |event: &Recorded| wanted.correlation.is_none_or(|correlation| event.correlation == correlation);
    let lines = stream::unfold(state, move |(mut feed, closing)| async move {
        loop {
            // What is there is told also by a daemon that is ending.
            let next = match feed.at_once().await.transpose() {
                Some(next) => next,
                None => closing.run_until_cancelled(feed.next()).await?,
            };
            match next {
                Ok(Next::Event(event)) if is_wanted(&event) => {
                    return Some((Line::Ok(line(&event)), (feed, closing)));
                }
                Ok(Next::Event(_) | Next::Lagged { .. }) => {}
                Ok(Next::End) => return None,
                Err(problem) => {
                    tracing::warn!(problem.message, "events cannot be told");
                    return None;
                }
            }
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn line(event: &Recorded) -> bytes::Bytes {
    let mut line = serde_json::to_vec(&event_view(event)).expect("an event is made of strings and numbers");
    line.push(b'\n');
    line.into()
}
