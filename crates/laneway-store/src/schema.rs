//! The schema, as the steps that lead to it. A step that was released is never changed again.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a database as Laneway's (`PRAGMA application_id`).
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"LANE");

/// Step n leads from version n to n + 1 (`PRAGMA user_version`).
const STEPS: [&str; 4] = [
    include_str!("schema/001_start.sql"),
    include_str!("schema/002_supervision.sql"),
    include_str!("schema/003_panes.sql"),
    include_str!("schema/004_instances.sql"),
];

/// The version that this program reads and writes.
pub(crate) const VERSION: i32 = STEPS.len() as i32;

/// Brings a database from `version` to [`VERSION`], each step in a transaction of its own.
///
/// A step may make a table anew, which is not possible while foreign keys are looked at; they are looked at before it is
/// committed.
pub(crate) fn migrate(connection: &mut Connection, version: i32) -> rusqlite::Result<()> {
    if version >= VERSION {
        return Ok(());
    }
    connection.pragma_update(None, "foreign_keys", false)?;
    for (reached, step) in (1..).zip(STEPS).filter(|(reached, _)| *reached > version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        refuse_broken_keys(&transaction)?;
        transaction.pragma_update(None, "user_version", reached)?;
        transaction.commit()?;
    }
    connection.pragma_update(None, "foreign_keys", true)
}

fn refuse_broken_keys(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let broken = statement.query_map([], |row| row.get::<_, String>(0))?.next().transpose()?;
    match broken {
        None => Ok(()),
        Some(table) => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
            Some(format!("{table} refers to what is not there")),
        )),
    }
}
