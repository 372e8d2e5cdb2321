//! What can go wrong, each with what was tried.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use laneway_core::refusal::Refusal;

/// Why a database could not be opened. None of these has changed what is in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder could not be made or looked at.
    #[error("cannot use {}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a database of another program.
    #[error("{} is a database of another program (application id {application_id})", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// The mark it carries; 0 for none.
        application_id: i32,
    },
    /// It is damaged. It is left as it is, for whoever may be able to mend it.
    #[error("the database {} is damaged: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer Laneway wrote it.
    #[error(
        "the database {} has version {found}, and this program knows versions up to {known}: \
         a newer Laneway wrote it",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// Another program kept it locked for longer than this one waits.
    #[error("the database {} is locked by another program", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// There is no room left to write to.
    #[error("the database {} cannot be opened: the disk is full", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// A row that every database has cannot be read.
    #[error("the database {} cannot be used", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row.
        #[source]
        source: UnreadableRow,
    },
    /// The thread that decides could not be started.
    #[error("no thread could be started to write to the database")]
    Thread {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `SQLite` refused for another reason.
    #[error("the database {} cannot be opened", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
}

/// A row that does not hold what its table promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row {id} of table {table} cannot be read: {what}")]
pub struct UnreadableRow {
    /// The table.
    pub table: &'static str,
    /// The row, by its first column.
    pub id: String,
    /// What is wrong with it.
    pub what: String,
}

/// Why a command was not decided, or not recorded.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It was decided: no. Nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What the decision was based on was not what stands in the table: an error of ours. Nothing of
    /// it was recorded.
    #[error("{table} {id} is not what the decision was based on; nothing was recorded")]
    Conflict {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
    },
    /// A row that the decision needs cannot be read. Nothing was recorded.
    #[error(transparent)]
    Row(#[from] UnreadableRow),
    /// There is no room for another record. Nothing was recorded; what is recorded can be read, and
    /// it goes on by itself once there is room.
    #[error("nothing can be recorded: the disk that holds {} is full", .path.display())]
    DiskFull {
        /// The database.
        path: PathBuf,
    },
    /// Another program kept the database locked for longer than this one waits. Nothing was recorded.
    #[error("nothing can be recorded: the database {} is locked by another program", .path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The record failed at its last step: it may or may not be there. No effect may follow from it;
    /// what really is recorded has to be looked at.
    #[error("it is not known whether this was recorded")]
    OutcomeUnknown {
        /// What went wrong; None if the thread that decides is gone.
        #[source]
        source: Option<Arc<rusqlite::Error>>,
    },
    /// The database was closed after an error and cannot be opened again. Nothing was recorded; the
    /// next command tries again.
    #[error("nothing can be recorded: the database cannot be opened")]
    Unavailable {
        /// Why not.
        #[source]
        source: Arc<OpenError>,
    },
    /// `SQLite` refused for another reason. Nothing was recorded.
    #[error("nothing was recorded")]
    Database {
        /// What it said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The store has been closed. Nothing was recorded.
    #[error("nothing can be recorded: the database has been closed")]
    Closed,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A row cannot be read.
    #[error(transparent)]
    Row(#[from] UnreadableRow),
    /// `SQLite` refused.
    #[error("the database cannot be read")]
    Database {
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// The database was closed after an error and cannot be opened again.
    #[error("the database cannot be opened")]
    Unavailable {
        /// Why not.
        #[source]
        source: Arc<OpenError>,
    },
    /// The store has been closed.
    #[error("the database has been closed")]
    Closed,
}

/// Why a store could not be ended cleanly. It is checked when it is opened again.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The last write failed.
    #[error("the database could not be ended cleanly")]
    Database {
        /// What `SQLite` said.
        #[source]
        source: rusqlite::Error,
    },
    /// It had been lost before.
    #[error("the database had been lost before it was closed")]
    Unavailable {
        /// Why.
        #[source]
        source: Arc<OpenError>,
    },
}
