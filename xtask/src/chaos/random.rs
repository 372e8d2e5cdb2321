//! Random commands of several clients in one repository, while the daemon and holders are killed at random moments.
//!
//! A round is so many commands of each client, beside somebody who kills until they are done. Then all is let come to
//! rest and looked at. Which commands there are, on which lanes, and how long the killer waits before whom he kills,
//! follows from the seed alone; what they meet depends on the machine.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::ledger::Ledger;
use super::world::World;
use super::{Stage, invariants};
use crate::bench::measure::processes;
use crate::shell;

/// How many give commands at the same time.
const N_CLIENTS: usize = 4;

/// How many commands each of them gives in one round.
const COMMANDS_PER_ROUND: usize = 25;

/// The longest that the killer waits, in milliseconds.
const LONGEST_PEACE: u64 = 800;

/// Lets it happen for so long, and then until the round is over.
pub(super) fn run(stage: &Stage, time: Duration, seed: u64) -> Result<ExitCode> {
    shell::heading(&format!("random commands and kills, seed {seed}"));
    let began = Instant::now();
    let world = World::new(stage, &format!("seed-{seed}.w"))?;
    let mut clients: Vec<Client> = (0..N_CLIENTS).map(|number| Client::new(seed, number)).collect();
    let mut killer = Killer { random: Random::new(seed, N_CLIENTS as u64), n_daemons: 0, n_holders: 0 };
    let mut broken = Vec::new();
    let mut n_rounds = 0;
    while began.elapsed() < time && broken.is_empty() {
        n_rounds += 1;
        round(&world, &mut clients, &mut killer).with_context(|| format!("round {n_rounds}"))?;
        broken = at_rest(&world, &clients)?;
        shell::remark(&format!(
            "round {n_rounds}: {} commands, {} daemons and {} holders killed, {} files and {} commits looked for; {:.0} s",
            clients.iter().map(|client| client.outcomes.values().sum::<u32>()).sum::<u32>(),
            killer.n_daemons,
            killer.n_holders,
            clients.iter().map(|client| client.ledger.n_contents()).sum::<usize>(),
            clients.iter().map(|client| client.ledger.n_commits()).sum::<usize>(),
            began.elapsed().as_secs_f64()
        ));
    }
    if broken.is_empty() {
        broken = closed(&world, &clients)?;
    }
    let mut outcomes: BTreeMap<(&str, i32), u32> = BTreeMap::new();
    for (outcome, n) in clients.iter().flat_map(|client| &client.outcomes) {
        *outcomes.entry(*outcome).or_default() += n;
    }
    for ((command, code), n) in outcomes {
        anstream::println!("{n:6}  {command:16} ended with {code}");
    }
    for what in &broken {
        anstream::println!("does not hold: {what}");
    }
    if broken.is_empty() {
        world.remove()?;
        shell::heading(&format!("seed {seed}: {n_rounds} rounds, and everything holds"));
        return Ok(ExitCode::SUCCESS);
    }
    shell::heading(&format!(
        "seed {seed}: {} things do not hold; see {}",
        broken.len(),
        world.folder().display()
    ));
    Ok(ExitCode::FAILURE)
}

fn round(world: &World, clients: &mut [Client], killer: &mut Killer) -> Result<()> {
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let commanding: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let done = done.clone();
                scope.spawn(move || {
                    let commanded = (0..COMMANDS_PER_ROUND).try_for_each(|_| client.command(world));
                    drop(done);
                    commanded
                })
            })
            .collect();
        drop(done);
        killer.kill_until(world, &is_done)?;
        commanding.into_iter().try_for_each(|client| client.join().expect("a client does not panic"))
    })
}

/// What does not hold when all is quiet.
fn at_rest(world: &World, clients: &[Client]) -> Result<Vec<String>> {
    let mut broken = invariants::after_settling(world, true)?;
    for client in clients {
        broken.extend(client.ledger.lost(world)?);
    }
    Ok(broken)
}

/// What does not hold once every lane is closed.
fn closed(world: &World, clients: &[Client]) -> Result<Vec<String>> {
    let lanes = world.json(&["ls"])?;
    for lane in lanes["lanes"].as_array().into_iter().flatten() {
        let name = lane["name"].as_str().context("a lane's name")?;
        world.lane(&["close", name, "--discard"]).context("closing what is there")?;
    }
    at_rest(world, clients)
}

/// One who gives commands, one after the other.
struct Client {
    number: usize,
    random: Random,
    /// How many lanes he has asked for.
    n_lanes: u64,
    n_files: u64,
    /// The lane that he has discarded last, and not wanted back.
    discarded: String,
    ledger: Ledger,
    /// How often which command ended with which code.
    outcomes: BTreeMap<(&'static str, i32), u32>,
}

impl Client {
    fn new(seed: u64, number: usize) -> Self {
        Self {
            number,
            random: Random::new(seed, number as u64),
            n_lanes: 0,
            n_files: 0,
            discarded: String::new(),
            ledger: Ledger::default(),
            outcomes: BTreeMap::new(),
        }
    }

    /// The next command.
    fn command(&mut self, world: &World) -> Result<()> {
        let lane = self.some_lane();
        let lane = lane.as_str();
        match self.random.below(20) {
            0..3 => {
                self.n_lanes += 1;
                let name = format!("c{}-{}", self.number, self.n_lanes);
                if self.random.below(2) == 0 {
                    return self.lane(world, "new", &[&name]);
                }
                self.lane(world, "new with program", &[&name, "--", "sleep", "1000"])
            }
            3..5 => self.lane(world, "run", &[lane, "--", "sleep", "1000"]),
            5..7 => self.lane(world, "exec", &[lane, "--", "git", "status", "--short"]),
            7 => self.lane(world, "stop", &[lane, "--grace", "200ms"]),
            8..12 => self.write(world, lane),
            12..14 => self.commit(world, lane),
            14 => self.lane(world, "close", &[lane]),
            15 => self.lane(world, "close --merge", &[lane, "--merge"]),
            16..18 => {
                lane.clone_into(&mut self.discarded);
                self.lane(world, "close --discard", &[lane, "--discard"])
            }
            18 => {
                let discarded = std::mem::take(&mut self.discarded);
                self.lane(world, "restore", &[if discarded.is_empty() { lane } else { &discarded }])
            }
            _ => self.lane(world, "ls", &[]),
        }
    }

    /// A lane that somebody has asked for, most of the time himself and not long ago.
    fn some_lane(&mut self) -> String {
        let whose = match self.random.below(4) {
            0 => self.random.below(N_CLIENTS as u64),
            _ => self.number as u64,
        };
        let back = self.random.below(4);
        format!("c{whose}-{}", self.n_lanes.saturating_sub(back).max(1))
    }

    fn lane(&mut self, world: &World, what: &'static str, arguments: &[&str]) -> Result<()> {
        let words: Vec<&str> = what.split(' ').take(1).chain(arguments.iter().copied()).collect();
        let said = world.try_lane(&words)?;
        let code = said.status.code();
        // Refused, not found, without its daemon: all of that happens. A panic or a signal must not.
        ensure!(
            code.is_some_and(|code| code != 101),
            "lane {words:?} ended with {}: {}",
            said.status,
            said.err
        );
        self.note(what, code.unwrap_or(-1));
        Ok(())
    }

    fn note(&mut self, what: &'static str, code: i32) {
        *self.outcomes.entry((what, code)).or_default() += 1;
    }

    /// Writes a file into a lane that can be worked in. What is written must not be lost, whoever closes it meanwhile.
    fn write(&mut self, world: &World, lane: &str) -> Result<()> {
        self.n_files += 1;
        let path = world.tree(lane).join(format!("file-{}-{}", self.number, self.n_files));
        let content = format!("file {} of client {}\n", self.n_files, self.number);
        let is_open = is_open(world, lane)?;
        let written = is_open
            && OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
                .and_then(|mut file| file.write_all(content.as_bytes()))
                .is_ok();
        if written {
            self.ledger.note_content(content);
        }
        self.note("(write)", i32::from(!written));
        Ok(())
    }

    fn commit(&mut self, world: &World, lane: &str) -> Result<()> {
        let tree = world.tree(lane);
        let committed = is_open(world, lane)?
            && world.git_in(&tree, &["add", "--all"]).is_ok()
            && world.git_in(&tree, &["commit", "--quiet", "--message", "work"]).is_ok();
        // Found out later it may be another's; then it must not be lost either.
        if committed {
            drop(self.ledger.note_head(world, &tree));
        }
        self.note("(commit)", i32::from(!committed));
        Ok(())
    }
}

fn is_open(world: &World, lane: &str) -> Result<bool> {
    let said = world.try_lane(&["ls", "--json"])?;
    let shown: serde_json::Value = serde_json::from_slice(&said.out).unwrap_or_default();
    let mut lanes = shown["lanes"].as_array().into_iter().flatten();
    let can_be_worked_in =
        |status: &serde_json::Value| ["ready", "running", "shared"].iter().any(|word| status == word);
    Ok(lanes.any(|shown| shown["name"] == lane && can_be_worked_in(&shown["status"])))
}

/// One who kills.
struct Killer {
    random: Random,
    n_daemons: u32,
    n_holders: u32,
}

impl Killer {
    fn kill_until(&mut self, world: &World, is_done: &mpsc::Receiver<()>) -> Result<()> {
        loop {
            let peace = Duration::from_millis(self.random.below(LONGEST_PEACE));
            let of_holder = self.random.below(4) == 0;
            let which = self.random.below(64);
            match is_done.recv_timeout(peace) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let is_victim = |called: &str| {
                if of_holder { called.contains("lane-holder run") } else { called.contains(" daemon serve ") }
            };
            let mut victims = processes::belonging_to(world.folder());
            victims.retain(|(_, called)| is_victim(called));
            let Some(chosen) = usize::try_from(which)?.checked_rem(victims.len()) else { continue };
            if let Some(process) = processes::open(victims[chosen].0) {
                processes::kill(&process);
                *(if of_holder { &mut self.n_holders } else { &mut self.n_daemons }) += 1;
            }
        }
    }
}

/// Numbers that follow from a seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Neighbouring seeds begin far from each other.
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
