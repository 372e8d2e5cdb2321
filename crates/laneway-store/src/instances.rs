//! Questions about instances of programs, asked as those of `reads` are.

use laneway_core::id::{InstanceId, WorkerId, WorkspaceId};
use laneway_core::instance::{Instance, InstanceName, InstanceRun};
use laneway_core::run::Run;
use laneway_core::worker::Worker;
use rusqlite::params;

use crate::error::{ReadError, UnreadableRow};
use crate::query::{all, first};
use crate::rows::{
    Cells, InstanceRecord, InstanceRunRecord, RunRecord, WorkerRecord, instance_columns,
    instance_run_columns, optional_record, record, run_columns, worker_columns,
};
use crate::store::Store;

/// An instance with its worker and the latest run of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// The instance.
    pub instance: Instance,
    /// Its worker, if it has one.
    pub worker: Option<Worker>,
    /// The latest run of its worker.
    pub latest: Option<Run>,
}

/// Instances with their workers: `$rest` goes on after all joins.
macro_rules! instances {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            instance_columns!(),
            ", ",
            worker_columns!(),
            ", ",
            run_columns!(),
            " FROM instances LEFT JOIN workers ON workers.id = instances.worker \
              LEFT JOIN runs ON runs.worker = workers.id AND runs.number = \
              (SELECT max(number) FROM runs AS every WHERE every.worker = workers.id) ",
            $rest
        )
    };
}

impl Store {
    /// The instances of a program, the oldest first.
    pub fn instances(&self, workspace: WorkspaceId, program: &str) -> Result<Vec<InstanceRow>, ReadError> {
        let sql =
            instances!("WHERE instances.workspace = ?1 AND instances.program = ?2 ORDER BY instances.id");
        self.ask(|db| all(db, sql, params![workspace.to_string(), program], instance_row))
    }

    /// The instance of a program that is called so.
    pub fn instance_named(
        &self,
        workspace: WorkspaceId,
        program: &str,
        name: &InstanceName,
    ) -> Result<Option<InstanceRow>, ReadError> {
        let sql =
            instances!("WHERE instances.workspace = ?1 AND instances.program = ?2 AND instances.name = ?3");
        self.ask(|db| first(db, sql, params![workspace.to_string(), program, name.as_str()], instance_row))
    }

    /// One instance.
    pub fn instance(&self, id: InstanceId) -> Result<Option<InstanceRow>, ReadError> {
        self.ask(|db| first(db, instances!("WHERE instances.id = ?1"), [id.to_string()], instance_row))
    }

    /// The instance that a worker is.
    pub fn instance_of_worker(&self, worker: WorkerId) -> Result<Option<Instance>, ReadError> {
        let sql = concat!("SELECT ", instance_columns!(), " FROM instances WHERE worker = ?1");
        self.ask(|db| first(db, sql, [worker.to_string()], record::<InstanceRecord>))
    }

    /// Every instance whose start is under way.
    pub fn starting_instances(&self) -> Result<Vec<Instance>, ReadError> {
        let sql = concat!("SELECT ", instance_columns!(), " FROM instances WHERE starting ORDER BY id");
        self.ask(|db| all(db, sql, [], record::<InstanceRecord>))
    }

    /// The names of the files with the environments that renewed workers are started with next.
    pub fn renewed_environments(&self) -> Result<Vec<String>, ReadError> {
        let sql = "SELECT specs.environment FROM workers JOIN specs \
                   ON specs.worker = workers.id AND specs.number = workers.spec WHERE workers.spec > 1";
        self.ask(|db| all(db, sql, [], |cells| cells.value("specs")))
    }

    /// The repositories that have instances, and of which programs.
    pub fn programs_with_instances(&self) -> Result<Vec<(WorkspaceId, String)>, ReadError> {
        let sql = "SELECT DISTINCT workspace, program FROM instances UNION \
                   SELECT DISTINCT workspace, program FROM instance_runs ORDER BY 1, 2";
        self.ask(|db| all(db, sql, [], |cells| Ok((cells.text("instances")?, cells.value("instances")?))))
    }

    /// What the instances of a program have done, the latest first; also those that were removed.
    pub fn instance_runs(
        &self,
        workspace: WorkspaceId,
        program: &str,
        limit: u32,
    ) -> Result<Vec<InstanceRun>, ReadError> {
        let sql = concat!(
            "SELECT ",
            instance_run_columns!(),
            " FROM instance_runs WHERE workspace = ?1 AND program = ?2 \
              ORDER BY started_at DESC, instance DESC, number DESC LIMIT ?3"
        );
        let params = params![workspace.to_string(), program, limit];
        self.ask(|db| all(db, sql, params, record::<InstanceRunRecord>))
    }
}

fn instance_row(cells: &mut Cells<'_>) -> Result<InstanceRow, UnreadableRow> {
    Ok(InstanceRow {
        instance: record::<InstanceRecord>(cells)?,
        worker: optional_record::<WorkerRecord>(cells)?,
        latest: optional_record::<RunRecord>(cells)?,
    })
}
