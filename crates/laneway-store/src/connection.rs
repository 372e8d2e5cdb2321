//! How a database is made, checked and opened.
//!
//! A database is made under another name and linked to its own once it is complete: at its own name
//! there is a whole database or none, so an empty or torn file there is damage and never "new".
//! Until an existing one has proven sound, nothing is written to it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use laneway_core::id::HostId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::OpenError;
use crate::query::{self, QueryError};
use crate::schema::{self, APPLICATION_ID};

/// How long a lock of another program is waited for. Ours never wait for each other: there is one
/// that writes, and readers of a write-ahead log do not lock it out.
const BUSY_LIMIT: Duration = Duration::from_secs(2);

/// Statements that stay prepared: there are some 40 different ones.
const PREPARED_STATEMENTS: usize = 64;

/// A connection is used by one thread at a time, so `SQLite` need not see to that with a lock for each cell it reads.
const BY_ONE_AT_A_TIME: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// A database that can be written to.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) host: HostId,
    pub(crate) last_seq: u64,
}

/// Opens the database at this absolute path, after it was made for `host` if there is none.
pub(crate) fn open_or_create(path: &Path, host: HostId) -> Result<Opened, OpenError> {
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, host)?,
        Err(source) => return Err(file(path, source)),
    }
    open(path)
}

/// Opens a database that is there.
pub(crate) fn open(path: &Path) -> Result<Opened, OpenError> {
    look_at_the_mark(path)?;
    let failed = |source| database(path, source);
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | BY_ONE_AT_A_TIME)
            .map_err(failed)?;
    configure(&connection).map_err(failed)?;
    // Else the end of a connection that found damage would write what the log holds into the file.
    let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    set_checkpoint_at_end(&connection, !has_log).map_err(failed)?;
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    let version = version_of_a_sound_database(path, &connection)?;
    connection.pragma_update(None, "query_only", false).map_err(failed)?;
    schema::migrate(&mut connection, version).map_err(failed)?;
    set_checkpoint_at_end(&connection, false).map_err(failed)?;
    mark_ended(&mut connection, false).map_err(failed)?;
    let (host, last_seq) = meta(path, &connection)?;
    Ok(Opened { connection, host, last_seq })
}

/// A connection that can only read.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| database(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | BY_ONE_AT_A_TIME;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    configure(&connection).map_err(failed)?;
    Ok(connection)
}

/// Notes that the database was left as it should be, and moves the log into it.
pub(crate) fn end(mut connection: Connection) -> rusqlite::Result<()> {
    mark_ended(&mut connection, true)?;
    set_checkpoint_at_end(&connection, true)?;
    connection.close().map_err(|(_, error)| error)
}

/// The error for what `SQLite` said about the database at `path`.
pub(crate) fn database(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        Some(ErrorCode::DiskFull) => OpenError::DiskFull { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path, what: source.to_string() }
        }
        _ => OpenError::Database { path, source },
    }
}

fn file(path: &Path, source: io::Error) -> OpenError {
    OpenError::File { path: path.to_owned(), source }
}

pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.into() }
}

/// The name of a file that stands beside the database.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_LIMIT)?;
    // Else a statement whose plan might be another for another value, as each that uses an index of some rows only,
    // is prepared anew each time a value is bound: a fifth of what a list of workers costs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn set_checkpoint_at_end(connection: &Connection, wanted: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !wanted).map(drop)
}

fn mark_ended(connection: &mut Connection, cleanly: bool) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE meta SET ended_cleanly = ?1 WHERE ended_cleanly <> ?1", [cleanly])?;
    transaction.commit()
}

/// Tells apart the databases that this process is making.
static ATTEMPT: AtomicU32 = AtomicU32::new(0);

/// Makes a whole database. Of several that try at once, one wins and all use that one.
fn create(path: &Path, host: HostId) -> Result<(), OpenError> {
    for log in ["-wal", "-journal"] {
        if fs::metadata(beside(path, log)).is_ok_and(|log| log.len() > 0) {
            return Err(damaged(path, format!("it is gone, and its {log} file is still there")));
        }
    }
    let folder = path.parent().expect("it is absolute and names a file");
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| file(folder, source))?;
    let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
    let unfinished = beside(path, &format!(".{}-{attempt}.new", std::process::id()));
    let made = fill(&unfinished, host).and_then(|()| match give_name(&unfinished, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(file(path, source)),
    });
    for left in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(&unfinished, left)) {
            Ok(()) => {}
            // Nearly always: only a failure leaves more than the file itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) if made.is_ok() => return Err(file(&unfinished, source)),
            // What went wrong first is told.
            Err(_) => {}
        }
    }
    made?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| file(folder, source))
}

/// Gives a file its name, unless that is taken.
fn give_name(unfinished: &Path, path: &Path) -> io::Result<()> {
    let link = fs::hard_link(unfinished, path);
    match &link {
        // As on a USB stick, where a file has one name only.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {}
        _ => return link,
    }
    if fs::exists(path)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // What is between the look and this is kept off by the lock of the daemon whose database it is.
    fs::rename(unfinished, path)
}

fn fill(path: &Path, host: HostId) -> Result<(), OpenError> {
    // SQLite gives its -wal and -shm files the mode of this one.
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    made.map_err(|source| file(path, source))?;
    let fill = || -> rusqlite::Result<()> {
        let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        configure(&connection)?;
        schema::migrate(&mut connection, 0)?;
        let transaction = connection.transaction()?;
        let host = host.to_string();
        transaction.execute("INSERT INTO hosts (id, last_seq) VALUES (?1, 0)", [&host])?;
        transaction.execute("INSERT INTO meta (only_row, host, ended_cleanly) VALUES (1, ?1, 1)", [&host])?;
        transaction.commit()?;
        connection.close().map_err(|(_, error)| error)
    };
    fill().map_err(|source| database(path, source))
}

/// Whose database it is, without a lock and without its log: nothing is written, not even beside it.
/// The mark is never only in the log, it was there before there was one.
pub(crate) fn look_at_the_mark(path: &Path) -> Result<(), OpenError> {
    let metadata = fs::metadata(path).map_err(|source| file(path, source))?;
    if !metadata.is_file() {
        return Err(file(path, io::Error::other("it is not a regular file")));
    }
    if metadata.len() == 0 {
        return Err(damaged(path, "it is empty"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let application_id = Connection::open_with_flags(immutable(path), flags)
        .and_then(|connection| connection.pragma_query_value(None, "application_id", |row| row.get(0)))
        .map_err(|source| database(path, source))?;
    if application_id != APPLICATION_ID {
        return Err(OpenError::NotOurs { path: path.to_owned(), application_id });
    }
    Ok(())
}

/// The URI under which `SQLite` takes a file as it is: no locks, no log, no changes.
pub(crate) fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/.-_".contains(byte);
        if plain {
            uri.push(char::from(*byte));
        } else {
            uri.push('%');
            uri.extend([byte >> 4, byte & 15].map(|digit| {
                char::from_digit(u32::from(digit), 16).expect("four bits are one hexadecimal digit")
            }));
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Its version, after a look at the whole of it if it was not ended cleanly.
pub(crate) fn version_of_a_sound_database(path: &Path, connection: &Connection) -> Result<i32, OpenError> {
    let failed = |source| database(path, source);
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found > schema::VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: schema::VERSION });
    }
    if found < 1 {
        return Err(damaged(path, format!("it says that its version is {found}")));
    }
    let ended_cleanly: bool =
        connection.query_row("SELECT ended_cleanly FROM meta", [], |row| row.get(0)).map_err(failed)?;
    if !ended_cleanly {
        let first = |row: &rusqlite::Row<'_>| row.get(0);
        let said: String = connection.query_row("PRAGMA quick_check(1)", [], first).map_err(failed)?;
        if said != "ok" {
            return Err(damaged(path, said));
        }
    }
    Ok(found)
}

fn meta(path: &Path, connection: &Connection) -> Result<(HostId, u64), OpenError> {
    let sql = "SELECT hosts.id, hosts.last_seq FROM meta JOIN hosts ON hosts.id = meta.host";
    let found = query::first(connection, sql, [], |cells| {
        let host = cells.text("hosts")?;
        let last_seq: i64 = cells.value("hosts")?;
        Ok((host, last_seq.cast_unsigned()))
    });
    match found {
        Ok(Some(meta)) => Ok(meta),
        Ok(None) => Err(damaged(path, "it does not say whose it is")),
        Err(QueryError::Row(source)) => Err(OpenError::Row { path: path.to_owned(), source }),
        Err(QueryError::Database(source)) => Err(database(path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn a_question_is_prepared_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("laneway.db");
        let opened = open_or_create(&path, HostId::from_ulid(ulid::Ulid::nil())).unwrap();
        let reader = open_reader(&path).unwrap();
        for connection in [&opened.connection, &reader] {
            let sql = "SELECT id FROM lanes INDEXED BY lanes_unclosed WHERE workspace = ?1 AND lifecycle <> 'closed'";
            let mut statement = connection.prepare(sql).unwrap();
            for workspace in ["a", "b", "c"] {
                assert!(!statement.exists([workspace]).unwrap());
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
