//! Rows: what the tables hold, and their conversion from and to the records of the core.
//!
//! A row type has one field per column, in the order of its `*_columns!` list. Writing is total
//! (`From`), reading can fail (`TryFrom`): the database is a file that others can write to.

mod attachment;
mod event;
mod instance;
mod lane;
mod pane;
mod pool;
mod run;
mod spec;
mod worker;
mod workspace;

use std::fmt;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::{FromSql, ValueRef};

pub(crate) use attachment::{AttachmentRecord, attachment_columns, attachments_and_workers};
pub(crate) use event::{EventRecord, event_columns};
pub(crate) use instance::{InstanceRecord, InstanceRunRecord, instance_columns, instance_run_columns};
pub(crate) use lane::{LaneRecord, lane_columns, lifecycle};
pub(crate) use pane::{PaneRecord, pane_columns};
pub(crate) use pool::{PoolRecord, pool_columns};
pub(crate) use run::{RunRecord, run_columns};
pub(crate) use spec::{SpecRecord, spec_columns};
pub(crate) use worker::{WorkerRecord, worker_columns};
pub(crate) use workspace::{WorkspaceRecord, workspace_columns};

use crate::error::UnreadableRow;

/// A row of a table, as the conversion to its record sees it.
pub(crate) trait TableRow: Sized + TryInto<Self::Record, Error = BadCell> {
    /// What it becomes.
    type Record;
    /// The table.
    const TABLE: &'static str;
    /// Columns it takes.
    const WIDTH: usize;
    /// Takes its columns.
    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self>;
}

/// The columns of a row of an answer, taken one after the other.
pub(crate) struct Cells<'row> {
    row: &'row Row<'row>,
    next: usize,
}

impl<'row> Cells<'row> {
    pub(crate) fn of(row: &'row Row<'row>) -> Self {
        Self { row, next: 0 }
    }

    /// The next column.
    pub(crate) fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }

    /// The next column alone.
    pub(crate) fn value<T: FromSql>(&mut self, table: &'static str) -> Result<T, UnreadableRow> {
        self.take().map_err(|error| self.unreadable(table, &error))
    }

    /// The next column alone, as an id or a name.
    pub(crate) fn text<T: FromStr<Err: fmt::Display>>(
        &mut self,
        table: &'static str,
    ) -> Result<T, UnreadableRow> {
        self.word(table, |text| parsed("it", text))
    }

    /// The same, where there may be none.
    pub(crate) fn text_if_any<T: FromStr<Err: fmt::Display>>(
        &mut self,
        table: &'static str,
    ) -> Result<Option<T>, UnreadableRow> {
        let text: Option<String> = self.value(table)?;
        parsed_if_any("it", text.as_deref()).map_err(|bad| self.unreadable(table, &bad))
    }

    /// The next column alone, as one of a few words.
    pub(crate) fn word<T>(
        &mut self,
        table: &'static str,
        read: impl FnOnce(&str) -> Result<T, BadCell>,
    ) -> Result<T, UnreadableRow> {
        let text: String = self.value(table)?;
        read(&text).map_err(|bad| self.unreadable(table, &bad))
    }

    fn unreadable(&self, table: &'static str, what: &impl ToString) -> UnreadableRow {
        UnreadableRow { table, id: self.shown(0), what: what.to_string() }
    }

    fn shown(&self, column: usize) -> String {
        match self.row.get_ref(column) {
            Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Ok(ValueRef::Integer(number)) => number.to_string(),
            Ok(ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_)) | Err(_) => "?".to_owned(),
        }
    }
}

/// The record that the next columns are.
pub(crate) fn record<R: TableRow>(cells: &mut Cells<'_>) -> Result<R::Record, UnreadableRow> {
    let first = cells.next;
    let converted = match R::read(cells) {
        Ok(row) => row.try_into().map_err(|bad| bad.to_string()),
        Err(error) => Err(error.to_string()),
    };
    converted.map_err(|what| UnreadableRow { table: R::TABLE, id: cells.shown(first), what })
}

/// The same, where the row may be missing (`LEFT JOIN`).
pub(crate) fn optional_record<R: TableRow>(
    cells: &mut Cells<'_>,
) -> Result<Option<R::Record>, UnreadableRow> {
    if matches!(cells.row.get_ref(cells.next), Ok(ValueRef::Null)) {
        cells.next += R::WIDTH;
        return Ok(None);
    }
    record::<R>(cells).map(Some)
}

/// A column that does not hold what its table promises.
#[derive(Debug, thiserror::Error)]
#[error("{column}: {what}")]
pub(crate) struct BadCell {
    column: &'static str,
    what: String,
}

impl BadCell {
    fn new(column: &'static str, what: impl fmt::Display) -> Self {
        Self { column, what: what.to_string() }
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(column: &'static str, text: &str) -> Result<T, BadCell> {
    text.parse().map_err(|error| BadCell::new(column, error))
}

fn parsed_if_any<T: FromStr<Err: fmt::Display>>(
    column: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, BadCell> {
    text.map(|text| parsed(column, text)).transpose()
}

fn there<T>(column: &'static str, cell: Option<T>) -> Result<T, BadCell> {
    cell.ok_or_else(|| BadCell::new(column, "it is missing"))
}
