//! HTTP over TCP: who connects is nobody that the system vouches for, so each step has a limit.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Served, gate};
use crate::tokens::Tokens;

/// How long a client may take to send the head of a request, also of the next one on its connection.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// The longest head, in bytes: a target, a folder, a token, and a browser's many words.
const MAX_HEAD: usize = 64 << 10;

/// The most connections that are served at a time, and no more than a quarter of the descriptors that there may be; who comes then waits for one to end, which those that say nothing do within
/// [`HEAD_LIMIT`].
const MAX_CONNECTIONS: usize = 2048;

/// What the system holds of what a client has not read, in bytes; it takes twice that for itself.
const SEND_BUFFER: usize = 128 << 10;

/// How long a client may take nothing of what is sent to it, in milliseconds: as long as one at a WebSocket
/// may be silent before it is asked for a sign of life.
const TAKE_LIMIT: u32 = 30_000;

/// How long nothing is accepted after the system had no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Those who may connect, and until when.
#[derive(Debug)]
pub(crate) struct Clients {
    /// The port that they connect to.
    pub(crate) port: u16,
    /// Those that are let in.
    pub(crate) tokens: Tokens,
    /// Where connections are counted.
    pub(crate) connections: TaskTracker,
    /// Cancelled when no more are taken, and those that are there end with what is being answered.
    pub(crate) stop: CancellationToken,
    /// Cancelled when those that are there are let go of, also where something is told on and on.
    pub(crate) let_go: CancellationToken,
}

/// Takes connections until `stop`, and lets go of the port then.
pub(crate) async fn accept(listener: TcpListener, clients: Clients, served: Served) {
    let router = gate::guarded(clients.port, clients.tokens, clients.let_go, served);
    // Who says nothing needs no token for that: the unix socket, holders and git have descriptors left.
    let places = Arc::new(Semaphore::new(part_of_descriptors(4).min(MAX_CONNECTIONS)));
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let talking = talk(stream, router.clone(), clients.stop.clone(), place);
                    clients.connections.spawn(talking);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    pause().await;
                }
            }
        }
    };
    clients.stop.run_until_cancelled(accepting).await;
}

/// One connection, to its end.
async fn talk(stream: TcpStream, router: Router, stop: CancellationToken, _place: OwnedSemaphorePermit) {
    // Answers are small and are waited for.
    let _ = stream.set_nodelay(true);
    // Else the system takes some megabytes for each client that does not read.
    let _ = sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
    // The system ends a connection at whose other end nobody reads, whatever is being answered.
    let _ = sockopt::set_tcp_user_timeout(&stream, TAKE_LIMIT);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// So many descriptors are one part of `n_parts` of those that this process may have.
pub(crate) fn part_of_descriptors(n_parts: u64) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / n_parts).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

#[expect(clippy::disallowed_methods, reason = "nothing tells that the system has a descriptor again")]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}
