//! Requests about windows of tmux that show workers.

use super::document::{NotFound, TargetPath};
use axum::extract::State;
use laneway_api::routes;
use laneway_api::tmux::{Spread, Synced, TmuxPlace};

use super::{Caller, Failure, Json, TargetText, detached};
use crate::engine::Engine;

/// Have a window of tmux for each worker.
#[utoipa::path(
    post,
    path = routes::TMUX_SYNC,
    operation_id = "sync_tmux",
    tag = "tmux",
    request_body = TmuxPlace,
    responses((status = 200, body = Synced), NotFound),
)]
pub(super) async fn sync(
    State(engine): State<Engine>,
    caller: Caller,
    Json(place): Json<TmuxPlace>,
) -> Result<Json<Synced>, Failure> {
    caller.must_be_here("using tmux")?;
    let synced = detached(async move { engine.sync_viewers(&caller.cwd, place).await });
    Ok(Json(synced.await?))
}

/// Show the workers of a lane side by side in one window of tmux.
#[utoipa::path(
    post,
    path = routes::TMUX_SPREAD,
    operation_id = "spread_tmux",
    tag = "tmux",
    params(TargetPath),
    request_body = TmuxPlace,
    responses((status = 200, body = Spread)),
)]
pub(super) async fn spread(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(place): Json<TmuxPlace>,
) -> Result<Json<Spread>, Failure> {
    caller.must_be_here("using tmux")?;
    let lane = engine.lane_target(&caller, &target).await?;
    Ok(Json(detached(async move { engine.spread(lane, place).await }).await?))
}
