//! Requests about what is kept of closed lanes.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{LaneRestored, Prune, RestoreLane};
use laneway_api::view::Rescues;
use laneway_core::workspace::Workspace;

use super::{Caller, Failure, Json, TargetText, detached};
use crate::engine::Engine;

pub(super) async fn list(State(engine): State<Engine>, caller: Caller) -> Result<Json<Rescues>, Failure> {
    let rescues = match engine.known_workspace(&caller.cwd).await? {
        Some(workspace) => engine.rescue_views(&workspace).await?,
        None => Vec::new(),
    };
    Ok(Json(Rescues { rescues, ..Rescues::default() }))
}

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
