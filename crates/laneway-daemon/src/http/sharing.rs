//! Requests about who uses a lane.

use super::document::TargetPath;
use axum::extract::State;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{JoinLane, LaneJoined, LaneLeft, LaneShared, LeaveLane, ShareLane};
use laneway_api::routes;
use laneway_api::view::AttachmentView;
use laneway_core::attachment::{MAX_TTL_MS, MIN_TTL_MS, User};
use laneway_core::command::Join;

use super::{Caller, Failure, Json, TargetText, detached, usage};
use crate::engine::Engine;

/// Use a lane, or renew the lease of one who does.
#[utoipa::path(
    post,
    path = routes::LANE_JOIN,
    operation_id = "join_lane",
    tag = "lanes",
    params(TargetPath),
    request_body = JoinLane,
    responses((status = 200, body = LaneJoined)),
)]
pub(super) async fn join(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<JoinLane>,
) -> Result<Json<LaneJoined>, Failure> {
    if wanted.ttl_ms.is_some_and(|ttl_ms| !(MIN_TTL_MS..=MAX_TTL_MS).contains(&ttl_ms)) {
        return Err(usage("bad_ttl", &"a lease lasts at least 1s and at most 168h"));
    }
    let lane = engine.lane_target(&caller, &target).await?;
    let joined = detached(async move {
        let user = engine.who_is_meant(wanted.who.as_deref(), &caller).await?;
        let (role, ttl_ms) = (wanted.role, wanted.ttl_ms);
        let asked = Join { id: engine.new_attachment(), user: user.clone(), role, ttl_ms };
        let renewed = engine.join(lane, asked, caller.request).await?;
        let lane = engine.lane_by_id(lane).await?;
        let is_his =
            |known: &&AttachmentView| user.is(&User { name: known.who.clone(), worker: known.worker });
        let Some(attachment) = lane.attachments.iter().find(is_his).cloned() else {
            let who = user.name;
            let message = format!("{who} joined lane {} and was made to leave at once", lane.name);
            return Err(Problem::new(ErrorKind::Refused, "left_at_once", message)
                .hint(format!("lane events, lane join {} --as {who}", lane.name)));
        };
        Ok(LaneJoined { attachment, renewed, lane })
    });
    Ok(Json(joined.await?))
}

/// Use a lane no longer.
#[utoipa::path(
    post,
    path = routes::LANE_LEAVE,
    operation_id = "leave_lane",
    tag = "lanes",
    params(TargetPath),
    request_body = LeaveLane,
    responses((status = 200, body = LaneLeft)),
)]
pub(super) async fn leave(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<LeaveLane>,
) -> Result<Json<LaneLeft>, Failure> {
    let lane = engine.lane_target(&caller, &target).await?;
    let left = detached(async move {
        let user = engine.who_is_to_leave(lane, wanted.who.as_deref(), &caller).await?;
        let was_attached = engine.leave(lane, user.clone(), caller.request).await?;
        let User { name: who, worker } = user;
        Ok(LaneLeft { who, worker, was_attached, lane: engine.lane_by_id(lane).await? })
    });
    Ok(Json(left.await?))
}

/// Mark a lane as shared, or no longer.
#[utoipa::path(
    post,
    path = routes::LANE_SHARE,
    operation_id = "share_lane",
    tag = "lanes",
    params(TargetPath),
    request_body = ShareLane,
    responses((status = 200, body = LaneShared)),
)]
pub(super) async fn share(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<ShareLane>,
) -> Result<Json<LaneShared>, Failure> {
    let lane = engine.lane_target(&caller, &target).await?;
    let shared = detached(async move {
        let changed = engine.share(lane, wanted.shared, caller.request).await?;
        Ok(LaneShared { changed, lane: engine.lane_by_id(lane).await? })
    });
    Ok(Json(shared.await?))
}
