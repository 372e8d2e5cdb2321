//! Requests about being reached over TCP, and the tokens for that.

use super::document::TokenPath;
use axum::extract::State;
use axum::http::StatusCode;
use laneway_api::routes;
use laneway_api::serving::{CreateToken, Serve, ServingView, TokenMade, TokenView, Tokens};

use super::{All, Caller, Failure, Json, TargetText};
use crate::engine::parse_name;

/// How the daemon is reached over TCP.
#[utoipa::path(
    get,
    path = routes::SERVE,
    operation_id = "show_serving",
    tag = "serving",
    responses((status = 200, body = ServingView)),
)]
pub(super) async fn show(State(served): All) -> Json<ServingView> {
    Json(served.serving.view().await)
}

/// Listen at a port of 127.0.0.1, from now on.
#[utoipa::path(
    post,
    path = routes::SERVE,
    operation_id = "start_serving",
    tag = "serving",
    request_body = Serve,
    responses((status = 200, body = ServingView)),
)]
pub(super) async fn start(
    State(served): All,
    caller: Caller,
    Json(wanted): Json<Serve>,
) -> Result<Json<ServingView>, Failure> {
    caller.must_be_a_person("listening at a port")?;
    Ok(Json(served.serving.start(wanted.port, &served).await?))
}

/// Listen no more.
#[utoipa::path(
    post,
    path = routes::SERVE_STOP,
    operation_id = "stop_serving",
    tag = "serving",
    responses((status = 200, body = ServingView)),
)]
pub(super) async fn stop(State(served): All, caller: Caller) -> Result<Json<ServingView>, Failure> {
    caller.must_be_a_person("listening no more")?;
    Ok(Json(served.serving.stop().await?))
}

/// The tokens that let a client in, the oldest first.
#[utoipa::path(
    get,
    path = routes::TOKENS,
    operation_id = "list_tokens",
    tag = "serving",
    responses((status = 200, body = Tokens)),
)]
pub(super) async fn tokens(State(served): All) -> Result<Json<Tokens>, Failure> {
    Ok(Json(Tokens { tokens: served.serving.tokens().list()? }))
}

/// Make a token. It is told this once.
#[utoipa::path(
    post,
    path = routes::TOKENS,
    operation_id = "create_token",
    tag = "serving",
    request_body = CreateToken,
    responses((status = 201, body = TokenMade)),
)]
pub(super) async fn create_token(
    State(served): All,
    caller: Caller,
    Json(wanted): Json<CreateToken>,
) -> Result<(StatusCode, Json<TokenMade>), Failure> {
    caller.must_be_a_person("making a token")?;
    let name = wanted.name.as_deref().map(parse_name).transpose()?;
    Ok((StatusCode::CREATED, Json(served.serving.tokens().create(name).await?)))
}

/// Let nobody in any more with a token.
#[utoipa::path(
    post,
    path = routes::TOKEN_REVOKE,
    operation_id = "revoke_token",
    tag = "serving",
    params(TokenPath),
    responses((status = 200, body = TokenView)),
)]
pub(super) async fn revoke_token(
    State(served): All,
    caller: Caller,
    TargetText(name): TargetText,
) -> Result<Json<TokenView>, Failure> {
    caller.must_be_a_person("revoking a token")?;
    Ok(Json(served.serving.tokens().revoke(name).await?))
}
