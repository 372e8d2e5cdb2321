//! Requests about a repository's settings.

use axum::extract::State;
use axum::http::StatusCode;
use laneway_api::request::SettingsWritten;

use super::{Caller, Failure, Json, detached};
use crate::engine::Engine;

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
