//! Who is let in over TCP.
//!
//! ```text
//! Host is this address and port ─► Origin, if told, too ─► token, or cookie ─► body within its limit ─► the handlers
//! ```
//!
//! A page of another site that has its visitor's browser ask here fails at `Origin`; one whose name was made to mean
//! this machine (DNS rebinding) fails at `Host`; a program without a token fails at the token. A cookie is sent by the
//! browser whoever made it ask: with one, whatever changes something and every WebSocket has to come from a page of here. Nothing is answered to
//! pages of other origins (no CORS).

use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, HOST, ORIGIN, UPGRADE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http_body_util::LengthLimitError;
use laneway_api::error::{ErrorBody, ErrorKind, Problem};
use laneway_api::routes;
use tokio_util::sync::CancellationToken;

use super::web::{self, Port};
use super::{Failure, MAX_INPUT, MAX_TARGET, Served, TOO_LONG, router, usage};
use crate::tokens::{Admitted, Shown, Tokens};

/// How long a client may take to send the body of a request.
const BODY_LIMIT: Duration = Duration::from_mins(1);

/// What a browser says of where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose pages may use an answer: a server at another port of this machine is another one.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What is answered also without a token: it tells nothing but that a daemon is there.
const OPEN_TO_ALL: [&str; 2] = [routes::HEALTH, routes::READY];

#[derive(Clone)]
struct Gate {
    port: u16,
    tokens: Tokens,
    /// Cancelled when this port is listened at no more.
    let_go: CancellationToken,
}

/// The routes, for those who are let in at this port.
pub(super) fn guarded(port: u16, tokens: Tokens, let_go: CancellationToken, served: Served) -> Router {
    router(served).layer(middleware::from_fn_with_state(Gate { port, tokens, let_go }, let_in))
}

async fn let_in(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let looked = gate.look_at(&request);
    request.extensions_mut().insert(Port(gate.port));
    let is_known = matches!(looked, Ok(Some(_)));
    let mut response = match looked {
        Ok(admitted) => answer(request, next, admitted).await,
        Err(TurnedAway::NoToken) if web::wants_page(&request) => web::not_let_in(),
        Err(turned_away) => turned_away.into_response(),
    };
    let headers = response.headers_mut();
    if !is_known {
        // One short answer, and no more of this connection: who does not read keeps no place.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(nothing);
    response
}

async fn answer(request: Request, next: Next, admitted: Option<Admitted>) -> Response {
    let (parts, body) = request.into_parts();
    let Some(admitted) = admitted else {
        // Nothing is kept for who is not known.
        return next.run(Request::from_parts(parts, Body::empty())).await;
    };
    let mut request = if body.is_end_stream() {
        Request::from_parts(parts, body)
    } else {
        match read(body).await {
            Ok(bytes) => Request::from_parts(parts, bytes.into()),
            Err(failure) => return failure.into_response(),
        }
    };
    let client = admitted.clone();
    tracing::debug!(token = %admitted.name, "a request is let in");
    request.extensions_mut().insert(admitted);
    let response = next.run(request).await;
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    // What goes on and on ends when its token is revoked, or the port is no more.
    response
        .map(|body| Body::from_stream(body.into_data_stream().take_until(async move { client.over().await })))
}

/// All of a body, of which each handler has its own bound below this one.
async fn read(body: Body) -> Result<bytes::Bytes, Failure> {
    match tokio::time::timeout(BODY_LIMIT, axum::body::to_bytes(body, MAX_INPUT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => {
            Err(usage(TOO_LONG, &format!("the body has more than {MAX_INPUT} bytes")))
        }
        Ok(Err(error)) => Err(usage("bad_body", &format!("the body cannot be read: {error}"))),
        Err(_) => Err(usage("body_too_slow", &format!("the body took more than {} s", BODY_LIMIT.as_secs()))),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>)
}

impl Gate {
    /// Who asks, if he has to be known; or why he is turned away.
    fn look_at(&self, request: &Request) -> Result<Option<Admitted>, TurnedAway> {
        let headers = request.headers();
        if !self.is_meant(headers, request.uri()) {
            return Err(TurnedAway::AnotherHost { port: self.port });
        }
        if !self.comes_from_here(headers) {
            return Err(TurnedAway::AnotherOrigin);
        }
        if OPEN_TO_ALL.contains(&request.uri().path()) {
            return Ok(None);
        }
        if is_link(request.uri().path()) {
            return Ok(None);
        }
        if headers.contains_key(AUTHORIZATION) {
            let shown = bearer(headers).map(Shown::Token).ok_or(TurnedAway::NoToken)?;
            return self.tokens.admit(shown, &self.let_go).map(Some).ok_or(TurnedAway::NoToken);
        }
        let shown = web::session(headers, self.port).map(Shown::Session).ok_or(TurnedAway::NoToken)?;
        let admitted = self.tokens.admit(shown, &self.let_go).ok_or(TurnedAway::NoToken)?;
        let only_looks = request.method().is_safe() && !headers.contains_key(UPGRADE);
        if only_looks || headers.contains_key(ORIGIN) {
            Ok(Some(admitted))
        } else {
            Err(TurnedAway::NoOrigin)
        }
    }

    /// Whether a request is for this address and port by all that it says.
    fn is_meant(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let is_ours = |host: &[u8]| self.names().any(|name| host.eq_ignore_ascii_case(name.as_bytes()));
        is_ours(host.as_bytes()) && uri.authority().is_none_or(|host| is_ours(host.as_str().as_bytes()))
    }

    /// Whether a browser, if it is one, asks for a page that came from here.
    fn comes_from_here(&self, headers: &HeaderMap) -> bool {
        let is_ours = |origin: &HeaderValue| {
            self.names().any(|name| origin.as_bytes() == format!("http://{name}").as_bytes())
        };
        let is_own = |site: &HeaderValue| site == "same-origin" || site == "none";
        headers.get_all(ORIGIN).iter().all(is_ours) && headers.get_all(FETCH_SITE).iter().all(is_own)
    }

    /// What this address and port are called. A browser leaves out port 80.
    fn names(&self) -> impl Iterator<Item = String> {
        let (port, is_default) = (self.port, self.port == 80);
        ["127.0.0.1", "localhost"].into_iter().flat_map(move |host| {
            let bare = is_default.then(|| host.to_owned());
            bare.into_iter().chain([format!("{host}:{port}")])
        })
    }
}

/// Whether it is a link that lets a browser in: it shows its secret in its path.
fn is_link(path: &str) -> bool {
    let folder = routes::WEB_LOGIN.trim_end_matches("{target}");
    path.strip_prefix(folder).is_some_and(|secret| !secret.is_empty() && secret.len() <= MAX_TARGET)
}

/// The token that a request shows.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| token.len() <= MAX_TARGET)
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnedAway {
    AnotherHost { port: u16 },
    AnotherOrigin,
    NoToken,
    NoOrigin,
}

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        let refused = |code, message: String| Problem::new(ErrorKind::Refused, code, message);
        let (status, error) = match self {
            TurnedAway::AnotherHost { port } => {
                let message = format!("this is 127.0.0.1:{port}, and the request is for another host");
                (StatusCode::FORBIDDEN, refused("another_host", message))
            }
            TurnedAway::AnotherOrigin => {
                let message = "pages of other origins are not answered".to_owned();
                (StatusCode::FORBIDDEN, refused("another_origin", message))
            }
            TurnedAway::NoOrigin => {
                let message = "with a cookie this is only done for a page of here, which says so in Origin";
                (StatusCode::FORBIDDEN, refused("no_origin", message.to_owned()))
            }
            TurnedAway::NoToken => {
                let message = "a token is needed here, and this request has none that is known".to_owned();
                (StatusCode::UNAUTHORIZED, refused("no_token", message).hint("lane token create"))
            }
        };
        let mut response = (status, axum::Json(ErrorBody { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
