//! HTTP over TCP: who connects is nobody that the system vouches for, so each step has a limit.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
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

/// Connections that are served at a time; who comes then waits for one to end, which those that say nothing do within
/// [`HEAD_LIMIT`].
const MAX_CONNECTIONS: usize = 2048;

/// What the system holds of what a client has not read, in bytes; it takes twice that for itself.
const SEND_BUFFER: usize = 128 << 10;

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
    /// Cancelled when no more are taken, and those that are there end.
    pub(crate) stop: CancellationToken,
}

/// Takes connections until `stop`, and lets go of the port then.
pub(crate) async fn accept(listener: TcpListener, clients: Clients, served: Served) {
    let router = gate::guarded(clients.port, clients.tokens, served);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
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

#[expect(clippy::disallowed_methods, reason = "nothing tells that the system has a descriptor again")]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}
