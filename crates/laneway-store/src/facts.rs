//! The facts a decision is based on: what its scope asks for, read in the writer's transaction.

use laneway_core::command::{Facts, InstanceFacts, LaneFacts, PaneFacts, Scope, WorkerFacts, WorkerName};
use laneway_core::id::{HostId, LaneId, RunId, WorkerId};
use laneway_core::instance::Instance;
use laneway_core::lane::Lane;
use laneway_core::pane::Pane;
use laneway_core::run::Run;
use rusqlite::{Connection, params};

use crate::query::{QueryError, all, first};
use crate::rows::{
    AttachmentRecord, InstanceRecord, InstanceRunRecord, LaneRecord, PaneRecord, PoolRecord, RunRecord,
    WorkerRecord, WorkspaceRecord, attachment_columns, attachments_and_workers, instance_columns,
    instance_run_columns, lane_columns, optional_record, pane_columns, pool_columns, record, run_columns,
    worker_columns, workspace_columns,
};

/// Reads what `scope` asks for.
pub(crate) fn load(connection: &Connection, host: HostId, scope: &Scope) -> Result<Facts, QueryError> {
    match scope {
        Scope::Nothing => Ok(Facts::Nothing),
        Scope::CommonDir(common_dir) => {
            let sql = concat!(
                "SELECT ",
                workspace_columns!(),
                " FROM workspaces WHERE host = ?1 AND common_dir = ?2"
            );
            let params = params![host.to_string(), common_dir.as_bytes()];
            first(connection, sql, params, record::<WorkspaceRecord>).map(Facts::CommonDir)
        }
        Scope::Workspace(workspace) => {
            let workspace = workspace.to_string();
            let known = "SELECT 1 FROM workspaces WHERE id = ?1";
            if first(connection, known, [&workspace], |_| Ok(()))?.is_none() {
                return Ok(Facts::Workspace(None));
            }
            Ok(Facts::Workspace(Some(open_lanes(connection, &workspace)?)))
        }
        Scope::Pool(workspace) => {
            let sql =
                concat!("SELECT ", pool_columns!(), " FROM pool_trees WHERE workspace = ?1 ORDER BY id");
            all(connection, sql, [workspace.to_string()], record::<PoolRecord>).map(Facts::Pool)
        }
        Scope::PoolTree(tree) => {
            let sql = concat!("SELECT ", pool_columns!(), " FROM pool_trees WHERE id = ?1");
            first(connection, sql, [tree.to_string()], record::<PoolRecord>).map(Facts::PoolTree)
        }
        Scope::Lane(lane) => Ok(Facts::Lane(of_lane(connection, *lane, None)?)),
        Scope::LaneAmongOthers(lane) => {
            let Some(facts) = of_lane(connection, *lane, None)? else {
                return Ok(Facts::LaneAmongOthers(None));
            };
            let open = open_lanes(connection, &facts.lane.workspace.to_string())?;
            Ok(Facts::LaneAmongOthers(Some((facts, open))))
        }
        Scope::Worker(worker) => {
            let sql = "SELECT lane FROM workers WHERE id = ?1";
            match first(connection, sql, [worker.to_string()], |cells| cells.text("workers"))? {
                Some(lane) => Ok(Facts::Lane(of_lane(connection, lane, Some(*worker))?)),
                None => Ok(Facts::Lane(None)),
            }
        }
        Scope::Run(run) => Ok(Facts::Lane(of_run(connection, *run)?)),
        Scope::Panes(worker) => {
            let Some(WorkerFacts { worker, latest }) = of_worker(connection, *worker)? else {
                return Ok(Facts::Panes(None));
            };
            let panes = panes_of(connection, worker.id)?;
            Ok(Facts::Panes(Some(PaneFacts { worker, latest, panes })))
        }
        Scope::InstanceNamed(workspace, program, name) => {
            let sql = concat!(
                "SELECT ",
                instance_columns!(),
                " FROM instances WHERE workspace = ?1 AND program = ?2 AND name = ?3"
            );
            let params = params![workspace.to_string(), program, name.as_str()];
            let found = first(connection, sql, params, record::<InstanceRecord>)?;
            of_instance(connection, found)
        }
        Scope::Instance(instance) => {
            let sql = concat!("SELECT ", instance_columns!(), " FROM instances WHERE id = ?1");
            let found = first(connection, sql, [instance.to_string()], record::<InstanceRecord>)?;
            of_instance(connection, found)
        }
    }
}

fn of_worker(connection: &Connection, worker: WorkerId) -> Result<Option<WorkerFacts>, QueryError> {
    let sql = concat!(
        "SELECT ",
        worker_columns!(),
        ", ",
        run_columns!(),
        " FROM workers LEFT JOIN runs ON runs.worker = workers.id AND runs.number = \
          (SELECT max(number) FROM runs AS every WHERE every.worker = workers.id) WHERE workers.id = ?1"
    );
    first(connection, sql, [worker.to_string()], |cells| {
        Ok(WorkerFacts {
            worker: record::<WorkerRecord>(cells)?,
            latest: optional_record::<RunRecord>(cells)?,
        })
    })
}

fn of_instance(connection: &Connection, found: Option<Instance>) -> Result<Facts, QueryError> {
    let Some(instance) = found else { return Ok(Facts::Instance(None)) };
    let worker = match instance.worker {
        Some(worker) => of_worker(connection, worker)?,
        None => None,
    };
    let sql = concat!(
        "SELECT ",
        instance_run_columns!(),
        " FROM instance_runs INDEXED BY instance_runs_open WHERE instance = ?1 AND stopped_at IS NULL"
    );
    let open_run = first(connection, sql, [instance.id.to_string()], record::<InstanceRunRecord>)?;
    Ok(Facts::Instance(Some(Box::new((InstanceFacts { instance, open_run }, worker)))))
}

/// All panes that a worker has or had, by their numbers.
pub(crate) fn panes_of(connection: &Connection, worker: WorkerId) -> Result<Vec<Pane>, QueryError> {
    let sql = concat!("SELECT ", pane_columns!(), " FROM panes WHERE worker = ?1 ORDER BY number");
    all(connection, sql, [worker.to_string()], record::<PaneRecord>)
}

fn open_lanes(connection: &Connection, workspace: &str) -> Result<Vec<Lane>, QueryError> {
    let sql = concat!(
        "SELECT ",
        lane_columns!(),
        " FROM lanes INDEXED BY lanes_unclosed WHERE workspace = ?1 AND lifecycle <> 'closed' ORDER BY id"
    );
    all(connection, sql, [workspace], record::<LaneRecord>)
}

/// The lane of a run. Its worker counts with this run, be it the latest or not: a late exit of an old
/// run is decided on that run.
fn of_run(connection: &Connection, run: RunId) -> Result<Option<LaneFacts>, QueryError> {
    let sql = concat!("SELECT ", run_columns!(), ", runs.lane FROM runs WHERE id = ?1");
    let found = first(connection, sql, [run.to_string()], |cells| {
        Ok((record::<RunRecord>(cells)?, cells.text::<LaneId>("runs")?))
    })?;
    let Some((run, lane)) = found else {
        return Ok(None);
    };
    let mut facts = of_lane(connection, lane, Some(run.worker))?;
    if let Some(facts) = &mut facts {
        asked_about(facts, run);
    }
    Ok(facts)
}

fn asked_about(facts: &mut LaneFacts, run: Run) {
    if let Some(worker) = facts.workers.iter_mut().find(|facts| facts.worker.id == run.worker) {
        worker.latest = Some(run);
    }
}

/// The lane with its named workers, those with a live run, and `worker`.
fn of_lane(
    connection: &Connection,
    lane: LaneId,
    worker: Option<WorkerId>,
) -> Result<Option<LaneFacts>, QueryError> {
    let id = lane.to_string();
    let sql = concat!("SELECT ", lane_columns!(), " FROM lanes WHERE id = ?1");
    let Some(lane) = first(connection, sql, [&id], record::<LaneRecord>)? else {
        return Ok(None);
    };
    // Ended tasks can be many; no part of this reads them.
    let sql = concat!(
        "SELECT ",
        worker_columns!(),
        ", ",
        run_columns!(),
        " FROM workers LEFT JOIN runs ON runs.worker = workers.id AND runs.number = \
          (SELECT max(number) FROM runs AS every WHERE every.worker = workers.id) \
          WHERE workers.id IN (SELECT id FROM workers WHERE lane = ?1 AND name IS NOT NULL \
          UNION SELECT worker FROM runs WHERE lane = ?1 AND state <> 'exited' \
          UNION SELECT ?2) ORDER BY workers.id"
    );
    let workers = all(connection, sql, params![id, worker.map(|id| id.to_string())], |cells| {
        Ok(WorkerFacts {
            worker: record::<WorkerRecord>(cells)?,
            latest: optional_record::<RunRecord>(cells)?,
        })
    })?;
    let sql = "SELECT workers.name, workers.id, lanes.name FROM lanes INDEXED BY lanes_unclosed \
               JOIN workers INDEXED BY workers_named ON workers.lane = lanes.id \
               WHERE lanes.workspace = ?1 AND lanes.lifecycle <> 'closed' AND workers.name IS NOT NULL";
    let workspace = lane.workspace.to_string();
    let taken_names = all(connection, sql, [workspace], |cells| {
        Ok(WorkerName {
            name: cells.text("workers")?,
            worker: cells.text("workers")?,
            lane: cells.text("lanes")?,
        })
    })?;
    let sql = concat!(
        "SELECT ",
        attachment_columns!(),
        attachments_and_workers!(),
        "WHERE attachments.lane = ?1 ORDER BY attachments.id"
    );
    let attachments = all(connection, sql, [&id], record::<AttachmentRecord>)?;
    let sql = concat!(
        "SELECT ",
        instance_columns!(),
        ", ",
        instance_run_columns!(),
        " FROM instances INDEXED BY instances_lane LEFT JOIN instance_runs INDEXED BY instance_runs_open \
          ON instance_runs.instance = instances.id AND instance_runs.stopped_at IS NULL \
          WHERE instances.lane = ?1 ORDER BY instances.id"
    );
    let instances = all(connection, sql, [&id], |cells| {
        Ok(InstanceFacts {
            instance: record::<InstanceRecord>(cells)?,
            open_run: optional_record::<InstanceRunRecord>(cells)?,
        })
    })?;
    Ok(Some(LaneFacts { lane, workers, taken_names, attachments, instances }))
}
