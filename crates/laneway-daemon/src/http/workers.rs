//! Requests about workers and their terminals.

use super::document::{Starts, TargetPath, TimesOut};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use laneway_api::request::{
    AccessTerminal, AwaitExit, AwaitStatus, HearPane, PaneAdded, PaneHeard, ReadText, RestartWorker,
    SendInput, SendStep, Sent, SplitWorker, StartWorker, StopWorker, Told, WorkerBegun, WorkerStopped,
};
use laneway_api::routes;
use laneway_api::view::{Explanation, TerminalAccess, TextView, WorkerView, Workers};
use laneway_core::pane::PRIMARY;
use laneway_core::worker::WorkerStatus;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::{All, Caller, Failure, Json, Line, Octets, Query, TargetText, detached, internal, usage};
use crate::engine::{Begun, Engine, ending};
use crate::targets::Readable;
use crate::terminals::{lines_of, refuse_what_only_a_run_has};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichWorkers {
    /// Ended tasks too.
    #[serde(default)]
    all: bool,
}

/// The workers of the repository, the oldest first.
#[utoipa::path(
    get,
    path = routes::WORKERS,
    operation_id = "list_workers",
    tag = "workers",
    params(WhichWorkers),
    responses((status = 200, body = Workers)),
)]
pub(super) async fn list(
    State(engine): State<Engine>,
    caller: Caller,
    Query(which): Query<WhichWorkers>,
) -> Result<Json<Workers>, Failure> {
    let workers = match engine.known_workspace(&caller.cwd).await? {
        Some(workspace) => {
            engine.look_at_ended_panes().await;
            engine.worker_views(workspace.id, which.all).await?
        }
        None => Vec::new(),
    };
    Ok(Json(Workers { workers }))
}

/// A worker or task.
#[utoipa::path(
    get,
    path = routes::WORKER,
    operation_id = "show_worker",
    tag = "workers",
    params(TargetPath),
    responses((status = 200, body = WorkerView)),
)]
pub(super) async fn show(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
) -> Result<Json<WorkerView>, Failure> {
    let worker = engine.worker_target(&caller, &target).await?;
    Ok(Json(engine.worker_by_id(worker).await?))
}

/// A worker, once the end of its run is recorded; after 2 s in any case.
#[utoipa::path(
    get,
    path = routes::WORKER_EXIT,
    operation_id = "await_exit",
    tag = "workers",
    params(TargetPath, AwaitExit),
    responses((status = 200, body = WorkerView)),
)]
pub(super) async fn exit(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Query(wanted): Query<AwaitExit>,
) -> Result<Json<WorkerView>, Failure> {
    let worker = engine.worker_target(&caller, &target).await?;
    engine.exit_is_recorded(worker, wanted.run).await;
    Ok(Json(engine.worker_by_id(worker).await?))
}

/// A worker, once its status is one of those.
#[utoipa::path(
    get,
    path = routes::WORKER_STATUS,
    operation_id = "await_status",
    tag = "workers",
    params(TargetPath, AwaitStatus),
    responses((status = 200, body = WorkerView)),
)]
pub(super) async fn status(
    State(served): All,
    caller: Caller,
    TargetText(target): TargetText,
    Query(wanted): Query<AwaitStatus>,
) -> Result<Json<WorkerView>, Failure> {
    let statuses = wanted.is.split(',').map(|word| {
        let known = || WorkerStatus::ALL.map(WorkerStatus::as_str).join(", ");
        WorkerStatus::from_word(word)
            .ok_or_else(|| usage("unknown_status", &format!("no worker is {word:?}; they are {}", known())))
    });
    let statuses: Vec<WorkerStatus> = statuses.collect::<Result<_, _>>()?;
    let worker = served.engine.worker_target(&caller, &target).await?;
    tokio::select! {
        view = served.engine.status_is(worker, &statuses) => Ok(Json(view?)),
        // A daemon that ends waits for its answers, and not for ever for this one.
        () = served.closing.cancelled() => Err(ending().into()),
    }
}

/// Stop a worker.
#[utoipa::path(
    post,
    path = routes::WORKER_STOP,
    operation_id = "stop_worker",
    tag = "workers",
    params(TargetPath),
    request_body = StopWorker,
    responses((status = 200, body = WorkerStopped), TimesOut),
)]
pub(super) async fn stop(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<StopWorker>,
) -> Result<Json<WorkerStopped>, Failure> {
    let id = engine.worker_target(&caller, &target).await?;
    let stopped = detached(async move {
        let before = engine.worker_by_id(id).await?;
        engine.stop_worker(id, wanted.grace_ms, caller.request).await?;
        let worker = engine.worker_by_id(id).await?;
        let rested = before.exit.is_some() && before.status != WorkerStatus::Backoff;
        let was_ended = rested && !before.left_behind;
        Ok(WorkerStopped { was_ended, exit: worker.exit.clone(), worker })
    });
    Ok(Json(stopped.await?))
}

/// Start a worker that has ended.
#[utoipa::path(
    post,
    path = routes::WORKER_START,
    operation_id = "start_worker",
    tag = "workers",
    params(TargetPath),
    request_body = StartWorker,
    responses((status = 200, body = WorkerBegun), Starts),
)]
pub(super) async fn start(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(StartWorker { force }): Json<StartWorker>,
) -> Result<Json<WorkerBegun>, Failure> {
    let id = engine.worker_target(&caller, &target).await?;
    let started = detached(async move {
        let was_running = matches!(engine.start_worker(id, force, caller.request).await?, Begun::Before);
        Ok(WorkerBegun { worker: engine.worker_by_id(id).await?, was_running })
    });
    Ok(Json(started.await?))
}

/// End a worker's program and start it again.
#[utoipa::path(
    post,
    path = routes::WORKER_RESTART,
    operation_id = "restart_worker",
    tag = "workers",
    params(TargetPath),
    request_body = RestartWorker,
    responses((status = 200, body = WorkerBegun), Starts),
)]
pub(super) async fn restart(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<RestartWorker>,
) -> Result<Json<WorkerBegun>, Failure> {
    let id = engine.worker_target(&caller, &target).await?;
    let restarted = detached(async move {
        let was_running = engine.worker_by_id(id).await?.exit.is_none();
        engine.restart_worker(id, wanted, caller.request).await?;
        Ok(WorkerBegun { worker: engine.worker_by_id(id).await?, was_running })
    });
    Ok(Json(restarted.await?))
}

/// Tell a worker's program something over its channel.
#[utoipa::path(
    post,
    path = routes::WORKER_MESSAGES,
    operation_id = "message_worker",
    tag = "workers",
    params(TargetPath),
    request_body = Object,
    responses((status = 200, body = Told)),
)]
pub(super) async fn message(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(message): Json<Map<String, Value>>,
) -> Result<Json<Told>, Failure> {
    let worker = engine.worker_target(&caller, &target).await?;
    detached(async move { engine.message_worker(worker, message).await }).await?;
    Ok(Json(Told { worker }))
}

/// Why a worker is in the state that it is in.
#[utoipa::path(
    get,
    path = routes::WORKER_EXPLANATION,
    operation_id = "explain_worker",
    tag = "workers",
    params(TargetPath),
    responses((status = 200, body = Explanation)),
)]
pub(super) async fn explain(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
) -> Result<Json<Explanation>, Failure> {
    let worker = engine.worker_target(&caller, &target).await?;
    Ok(Json(engine.explain(worker).await?))
}

/// How to get at a worker's terminal.
#[utoipa::path(
    get,
    path = routes::WORKER_TERMINAL,
    operation_id = "show_terminal",
    tag = "terminals",
    params(TargetPath, AccessTerminal),
    responses((status = 200, body = TerminalAccess)),
)]
pub(super) async fn terminal(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Query(wanted): Query<AccessTerminal>,
) -> Result<Json<TerminalAccess>, Failure> {
    let (worker, pane) = engine.terminal_target(&caller, &target, wanted.pane).await?;
    if wanted.attaching {
        engine.attached(worker, caller.request).await?;
    }
    Ok(Json(match pane {
        PRIMARY => engine.terminal_access(worker, wanted).await?,
        further => engine.access_to_further(worker, further).await?,
    }))
}

/// What happens in a further pane of a worker.
#[utoipa::path(
    get,
    path = routes::WORKER_PANE,
    operation_id = "hear_pane",
    tag = "terminals",
    params(TargetPath, HearPane),
    responses((status = 200, body = PaneHeard, content_type = "application/x-ndjson", description = "JSON lines")),
)]
pub(super) async fn pane(
    State(served): All,
    caller: Caller,
    TargetText(target): TargetText,
    Query(wanted): Query<HearPane>,
) -> Result<Response, Failure> {
    let pane = served.engine.terminal_target(&caller, &target, wanted.pane).await?;
    let hearing = served.engine.hear_pane(pane, wanted).await?;
    let lines = stream::unfold((hearing, served.closing), |(mut hearing, closing)| async move {
        let heard = closing.run_until_cancelled(hearing.next()).await??;
        let mut line = serde_json::to_vec(&heard).expect("what is heard is made of strings and numbers");
        line.push(b'\n');
        Some((Line::Ok(line.into()), (hearing, closing)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// What a terminal shows.
#[utoipa::path(
    get,
    path = routes::WORKER_TEXT,
    operation_id = "read_terminal",
    tag = "terminals",
    params(TargetPath, ReadText),
    responses((status = 200, body = TextView)),
)]
pub(super) async fn text(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Query(wanted): Query<ReadText>,
) -> Result<Json<TextView>, Failure> {
    Ok(Json(match engine.readable_target(&caller, &target, wanted.pane).await? {
        Readable::Worker(id, pane) => engine.read_text((id, pane), &wanted).await?,
        Readable::Run(id, number) => {
            let run = Some(wanted.run.unwrap_or(number));
            engine.read_text((id, PRIMARY), &ReadText { run, ..wanted }).await?
        }
        Readable::Pane { server, pane_id } => {
            refuse_what_only_a_run_has(&wanted)?;
            let how = (lines_of(&wanted)?, wanted.ansi);
            engine.read_any_pane(server, pane_id, how).await?
        }
    }))
}

/// Type the body of the request into a terminal.
#[utoipa::path(
    post,
    path = routes::WORKER_INPUT,
    operation_id = "type_input",
    tag = "terminals",
    params(TargetPath, SendInput),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 200, content((Sent = "application/json"), (SendStep = "application/x-ndjson"))), TimesOut),
)]
pub(super) async fn input(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Query(how): Query<SendInput>,
    Octets(text): Octets,
) -> Result<Response, Failure> {
    let worker = engine.terminal_target(&caller, &target, how.pane).await?;
    let mut steps = engine.send_input(worker, text.into(), &how).await?;
    if how.progress {
        let lines = stream::unfold(steps, |mut steps| async move {
            let step = steps.recv().await?;
            let mut line = serde_json::to_vec(&step).expect("a step is made of strings and numbers");
            line.push(b'\n');
            Some((Line::Ok(line.into()), steps))
        });
        return Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response());
    }
    loop {
        match steps.recv().await {
            Some(SendStep::Progress { .. }) => {}
            Some(SendStep::Sent(sent)) => return Ok(Json(sent).into_response()),
            Some(SendStep::Error(problem)) => return Err(problem.into()),
            None => return Err(internal()),
        }
    }
}

/// Add a pane to a worker's window of tmux.
#[utoipa::path(
    post,
    path = routes::WORKER_SPLIT,
    operation_id = "split_worker",
    tag = "terminals",
    params(TargetPath),
    request_body = SplitWorker,
    responses((status = 200, body = PaneAdded)),
)]
pub(super) async fn split(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<SplitWorker>,
) -> Result<Json<PaneAdded>, Failure> {
    let (worker, pane) = engine.terminal_target(&caller, &target, None).await?;
    let added = detached(async move { engine.split((worker, pane), wanted, caller.request).await });
    Ok(Json(added.await?))
}
