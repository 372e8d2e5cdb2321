//! Requests about windows of tmux that show workers.

use axum::extract::State;
use laneway_api::tmux::{Spread, Synced, TmuxPlace};

use super::{Caller, Failure, Json, TargetText, detached};
use crate::engine::Engine;

pub(super) async fn sync(
    State(engine): State<Engine>,
    caller: Caller,
    Json(place): Json<TmuxPlace>,
) -> Result<Json<Synced>, Failure> {
    let synced = detached(async move { engine.sync_viewers(&caller.cwd, place).await });
    Ok(Json(synced.await?))
}

pub(super) async fn spread(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(place): Json<TmuxPlace>,
) -> Result<Json<Spread>, Failure> {
    let lane = engine.lane_target(&caller, &target).await?;
    Ok(Json(detached(async move { engine.spread(lane, place).await }).await?))
}
