//! Every fault point, in every operation that reaches it: one run that writes down what is reached, then one per
//! point in a world of its own, in which whoever reaches it is killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result, ensure};
use laneway_fault::POINTS;
use serde_json::Value;

use super::holds::{HOLDS, Hold};
use super::ledger::Ledger;
use super::operations::{Act, OPERATIONS, Operation};
use super::world::World;
use super::{Stage, invariants, keyed};
use crate::shell;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Which time somebody comes to a point is walked up to this one; decisions are made many times in one operation.
const MOST_TIMES: u64 = 12;

/// A fault that reaches nobody.
const NO_FAULT: &str = "none:kill";

/// One operation with one fault.
struct Case {
    operation: &'static Operation,
    point: String,
    nth: u64,
}

/// How a case went.
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) was_hit: bool,
    pub(super) broken: Vec<String>,
    pub(super) seconds: f64,
}

/// Walks; succeeds if everything held and every point was reached.
pub(crate) fn walk(stage: &Stage, only: &[String], jobs: usize) -> Result<ExitCode> {
    let began = Instant::now();
    let chosen = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    shell::heading("which operation reaches which points");
    let mut cases = VecDeque::new();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut broken = false;
    let names_points = only.iter().any(|part| POINTS.iter().any(|point| point.contains(part.as_str())));
    let operations = OPERATIONS.iter().filter(|operation| names_points || chosen(operation.name));
    let recorded = in_parallel(operations.collect(), jobs, |operation| (operation, record(stage, operation)));
    let mut by_name: BTreeMap<&str, BTreeSet<(String, u64)>> = BTreeMap::new();
    for (operation, recorded) in recorded {
        match recorded {
            Ok(points) => drop(by_name.insert(operation.name, points)),
            Err(error) => {
                broken = true;
                anstream::println!("{BAD}{}{BAD:#}: without any fault: {error:#}", operation.name);
            }
        }
    }
    for operation in OPERATIONS {
        let Some(points) = by_name.remove(operation.name) else { continue };
        anstream::println!("{:34} {}", operation.name, points.len());
        reached.extend(points.iter().map(|(point, _)| point.clone()));
        let points = points.into_iter().filter(|(point, _)| chosen(operation.name) || chosen(point));
        cases.extend(points.map(|(point, nth)| Case { operation, point, nth }));
    }
    shell::heading(&format!("{} crashes", cases.len()));
    let n_cases = cases.len();
    let mut n_hit = 0;
    let mut n_broken = 0;
    for_each_in_parallel(
        cases,
        jobs,
        |case| crash(stage, &case),
        |n, outcome| {
            n_hit += usize::from(outcome.was_hit);
            n_broken += usize::from(!outcome.broken.is_empty());
            print(n, n_cases, &outcome);
        },
    );
    let windows: VecDeque<&Hold> = HOLDS.iter().filter(|hold| chosen(hold.name)).collect();
    let n_windows = windows.len();
    shell::heading(&format!("{n_windows} windows held open"));
    for_each_in_parallel(
        windows,
        jobs,
        |hold| hold.carry_out(stage),
        |n, outcome| {
            n_broken += usize::from(!outcome.broken.is_empty());
            print(n, n_windows, &outcome);
        },
    );
    let is_missed = |point: &&&str| only.is_empty() && !reached.contains(**point);
    let never: Vec<&&str> = POINTS.iter().filter(is_missed).collect();
    for point in &never {
        anstream::println!("{BAD}no operation reaches{BAD:#} {point}");
    }
    let seconds = began.elapsed().as_secs_f64();
    shell::heading(&format!(
        "{n_cases} crashes at {} points, {n_hit} hit, {n_windows} windows, {n_broken} with something that does not hold; {seconds:.0} s",
        reached.len()
    ));
    broken |= n_broken > 0 || !never.is_empty();
    if broken {
        shell::remark(&format!(
            "the worlds in which something went wrong are in {}",
            stage.folder().display()
        ));
        return Ok(ExitCode::FAILURE);
    }
    stage.clear()?;
    Ok(ExitCode::SUCCESS)
}

fn print(n: usize, of: usize, outcome: &Outcome) {
    let hit = if outcome.was_hit { "killed" } else { "not reached" };
    let Outcome { name, broken, seconds, .. } = outcome;
    if broken.is_empty() {
        anstream::println!("{n:4}/{of} {name:66} {hit:11} {GOOD}holds{GOOD:#} {seconds:.1} s");
        return;
    }
    anstream::println!("{n:4}/{of} {name:66} {hit:11} {BAD}does not hold{BAD:#} {seconds:.1} s");
    for what in broken {
        anstream::println!("         {what}");
    }
}

/// Brings a world to where the operation begins. The daemon that runs then has this fault.
fn begin(world: &World, operation: &Operation, ledger: &mut Ledger, fault: &str) -> Result<()> {
    (operation.prepare)(world, ledger)?;
    match &operation.act {
        Act::Lane(_) | Act::FillPool | Act::Until { .. } | Act::Repair | Act::Keyed => {
            world.stop_the_daemon()?;
            // It may be killed before it serves; then the operation's own daemon is the next.
            drop(world.start_with_fault(fault)?);
            (operation.prelude)(world)?;
        }
        Act::Start { killed_at, of } => {
            world.stop_the_daemon()?;
            world.start_with_fault(&format!("{killed_at}:kill"))?.ok()?;
            drop(world.try_lane(of)?);
            ensure!(world.daemon_pid()?.is_none(), "nobody was killed at {killed_at}");
            world.forget_points()?;
        }
        Act::StartInPeace => world.stop_the_daemon()?,
    }
    Ok(())
}

/// One run without a fault: each point with the number of the time it is come to.
fn record(stage: &Stage, operation: &Operation) -> Result<BTreeSet<(String, u64)>> {
    let world = World::new(stage, &format!("{}-recorded.w", folder_name(operation.name)))?;
    let mut ledger = Ledger::default();
    begin(&world, operation, &mut ledger, NO_FAULT)?;
    let before = counts(&world)?;
    act(&world, operation, NO_FAULT)?;
    world.stop_the_daemon()?;
    let mut found = BTreeSet::new();
    for ((pid, point), n) in counts(&world)? {
        let from = before.get(&(pid.clone(), point.clone())).copied().unwrap_or(0);
        found.extend((from + 1..=n.min(from + MOST_TIMES)).map(|nth| (point.clone(), nth)));
    }
    let broken = what_is_broken(&world, &ledger)?;
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    world.remove()?;
    Ok(found)
}

/// How often each process came to each point.
fn counts(world: &World) -> Result<BTreeMap<(String, String), u64>> {
    let mut counts = BTreeMap::new();
    let log = match fs::read_to_string(world.points_log()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.context("the reached points")?,
    };
    for line in log.lines() {
        let mut words = line.split(' ').map(str::to_owned);
        if let (Some(pid), Some(point)) = (words.next(), words.next()) {
            *counts.entry((pid, point)).or_default() += 1;
        }
    }
    Ok(counts)
}

fn act(world: &World, operation: &Operation, fault: &str) -> Result<()> {
    let said = match &operation.act {
        Act::Lane(command) => world.try_lane(command)?,
        Act::Repair => world.try_lane(&["doctor", "--fix"])?,
        Act::Until { of, event } => {
            let said = world.try_lane(of)?;
            if said.status.success() {
                world.follow_until(|told| Ok(told["event"] == *event))?;
            }
            said
        }
        // Until that is done, or its daemon is killed.
        Act::FillPool => return world.wait_for_pool_or_end(),
        Act::Keyed => return keyed::ask_first(world),
        Act::Start { .. } | Act::StartInPeace => world.start_with_fault(fault)?,
    };
    // How it fares is its own affair: done, refused, or without its daemon. It must not hang or panic.
    ensure!(
        matches!(said.status.code(), Some(0 | 1 | 5 | 6 | 125 | 127)),
        "the command ended with {}: {}",
        said.status,
        said.err
    );
    Ok(())
}

fn crash(stage: &Stage, case: &Case) -> Outcome {
    let began = Instant::now();
    let name = format!("{}  {}#{}", case.operation.name, case.point, case.nth);
    let folder = format!("{}-{}-{}.w", folder_name(case.operation.name), case.point, case.nth);
    let crashed = World::new(stage, &folder).and_then(|world| {
        let crashed = crash_in(&world, case);
        match crashed {
            Ok((was_hit, broken)) if broken.is_empty() => {
                world.remove()?;
                Ok((was_hit, broken))
            }
            Ok((was_hit, mut broken)) => {
                broken.extend(world.log().into_iter().map(|line| format!("  log: {line}")));
                Ok((was_hit, broken))
            }
            Err(error) => {
                let log = world.log().into_iter().map(|line| format!("  log: {line}"));
                Ok((false, [format!("{error:#}")].into_iter().chain(log).collect()))
            }
        }
    });
    let (was_hit, broken) = crashed.unwrap_or_else(|error| (false, vec![format!("{error:#}")]));
    Outcome { name, was_hit, broken, seconds: began.elapsed().as_secs_f64() }
}

fn crash_in(world: &World, case: &Case) -> Result<(bool, Vec<String>)> {
    let fault = format!("{}:kill:{}", case.point, case.nth);
    let mut ledger = Ledger::default();
    begin(world, case.operation, &mut ledger, &fault)?;
    act(world, case.operation, &fault)?;
    // What goes on in the background may be what is to be killed.
    drop(world.try_lane(&["daemon", "stop"])?);
    let mut broken = Vec::new();
    match case.operation.act {
        Act::Repair => world.lane(&["doctor", "--fix"])?,
        Act::Keyed => broken.extend(keyed::ask_again(world)?),
        Act::Lane(_) | Act::FillPool | Act::Until { .. } | Act::Start { .. } | Act::StartInPeace => {}
    }
    let log = fs::read_to_string(world.points_log()).unwrap_or_default();
    let was_hit = log.lines().any(|line| line.ends_with(" kill"));
    broken.extend(what_is_broken(world, &ledger)?);
    Ok((was_hit, broken))
}

/// What does not hold once all is quiet; then once the work is back; then once every lane is closed.
pub(super) fn what_is_broken(world: &World, ledger: &Ledger) -> Result<Vec<String>> {
    let mut broken = invariants::after_settling(world, !ledger.tree_removed)?;
    broken.extend(ledger.lost(world)?);
    if !broken.is_empty() {
        return Ok(broken);
    }
    broken.extend(ledger.restored(world).context("bringing it back")?);
    let mut lanes = world.json(&["ls"])?;
    let is_used = |lane: &Value| lane["attachments"].as_array().is_some_and(|users| !users.is_empty());
    if lanes["lanes"].as_array().into_iter().flatten().any(is_used) {
        let is_told = world.follow_until(|event| Ok(event["event"] == "lane.attachment.expired"))?;
        ensure!(is_told, "a lease does not end");
        lanes = world.json(&["ls"])?;
    }
    for lane in lanes["lanes"].as_array().into_iter().flatten() {
        let name = lane["name"].as_str().context("a lane's name")?;
        world.lane(&["close", name, "--discard"]).context("closing what is there")?;
    }
    broken.extend(
        invariants::after_settling(world, !ledger.tree_removed)?
            .into_iter()
            .map(|what| format!("closed: {what}")),
    );
    broken.extend(ledger.lost(world)?.into_iter().map(|what| format!("closed: {what}")));
    Ok(broken)
}

fn folder_name(operation: &str) -> String {
    operation.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn in_parallel<T: Send, R: Send>(
    work: VecDeque<T>,
    jobs: usize,
    carry_out: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let mut done = Vec::new();
    for_each_in_parallel(work, jobs, carry_out, |_, result| done.push(result));
    done
}

/// Carries out on so many threads, and hands over each result with its number as it comes.
fn for_each_in_parallel<T: Send, R: Send>(
    work: VecDeque<T>,
    jobs: usize,
    carry_out: impl Fn(T) -> R + Sync,
    mut done: impl FnMut(usize, R),
) {
    let work = Mutex::new(work);
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    // One per thread: whoever prints is never far behind.
    let (results, finished) = mpsc::sync_channel(jobs);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (results, next, carry_out) = (results.clone(), &next, &carry_out);
            scope.spawn(move || {
                while let Some(one) = next() {
                    if results.send(carry_out(one)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (n, result) in finished.iter().enumerate() {
            done(n + 1, result);
        }
    });
}
