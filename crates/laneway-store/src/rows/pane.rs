//! Rows of `panes`.

use laneway_core::os_text::OsText;
use laneway_core::pane::{Pane, PaneIdentity, PanePlace, TmuxServer};

use super::{BadCell, Cells, TableRow, parsed, parsed_if_any};

macro_rules! pane_columns {
    () => {
        "panes.worker, panes.number, panes.run, panes.socket, panes.server_pid, panes.server_start_time, \
         panes.server_boot_id, panes.session_id, panes.session, panes.window_id, panes.window_name, \
         panes.pane_id, panes.pane_pid, panes.tag, panes.gone"
    };
}
pub(crate) use pane_columns;

pub(crate) struct PaneRecord {
    pub(crate) worker: String,
    pub(crate) number: u32,
    pub(crate) run: Option<String>,
    pub(crate) socket: Vec<u8>,
    pub(crate) server_pid: u32,
    pub(crate) server_start_time: i64,
    pub(crate) server_boot_id: String,
    pub(crate) session_id: String,
    pub(crate) session: String,
    pub(crate) window_id: Option<String>,
    pub(crate) window_name: String,
    pub(crate) pane_id: String,
    pub(crate) pane_pid: u32,
    pub(crate) tag: String,
    pub(crate) gone: bool,
}

impl TableRow for PaneRecord {
    type Record = Pane;
    const TABLE: &'static str = "panes";
    const WIDTH: usize = 15;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            worker: cells.take()?,
            number: cells.take()?,
            run: cells.take()?,
            socket: cells.take()?,
            server_pid: cells.take()?,
            server_start_time: cells.take()?,
            server_boot_id: cells.take()?,
            session_id: cells.take()?,
            session: cells.take()?,
            window_id: cells.take()?,
            window_name: cells.take()?,
            pane_id: cells.take()?,
            pane_pid: cells.take()?,
            tag: cells.take()?,
            gone: cells.take()?,
        })
    }
}

impl From<&Pane> for PaneRecord {
    fn from(pane: &Pane) -> Self {
        let PaneIdentity { server, place, pane_id, pane_pid, tag } = pane.identity.clone();
        Self {
            worker: pane.worker.to_string(),
            number: pane.number,
            run: pane.run.map(|run| run.to_string()),
            socket: server.socket.as_bytes().to_vec(),
            server_pid: server.pid,
            server_start_time: server.start_time.cast_signed(),
            server_boot_id: server.boot_id,
            session_id: place.session_id,
            session: place.session,
            window_id: place.window_id,
            window_name: place.window_name,
            pane_id,
            pane_pid,
            tag,
            gone: pane.gone,
        }
    }
}

impl TryFrom<PaneRecord> for Pane {
    type Error = BadCell;
    fn try_from(row: PaneRecord) -> Result<Self, BadCell> {
        Ok(Self {
            worker: parsed("worker", &row.worker)?,
            number: row.number,
            run: parsed_if_any("run", row.run.as_deref())?,
            identity: PaneIdentity {
                server: TmuxServer {
                    socket: OsText::from_bytes(row.socket),
                    pid: row.server_pid,
                    start_time: row.server_start_time.cast_unsigned(),
                    boot_id: row.server_boot_id,
                },
                place: PanePlace {
                    session_id: row.session_id,
                    session: row.session,
                    window_id: row.window_id,
                    window_name: row.window_name,
                },
                pane_id: row.pane_id,
                pane_pid: row.pane_pid,
                tag: row.tag,
            },
            gone: row.gone,
        })
    }
}
