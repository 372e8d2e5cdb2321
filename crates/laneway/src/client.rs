//! Requests to the daemon: HTTP on its unix socket, one connection per request.
//!
//! A daemon that does not run is started ([`start`]); one that is older than this program is asked once to
//! execute itself anew, and the request is repeated.

mod connect;
mod request;
mod start;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use laneway_api::error::{ErrorBody, ErrorKind, Problem};
use laneway_api::request::Restart;
use laneway_api::routes;
use laneway_core::os_text::OsText;
use laneway_daemon::home::Home;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::task::JoinHandle;

pub(crate) use request::Request;

use crate::failure::{Failure, with_causes};

/// The stable word of the problem that no daemon runs and none may be started.
pub(crate) const NOT_RUNNING: &str = "daemon_not_running";

/// The stable word of the problem that the daemon was there and is gone.
pub(crate) const WENT_AWAY: &str = "daemon_went_away";

/// How many requests are under way at once when one command asks many things: the daemon's own work (git,
/// stops) is bounded too, and this many connections fit any backlog.
const AT_ONCE: usize = 16;

/// How long a daemon that executes itself anew may take to let go of its connections.
const RESTART_LIMIT: Duration = Duration::from_secs(20);

/// Whether a daemon is started if none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is.
    OnDemand,
    /// Asking fails with [`NOT_RUNNING`].
    Never,
}

/// Why lines do not come any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowEnd {
    /// The daemon had no more, or ended.
    DaemonEnded,
    /// Nobody reads standard output any more.
    NobodyReads,
}

/// The way to the daemon.
#[derive(Debug)]
pub(crate) struct Client {
    home: Home,
    cwd: Option<OsText>,
    start: Start,
    runtime: tokio::runtime::Runtime,
}

/// A connection with one request on its way.
struct Exchange {
    response: http::Response<Incoming>,
    /// Kept, since dropping it closes the connection.
    _sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl Client {
    /// A way to the daemon of `home`. Nothing is connected or started yet.
    pub(crate) fn new(home: Home, cwd: Option<OsText>, start: Start) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::new(ErrorKind::Failed, "no_runtime", format!("cannot wait for events: {error}"))
        })?;
        Ok(Self { home, cwd, start, runtime })
    }

    /// Makes sure that a daemon runs; true if it had to be started.
    pub(crate) fn ensure_running(&self) -> Result<bool, Failure> {
        if connect::connect(&self.home)?.is_some() {
            return Ok(false);
        }
        start::start(&self.home).map(|_| true)
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        let body = self.runtime.block_on(self.answer(request))?;
        understand(request, &body)
    }

    /// Asks many things at once; `on_answer` gets the answers in the order of the requests, each as soon as
    /// it and those before it are there.
    pub(crate) fn ask_each<T: DeserializeOwned>(
        &self,
        requests: &[Request],
        mut on_answer: impl FnMut(usize, Result<T, Failure>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let answers = requests.iter().map(|request| self.answer(request));
            let mut answers = futures_util::stream::iter(answers).buffered(AT_ONCE).enumerate();
            while let Some((index, answer)) = answers.next().await {
                on_answer(index, answer.and_then(|body| understand(&requests[index], &body)))?;
            }
            Ok(())
        })
    }

    /// Asks for lines that come one after the other, until one side has had enough. Fails if `on_line` does,
    /// or if the connection is lost.
    pub(crate) fn follow(
        &self,
        request: &Request,
        mut on_line: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<FollowEnd, Failure> {
        self.runtime.block_on(async {
            let mut exchange = self.exchange(request).await?;
            let reader_gone = reader_of_stdout_gone();
            tokio::pin!(reader_gone);
            let mut partial = Vec::new();
            loop {
                let frame = tokio::select! {
                    frame = exchange.response.body_mut().frame() => frame,
                    () = &mut reader_gone => return Ok(FollowEnd::NobodyReads),
                };
                let Some(frame) = frame else { break };
                let frame = frame.map_err(|error| went_away(request, &error))?;
                let Ok(data) = frame.into_data() else { continue };
                partial.extend_from_slice(&data);
                while let Some(end) = partial.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = partial.drain(..=end).collect();
                    on_line(&line[..end])?;
                }
            }
            if !partial.is_empty() {
                on_line(&partial)?;
            }
            Ok(FollowEnd::DaemonEnded)
        })
    }

    /// Has the daemon execute itself anew with this program, and waits until it has let go.
    pub(crate) fn restart(&self) -> Result<(), Failure> {
        self.runtime.block_on(self.execute_anew())
    }

    /// The whole body of the answer.
    async fn answer(&self, request: &Request) -> Result<Bytes, Failure> {
        let mut exchange = self.exchange(request).await?;
        let body = exchange.response.body_mut().collect().await;
        Ok(body.map_err(|error| went_away(request, &error))?.to_bytes())
    }

    /// Sends a request and has the head of a good answer; errors are failures. An older daemon is renewed.
    async fn exchange(&self, request: &Request) -> Result<Exchange, Failure> {
        match self.exchange_once(request).await {
            Err(failure) if failure.is_older_daemon() => {}
            result => return result,
        }
        // One at a time: a second one must find the new daemon, and not restart it again under the first.
        let _lock = start::lock(&self.home)?;
        if self.daemon_is_older().await? {
            self.execute_anew().await?;
        }
        self.exchange_once(request).await
    }

    async fn exchange_once(&self, request: &Request) -> Result<Exchange, Failure> {
        let stream = match connect::connect(&self.home)? {
            Some(stream) => stream,
            None if self.start == Start::OnDemand => start::start(&self.home)?,
            None => return Err(not_running(&self.home)),
        };
        let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
        let stream = stream.map_err(|error| went_away(request, &error))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| went_away(request, &error))?;
        // What goes wrong with the connection is also told to the request on it.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let message = request.to_http(self.cwd.as_ref())?;
        let response = sender.send_request(message).await.map_err(|error| went_away(request, &error))?;
        let mut exchange = Exchange { response, _sender: sender, connection };
        if exchange.response.status().is_success() {
            return Ok(exchange);
        }
        let status = exchange.response.status();
        let body = exchange.response.body_mut().collect().await;
        let body = body.map_err(|error| went_away(request, &error))?.to_bytes();
        if let Ok(error) = serde_json::from_slice::<ErrorBody>(&body) {
            return Err(error.error.into());
        }
        let text = OsText::from_bytes(body);
        Err(not_understood(request, &format!("it answered {status}: {text}")))
    }

    async fn daemon_is_older(&self) -> Result<bool, Failure> {
        match self.exchange_once(&Request::get("asking for its version", routes::DAEMON)).await {
            Ok(_) => Ok(false),
            Err(failure) if failure.is_older_daemon() => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    async fn execute_anew(&self) -> Result<(), Failure> {
        let program = start::own_program()?.into();
        let request =
            Request::post("executing itself anew", routes::DAEMON_RESTART).json(&Restart { program })?;
        let mut exchange = self.exchange_once(&request).await?;
        // The connection ends when the old program is replaced; from then on only the new one accepts.
        let body = exchange.response.body_mut().collect().await;
        drop(body.map_err(|error| went_away(&request, &error))?);
        let ended = tokio::time::timeout(RESTART_LIMIT, exchange.connection).await;
        match ended {
            Ok(_) => Ok(()),
            Err(_) => Err(Problem::new(
                ErrorKind::TimedOut,
                "daemon_restart_timed_out",
                format!("the daemon did not execute itself anew within {} s", RESTART_LIMIT.as_secs()),
            )
            .hint("lane daemon logs")
            .into()),
        }
    }
}

/// Ends when standard output is a pipe or socket that nobody reads any more.
async fn reader_of_stdout_gone() {
    // A file cannot be waited for, and never loses its reader.
    match crate::sys::errors_of_stdout() {
        Ok(stdout) => drop(stdout.ready(tokio::io::Interest::ERROR).await),
        Err(_) => std::future::pending().await,
    }
}

fn understand<T: DeserializeOwned>(request: &Request, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| not_understood(request, &error.to_string()))
}

fn not_understood(request: &Request, why: &str) -> Failure {
    Problem::new(
        ErrorKind::Failed,
        "answer_not_understood",
        format!("the daemon's answer while {} cannot be understood: {why}", request.doing()),
    )
    .hint("lane daemon restart")
    .into()
}

fn went_away(request: &Request, error: &dyn std::error::Error) -> Failure {
    Problem::new(
        ErrorKind::Unreachable,
        WENT_AWAY,
        format!("the daemon went away while {}: {}", request.doing(), with_causes(error)),
    )
    .hint("lane daemon logs")
    .into()
}

fn not_running(home: &Home) -> Failure {
    Problem::new(
        ErrorKind::NotFound,
        NOT_RUNNING,
        format!("no daemon runs for {}", OsText::from(home.root())),
    )
    .hint("lane daemon start")
    .into()
}
