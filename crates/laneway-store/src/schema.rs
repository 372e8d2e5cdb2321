//! The schema, as the steps that lead to it. A step that was released is never changed again.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a database as Laneway's (`PRAGMA application_id`).
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"LANE");

/// Step n leads from version n to n + 1 (`PRAGMA user_version`).
const STEPS: [&str; 2] = [include_str!("schema/001_start.sql"), include_str!("schema/002_supervision.sql")];

/// The version that this program reads and writes.
pub(crate) const VERSION: i32 = STEPS.len() as i32;

/// Brings a database from `version` to [`VERSION`], each step in a transaction of its own.
pub(crate) fn migrate(connection: &mut Connection, version: i32) -> rusqlite::Result<()> {
    for (reached, step) in (1..).zip(STEPS).filter(|(reached, _)| *reached > version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", reached)?;
        transaction.commit()?;
    }
    Ok(())
}
