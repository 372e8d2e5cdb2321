//! Requests about who uses a lane.

use axum::extract::State;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{JoinLane, LaneJoined, LaneLeft, LaneShared, LeaveLane, ShareLane};
use laneway_core::attachment::{MAX_TTL_MS, MIN_TTL_MS};
use laneway_core::command::Join;
use laneway_core::name::Name;

use super::{Caller, Failure, Json, TargetText, detached, usage};
use crate::engine::{Engine, parse_name};

pub(super) async fn join(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<JoinLane>,
) -> Result<Json<LaneJoined>, Failure> {
    if wanted.ttl_ms.is_some_and(|ttl_ms| !(MIN_TTL_MS..=MAX_TTL_MS).contains(&ttl_ms)) {
        return Err(usage("bad_ttl", &"a lease lasts at least 1s and at most 168h"));
    }
    let who = named(wanted.who.as_deref())?;
    let lane = engine.lane_target(&caller.cwd, &target).await?;
    let joined = detached(async move {
        let who = engine.who_is_meant(who, caller.request.actor).await?;
        let (role, ttl_ms) = (wanted.role, wanted.ttl_ms);
        let asked = Join { id: engine.new_attachment(), who: who.clone(), role, ttl_ms };
        let renewed = engine.join(lane, asked, caller.request).await?;
        let lane = engine.lane_by_id(lane).await?;
        let Some(attachment) = lane.attachments.iter().find(|user| user.who == who).cloned() else {
            let message = format!("{who} joined lane {} and was made to leave at once", lane.name);
            return Err(Problem::new(ErrorKind::Refused, "left_at_once", message)
                .hint(format!("lane events, lane join {} --as {who}", lane.name)));
        };
        Ok(LaneJoined { attachment, renewed, lane })
    });
    Ok(Json(joined.await?))
}

pub(super) async fn leave(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<LeaveLane>,
) -> Result<Json<LaneLeft>, Failure> {
    let who = named(wanted.who.as_deref())?;
    let lane = engine.lane_target(&caller.cwd, &target).await?;
    let left = detached(async move {
        let who = engine.who_is_meant(who, caller.request.actor).await?;
        let was_attached = engine.leave(lane, who.clone(), caller.request).await?;
        Ok(LaneLeft { who, was_attached, lane: engine.lane_by_id(lane).await? })
    });
    Ok(Json(left.await?))
}

pub(super) async fn share(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Json(wanted): Json<ShareLane>,
) -> Result<Json<LaneShared>, Failure> {
    let lane = engine.lane_target(&caller.cwd, &target).await?;
    let shared = detached(async move {
        let changed = engine.share(lane, wanted.shared, caller.request).await?;
        Ok(LaneShared { changed, lane: engine.lane_by_id(lane).await? })
    });
    Ok(Json(shared.await?))
}

fn named(who: Option<&str>) -> Result<Option<Name>, Failure> {
    who.map(|who| parse_name(who).map_err(Failure)).transpose()
}
