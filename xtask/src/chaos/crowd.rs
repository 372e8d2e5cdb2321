//! Many lanes at once in one repository, of two daemons that know nothing of each other, beside a person who uses git
//! there. All of them are there at the same time; then both daemons are killed, and everybody goes on.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::random::{Account, Person};
use super::world::World;
use super::{Stage, invariants};
use crate::bench::measure::processes;
use crate::shell;

/// How long one command may take while as many others run as there are lanes.
const LIMIT: Duration = Duration::from_mins(5);

/// One lane that is to be lived through.
struct Lane {
    /// Whose daemon has it: 0 or 1.
    home: usize,
    name: String,
}

/// Lives through so many lanes at once.
pub(super) fn run(stage: &Stage, n_lanes: usize) -> Result<ExitCode> {
    let n_of_each = n_lanes / 2;
    let n_lanes = 2 * n_of_each;
    shell::heading(&format!("{n_lanes} lanes at once, of two daemons, beside a person"));
    let began = Instant::now();
    let one = World::new(stage, "crowd-1.w")?;
    let worlds = [one.beside("crowd-2.w")?, one];
    let [two, one] = &worlds;
    fs::create_dir(one.own())?;
    let account = Account::new(one)?;
    let mut person = Person::with_git_only(n_lanes as u64);
    let lanes: Vec<Lane> =
        (0..n_lanes).map(|n| Lane { home: n % 2, name: format!("{}{n}", ["a", "b"][n % 2]) }).collect();
    let (all_are_there, all_go_on) = (Barrier::new(n_lanes + 1), Barrier::new(n_lanes + 1));
    let others_are_done = AtomicBool::new(false);
    let lived = std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut went = person.go_on(1, one, &account);
            while went.is_ok() && !others_are_done.load(Ordering::Acquire) {
                went = person.go_on(1, one, &account);
            }
            went
        });
        let living: Vec<_> = lanes
            .iter()
            .map(|lane| {
                let (world, account) = (&worlds[lane.home], &account);
                let barriers = [&all_are_there, &all_go_on];
                scope.spawn(move || live(world, account, &lane.name, barriers))
            })
            .collect();
        all_are_there.wait();
        let there = began.elapsed();
        let killed = worlds.iter().try_for_each(|world| all_run(world, n_of_each).and_then(|()| kill(world)));
        all_go_on.wait();
        let commits: Vec<Result<String>> =
            living.into_iter().map(|one| one.join().expect("nobody panics")).collect();
        others_are_done.store(true, Ordering::Release);
        beside.join().expect("nobody panics")?;
        killed?;
        let commits = commits.into_iter().collect::<Result<Vec<String>>>()?;
        anyhow::Ok((there, commits))
    });
    account.print();
    let (there, commits) = lived?;
    shell::remark(&format!("all were there after {:.0} s", there.as_secs_f64()));
    let mut broken = person.misses(one)?;
    for world in [one, two] {
        broken.extend(left_of(world, n_of_each)?);
    }
    broken.extend(left_in_the_repository(one, &person)?);
    broken.extend(not_kept(one, &commits)?);
    for what in &broken {
        anstream::println!("does not hold: {what}");
    }
    let seconds = began.elapsed().as_secs_f64();
    if !broken.is_empty() {
        let (folder, repository) = (one.folder().display(), one.repository());
        shell::heading(&format!(
            "{} things do not hold; see {folder} and {}",
            broken.len(),
            repository.display()
        ));
        return Ok(ExitCode::FAILURE);
    }
    shell::heading(&format!("{n_lanes} lanes at once, and everything holds; {seconds:.0} s"));
    let [two, one] = worlds;
    two.remove()?;
    one.remove()?;
    Ok(ExitCode::SUCCESS)
}

/// A lane from its making to its end: it runs something, commits, and is closed with one more file in it. Gives its
/// commit.
fn live(world: &World, account: &Account, name: &str, barriers: [&Barrier; 2]) -> Result<String> {
    let lane = |kind: &'static str, arguments: &[&str], expected: i32| {
        let said = world.lane_within(LIMIT, arguments)?;
        let code = said.status.code().unwrap_or(-1);
        account.note(name, kind, &arguments.join(" "), code, &said.err)?;
        ensure!(code == expected, "lane {arguments:?} ended with {}: {}", said.status, said.err.trim());
        anyhow::Ok(String::from_utf8_lossy(&said.out).trim().to_owned())
    };
    let made = lane("new with program", &["new", name, "--", "sleep", "1000"], 0);
    // Also where it could not be made, since the others wait.
    for barrier in barriers {
        barrier.wait();
    }
    made?;
    let commit =
        "echo work > work && git add work && git commit -qm work && echo more > more && git rev-parse HEAD";
    let commit = lane("exec", &["exec", name, "--", "sh", "-c", commit], 0)?;
    lane("close that is refused", &["close", name], 5)?;
    lane("close --discard", &["close", name, "--discard"], 0)?;
    Ok(commit)
}

/// Each lane is there, and its program runs.
fn all_run(world: &World, n_lanes: usize) -> Result<()> {
    let lanes = world.json(&["ls"])?;
    let lanes = lanes["lanes"].as_array().cloned().unwrap_or_default();
    let n_running = lanes.iter().filter(|lane| lane["status"] == "running").count();
    ensure!(n_running == n_lanes, "{n_running} of {n_lanes} lanes run");
    Ok(())
}

fn kill(world: &World) -> Result<()> {
    let pid = world.daemon_pid()?.context("a daemon runs")?;
    let daemon = processes::open(pid).context("a daemon that answers is there")?;
    processes::kill(&daemon);
    ensure!(processes::ends_within(&daemon, LIMIT)?, "a killed daemon does not end");
    Ok(())
}

/// What of a home is not as it is once all its lanes are closed.
fn left_of(world: &World, n_lanes: usize) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let lanes = world.json(&["ls", "--closed"])?;
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for lane in lanes["lanes"].as_array().into_iter().flatten() {
        *statuses.entry(lane["status"].to_string()).or_default() += 1;
    }
    if statuses != BTreeMap::from([("\"closed\"".to_owned(), n_lanes)]) {
        broken.push(format!("the lanes are {statuses:?}"));
    }
    let rescues = world.json(&["rescued"])?;
    let n_rescues = rescues["rescues"].as_array().map_or(0, Vec::len);
    if n_rescues != n_lanes {
        broken.push(format!("{n_rescues} of {n_lanes} are kept"));
    }
    broken.extend(invariants::gaps(&world.events()?));
    world.stop_the_daemon()?;
    let began = Instant::now();
    world.lane(&["daemon", "start"])?;
    shell::remark(&format!("a daemon started in {} ms", began.elapsed().as_millis()));
    let events = world.events()?;
    let reconciled = events.iter().rev().find(|event| event["event"] == "reconcile.completed");
    let counts = reconciled.map(|event| event["data"].clone()).unwrap_or_default();
    if counts["done"] != 0 || counts["reported"] != 0 {
        broken.push(format!("a second start still found something to do: {counts}"));
    }
    world.stop_the_daemon()?;
    broken.extend(invariants::processes_left(world)?);
    let names = |folder: &str| {
        let entries = fs::read_dir(world.home().join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    broken.extend(names("launch").iter().map(|path| format!("{} is left", path.display())));
    let sockets = names("runs").into_iter().map(|run| run.join("sock")).filter(|socket| socket.exists());
    broken.extend(sockets.map(|socket| format!("{} is left", socket.display())));
    Ok(broken)
}

/// What of lanes is left where they all were, beside what is kept of them.
fn left_in_the_repository(world: &World, person: &Person) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let worktrees = world.git(&["worktree", "list", "--porcelain"])?;
    let n_worktrees = worktrees.lines().filter(|line| line.starts_with("worktree ")).count();
    if n_worktrees != 1 + person.n_worktrees() {
        broken
            .push(format!("the person has {} worktrees, and there are {n_worktrees}", person.n_worktrees()));
    }
    let branches = world.git(&["for-each-ref", "--format=%(refname)", "refs/heads/lane/"])?;
    broken.extend(branches.lines().map(|branch| format!("{branch} is left")));
    let left = fs::read_dir(world.repository().join(".lanes"))?.flatten().map(|entry| entry.file_name());
    let left = left.filter(|name| name != ".gitignore" && name != ".trash");
    broken.extend(left.map(|name| format!("{} is left in .lanes", name.display())));
    if let Err(error) = world.git(&["fsck", "--connectivity-only", "--no-dangling"]) {
        broken.push(format!("{error:#}"));
    }
    broken.extend(invariants::left_by_git(world)?);
    Ok(broken)
}

/// Which commits no rescue holds, and whose last files are not in the trash.
fn not_kept(world: &World, commits: &[String]) -> Result<Vec<String>> {
    let held = world.git(&["rev-list", "--glob=refs/laneway/rescue"])?;
    let is_lost = |commit: &&String| !held.lines().any(|line| line == commit.as_str());
    let mut broken: Vec<String> =
        commits.iter().filter(is_lost).map(|commit| format!("commit {commit} is held by nothing")).collect();
    let trash = fs::read_dir(world.repository().join(".lanes/.trash"))?.flatten();
    let n_kept = trash.filter(|entry| entry.path().join("tree/more").is_file()).count();
    if n_kept != commits.len() {
        broken.push(format!("{n_kept} of {} files that were not committed are in the trash", commits.len()));
    }
    Ok(broken)
}
