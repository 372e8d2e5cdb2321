//! Rows of `workers`.

use laneway_core::supervise::{Outlook, Supervision};
use laneway_core::time::Timestamp;
use laneway_core::worker::{Desired, Worker};

use super::{BadCell, Cells, TableRow, parsed, parsed_if_any};

macro_rules! worker_columns {
    () => {
        "workers.id, workers.workspace, workers.lane, workers.name, workers.desired, workers.restart, \
         workers.done_codes, workers.supervision_epoch, workers.n_restarts, workers.failed_at, \
         workers.retry_at, workers.given_up, workers.created_at, \
         workers.parent, workers.channel, workers.start_message, workers.spec, workers.limits"
    };
}
pub(crate) use worker_columns;

pub(crate) struct WorkerRecord {
    pub(crate) id: String,
    pub(crate) workspace: String,
    pub(crate) lane: String,
    pub(crate) name: Option<String>,
    pub(crate) desired: String,
    pub(crate) restart: String,
    /// A JSON list of numbers.
    pub(crate) done_codes: String,
    pub(crate) supervision_epoch: i64,
    pub(crate) n_restarts: u32,
    /// A JSON list of moments.
    pub(crate) failed_at: String,
    pub(crate) retry_at: Option<i64>,
    pub(crate) given_up: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) parent: Option<String>,
    pub(crate) channel: Option<String>,
    /// A JSON object.
    pub(crate) start_message: Option<String>,
    pub(crate) spec: u32,
    /// A JSON object; none if nothing is limited.
    pub(crate) limits: Option<String>,
}

impl TableRow for WorkerRecord {
    type Record = Worker;
    const TABLE: &'static str = "workers";
    const WIDTH: usize = 18;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: cells.take()?,
            workspace: cells.take()?,
            lane: cells.take()?,
            name: cells.take()?,
            desired: cells.take()?,
            restart: cells.take()?,
            done_codes: cells.take()?,
            supervision_epoch: cells.take()?,
            n_restarts: cells.take()?,
            failed_at: cells.take()?,
            retry_at: cells.take()?,
            given_up: cells.take()?,
            created_at: cells.take()?,
            parent: cells.take()?,
            channel: cells.take()?,
            start_message: cells.take()?,
            spec: cells.take()?,
            limits: cells.take()?,
        })
    }
}

impl From<&Worker> for WorkerRecord {
    fn from(worker: &Worker) -> Self {
        let supervision = &worker.supervision;
        Self {
            id: worker.id.to_string(),
            workspace: worker.workspace.to_string(),
            lane: worker.lane.to_string(),
            name: worker.name.as_ref().map(ToString::to_string),
            desired: worker.desired.as_str().to_owned(),
            restart: worker.restart.as_str().to_owned(),
            done_codes: serde_json::to_string(&worker.done_codes).expect("a list of numbers is JSON"),
            supervision_epoch: supervision.epoch.cast_signed(),
            n_restarts: supervision.n_restarts,
            failed_at: serde_json::to_string(&supervision.failed_at).expect("a list of numbers is JSON"),
            retry_at: supervision.next_try_at().map(|at| at.0),
            given_up: supervision.given_up().map(str::to_owned),
            created_at: worker.created_at.0,
            parent: worker.parent.map(|id| id.to_string()),
            channel: worker.channel.map(|kind| kind.as_str().to_owned()),
            start_message: worker
                .start_message
                .as_ref()
                .map(|message| serde_json::to_string(message).expect("a JSON object is JSON")),
            spec: worker.spec,
            limits: (!worker.limits.is_none())
                .then(|| serde_json::to_string(&worker.limits).expect("an object of numbers is JSON")),
        }
    }
}

impl TryFrom<WorkerRecord> for Worker {
    type Error = BadCell;
    fn try_from(row: WorkerRecord) -> Result<Self, BadCell> {
        Ok(Self {
            id: parsed("id", &row.id)?,
            workspace: parsed("workspace", &row.workspace)?,
            lane: parsed("lane", &row.lane)?,
            name: parsed_if_any("name", row.name.as_deref())?,
            desired: [Desired::Running, Desired::Stopped]
                .into_iter()
                .find(|desired| desired.as_str() == row.desired)
                .ok_or_else(|| BadCell::new("desired", format_args!("{:?} is none", row.desired)))?,
            restart: parsed("restart", &row.restart)?,
            done_codes: serde_json::from_str(&row.done_codes)
                .map_err(|error| BadCell::new("done_codes", error))?,
            supervision: Supervision {
                epoch: row.supervision_epoch.cast_unsigned(),
                n_restarts: row.n_restarts,
                failed_at: serde_json::from_str(&row.failed_at)
                    .map_err(|error| BadCell::new("failed_at", error))?,
                outlook: match (row.retry_at, row.given_up) {
                    (Some(at), _) => Outlook::Retries { at: Timestamp(at) },
                    (None, Some(why)) => Outlook::GivenUp { why },
                    (None, None) => Outlook::Rests,
                },
            },
            parent: parsed_if_any("parent", row.parent.as_deref())?,
            channel: parsed_if_any("channel", row.channel.as_deref())?,
            start_message: row
                .start_message
                .map(|message| serde_json::from_str(&message))
                .transpose()
                .map_err(|error| BadCell::new("start_message", error))?,
            spec: row.spec,
            limits: row
                .limits
                .map(|limits| serde_json::from_str(&limits))
                .transpose()
                .map_err(|error| BadCell::new("limits", error))?
                .unwrap_or_default(),
            created_at: Timestamp(row.created_at),
        })
    }
}
