//! Instances of the programs of `laneway.toml`, as requests ask for them and as they are shown. As their users know
//! them, all of this is camelCase.

use laneway_core::channel::ChannelKind;
use laneway_core::instance::{Agent, AgentStatus, InstanceConfig, InstanceName, InstanceRun, Outcome, Start};
use laneway_core::worker::WorkerStatus;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

use crate::time::Time;

/// Start an instance. All of it is remembered, and told again after a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartInstance {
    /// What it is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mission: Option<String>,
    /// It is only to say what it would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// The model that it is to use. None: that of its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A file with what is to be known from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff_file: Option<String>,
}

impl From<StartInstance> for Start {
    fn from(wanted: StartInstance) -> Self {
        Self {
            mission: wanted.mission,
            dry_run: wanted.dry_run.unwrap_or(false),
            model: wanted.model,
            handoff_file: wanted.handoff_file,
        }
    }
}

/// Settings of an instance. In a request those that are left out stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigureInstance {
    /// The model that it uses where a start names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What a run of it may cost, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub max_budget_usd: Option<Number>,
    /// How many turns each agent may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u64>,
}

impl From<ConfigureInstance> for InstanceConfig {
    fn from(wanted: ConfigureInstance) -> Self {
        let ConfigureInstance { model, max_budget_usd, max_turns } = wanted;
        Self { model, max_budget_usd, max_turns }
    }
}

impl From<InstanceConfig> for ConfigureInstance {
    fn from(config: InstanceConfig) -> Self {
        let InstanceConfig { model, max_budget_usd, max_turns } = config;
        Self { model, max_budget_usd, max_turns }
    }
}

/// The settings of an instance are these now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceConfigured {
    /// Always true.
    pub success: bool,
    /// All of them.
    pub config: ConfigureInstance,
}

/// A program of `laneway.toml`, or one that instances are recorded of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgramView {
    /// Its name.
    pub name: String,
    /// Program and arguments; empty if it is not in `laneway.toml` any more.
    pub command: Vec<String>,
    /// It is in `laneway.toml`.
    pub configured: bool,
    /// The channel that it is given.
    pub channel: Option<ChannelKind>,
    /// How many instances there are.
    pub instances: u64,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// What requests call it.
    pub id: InstanceName,
    /// Its program runs and is ready, and has not said that its work has stopped.
    pub running: bool,
    /// When it was started last.
    pub started_at: Option<Time>,
    /// The round it is in, as its program says.
    pub round: u64,
    /// Those who do the work, as its program says.
    pub agents: Vec<AgentView>,
    /// What it does.
    pub mission: Option<String>,
    /// The model that it uses.
    pub model: Option<String>,
    /// It only says what it would do.
    pub dry_run: bool,
    /// The process of its program.
    pub pid: Option<u32>,
    /// Its worker. None: it never had one.
    pub pool_status: Option<PoolWorker>,
}

/// One of those who do the work of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// As the program calls it.
    pub id: String,
    /// How it is.
    pub status: AgentStatus,
    /// More of that, in the program's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_detail: Option<String>,
    /// The model that it uses.
    pub model: Option<String>,
    /// The round that it began in.
    pub round: u64,
    /// When it began.
    pub started_at: Time,
    /// Milliseconds that it took.
    #[schema(value_type = Option<f64>)]
    pub elapsed_ms: Option<Number>,
    /// What it cost.
    #[schema(value_type = Option<f64>)]
    pub cost: Option<Number>,
    /// How often it went on.
    pub continuations: u64,
}

impl From<Agent> for AgentView {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id,
            status: agent.status,
            status_detail: agent.status_detail,
            model: agent.model,
            round: agent.round,
            started_at: agent.started_at.into(),
            elapsed_ms: agent.elapsed_ms,
            cost: agent.cost,
            continuations: agent.continuations,
        }
    }
}

/// The worker that an instance is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolWorker {
    /// What requests call the instance.
    pub id: InstanceName,
    /// Its name as a worker, for `lane attach` and the like. None while it is being made.
    pub worker: Option<String>,
    /// The name of its lane.
    pub lane: Option<String>,
    /// How it is.
    pub status: WorkerStatus,
    /// The process of its program.
    pub pid: Option<u32>,
    /// What the instance is set to.
    pub config: ConfigureInstance,
    /// When its run was started.
    pub started_at: Option<Time>,
    /// When that ended.
    pub stopped_at: Option<Time>,
    /// When it last answered, if it has a channel.
    pub last_heartbeat: Option<Time>,
    /// Restarts that count.
    pub restart_count: u32,
    /// Failures that count.
    pub consecutive_failures: u64,
    /// The code that its program ended with.
    pub exit_code: Option<u8>,
    /// Why it does not run, or how its program ended.
    pub error: Option<String>,
}

/// The workers of all instances of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkersHealth {
    /// One for each instance.
    pub workers: Vec<PoolWorker>,
    /// Something of them runs.
    pub pool_active: bool,
}

/// What was asked of an instance is done, or has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceDone {
    /// What, for people.
    pub message: String,
    /// The instance as it is recorded now.
    pub status: InstanceView,
}

/// An instance was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceRemoved {
    /// What became of it, and of its lane, for people.
    pub message: String,
}

/// Which part of the history is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadHistory {
    /// How many at most: 1 to 50; 20 if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What an instance did, from a start to a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRunView {
    /// Its id.
    pub id: String,
    /// What requests called the instance.
    pub instance_id: InstanceName,
    /// What it did.
    pub mission: Option<String>,
    /// The model that it used.
    pub model: Option<String>,
    /// It only said what it would do.
    pub dry_run: bool,
    /// When it started.
    pub started_at: Time,
    /// When it stopped.
    pub stopped_at: Option<Time>,
    /// Milliseconds between the two, or until now.
    pub duration_ms: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The round that it came to.
    pub rounds: u64,
    /// How many agents there were.
    pub agents: u64,
}

impl InstanceRunView {
    /// As it is shown at this moment.
    pub fn at(run: InstanceRun, now: laneway_core::time::Timestamp) -> Self {
        Self {
            id: format!("{}-{}", run.instance, run.number),
            instance_id: run.name,
            mission: run.mission,
            model: run.model,
            dry_run: run.dry_run,
            started_at: run.started_at.into(),
            stopped_at: run.stopped_at.map(Into::into),
            duration_ms: run.stopped_at.unwrap_or(now).millis_since(run.started_at),
            outcome: run.outcome,
            rounds: run.rounds,
            agents: run.agents,
        }
    }
}
