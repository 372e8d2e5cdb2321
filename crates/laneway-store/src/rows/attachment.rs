//! Rows of `attachments`.

use laneway_core::attachment::{Attachment, User};
use laneway_core::time::Timestamp;

use super::{BadCell, Cells, TableRow, parsed, parsed_if_any};

macro_rules! attachment_columns {
    () => {
        "attachments.id, attachments.lane, coalesce(workers.name, attachments.who), attachments.worker, \
         attachments.role, attachments.joined_at, attachments.renewed_at, attachments.until"
    };
}
pub(crate) use attachment_columns;

/// Where those columns are from: a worker is called as it is called now.
macro_rules! attachments_and_workers {
    () => {
        " FROM attachments LEFT JOIN workers ON workers.id = attachments.worker "
    };
}
pub(crate) use attachments_and_workers;

pub(crate) struct AttachmentRecord {
    pub(crate) id: String,
    pub(crate) lane: String,
    pub(crate) who: String,
    pub(crate) worker: Option<String>,
    pub(crate) role: String,
    pub(crate) joined_at: i64,
    pub(crate) renewed_at: i64,
    pub(crate) until: i64,
}

impl TableRow for AttachmentRecord {
    type Record = Attachment;
    const TABLE: &'static str = "attachments";
    const WIDTH: usize = 8;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: cells.take()?,
            lane: cells.take()?,
            who: cells.take()?,
            worker: cells.take()?,
            role: cells.take()?,
            joined_at: cells.take()?,
            renewed_at: cells.take()?,
            until: cells.take()?,
        })
    }
}

impl From<&Attachment> for AttachmentRecord {
    fn from(attachment: &Attachment) -> Self {
        Self {
            id: attachment.id.to_string(),
            lane: attachment.lane.to_string(),
            who: attachment.user.name.to_string(),
            worker: attachment.user.worker.map(|worker| worker.to_string()),
            role: attachment.role.as_str().to_owned(),
            joined_at: attachment.joined_at.0,
            renewed_at: attachment.renewed_at.0,
            until: attachment.until.0,
        }
    }
}

impl TryFrom<AttachmentRecord> for Attachment {
    type Error = BadCell;
    fn try_from(row: AttachmentRecord) -> Result<Self, BadCell> {
        Ok(Self {
            id: parsed("id", &row.id)?,
            lane: parsed("lane", &row.lane)?,
            user: User {
                name: parsed("who", &row.who)?,
                worker: parsed_if_any("worker", row.worker.as_deref())?,
            },
            role: parsed("role", &row.role)?,
            joined_at: Timestamp(row.joined_at),
            renewed_at: Timestamp(row.renewed_at),
            until: Timestamp(row.until),
        })
    }
}
