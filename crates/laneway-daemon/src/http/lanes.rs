//! Requests about lanes.

use super::document::{NotFound, Starts, TargetPath, TimesOut};
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::stream;
use laneway_api::request::{
    AdoptWorktree, CloseForecast, CloseLane, DiffText, InSteps, LaneClosed, LaneMade, Making, NewLane,
    Rename, Renamed, RunTask, RunWorker, WorkerStarted, WouldDo,
};
use laneway_api::routes;
use laneway_api::view::{LaneDiff, LaneView, Lanes};
use laneway_core::command::WorkerNaming;
use laneway_core::decide::CloseStep;
use laneway_core::lane::CloseTerms;
use laneway_core::launch::DEFAULT_GRACE_MS;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use utoipa::IntoParams;

use super::settings::in_steps;
use super::{Caller, Failure, Json, Query, TargetText, detached};
use crate::engine::{CloseAsked, Engine, RunHow, parse_name};

/// Bytes of a long answer that are read and sent at once.
const PIECE: usize = 64 << 10;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichLanes {
    /// The closed ones too.
    #[serde(default)]
    closed: bool,
}

/// The lanes of the repository, the oldest first.
#[utoipa::path(
    get,
    path = routes::LANES,
    operation_id = "list_lanes",
    tag = "lanes",
    params(WhichLanes),
    responses((status = 200, body = Lanes)),
)]
pub(super) async fn list(
    State(engine): State<Engine>,
    caller: Caller,
    Query(which): Query<WhichLanes>,
) -> Result<Json<Lanes>, Failure> {
    let lanes = match engine.known_workspace(&caller.cwd).await? {
        Some(workspace) => engine.lane_views(workspace.id, which.closed).await?,
        None => Vec::new(),
    };
    Ok(Json(Lanes { lanes }))
}

/// Make a lane.
#[utoipa::path(
    post,
    path = routes::LANES,
    operation_id = "create_lane",
    tag = "lanes",
    params(InSteps),
    request_body = NewLane,
    responses((status = 201, content((LaneMade = "application/json"), (Making<LaneMade> = "application/x-ndjson"))), NotFound, Starts),
)]
pub(super) async fn create(
    State(engine): State<Engine>,
    caller: Caller,
    Query(how): Query<InSteps>,
    Json(wanted): Json<NewLane>,
) -> Result<Response, Failure> {
    if let Some(launch) = &wanted.launch {
        caller.may_use(&launch.terminal)?;
    }
    in_steps(how.progress, StatusCode::CREATED, |tell| async move {
        let made = engine.new_lane(&caller.cwd, wanted, &tell, caller.request).await?;
        let lane = engine.lane_by_id(made.lane).await?;
        let worker = match made.worker {
            Some(worker) => Some(engine.worker_by_id(worker).await?),
            None => None,
        };
        Ok(LaneMade { lane, worker })
    })
    .await
}

/// Take in a worktree that somebody made.
#[utoipa::path(
    post,
    path = routes::ADOPT,
    operation_id = "adopt_worktree",
    tag = "lanes",
    request_body = AdoptWorktree,
    responses((status = 201, body = LaneView), NotFound),
)]
pub(super) async fn adopt(
    State(engine): State<Engine>,
    caller: Caller,
    Json(wanted): Json<AdoptWorktree>,
) -> Result<(StatusCode, Json<LaneView>), Failure> {
    let adopted = detached(async move {
        let lane = engine.adopt(&caller.cwd, &wanted.path, wanted.name.as_deref(), caller.request).await?;
        engine.lane_by_id(lane).await
    });
    Ok((StatusCode::CREATED, Json(adopted.await?)))
}

/// Give a lane or a worker another name.
#[utoipa::path(
    post,
    path = routes::RENAME,
    operation_id = "rename",
    tag = "targets",
    params(TargetPath),
    request_body = Rename,
    responses((status = 200, body = Renamed)),
)]
pub(super) async fn rename(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<Rename>,
) -> Result<Json<Renamed>, Failure> {
    let to = parse_name(&wanted.to)?;
    Ok(Json(engine.rename(&caller, &target, to).await?))
}

/// A lane.
#[utoipa::path(
    get,
    path = routes::LANE,
    operation_id = "show_lane",
    tag = "lanes",
    params(TargetPath),
    responses((status = 200, body = LaneView)),
)]
pub(super) async fn show(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
) -> Result<Json<LaneView>, Failure> {
    let lane = engine.lane_target(&caller, &target).await?;
    Ok(Json(engine.lane_by_id(lane).await?))
}

/// Close a lane.
#[utoipa::path(
    post,
    path = routes::LANE_CLOSE,
    operation_id = "close_lane",
    tag = "lanes",
    params(TargetPath),
    request_body = CloseLane,
    responses((status = 200, body = LaneClosed), TimesOut),
)]
pub(super) async fn close(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<CloseLane>,
) -> Result<Json<LaneClosed>, Failure> {
    if wanted.discard {
        caller.must_be_a_person("closing a lane with --discard")?;
    }
    let lane = engine.lane_target(&caller, &target).await?;
    let closed = detached(async move {
        let asked = CloseAsked {
            grace_ms: wanted.grace_ms.unwrap_or(DEFAULT_GRACE_MS),
            terms: terms_of(&wanted),
            by: engine.user_of(caller.request.actor).await?,
            caller: caller.pid,
            if_quiet: false,
        };
        let closed = engine.close_lane(lane, asked, caller.request).await?;
        Ok(LaneClosed {
            lane: engine.lane_by_id(lane).await?,
            was_closed: closed.was_closed,
            branch_deleted: closed.branch_deleted,
            stashes: closed.stashes,
            merged_into: closed.merged_into,
            rescued: closed.rescued,
            left_behind: closed.left_behind,
        })
    });
    Ok(Json(closed.await?))
}

/// The files that a lane has changed.
#[utoipa::path(
    get,
    path = routes::LANE_DIFF,
    operation_id = "show_diff",
    tag = "lanes",
    params(TargetPath),
    responses((status = 200, body = LaneDiff)),
)]
pub(super) async fn diff(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
) -> Result<Json<LaneDiff>, Failure> {
    let lane = engine.lane_target(&caller, &target).await?;
    Ok(Json(engine.diff(lane).await?))
}

/// What a lane has changed, as git writes it.
#[utoipa::path(
    get,
    path = routes::LANE_DIFF_TEXT,
    operation_id = "show_diff_text",
    tag = "lanes",
    params(TargetPath, DiffText),
    responses((status = 200, body = [u8], content_type = "application/octet-stream", description = "as `git diff` writes it")),
)]
pub(super) async fn diff_text(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Query(how): Query<DiffText>,
) -> Result<Response, Failure> {
    let lane = engine.lane_target(&caller, &target).await?;
    let file = engine.diff_text(lane, how).await?;
    let file = tokio::fs::File::from_std(file);
    let pieces = stream::try_unfold((file, BytesMut::new()), |(mut file, mut buffer)| async move {
        buffer.reserve(PIECE);
        let n_read = file.read_buf(&mut buffer).await?;
        Ok::<_, std::io::Error>((n_read > 0).then(|| (buffer.split().freeze(), (file, buffer))))
    });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces)).into_response())
}

/// What a close would find and do now.
#[utoipa::path(
    get,
    path = routes::LANE_CLOSE,
    operation_id = "forecast_close",
    tag = "lanes",
    params(TargetPath, CloseLane),
    responses((status = 200, body = CloseForecast)),
)]
pub(super) async fn forecast(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Query(wanted): Query<CloseLane>,
) -> Result<Json<CloseForecast>, Failure> {
    let id = engine.lane_target(&caller, &target).await?;
    let by = engine.user_of(caller.request.actor).await?;
    let asked = CloseAsked { terms: terms_of(&wanted), by, caller: caller.pid, ..CloseAsked::default() };
    let (would, findings, branch_goes) = engine.forecast(id, asked).await?;
    let would = match would {
        CloseStep::Refuse => WouldDo::Refuse,
        CloseStep::Merge => WouldDo::Merge,
        CloseStep::Remove => WouldDo::Close,
        CloseStep::Rescue => WouldDo::Rescue,
    };
    let lane = engine.lane_by_id(id).await?;
    let (losses, stashes) = (findings.losses, findings.stashes);
    Ok(Json(CloseForecast { lane, would, losses, stashes, branch_goes }))
}

fn terms_of(wanted: &CloseLane) -> CloseTerms {
    CloseTerms { discard: wanted.discard, merge: wanted.merge, keep_branch: wanted.keep_branch }
}

/// Start a worker in a lane.
#[utoipa::path(
    post,
    path = routes::LANE_WORKERS,
    operation_id = "run_worker",
    tag = "workers",
    params(TargetPath),
    request_body = RunWorker,
    responses((status = 201, body = WorkerStarted), Starts),
)]
pub(super) async fn run(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<RunWorker>,
) -> Result<(StatusCode, Json<WorkerStarted>), Failure> {
    caller.may_use(&wanted.launch.terminal)?;
    let lane = engine.lane_target(&caller, &target).await?;
    let naming = match &wanted.name {
        Some(name) => WorkerNaming::Exactly(parse_name(name)?),
        None => WorkerNaming::FirstFree(engine.lane_by_id(lane).await?.name),
    };
    let started = detached(async move {
        let how = RunHow { owned: false, forced: wanted.force };
        let launch = engine.with_default_program(lane, wanted.launch).await?;
        let (worker, run) = engine.run_worker(lane, &launch, naming, how, caller.request).await?;
        engine.is_still_there(run).await?;
        let holder_folder = engine.home.run(run).as_path().into();
        Ok(WorkerStarted { worker: engine.worker_by_id(worker).await?, holder_folder })
    });
    Ok((StatusCode::CREATED, Json(started.await?)))
}

/// Run a task in a lane.
#[utoipa::path(
    post,
    path = routes::LANE_TASKS,
    operation_id = "run_task",
    tag = "workers",
    params(TargetPath),
    request_body = RunTask,
    responses((status = 201, body = WorkerStarted), Starts),
)]
pub(super) async fn exec(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<RunTask>,
) -> Result<(StatusCode, Json<WorkerStarted>), Failure> {
    caller.may_use(&wanted.launch.terminal)?;
    let lane = engine.lane_target(&caller, &target).await?;
    let started = detached(async move {
        let how = RunHow { owned: !wanted.detach, forced: false };
        let (worker, run) =
            engine.run_worker(lane, &wanted.launch, WorkerNaming::Task, how, caller.request).await?;
        let holder_folder = engine.home.run(run).as_path().into();
        Ok(WorkerStarted { worker: engine.worker_by_id(worker).await?, holder_folder })
    });
    Ok((StatusCode::CREATED, Json(started.await?)))
}
