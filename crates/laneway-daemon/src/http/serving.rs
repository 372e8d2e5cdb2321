//! Requests about being reached over TCP, and the tokens for that.

use axum::extract::State;
use axum::http::StatusCode;
use laneway_api::serving::{CreateToken, Serve, ServingView, TokenMade, TokenView, Tokens};

use super::{All, Caller, Failure, Json, TargetText};
use crate::engine::parse_name;

pub(super) async fn show(State(served): All) -> Json<ServingView> {
    Json(served.serving.view().await)
}

pub(super) async fn start(
    State(served): All,
    caller: Caller,
    Json(wanted): Json<Serve>,
) -> Result<Json<ServingView>, Failure> {
    caller.must_be_a_person("listening at a port")?;
    Ok(Json(served.serving.start(wanted.port, &served).await?))
}

pub(super) async fn stop(State(served): All, caller: Caller) -> Result<Json<ServingView>, Failure> {
    caller.must_be_a_person("listening no more")?;
    Ok(Json(served.serving.stop().await?))
}

pub(super) async fn tokens(State(served): All) -> Result<Json<Tokens>, Failure> {
    Ok(Json(Tokens { tokens: served.serving.tokens().list()? }))
}

pub(super) async fn create_token(
    State(served): All,
    caller: Caller,
    Json(wanted): Json<CreateToken>,
) -> Result<(StatusCode, Json<TokenMade>), Failure> {
    caller.must_be_a_person("making a token")?;
    let name = wanted.name.as_deref().map(parse_name).transpose()?;
    Ok((StatusCode::CREATED, Json(served.serving.tokens().create(name).await?)))
}

pub(super) async fn revoke_token(
    State(served): All,
    caller: Caller,
    TargetText(name): TargetText,
) -> Result<Json<TokenView>, Failure> {
    caller.must_be_a_person("revoking a token")?;
    Ok(Json(served.serving.tokens().revoke(name).await?))
}
