//! What must hold when all is quiet: recorded and observed are the same, nothing is left over, nothing runs twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::operations::parent;
use super::random::FAILING;
use super::soak::program::COUNT;
use super::world::{PaneSeen, World};
use crate::bench::measure::processes;

/// How long what is just ending may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// What workers are called whose program has started another one.
pub(crate) const PAIR: &str = "pair";

/// How long a holder waits for who would read a task's output, and more.
const LINGERING: Duration = Duration::from_secs(15);

/// Brings the world to rest under a daemon without faults, and says what does not hold. `trees`: the lanes have theirs.
pub(crate) fn after_settling(world: &World, trees: bool) -> Result<Vec<String>> {
    after_settling_since(0, world, trees)
}

/// The same where somebody else looks at events, and has done so up to this number.
pub(crate) fn after_settling_since(seq: u64, world: &World, trees: bool) -> Result<Vec<String>> {
    // The first one reconciles; what it does in the background is done when it has stopped, but for programs that are
    // just ending by themselves: tasks that nobody waits for.
    for worker in &list(&world.json(&["ps"])?, "workers") {
        if worker["name"].is_null() || worker["status"] == "stopping" {
            // One that has ended meanwhile is not there any more.
            drop(world.try_lane(&["wait", text(worker, "id"), "--for", "exit", "--timeout", "30s"])?);
        }
    }
    wait_for_restarts(world)?;
    world.wait_for_pool()?;
    let workers = list(&world.json(&["ps"])?, "workers");
    world.stop_the_daemon()?;
    // A holder may stay for a while for somebody who would read the output of a task, and has gone.
    let live: Vec<&str> =
        workers.iter().filter(|worker| !worker["pid"].is_null()).map(|worker| text(worker, "run")).collect();
    for (pid, called) in processes::belonging_to(world.folder()) {
        let is_done = run_of(pid, &called).is_some_and(|run| !live.contains(&run.as_str()));
        if let Some(process) = processes::open(pid).filter(|_| called.contains("lane-holder") && is_done) {
            processes::ends_within(&process, LINGERING)?;
        }
    }
    world.lane(&["daemon", "start"])?;
    world.wait_for_fresh_pool()?;
    let mut broken = Vec::new();
    let events = world.events_after(seq)?;
    let last = events.iter().rev().find(|event| event["event"] == "reconcile.completed");
    let counts = last.map(|event| event["data"].clone()).unwrap_or_default();
    if counts["done"] != 0 || counts["reported"] != 0 {
        broken.push(format!("a second start still found something to do: {counts}"));
    }
    broken.extend(gaps_after(seq, &events));
    if seq == 0 {
        broken.extend(miscounts(&events));
    }
    let observed = Observed::look(world)?;
    broken.extend(lanes(world, &observed, trees)?);
    broken.extend(kept(world, &observed)?);
    broken.extend(runs(world, &observed)?);
    broken.extend(panes(world, &observed)?);
    broken.extend(leftovers(world, &observed)?);
    Ok(broken)
}

/// Waits until no worker is to be started again by itself.
pub(crate) fn wait_for_restarts(world: &World) -> Result<()> {
    let restarts = |worker: &&Value| {
        let fails = text(worker, "name").starts_with(FAILING) && worker["status"] == "running";
        fails || worker["status"] == "backoff" || worker["status"] == "starting"
    };
    loop {
        let workers = list(&world.json(&["ps"])?, "workers");
        let Some(worker) = workers.iter().find(restarts) else { return Ok(()) };
        let id = text(worker, "id");
        let mut wait =
            vec!["wait", id, "--for", "state=failed", "--for", "state=stopped", "--timeout", "45s"];
        if !text(worker, "name").starts_with(FAILING) {
            wait.extend(["--for", "state=running"]);
        }
        let said = world.try_lane(&wait)?;
        ensure!(said.status.success(), "worker {id} does not come to rest: {}", said.err.trim());
    }
}

/// What is recorded, and what git says.
struct Observed {
    lanes: Vec<Value>,
    /// Named workers and live tasks of the lanes that are not closed.
    workers: Vec<Value>,
    worktrees: Vec<Worktree>,
    branches: BTreeSet<String>,
}

#[derive(Default)]
struct Worktree {
    path: PathBuf,
    branch: String,
    locked: String,
}

impl Observed {
    fn look(world: &World) -> Result<Self> {
        let said = world.git(&["for-each-ref", "--format=%(refname)", "refs/heads"])?;
        Ok(Self {
            lanes: list(&world.json(&["ls", "--closed"])?, "lanes"),
            workers: list(&world.json(&["ps"])?, "workers"),
            worktrees: worktrees(&world.git(&["worktree", "list", "--porcelain"])?),
            branches: said.lines().map(str::to_owned).collect(),
        })
    }

    fn open(&self) -> impl Iterator<Item = &Value> {
        self.lanes.iter().filter(|lane| lane["status"] != "closed")
    }

    fn closed(&self) -> impl Iterator<Item = &Value> {
        self.lanes.iter().filter(|lane| lane["status"] == "closed")
    }
}

fn worktrees(said: &str) -> Vec<Worktree> {
    let mut found: Vec<Worktree> = Vec::new();
    for line in said.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match (key, found.last_mut()) {
            ("worktree", _) => found.push(Worktree { path: value.into(), ..Worktree::default() }),
            ("branch", Some(last)) => value.clone_into(&mut last.branch),
            ("locked", Some(last)) => value.clone_into(&mut last.locked),
            _ => {}
        }
    }
    found
}

fn list(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().cloned().unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

pub(crate) fn gaps(events: &[Value]) -> Option<String> {
    gaps_after(0, events)
}

fn gaps_after(seq: u64, events: &[Value]) -> Option<String> {
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    let is_whole = numbers.iter().copied().eq(seq + 1..=seq + numbers.len() as u64);
    (!is_whole).then(|| format!("the numbers of events have a gap: {numbers:?}"))
}

/// What a program has said is told once and in order: which of its numbers do not follow on those before.
fn miscounts(events: &[Value]) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for event in events.iter().filter(|event| event["data"]["name"] == COUNT) {
        let (run, number) = (text(event, "run"), event["data"]["data"]["n"].as_u64().unwrap_or(0));
        let before = counts.insert(run, number).unwrap_or(0);
        if number != before + 1 {
            broken.push(format!("run {run} said {number} after {before}: event {}", event["seq"]));
        }
    }
    broken
}

/// Each lane is there with all that belongs to it, or closed with nothing left.
fn lanes(world: &World, observed: &Observed, trees: bool) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut known: BTreeSet<PathBuf> = BTreeSet::from([world.repository()]);
    for lane in observed.open() {
        let (name, path, branch) = (text(lane, "name"), Path::new(text(lane, "path")), text(lane, "branch"));
        if !["ready", "running", "shared"].contains(&text(lane, "status")) {
            broken.push(format!("lane {name} is {} for good", text(lane, "status")));
        }
        known.insert(path.to_owned());
        if lane["adopted"] == true || !trees {
            continue;
        }
        let full = format!("refs/heads/{branch}");
        match observed.worktrees.iter().find(|worktree| worktree.path == path) {
            None => broken.push(format!("lane {name} has no worktree that git knows")),
            Some(worktree) => {
                if worktree.branch != full {
                    broken.push(format!("lane {name} is on {:?} and not on {full}", worktree.branch));
                }
                if worktree.locked != format!("laneway lane {name} {}", text(lane, "id")) {
                    broken.push(format!("git's entry of lane {name} says {:?}", worktree.locked));
                }
            }
        }
        if !path.join(".git").is_file() {
            broken.push(format!("lane {name} has no worktree at {}", path.display()));
        } else if let Err(error) = world.git_in(path, &["status", "--porcelain"]) {
            broken.push(format!("lane {name}: {error:#}"));
        }
    }
    for lane in observed.closed() {
        let (name, path, branch) = (text(lane, "name"), Path::new(text(lane, "path")), text(lane, "branch"));
        if lane["adopted"] == true {
            known.insert(path.to_owned());
            continue;
        }
        let full = format!("refs/heads/{branch}");
        if !known.contains(path) && path.exists() {
            broken.push(format!("lane {name} is closed and {} is there", path.display()));
        }
        let is_in_use = observed.open().any(|open| text(open, "branch") == branch);
        if lane["branch_is_ours"] == true && !is_in_use && observed.branches.contains(&full) {
            broken.push(format!("lane {name} is closed and its branch {branch} is there"));
        }
    }
    let (pooled, others): (Vec<&Worktree>, Vec<&Worktree>) =
        observed.worktrees.iter().partition(|worktree| worktree.locked.starts_with("laneway pool "));
    if pooled.len() != world.pool_wanted().unwrap_or(0) {
        broken.push(format!("there are {} trees in the pool", pooled.len()));
    }
    for worktree in others {
        if !known.contains(&worktree.path) && !worktree.path.starts_with(world.own()) {
            broken.push(format!("a worktree belongs to no lane: {}", worktree.path.display()));
        }
    }
    let lane_branches = observed.branches.iter().filter_map(|full| full.strip_prefix("refs/heads/lane/"));
    for branch in lane_branches {
        let full = format!("lane/{branch}");
        if !observed.lanes.iter().any(|lane| text(lane, "branch") == full) {
            broken.push(format!("a branch belongs to no lane: {full}"));
        }
    }
    if !world.git(&["status", "--porcelain"])?.is_empty() {
        broken.push("the main checkout has changes".to_owned());
    }
    if let Err(error) = world.git(&["fsck", "--connectivity-only", "--no-dangling"]) {
        broken.push(format!("{error:#}"));
    }
    Ok(broken)
}

/// What is kept is of closed lanes, and the rest of the trash is gone.
fn kept(world: &World, observed: &Observed) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let closed: BTreeSet<&str> = observed.closed().map(|lane| text(lane, "id")).collect();
    let trash = world.repository().join(".lanes/.trash");
    for entry in fs::read_dir(&trash).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ".git" {
            continue;
        }
        if !closed.contains(name.as_str()) {
            broken.push(format!("the trash has {name}, which is no closed lane"));
        } else if !entry.path().join("git").is_dir() || !entry.path().join("tree").is_dir() {
            broken.push(format!("{name} in the trash is not what is kept"));
        }
    }
    let pool = world.repository().join(".lanes/.pool");
    let n_pooled = fs::read_dir(&pool).map_or(0, Iterator::count);
    if n_pooled != world.pool_wanted().unwrap_or(0) {
        broken.push(format!("there are {n_pooled} things in {}", pool.display()));
    }
    let refs = world.git(&["for-each-ref", "--format=%(refname)", "refs/laneway"])?;
    for name in refs.lines() {
        let id = name.strip_prefix("refs/laneway/rescue/").and_then(|rest| rest.split('/').next());
        if id.is_none_or(|id| !closed.contains(id)) {
            broken.push(format!("{name} is of no closed lane"));
        }
    }
    Ok(broken)
}

/// What is recorded as running runs, once, and nothing else does.
fn runs(world: &World, observed: &Observed) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let daemon = world.daemon_pid()?;
    let server = world.panes()?.map(|(server, _)| server);
    let mut expected: BTreeMap<String, (u64, u32)> = BTreeMap::new();
    for worker in &observed.workers {
        match (worker["pid"].as_u64(), text(worker, "status")) {
            (Some(pid), _) => {
                let n_programs = if text(worker, "name").starts_with(PAIR) { 2 } else { 1 };
                expected.insert(text(worker, "run").to_owned(), (pid, n_programs));
            }
            (None, "starting" | "running" | "stopping") => {
                broken.push(format!("worker {} is {} for good", text(worker, "id"), text(worker, "status")));
            }
            (None, _) => {}
        }
    }
    let mut n_holders: BTreeMap<String, u32> = BTreeMap::new();
    let mut n_programs: BTreeMap<String, u32> = BTreeMap::new();
    for (pid, called) in processes::belonging_to(world.folder()) {
        if Some(pid) == daemon {
            continue;
        }
        let run = run_of(pid, &called);
        if let Some(run) = run.as_ref().filter(|run| expected.contains_key(*run)) {
            let counted = if called.contains("lane-holder") { &mut n_holders } else { &mut n_programs };
            *counted.entry(run.clone()).or_default() += 1;
            continue;
        }
        if run.is_none() && is_of_tmux(pid, &called, server) {
            continue;
        }
        if let Some(process) = processes::open(pid)
            && !processes::ends_within(&process, ENDING)?
        {
            let of = run.unwrap_or_else(|| "nothing".to_owned());
            broken.push(format!("process {pid} belongs to no live run ({of}): {called}"));
        }
    }
    for (run, (pid, n)) in &expected {
        if n_holders.get(run) != Some(&1) || n_programs.get(run) != Some(n) {
            broken.push(format!(
                "run {run} (process {pid}) has {} holders and {} programs",
                n_holders.get(run).unwrap_or(&0),
                n_programs.get(run).unwrap_or(&0)
            ));
        }
    }
    for entry in fs::read_dir(world.home().join("runs")).context("the folder of runs")?.flatten() {
        let run = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join("sock").exists() != expected.contains_key(&run) {
            broken.push(format!("the socket of run {run} is not as it is recorded"));
        }
    }
    Ok(broken)
}

/// Each pane that is ours is recorded, and each that is recorded is there; a person's are as they were.
fn panes(world: &World, observed: &Observed) -> Result<Vec<String>> {
    let Some((_, panes)) = world.panes()? else { return Ok(Vec::new()) };
    let mut broken = Vec::new();
    let mut recorded: BTreeSet<String> = BTreeSet::new();
    for worker in &observed.workers {
        let further = list(worker, "panes");
        let all = std::iter::once(worker).chain(&further).map(|pane| text(pane, "pane_id").to_owned());
        recorded.extend(all.filter(|id| !id.is_empty()));
    }
    let mut n_keeping = 0;
    for PaneSeen { place, id, tag } in &panes {
        match (place.as_str(), tag.is_empty()) {
            (_, false) if !recorded.remove(id) => {
                broken.push(format!("the pane {id} at {place} is of {tag}, and not recorded"));
            }
            (_, false) | ("people:theirs", true) => {}
            // It keeps the session of the workers.
            ("laneway:laneway", true) if n_keeping == 0 => n_keeping += 1,
            (_, true) => broken.push(format!("the pane {id} at {place} is nobody's")),
        }
    }
    broken.extend(recorded.into_iter().map(|id| format!("the pane {id} is recorded, and not there")));
    if !panes.iter().any(|pane| pane.place == "people:theirs") {
        broken.push("a person's pane is gone".to_owned());
    }
    Ok(broken)
}

/// Whether a process is a tmux, or was started by the server in a pane for no run: then its pane tells.
fn is_of_tmux(pid: u32, called: &str, server: Option<u32>) -> bool {
    let program = called.split(' ').next().unwrap_or_default();
    let above = std::iter::successors(Some(pid), |pid| parent(*pid).ok().filter(|above| *above > 1));
    program.ends_with("tmux") || above.into_iter().any(|above| Some(above) == server)
}

/// The run that a process belongs to: a holder's is in its arguments, a program's in its environment.
pub(crate) fn run_of(pid: u32, called: &str) -> Option<String> {
    if called.contains("lane-holder run ") {
        let folder = called.split(' ').skip_while(|word| *word != "--dir").nth(1)?;
        return folder.rsplit('/').next().map(str::to_owned);
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"LANEWAY_RUN="))
        .map(|run| String::from_utf8_lossy(run).into_owned())
}

/// Locks and half-made files that are left in git's folder.
pub(crate) fn left_by_git(world: &World) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut folders = vec![world.repository().join(".git")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if name != "objects" {
                    folders.push(entry.path());
                }
                continue;
            }
            let is_lock = Path::new(&name).extension().is_some_and(|end| end == "lock");
            let is_half = name.contains("laneway-new") || name.contains("laneway-undo");
            if is_half || (is_lock && name != "laneway.lock") {
                broken.push(format!("{} is left", entry.path().display()));
            }
        }
    }
    Ok(broken)
}

/// Processes that are left without a daemon, when nothing is to run.
pub(crate) fn processes_left(world: &World) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for (pid, called) in processes::belonging_to(world.folder()) {
        if let Some(process) = processes::open(pid)
            && !processes::ends_within(&process, LINGERING)?
        {
            broken.push(format!("process {pid} is left: {called}"));
        }
    }
    Ok(broken)
}

/// Nothing that was only needed on the way is left.
fn leftovers(world: &World, observed: &Observed) -> Result<Vec<String>> {
    let mut broken = left_by_git(world)?;
    let n_environments = fs::read_dir(world.home().join("launch"))?.count();
    if n_environments != observed.workers.len() {
        broken.push(format!("{n_environments} environments of {} workers", observed.workers.len()));
    }
    if fs::read_dir(world.home().join("scratch"))?.next().is_some() {
        broken.push("something is left in scratch".to_owned());
    }
    Ok(broken)
}
