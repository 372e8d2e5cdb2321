//! A look at a database from outside: no lock is taken, nothing is written, not even beside it.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::connection::{
    beside, damaged, database, immutable, look_at_the_mark, version_of_a_sound_database,
};
use crate::error::OpenError;
use crate::schema;

/// What was seen of a database that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// The version of its schema, as far as it is in the file itself; an older one is brought to
    /// [`Glance::known_version`] when it is opened.
    pub version: i32,
    /// The version that this program writes.
    pub known_version: i32,
    /// The file, in bytes.
    pub n_bytes: u64,
    /// What is in its log and not yet in the file, in bytes. Not 0 without a daemon: the last one was killed.
    pub n_log_bytes: u64,
}

/// Looks at the database at this absolute path. None if there is none yet.
pub fn glance(path: &Path) -> Result<Option<Glance>, OpenError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let n_log_bytes = length(&beside(path, "-wal"));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && n_log_bytes == 0 => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(path, "it is gone, and its log is still there"));
        }
        Err(source) => return Err(OpenError::File { path: path.to_owned(), source }),
        Ok(_) => {}
    }
    look_at_the_mark(path)?;
    let failed = |source| database(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable(path), flags).map_err(failed)?;
    let version = if n_log_bytes == 0 {
        version_of_a_sound_database(path, &connection)?
    } else {
        // Without its log the file may be half of a change: what is in it says nothing then.
        let found = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if found > schema::VERSION {
            return Err(OpenError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        found
    };
    Ok(Some(Glance { version, known_version: schema::VERSION, n_bytes: length(path), n_log_bytes }))
}
