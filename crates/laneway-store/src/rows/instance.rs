//! Rows of `instances` and `instance_runs`.

use laneway_core::instance::{Instance, InstanceRun, Outcome, Picture};
use laneway_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BadCell, Cells, TableRow, parsed, parsed_if_any};

macro_rules! instance_columns {
    () => {
        "instances.id, instances.workspace, instances.program, instances.name, instances.epoch, \
         instances.starting, instances.failure, instances.lane, instances.worker, instances.start, \
         instances.config, instances.started_at, instances.finished, instances.round, instances.mission, \
         instances.model, instances.dry_run, instances.agents, instances.n_runs, instances.created_at"
    };
}
pub(crate) use instance_columns;

pub(crate) struct InstanceRecord {
    pub(crate) id: String,
    pub(crate) workspace: String,
    pub(crate) program: String,
    pub(crate) name: String,
    pub(crate) epoch: i64,
    pub(crate) starting: bool,
    pub(crate) failure: Option<String>,
    pub(crate) lane: Option<String>,
    pub(crate) worker: Option<String>,
    /// A JSON object.
    pub(crate) start: String,
    /// A JSON object.
    pub(crate) config: String,
    pub(crate) started_at: Option<i64>,
    pub(crate) finished: bool,
    pub(crate) round: i64,
    pub(crate) mission: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) dry_run: bool,
    /// A JSON list.
    pub(crate) agents: String,
    pub(crate) n_runs: u32,
    pub(crate) created_at: i64,
}

impl TableRow for InstanceRecord {
    type Record = Instance;
    const TABLE: &'static str = "instances";
    const WIDTH: usize = 20;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: cells.take()?,
            workspace: cells.take()?,
            program: cells.take()?,
            name: cells.take()?,
            epoch: cells.take()?,
            starting: cells.take()?,
            failure: cells.take()?,
            lane: cells.take()?,
            worker: cells.take()?,
            start: cells.take()?,
            config: cells.take()?,
            started_at: cells.take()?,
            finished: cells.take()?,
            round: cells.take()?,
            mission: cells.take()?,
            model: cells.take()?,
            dry_run: cells.take()?,
            agents: cells.take()?,
            n_runs: cells.take()?,
            created_at: cells.take()?,
        })
    }
}

impl From<&Instance> for InstanceRecord {
    fn from(instance: &Instance) -> Self {
        let picture = &instance.picture;
        Self {
            id: instance.id.to_string(),
            workspace: instance.workspace.to_string(),
            program: instance.program.clone(),
            name: instance.name.to_string(),
            epoch: instance.epoch.cast_signed(),
            starting: instance.starting,
            failure: instance.failure.clone(),
            lane: instance.lane.map(|lane| lane.to_string()),
            worker: instance.worker.map(|worker| worker.to_string()),
            start: json(&instance.start),
            config: json(&instance.config),
            started_at: picture.started_at.map(|at| at.0),
            finished: picture.finished,
            round: picture.round.min(i64::MAX as u64).cast_signed(),
            mission: picture.mission.clone(),
            model: picture.model.clone(),
            dry_run: picture.dry_run,
            agents: json(&picture.agents),
            n_runs: instance.n_runs,
            created_at: instance.created_at.0,
        }
    }
}

impl TryFrom<InstanceRecord> for Instance {
    type Error = BadCell;
    fn try_from(row: InstanceRecord) -> Result<Self, BadCell> {
        Ok(Self {
            id: parsed("id", &row.id)?,
            workspace: parsed("workspace", &row.workspace)?,
            program: row.program,
            name: parsed("name", &row.name)?,
            epoch: row.epoch.cast_unsigned(),
            starting: row.starting,
            failure: row.failure,
            lane: parsed_if_any("lane", row.lane.as_deref())?,
            worker: parsed_if_any("worker", row.worker.as_deref())?,
            start: from_json("start", &row.start)?,
            config: from_json("config", &row.config)?,
            picture: Picture {
                started_at: row.started_at.map(Timestamp),
                finished: row.finished,
                round: row.round.cast_unsigned(),
                mission: row.mission,
                model: row.model,
                dry_run: row.dry_run,
                agents: from_json("agents", &row.agents)?,
            },
            n_runs: row.n_runs,
            created_at: Timestamp(row.created_at),
        })
    }
}

macro_rules! instance_run_columns {
    () => {
        "instance_runs.instance, instance_runs.number, instance_runs.workspace, instance_runs.program, \
         instance_runs.name, instance_runs.mission, instance_runs.model, instance_runs.dry_run, \
         instance_runs.started_at, instance_runs.stopped_at, instance_runs.outcome, instance_runs.rounds, \
         instance_runs.agents"
    };
}
pub(crate) use instance_run_columns;

pub(crate) struct InstanceRunRecord {
    pub(crate) instance: String,
    pub(crate) number: u32,
    pub(crate) workspace: String,
    pub(crate) program: String,
    pub(crate) name: String,
    pub(crate) mission: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) started_at: i64,
    pub(crate) stopped_at: Option<i64>,
    pub(crate) outcome: String,
    pub(crate) rounds: i64,
    pub(crate) agents: i64,
}

impl TableRow for InstanceRunRecord {
    type Record = InstanceRun;
    const TABLE: &'static str = "instance_runs";
    const WIDTH: usize = 13;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            instance: cells.take()?,
            number: cells.take()?,
            workspace: cells.take()?,
            program: cells.take()?,
            name: cells.take()?,
            mission: cells.take()?,
            model: cells.take()?,
            dry_run: cells.take()?,
            started_at: cells.take()?,
            stopped_at: cells.take()?,
            outcome: cells.take()?,
            rounds: cells.take()?,
            agents: cells.take()?,
        })
    }
}

impl From<&InstanceRun> for InstanceRunRecord {
    fn from(run: &InstanceRun) -> Self {
        Self {
            instance: run.instance.to_string(),
            number: run.number,
            workspace: run.workspace.to_string(),
            program: run.program.clone(),
            name: run.name.to_string(),
            mission: run.mission.clone(),
            model: run.model.clone(),
            dry_run: run.dry_run,
            started_at: run.started_at.0,
            stopped_at: run.stopped_at.map(|at| at.0),
            outcome: run.outcome.as_str().to_owned(),
            rounds: run.rounds.min(i64::MAX as u64).cast_signed(),
            agents: run.agents.cast_signed(),
        }
    }
}

impl TryFrom<InstanceRunRecord> for InstanceRun {
    type Error = BadCell;
    fn try_from(row: InstanceRunRecord) -> Result<Self, BadCell> {
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == row.outcome);
        let bad = || BadCell::new("outcome", format_args!("{:?} is none", row.outcome));
        Ok(Self {
            outcome: outcome.ok_or_else(bad)?,
            instance: parsed("instance", &row.instance)?,
            number: row.number,
            workspace: parsed("workspace", &row.workspace)?,
            program: row.program,
            name: parsed("name", &row.name)?,
            mission: row.mission,
            model: row.model,
            dry_run: row.dry_run,
            started_at: Timestamp(row.started_at),
            stopped_at: row.stopped_at.map(Timestamp),
            rounds: row.rounds.cast_unsigned(),
            agents: row.agents.cast_unsigned(),
        })
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it is made of strings, numbers and lists")
}

fn from_json<T: DeserializeOwned>(column: &'static str, text: &str) -> Result<T, BadCell> {
    serde_json::from_str(text).map_err(|error| BadCell::new(column, error))
}
