//! Instances: workers made from a program of `laneway.toml`, each with an id of its own, a state folder, what it is to
//! do, and a picture of what it says that it does.
//!
//! ```text
//!            start                     its worker runs                  its worker ends
//!  (none) ─────────► starting ───────────────────────────► (its worker) ─────────────────► at rest
//!    ▲                  │ ▲                                                                   │ │
//!    └──────remove──────│─└──────────────────────────start────────────────────────────────────┘ │
//!                       └──────stop, or it came to nothing────► at rest ────────remove──────► (none)
//! ```
//!
//! Only `starting` is recorded: whether an instance runs is what its worker is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};

use crate::channel::greeting;
use crate::id::{InstanceId, LaneId, WorkerId, WorkspaceId};
use crate::name::Name;
use crate::run::{Exit, Run};
use crate::supervise::is_failure;
use crate::time::Timestamp;
use crate::worker::{Desired, Worker, WorkerStatus};

/// The longest id of an instance, in characters.
const MAX_ID: usize = 64;

/// The most agents that the picture of an instance shows; more than a person looks at.
const MAX_AGENTS: usize = 1_000;

/// The longest text of a program that its instance's picture keeps, in bytes; the rest is cut.
const MAX_TEXT: usize = 4 << 10;

/// What requests call an instance: `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
pub struct InstanceName(String);

/// A text that is no id of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of an instance is 1 to 64 characters of A-Z a-z 0-9 _ -")]
pub struct NotAnInstanceName;

impl InstanceName {
    /// The instance that requests mean that name none.
    pub fn default_one() -> Self {
        Self("default".to_owned())
    }

    /// As a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceName {
    type Err = NotAnInstanceName;
    fn from_str(text: &str) -> Result<Self, NotAnInstanceName> {
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_one);
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAnInstanceName) }
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InstanceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What the lane and the worker of an instance are called, unless others are: `program.id` where that is a name, else
/// what of it can stand in one and a sum of all of it.
pub fn name_of(program: &str, instance: &InstanceName) -> Name {
    let whole = format!("{program}.{instance}");
    if let Ok(name) = whole.parse() {
        return name;
    }
    // FNV-1a over both, which an id cannot make look like another's: it has no dot.
    let sum = whole.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let readable = Name::from_free_text(&whole.replace('.', "-"));
    let readable: String = readable.iter().flat_map(|name| name.as_str().chars()).take(40).collect();
    let readable = readable.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let readable = if readable.is_empty() { "instance" } else { readable };
    format!("i-{readable}-{sum:016x}").parse().expect("letters, digits and hyphens are a name")
}

/// What a program is told to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Start {
    /// What it is to do.
    #[serde(default)]
    pub mission: Option<String>,
    /// It is only to say what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// The model that it is to use.
    #[serde(default)]
    pub model: Option<String>,
    /// A file with what is to be known from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff_file: Option<String>,
}

impl Start {
    /// As it is told.
    pub fn message(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(message)) => message,
            Ok(_) | Err(_) => Map::new(),
        }
    }
}

/// What a program is set to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceConfig {
    /// The model that it uses where a start names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What a run of it may cost, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<f64>))]
    pub max_budget_usd: Option<Number>,
    /// How many turns each agent may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u64>,
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {what}")]
pub struct BadSetting {
    /// Its name.
    pub field: &'static str,
    /// What it has to be.
    pub what: &'static str,
}

impl InstanceConfig {
    /// With those of `other` that are set.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            model: other.model.clone().or_else(|| self.model.clone()),
            max_budget_usd: other.max_budget_usd.clone().or_else(|| self.max_budget_usd.clone()),
            max_turns: other.max_turns.or(self.max_turns),
        }
    }

    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<(), BadSetting> {
        if !self.model.as_deref().is_none_or(is_line) {
            return Err(BadSetting { field: "model", what: LINE });
        }
        let budget = self.max_budget_usd.as_ref().map(|budget| budget.as_f64().unwrap_or(-1.0));
        if !budget.is_none_or(|budget| budget > 0.0 && budget <= 1e6) {
            return Err(BadSetting { field: "maxBudgetUsd", what: "is a number above 0, up to 1000000" });
        }
        if !self.max_turns.is_none_or(|turns| (1..=1_000_000).contains(&turns)) {
            return Err(BadSetting { field: "maxTurns", what: "is a whole number from 1 to 1000000" });
        }
        Ok(())
    }
}

impl Start {
    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<(), BadSetting> {
        let texts = [("mission", &self.mission), ("model", &self.model), ("handoffFile", &self.handoff_file)];
        for (field, text) in texts {
            let fits = |text: &String| {
                let is_short = text.len() <= MAX_TEXT && !text.contains('\0') && !text.is_empty();
                is_short && (field == "mission" || is_line(text))
            };
            if !text.as_ref().is_none_or(fits) {
                let what = if field == "mission" { "has 1 to 4096 bytes without a NUL" } else { LINE };
                return Err(BadSetting { field, what });
            }
        }
        Ok(())
    }
}

const LINE: &str = "is one line of 1 to 1024 bytes";

fn is_line(text: &str) -> bool {
    (1..=1_024).contains(&text.len()) && !text.contains(char::is_control)
}

/// An instance, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its own id, which is never another's.
    pub id: InstanceId,
    /// The repository.
    pub workspace: WorkspaceId,
    /// The program in its `laneway.toml`.
    pub program: String,
    /// What requests call it.
    pub name: InstanceName,
    /// Moves on with each start and stop.
    pub epoch: u64,
    /// A start was asked for, and its worker does not run yet.
    pub starting: bool,
    /// Why the last start came to nothing.
    pub failure: Option<String>,
    /// The lane that it works in.
    pub lane: Option<LaneId>,
    /// The worker that it is.
    pub worker: Option<WorkerId>,
    /// What it is to do: told at each start of its program.
    pub start: Start,
    /// What it is set to.
    pub config: InstanceConfig,
    /// What it says that it does.
    pub picture: Picture,
    /// How often its program said that it started.
    pub n_runs: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Instance {
    /// What its program is told first. `start`: what its worker was given to do.
    pub fn greeting(&self, project: &str, start: Option<&Map<String, Value>>) -> Vec<Value> {
        let config = serde_json::to_value(&self.config).unwrap_or_else(|_| Value::Object(Map::new()));
        let who = (self.name.as_str(), &config, self.start.handoff_file.as_deref());
        greeting(who, project, start)
    }
}

/// What the program of an instance says that it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// Its program runs, and said that its work has stopped.
    pub finished: bool,
    /// The round it is in.
    pub round: u64,
    /// What it does.
    pub mission: Option<String>,
    /// The model that it uses.
    pub model: Option<String>,
    /// It only says what it would do.
    pub dry_run: bool,
    /// Those who do it, as they began.
    pub agents: Vec<Agent>,
}

/// One of those who do the work of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
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
    pub started_at: Timestamp,
    /// Milliseconds that it took, as the program says.
    pub elapsed_ms: Option<Number>,
    /// What it cost, as the program says.
    pub cost: Option<Number>,
    /// How often it went on.
    pub continuations: u64,
}

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// At work.
    Running,
    /// Done.
    Complete,
    /// It failed.
    Failed,
    /// It was at work when its program ended.
    Stopped,
}

/// How a run of an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It has not ended.
    Running,
    /// Its work is done.
    Completed,
    /// It was asked to stop.
    Stopped,
    /// It failed.
    Error,
    /// How it ended nobody saw.
    Lost,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Running, Self::Completed, Self::Stopped, Self::Error, Self::Lost];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Completed => "completed",
            Outcome::Stopped => "stopped",
            Outcome::Error => "error",
            Outcome::Lost => "lost",
        }
    }
}

/// What an instance did, from a start to a stop as its program said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRun {
    /// The instance.
    pub instance: InstanceId,
    /// Numbered from 1 per instance.
    pub number: u32,
    /// The repository.
    pub workspace: WorkspaceId,
    /// The program.
    pub program: String,
    /// What requests called the instance.
    pub name: InstanceName,
    /// What it did.
    pub mission: Option<String>,
    /// The model that it used.
    pub model: Option<String>,
    /// It only said what it would do.
    pub dry_run: bool,
    /// When it said that it started.
    pub started_at: Timestamp,
    /// When it stopped. None: it has not.
    pub stopped_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// The round that it came to.
    pub rounds: u64,
    /// How many agents there were.
    pub agents: u64,
}

/// The word for an instance, given its worker with its latest run. A worker that is ended first, so that it runs with
/// what is new, is starting.
pub fn status_of(instance: &Instance, worker: Option<(&Worker, Option<&Run>)>) -> WorkerStatus {
    match (instance.starting, worker) {
        (true, _) => WorkerStatus::Starting,
        (false, Some((worker, latest))) => match (worker.status(latest), worker.desired) {
            (WorkerStatus::Stopping | WorkerStatus::Backoff, Desired::Running)
                if latest.is_some_and(|run| run.spec != worker.spec) =>
            {
                WorkerStatus::Starting
            }
            (status, _) => status,
        },
        (false, None) if instance.failure.is_some() => WorkerStatus::Failed,
        (false, None) => WorkerStatus::Stopped,
    }
}

/// Whether something of an instance with this status runs, or will by itself.
pub const fn is_live(status: WorkerStatus) -> bool {
    match status {
        WorkerStatus::Starting | WorkerStatus::Running | WorkerStatus::Stopping | WorkerStatus::Backoff => {
            true
        }
        WorkerStatus::Stopped | WorkerStatus::Failed => false,
    }
}

/// How a run of an instance ended whose program has ended like this.
pub fn outcome_of(exit: &Exit, asked: bool, done_codes: &[u8]) -> Outcome {
    match exit {
        Exit::Lost => Outcome::Lost,
        Exit::ClosedByHand => Outcome::Stopped,
        Exit::Code { .. }
        | Exit::Signal { .. }
        | Exit::Unresponsive { .. }
        | Exit::Limit { .. }
        | Exit::NotStarted { .. } => match (asked, is_failure(exit, done_codes)) {
            (true, _) => Outcome::Stopped,
            (false, true) => Outcome::Error,
            (false, false) => Outcome::Completed,
        },
    }
}

/// What becomes of an instance and of its run that has not ended, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The instance.
    pub instance: Instance,
    /// Its runs that are others now, each as it is.
    pub runs: Vec<InstanceRun>,
}

/// The circumstances in which a program says something.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The run of its instance that has not ended.
    pub open: Option<&'a InstanceRun>,
    /// It was asked to end.
    pub asked: bool,
    /// Codes that mean that its work is done; 0 always does.
    pub done_codes: &'a [u8],
    /// When.
    pub now: Timestamp,
}

/// What an event of its program does to an instance. None: nothing.
pub fn told(instance: &Instance, event: &str, data: &Value, seen: Circumstances<'_>) -> Option<Told> {
    let mut next = instance.clone();
    let mut runs = Vec::new();
    let picture = &mut next.picture;
    match event {
        "orchestrator:started" => {
            runs.extend(seen.open.map(|open| ended(open, picture, Outcome::Lost, seen.now)));
            picture.started_at = Some(seen.now);
            picture.finished = false;
            picture.round = 0;
            picture.agents.clear();
            picture.mission = text(data, "mission").or_else(|| instance.start.mission.clone());
            picture.model = text(data, "model").or_else(|| instance.start.model.clone());
            picture.dry_run = data["dryRun"].as_bool().unwrap_or(instance.start.dry_run);
            next.n_runs += 1;
            runs.push(run_of(&next, seen.now));
        }
        "orchestrator:stopped" => {
            picture.finished = true;
            settle(&mut picture.agents);
            let outcome = if seen.asked { Outcome::Stopped } else { outcome_said(data, seen.done_codes) };
            runs.extend(seen.open.map(|open| ended(open, picture, outcome, seen.now)));
        }
        "round:start" => picture.round = data["round"].as_u64().unwrap_or(picture.round + 1),
        "round:complete" => picture.round = data["round"].as_u64().unwrap_or(picture.round),
        "agent:start" => begin_agent(picture, data, seen.now)?,
        "agent:complete" | "agent:error" | "agent:continuation" => tell_agent(picture, event, data)?,
        _ => return None,
    }
    Some(Told { instance: next, runs })
}

/// The program of an instance has ended.
pub fn program_ended(instance: &Instance, exit: &Exit, seen: Circumstances<'_>) -> Told {
    let mut next = instance.clone();
    next.picture.finished = false;
    settle(&mut next.picture.agents);
    let outcome = outcome_of(exit, seen.asked, seen.done_codes);
    let runs = seen.open.map(|open| ended(open, &next.picture, outcome, seen.now));
    Told { runs: runs.into_iter().collect(), instance: next }
}

/// A run of an instance that has just been said to have started.
fn run_of(instance: &Instance, now: Timestamp) -> InstanceRun {
    let Picture { mission, model, dry_run, .. } = &instance.picture;
    InstanceRun {
        instance: instance.id,
        number: instance.n_runs,
        workspace: instance.workspace,
        program: instance.program.clone(),
        name: instance.name.clone(),
        mission: mission.clone(),
        model: model.clone(),
        dry_run: *dry_run,
        started_at: now,
        stopped_at: None,
        outcome: Outcome::Running,
        rounds: 0,
        agents: 0,
    }
}

fn ended(open: &InstanceRun, picture: &Picture, outcome: Outcome, now: Timestamp) -> InstanceRun {
    InstanceRun {
        stopped_at: Some(now),
        outcome,
        rounds: picture.round,
        agents: picture.agents.len() as u64,
        ..open.clone()
    }
}

/// How a run ended by what its program says of that.
fn outcome_said(data: &Value, done_codes: &[u8]) -> Outcome {
    let is_said = |field: &str| data.get(field).is_some_and(|value| !value.is_null());
    let is_done = match data.get("code").filter(|code| !code.is_null()) {
        Some(code) => code
            .as_u64()
            .is_some_and(|code| code == 0 || done_codes.iter().any(|done| u64::from(*done) == code)),
        None => !is_said("signal"),
    };
    if is_done && !is_said("error") { Outcome::Completed } else { Outcome::Error }
}

fn begin_agent(picture: &mut Picture, data: &Value, now: Timestamp) -> Option<()> {
    let id = text(data, "agentId")?;
    let agent = Agent {
        id: id.clone(),
        status: AgentStatus::Running,
        status_detail: None,
        model: text(data, "model"),
        round: data["round"].as_u64().unwrap_or(picture.round),
        started_at: now,
        elapsed_ms: None,
        cost: None,
        continuations: 0,
    };
    match picture.agents.iter().position(|known| known.id == id) {
        Some(known) => picture.agents[known] = agent,
        None if picture.agents.len() < MAX_AGENTS => picture.agents.push(agent),
        None => return None,
    }
    Some(())
}

/// One that is not known is ignored.
fn tell_agent(picture: &mut Picture, event: &str, data: &Value) -> Option<()> {
    let id = text(data, "agentId")?;
    let agent = picture.agents.iter_mut().find(|known| known.id == id)?;
    if event == "agent:continuation" {
        agent.continuations = data["index"].as_u64().unwrap_or(agent.continuations + 1);
        agent.cost = number(data, "cost").or_else(|| agent.cost.take());
        return Some(());
    }
    (agent.status, agent.status_detail) = match event {
        "agent:error" => {
            (AgentStatus::Failed, Some(text(data, "status").unwrap_or_else(|| "ERROR".to_owned())))
        }
        _ => (AgentStatus::Complete, None),
    };
    agent.elapsed_ms = number(data, "elapsedMs");
    agent.continuations = data["continuations"].as_u64().unwrap_or(agent.continuations);
    agent.cost = number(data, "cost").or_else(|| agent.cost.take());
    Some(())
}

fn settle(agents: &mut [Agent]) {
    for agent in agents.iter_mut().filter(|agent| agent.status == AgentStatus::Running) {
        agent.status = AgentStatus::Stopped;
    }
}

fn text(data: &Value, field: &str) -> Option<String> {
    let text = data.get(field)?.as_str().filter(|text| !text.is_empty())?;
    Some(text[..text.floor_char_boundary(MAX_TEXT)].to_owned())
}

fn number(data: &Value, field: &str) -> Option<Number> {
    data.get(field)?.as_number().cloned()
}

#[cfg(test)]
mod tests;
