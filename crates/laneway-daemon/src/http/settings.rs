//! Requests about a repository's settings, and about setting lanes up by them.

use super::document::{NotFound, Refused, Starts, TargetPath};
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use laneway_api::error::Problem;
use laneway_api::request::{InSteps, Making, SetUpLane, SettingsWritten, Trust};
use laneway_api::routes;
use laneway_api::view::{LaneView, SettingsView};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Caller, Failure, Json, Line, Query, TargetText, detached, internal};
use crate::engine::{Engine, Tell};

/// Write a `laneway.toml` where there is none.
#[utoipa::path(
    post,
    path = routes::INIT,
    operation_id = "init_settings",
    tag = "settings",
    responses((status = 201, body = SettingsWritten), NotFound),
)]
pub(super) async fn init(
    State(engine): State<Engine>,
    caller: Caller,
) -> Result<(StatusCode, Json<SettingsWritten>), Failure> {
    let written = detached(async move {
        let path = engine.write_settings(&caller.cwd, caller.request).await?;
        Ok(SettingsWritten { path })
    });
    Ok((StatusCode::CREATED, Json(written.await?)))
}

/// What the settings of the repository want that needs a person's consent.
#[utoipa::path(
    get,
    path = routes::TRUST,
    operation_id = "show_settings",
    tag = "settings",
    responses((status = 200, body = SettingsView), NotFound, Refused),
)]
pub(super) async fn show(
    State(engine): State<Engine>,
    caller: Caller,
) -> Result<Json<SettingsView>, Failure> {
    Ok(Json(engine.settings_to_trust(&caller.cwd, caller.request).await?))
}

/// Agree to the settings of the repository, or not any more.
#[utoipa::path(
    post,
    path = routes::TRUST,
    operation_id = "trust_settings",
    tag = "settings",
    request_body = Trust,
    responses((status = 200, body = SettingsView), NotFound),
)]
pub(super) async fn trust(
    State(engine): State<Engine>,
    caller: Caller,
    Json(wanted): Json<Trust>,
) -> Result<Json<SettingsView>, Failure> {
    if wanted.trusted {
        caller.must_be_a_person("agreeing to what laneway.toml runs")?;
    }
    Ok(Json(engine.trust(&caller.cwd, &wanted.content, wanted.trusted, caller.request).await?))
}

/// Set a lane up anew.
#[utoipa::path(
    post,
    path = routes::LANE_SETUP,
    operation_id = "set_up_lane",
    tag = "lanes",
    params(TargetPath, InSteps),
    request_body = SetUpLane,
    responses((status = 200, content((LaneView = "application/json"), (Making<LaneView> = "application/x-ndjson"))), Starts),
)]
pub(super) async fn set_up(
    State(engine): State<Engine>,
    caller: Caller,
    TargetText(target): TargetText,
    Query(how): Query<InSteps>,
    Json(wanted): Json<SetUpLane>,
) -> Result<Response, Failure> {
    let lane = engine.lane_target(&caller, &target).await?;
    in_steps(how.progress, StatusCode::OK, |tell| async move {
        engine.set_up(lane, wanted.caller, &tell, caller.request).await?;
        engine.lane_by_id(lane).await
    })
    .await
}

/// Does `work`, also if its client leaves; with `progress` its steps are told as they come, in JSON lines.
pub(super) async fn in_steps<T, Work>(
    progress: bool,
    good: StatusCode,
    work: impl FnOnce(Tell) -> Work,
) -> Result<Response, Failure>
where
    T: Serialize + Send + 'static,
    Work: Future<Output = Result<T, Problem>> + Send + 'static,
{
    if !progress {
        return Ok((good, Json(detached(work(None)).await?)).into_response());
    }
    let (tell, told) = mpsc::unbounded_channel();
    let work = tokio::spawn(work(Some(tell)));
    let lines = stream::unfold((told, Some(work)), |(mut told, work)| async move {
        let work = work?;
        if let Some(step) = told.recv().await {
            return Some((Line::Ok(line(&Making::<T>::Step(step))), (told, Some(work))));
        }
        let end = match work.await {
            Ok(Ok(done)) => Making::Done(done),
            Ok(Err(problem)) => Making::Error(problem),
            Err(error) => {
                tracing::error!(%error, "a request failed");
                Making::Error(internal().0)
            }
        };
        Some((Line::Ok(line(&end)), (told, None)))
    });
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((good, kind, Body::from_stream(lines)).into_response())
}

fn line(step: &impl Serialize) -> bytes::Bytes {
    let mut line = serde_json::to_vec(step).expect("an answer is made of strings and numbers");
    line.push(b'\n');
    line.into()
}
