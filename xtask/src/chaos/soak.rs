//! Thirty-two workers that talk, come back and go on for a long time, while they, their holders and the daemon are killed.
//!
//! ```text
//! season: everybody is killed ─► the daemon lives, the others are killed ─► rest: everything is looked at
//! after the last one: a daemon lives for a long time, the others are killed ─► all are stopped: everything is looked at
//! ```
//!
//! A client at the WebSocket, which comes back with `replay` after each death of the daemon, must get each event once
//! and in order, and in them each message of each program. What the daemon and holders have of memory and descriptors
//! is compared between moments at which as much runs: of daemons of the same age, and within the long life.
//!
//! * [`program`]: what the workers run; [`follower`]: the client; [`cost`]: memory and descriptors
//! * [`killing`]: who is killed when

mod cost;
mod follower;
mod killing;
pub(crate) mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::cost::{Costs, Moment};
use self::follower::Follower;
use self::killing::Killing;
use super::invariants::PAIR;
use super::random::Account;
use super::world::World;
use super::{Stage, invariants};
use crate::{shell, tools};

/// How many workers there are.
const N_WORKERS: usize = 32;

/// In how many lanes.
const N_LANES: usize = 4;

/// Workers that nobody kills: their holders live from the beginning to the end.
const SPARED: &str = "spared";

/// They come back soon, and are never given up.
const CONFIG: &str = "[restart]\nbase = \"100ms\"\nceiling = \"1s\"\nmax = 1000\nwindow = \"1m\"\nsteady = \"1s\"\n\
                      [channel]\nready_timeout = \"30s\"\nheartbeat = \"5s\"\n";

/// The longest season.
const SEASON: Duration = Duration::from_mins(2);

/// What is under way in one soak.
struct Soak<'a> {
    world: &'a World,
    follower: &'a Follower,
    killing: Killing,
    costs: Costs,
    account: Account,
    /// The number of the last event at the last rest.
    looked_at: u64,
}

/// Lets it happen for so long.
pub(super) fn run(stage: &Stage, time: Duration, seed: u64) -> Result<ExitCode> {
    shell::heading(&format!("{N_WORKERS} workers for {} s, seed {seed}", time.as_secs()));
    let began = Instant::now();
    let world = World::new(stage, &format!("soak-{seed}.w"))?;
    world.write_config(CONFIG)?;
    start_workers(&world)?;
    let follower = Follower::default();
    let broken = std::thread::scope(|scope| {
        let following = scope.spawn(|| follower.follow(&world));
        let went = Soak {
            world: &world,
            follower: &follower,
            killing: Killing::new(seed),
            costs: Costs::default(),
            account: Account::new(&world)?,
            looked_at: 0,
        }
        .go_on(began + time);
        // What ends him is the end of his daemon.
        follower.end();
        drop(world.try_lane(&["daemon", "stop"])?);
        following.join().expect("nobody panics")?;
        went
    });
    let mut broken = broken.unwrap_or_else(|error| vec![format!("{error:#}")]);
    broken.extend(invariants::processes_left(&world)?);
    for what in &broken {
        anstream::println!("does not hold: {what}");
    }
    shell::remark(&follower.in_words());
    if broken.is_empty() {
        world.remove()?;
        shell::heading(&format!(
            "{N_WORKERS} workers, and everything holds; {:.0} s",
            began.elapsed().as_secs_f64()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    for line in world.log() {
        anstream::println!("  log: {line}");
    }
    shell::heading(&format!("{} things do not hold; see {}", broken.len(), world.folder().display()));
    Ok(ExitCode::FAILURE)
}

/// A third of them talk over a channel of lines, a third as programs of Node.js do, and a third do not talk.
fn start_workers(world: &World) -> Result<()> {
    let script = world.folder().join("worker.js");
    fs::write(&script, program::OF_NODE)?;
    let [own, script, counts] =
        [world.talks.clone(), script, world.counts()].map(|path| path.to_string_lossy().into_owned());
    let has_node = tools::is_there("node");
    if !has_node {
        shell::remark("without node no worker has a channel of the kind node-ipc");
    }
    for n in 0..N_LANES {
        world.lane(&["new", &format!("lane-{n}")])?;
    }
    for n in 0..N_WORKERS {
        let lane = format!("lane-{}", n % N_LANES);
        let kind = n % 3;
        let what = if kind == 2 { PAIR } else { "talks" };
        let spared = if n < 6 { SPARED } else { "killed" };
        let name = format!("{what}-{spared}-{n}");
        let mut words = vec!["run", &lane, "--name", &name, "--restart", "always"];
        match kind {
            0 => words.extend(["--channel", "jsonl", "--", &own, "chaos-program", &counts]),
            1 if has_node => words.extend(["--channel", "node-ipc", "--", "node", &script, &counts]),
            1 => words.extend(["--channel", "jsonl", "--", &own, "chaos-program", &counts]),
            _ => words.extend(["--", "sh", "-c", "sleep 10000 & exec sleep 10000"]),
        }
        world.lane(&words)?;
    }
    Ok(())
}

impl Soak<'_> {
    /// Until `end`, and then until all is at rest: what does not hold.
    fn go_on(&mut self, end: Instant) -> Result<Vec<String>> {
        let total = end.saturating_duration_since(Instant::now());
        let season = SEASON.min(total / 3).max(Duration::from_secs(20));
        let mut n_seasons = 0;
        while Instant::now() + total / 3 < end {
            n_seasons += 1;
            let broken = self.season(season).with_context(|| format!("season {n_seasons}"))?;
            self.remark(&format!("season {n_seasons}"));
            if !broken.is_empty() {
                return Ok(broken);
            }
        }
        self.long_life(total / 3)?;
        self.remark("a long life");
        let mut broken = self.costs.grown();
        broken.extend(self.close()?);
        Ok(broken)
    }

    fn season(&mut self, time: Duration) -> Result<Vec<String>> {
        let spared = self.spared()?;
        self.killing.go_on(time / 2, true, &spared, self.world, self.follower, &self.account)?;
        // A daemon that nobody kills, until it is told to end.
        self.world.lane(&["daemon", "start"])?;
        self.killing.go_on(time / 2, false, &spared, self.world, self.follower, &self.account)?;
        self.costs.add_season(self.moment(&spared)?);
        self.look()
    }

    /// A daemon that lives while all others are killed, until what it uses says something.
    fn long_life(&mut self, time: Duration) -> Result<()> {
        let spared = self.spared()?;
        for _ in 0..3 {
            self.killing.go_on(time / 3, false, &spared, self.world, self.follower, &self.account)?;
            self.costs.add_of_long_life(self.moment(&spared)?);
        }
        Ok(())
    }

    /// The runs of those that nobody kills, with the processes of their holders.
    fn spared(&self) -> Result<BTreeMap<String, u32>> {
        let workers = self.world.json(&["ps"])?;
        let mut spared = BTreeMap::new();
        for worker in workers["workers"].as_array().into_iter().flatten() {
            let text = |name: &str| worker[name].as_str().unwrap_or_default();
            if text("name").contains(SPARED) {
                let pid = worker["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
                let pid = pid.with_context(|| format!("{} does not run", text("name")))?;
                spared.insert(text("run").to_owned(), super::operations::parent(pid)?);
            }
        }
        Ok(spared)
    }

    /// What is used once everybody is back at work.
    fn moment(&self, spared: &BTreeMap<String, u32>) -> Result<Moment> {
        invariants::wait_for_restarts(self.world)?;
        self.follower.wait_for(self.world.last_event()?)?;
        let daemon = self.world.daemon_pid()?.context("a daemon runs")?;
        Moment::now(daemon, spared.values().copied().collect())
    }

    /// What does not hold once all is at rest.
    fn look(&mut self) -> Result<Vec<String>> {
        // The follower has seen those before, and sees these too.
        let mut broken = invariants::after_settling_since(self.looked_at, self.world, true)?;
        self.looked_at = self.world.last_event()?;
        self.follower.wait_for(self.looked_at)?;
        broken.extend(self.follower.broken());
        Ok(broken)
    }

    /// Stops all; what of what was said was not told, and what is left.
    fn close(&mut self) -> Result<Vec<String>> {
        for n in 0..N_LANES {
            self.world.lane(&["close", &format!("lane-{n}")])?;
        }
        let mut broken = self.look()?;
        broken.extend(self.untold()?);
        Ok(broken)
    }

    /// Each program writes down up to where it has said it: of those whose holder was not killed, all was told.
    fn untold(&self) -> Result<Vec<String>> {
        let told = self.follower.counts();
        let lost: &BTreeSet<String> = &self.killing.without_holder;
        let mut broken = Vec::new();
        let (mut n_runs, mut n_said) = (0, 0);
        for entry in fs::read_dir(self.world.counts())? {
            let entry = entry?;
            let run = entry.file_name().to_string_lossy().into_owned();
            let said: u64 = fs::read_to_string(entry.path())?.trim().parse().unwrap_or(0);
            let heard = told.get(&run).copied().unwrap_or(0);
            n_runs += 1;
            n_said += said;
            if heard < said && !lost.contains(&run) {
                broken.push(format!("run {run} has said {said} things, and {heard} were told"));
            }
        }
        shell::remark(&format!("{n_runs} runs have said {n_said} things"));
        Ok(broken)
    }

    fn remark(&self, what: &str) {
        shell::remark(&format!(
            "{what}: {}; {}; {}",
            self.killing.in_words(),
            self.follower.in_words(),
            self.costs.in_words()
        ));
    }
}
