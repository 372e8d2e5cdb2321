//! Whether the daemon also listens at a port of 127.0.0.1: asked for by a person, kept in a file, and done again by
//! each daemon after that.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::serving::{DEFAULT_PORT, ServingView};
use laneway_fault::fault_point;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::blocking;
use crate::files::{read_if_there, remove_whole, write_whole};
use crate::home::Home;
use crate::http::{Served, tcp};
use crate::problem::failed_in_words;
use crate::tokens::Tokens;

/// The listening at a port, on or off.
#[derive(Debug, Clone)]
pub(crate) struct Serving(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The file with the port.
    path: PathBuf,
    tokens: Tokens,
    state: Mutex<State>,
    /// Connections that are being answered.
    connections: TaskTracker,
}

#[derive(Debug)]
enum State {
    Off,
    On(Listening),
    /// It is to listen at this port and cannot.
    Failed {
        port: u16,
        why: String,
    },
}

#[derive(Debug)]
struct Listening {
    port: u16,
    stop: CancellationToken,
    /// Cancelled when it is for good: those who are told something on and on are let go of, too.
    let_go: CancellationToken,
    /// Takes connections; it has let go of the port when it ends.
    accepting: JoinHandle<()>,
}

impl Serving {
    /// Off, until [`Serving::go_on`] or [`Serving::start`].
    pub(crate) fn new(home: &Home) -> Self {
        Self(Arc::new(Inner {
            path: home.port(),
            tokens: Tokens::open(home.tokens()),
            state: Mutex::new(State::Off),
            connections: TaskTracker::new(),
        }))
    }

    /// Those who are let in.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Listens again if it did under the daemon before this one.
    pub(crate) async fn go_on(&self, served: &Served) {
        let port = match self.recorded().await {
            Ok(Some(port)) => port,
            Ok(None) => return,
            Err(problem) => {
                tracing::error!(problem.message, "whether to listen at a port is not known");
                *self.0.state.lock().await = State::Failed { port: 0, why: problem.message };
                return;
            }
        };
        let mut state = self.0.state.lock().await;
        *state = match listen(port).await {
            Ok(listener) => State::On(self.accept(listener, port, served)),
            Err(error) => {
                let why = format!("127.0.0.1:{port} cannot be listened at: {error}");
                tracing::error!("{why}");
                State::Failed { port, why }
            }
        };
    }

    /// Listens at `port` from now on; without one where it listens already, or is to. Another one that is listened at
    /// is let go of.
    pub(crate) async fn start(&self, port: Option<u16>, served: &Served) -> Result<ServingView, Problem> {
        let mut state = self.0.state.lock().await;
        let wanted = match (port, &*state) {
            (Some(port), _) => port,
            (None, State::On(Listening { port, .. }) | State::Failed { port, .. }) => *port,
            (None, State::Off) => DEFAULT_PORT,
        };
        if !matches!(&*state, State::On(listening) if listening.port == wanted) {
            let listener = listen(wanted).await.map_err(|error| cannot_listen(wanted, &error))?;
            let bound = listener.local_addr().map_err(|error| cannot_listen(wanted, &error))?.port();
            fault_point!("serve.bound");
            self.record(Some(bound)).await?;
            fault_point!("serve.kept");
            let listening = State::On(self.accept(listener, bound, served));
            let_go(std::mem::replace(&mut *state, listening)).await;
        }
        Ok(view(&state))
    }

    /// Listens no more; tells what was listened at until now. Those who are connected are let go of.
    pub(crate) async fn stop(&self) -> Result<ServingView, Problem> {
        let mut state = self.0.state.lock().await;
        self.record(None).await?;
        fault_point!("serve.dropped");
        let before = view(&state);
        let_go(std::mem::replace(&mut *state, State::Off)).await;
        Ok(before)
    }

    /// How it is now.
    pub(crate) async fn view(&self) -> ServingView {
        view(&*self.0.state.lock().await)
    }

    /// Waits until all that was asked over TCP is answered, once the daemon is ending.
    pub(crate) async fn ended(&self) {
        stop(std::mem::replace(&mut *self.0.state.lock().await, State::Off)).await;
        self.0.connections.close();
        self.0.connections.wait().await;
    }

    fn accept(&self, listener: TcpListener, port: u16, served: &Served) -> Listening {
        let stop = served.closing.child_token();
        let let_go = CancellationToken::new();
        let clients = tcp::Clients {
            port,
            tokens: self.0.tokens.clone(),
            connections: self.0.connections.clone(),
            stop: stop.clone(),
            let_go: let_go.clone(),
        };
        tracing::info!(port, "listening at 127.0.0.1");
        Listening {
            port,
            stop,
            let_go,
            accepting: tokio::spawn(tcp::accept(listener, clients, served.clone())),
        }
    }

    async fn recorded(&self) -> Result<Option<u16>, Problem> {
        let path = self.0.path.clone();
        let content = blocking(move || read_if_there(&path)).await?;
        let parsed = content.and_then(|content| match content {
            Some(content) => {
                let text = String::from_utf8_lossy(&content);
                let port = text.trim().parse().map_err(|_| io::Error::other("it is no port"))?;
                Ok(Some(port))
            }
            None => Ok(None),
        });
        parsed.map_err(|error| {
            let message = format!("{} cannot be read: {error}", self.0.path.display());
            failed_in_words("port_unreadable", &error, message)
        })
    }

    async fn record(&self, port: Option<u16>) -> Result<(), Problem> {
        let path = self.0.path.clone();
        let recorded = blocking(move || match port {
            Some(port) => write_whole(&path, format!("{port}\n").as_bytes()),
            None => remove_whole(&path),
        });
        recorded.await?.map_err(|error| {
            let message = format!("that cannot be recorded in {}: {error}", self.0.path.display());
            failed_in_words("port_not_recorded", &error, message)
        })
    }
}

/// The one place that listens for strangers: never at another address than this machine's own.
async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Ends all that came by this port.
async fn let_go(state: State) {
    if let State::On(listening) = &state {
        listening.let_go.cancel();
    }
    stop(state).await;
}

/// Takes nobody more; what is being answered is answered.
async fn stop(state: State) {
    if let State::On(Listening { stop, accepting, .. }) = state {
        stop.cancel();
        // It ends at once, and does not panic.
        let _ = accepting.await;
    }
}

fn view(state: &State) -> ServingView {
    match state {
        State::Off => ServingView { serving: false, port: None, url: None, trouble: None },
        State::On(Listening { port, .. }) => ServingView {
            serving: true,
            port: Some(*port),
            url: Some(format!("http://127.0.0.1:{port}")),
            trouble: None,
        },
        State::Failed { port, why } => {
            ServingView { serving: false, port: Some(*port), url: None, trouble: Some(why.clone()) }
        }
    }
}

fn cannot_listen(port: u16, error: &io::Error) -> Problem {
    let message = format!("127.0.0.1:{port} cannot be listened at: {error}");
    match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => {
            Problem::new(ErrorKind::Refused, "port_unusable", message)
                .hint("lane serve --port 0 takes any free one")
        }
        _ => failed_in_words("port_unusable", error, message),
    }
}
