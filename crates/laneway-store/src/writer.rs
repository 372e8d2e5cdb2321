//! The writer: one thread that decides, up to [`BATCH`] commands in one transaction.
//!
//! ```text
//!  BEGIN IMMEDIATE ─► each: facts, decide, SAVEPOINT, changes + events, RELEASE ─► COMMIT ─► answers, events
//!                      │ error, transaction still there: ROLLBACK TO, the others stay
//!                      └ error, transaction gone or not to be trusted: the same again, one by one
//! ```
//!
//! What fails before COMMIT is known not to be recorded. So is a full disk at COMMIT: the last frame
//! of the log, which makes it a commit, is then not written whole. Any other error there leaves the
//! outcome unknown: nobody is told that it was recorded or that it was not, and the database is closed
//! and opened again before anything else is decided.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use laneway_core::command::Command;
use laneway_core::decide::decide;
use laneway_core::event::Recorded;
use laneway_core::id::HostId;
use laneway_core::time::Timestamp;
use laneway_fault::fault_point;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::apply::{self, ApplyError};
use crate::connection::{self, Opened};
use crate::error::{CloseError, OpenError, SubmitError};
use crate::facts;
use crate::query::QueryError;
use crate::readers::Readers;
use crate::reads;
use crate::store::{Asked, Committed};

/// Commands in one transaction. Its fsync costs 100–200 µs, a decision some 10–20: more would make
/// the first of them wait without making the fsync noticeably cheaper per decision.
const BATCH: usize = 64;

/// Events that are read at once when subscribers are brought up to date.
const PAGE: u32 = 500;

/// A command that waits for its decision.
pub(crate) struct Job {
    pub(crate) command: Command,
    pub(crate) asked: Asked,
    pub(crate) answer: oneshot::Sender<Answer>,
}

type Answer = Result<Committed, SubmitError>;

/// What the writer is asked for.
pub(crate) enum Request {
    Decide(Box<Job>),
    Close(oneshot::Sender<Result<(), CloseError>>),
}

/// How a transaction ended.
enum Ended {
    /// It is durable, and each command has its answer.
    Committed(Vec<Answer>),
    /// Nothing of it is recorded, and each command would be told the same.
    NotRecorded(rusqlite::Error),
    /// One command took the whole transaction with it. If it was the only one this is its answer.
    Gone(SubmitError),
    /// Nobody knows whether it is recorded.
    Unknown(rusqlite::Error),
}

/// The writer's side of a store.
pub(crate) struct Writer {
    path: PathBuf,
    host: HostId,
    now: fn() -> Timestamp,
    /// None from an error that asks for it until the database is open again.
    connection: Option<Connection>,
    readers: Arc<Readers>,
    events: broadcast::Sender<Arc<Recorded>>,
    /// The last event that subscribers were sent.
    published: u64,
}

impl Writer {
    pub(crate) fn new(
        path: &Path,
        opened: Opened,
        readers: Arc<Readers>,
        events: broadcast::Sender<Arc<Recorded>>,
        now: fn() -> Timestamp,
    ) -> Self {
        Self {
            path: path.to_owned(),
            host: opened.host,
            now,
            connection: Some(opened.connection),
            readers,
            events,
            published: opened.last_seq,
        }
    }

    /// Decides until it is told to close, or every handle of the store is gone.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut taken = Vec::with_capacity(BATCH);
        let mut jobs = Vec::with_capacity(BATCH);
        while requests.blocking_recv_many(&mut taken, BATCH) > 0 {
            let mut closing = Vec::new();
            for request in taken.drain(..) {
                match request {
                    Request::Decide(job) if closing.is_empty() => jobs.push(*job),
                    Request::Decide(job) => drop(job.answer.send(Err(SubmitError::Closed))),
                    Request::Close(answer) => closing.push(answer),
                }
            }
            self.decide_all(&mut jobs);
            if !closing.is_empty() {
                requests.close();
                let ended = self.end();
                while let Some(request) = requests.blocking_recv() {
                    match request {
                        Request::Decide(job) => drop(job.answer.send(Err(SubmitError::Closed))),
                        Request::Close(answer) => closing.push(answer),
                    }
                }
                // The first is told how it went; for the others it was closed when they came.
                drop(closing.swap_remove(0).send(ended));
                return;
            }
        }
        // Nobody is left to be told; a database that was not ended cleanly is checked at the next start.
        drop(self.end());
    }

    /// Decides these commands and answers each of them.
    fn decide_all(&mut self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let ended = match self.connected() {
            Ok(()) => self.transact(jobs),
            Err(lost) => {
                return answer_alike(jobs, || SubmitError::Unavailable { source: Arc::clone(&lost) });
            }
        };
        match ended {
            Ended::Committed(answers) => self.answer(jobs, answers),
            Ended::NotRecorded(error) => {
                let error = Arc::new(error);
                answer_alike(jobs, || not_recorded(&self.path, &error));
            }
            Ended::Gone(error) => match jobs.pop() {
                Some(only) if jobs.is_empty() => drop(only.answer.send(Err(error))),
                last => {
                    for job in std::mem::take(jobs).into_iter().chain(last) {
                        self.decide_all(&mut vec![job]);
                    }
                }
            },
            Ended::Unknown(error) => {
                let error = Arc::new(error);
                answer_alike(jobs, || SubmitError::OutcomeUnknown { source: Some(Arc::clone(&error)) });
            }
        }
        // Not left to the next command: readers wait for it. If it cannot be opened they are told so.
        drop(self.connected());
    }

    fn transact(&mut self, jobs: &[Job]) -> Ended {
        let connection = self.connection.as_ref().expect("it was opened before");
        if let Err(error) = execute(connection, "BEGIN IMMEDIATE") {
            if is_suspect(&error) {
                self.disconnect();
            }
            return Ended::NotRecorded(error);
        }
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.decide_one(connection, job) {
                Err(SubmitError::Database { source }) if is_suspect(&source) => {
                    // Its end takes the transaction back.
                    self.disconnect();
                    return Ended::Gone(SubmitError::Database { source });
                }
                Err(error) if connection.is_autocommit() => return Ended::Gone(error),
                answer => answers.push(answer),
            }
        }
        fault_point!("store.before-commit");
        let Err(error) = execute(connection, "COMMIT") else {
            fault_point!("store.committed");
            return Ended::Committed(answers);
        };
        let taken_back = connection.is_autocommit() || execute(connection, "ROLLBACK").is_ok();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) if taken_back => {
                Ended::NotRecorded(error)
            }
            Some(ErrorCode::ConstraintViolation) if taken_back => {
                Ended::Gone(not_recorded(&self.path, &Arc::new(error)))
            }
            _ => {
                self.disconnect();
                Ended::Unknown(error)
            }
        }
    }

    fn decide_one(&self, connection: &Connection, job: &Job) -> Answer {
        let database = |source| not_recorded(&self.path, &Arc::new(source));
        let unread = |error| match error {
            QueryError::Database(error) => database(error),
            QueryError::Row(row) => SubmitError::Row(row),
        };
        let facts = facts::load(connection, self.host, &job.command.scope()).map_err(unread)?;
        let now = (self.now)();
        let decision = decide(&facts, &job.command, now)?;
        if decision.changes.is_empty() && decision.events.is_empty() {
            let seq = reads::last_seq(connection, &self.host.to_string()).map_err(unread)?;
            return Ok(Committed { effects: decision.effects, events: vec![], seq });
        }
        let written = execute(connection, "SAVEPOINT decision").map_err(ApplyError::from).and_then(|()| {
            let written = apply::decision(connection, self.host, &decision, &job.asked, now)?;
            execute(connection, "RELEASE decision")?;
            Ok(written)
        });
        match written {
            Ok(written) => {
                Ok(Committed { effects: decision.effects, events: written.events, seq: written.last_seq })
            }
            Err(error) => {
                take_back(connection);
                Err(match error {
                    ApplyError::Database(error) => database(error),
                    ApplyError::Conflict { table, id } => SubmitError::Conflict { table, id },
                })
            }
        }
    }

    /// Answers first, then tells the subscribers.
    fn answer(&mut self, jobs: &mut Vec<Job>, answers: Vec<Answer>) {
        let mut events = Vec::new();
        for (job, answer) in jobs.drain(..).zip(answers) {
            if let Ok(committed) = &answer {
                events.extend_from_slice(&committed.events);
            }
            // Who asked may be gone; what was decided stays decided.
            drop(job.answer.send(answer));
        }
        for event in events {
            self.publish(event);
        }
    }

    fn publish(&mut self, event: Arc<Recorded>) {
        self.published = event.seq;
        // There need not be a subscriber.
        drop(self.events.send(event));
    }

    /// Closes every connection. The next use reads the log anew, and so finds what it really holds.
    fn disconnect(&mut self) {
        self.readers.suspend();
        self.connection = None;
    }

    /// Opens the database again if it was closed after an error.
    fn connected(&mut self) -> Result<(), Arc<OpenError>> {
        if self.connection.is_some() {
            return Ok(());
        }
        self.readers.suspend();
        self.reopen().map_err(|error| {
            self.disconnect();
            let error = Arc::new(error);
            self.readers.lose(Arc::clone(&error));
            error
        })
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        let opened = connection::open(&self.path)?;
        self.publish_since(&opened.connection)?;
        self.readers.reopen()?;
        self.connection = Some(opened.connection);
        Ok(())
    }

    /// Tells subscribers what was recorded although its commit had failed.
    fn publish_since(&mut self, connection: &Connection) -> Result<(), OpenError> {
        let host = self.host.to_string();
        loop {
            let page = reads::events_since(connection, &host, self.published, PAGE);
            let page = page.map_err(|error| match error {
                QueryError::Database(error) => connection::database(&self.path, error),
                QueryError::Row(source) => OpenError::Row { path: self.path.clone(), source },
            })?;
            if page.is_empty() {
                return Ok(());
            }
            for event in page {
                self.publish(Arc::new(event));
            }
        }
    }

    fn end(&mut self) -> Result<(), CloseError> {
        let connected = self.connected();
        self.readers.close();
        connected.map_err(|source| CloseError::Unavailable { source })?;
        let connection = self.connection.take().expect("it is connected");
        connection::end(connection).map_err(|source| CloseError::Database { source })
    }
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Takes back what a decision wrote. If not even that works the whole transaction is taken back, which
/// its caller sees by asking whether there still is one.
fn take_back(connection: &Connection) {
    if connection.is_autocommit() {
        return;
    }
    let taken_back =
        execute(connection, "ROLLBACK TO decision").and_then(|()| execute(connection, "RELEASE decision"));
    if taken_back.is_err() {
        drop(execute(connection, "ROLLBACK"));
    }
}

fn answer_alike(jobs: &mut Vec<Job>, error: impl Fn() -> SubmitError) {
    for job in jobs.drain(..) {
        drop(job.answer.send(Err(error())));
    }
}

/// The answer for what `SQLite` said while nothing was recorded.
fn not_recorded(path: &Path, source: &Arc<rusqlite::Error>) -> SubmitError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => SubmitError::DiskFull { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SubmitError::Locked { path },
        _ => SubmitError::Database { source: Arc::clone(source) },
    }
}

/// True for errors after which nothing of the connection is trusted: the database is opened again, and
/// looked at as a whole.
fn is_suspect(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
