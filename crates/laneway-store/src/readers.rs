//! The readers: a few read-only connections, each lent to one question at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::connection;
use crate::error::{OpenError, ReadError};
use crate::query::QueryError;

/// Questions are answered in 10 µs to 1 ms: two at once keep up with 2 000 a second.
const N_READERS: usize = 2;

/// The pool.
pub(crate) struct Readers {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    idle: Vec<Connection>,
    n_lent: usize,
    mode: Mode,
}

enum Mode {
    /// Connections are lent.
    Open,
    /// The writer closes the database and opens it again; who asks waits.
    Reopening,
    /// It could not be opened again.
    Lost(Arc<OpenError>),
    /// It was closed.
    Closed,
}

impl Readers {
    /// Opens the connections. The writer's must be open before, and stay open longer.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(State { idle: connections(path)?, n_lent: 0, mode: Mode::Open }),
            changed: Condvar::new(),
        })
    }

    /// Asks one question with a connection of its own.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, QueryError>,
    ) -> Result<T, ReadError> {
        let lent = self.lend()?;
        let answer = question(lent.connection.as_ref().expect("it is given back when this ends"));
        Ok(answer?)
    }

    /// Takes every connection back and closes it; who asks from now on waits for [`Readers::reopen`].
    pub(crate) fn suspend(&self) {
        self.withdraw(Mode::Reopening);
    }

    /// Takes every connection back and closes it, for good.
    pub(crate) fn close(&self) {
        self.withdraw(Mode::Closed);
    }

    /// Lends again, after the writer has opened the database again.
    pub(crate) fn reopen(&self) -> Result<(), OpenError> {
        let idle = connections(&self.path)?;
        let mut state = self.lock();
        state.idle = idle;
        state.mode = Mode::Open;
        self.changed.notify_all();
        Ok(())
    }

    /// It could not be opened again: who asks is told so.
    pub(crate) fn lose(&self, why: Arc<OpenError>) {
        self.lock().mode = Mode::Lost(why);
        self.changed.notify_all();
    }

    fn withdraw(&self, mode: Mode) {
        let mut state = self.lock();
        state.mode = mode;
        state.idle.clear();
        self.changed.notify_all();
        while state.n_lent > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lend(&self) -> Result<Lent<'_>, ReadError> {
        let mut state = self.lock();
        loop {
            match &state.mode {
                Mode::Open => {
                    if let Some(connection) = state.idle.pop() {
                        state.n_lent += 1;
                        return Ok(Lent { readers: self, connection: Some(connection) });
                    }
                }
                Mode::Reopening => {}
                Mode::Lost(why) => return Err(ReadError::Unavailable { source: Arc::clone(why) }),
                Mode::Closed => return Err(ReadError::Closed),
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The state is whole between any two lines that hold it, so a panic elsewhere cannot harm it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that comes back by itself.
struct Lent<'pool> {
    readers: &'pool Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take();
        let mut state = self.readers.lock();
        match state.mode {
            Mode::Open => state.idle.extend(connection),
            // Closed before it is counted as back: whoever waits for that goes on without it.
            Mode::Reopening | Mode::Lost(_) | Mode::Closed => drop(connection),
        }
        state.n_lent -= 1;
        self.readers.changed.notify_all();
    }
}

fn connections(path: &Path) -> Result<Vec<Connection>, OpenError> {
    (0..N_READERS).map(|_| connection::open_reader(path)).collect()
}
