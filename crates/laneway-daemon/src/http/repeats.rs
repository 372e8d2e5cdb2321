//! Requests with an `Idempotency-Key`: what was done once is not done again.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use laneway_api::error::Problem;
use laneway_api::routes;
use laneway_core::os_text::OsText;
use laneway_fault::fault_point;

use super::{Failure, MAX_INPUT, Served, internal, usage};
use crate::engine::blocking;
use crate::repeats::{Answer, Begun, Found};

/// What the client makes up for a request and its repeats.
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// On an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Does a request with a key unless it was done before.
pub(super) async fn once(State(served): State<Served>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match once_or_again(served, request, next).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn once_or_again(served: Served, request: Request, next: Next) -> Result<Response, Failure> {
    if [routes::TOKENS, routes::WEB].contains(&request.uri().path()) {
        // Its answer is a secret, and would be kept.
        return Err(usage("no_idempotency", &"a token or link is made without an Idempotency-Key"));
    }
    let mut keys = request.headers().get_all(KEY).iter();
    let key = keys.next().and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let key = if keys.next().is_some() { String::new() } else { key };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_INPUT).await.map_err(|error| usage("bad_body", &error))?;
    let cwd = parts.headers.get(routes::CWD_HEADER).map_or(&[][..], HeaderValue::as_bytes).to_vec();
    let (uri, said) = (parts.uri.to_string(), body.clone());
    let repeats = served.repeats.clone();
    let found = blocking(move || repeats.look(&key, &[uri.as_bytes(), &cwd, &said])).await??;
    let begun = match found {
        Found::Before(answer) => return Ok(again(answer)),
        Found::New(begun) => begun,
    };
    fault_point!("repeat.begun");
    let request = Request::from_parts(parts, Body::from(body));
    // It is done to its end, and its answer kept, also if the client has gone: it will ask for that.
    let done = tokio::spawn(async move { keep(begun, next.run(request).await).await });
    match done.await {
        Ok(response) => Ok(response?),
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(internal())
        }
    }
}

async fn keep(begun: Begun, response: Response) -> Result<Response, Problem> {
    fault_point!("repeat.done");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_INPUT).await.map_err(|error| {
        tracing::error!(%error, "an answer cannot be kept");
        internal().0
    })?;
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let answer =
        Answer { status: parts.status.as_u16(), content_type, body: OsText::from_bytes(body.clone()) };
    // What is done is done: that it would not be known again is no reason to say otherwise.
    if let Err(problem) = blocking(move || begun.answered(answer)).await? {
        tracing::error!(problem.message, "an answer is not kept");
    }
    fault_point!("repeat.kept");
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn again(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Body::from(answer.body.as_bytes().to_vec())).into_response();
    let headers = response.headers_mut();
    if let Some(Ok(kind)) = answer.content_type.map(HeaderValue::try_from) {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
