//! HTTP on the unix socket, and over TCP where that is asked for: who may ask, what is asked, and the answers.
//!
//! The handlers ([`lanes`], [`sharing`], [`rescues`], [`workers`], [`programs`], [`settings`], [`host`], [`serving`], [`health`],
//! [`socket`], [`terminal`]) translate; what happens is the engine's. [`tcp`] takes connections of strangers, [`gate`] says who of them is let in.

mod document;
mod expected;
mod feed;
mod gate;
mod health;
mod host;
mod lanes;
mod programs;
mod repeats;
mod rescues;
mod serving;
mod settings;
mod sharing;
pub(crate) mod socket;
pub(crate) mod tcp;
mod terminal;
mod tmux;
mod web;
mod workers;

use std::convert::Infallible;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{
    DefaultBodyLimit, FromRef, FromRequest, FromRequestParts, Request as HttpRequest, State,
};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use expected::{Expected, Object};
use laneway_api::error::{ErrorBody, ErrorKind, Problem};
use laneway_api::routes;
use laneway_api::version::{VERSION, is_newer};
use laneway_core::actor::{Actor, TokenName};
use laneway_core::id::RunId;
use laneway_core::launch::TerminalSpec;
use laneway_core::os_text::OsText;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::engine::{Asking, Engine, Request, who_asks};
use crate::logs::Logs;
use crate::repeats::Repeats;
use crate::serving::Serving;
use crate::tokens::Admitted;

/// The largest JSON body: arguments and an environment, in bytes.
const MAX_BODY: usize = 4 << 20;

/// The longest target, in characters: a lane's and a worker's name, and more than that.
const MAX_TARGET: usize = 256;

/// The largest terminal input, in bytes.
const MAX_INPUT: usize = 16 << 20;

/// Words of errors that HTTP has statuses of their own for, beyond that of their kind.
const WRONG_METHOD: &str = "wrong_method";
const TOO_LONG: &str = "body_too_long";
const NOT_JSON: &str = "not_json";

/// How the daemon is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// For good.
    Stop,
    /// By executing this program in its place.
    Restart(OsText),
}

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) engine: Engine,
    /// Where a handler says that the daemon is to end.
    pub(crate) ending: tokio::sync::watch::Sender<Option<Ending>>,
    /// Cancelled when the daemon is ending: streams end.
    pub(crate) closing: CancellationToken,
    /// Whether it is also reached over TCP, and by whom.
    pub(crate) serving: Serving,
    /// What was asked with a key that says what a repeat is.
    pub(crate) repeats: Repeats,
    /// Places for `WebSockets`.
    pub(crate) sockets: socket::Places,
    /// Lines that programs write, for those who want them.
    pub(crate) logs: Logs,
}

impl FromRef<Served> for Engine {
    fn from_ref(served: &Served) -> Self {
        served.engine.clone()
    }
}

/// The other end of a connection, as far as the system could say.
#[derive(Debug, Clone, Copy)]
struct Peer {
    uid: Option<u32>,
    /// None also where it is outside of this process's namespace.
    pid: Option<u32>,
}

impl axum::extract::connect_info::Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let peer = stream.io().peer_cred().ok();
        Self {
            uid: peer.map(|peer| peer.uid()),
            pid: peer.and_then(|peer| u32::try_from(peer.pid()?).ok()).filter(|pid| *pid != 0),
        }
    }
}

/// Serves until `closing` is cancelled, then answers what is under way.
pub(crate) async fn serve(listener: UnixListener, served: Served) -> std::io::Result<()> {
    let closing = served.closing.clone();
    let router = router(served).layer(middleware::from_fn(refuse_strangers));
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(closing.cancelled_owned()).await
}

fn router(served: Served) -> Router {
    let (asked, takes) = asked().split_for_parts();
    let (open, opens) = open().split_for_parts();
    let takes = Expected::of([takes, opens]);
    asked
        .layer(middleware::from_fn_with_state(served.clone(), repeats::once))
        .layer(middleware::from_fn(refuse_newer_clients))
        .merge(open)
        // For browsers, and no part of the API.
        .route(routes::WEB_LOGIN, get(web::log_in))
        .route(routes::HOME, get(web::home))
        .layer(middleware::from_fn_with_state(takes, expected::refuse_the_rest))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(served)
}

/// The description of the API, as an `OpenAPI` 3.1 document: some lines of JSON.
pub fn openapi() -> String {
    let text = serde_json::to_string_pretty(&document::document());
    text.expect("a description is made of strings and numbers") + "\n"
}

/// What a client needs to find and renew an older daemon: answered whatever the client's version.
fn open() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(host::restart))
}

/// All the rest.
fn asked() -> OpenApiRouter<Served> {
    let typed = routes!(workers::input).layer(DefaultBodyLimit::max(MAX_INPUT));
    OpenApiRouter::new()
        .routes(routes!(document::show))
        .routes(routes!(document::page))
        .routes(routes!(programs::programs))
        .nest(routes::PROGRAM, programs::below_a_program())
        .nest(routes::FIRST_PROGRAM, programs::below_a_program())
        .routes(routes!(host::status))
        .routes(routes!(host::stop))
        .routes(routes!(host::events))
        .routes(routes!(socket::events))
        .routes(routes!(terminal::show))
        .routes(routes!(serving::show, serving::start))
        .routes(routes!(serving::stop))
        .routes(routes!(serving::tokens, serving::create_token))
        .routes(routes!(serving::revoke_token))
        .routes(routes!(web::make_link))
        .routes(routes!(host::reconcile))
        .routes(routes!(host::resolve))
        .routes(routes!(host::target))
        .routes(routes!(host::workspaces))
        .routes(routes!(settings::init))
        .routes(routes!(settings::show, settings::trust))
        .routes(routes!(settings::set_up))
        .routes(routes!(lanes::adopt))
        .routes(routes!(lanes::rename))
        .routes(routes!(lanes::list, lanes::create))
        .routes(routes!(lanes::show))
        .routes(routes!(sharing::join))
        .routes(routes!(sharing::leave))
        .routes(routes!(sharing::share))
        .routes(routes!(lanes::diff))
        .routes(routes!(lanes::diff_text))
        .routes(routes!(lanes::forecast, lanes::close))
        .routes(routes!(rescues::list))
        .routes(routes!(rescues::restore))
        .routes(routes!(rescues::prune))
        .routes(routes!(lanes::run))
        .routes(routes!(lanes::exec))
        .routes(routes!(tmux::sync))
        .routes(routes!(tmux::spread))
        .routes(routes!(workers::list))
        .routes(routes!(workers::show))
        .routes(routes!(workers::exit))
        .routes(routes!(workers::status))
        .routes(routes!(workers::stop))
        .routes(routes!(workers::start))
        .routes(routes!(workers::restart))
        .routes(routes!(workers::message))
        .routes(routes!(workers::explain))
        .routes(routes!(workers::terminal))
        .routes(routes!(workers::pane))
        .routes(routes!(workers::text))
        .routes(routes!(workers::split))
        .routes(typed)
}

/// Only processes of the same user are answered.
async fn refuse_strangers(
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: HttpRequest,
    next: Next,
) -> Response {
    let own = rustix::process::geteuid().as_raw();
    if peer.uid == Some(own) {
        return next.run(request).await;
    }
    tracing::warn!(uid = ?peer.uid, "a request of another user was refused");
    let problem = Problem::new(ErrorKind::Refused, "another_user", "this daemon answers only its own user");
    (StatusCode::FORBIDDEN, axum::Json(ErrorBody { error: problem })).into_response()
}

/// A newer client has the daemon execute itself anew before anything else.
async fn refuse_newer_clients(request: HttpRequest, next: Next) -> Result<Response, Failure> {
    let theirs = request.headers().get(routes::VERSION_HEADER).and_then(|value| value.to_str().ok());
    match theirs {
        Some(theirs) if is_newer(theirs, VERSION) => Err(Failure(
            Problem::new(
                ErrorKind::DaemonOlder,
                "daemon_older",
                format!("the daemon is version {VERSION}, older than {theirs}"),
            )
            .hint("lane daemon restart"),
        )),
        Some(_) | None => Ok(next.run(request).await),
    }
}

async fn unknown_route(request: HttpRequest) -> Failure {
    let path: String = request.uri().path().chars().take(MAX_TARGET).collect();
    let what = format!("{} {path}", request.method());
    Failure(Problem::new(ErrorKind::NotFound, "no_such_route", format!("there is no {what}")))
}

/// The answer also says which methods there are (`allow`).
async fn wrong_method(request: HttpRequest) -> Failure {
    let path: String = request.uri().path().chars().take(MAX_TARGET).collect();
    let what = format!("{path} takes no {}", request.method());
    Failure(Problem::new(ErrorKind::Usage, WRONG_METHOD, what))
}

/// An error as an answer.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.code.as_str() {
            WRONG_METHOD => StatusCode::METHOD_NOT_ALLOWED,
            TOO_LONG => StatusCode::PAYLOAD_TOO_LARGE,
            NOT_JSON => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::from_u16(self.0.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        (status, axum::Json(ErrorBody { error: self.0 })).into_response()
    }
}

fn usage(code: &str, said: &impl ToString) -> Failure {
    Failure(Problem::new(ErrorKind::Usage, code, said.to_string()))
}

/// Who asks, from where.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Who, and in which request.
    pub(crate) request: Request,
    /// The folder it stands in.
    pub(crate) cwd: OsText,
    /// The process that asks, if the system could say.
    pub(crate) pid: Option<u32>,
    /// It asks over TCP.
    over_tcp: bool,
    /// The socket of the tmux server that it means when it says nothing else.
    pub(crate) tmux_socket: Option<OsText>,
}

impl Caller {
    /// What touches the terminals of this machine, or its programs, is not done for a token.
    pub(crate) fn must_be_here(&self, doing: &str) -> Result<(), Failure> {
        if !self.over_tcp {
            return Ok(());
        }
        let message = format!("{doing} is not done over TCP, whatever the token");
        Err(Failure(
            Problem::new(ErrorKind::Refused, "not_over_tcp", message)
                .hint("do it with lane on the daemon's machine"),
        ))
    }

    /// A token names no tmux to start a program in.
    pub(crate) fn may_use(&self, terminal: &TerminalSpec) -> Result<(), Failure> {
        match terminal {
            TerminalSpec::Tmux { .. } => self.must_be_here("starting a program in tmux"),
            TerminalSpec::Pty { .. } | TerminalSpec::Pipes => Ok(()),
        }
    }

    /// Some things only a person may say, not a program in a lane.
    pub(crate) fn must_be_a_person(&self, doing: &str) -> Result<(), Failure> {
        let asking = match self.request.actor {
            Actor::Worker { .. } => Asking::InRun,
            _ => who_asks(self.pid),
        };
        let message = match asking {
            Asking::Outside => return Ok(()),
            Asking::InRun => {
                format!("{doing} is a person's to say, and this comes from inside a lane's program")
            }
            Asking::Unknown if self.over_tcp => {
                format!("{doing} is a person's to say, with lane in a terminal: a token is not enough")
            }
            Asking::Unknown => format!("{doing} is a person's to say, and who asks could not be told"),
        };
        Err(Failure(
            Problem::new(ErrorKind::Refused, "consent", message).hint("repeat it in a terminal of your own"),
        ))
    }
}

impl FromRequestParts<Served> for Caller {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Failure> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let cwd = header(routes::CWD_HEADER).map(routes::decode_path).unwrap_or_default();
        let admitted = parts.extensions.get::<Admitted>();
        let run = header(routes::RUN_HEADER).and_then(|run| run.parse::<RunId>().ok());
        // What comes with a token is asked by who has that, whatever run it says that it comes from.
        let worker = match run.filter(|_| admitted.is_none()) {
            Some(run) => served.engine.read(move |store| store.run(run)).await?.map(|row| row.worker.id),
            None => None,
        };
        let actor = match (admitted, worker) {
            (Some(admitted), _) => Actor::Token { name: TokenName::from(&admitted.name) },
            (None, Some(id)) => Actor::Worker { id },
            (None, None) => Actor::Person { uid: rustix::process::geteuid().as_raw() },
        };
        let correlation = served.engine.ids.correlation();
        served.engine.report_again();
        let pid = parts.extensions.get::<ConnectInfo<Peer>>().and_then(|ConnectInfo(peer)| peer.pid);
        let over_tcp = admitted.is_some();
        // Who asks from elsewhere has no tmux here, and names no socket to be connected to.
        let tmux_socket = header(routes::TMUX_HEADER).filter(|_| !over_tcp).map(routes::decode_path);
        Ok(Self { request: Request { actor, correlation }, cwd, pid, over_tcp, tmux_socket })
    }
}

/// A JSON body, refused in our own words.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Served> for Json<T> {
    type Rejection = Failure;
    async fn from_request(request: HttpRequest, served: &Served) -> Result<Self, Failure> {
        let read: Result<axum::Json<Object<T>>, JsonRejection> =
            axum::Json::from_request(request, served).await;
        read.map(|axum::Json(Object(value))| Self(value)).map_err(|rejection| match rejection {
            JsonRejection::BytesRejection(rejection) => not_read(&rejection, MAX_BODY),
            JsonRejection::MissingJsonContentType(rejection) => usage(NOT_JSON, &rejection.body_text()),
            rejection => usage("bad_body", &rejection.body_text()),
        })
    }
}

/// A body as it is, refused in our own words.
pub(crate) struct Octets(pub(crate) bytes::Bytes);

impl FromRequest<Served> for Octets {
    type Rejection = Failure;
    async fn from_request(request: HttpRequest, served: &Served) -> Result<Self, Failure> {
        let read = bytes::Bytes::from_request(request, served).await;
        read.map(Self).map_err(|rejection| not_read(&rejection, MAX_INPUT))
    }
}

fn not_read(rejection: &BytesRejection, bound: usize) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return usage(TOO_LONG, &format!("the body has more than {bound} bytes"));
    }
    usage("bad_body", &rejection.body_text())
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A query, refused in our own words.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Served> for Query<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Failure> {
        let read: Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, served).await;
        read.map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| usage("bad_query", &rejection.body_text()))
    }
}

/// The target in the path.
pub(crate) struct TargetText(pub(crate) String);

impl FromRequestParts<Served> for TargetText {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Failure> {
        let read: Result<axum::extract::Path<String>, PathRejection> =
            axum::extract::Path::from_request_parts(parts, served).await;
        let axum::extract::Path(text) =
            read.map_err(|rejection| usage("bad_target", &rejection.body_text()))?;
        if text.chars().count() > MAX_TARGET {
            return Err(usage("bad_target", &format!("a target has at most {MAX_TARGET} characters")));
        }
        Ok(Self(text))
    }
}

/// Does `work` as a task of its own, so that it goes on if its client leaves.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::spawn(work).await {
        Ok(done) => done.map_err(Failure),
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(internal())
        }
    }
}

/// A mistake of the daemon itself.
fn internal() -> Failure {
    let message = "the daemon failed at this; its log says more";
    Failure(Problem::new(ErrorKind::Failed, "internal", message).hint("lane daemon logs"))
}

/// For streams whose items cannot fail.
pub(crate) type Line = Result<bytes::Bytes, Infallible>;

/// The state, for handlers that take all of it.
pub(crate) type All = State<Served>;
