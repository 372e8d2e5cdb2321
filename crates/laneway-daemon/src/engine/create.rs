//! Making a lane: `new → provisioning → open`, and undone if it fails half-way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::NewLane as Wanted;
use laneway_core::command::{Command, NewLane, NewWorker, Provisioned, WorkerNaming};
use laneway_core::id::{LaneId, RunId, WorkerId};
use laneway_core::lane::{Lane, LaneBranch, LaneTree, Lifecycle};
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::refusal::Refusal;
use laneway_core::setup::{SetupStart, SetupState};
use laneway_core::workspace::Workspace;
use laneway_fault::fault_point;
use laneway_git::{Left, Repository, RestoredFrom, Rules, TreeRecord};
use laneway_store::Store;

use super::close::CloseAsked;
use super::prepare::{Prepared, Preparing};
use super::runs::Started;
use super::settings::not_trusted;
use super::setup::{SettingUp, Tell, plan_of};
use super::workspaces::owners_settings;
use super::{BeingMade, Engine, Request, blocking, not_found};
use crate::config::workspace::{WorkspaceConfig, WorkspaceFile};
use crate::problem::{IntoProblem, chain, failed_by_words};

/// How long a client waits for a lane: a checkout of a very large tree, not more.
const CREATE_LIMIT: Duration = Duration::from_mins(30);

/// A lane that was made, with the run of its first worker.
pub(crate) struct Made {
    pub(crate) lane: LaneId,
    pub(crate) worker: Option<WorkerId>,
}

impl Engine {
    /// Makes a lane, and starts a first worker in it. If its program cannot be started the lane is undone.
    pub(crate) async fn new_lane(
        &self,
        cwd: &OsText,
        wanted: Wanted,
        tell: &Tell,
        request: Request,
    ) -> Result<Made, Problem> {
        let id = LaneId::from_ulid(self.ids.next());
        self.new_lane_as(id, cwd, wanted, tell, request).await
    }

    /// The same with an id that somebody has chosen.
    pub(super) async fn new_lane_as(
        &self,
        id: LaneId,
        cwd: &OsText,
        mut wanted: Wanted,
        tell: &Tell,
        request: Request,
    ) -> Result<Made, Problem> {
        let workspace = self.workspace(cwd, request).await?;
        let (repository, file) = self.ruled_repository(&workspace).await?;
        if let Some(launch) = wanted.launch.take() {
            wanted.launch = Some(self.with_program_of(&workspace, &file, launch).await?);
        }
        let is_trusted = self.is_trusted(&workspace, &file).await?;
        if !is_trusted && file.config.worktree.is_elsewhere(repository.root()) {
            return Err(not_trusted("the place of its worktrees"));
        }
        let (config, max_lanes) = (file.config.clone(), file.config.max_lanes);
        let open = self.open_lanes(&workspace).await?;
        let name =
            self.name_for(&Naming { config: &config, root: repository.root(), open: &open }, &wanted)?;
        let Prepared { base, record, warning } = {
            let (cwd, wanted, name) = (cwd.to_path_buf(), wanted.clone(), name.clone());
            blocking(move || {
                let (repository, config) = (repository.as_ref(), &config);
                Preparing { repository, config, cwd: &cwd, wanted: &wanted, name: &name, id, open: &open }
                    .prepare()
            })
            .await??
        };
        let first = match &wanted.launch {
            Some(launch) => {
                let first = self.new_worker(launch, WorkerNaming::FirstFree(name.clone())).await?;
                Some(Box::new(NewWorker { parent: request.actor.worker(), ..first }))
            }
            None => None,
        };
        let (worker, run) = first.as_deref().map(|first| (first.id, first.run)).unzip();
        let lane = NewLane {
            id,
            host: self.store.host(),
            workspace: workspace.id,
            name,
            tree: LaneTree::Ours {
                branch: LaneBranch { name: record.branch.clone(), ours: record.branch_is_new },
            },
            base_ref: base.base_ref,
            base_commit: record.base_commit.as_str().to_owned(),
            path: record.path.as_path().into(),
            restored_from: None,
        };
        let (setup, setting_up, first) = setup_of(file, is_trusted, &wanted, first);
        self.lock_being_made().insert(id, BeingMade { record, warning, setup, setting_up, first });
        let asked = self.submit(Command::CreateLane { lane, max_lanes }, request).await;
        let seq = match asked {
            Ok(committed) => committed.seq,
            Err(problem) => {
                self.forget_being_made(id);
                return Err(problem);
            }
        };
        let lane = self.settled(id, CREATE_LIMIT).await?;
        let is_set_up = lane.lifecycle == Lifecycle::Open && lane.setup.state == SetupState::Running;
        let lane = if is_set_up { self.setup_over(id, seq, tell).await? } else { lane };
        match lane.lifecycle {
            Lifecycle::Open => {}
            Lifecycle::Closed if lane.failure.is_none() => {
                return Err(Problem::new(
                    ErrorKind::Refused,
                    "closed_meanwhile",
                    format!("lane {} was closed while it was being made", lane.name),
                ));
            }
            _ => return Err(made_in_vain(&lane)),
        }
        let not_started = if run.is_some() { "; nothing was started in it" } else { "" };
        let what = format!("lane {} was made, and could not be set up{not_started}", lane.name);
        self.refuse_failed_setup(&lane, seq, what).await?;
        if let Some(run) = run {
            self.first_start(&lane, run, seq, request).await?;
        }
        Ok(Made { lane: id, worker })
    }

    /// Waits for the first worker's start; a lane whose program never ran is undone.
    async fn first_start(&self, lane: &Lane, run: RunId, seq: u64, request: Request) -> Result<(), Problem> {
        let mut problem = match self.started(run, lane.id, seq).await? {
            Started::Runs => {
                return self.is_still_there(run).await.map_err(|mut problem| {
                    problem.message = format!("{}; lane {} was kept", problem.message, lane.name);
                    problem
                });
            }
            Started::Failed(problem) => problem,
        };
        // Somebody else may have started something in it meanwhile.
        let in_use = self.read(Store::live_runs).await?.iter().any(|row| row.worker.lane == lane.id);
        if in_use {
            problem.message = format!("{}; lane {} was kept: it is in use", problem.message, lane.name);
            return Err(problem);
        }
        match self.close_lane(lane.id, CloseAsked::default(), request).await {
            Ok(_) => problem.message.push_str("; the lane was undone"),
            Err(kept) => {
                problem.message =
                    format!("{}; lane {} was kept: {}", problem.message, lane.name, kept.message);
            }
        }
        Err(problem)
    }

    /// The effect: makes branch and worktree, or undoes what it made of them.
    pub(super) async fn provision(&self, lane: LaneId, epoch: u64, request: Request) {
        let restored = self.read(move |store| store.lane(lane)).await.ok().flatten();
        if let Some(from) = restored.and_then(|lane| lane.restored_from) {
            let (outcome, came_from) = self.provision_restored(lane, epoch, from, request).await;
            self.report(Command::FinishProvisioning { lane, epoch, outcome }, request).await;
            fault_point!("restore.recorded");
            if came_from == Some(RestoredFrom::Trash) {
                self.leave_trash(from).await;
            }
            return;
        }
        let Some(made) = self.lock_being_made().remove(&lane) else {
            // Only after a crash, and then reconciling undoes it.
            return;
        };
        // One that comes after the setup is kept with that.
        let kept = made.first.as_deref().map(|first| (first.id, first.environment.clone()));
        let outcome = self.make_tree(lane, epoch, made, request).await;
        self.report(Command::FinishProvisioning { lane, epoch, outcome }, request).await;
        self.forget_setup_unless_begun(lane).await;
        if let Some((worker, environment)) = kept {
            self.forget_unless_recorded(worker, &environment).await;
        }
    }

    async fn make_tree(
        &self,
        lane: LaneId,
        epoch: u64,
        BeingMade { record, warning, setup, setting_up, first }: BeingMade,
        request: Request,
    ) -> Provisioned {
        let failed = |problem: Problem| {
            if let Some(environment) = setting_up.as_ref().and_then(SettingUp::environment) {
                crate::launches::forget(&self.home, environment);
            }
            Provisioned::Failed { failure: problem.message }
        };
        let repository = match self.repository_of_lane(lane).await {
            Ok(repository) => repository,
            Err(problem) => return failed(problem),
        };
        if let Err(problem) = self.submit(Command::BeginProvisioning { lane, epoch }, request).await {
            return failed(problem);
        }
        let branch = LaneBranch { name: record.branch.clone(), ours: record.branch_is_new };
        let created = match self.claim_from_pool(lane, &repository, &record, request).await {
            Some(claimed) => Ok(claimed),
            None => blocking(move || repository.create(&record)).await,
        };
        match created {
            Ok(Ok(created)) => {
                let warnings = created.warnings.iter().map(|warning| chain(warning));
                let warnings: Vec<String> = warning.into_iter().chain(warnings).collect();
                let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
                if let Some(setting_up) = setting_up {
                    self.lock_setups().insert(lane, setting_up);
                }
                Provisioned::Ready { branch, warning, setup, first }
            }
            Ok(Err(error)) => failed(error.into_problem()),
            Err(problem) => failed(problem),
        }
    }

    /// A lane that is to be closed next is not set up.
    async fn forget_setup_unless_begun(&self, id: LaneId) {
        let lane = self.read(move |store| store.lane(id)).await.ok().flatten();
        if lane.is_some_and(|lane| lane.close_requested || lane.lifecycle != Lifecycle::Open) {
            let forgotten = self.lock_setups().remove(&id);
            if let Some(environment) = forgotten.as_ref().and_then(SettingUp::environment) {
                crate::launches::forget(&self.home, environment);
            }
        }
    }

    /// Undoes what a creation made before a crash, by what was recorded of it.
    pub(super) async fn undo_provisioning(&self, lane: LaneId, epoch: u64, request: Request) {
        let undone = self.undo(lane).await;
        let failure = match undone {
            Ok(left) if left.is_empty() => {
                "the daemon ended while it was being made; it was undone".to_owned()
            }
            Ok(left) => format!("the daemon ended while it was being made; {}", left.join("; ")),
            Err(problem) => format!(
                "the daemon ended while it was being made, and what was made of it could not be undone: {}",
                problem.message
            ),
        };
        let outcome = Provisioned::Failed { failure };
        self.report(Command::FinishProvisioning { lane, epoch, outcome }, request).await;
    }

    /// What is left is said.
    pub(super) async fn undo(&self, id: LaneId) -> Result<Vec<String>, Problem> {
        let repository = self.repository_of_lane(id).await?;
        let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
        let record = TreeRecord {
            lane: lane.name.to_string(),
            id: id.to_string(),
            path: lane.path.to_path_buf(),
            branch: lane.branch().unwrap_or_default().to_owned(),
            branch_is_new: lane.own_branch().is_some(),
            base_commit: lane.base_commit.parse().map_err(|error: laneway_git::NotACommitId| {
                Problem::new(ErrorKind::Failed, "bad_record", chain(&error))
            })?,
            upstream_remote: None,
        };
        let undone = blocking(move || repository.undo(&record)).await?;
        let undone = undone.map_err(|error| Problem::new(ErrorKind::Failed, "git_failed", chain(&error)))?;
        Ok(undone.left.iter().map(|left: &Left| chain(left)).collect())
    }

    /// What git knows of a lane's repository.
    pub(crate) async fn repository_of_lane(&self, lane: LaneId) -> Result<Arc<Repository>, Problem> {
        self.repository(&self.workspace_of_lane(lane).await?).await
    }

    pub(super) async fn workspace_of_lane(&self, lane: LaneId) -> Result<Workspace, Problem> {
        self.read(move |store| match store.lane(lane)? {
            Some(lane) => store.workspace(lane.workspace),
            None => Ok(None),
        })
        .await?
        .ok_or_else(|| not_found("lane", &lane))
    }

    /// The same under what its owner has set. Settings that cannot be read keep nobody from closing a lane: nothing in
    /// it counts as made again then.
    pub(super) async fn ruled_repository_of_lane(&self, lane: LaneId) -> Result<Arc<Repository>, Problem> {
        let workspace = self.workspace_of_lane(lane).await?;
        let repository = self.repository(&workspace).await?;
        let rules = match owners_settings(&repository).await {
            Ok(file) => file.config.rules(self.is_trusted(&workspace, &file).await?),
            Err(problem) => {
                tracing::warn!(%lane, problem = problem.message, "closed without its owner's settings");
                Rules { disposable: Vec::new(), ..Rules::default() }
            }
        };
        Ok(Arc::new(repository.with_rules(rules)))
    }

    /// Waits until a lane is neither being made nor being closed.
    pub(crate) async fn settled(&self, id: LaneId, limit: Duration) -> Result<Lane, Problem> {
        let about = move |subject: &laneway_core::event::Subject| subject.lane == Some(id);
        self.watch_for(limit, about, || async {
            let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
            Ok(match lane.lifecycle {
                Lifecycle::New | Lifecycle::Provisioning | Lifecycle::Cleaning => None,
                Lifecycle::Open if lane.close_requested => None,
                Lifecycle::Open | Lifecycle::Closed => Some(lane),
            })
        })
        .await
    }

    pub(super) async fn open_lanes(&self, workspace: &Workspace) -> Result<Vec<Lane>, Problem> {
        let id = workspace.id;
        self.read(move |store| store.lanes(Some(id), false)).await
    }

    /// The name of a new lane: as given, if no open lane has it; else from the branch or the pull request, or two
    /// words.
    fn name_for(&self, naming: &Naming<'_>, wanted: &Wanted) -> Result<Name, Problem> {
        if let Some(name) = &wanted.name {
            return open_name(name, naming.open);
        }
        let from_branch = wanted
            .branch
            .as_deref()
            .and_then(|branch| Name::from_free_text(naming.config.branch.lane_of(branch)));
        let from_number = wanted.pr.and_then(|number| format!("pr-{number}").parse().ok());
        let name = from_branch.or(from_number).unwrap_or_else(|| word_pair(u128::from(self.ids.next())));
        Ok(naming.first_free(&name))
    }

    pub(super) fn lock_being_made(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::HashMap<LaneId, BeingMade>> {
        self.being_made.lock().expect("no holder of this lock panics")
    }

    fn forget_being_made(&self, lane: LaneId) {
        let forgotten = self.lock_being_made().remove(&lane);
        let Some(made) = forgotten else { return };
        let of_first = made.first.as_deref().map(|first| first.environment.as_str());
        for environment in
            of_first.into_iter().chain(made.setting_up.as_ref().and_then(SettingUp::environment))
        {
            crate::launches::forget(&self.home, environment);
        }
    }
}

/// The name that was given for a lane, if no open lane has it. Decided again when the lane is recorded; asked
/// before, so that the name is named before its path or branch.
pub(super) fn open_name(name: &str, open: &[Lane]) -> Result<Name, Problem> {
    let name = parse_name(name)?;
    match open.iter().find(|lane| lane.name == name) {
        Some(lane) => Err(Refusal::LaneNameTaken { name, lifecycle: lane.lifecycle }.into_problem()),
        None => Ok(name),
    }
}

/// What comes of the setup of a new lane; its first worker comes after a setup that begins.
fn setup_of(
    file: WorkspaceFile,
    is_trusted: bool,
    wanted: &Wanted,
    first: Option<Box<NewWorker>>,
) -> (SetupStart, Option<SettingUp>, Option<Box<NewWorker>>) {
    let Some(plan) = plan_of(&file) else { return (SetupStart::Nothing, None, first) };
    let caller = wanted.launch.as_ref().or(wanted.caller.as_ref());
    let why = match caller {
        _ if wanted.no_setup => None,
        _ if !is_trusted => Some("laneway.toml is not trusted; lane trust, then lane setup NAME"),
        Some(caller) => {
            let setting_up = SettingUp::new(file.config, caller.clone(), first);
            return (SetupStart::Begin(plan), Some(setting_up), None);
        }
        None => Some("who made it did not say how its steps are to run; lane setup NAME"),
    };
    (SetupStart::Wait { why: why.map(|why| format!("not set up: {why}")) }, None, first)
}

/// What names of new lanes depend on.
pub(super) struct Naming<'a> {
    pub(super) config: &'a WorkspaceConfig,
    /// The main worktree.
    pub(super) root: &'a Path,
    /// The lanes of the repository that are not closed.
    pub(super) open: &'a [Lane],
}

impl Naming<'_> {
    /// This name, or the first after it that no open lane has, nor has had before it was renamed: its folder is called
    /// like that still.
    pub(super) fn first_free(&self, name: &Name) -> Name {
        name.first_free(|text| {
            let place = self.config.worktree.place(self.root, text);
            self.open.iter().any(|lane| lane.name.as_str() == text || lane.path.as_path() == place)
        })
    }
}

/// A name as it was given, or why it is none.
pub(crate) fn parse_name(name: &str) -> Result<Name, Problem> {
    name.parse().map_err(|error| {
        let shown: String = name.chars().take(80).collect();
        let problem =
            Problem::new(ErrorKind::Usage, "illegal_name", format!("{shown:?} is not a name: {error}"));
        match Name::from_free_text(name) {
            Some(possible) => problem.hint(format!("{possible} would be one")),
            None => problem,
        }
    })
}

pub(super) fn made_in_vain(lane: &Lane) -> Problem {
    let why = lane.failure.as_deref().unwrap_or("it is not said why");
    failed_by_words("not_made", why, format!("lane {} could not be made: {why}", lane.name))
}

/// A short readable name from random bits.
fn word_pair(bits: u128) -> Name {
    const FIRST: [&str; 32] = [
        "amber", "brave", "brisk", "calm", "clear", "crisp", "early", "fair", "fleet", "fresh", "gentle",
        "glad", "grand", "green", "keen", "kind", "light", "lively", "lucid", "mild", "neat", "noble",
        "plain", "proud", "quick", "quiet", "sharp", "smooth", "sober", "steady", "sunny", "warm",
    ];
    const SECOND: [&str; 32] = [
        "alder", "arch", "bay", "birch", "brook", "cedar", "cliff", "cove", "dale", "delta", "dune", "elm",
        "fern", "field", "fjord", "glen", "grove", "harbor", "heath", "hill", "lake", "maple", "marsh",
        "meadow", "oak", "pine", "ridge", "river", "shore", "spruce", "vale", "willow",
    ];
    let first = FIRST[(bits & 31) as usize];
    let second = SECOND[(bits >> 5 & 31) as usize];
    format!("{first}-{second}").parse().expect("two words and a hyphen are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_words_is_a_name() {
        for bits in 0..1024_u128 {
            word_pair(bits);
        }
    }
}
