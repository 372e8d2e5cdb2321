//! Many lanes: asked for at once, coming and going together, and found again by a new daemon.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::lanes::wait_for_empty_trash;
use super::{Figures, Measurement, measurement, row};
use crate::bench::laneway::Laneway;
use crate::bench::measure::clock::{self, timed};
use crate::bench::measure::processes;
use crate::bench::measure::statistics::Samples;
use crate::bench::peers::git::Repository;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

/// How many lanes are asked for at once.
const N_AT_ONCE: usize = 50;

/// How many a new daemon finds: as many as a workspace may have.
const N_FOUND: usize = 200;

/// A branch that is known of a remote.
const REMOTE_BASE: &str = "origin/main";

/// What has been told to end may take so long.
const GRACE: Duration = Duration::from_secs(10);

pub(super) fn measurements() -> Vec<Measurement> {
    vec![
        measurement(
            vec![
                row("new-50-at-once/git-two-at-a-time", "ms", Target::RatioAtMost(1.1)),
                row("new-50-at-once-succeed/50", "lanes", Target::RatioAtLeast(1.0)),
            ],
            at_once,
        ),
        measurement(vec![row("left-of-50-lanes-with-programs", "things", Target::AtMost(0.0))], come_and_go),
        measurement(vec![row("new-daemon-200-lanes", "ms", Target::AtMost(3_000.0))], found_again),
    ]
}

/// Fifty `lane new` at once, against fifty `git worktree add`, two at a time.
fn at_once(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let laneway = stage.laneway_for(stage.repository(1_000)?)?;
    let repository = &laneway.repository;
    laneway.lane(&["ls"])?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    let mut n_made = usize::MAX;
    let mut complaints = Vec::new();
    for round in 0..stage.amount(5, 1) {
        let names: Vec<String> = (0..N_AT_ONCE).map(|n| format!("many-{round}-{n}")).collect();
        theirs.add(timed(|| add_two_at_a_time(repository, &names))?.1);
        // Each begins without the other's: `git worktree add` reads all worktrees that there are, and takes three times
        // as long beside fifty (measured, without the files).
        names.iter().try_for_each(|name| repository.remove_worktree(name))?;
        let (made, time) = timed(|| new_at_once(&laneway, &names, &mut complaints))?;
        ours.add(time);
        n_made = n_made.min(made.len());
        laneway.lane(&[&["close".to_owned()], made.as_slice()].concat())?;
        wait_for_empty_trash(&repository.root())?;
    }
    figures.set_medians("new-50-at-once/git-two-at-a-time", &ours, &theirs);
    figures.set("new-50-at-once-succeed/50", n_made as f64, N_AT_ONCE as f64);
    for complaint in complaints.into_iter().take(1) {
        figures.note("new-50-at-once-succeed/50", complaint);
    }
    Ok(())
}

fn add_two_at_a_time(repository: &Repository, names: &[String]) -> Result<()> {
    let (one, two) = names.split_at(names.len() / 2);
    // Two of git's own at once fail now and then; a person would try again.
    let add = |name: &String| repository.add_worktree(name, REMOTE_BASE);
    let add_all = |names: &[String]| names.iter().try_for_each(|name| add(name).or_else(|_| add(name)));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| add_all(two));
        add_all(one).and(other.join().expect("git does not panic here"))
    })
}

/// The names of those that were made; the others' complaints.
fn new_at_once(laneway: &Laneway, names: &[String], complaints: &mut Vec<String>) -> Result<Vec<String>> {
    let start = |name: &String| -> Result<Child> {
        let mut command = laneway.command(&["new", name, "--base", REMOTE_BASE]);
        Ok(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
    };
    let started: Vec<Child> = names.iter().map(start).collect::<Result<_>>()?;
    let mut made = Vec::new();
    for (command, name) in started.into_iter().zip(names) {
        let output = command.wait_with_output()?;
        if output.status.success() {
            made.push(name.clone());
        } else {
            complaints.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
    }
    Ok(made)
}

/// Fifty lanes, each made with a program in it and closed again, all at once: what is left of them afterwards.
fn come_and_go(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let laneway = stage.laneway_for(stage.repository(100)?)?;
    laneway.lane(&["ls"])?;
    let names: Vec<String> = (0..N_AT_ONCE).map(|n| format!("brief-{n}")).collect();
    let ((), time) = timed(|| {
        std::thread::scope(|scope| {
            let come_and_go = |name: &str| -> Result<()> {
                laneway.lane(&["new", name, "--", "cat", "-"])?;
                laneway.lane(&["close", name]).map(drop)
            };
            let all: Vec<_> = names.iter().map(|name| scope.spawn(move || come_and_go(name))).collect();
            all.into_iter().try_for_each(|one| one.join().expect("a command does not panic here"))
        })
    })?;
    wait_for_empty_trash(&laneway.repository.root())?;
    let left = left_of_lanes(&laneway)?;
    figures.set_alone("left-of-50-lanes-with-programs", left.len() as f64);
    let note = format!("made and closed in {time:.0} ms; left: {}", left.join(", "));
    figures.note("left-of-50-lanes-with-programs", note);
    Ok(())
}

/// Worktrees, branches, processes, sockets and rows that should not be there when all lanes are closed.
fn left_of_lanes(laneway: &Laneway) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let repository = &laneway.repository;
    let worktrees = repository.say(&["worktree", "list", "--porcelain"])?;
    let worktrees = worktrees.lines().filter(|line| line.starts_with("worktree ")).skip(1);
    left.extend(worktrees.map(str::to_owned));
    let branches = repository.say(&["for-each-ref", "--format=branch %(refname)", "refs/heads/lane/"])?;
    left.extend(branches.lines().map(str::to_owned));

    let daemon = laneway.daemon_pid()?;
    for (pid, command) in processes::belonging_to(laneway.home()) {
        let Some(process) = processes::open(pid).filter(|_| pid != daemon) else { continue };
        // A holder leaves when the end of its run is recorded.
        if !processes::ends_within(&process, GRACE)? {
            left.push(format!("process {pid} {command}"));
        }
    }
    for run in fs::read_dir(laneway.home().join("runs"))? {
        let socket = run?.path().join("sock");
        left.extend(socket.exists().then(|| socket.display().to_string()));
    }

    let mut api = laneway.api()?;
    let lanes = api.get("/api/v1/lanes?closed=true")?;
    let workers = api.get("/api/v1/workers?all=true")?;
    for lane in lanes["lanes"].as_array().context("lanes")? {
        left.extend(
            (lane["status"] != "closed").then(|| format!("lane {} is {}", lane["name"], lane["status"])),
        );
    }
    for worker in workers["workers"].as_array().context("workers")? {
        left.extend(
            worker["exit"].is_null().then(|| format!("worker {} is {}", worker["id"], worker["status"])),
        );
    }
    Ok(left)
}

/// The first command after the daemon was killed, with 200 open lanes: a new one compares the record with what is
/// there before it answers.
fn found_again(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let laneway = stage.laneway_for(stage.repository(10)?)?;
    laneway.lane(&["ls"])?;
    let names: Vec<String> = (0..N_FOUND).map(|n| format!("found-{n}")).collect();
    let mut complaints = Vec::new();
    for some in names.chunks(N_AT_ONCE) {
        new_at_once(&laneway, some, &mut complaints)?;
    }
    ensure!(complaints.is_empty(), "{}", complaints.concat());
    let mut times = Samples::default();
    for _ in 0..stage.amount(5, 2) {
        let daemon = processes::open(laneway.daemon_pid()?).context("the daemon has ended")?;
        processes::kill(&daemon);
        ensure!(processes::ends_within(&daemon, GRACE)?, "the daemon outlives its killing");
        let began = clock::now();
        laneway.lane(&["ls"])?;
        times.add(clock::milliseconds(began, clock::now()));
    }
    figures.set_median("new-daemon-200-lanes", &times);
    Ok(())
}
