//! Questions about what is recorded.
//!
//! Each takes one connection, blocks until it has its answer (10 µs to some ms) and finishes its
//! statements; an asynchronous caller asks from a thread that may block.

use std::collections::HashMap;

use laneway_core::attachment::Attachment;
use laneway_core::event::Recorded;
use laneway_core::id::{LaneId, RunId, WorkerId, WorkspaceId};
use laneway_core::lane::{Lane, Lifecycle};
use laneway_core::launch::LaunchSpec;
use laneway_core::os_text::OsText;
use laneway_core::pane::{Pane, PaneIdentity};
use laneway_core::pool::PoolTree;
use laneway_core::run::Run;
use laneway_core::target::{FormerRun, LaneEntry, Owner, PaneEntry, Snapshot, WorkerEntry};
use laneway_core::time::Timestamp;
use laneway_core::worker::Worker;
use laneway_core::workspace::Workspace;
use rusqlite::{Connection, params};
use ulid::Ulid;

use crate::error::{ReadError, UnreadableRow};
use crate::facts::panes_of;
use crate::query::{QueryError, all, all_while, first};
use crate::rows::{
    AttachmentRecord, Cells, EventRecord, LaneRecord, PaneRecord, PoolRecord, RunRecord, SpecRecord,
    WorkerRecord, WorkspaceRecord, attachment_columns, attachments_and_workers, event_columns, lane_columns,
    lifecycle, optional_record, pane_columns, pool_columns, record, run_columns, spec_columns,
    worker_columns, workspace_columns,
};
use crate::store::Store;

/// What programs have said in one page of events, in bytes; the one that goes beyond it is the last.
const PAGE_BYTES: i64 = 256 << 10;

/// A worker with its latest run and what that run was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// The worker.
    pub worker: Worker,
    /// Its latest run.
    pub latest: Option<Run>,
    /// The launch spec of that run.
    pub spec: Option<LaunchSpec>,
    /// Its panes of tmux by their numbers, without those that are gone.
    pub panes: Vec<Pane>,
}

/// A run with its worker and what it was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The run.
    pub run: Run,
    /// Its worker.
    pub worker: Worker,
    /// Its launch spec.
    pub spec: LaunchSpec,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lanes that are not closed.
    pub unclosed_lanes: u64,
    /// Runs that have not ended.
    pub live_runs: u64,
}

/// Which workers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkersOf {
    /// Those of this lane, closed or not.
    Lane(LaneId),
    /// Those of the lanes of this repository that are not closed.
    Workspace(WorkspaceId),
    /// Those of every lane that is not closed.
    Everywhere,
}

/// Workers with their latest runs and specs: `$from` is or joins `workers`, `$rest` goes on after all joins.
macro_rules! workers {
    ($from:expr, $rest:expr) => {
        concat!(
            "SELECT ",
            worker_columns!(),
            ", ",
            run_columns!(),
            ", ",
            spec_columns!(),
            " FROM ",
            $from,
            " LEFT JOIN runs ON runs.worker = workers.id AND runs.number = \
              (SELECT max(number) FROM runs AS every WHERE every.worker = workers.id) \
              LEFT JOIN specs ON specs.worker = runs.worker AND specs.number = runs.spec ",
            $rest
        )
    };
    // Those of the lanes that are not closed, without reading the others.
    (of unclosed lanes $and:literal) => {
        workers!(
            "lanes INDEXED BY lanes_unclosed CROSS JOIN workers ON workers.lane = lanes.id",
            concat!("WHERE lanes.lifecycle <> 'closed' ", $and, " ORDER BY workers.id")
        )
    };
}

/// Runs with their workers and specs: `$from` is `runs`, `$rest` goes on after all joins.
macro_rules! runs {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            run_columns!(),
            ", ",
            worker_columns!(),
            ", ",
            spec_columns!(),
            " FROM ",
            $from,
            " JOIN workers ON workers.id = runs.worker \
              JOIN specs ON specs.worker = runs.worker AND specs.number = runs.spec ",
            $rest
        )
    };
}

impl Store {
    /// The repository with this git common directory (absolute and resolved).
    pub fn workspace_by_common_dir(&self, common_dir: &OsText) -> Result<Option<Workspace>, ReadError> {
        let sql =
            concat!("SELECT ", workspace_columns!(), " FROM workspaces WHERE host = ?1 AND common_dir = ?2");
        let host = self.host().to_string();
        self.ask(|db| first(db, sql, params![host, common_dir.as_bytes()], record::<WorkspaceRecord>))
    }

    /// One repository.
    pub fn workspace(&self, id: WorkspaceId) -> Result<Option<Workspace>, ReadError> {
        let sql = concat!("SELECT ", workspace_columns!(), " FROM workspaces WHERE id = ?1");
        self.ask(|db| first(db, sql, [id.to_string()], record::<WorkspaceRecord>))
    }

    /// Every repository, the oldest first.
    pub fn workspaces(&self) -> Result<Vec<Workspace>, ReadError> {
        let sql = concat!("SELECT ", workspace_columns!(), " FROM workspaces ORDER BY id");
        self.ask(|db| all(db, sql, [], record::<WorkspaceRecord>))
    }

    /// One lane.
    pub fn lane(&self, id: LaneId) -> Result<Option<Lane>, ReadError> {
        let sql = concat!("SELECT ", lane_columns!(), " FROM lanes WHERE id = ?1");
        self.ask(|db| first(db, sql, [id.to_string()], record::<LaneRecord>))
    }

    /// The lanes of a repository, or of all; the oldest first.
    pub fn lanes(
        &self,
        workspace: Option<WorkspaceId>,
        include_closed: bool,
    ) -> Result<Vec<Lane>, ReadError> {
        macro_rules! lanes {
            ($rest:literal) => {
                concat!("SELECT ", lane_columns!(), " FROM lanes ", $rest, " ORDER BY id")
            };
        }
        self.ask(|db| match (workspace.map(|id| id.to_string()), include_closed) {
            (Some(id), true) => all(db, lanes!("WHERE workspace = ?1"), [id], record::<LaneRecord>),
            (Some(id), false) => all(
                db,
                lanes!("INDEXED BY lanes_unclosed WHERE workspace = ?1 AND lifecycle <> 'closed'"),
                [id],
                record::<LaneRecord>,
            ),
            (None, true) => all(db, lanes!(""), [], record::<LaneRecord>),
            (None, false) => all(
                db,
                lanes!("INDEXED BY lanes_unclosed WHERE lifecycle <> 'closed'"),
                [],
                record::<LaneRecord>,
            ),
        })
    }

    /// The lanes that something is to be done about when a daemon starts: those on their way to open
    /// or to closed, and open ones with a remembered close or a setup under way.
    pub fn unfinished_lanes(&self) -> Result<Vec<Lane>, ReadError> {
        let sql = concat!(
            "SELECT ",
            lane_columns!(),
            " FROM lanes INDEXED BY lanes_unclosed WHERE lifecycle <> 'closed' \
              AND (lifecycle <> 'open' OR close_requested OR setup = 'running') ORDER BY id"
        );
        self.ask(|db| all(db, sql, [], record::<LaneRecord>))
    }

    /// Who uses this lane, or any one, by lane, those who came first before others; also those whose lease is over without anybody having
    /// looked.
    pub fn attachments(&self, lane: Option<LaneId>) -> Result<Vec<Attachment>, ReadError> {
        let sql = concat!(
            "SELECT ",
            attachment_columns!(),
            attachments_and_workers!(),
            "WHERE ?1 IS NULL OR attachments.lane = ?1 ORDER BY attachments.lane, attachments.id"
        );
        self.ask(|db| all(db, sql, [lane.map(|lane| lane.to_string())], record::<AttachmentRecord>))
    }

    /// The lanes in which a lease is over when the clock shows `now`, or was counted when it showed more; and when
    /// the first of the other leases ends.
    pub fn leases_to_look_at(&self, now: Timestamp) -> Result<(Vec<LaneId>, Option<Timestamp>), ReadError> {
        self.ask(|db| {
            let sql = "SELECT DISTINCT lane FROM attachments WHERE until <= ?1 OR renewed_at > ?1";
            let lanes = all(db, sql, [now.0], |row| row.text("attachments"))?;
            let sql = "SELECT until FROM attachments WHERE until > ?1 ORDER BY until LIMIT 1";
            let next = first(db, sql, [now.0], |row| row.value("attachments"))?;
            Ok((lanes, next.map(Timestamp)))
        })
    }

    /// The trees of a repository's pool, the oldest first.
    pub fn pool(&self, workspace: WorkspaceId) -> Result<Vec<PoolTree>, ReadError> {
        let sql = concat!("SELECT ", pool_columns!(), " FROM pool_trees WHERE workspace = ?1 ORDER BY id");
        self.ask(|db| all(db, sql, [workspace.to_string()], record::<PoolRecord>))
    }

    /// One worker.
    pub fn worker(&self, id: WorkerId) -> Result<Option<WorkerRow>, ReadError> {
        self.ask(|db| {
            let sql = workers!("workers", "WHERE workers.id = ?1");
            let Some(mut row) = first(db, sql, [id.to_string()], worker_row)? else { return Ok(None) };
            row.panes = panes_of(db, id)?;
            row.panes.retain(|pane| !pane.gone);
            Ok(Some(row))
        })
    }

    /// Workers and tasks, the oldest first.
    pub fn workers(&self, of: WorkersOf) -> Result<Vec<WorkerRow>, ReadError> {
        self.ask(|db| {
            let rows = match of {
                WorkersOf::Lane(lane) => {
                    let sql = workers!("workers", "WHERE workers.lane = ?1 ORDER BY workers.id");
                    all(db, sql, [lane.to_string()], worker_row)
                }
                WorkersOf::Workspace(workspace) => {
                    let sql = workers!(of unclosed lanes "AND lanes.workspace = ?1");
                    all(db, sql, [workspace.to_string()], worker_row)
                }
                WorkersOf::Everywhere => all(db, workers!(of unclosed lanes ""), [], worker_row),
            };
            with_panes(db, rows?)
        })
    }

    /// All panes that a worker has or had, by their numbers.
    pub fn panes_of_worker(&self, worker: WorkerId) -> Result<Vec<Pane>, ReadError> {
        self.ask(|db| panes_of(db, worker))
    }

    /// Every pane that is not gone, by worker and number.
    pub fn panes(&self) -> Result<Vec<Pane>, ReadError> {
        self.ask(panes_there)
    }

    /// The worker whose terminal somebody attached to last.
    pub fn last_attached(&self) -> Result<Option<WorkerId>, ReadError> {
        self.ask(last_attached)
    }

    /// One run.
    pub fn run(&self, id: RunId) -> Result<Option<RunRow>, ReadError> {
        self.ask(|db| run(db, id))
    }

    /// One run of a worker, by its number.
    pub fn run_of_worker(&self, worker: WorkerId, number: u32) -> Result<Option<RunRow>, ReadError> {
        let sql = runs!("runs", "WHERE runs.worker = ?1 AND runs.number = ?2");
        self.ask(|db| first(db, sql, params![worker.to_string(), number], run_row))
    }

    /// The last `limit` runs of a worker, the latest first.
    pub fn runs_of_worker(&self, worker: WorkerId, limit: u32) -> Result<Vec<Run>, ReadError> {
        let sql =
            concat!("SELECT ", run_columns!(), " FROM runs WHERE worker = ?1 ORDER BY number DESC LIMIT ?2");
        self.ask(|db| all(db, sql, params![worker.to_string(), limit], record::<RunRecord>))
    }

    /// Those of these runs that are recorded, live or ended; in the given order. Whoever finds runs
    /// on the disk (folders, sockets of holders) asks with them what is recorded of them.
    pub fn runs_among(&self, ids: &[RunId]) -> Result<Vec<RunRow>, ReadError> {
        self.ask(|db| ids.iter().filter_map(|id| run(db, *id).transpose()).collect())
    }

    /// Every run that is not over, the oldest first.
    pub fn live_runs(&self) -> Result<Vec<RunRow>, ReadError> {
        self.ask(|db| {
            all(
                db,
                runs!("runs INDEXED BY runs_live", "WHERE runs.state <> 'exited' ORDER BY runs.id"),
                [],
                run_row,
            )
        })
    }

    /// How many lanes are not closed, and how many runs have not ended.
    pub fn counts(&self) -> Result<Counts, ReadError> {
        let sql = "SELECT \
                   (SELECT count(*) FROM lanes INDEXED BY lanes_unclosed WHERE lifecycle <> 'closed'), \
                   (SELECT count(*) FROM runs INDEXED BY runs_live WHERE state <> 'exited')";
        let counted = self.ask(|db| {
            first(db, sql, [], |cells| {
                let (lanes, runs): (i64, i64) = (cells.value("lanes")?, cells.value("runs")?);
                Ok(Counts { unclosed_lanes: lanes.cast_unsigned(), live_runs: runs.cast_unsigned() })
            })
        });
        counted.map(Option::unwrap_or_default)
    }

    /// The greatest id that is recorded, of repositories, lanes, workers and runs.
    pub fn greatest_id(&self) -> Result<Option<Ulid>, ReadError> {
        let sql = "SELECT max(substr(id, instr(id, '_') + 1)) FROM (\
                   SELECT max(id) AS id FROM workspaces UNION ALL SELECT max(id) FROM lanes UNION ALL \
                   SELECT max(id) FROM workers UNION ALL SELECT max(id) FROM runs UNION ALL \
                   SELECT max(id) FROM instances)";
        let greatest = self.ask(|db| first(db, sql, [], |cells| cells.value::<Option<String>>("ids")))?;
        Ok(greatest.flatten().and_then(|text| Ulid::from_string(&text).ok()))
    }

    /// Everything in a repository that a person can mean, and every pane that is recorded anywhere, as of one moment.
    pub fn target_snapshot(&self, workspace: WorkspaceId) -> Result<Snapshot, ReadError> {
        let id = workspace.to_string();
        self.ask(|db| {
            let moment = db.unchecked_transaction()?;
            let sql = "SELECT id, name, lifecycle FROM lanes WHERE workspace = ?1 ORDER BY id";
            let lanes = all(&moment, sql, [&id], |row| {
                Ok(LaneEntry {
                    id: row.text("lanes")?,
                    name: row.text("lanes")?,
                    open: row.word("lanes", lifecycle)? != Lifecycle::Closed,
                })
            })?;
            let sql = "SELECT workers.id, workers.lane, workers.name, workers.parent, runs.id, \
                       runs.state <> 'exited' FROM workers LEFT JOIN runs ON runs.worker = workers.id AND runs.number = \
                       (SELECT max(number) FROM runs AS every WHERE every.worker = workers.id) \
                       WHERE workers.workspace = ?1 ORDER BY workers.id";
            let workers = all(&moment, sql, [&id], |row| {
                Ok(WorkerEntry {
                    id: row.text("workers")?,
                    lane: row.text("workers")?,
                    name: row.text_if_any("workers")?,
                    parent: row.text_if_any("workers")?,
                    run: row.text_if_any("workers")?,
                    alive: row.value::<Option<bool>>("workers")?.unwrap_or(false),
                })
            })?;
            let panes = target_panes(&moment, &id)?;
            let last_attached = last_attached(&moment)?;
            Ok(Snapshot { lanes, workers, panes, last_attached, ..Snapshot::default() })
        })
    }

    /// The runs in a repository that are not their workers' latest.
    pub fn former_runs(&self, workspace: WorkspaceId) -> Result<Vec<FormerRun>, ReadError> {
        let sql = "SELECT runs.id, runs.worker, runs.number FROM runs JOIN workers ON workers.id = runs.worker \
                   WHERE workers.workspace = ?1 AND runs.number < \
                   (SELECT max(number) FROM runs AS every WHERE every.worker = workers.id) ORDER BY runs.id";
        self.ask(|db| {
            all(db, sql, [workspace.to_string()], |row| {
                let (id, worker) = (row.text("runs")?, row.text("runs")?);
                Ok(FormerRun { id, worker, number: row.value("runs")? })
            })
        })
    }

    /// The number of the last event; 0 if there is none.
    pub fn last_seq(&self) -> Result<u64, ReadError> {
        let host = self.host().to_string();
        self.ask(|db| last_seq(db, &host))
    }

    /// The first events with a number greater than `seq`, in order: at most `limit`, and fewer if programs have said
    /// much in them, as one message may be 1 MiB. None only if there is none: ask again until then.
    pub fn events_since(&self, seq: u64, limit: u32) -> Result<Vec<Recorded>, ReadError> {
        let host = self.host().to_string();
        self.ask(|db| events_since(db, &host, seq, limit))
    }

    /// The last `limit` events about a worker among the last `among` of the host, in order.
    pub fn events_of_worker(
        &self,
        worker: WorkerId,
        among: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, ReadError> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM events WHERE host = ?1 AND seq > \
              (SELECT last_seq FROM hosts WHERE id = ?1) - ?2 AND worker = ?3 ORDER BY seq DESC LIMIT ?4"
        );
        let (host, worker) = (self.host().to_string(), worker.to_string());
        let params = params![host, number(among), worker, limit];
        let mut events = self.ask(|db| all(db, sql, params, record::<EventRecord>))?;
        events.reverse();
        Ok(events)
    }

    /// The last `limit` events with a number less than `seq`, in order; with `u64::MAX` the newest.
    pub fn events_before(&self, seq: u64, limit: u32) -> Result<Vec<Recorded>, ReadError> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM events WHERE host = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
        );
        let host = self.host().to_string();
        let mut events =
            self.ask(|db| all(db, sql, params![host, number(seq), limit], record::<EventRecord>))?;
        events.reverse();
        Ok(events)
    }
}

/// The number of the last event of `host`.
pub(crate) fn last_seq(connection: &Connection, host: &str) -> Result<u64, QueryError> {
    let sql = "SELECT last_seq FROM hosts WHERE id = ?1";
    let found = first(connection, sql, [host], |row| row.value::<i64>("hosts"))?;
    Ok(found.unwrap_or(0).cast_unsigned())
}

/// The first events of `host` with a number greater than `seq`, in order: none only if there is none.
pub(crate) fn events_since(
    connection: &Connection,
    host: &str,
    seq: u64,
    limit: u32,
) -> Result<Vec<Recorded>, QueryError> {
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        ", octet_length(events.data) FROM events WHERE host = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
    );
    let mut n_bytes = 0;
    all_while(connection, sql, params![host, number(seq), limit], |cells| {
        let event = record::<EventRecord>(cells)?;
        n_bytes += cells.value::<i64>("events")?;
        Ok((event, n_bytes < PAGE_BYTES))
    })
}

/// An event's number as the database holds it; there is none beyond the greatest.
fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn run(connection: &Connection, id: RunId) -> Result<Option<RunRow>, QueryError> {
    first(connection, runs!("runs", "WHERE runs.id = ?1"), [id.to_string()], run_row)
}

fn run_row(row: &mut Cells<'_>) -> Result<RunRow, UnreadableRow> {
    Ok(RunRow {
        run: record::<RunRecord>(row)?,
        worker: record::<WorkerRecord>(row)?,
        spec: record::<SpecRecord>(row)?,
    })
}

fn worker_row(row: &mut Cells<'_>) -> Result<WorkerRow, UnreadableRow> {
    Ok(WorkerRow {
        worker: record::<WorkerRecord>(row)?,
        latest: optional_record::<RunRecord>(row)?,
        spec: optional_record::<SpecRecord>(row)?,
        panes: Vec::new(),
    })
}

fn panes_there(db: &Connection) -> Result<Vec<Pane>, QueryError> {
    let sql = concat!(
        "SELECT ",
        pane_columns!(),
        " FROM panes INDEXED BY panes_there WHERE NOT gone ORDER BY worker, number"
    );
    all(db, sql, [], record::<PaneRecord>)
}

fn last_attached(db: &Connection) -> Result<Option<WorkerId>, QueryError> {
    first(db, "SELECT worker FROM last_attached", [], |cells| cells.text("last_attached"))
}

/// The panes that can be meant from this repository: its own, also those that are gone, and those of others that are
/// there.
fn target_panes(db: &Connection, workspace: &str) -> Result<Vec<PaneEntry>, QueryError> {
    let sql = concat!(
        "SELECT ",
        pane_columns!(),
        ", workers.workspace = ?1, workers.name, workspaces.root FROM panes \
          JOIN workers ON workers.id = panes.worker JOIN workspaces ON workspaces.id = workers.workspace \
          WHERE workers.workspace = ?1 OR NOT panes.gone ORDER BY panes.worker, panes.number"
    );
    all(db, sql, [workspace], |row| {
        let pane = record::<PaneRecord>(row)?;
        let (is_here, name) = (row.value("workers")?, row.value::<Option<String>>("workers")?);
        let root = OsText::from_bytes(row.value::<Vec<u8>>("workspaces")?);
        let owner = if is_here {
            Owner::Worker { id: pane.worker, number: pane.number, gone: pane.gone }
        } else {
            Owner::Elsewhere { worker: name.unwrap_or_else(|| pane.worker.to_string()), root }
        };
        let PaneIdentity { server, place, pane_id, .. } = pane.identity;
        Ok(PaneEntry { server, near: false, pane_id, pane_index: None, place, owner, shows: None })
    })
}

/// The rows with their panes.
fn with_panes(db: &Connection, mut rows: Vec<WorkerRow>) -> Result<Vec<WorkerRow>, QueryError> {
    let mut panes: HashMap<WorkerId, Vec<Pane>> = HashMap::new();
    for pane in panes_there(db)? {
        panes.entry(pane.worker).or_default().push(pane);
    }
    for row in &mut rows {
        row.panes = panes.remove(&row.worker.id).unwrap_or_default();
    }
    Ok(rows)
}
