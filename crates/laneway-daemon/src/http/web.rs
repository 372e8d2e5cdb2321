//! A browser's way in: the link that lets it in once, and what it sees then.
//!
//! ```text
//! lane web ─► link, 5 minutes ─► GET /login/SECRET ─► cookie, 30 days ─► / ─► the page that shows the API
//! ```

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use laneway_api::routes;
use laneway_api::serving::{OpenWeb, WebLink};

use super::{All, Caller, Failure, Json, TargetText, usage};
use crate::tokens::SESSION_DAYS;

/// What a browser says that fetches a page before anybody has asked for it.
const PURPOSE: [HeaderName; 2] = [HeaderName::from_static("sec-purpose"), HeaderName::from_static("purpose")];

/// What a page may do: nothing but be shown, on its own.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The port that a request came by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port(pub(super) u16);

/// Make a link that lets one browser in, once, and listen at a port for it.
#[utoipa::path(
    post,
    path = routes::WEB,
    operation_id = "make_web_link",
    tag = "serving",
    request_body = OpenWeb,
    responses((status = 201, body = WebLink)),
)]
pub(super) async fn make_link(
    State(served): All,
    caller: Caller,
    Json(wanted): Json<OpenWeb>,
) -> Result<(StatusCode, Json<WebLink>), Failure> {
    caller.must_be_a_person("letting a browser in")?;
    let serving = served.serving.start(wanted.port, &served).await?;
    let made = served.serving.tokens().make_link()?;
    let base = serving.url.unwrap_or_default();
    let url = format!("{base}{}", routes::with_target(routes::WEB_LOGIN, &made.secret));
    Ok((StatusCode::CREATED, Json(WebLink { url, expires_at: made.expires_at.into() })))
}

/// Opens a link: the browser is let in from then on.
pub(super) async fn log_in(
    State(served): All,
    port: Option<Extension<Port>>,
    TargetText(secret): TargetText,
    request: Request,
) -> Result<Response, Failure> {
    let Some(Extension(Port(port))) = port else {
        return Err(usage("no_browser", &"this is for a browser, which does not come by the unix socket"));
    };
    // Only looked at, or fetched ahead: the link is for the one who opens it.
    if request.method() != Method::GET || is_prefetch(request.headers()) {
        return Ok(page(StatusCode::SERVICE_UNAVAILABLE, "Not yet", "<p>Open the link to be let in.</p>"));
    }
    let Some(session) = served.serving.tokens().open_link(secret).await? else {
        let text = "<p>This link was opened before, or is too old. A new one: <code>lane web</code></p>";
        return Ok(page(StatusCode::FORBIDDEN, "This link opens nothing", text));
    };
    let cookie = format!(
        "{}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}",
        cookie_name(port),
        SESSION_DAYS * 24 * 60 * 60
    );
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(routes::HOME));
    headers.insert(SET_COOKIE, HeaderValue::try_from(cookie).expect("it is made of visible ASCII"));
    Ok(response)
}

/// Who is let in goes on to what there is to see.
pub(super) async fn home() -> Redirect {
    Redirect::to(routes::API_PAGE)
}

/// What a person sees whose browser is not let in.
pub(super) fn not_let_in() -> Response {
    let text = "<p>Open the link that <code>lane web</code> prints in a terminal on this machine.</p>";
    page(StatusCode::UNAUTHORIZED, "This browser is not let in", text)
}

/// Whether a person looks at the answer.
pub(super) fn wants_page(request: &Request) -> bool {
    let accept = request.headers().get(axum::http::header::ACCEPT);
    let wants_html =
        accept.is_some_and(|kinds| kinds.to_str().is_ok_and(|kinds| kinds.contains("text/html")));
    request.method() == Method::GET && wants_html
}

/// The value of the cookie by which a browser is known at this port.
pub(super) fn session(headers: &HeaderMap, port: u16) -> Option<&str> {
    let name = cookie_name(port);
    let mut fitting = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(called, _)| *called == name);
    match (fitting.next(), fitting.next()) {
        (Some((_, value)), None) => Some(value),
        // Which of two counts?
        _ => None,
    }
}

/// Cookies are the same for all ports of a host: each daemon has its own.
fn cookie_name(port: u16) -> String {
    format!("laneway-{port}")
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName| headers.get_all(name).iter().any(|value| !value.is_empty());
    PURPOSE.iter().any(says)
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1>{text}</html>\n"
    );
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (status, headers, html).into_response()
}
