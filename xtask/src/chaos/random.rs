//! Random commands of several clients in one repository, beside a person who uses git there, while the daemon and
//! holders are killed at random moments.
//!
//! A round is so many commands of each client, and a kill in the midst of them, sometimes three in a row. Then all is
//! let come to rest and looked at. What everybody does, on which lanes, how long the killer waits and whom he kills
//! follows from the seed alone; what they meet depends on the machine.
//!
//! * [`deeds`]: what a client does; [`client`]: how, and what must not be lost of it
//! * [`person`]: git beside them, other settings; [`killer`]: who is killed when
//! * [`account`]: what was done, and how it went

mod account;
mod client;
mod deeds;
mod killer;
mod numbers;
mod person;

use std::fs;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub(super) use self::account::Account;
use self::client::{Client, Deleted};
pub(super) use self::deeds::FAILING;
use self::deeds::N_CLIENTS;
use self::killer::Killer;
pub(super) use self::numbers::Random;
pub(super) use self::person::Person;
use super::ledger::Ledger;
use super::world::World;
use super::{Stage, invariants};
use crate::shell;

/// How many commands each client gives in one round.
const DEEDS_PER_ROUND: usize = 10;

/// What the person does in one round.
const DEEDS_OF_THE_PERSON: usize = 5;

/// What fails is given up within two seconds.
const CONFIG: &str = "[restart]\nbase = \"50ms\"\nceiling = \"400ms\"\nmax = 3\n";

/// What a repository has at the beginning.
const SETTINGS: &str = "pool = 1\ncopy = [\"*.secret\"]\n";

/// Everybody who does something.
struct Everybody {
    clients: Vec<Client>,
    person: Person,
    killer: Killer,
    account: Account,
    deleted: Mutex<Deleted>,
    /// How often everything was looked at.
    n_checks: u32,
}

/// Lets it happen for so long, and then until the round is over.
pub(super) fn run(stage: &Stage, time: Duration, seed: u64) -> Result<ExitCode> {
    shell::heading(&format!("random commands and kills, seed {seed}"));
    let began = Instant::now();
    let world = World::new(stage, &format!("seed-{seed}.w"))?;
    furnish(&world)?;
    let stream = N_CLIENTS as u64;
    let mut everybody = Everybody {
        clients: (0..N_CLIENTS).map(|number| Client::new(seed, number)).collect(),
        killer: Killer::new(seed, stream),
        person: Person::new(seed, stream + 1),
        account: Account::new(&world)?,
        deleted: Mutex::default(),
        n_checks: 0,
    };
    let mut n_rounds = 0;
    let mut ended = Ok(Vec::new());
    while began.elapsed() < time && ended.as_ref().is_ok_and(Vec::is_empty) {
        n_rounds += 1;
        ended = everybody.round(&world).with_context(|| format!("round {n_rounds}"));
        everybody.remark(n_rounds, began.elapsed());
    }
    if ended.as_ref().is_ok_and(Vec::is_empty) {
        ended = everybody.close(&world).context("closing what is there");
    }
    everybody.account.print();
    let broken = ended.unwrap_or_else(|error| vec![format!("{error:#}")]);
    for what in &broken {
        anstream::println!("does not hold: {what}");
    }
    if broken.is_empty() {
        world.remove()?;
        shell::heading(&format!("seed {seed}: {n_rounds} rounds, and everything holds"));
        return Ok(ExitCode::SUCCESS);
    }
    for line in world.log() {
        anstream::println!("  log: {line}");
    }
    shell::heading(&format!(
        "seed {seed}: {} things do not hold; see {} and {}",
        broken.len(),
        world.folder().display(),
        world.repository().display()
    ));
    Ok(ExitCode::FAILURE)
}

/// Files to be copied and linked, settings, and the consent to them.
fn furnish(world: &World) -> Result<()> {
    let repository = world.repository();
    fs::write(repository.join("key.secret"), "to be copied\n")?;
    fs::create_dir(repository.join("data"))?;
    fs::write(repository.join("data/file"), "to be linked\n")?;
    fs::create_dir(world.own())?;
    world.exclude("/data")?;
    world.write_config(CONFIG)?;
    world.write_settings(SETTINGS)?;
    world.lane(&["trust"])
}

impl Everybody {
    /// One round: what does not hold after it.
    fn round(&mut self, world: &World) -> Result<Vec<String>> {
        let Self { clients, person, killer, account, deleted, .. } = self;
        let (account, deleted) = (&*account, &*deleted);
        let (done, are_done) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let mut working = Vec::new();
            for client in clients {
                let done = done.clone();
                working.push(scope.spawn(move || {
                    let went = client.go_on(DEEDS_PER_ROUND, world, account, deleted);
                    drop(done);
                    went
                }));
            }
            drop(done);
            working.push(scope.spawn(|| person.go_on(DEEDS_OF_THE_PERSON, world, account)));
            let killed = killer.kill_until(world, account, &are_done);
            working.into_iter().try_for_each(|one| one.join().expect("nobody panics"))?;
            killed
        })?;
        self.at_rest(world)
    }

    /// What does not hold when all is quiet.
    fn at_rest(&mut self, world: &World) -> Result<Vec<String>> {
        self.n_checks += 1;
        self.account.line("all are done")?;
        // One that begins looks at settings that have changed; if the last one was killed there is none to be stopped.
        drop(world.try_lane(&["daemon", "stop"])?);
        let mut broken = invariants::after_settling(world, true)?;
        broken.extend(self.person.misses(world)?);
        let deleted = std::mem::take(&mut *self.deleted.lock().unwrap_or_else(PoisonError::into_inner));
        for client in &mut self.clients {
            client.forget(&deleted);
        }
        broken.extend(Ledger::of_all(self.clients.iter().map(|client| &client.ledger)).lost(world)?);
        Ok(broken)
    }

    /// Closes every lane, also those that somebody uses; what does not hold then.
    fn close(&mut self, world: &World) -> Result<Vec<String>> {
        let lanes = world.json(&["ls"])?;
        for lane in lanes["lanes"].as_array().into_iter().flatten() {
            let id = lane["id"].as_str().context("a lane's id")?;
            for user in lane["attachments"].as_array().into_iter().flatten() {
                world.lane(&["leave", id, "--as", user["who"].as_str().context("a user's name")?])?;
            }
            let discard: &[&str] = if lane["adopted"] == true { &[] } else { &["--discard"] };
            world.lane(&[&["close", id], discard].concat())?;
        }
        self.at_rest(world)
    }

    fn remark(&self, n_rounds: u32, elapsed: Duration) {
        shell::remark(&format!(
            "round {n_rounds}: {} deeds, {} daemons and {} holders killed, everything looked at {} times, the last time \
             for {} files and {} commits; {:.0} s",
            self.account.n_deeds(),
            self.killer.n_daemons,
            self.killer.n_holders,
            self.n_checks,
            self.clients.iter().map(|client| client.ledger.n_contents()).sum::<usize>(),
            self.clients.iter().map(|client| client.ledger.n_commits()).sum::<usize>(),
            elapsed.as_secs_f64()
        ));
    }
}
