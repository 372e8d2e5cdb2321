//! The WebSocket of one terminal: its picture first, then its output as it comes, and what the client types.
//!
//! ```text
//! words and data of the holder ─┐
//! words and keys of the client ─┼─► session ─► deeds ─► frames, requests, keys, the end
//! ```
//!
//! It is a viewer of the run's holder like any other: the holder passes over what a slow one does not take, and sends a
//! picture instead.

mod session;

use super::document::TargetPath;
use laneway_api::routes;
use std::io;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use laneway_api::socket::{TerminalQuery, TerminalWord, terminal_close, terminal_frame};
use laneway_core::id::{RunId, WorkerId};
use laneway_wire::final_screen::FinalScreen;
use laneway_wire::message::{FromHolder, Incoming, Size, ToHolder};

use super::socket::session::{Due, Life};
use super::socket::{Unsent, bounded, over, say_goodbye, write_all};
use super::{All, Caller, Failure, Query, TargetText};
use crate::engine::{Engine, blocking};
use crate::holders::{Conversation, LinkError, meet};
use crate::problem::chain;
use crate::tokens::Admitted;
use session::{Deed, Session};

/// The longest frame of a client, in bytes: a paste. A longer one is sent in pieces, or as input of the worker.
const MAX_TYPED: usize = 1 << 20;

/// The longest reason in a close frame, in bytes, by the protocol.
const MAX_REASON: usize = 123;

/// Bytes of a last screen that are sent at once.
const PIECE: usize = 64 << 10;

/// How long a holder may take to say how large its terminal is, as long as to be met.
const SIZE_LIMIT: Duration = Duration::from_secs(5);

/// How long a holder may take to take what is typed.
const TYPE_LIMIT: Duration = Duration::from_secs(10);

/// A WebSocket of a terminal.
#[utoipa::path(
    get,
    path = routes::TERMINAL_SOCKET,
    operation_id = "open_terminal",
    tag = "terminals",
    params(TargetPath, TerminalQuery),
    responses((status = 101, description = "a WebSocket")),
)]
pub(super) async fn show(
    State(served): All,
    caller: Caller,
    TargetText(target): TargetText,
    Query(query): Query<TerminalQuery>,
    admitted: Option<Extension<Admitted>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    if query.columns.is_some() != query.rows.is_some() {
        return Err(super::usage("bad_query", &"columns and rows come together"));
    }
    let upgrade = bounded(upgrade, MAX_TYPED)?;
    let place = served.sockets.take()?;
    let engine = served.engine;
    // Told in the connection: a browser shows its pages nothing of a refused one.
    let worker = match target.parse::<WorkerId>() {
        Ok(id) => engine.worker_by_id(id).await.map(|worker| worker.id),
        Err(_) => engine.worker_target(&caller, &target).await,
    };
    let over = over(admitted.map(|Extension(admitted)| admitted), served.closing);
    let viewer = Viewer { engine, query };
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let _place = place;
        let shown = async {
            match worker {
                Ok(worker) => viewer.serve(&mut socket, worker).await,
                Err(problem) => End::Unknown(problem.message),
            }
        };
        // Also while its holder does not answer, or the client does not take what is sent.
        let words = tokio::select! {
            biased;
            cut = over => Some(cut.in_words()),
            end = shown => end.in_words(),
        };
        say_goodbye(&mut socket, words).await;
    }))
}

struct Viewer {
    engine: Engine,
    query: TerminalQuery,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client has gone, cannot be reached, or says nothing.
    Gone,
    /// The program has ended, and all is told.
    Ended,
    /// There is no such worker.
    Unknown(String),
    /// The holder is not there as it should be.
    Lost(String),
}

impl From<Unsent> for End {
    fn from(_: Unsent) -> Self {
        End::Gone
    }
}

impl End {
    fn in_words(self) -> Option<(u16, String)> {
        let short = |mut text: String| {
            while text.len() > MAX_REASON {
                text.pop();
            }
            text
        };
        match self {
            End::Gone => None,
            End::Ended => Some((terminal_close::ENDED, "the program has ended".to_owned())),
            End::Unknown(why) => Some((terminal_close::UNKNOWN, short(why))),
            End::Lost(why) => Some((close_code::ERROR, short(why))),
        }
    }
}

enum Event {
    Holder(Result<Option<Incoming<FromHolder>>, LinkError>),
    Client(Option<Result<Message, axum::Error>>),
    TimePassed,
}

impl Viewer {
    async fn serve(self, socket: &mut WebSocket, worker: WorkerId) -> End {
        let run = match self.engine.worker_by_id(worker).await {
            Ok(view) => view.run,
            Err(problem) => return End::Unknown(problem.message),
        };
        let Some(run) = run else { return End::Unknown("it has never run".to_owned()) };
        let folder = self.engine.home.run(run);
        // What a pane of tmux shows its holder has to be told of; if that fails, the holder says that it does not know.
        if let Err(problem) = self.engine.tap(run).await {
            tracing::info!(%run, problem = problem.message, "what a pane shows is not known");
        }
        match meet(&folder, run).await {
            Ok(conversation) => self.follow(socket, conversation).await,
            Err(LinkError::Nobody) => self.show_last(socket, worker, run).await,
            Err(error) => End::Lost(chain(&error)),
        }
    }

    /// What a program showed last that has ended before.
    async fn show_last(self, socket: &mut WebSocket, worker: WorkerId, run: RunId) -> End {
        let folder = self.engine.home.run(run);
        let screen = match blocking(move || FinalScreen::read(&folder)).await {
            Ok(screen) => screen.inspect_err(|error| {
                tracing::info!(%run, error = chain(error), "there is no last screen");
            }),
            Err(problem) => return End::Lost(problem.message),
        };
        let exit = match self.engine.worker_by_id(worker).await {
            Ok(view) => view.exit,
            Err(problem) => return End::Lost(problem.message),
        };
        let frames = screen.map(|screen| last_frames(screen, self.query.since)).unwrap_or_default();
        for frame in frames {
            if write_all(socket, vec![Message::Binary(frame.into())]).await.is_err() {
                return End::Gone;
            }
        }
        match write_all(socket, vec![word(&session::last_words(exit))]).await {
            Ok(()) => End::Ended,
            Err(unsent) => unsent.into(),
        }
    }

    async fn follow(self, socket: &mut WebSocket, mut holder: Conversation) -> End {
        let size = match tokio::time::timeout(SIZE_LIMIT, size_of(&mut holder)).await {
            Ok(Ok(size)) => size,
            Ok(Err(error)) => return End::Lost(chain(&error)),
            Err(_) => return End::Lost(chain(&LinkError::Silent)),
        };
        let (mut session, attach) = Session::new(&self.query, size);
        let mut deeds = vec![Deed::Ask(attach)];
        let mut life = Life::new(Instant::now());
        loop {
            if let Err(end) = carry_out(std::mem::take(&mut deeds), socket, &mut holder).await {
                return end;
            }
            let due = match life.due(Instant::now()) {
                Due::At(at) => at,
                Due::Ask => {
                    life.asked();
                    if write_all(socket, vec![Message::Ping(bytes::Bytes::new())]).await.is_err() {
                        return End::Gone;
                    }
                    continue;
                }
                Due::Drop => return End::Gone,
            };
            let event = tokio::select! {
                biased;
                heard = socket.recv() => Event::Client(heard),
                heard = holder.hear() => Event::Holder(heard),
                () = tokio::time::sleep_until(due.into()) => Event::TimePassed,
            };
            deeds = match event {
                Event::TimePassed => Vec::new(),
                Event::Client(heard) => {
                    life.heard(Instant::now());
                    match heard {
                        Some(Ok(Message::Text(text))) => session.wished(text.as_str()),
                        Some(Ok(Message::Binary(typed))) => vec![session.typed(typed.into())],
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Vec::new(),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                    }
                }
                Event::Holder(Ok(Some(incoming))) => session.heard(incoming),
                Event::Holder(Ok(None)) => return End::Lost("its holder has gone".to_owned()),
                Event::Holder(Err(error)) => return End::Lost(chain(&error)),
            };
        }
    }
}

async fn carry_out(deeds: Vec<Deed>, socket: &mut WebSocket, holder: &mut Conversation) -> Result<(), End> {
    for deed in deeds {
        match deed {
            Deed::Say(said) => write_all(socket, vec![word(&said)]).await?,
            Deed::Send(frame) => write_all(socket, vec![Message::Binary(frame.into())]).await?,
            Deed::Ask(request) => taken(holder.say(&request)).await.map(drop)?,
            Deed::Type(typed) => taken(holder.type_in(&typed)).await?,
            Deed::End => return Err(End::Ended),
        }
    }
    Ok(())
}

/// What a holder is given, within its limit.
async fn taken<T>(given: impl Future<Output = io::Result<T>>) -> Result<T, End> {
    match tokio::time::timeout(TYPE_LIMIT, given).await {
        Ok(Ok(taken)) => Ok(taken),
        Ok(Err(error)) => Err(End::Lost(error.to_string())),
        Err(_) => Err(End::Lost("the program does not take what is typed".to_owned())),
    }
}

async fn size_of(holder: &mut Conversation) -> Result<Option<Size>, LinkError> {
    let asked = holder.say(&ToHolder::Status).await.map_err(LinkError::Socket)?;
    match holder.answer(asked, |_| {}).await? {
        FromHolder::Status(status) => Ok(status.size),
        other => Err(LinkError::Stranger(format!("{other:?}"))),
    }
}

/// The frames of a last screen; none of it for who has all the output already.
fn last_frames(screen: FinalScreen, since: Option<u64>) -> Vec<Vec<u8>> {
    let end = screen.offsets;
    if let Some(terminal) = screen.terminal {
        if since == Some(end.pty) {
            return Vec::new();
        }
        let kinds = std::iter::once(terminal_frame::SNAPSHOT)
            .chain(std::iter::repeat(terminal_frame::MORE_OF_SNAPSHOT));
        // Of an empty one too there is a first frame.
        let pieces = terminal.snapshot.chunks(PIECE).chain(terminal.snapshot.is_empty().then_some(&[][..]));
        return kinds.zip(pieces).map(|(kind, piece)| session::frame(kind, end.pty, piece)).collect();
    }
    let Some(pipes) = screen.pipes else { return Vec::new() };
    let kept = |kind, bytes: &[u8], end: u64| {
        let begin = end.saturating_sub(bytes.len() as u64);
        (!bytes.is_empty()).then(|| session::frame(kind, begin, bytes))
    };
    let stdout = kept(terminal_frame::STDOUT, &pipes.stdout, end.stdout);
    stdout.into_iter().chain(kept(terminal_frame::STDERR, &pipes.stderr, end.stderr)).collect()
}

fn word(said: &TerminalWord) -> Message {
    let text = serde_json::to_string(said).expect("it is made of strings and numbers");
    Message::Text(text.into())
}
