//! The WebSocket of events: what a client subscribes to is sent as it happens, and what has happened again if it asks.
//!
//! ```text
//! events of the feed ────┐
//! lines of programs ─────┤
//! words of the client ───┼─► Event ─► handle ─► what is said, or the end
//! time, revoked, ending ─┘
//! ```
//!
//! A client that reads slowly holds up nobody: events that it has not taken are read from the record when it is ready,
//! and at most [`MAX_UNSENT`] bytes wait for it.

mod pattern;
pub(super) mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures_util::SinkExt;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::routes;
use laneway_api::socket::{ServerMessage, SocketQuery};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::document::Refused;
use super::feed::{Feed, Next};
use super::tcp::part_of_descriptors;
use super::{All, Failure, Query, usage};
use crate::engine::Engine;
use crate::logs::{Batch, Listener, Logs};
use crate::tokens::{Admitted, Over};
use session::{Due, Life, Session};

/// The most `WebSockets` that are there at a time, of all kinds. A terminal's takes two descriptors: so no more than an
/// eighth of those that there may be.
const MAX_CLIENTS: usize = 2048;

/// The longest message of a client, in bytes: its patterns.
const MAX_MESSAGE: usize = 64 << 10;

/// Bytes that are written at once.
const WRITE_AT_ONCE: usize = 16 << 10;

/// The most that waits for one client beside what the system holds for it, in bytes; more is not read for it.
const MAX_UNSENT: usize = 256 << 10;

/// Events that are written before the client is heard again.
const EVENTS_AT_ONCE: usize = 128;

/// How long a client may take nothing of what is written to it: as long as it may give no sign of life.
const SEND_LIMIT: Duration = session::PING_AFTER.saturating_add(session::PONG_LIMIT);

/// How long the last word may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Places for clients. A clone is another handle on the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    n_all: usize,
}

impl Places {
    /// All of them, free.
    pub(crate) fn new() -> Self {
        let n_all = part_of_descriptors(8).min(MAX_CLIENTS);
        Self { free: Arc::new(Semaphore::new(n_all)), n_all }
    }

    /// How many are taken.
    pub(crate) fn n_taken(&self) -> usize {
        self.n_all - self.free.available_permits()
    }

    /// One for one more client.
    pub(super) fn take(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let message = format!("there are {} WebSockets already", self.n_all);
            Failure(Problem::new(ErrorKind::Refused, "too_many_clients", message))
        })
    }
}

/// Waits until a client is to be told no more, for a reason that is not its own.
pub(super) async fn over(admitted: Option<Admitted>, closing: CancellationToken) -> Cut {
    let of_the_port = async {
        match admitted {
            Some(admitted) => admitted.over().await,
            // By the unix socket nobody is let in, and nobody is cut off.
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        over = of_the_port => match over {
            Over::Revoked => Cut { code: close_code::POLICY, reason: "the token was revoked" },
            Over::LetGo => Cut { code: close_code::AWAY, reason: "this port is listened at no more" },
        },
        () = closing.cancelled() => Cut { code: close_code::AWAY, reason: "the daemon is ending" },
    }
}

/// The last word to a client that is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    code: u16,
    reason: &'static str,
}

impl Cut {
    /// For the close frame.
    pub(super) fn in_words(self) -> (u16, String) {
        (self.code, self.reason.to_owned())
    }
}

/// Says the last word, if it can be said.
pub(super) async fn say_goodbye(socket: &mut WebSocket, words: Option<(u16, String)>) {
    if let Some((code, reason)) = words {
        let frame = CloseFrame { code, reason: Utf8Bytes::from(reason) };
        let _ = tokio::time::timeout(CLOSE_LIMIT, socket.send(Message::Close(Some(frame)))).await;
    }
}

/// An upgrade with bounds, or a refusal in our own words.
pub(super) fn bounded(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    max_message: usize,
) -> Result<WebSocketUpgrade, Failure> {
    let upgrade = upgrade.map_err(|rejection| usage("no_websocket", &rejection.body_text()))?;
    Ok(upgrade
        .read_buffer_size(4 << 10)
        .write_buffer_size(WRITE_AT_ONCE)
        .max_write_buffer_size(MAX_UNSENT.max(2 * max_message))
        .max_message_size(max_message)
        .max_frame_size(max_message))
}

/// A WebSocket of events.
#[utoipa::path(
    get,
    path = routes::EVENT_SOCKET,
    operation_id = "open_events",
    tag = "events",
    params(SocketQuery),
    responses((status = 101, description = "a WebSocket"), Refused),
)]
pub(super) async fn events(
    State(served): All,
    Query(how): Query<SocketQuery>,
    admitted: Option<Extension<Admitted>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = bounded(upgrade, MAX_MESSAGE)?;
    let place = served.sockets.take()?;
    // From before the client hears that it is connected, so that it misses nothing from then on.
    let (feed, seq) = Feed::to_come(&served.engine).await?;
    let client = Client {
        session: Session::new(how.names),
        feed,
        life: Life::new(Instant::now()),
        logs: served.logs,
        lines: None,
    };
    let over = over(admitted.map(|Extension(admitted)| admitted), served.closing.clone());
    let engine = served.engine;
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let _place = place;
        // Also while something is being written that the client does not take.
        let words = tokio::select! {
            biased;
            cut = over => Some(cut.in_words()),
            end = client.serve(&mut socket, seq, &engine) => end.in_words(),
        };
        say_goodbye(&mut socket, words).await;
    }))
}

struct Client {
    session: Session,
    feed: Feed,
    life: Life,
    logs: Logs,
    /// What programs write, while that is wanted.
    lines: Option<Listener>,
}

enum Event {
    Heard(Option<Result<Message, axum::Error>>),
    Happened(Result<Next, Problem>),
    Written(Arc<Batch>, u64),
    TimePassed,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has gone, or cannot be reached.
    Gone,
    /// It takes nothing, or gave no sign of life.
    Silent,
    /// The daemon ends; it may execute itself anew.
    Ending,
    /// The record cannot be read.
    Failed,
}

impl End {
    /// The close code and the reason for it; none if nobody is there to be told.
    fn in_words(self) -> Option<(u16, String)> {
        match self {
            End::Gone | End::Silent => None,
            End::Ending => Some((close_code::AWAY, "the daemon is ending".to_owned())),
            End::Failed => Some((close_code::ERROR, "the record cannot be read".to_owned())),
        }
    }
}

impl Client {
    async fn serve(mut self, socket: &mut WebSocket, seq: u64, engine: &Engine) -> End {
        tracing::debug!(host = %engine.store.host(), "a WebSocket of events begins");
        let connected = vec![message(&ServerMessage::Connected { seq })];
        let mut end = write(socket, connected).await.err();
        loop {
            if let Some(end) = end {
                return end;
            }
            let due = match self.life.due(Instant::now()) {
                Due::At(at) => at,
                Due::Ask => {
                    self.life.asked();
                    end = write(socket, vec![Message::Ping(bytes::Bytes::new())]).await.err();
                    continue;
                }
                Due::Drop => return End::Silent,
            };
            let event = tokio::select! {
                biased;
                heard = socket.recv() => Event::Heard(heard),
                next = self.feed.next() => Event::Happened(next),
                (batch, n_missed) = next_lines(self.lines.as_mut()) => Event::Written(batch, n_missed),
                () = tokio::time::sleep_until(due.into()) => Event::TimePassed,
            };
            end = match self.handle(event, engine).await {
                Ok(said) => write(socket, said).await.err(),
                Err(end) => Some(end),
            };
        }
    }

    /// What is to be said about it.
    async fn handle(&mut self, event: Event, engine: &Engine) -> Result<Vec<Message>, End> {
        match event {
            Event::TimePassed => Ok(Vec::new()),
            Event::Heard(None | Some(Err(_))) => Err(End::Gone),
            Event::Heard(Some(Ok(heard))) => {
                self.life.heard(Instant::now());
                let answer = self.answer(heard).await?;
                match (self.session.wants_lines(), &self.lines) {
                    (true, None) => self.lines = Some(self.logs.listen(engine)),
                    (false, Some(_)) => self.lines = None,
                    (true, Some(_)) | (false, None) => {}
                }
                Ok(answer.into_iter().collect())
            }
            Event::Happened(next) => self.tell(next).await,
            Event::Written(batch, n_missed) => {
                let told = self.session.tell_lines(&batch, n_missed, engine.store.host(), |worker| {
                    self.feed.instance_of(worker)
                });
                Ok(told.into_iter().map(|text| Message::Text(text.into())).collect())
            }
        }
    }

    async fn answer(&mut self, heard: Message) -> Result<Option<Message>, End> {
        let text = match heard {
            Message::Text(text) => text,
            Message::Binary(_) => {
                let said = "messages here are texts; a terminal has a WebSocket of its own".to_owned();
                return Ok(Some(message(&ServerMessage::Error { message: said })));
            }
            Message::Close(_) => return Err(End::Gone),
            Message::Ping(_) | Message::Pong(_) => return Ok(None),
        };
        match self.session.heard(text.as_str()) {
            session::Response::Say(answer) => Ok(Some(message(&answer))),
            session::Response::Replay(since) => Ok(self.feed.go_back_to(since).await.err().map(|last| {
                let said = format!("there is no event {since} yet: the last one is {last}");
                message(&ServerMessage::Error { message: said })
            })),
        }
    }

    /// This one, and those that are there already behind it.
    async fn tell(&mut self, first: Result<Next, Problem>) -> Result<Vec<Message>, End> {
        let mut said = Vec::new();
        let mut next = Some(first);
        for _ in 0..EVENTS_AT_ONCE {
            match next {
                None => break,
                Some(Ok(Next::Event(event))) => {
                    let told = self.session.tell(&event, |worker| self.feed.instance_of(worker));
                    said.extend(told.map(|text| Message::Text(text.into())));
                }
                Some(Ok(Next::Lagged { from, to })) => {
                    said.push(message(&ServerMessage::Lagged { from, to }));
                }
                Some(Ok(Next::End)) => return Err(End::Ending),
                Some(Err(problem)) => {
                    tracing::warn!(problem.message, "events cannot be told");
                    return Err(End::Failed);
                }
            }
            if said.len() == EVENTS_AT_ONCE {
                break;
            }
            next = self.feed.at_once().await.transpose();
        }
        Ok(said)
    }
}

/// What programs write next; nothing for who does not want it.
async fn next_lines(lines: Option<&mut Listener>) -> (Arc<Batch>, u64) {
    match lines {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}

fn message(said: &ServerMessage) -> Message {
    let text = serde_json::to_string(said).expect("it is made of strings and numbers");
    Message::Text(text.into())
}

/// Writes all of it; a client that takes nothing of it for too long is given up.
pub(super) async fn write_all(socket: &mut WebSocket, said: Vec<Message>) -> Result<(), Unsent> {
    for message in said {
        within(socket.feed(message)).await?;
    }
    within(socket.flush()).await
}

/// Why something could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The client has gone.
    Gone,
    /// It takes nothing.
    Silent,
}

async fn within(written: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Unsent> {
    match tokio::time::timeout(SEND_LIMIT, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Unsent::Gone),
        Err(_) => Err(Unsent::Silent),
    }
}

async fn write(socket: &mut WebSocket, said: Vec<Message>) -> Result<(), End> {
    if said.is_empty() {
        return Ok(());
    }
    write_all(socket, said).await.map_err(|unsent| match unsent {
        Unsent::Gone => End::Gone,
        Unsent::Silent => End::Silent,
    })
}
