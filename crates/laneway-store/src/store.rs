//! The store: one handle for deciding, subscribing and reading.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use laneway_core::actor::Actor;
use laneway_core::command::Command;
use laneway_core::decision::Effect;
use laneway_core::event::Recorded;
use laneway_core::id::{CorrelationId, HostId};
use laneway_core::time::Timestamp;
use rusqlite::Connection;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::connection;
use crate::error::{CloseError, OpenError, ReadError, SubmitError};
use crate::query::QueryError;
use crate::readers::Readers;
use crate::writer::{Job, Request, Writer};

/// Commands that wait for the writer: 4 full batches, at some 0.3 ms each a wait of about 1 ms. Who
/// comes when it is full waits for a place.
const QUEUE: usize = 256;

/// Events that a subscriber may be behind: a full batch of 64 decisions with 3 events each, 21 times.
/// At some 400 bytes each that is 1.6 MB, once for all subscribers.
const EVENTS_BEHIND: usize = 4096;

/// The id of the host, used if the database is new. An old one knows its own.
#[derive(Debug, Clone, Copy)]
pub struct NewHost(pub HostId);

/// Who asked, and under which request: it goes into every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub actor: Actor,
    /// The request.
    pub correlation: CorrelationId,
}

/// A decision that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What is to be carried out now.
    pub effects: Vec<Effect>,
    /// What was recorded, in order; none if the decision changed nothing.
    pub events: Vec<Arc<Recorded>>,
    /// The number of the last event as of this decision.
    pub seq: u64,
}

/// The record of one host. A clone is another handle on the same store.
#[derive(Clone)]
pub struct Store {
    host: HostId,
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Arc<Recorded>>,
    readers: Arc<Readers>,
}

impl Store {
    /// Opens the database at `path`; it is made, with its folder, if there is none.
    ///
    /// Blocks: a database that was not ended cleanly is checked as a whole. `now` is the clock that
    /// decisions are made by.
    pub fn open(path: &Path, host: NewHost, now: fn() -> Timestamp) -> Result<Self, OpenError> {
        // It may have to be opened again, and the working directory may be another one then.
        let path =
            &std::path::absolute(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let opened = connection::open_or_create(path, host.0)?;
        let readers = Arc::new(Readers::open(path)?);
        let host = opened.host;
        let (requests, waiting) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENTS_BEHIND);
        let writer = Writer::new(path, opened, Arc::clone(&readers), events.clone(), now);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(|source| OpenError::Thread { source })?;
        Ok(Self { host, requests, events, readers })
    }

    /// The host whose record this is.
    pub fn host(&self) -> HostId {
        self.host
    }

    /// Decides a command, and answers once the decision is durable.
    ///
    /// The effects of a decision are with the answer and nowhere else: a caller that may be dropped
    /// while it waits (a request whose client has gone) submits from a task of its own.
    pub async fn submit(&self, command: Command, asked: Asked) -> Result<Committed, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let job = Job { command, asked, answer };
        self.requests.send(Request::Decide(Box::new(job))).await.map_err(|_| SubmitError::Closed)?;
        answered.await.unwrap_or(Err(SubmitError::OutcomeUnknown { source: None }))
    }

    /// Events from now on, in the order of their numbers, each after it was committed.
    ///
    /// To miss nothing: subscribe first, then read [`Store::events_since`] until it has no more, then
    /// go on with those received that have a greater number. One that lags does the same again.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.events.subscribe()
    }

    /// Decides what waits, then ends the database cleanly. Every other handle is closed with this one.
    pub async fn close(&self) -> Result<(), CloseError> {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Close(answer)).await.is_err() {
            return Ok(());
        }
        // Without an answer another close came first.
        answered.await.unwrap_or(Ok(()))
    }

    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, QueryError>,
    ) -> Result<T, ReadError> {
        self.readers.ask(question)
    }
}
