//! Instances of configured programs: which one is meant, started, stopped, set and removed.
//!
//! A start is recorded, and then carried out by [`Engine::bring_up`], which makes what is missing of lane, state folder
//! and worker. A new daemon carries out again what was under way.

use std::os::unix::fs::DirBuilderExt;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{Launch, NewLane as WantedLane};
use laneway_core::command::{Command, NewLane, NewWorker, StartInstance, WorkerNaming};
use laneway_core::id::{InstanceId, LaneId, WorkspaceId};
use laneway_core::instance::{BadSetting, Instance, InstanceConfig, InstanceName, Start, is_live, name_of};
use laneway_core::lane::{LaneTree, Lifecycle};
use laneway_core::launch::TerminalSpec;
use laneway_core::os_text::OsText;
use laneway_core::worker::WorkerStatus;
use laneway_core::workspace::Workspace;
use laneway_store::{InstanceRow, Store};
use serde_json::{Map, Value};

use super::close::CloseAsked;
use super::create::Naming;
use super::{Engine, Request, blocking, not_found};
use crate::config::workspace::{FILE_NAME, Isolation, Program, WorkspaceConfig, WorkspaceFile};
use crate::problem::failed_in_words;

/// The terminal of an instance: nobody says how large it is to be.
const TERMINAL: TerminalSpec = TerminalSpec::Pty { columns: 120, rows: 40 };

/// How long a lane that is being made or closed is waited for.
const LANE_LIMIT: std::time::Duration = std::time::Duration::from_mins(30);

/// Which program a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one of this name.
    Named(String),
    /// The one that is meant where none is named.
    First,
}

/// A program, where it is.
#[derive(Debug, Clone)]
pub(crate) struct ProgramAsked {
    pub(crate) workspace: Workspace,
    pub(crate) name: String,
    /// As it is in `laneway.toml`, with all of that. None: it is not there any more, and has instances.
    pub(crate) configured: Option<(Program, WorkspaceFile)>,
}

impl Engine {
    /// The program that is meant from this folder; from none, the only one there is.
    pub(crate) async fn program(
        &self,
        cwd: &OsText,
        which: Which,
        request: Request,
    ) -> Result<ProgramAsked, Problem> {
        if !cwd.as_bytes().is_empty() {
            let workspace = match self.known_workspace(cwd).await? {
                Some(known) => known,
                None => self.workspace(cwd, request).await?,
            };
            return self
                .program_in(workspace, &which)
                .await?
                .map_err(|unreadable| unreadable.unwrap_or_else(|| no_such_program(&which)));
        }
        let mut found = Vec::new();
        for workspace in self.read(Store::workspaces).await? {
            found.extend(self.program_in(workspace, &which).await?.ok());
        }
        let roots: Vec<String> = found.iter().map(|found| found.workspace.root.shown()).collect();
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => {
                let message = format!("several repositories have such a program: {}", roots.join(", "));
                Err(Problem::new(ErrorKind::Ambiguous, "ambiguous", message)
                    .hint("name the repository in the header laneway-cwd")
                    .details(serde_json::json!({ "candidates": roots })))
            }
            (None, _) => Err(no_such_program(&which)),
        }
    }

    /// The programs of the repository that a folder is in: those of its `laneway.toml`, and those that it has instances
    /// of.
    pub(crate) async fn programs(
        &self,
        cwd: &OsText,
        request: Request,
    ) -> Result<Vec<(ProgramAsked, u64)>, Problem> {
        let workspace = match self.known_workspace(cwd).await? {
            Some(known) => known,
            None => self.workspace(cwd, request).await?,
        };
        let (_, file) = self.ruled_repository(&workspace).await?;
        let recorded = self.recorded_programs(workspace.id).await?;
        let gone = recorded.into_iter().filter(|name| !file.config.programs.contains_key(name));
        let names: Vec<String> = file.config.programs.keys().cloned().chain(gone).collect();
        let mut programs = Vec::new();
        for name in names {
            let (id, program) = (workspace.id, name.clone());
            let n_instances = self.read(move |store| store.instances(id, &program)).await?.len() as u64;
            let configured = file.config.programs.get(&name).map(|program| (program.clone(), file.clone()));
            if n_instances > 0 || configured.is_some() {
                let workspace = workspace.clone();
                programs.push((ProgramAsked { workspace, name, configured }, n_instances));
            }
        }
        Ok(programs)
    }

    /// The program in this repository; else why its settings cannot be read, if that is so.
    async fn program_in(
        &self,
        workspace: Workspace,
        which: &Which,
    ) -> Result<Result<ProgramAsked, Option<Problem>>, Problem> {
        let (file, unreadable) = match self.ruled_repository(&workspace).await {
            Ok((_, file)) => (Some(file), None),
            // What is recorded can be seen and stopped all the same.
            Err(problem) => (None, Some(problem)),
        };
        let recorded = self.recorded_programs(workspace.id).await?;
        let name = match which {
            Which::Named(name) => Some(name.clone()),
            Which::First => file
                .as_ref()
                .and_then(|file| file.first_program.clone())
                .or_else(|| recorded.iter().find(|name| *name == "orchestrator").cloned())
                .or_else(|| recorded.first().cloned()),
        };
        let Some(name) = name else { return Ok(Err(unreadable)) };
        let configured = file.and_then(|file| Some((file.config.programs.get(&name)?.clone(), file)));
        if configured.is_none() && !recorded.contains(&name) {
            return Ok(Err(unreadable));
        }
        Ok(Ok(ProgramAsked { workspace, name, configured }))
    }

    async fn recorded_programs(&self, workspace: WorkspaceId) -> Result<Vec<String>, Problem> {
        let recorded = self.read(Store::programs_with_instances).await?;
        let own = recorded.into_iter().filter(|(its, _)| *its == workspace);
        Ok(own.map(|(_, program)| program).collect())
    }

    /// The instance that is called so, if there is one.
    pub(crate) async fn instance_row(
        &self,
        of: &ProgramAsked,
        name: &InstanceName,
    ) -> Result<Option<InstanceRow>, Problem> {
        let (workspace, program, name) = (of.workspace.id, of.name.clone(), name.clone());
        self.read(move |store| store.instance_named(workspace, &program, &name)).await
    }

    /// Has an instance start; it is made if there is none. What it needs is made after this.
    pub(crate) async fn start_instance(
        &self,
        of: &ProgramAsked,
        name: &InstanceName,
        start: Start,
        request: Request,
    ) -> Result<(), Problem> {
        let Some((program, file)) = &of.configured else { return Err(not_configured(&of.name)) };
        start.check().map_err(|error| bad_setting(&error))?;
        self.refuse_untrusted(&of.workspace, file, &format!("the program {}", of.name)).await?;
        if program.channel.is_none() && start != Start::default() {
            let text =
                format!("the program {} has no channel over which it could be told what to do", of.name);
            return Err(Problem::new(ErrorKind::Usage, "message_without_channel", text).hint(format!(
                "channel = \"jsonl\" below [programs.{}] in {FILE_NAME} gives it one",
                of.name
            )));
        }
        let id = InstanceId::from_ulid(self.ids.next());
        let (workspace, program) = (of.workspace.id, of.name.clone());
        let start = StartInstance { id, workspace, program, name: name.clone(), start };
        self.submit(Command::StartInstance(start), request).await?;
        Ok(())
    }

    /// Stops an instance, and waits until nothing of its run is alive.
    pub(crate) async fn stop_instance(&self, instance: InstanceId, request: Request) -> Result<(), Problem> {
        self.submit(Command::StopInstance { instance }, request).await?;
        let row = self.read(move |store| store.instance(instance)).await?;
        // It may have got its worker just before that.
        let worker = row.and_then(|row| row.worker);
        if let Some(worker) = worker {
            self.stop_worker(worker.id, None, request).await?;
        }
        Ok(())
    }

    /// Sets an instance to this, beside what it is set to, and tells its program if it runs; gives all of it.
    pub(crate) async fn configure_instance(
        &self,
        row: &InstanceRow,
        config: InstanceConfig,
        request: Request,
    ) -> Result<InstanceConfig, Problem> {
        config.check().map_err(|error| bad_setting(&error))?;
        let (id, all) = (row.instance.id, row.instance.config.with(&config));
        self.submit(Command::ConfigureInstance { instance: id, config: config.clone() }, request).await?;
        let runs = config != InstanceConfig::default()
            && row.latest.as_ref().is_some_and(|run| run.state.process().is_some() && run.state.is_live());
        if let Some(worker) = row.worker.as_ref().filter(|worker| runs && worker.channel.is_some()) {
            let mut message = match serde_json::to_value(&config) {
                Ok(Value::Object(message)) => message,
                Ok(_) | Err(_) => Map::new(),
            };
            message.insert("type".to_owned(), "config".into());
            match self.message_worker(worker.id, message).await {
                Ok(()) => {}
                // It has ended meanwhile: the next run is told.
                Err(problem) if problem.code == "not_running" => {}
                Err(mut problem) => {
                    problem.message = format!("it is set so from its next start on; now {}", problem.message);
                    return Err(problem);
                }
            }
        }
        Ok(all)
    }

    /// Forgets an instance that does not run, with its state folder; says what became of its lane. Its lane is closed
    /// if nothing would be lost and nothing else runs in it.
    pub(crate) async fn remove_instance(
        &self,
        instance: Instance,
        request: Request,
    ) -> Result<String, Problem> {
        let id = instance.id;
        self.submit(Command::RemoveInstance { instance: id }, request).await?;
        let folder = self.home.instance(id);
        let removed = blocking(move || std::fs::remove_dir_all(folder)).await?;
        let mut message = format!("Instance {} removed", instance.name);
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                message = format!("{message}; its state folder is left: {error}");
            }
            Ok(()) | Err(_) => {}
        }
        let Some(id) = instance.lane else { return Ok(message) };
        let lane = self.read(move |store| store.lane(id)).await?;
        let own = |lane: &laneway_core::lane::Lane| lane.lifecycle == Lifecycle::Open && !lane.is_adopted();
        let Some(lane) = lane.filter(own) else { return Ok(message) };
        let by = self.user_of(request.actor).await?;
        Ok(
            match self
                .close_lane(id, CloseAsked { by, if_quiet: true, ..CloseAsked::default() }, request)
                .await
            {
                Ok(_) => message,
                Err(problem) => format!("{message}; lane {} is kept: {}", lane.name, problem.message),
            },
        )
    }

    /// What was under way when the daemon ended goes on.
    pub(super) async fn bring_up_again(&self, request: Request) {
        for Instance { id, epoch, .. } in self.read(Store::starting_instances).await.unwrap_or_default() {
            let engine = self.clone();
            self.in_background(async move { engine.bring_up(id, epoch, request).await });
        }
    }

    /// The effect: makes what an instance needs, and starts it; or records why that came to nothing.
    pub(super) async fn bring_up(&self, instance: InstanceId, epoch: u64, request: Request) {
        if let Err(problem) = self.try_bring_up(instance, epoch, request).await {
            let why = match problem.hint {
                Some(hint) => format!("{} ({hint})", problem.message),
                None => problem.message,
            };
            self.report(Command::FailInstance { instance, epoch, why }, request).await;
        }
    }

    async fn try_bring_up(&self, id: InstanceId, epoch: u64, request: Request) -> Result<(), Problem> {
        let row = self.read(move |store| store.instance(id)).await?;
        let Some(row) = row.filter(|row| row.instance.starting && row.instance.epoch == epoch) else {
            return Ok(());
        };
        let InstanceRow { instance, worker, .. } = row;
        let of = instance.workspace;
        let workspace = self.read(move |store| store.workspace(of)).await?;
        let workspace = workspace.ok_or_else(|| not_found("workspace", &of))?;
        let (_, file) = self.ruled_repository(&workspace).await?;
        let program = file.config.programs.get(&instance.program);
        let program = program.ok_or_else(|| not_configured(&instance.program))?;
        self.refuse_untrusted(&workspace, &file, &format!("the program {}", instance.program)).await?;
        let folder = self.home.instance(id);
        let made = blocking(move || std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder));
        made.await?.map_err(|error| {
            let message = format!("its state folder cannot be made: {error}");
            failed_in_words("no_state_folder", &error, message)
        })?;
        let launch = launch_of(program, &instance);
        let lane =
            self.lane_of(&instance, &workspace, (program.isolation, &file.config), &launch, request).await?;
        let naming = WorkerNaming::FirstFree(name_of(&instance.program, &instance.name));
        let new = self.new_worker(&launch, naming).await?;
        let environment = new.environment.clone();
        let new = NewWorker { instance: Some((id, epoch)), ..new };
        let asked = match worker.filter(|worker| worker.lane == lane) {
            Some(worker) => Command::RenewWorker { worker: worker.id, renewed: Box::new(new) },
            None => Command::RunWorker { lane, worker: new },
        };
        if let Err(problem) = self.submit(asked, request).await {
            crate::launches::forget(&self.home, &environment);
            return Err(problem);
        }
        Ok(())
    }

    /// The open lane that an instance works in: made, if it has none.
    async fn lane_of(
        &self,
        instance: &Instance,
        workspace: &Workspace,
        (isolation, config): (Isolation, &WorkspaceConfig),
        launch: &Launch,
        request: Request,
    ) -> Result<LaneId, Problem> {
        let is_shared = isolation == Isolation::None;
        if let Some(id) = instance.lane
            && self.read(move |store| store.lane(id)).await?.is_some()
        {
            let lane = self.settled(id, LANE_LIMIT).await?;
            if lane.lifecycle == Lifecycle::Open && is_shared == (lane.path == workspace.root) {
                return Ok(id);
            }
        }
        let (instance_id, epoch) = (instance.id, instance.epoch);
        let place = |lane| Command::PlaceInstance { instance: instance_id, epoch, lane };
        if is_shared {
            let lane = self.lane_of_main_worktree(workspace, config, request).await?;
            self.submit(place(lane), request).await?;
            return Ok(lane);
        }
        let id = LaneId::from_ulid(self.ids.next());
        self.submit(place(id), request).await?;
        let open = self.open_lanes(workspace).await?;
        let naming = Naming { config, root: workspace.root.as_path(), open: &open };
        let name = naming.first_free(&name_of(&instance.program, &instance.name));
        let wanted = WantedLane {
            name: Some(name.to_string()),
            base: None,
            branch: None,
            pr: None,
            launch: None,
            no_setup: false,
            caller: Some(launch.clone()),
        };
        Ok(self.new_lane_as(id, &workspace.root, wanted, &None, request).await?.lane)
    }

    /// The lane that is the main worktree itself, for instances that work in it. Nothing of it is ever taken away.
    async fn lane_of_main_worktree(
        &self,
        workspace: &Workspace,
        config: &WorkspaceConfig,
        request: Request,
    ) -> Result<LaneId, Problem> {
        let open = self.open_lanes(workspace).await?;
        if let Some(lane) = open.iter().find(|lane| lane.path == workspace.root) {
            return Ok(lane.id);
        }
        let repository = self.repository(workspace).await?;
        if repository.is_bare() {
            let message = "a bare repository has no main worktree, in which an instance could work";
            return Err(Problem::new(ErrorKind::Refused, "bare_repository", message)
                .hint(format!("isolation = \"lane\" in {FILE_NAME}")));
        }
        let root = workspace.root.to_path_buf();
        let found = blocking(move || repository.resolve_base(&root, None, &[])).await?;
        let base = found.map_err(crate::problem::IntoProblem::into_problem)?;
        let naming = Naming { config, root: workspace.root.as_path(), open: &open };
        let lane = NewLane {
            restored_from: None,
            id: LaneId::from_ulid(self.ids.next()),
            host: self.store.host(),
            workspace: workspace.id,
            name: naming.first_free(&"main-worktree".parse().expect("it is a name")),
            tree: LaneTree::Adopted { branch: Some(base.base_ref.clone()) },
            base_ref: base.base_ref,
            base_commit: base.commit.as_str().to_owned(),
            path: workspace.root.clone(),
        };
        let id = lane.id;
        let asked = Command::CreateLane { lane, max_lanes: config.max_lanes };
        match self.submit(asked, request).await {
            Ok(_) => Ok(id),
            // Another instance was faster.
            Err(problem) if problem.code == "path_in_use" || problem.code == "lane_name_taken" => {
                let open = self.open_lanes(workspace).await?;
                let other = open.iter().find(|lane| lane.path == workspace.root);
                other.map(|lane| lane.id).ok_or(problem)
            }
            Err(problem) => Err(problem),
        }
    }
}

/// What an instance is started with: its program, as the daemon itself stands.
fn launch_of(program: &Program, instance: &Instance) -> Launch {
    Launch {
        argv: program.command.iter().map(|word| OsText::from(word.as_str())).collect(),
        environment: std::env::vars_os().map(|(name, value)| (name.into(), value.into())).collect(),
        umask: own_umask(),
        limits: Vec::new(),
        terminal: TERMINAL,
        record: false,
        restart: Some(program.restart),
        done_codes: program.done_codes.clone(),
        channel: program.channel,
        start_message: program.channel.map(|_| instance.start.message()),
        run_limits: program.limits(),
    }
}

/// Read from the kernel's report, since it can only be asked by changing it.
fn own_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

fn bad_setting(error: &BadSetting) -> Problem {
    Problem::new(ErrorKind::Usage, "bad_setting", error.to_string())
        .details(serde_json::json!({ "field": error.field }))
}

fn not_configured(program: &str) -> Problem {
    let message = format!("{program} is in {FILE_NAME} no more: its instances can be stopped and removed");
    Problem::new(ErrorKind::Refused, "not_configured", message)
        .hint(format!("put [programs.{program}] back into {FILE_NAME}"))
}

fn no_such_program(which: &Which) -> Problem {
    let message = match which {
        Which::Named(name) => format!("there is no program {name} in {FILE_NAME}"),
        Which::First => format!("there is no program in {FILE_NAME}"),
    };
    Problem::new(ErrorKind::NotFound, "no_such_program", message)
        .hint(format!("[programs.NAME] with command = [\"program\"] in {FILE_NAME} makes one"))
}

/// Whether something of an instance runs, or will by itself.
pub(crate) const fn runs(status: WorkerStatus) -> bool {
    is_live(status)
}
