//! Requests about what is kept of closed lanes.

use super::document::{NotFound, TargetPath};
use laneway_api::routes;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{LaneRestored, Prune, RestoreLane};
use laneway_api::view::Rescues;
use laneway_core::workspace::Workspace;

use super::{Caller, Failure, Json, TargetText, detached};
use crate::engine::Engine;

/// What is kept of closed lanes of the repository, the latest first.
#[utoipa::path(
    get,
    path = routes::RESCUES,
    operation_id = "list_rescues",
    tag = "rescues",
    responses((status = 200, body = Rescues)),
)]
pub(super) async fn list(State(engine): State<Engine>, caller: Caller) -> Result<Json<Rescues>, Failure> {
    let rescues = match engine.known_workspace(&caller.cwd).await? {
        Some(workspace) => engine.rescue_views(&workspace).await?,
        None => Vec::new(),
    };
    Ok(Json(Rescues { rescues, ..Rescues::default() }))
}

/// Bring a closed lane back as a new one.
#[utoipa::path(
    post,
    path = routes::RESTORE,
    operation_id = "restore_lane",
    tag = "rescues",
    params(TargetPath),
    request_body = RestoreLane,
    responses((status = 201, body = LaneRestored)),
)]
pub(super) async fn restore(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<RestoreLane>,
) -> Result<(StatusCode, Json<LaneRestored>), Failure> {
    let workspace = where_it_stands(&engine, &caller).await?;
    let restored = detached(async move {
        let (lane, warning) =
            engine.restore(&workspace, &target, wanted.name.as_deref(), caller.request).await?;
        Ok(LaneRestored { lane: engine.lane_by_id(lane).await?, warning })
    });
    Ok((StatusCode::CREATED, Json(restored.await?)))
}

/// Delete for good what is kept of closed lanes, or say what would be deleted.
#[utoipa::path(
    post,
    path = routes::PRUNE,
    operation_id = "prune_rescues",
    tag = "rescues",
    request_body = Prune,
    responses((status = 200, body = Rescues), NotFound),
)]
pub(super) async fn prune(
    State(engine): State<Engine>,
    caller: Caller,
    Json(wanted): Json<Prune>,
) -> Result<Json<Rescues>, Failure> {
    if wanted.really {
        caller.must_be_a_person("deleting what is kept of closed lanes")?;
    }
    let workspace = where_it_stands(&engine, &caller).await?;
    let older_than = Duration::from_millis(wanted.older_than_ms);
    let pruned =
        detached(
            async move { engine.prune(&workspace, older_than, wanted.only.as_deref(), wanted.really).await },
        );
    Ok(Json(pruned.await?))
}

async fn where_it_stands(engine: &Engine, caller: &Caller) -> Result<Workspace, Failure> {
    engine.known_workspace(&caller.cwd).await?.ok_or_else(|| {
        let message = "no lane was ever made here, so nothing is kept";
        Failure(Problem::new(ErrorKind::NotFound, "not_found", message).hint("lane ls"))
    })
}
