//! Requests to the daemon: HTTP on its unix socket, one connection per request.
//!
//! A daemon that does not run is started ([`start`]); one that is older than this program is asked once to
//! execute itself anew, and the request is repeated.

mod connect;
mod request;
mod start;
mod watched;

use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

pub(crate) use request::Request;
pub(crate) use start::own_program;
use watched::Watched;

use crate::failure::{Failure, with_causes};
use crate::progress::Progress;

/// The stable word of the problem that no daemon runs and none may be started.
pub(crate) const NOT_RUNNING: &str = "daemon_not_running";

/// The stable word of the problem that the daemon was there and is gone.
pub(crate) const WENT_AWAY: &str = "daemon_went_away";

/// How many requests are under way at once when one command asks many things: the daemon's own work (git,
/// stops) is bounded too, and this many connections fit any backlog.
const AT_ONCE: usize = 16;

/// How long a daemon that executes itself anew may take to let go of its connections.
const RESTART_LIMIT: Duration = Duration::from_secs(20);

/// How often a request is sent in all when daemons end before they have read it.
const MAX_TRIES: u32 = 5;

/// How long a daemon may take from ending a connection to being gone from it.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Whether a daemon is started if none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is.
    OnDemand,
    /// Asking fails with [`NOT_RUNNING`].
    Never,
}

/// The daemon ended before it had answered.
pub(crate) fn answer_missing(request: &Request) -> Failure {
    let message = format!("the daemon went away while {}", request.doing());
    Problem::new(ErrorKind::Unreachable, WENT_AWAY, message).hint("lane ls").into()
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

    /// Asks, and waits for the answer; says what is being done if that takes its time.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        let _progress = Progress::begin(request.doing());
        self.ask_quietly(request)
    }

    /// Asks, and waits for the answer, for a caller that says by itself what is being done.
    pub(crate) fn ask_quietly<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        let body = self.runtime.block_on(self.answer(request))?;
        understand(request, &body)
    }

    /// Asks a daemon that runs, and gives up after `limit`: for what is only good to know. Starts and renews nothing.
    pub(crate) fn ask_within<T: DeserializeOwned>(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let stream = connect::connect_within(&self.home, limit)?.ok_or_else(|| not_running(&self.home))?;
        let left = limit.saturating_sub(began.elapsed());
        let answer = async {
            let sent = match send(stream, request, self.cwd.as_ref()).await {
                Ok(sent) => sent,
                Err(SendError::Lost { failure, .. } | SendError::NotSent(failure)) => return Err(failure),
            };
            let mut exchange = sent.or_refused(request).await?;
            let body = exchange.response.body_mut().collect().await;
            Ok(body.map_err(|error| went_away(request, &error))?.to_bytes())
        };
        let answer = self.runtime.block_on(async { tokio::time::timeout(left, answer).await });
        let body = answer.unwrap_or_else(|_| {
            let message = format!("the daemon did not answer within {limit:?} while {}", request.doing());
            Err(Problem::new(ErrorKind::TimedOut, "daemon_silent", message).hint("lane daemon logs").into())
        })?;
        understand(request, &body)
    }

    /// Asks many things at once; `on_answer` gets the answers in the order of the requests, each as soon as
    /// it and those before it are there. The first that is waited for is said if it takes its time.
    pub(crate) fn ask_each<T: DeserializeOwned>(
        &self,
        requests: &[Request],
        mut on_answer: impl FnMut(usize, Result<T, Failure>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(first) = requests.first() else { return Ok(()) };
        let progress = Progress::begin(first.doing());
        self.runtime.block_on(async {
            let answers = requests.iter().map(|request| self.answer(request));
            let mut answers = futures_util::stream::iter(answers).buffered(AT_ONCE).enumerate();
            while let Some((index, answer)) = answers.next().await {
                if let Some(next) = requests.get(index + 1) {
                    progress.now(&format!("{} ({} of {})", next.doing(), index + 2, requests.len()));
                }
                on_answer(index, answer.and_then(|body| understand(&requests[index], &body)))?;
            }
            Ok(())
        })
    }

    /// Asks for bytes, and passes them on as they come, until one side has had enough.
    pub(crate) fn pass_on(
        &self,
        request: &Request,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let progress = Progress::begin(request.doing());
        self.runtime.block_on(async {
            let mut exchange = self.exchange(request).await?;
            drop(progress);
            while let Some(frame) = exchange.response.body_mut().frame().await {
                let frame = frame.map_err(|error| went_away(request, &error))?;
                if let Ok(data) = frame.into_data() {
                    take(&data)?;
                }
            }
            Ok(())
        })
    }

    /// Asks for lines that come one after the other, until one side has had enough. Fails if `on_line` does,
    /// or if the connection is lost.
    pub(crate) fn follow(
        &self,
        request: &Request,
        on_line: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<FollowEnd, Failure> {
        self.runtime.block_on(async {
            let mut exchange = self.exchange(request).await?;
            tokio::select! {
                end = exchange.lines(request, on_line) => end.map(|()| FollowEnd::DaemonEnded),
                () = reader_of_stdout_gone() => Ok(FollowEnd::NobodyReads),
            }
        })
    }

    /// Asks for something that is answered in several steps, one line each.
    pub(crate) fn ask_in_steps<T: DeserializeOwned>(
        &self,
        request: &Request,
        mut on_step: impl FnMut(T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut exchange = self.exchange(request).await?;
            exchange.lines(request, |line| on_step(understand(request, line)?)).await
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
        match self.exchange_with_this_daemon(request, self.start).await {
            Err(failure) if failure.is_older_daemon() => {}
            result => return result,
        }
        self.renew().await?;
        self.exchange_with_this_daemon(request, self.start).await
    }

    async fn exchange_with_this_daemon(&self, request: &Request, start: Start) -> Result<Exchange, Failure> {
        let mut tries_left = MAX_TRIES;
        loop {
            tries_left -= 1;
            match send(self.connection(start).await?, request, self.cwd.as_ref()).await {
                Ok(exchange) => return exchange.or_refused(request).await,
                Err(SendError::Lost { may_repeat: true, .. }) if tries_left > 0 => {}
                Err(SendError::Lost { failure, .. } | SendError::NotSent(failure)) => return Err(failure),
            }
        }
    }

    async fn connection(&self, start: Start) -> Result<UnixStream, Failure> {
        match (connect::connect(&self.home)?, start) {
            (Some(stream), _) => Ok(stream),
            (None, Start::OnDemand) => apart(&self.home, start::start).await,
            (None, Start::Never) => Err(not_running(&self.home)),
        }
    }

    /// Has an older daemon execute itself anew: one command at a time, so that a second one finds the new
    /// daemon, and does not restart it again under the first.
    async fn renew(&self) -> Result<(), Failure> {
        let _lock = apart(&self.home, start::lock).await?;
        let version = Request::get("asking for its version", routes::DAEMON);
        // A daemon that is gone is not started here: that needs the same lock. The request does it afterwards.
        match self.exchange_with_this_daemon(&version, Start::Never).await {
            Err(failure) if failure.is_older_daemon() => match self.execute_anew().await {
                Err(failure) if !failure.is(NOT_RUNNING) => Err(failure),
                Ok(()) | Err(_) => Ok(()),
            },
            Err(failure) if !failure.is(NOT_RUNNING) => Err(failure),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn execute_anew(&self) -> Result<(), Failure> {
        let program = start::own_program()?.into();
        let request =
            Request::post("executing itself anew", routes::DAEMON_RESTART).json(&Restart { program })?;
        let mut exchange = self.exchange_with_this_daemon(&request, Start::Never).await?;
        // The connection ends when the old program is replaced; from then on only the new one accepts.
        let body = exchange.response.body_mut().collect().await;
        drop(body.map_err(|error| went_away(&request, &error))?);
        let ended = tokio::time::timeout(RESTART_LIMIT, exchange.connection).await;
        ended.map(drop).map_err(|_| {
            Problem::new(
                ErrorKind::TimedOut,
                "daemon_restart_timed_out",
                format!("the daemon did not execute itself anew within {} s", RESTART_LIMIT.as_secs()),
            )
            .hint("lane daemon logs")
            .into()
        })
    }
}

impl Exchange {
    /// The answer line by line.
    async fn lines(
        &mut self,
        request: &Request,
        mut on_line: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut partial = Vec::new();
        while let Some(frame) = self.response.body_mut().frame().await {
            let frame = frame.map_err(|error| went_away(request, &error))?;
            let Ok(data) = frame.into_data() else { continue };
            partial.extend_from_slice(&data);
            while let Some(end) = partial.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = partial.drain(..=end).collect();
                on_line(&line[..end])?;
            }
        }
        if partial.is_empty() { Ok(()) } else { on_line(&partial) }
    }

    /// The same if the answer is a good one, else the error in it.
    async fn or_refused(mut self, request: &Request) -> Result<Self, Failure> {
        let status = self.response.status();
        if status.is_success() {
            return Ok(self);
        }
        let body = self.response.body_mut().collect().await;
        let body = body.map_err(|error| went_away(request, &error))?.to_bytes();
        if let Ok(error) = serde_json::from_slice::<ErrorBody>(&body) {
            return Err(error.error.into());
        }
        let text = OsText::from_bytes(body);
        Err(not_understood(request, &format!("it answered {status}: {text}")))
    }
}

/// Why a request got no answer.
enum SendError {
    /// It could not be put into words.
    NotSent(Failure),
    /// The connection was lost.
    Lost {
        failure: Failure,
        /// It was certainly not carried out, or may be twice.
        may_repeat: bool,
    },
}

async fn send(stream: UnixStream, request: &Request, cwd: Option<&OsText>) -> Result<Exchange, SendError> {
    let message = request.to_http(cwd).map_err(SendError::NotSent)?;
    let lost = |error: &dyn std::error::Error, may_repeat| SendError::Lost {
        failure: went_away(request, error),
        may_repeat,
    };
    // A second descriptor is kept, to see afterwards how the connection ended.
    let (witness, stream) = stream
        .set_nonblocking(true)
        .and_then(|()| Ok((stream.try_clone()?, tokio::net::UnixStream::from_std(stream)?)))
        .map_err(|error| lost(&error, false))?;
    let (stream, sent) = Watched::new(stream);
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error, true))?;
    // What goes wrong with the connection is also told to the request on it.
    let connection = tokio::spawn(async move { drop(connection.await) });
    match sender.send_request(message).await {
        Ok(response) => Ok(Exchange { response, _sender: sender, connection }),
        Err(error) => {
            let may_repeat =
                request.changes_nothing() || !sent.load(Ordering::Relaxed) || was_reset(&error, &witness);
            Err(lost(&error, may_repeat))
        }
    }
}

/// True if the daemon closed the connection before it had read all of the request: it was just ending, and
/// has not begun to carry it out. The system tells the other side of a unix socket by a reset.
fn was_reset(error: &hyper::Error, socket: &UnixStream) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    if cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionReset) {
        return true;
    }
    // It may have ended its side and not be gone yet.
    let limit = CLOSE_LIMIT.try_into().expect("a second is a time that the system knows");
    let closed = rustix::event::poll(&mut [PollFd::new(socket, PollFlags::empty())], Some(&limit));
    closed.is_ok() && rustix::net::sockopt::socket_error(socket) == Ok(Err(Errno::CONNRESET))
}

/// Does what waits for locks and processes apart from the requests that are under way.
async fn apart<T: Send + 'static>(
    home: &Home,
    work: impl FnOnce(&Home) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let home = home.clone();
    let done = tokio::task::spawn_blocking(move || work(&home)).await;
    done.expect("work apart is neither cancelled nor panics")
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
    // What was under way is gone on with, or undone, by the next daemon, which any command starts.
    let hint = if request.changes_nothing() {
        "lane daemon logs"
    } else {
        "lane ls shows what came of it\nlane daemon logs"
    };
    Problem::new(
        ErrorKind::Unreachable,
        WENT_AWAY,
        format!("the daemon went away while {}: {}", request.doing(), with_causes(error)),
    )
    .hint(hint)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    /// Whether a request may be repeated after a daemon that does `then` with its connection and closes it.
    fn may_repeat(request: &Request, then: impl FnOnce(UnixStream) + Send + 'static) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned());
        let listener = UnixListener::bind(home.socket()).unwrap();
        let daemon = std::thread::spawn(move || then(listener.accept().unwrap().0));
        let client = Client::new(home, Some("/".into()), Start::Never).unwrap();
        let stream = connect::connect(&client.home).unwrap().unwrap();
        let sent = client.runtime.block_on(send(stream, request, client.cwd.as_ref()));
        daemon.join().unwrap();
        match sent {
            Err(SendError::Lost { failure, may_repeat }) => {
                assert!(failure.is(WENT_AWAY));
                may_repeat
            }
            Err(SendError::NotSent(failure)) => panic!("{failure:?}"),
            Ok(exchange) => panic!("{:?}", exchange.response),
        }
    }

    fn read_all(mut stream: UnixStream) {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            read.push(byte[0]);
        }
    }

    #[test]
    fn what_a_daemon_may_have_done_before_it_went_away_is_not_asked_twice() {
        let post = Request::post("stopping a", "/x");
        assert!(may_repeat(&post, drop), "it has read nothing");
        let reads_some = |mut stream: UnixStream| stream.read_exact(&mut [0; 10]).unwrap();
        assert!(may_repeat(&post, reads_some), "it has read some");
        assert!(!may_repeat(&post, read_all), "it has read all");
        assert!(may_repeat(&Request::get("listing", "/x"), read_all), "it changes nothing");
    }
}
