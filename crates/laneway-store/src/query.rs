//! Asking one question of a connection, and the two ways in which it can fail.

use rusqlite::{Connection, Params};

use crate::error::{ReadError, UnreadableRow};
use crate::rows::Cells;

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum QueryError {
    Database(rusqlite::Error),
    Row(UnreadableRow),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        QueryError::Database(error)
    }
}

impl From<UnreadableRow> for QueryError {
    fn from(row: UnreadableRow) -> Self {
        QueryError::Row(row)
    }
}

impl From<QueryError> for ReadError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Database(source) => ReadError::Database { source },
            QueryError::Row(row) => ReadError::Row(row),
        }
    }
}

/// Every row of the answer. The statement is finished when this returns: an open one would hold the
/// write-ahead log.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&mut Cells<'_>) -> Result<T, UnreadableRow>,
) -> Result<Vec<T>, QueryError> {
    all_while(connection, sql, params, |cells| Ok((read(cells)?, true)))
}

/// The first rows of the answer; `read` also says of each whether more are wanted.
pub(crate) fn all_while<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&mut Cells<'_>) -> Result<(T, bool), UnreadableRow>,
) -> Result<Vec<T>, QueryError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    let mut more_wanted = true;
    while more_wanted && let Some(row) = rows.next()? {
        let value;
        (value, more_wanted) = read(&mut Cells::of(row))?;
        found.push(value);
    }
    Ok(found)
}

/// The first row of the answer, if there is one.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&mut Cells<'_>) -> Result<T, UnreadableRow>,
) -> Result<Option<T>, QueryError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    match rows.next()? {
        Some(row) => Ok(Some(read(&mut Cells::of(row))?)),
        None => Ok(None),
    }
}
